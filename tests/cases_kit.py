"""Cases, desks over real files, and a disk that fails where a test says."""

import io
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from accord.client.home import create_home, new_key
from accord.ledger.genesis import encode_genesis
from accord.scan.cases.desk import CaseDesk, Signer
from accord.scan.cases.model import DAY_MS, HOUR_MS, Case, State
from accord.scan.cases.quarantine import NamedKey, Quarantine, unseal
from accord.scan.cases.store import CaseStore
from accord.statements.bodies import Role
from accord.wire.ids import ChainId, MemberId, OperatorId, TimeMs
from consortium_kit import Consortium

START = 1_790_000_000_000
LISTINGS = ["12/3", "15/0"]
IDENTITY = pyrage.x25519.Identity.generate()
KEY = NamedKey("test-2026", str(IDENTITY.to_public()))
REPORTER = new_key(Role.REPORTER, OperatorId("reporter"))
SIGNER = Signer(ChainId("trial-cases"), MemberId("cloud"), REPORTER)


def platform_home(directory: Path) -> Path:
    """A platform's home with its reporter and scanner keys."""
    founding = Consortium().founding
    keys = (REPORTER, new_key(Role.SCANNER, OperatorId("scanner")))
    genesis = encode_genesis(founding.genesis)
    path = directory / "home"
    return create_home(path, "platform", MemberId("cloud"), genesis, (), keys).path


def open_sealed(sealed: bytes, identity: str) -> bytes:
    """What was put into quarantine. Raises: as `unseal`."""
    out = io.BytesIO()
    unseal(io.BytesIO(sealed), out, identity)
    return out.getvalue()


@contextmanager
def full_disk(bytes_max: int) -> Iterator[None]:
    """No file of this process grows beyond that: a disk that refuses to take more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Crashed(Exception):
    """The process ended here."""


def match(listing: str = "12/3", algorithm: str = "pdq", distance: int = 4) -> dict[str, object]:
    is_near = algorithm == "pdq"
    return {
        "kind": "near" if is_near else "exact",
        "algorithm": algorithm,
        "value": "5a" * (32 if is_near else 16),
        "distance": distance if is_near else 0,
        "metric": "hamming",
        "threshold": 31 if is_near else 0,
        "quality": 100 if is_near else None,
        "listing_quality": 100 if is_near else None,
        "listing": listing,
        "publisher": "nl-police",
        "class": "test/T1",
        "jurisdiction": "NL",
        "rule": {"title": "Uploads in NL", "entry": 17, "version": 2, "clause": "known"},
        "action": "block",
        "disputed": False,
        "certified_by": ["nl-police", "ie-garda"],
    }


def case_of(case_id: str = "c1", at: int = START, listings: list[str] | None = None) -> Case:
    return Case(
        id=case_id,
        version=1,
        state=State.OPEN,
        opened_ms=TimeMs(at),
        effective_ms=TimeMs(at),
        action="block",
        report_due_ms=TimeMs(at + 24 * HOUR_MS),
        preserve_until_ms=TimeMs(at + 365 * DAY_MS),
        record={
            "digests": {"md5": "11" * 16, "sha1": "22" * 20, "sha256": "33" * 32},
            "pdq": [{"bits": "5a" * 32, "quality": 100}],
            "answer": "match",
            "code": None,
            "matches": [match(item) for item in listings or LISTINGS],
            "listings": 2,
            "checkpoint": {"size": 31, "root": "44" * 32, "stale": False},
            "reports": [{"jurisdiction": "US", "to": "NCMEC", "within_hours": 24}],
            "preserve_days": 365,
            "user_notices": [],
            "receipt": {"index": 8, "leaf": "55" * 32},
            "client": "accord test",
        },
    )


@dataclass
class Desk:
    """A desk whose clock and crashes a test controls; `again` is the process started anew."""

    directory: Path
    now: int = START
    crash_at: str = ""
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.again()

    def again(self) -> CaseDesk:
        self.crash_at = ""
        self.store = CaseStore(self.directory / "cases.sqlite", self.fault)
        self.quarantine = Quarantine(self.directory / "quarantine", KEY)
        self.desk = CaseDesk(self.store, self.quarantine, self.clock, fault=self.fault)
        return self.desk

    def clock(self) -> TimeMs:
        return TimeMs(self.now)

    def fault(self, step: str) -> None:
        self.steps.append(step)
        if step == self.crash_at:
            raise Crashed(step)

    def files(self) -> list[str]:
        folder = self.directory / "quarantine"
        return sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []

    def crashes(self, step: str, work: Callable[[], object]) -> bool:
        """Whether `work` got as far as that step, where it crashed."""
        self.crash_at = step
        try:
            work()
        except Crashed:
            return True
        finally:
            self.crash_at = ""
            self.store.close()
        return False
