"""Measures obligations and decisions: a synthetic list, thirty jurisdictions with rules.

Nothing is signed or sealed: batches are folded as a follower hands them on, and the state is put
together directly. Listings come from a seed; one in ten has the digest of another agency's.
Units: processor time, so that what else the machine does hardly shows.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from accord.agency.founding import TRIAL_PARAMETERS
from accord.cli.bench.figures import Report, Row, Section, quantile, rounded
from accord.cli.bench.machine import describe_machine
from accord.fingerprint.types import Fingerprint
from accord.follow.delta import FoldedEntry
from accord.ledger.state import (
    AGENCIES_TABLE,
    CONSORTIUM,
    ONLY,
    PARAMETERS,
    PLATFORMS,
    RULES,
    AgencyRow,
    ConsortiumRow,
    Draft,
    PlatformRow,
    RuleRow,
    Standing,
    State,
)
from accord.matching import Candidates, Context, Place, Query, decide
from accord.registry import PlatformObligations, Registry, platform_obligations
from accord.statements.batch import Batch, Column
from accord.statements.bodies import Approve, Body, Endorse, Header, Publish, RefRange
from accord.statements.rules import (
    Action,
    Algorithm,
    Certification,
    ClassCode,
    Clause,
    Exact,
    LegalBasis,
    Modality,
    Near,
    RuleSet,
    Scope,
    Service,
)
from accord.statements.rules import (
    Report as ReportTo,
)
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, KeyId, MemberId, TimeMs
from accord.wire.limits import BATCH_LISTINGS_MAX

AGENCY_COUNT: Final = 12
SOVEREIGNS: Final = 8
DECISIONS: Final = 3_000
_ROUNDS: Final = 3
_BATCHES: Final = 30  # One after another: of what each costs, the median and the most.
_CLASSES: Final = tuple(ClassCode("ncmec", "", value) for value in ("A1", "A2", "B1", "B2"))
_GROUP: Final = GroupId("platforms")
_PLATFORM: Final = MemberId("bench")
_ASKED: Final = [(k, j, level) for k, j in ((1, 1), (2, 1), (2, 2), (3, 2)) for level in (0, 1, 2)]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scale:
    listings: int
    jurisdictions: int


class Consortium:
    """A registry that grows batch by batch, and the state beside it."""

    def __init__(self, scale: Scale) -> None:
        self.registry = Registry()
        self.state = State()
        self._random = np.random.default_rng(1)
        self._names = [MemberId(f"agency-{number:02}") for number in range(AGENCY_COUNT)]
        self._where = [_jurisdiction(number) for number in range(scale.jurisdictions)]
        self._found()

    def _found(self) -> None:
        draft = Draft(self.state)
        draft.put(PARAMETERS, ONLY, TRIAL_PARAMETERS)
        for number, name in enumerate(self._names):
            where = _jurisdiction(number % SOVEREIGNS)
            row = AgencyRow(number, name, where, (where,), Standing.ADMITTED, TimeMs(0))
            draft.put(AGENCIES_TABLE, name.encode(), row)
        platform = PlatformRow("Bench", tuple(self._where), (_GROUP,), Standing.ADMITTED, TimeMs(0))
        draft.put(PLATFORMS, _PLATFORM.encode(), platform)
        for number, where in enumerate(self._where):
            rule = RuleRow(1, number, self._names[0], TimeMs(0), _rules(number))
            draft.put(RULES, where.encode(), rule)
        self.state.commit(draft.writes())

    def publish(self, count: int) -> None:
        """One batch, approved, and endorsed by two other agencies in two of three cases."""
        number = self.registry.size
        who = number // 4 % AGENCY_COUNT
        entry = self._say(self._publication(who, count), self._batch(count))
        self._say(Approve(self._header(who), entry))
        for step in (1, 2):
            first = count // 3 * (step - 1)
            refs = (RefRange(entry, first, count - first),)
            self._say(Endorse(self._header((who + step) % AGENCY_COUNT), refs, step))

    def obligations(
        self, before: PlatformObligations | None = None
    ) -> tuple[PlatformObligations, float, float]:
        """With the seconds that the snapshot took, and the obligations, anew or after others."""
        began = time.process_time()
        snapshot = self.registry.snapshot()
        between = time.process_time()
        found = platform_obligations(snapshot, self.state, _PLATFORM, before=before)
        return found, between - began, time.process_time() - between

    def _say(self, body: Body, batch: Batch | None = None) -> int:
        index = self.registry.size
        entry = FoldedEntry(index, TimeMs(index), KeyId(body.header.member.encode()[:16]), body)
        self.registry.fold(replace(entry, batch=batch))
        draft = Draft(self.state)
        row = ConsortiumRow(TimeMs(index), index + 1, AGENCY_COUNT, (AGENCIES, _GROUP))
        draft.put(CONSORTIUM, ONLY, row)
        self.state.commit(draft.writes())
        return index

    def _header(self, who: int) -> Header:
        return Header(self._names[who], bytes(16), TimeMs(0))

    def _publication(self, who: int, count: int) -> Publish:
        groups = (AGENCIES, _GROUP)
        return Publish(self._header(who), count, groups, (1, 1), False, bytes(32))

    def _batch(self, count: int) -> Batch:
        pdq = self._random.integers(0, 256, (count, 32), dtype=np.uint8)
        md5 = self._random.integers(0, 256, (count, 16), dtype=np.uint8)
        again = np.arange(0, count, 10)  # These have one of some digests that many list.
        md5[again] = 0
        shared = self._random.integers(1, 1 << 20, len(again), dtype=np.uint32)
        md5[again, :4] = shared.view(np.uint8).reshape(-1, 4)
        return Batch(
            version=1,
            count=count,
            classes=_CLASSES,
            class_of=self._random.integers(0, len(_CLASSES), count, dtype=np.uint8).tobytes(),
            media_of=bytes(count),
            columns=(
                Column("md5", 16, b"", md5.tobytes()),
                Column("pdq", 32, b"", pdq.tobytes()),
                Column("pdq-quality", 1, b"", b"\x5a" * count),
            ),
            views=(),
        )


def _jurisdiction(number: int) -> JurisdictionId:
    return JurisdictionId(chr(65 + number // 26) + chr(65 + number % 26))


def _rules(number: int) -> RuleSet:
    """Two clauses, of one and of three classes; certification differs among jurisdictions."""
    clauses = tuple(
        Clause(
            name=name,
            classes=classes,
            certification=Certification(*_ASKED[(number + shift) % len(_ASKED)]),
            exact=Exact((Algorithm.MD5, Algorithm.SHA256), Action.BLOCK),
            near=(Near(Algorithm.PDQ, 31, 50, Action.REVIEW, alone=False),),
        )
        for shift, (name, classes) in enumerate((("worst", _CLASSES[:1]), ("known", _CLASSES[1:])))
    )
    return RuleSet(
        title=f"Rules {number}",
        modality=Modality.REQUIRED,
        legal_basis=LegalBasis("none: a benchmark", ""),
        valid_from_ms=0,
        valid_to_ms=None,
        services=(Service.HOSTING,),
        scope=(Scope.STORED, Scope.UPLOADS),
        clauses=clauses,
        undetermined=Action.REVIEW,
        stale=Action.ALLOW,
        report=ReportTo("Nobody", 24),
        preserve_days=365,
        sync_within_minutes=60,
        rescan_within_hours=720,
        user_notice="",
    )


def run(scale: Scale, directory: Path, progress: Progress) -> Report:
    """Everything, in one process and on one thread."""
    machine = describe_machine(directory)
    world = Consortium(scale)
    began = time.process_time()
    for done in range(0, scale.listings, BATCH_LISTINGS_MAX):
        progress("folding", done, scale.listings)
        world.publish(min(BATCH_LISTINGS_MAX, scale.listings - done))
    folded_s = time.process_time() - began
    progress("obligations", 0, 0)
    found, first_snapshot_s, first_s = world.obligations()
    again = [world.obligations() for _ in range(_ROUNDS)]
    later: list[tuple[float, float]] = []
    for _ in range(_BATCHES):
        world.publish(min(BATCH_LISTINGS_MAX, scale.listings))
        found, snapshot_s, obligations_s = world.obligations(found)
        later.append((snapshot_s, obligations_s))
    rows: Row = {
        "listings": scale.listings,
        "active": found.active_count,
        "fold_s": rounded(folded_s),
        "first_snapshot_s": rounded(first_snapshot_s),
        "first_obligations_s": rounded(first_s),
        "obligations_s": rounded(min(item[2] for item in again)),
        **_spread("new_batch_snapshot", [snapshot_s for snapshot_s, _ in later]),
        **_spread("new_batch_obligations", [obligations_s for _, obligations_s in later]),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    progress("decisions", 0, 0)
    decided = tuple(_decisions(found, count) for count in sorted({1, 3, scale.jurisdictions}))
    parameters: Row = {"listings": scale.listings, "jurisdictions": scale.jurisdictions}
    return Report(
        machine,
        parameters,
        (
            Section("obligations", "Obligations", (rows,)),
            Section("decisions", "Decisions, after the look-up", decided),
        ),
    )


def _spread(name: str, took_s: list[float]) -> Row:
    """Units: milliseconds."""
    took = [second * 1e3 for second in took_s]
    figures: Row = {f"{name}_p50_ms": rounded(quantile(took, 0.5))}
    return {**figures, f"{name}_most_ms": rounded(max(took))}


def _decisions(found: PlatformObligations, jurisdictions: int) -> Row:
    """Units: microseconds of a decision on what a look-up gave."""
    where = tuple(found.by_jurisdiction)[:jurisdictions]
    context, place = Context(where), Place(found.snapshot.size, bytes(32))
    row = found.active_rows[:1]
    picture = Query(((Algorithm.MD5, bytes(16)),), (Fingerprint(bytes(32), 90),))
    nothing, none_far = row[:0], np.zeros(0, dtype=np.uint32)
    missed = (
        Candidates(Algorithm.MD5, nothing, none_far),
        Candidates(Algorithm.PDQ, nothing, none_far, 90),
    )
    hit = (
        Candidates(Algorithm.MD5, row, np.zeros(1, dtype=np.uint32)),
        Candidates(Algorithm.PDQ, row, np.full(1, 7, dtype=np.uint32), 90),
    )
    figures: dict[str, str | int | float | None] = {"jurisdictions": jurisdictions}
    for name, candidates in (("no_match", missed), ("match", hit)):
        took: list[float] = []
        for _ in range(DECISIONS):
            began = time.thread_time_ns()
            decide(picture, candidates, found, context, place)
            took.append((time.thread_time_ns() - began) / 1e3)
        figures[f"{name}_p50_us"] = rounded(quantile(took, 0.5))
        figures[f"{name}_p99_us"] = rounded(quantile(took, 0.99))
    return figures
