"""Filing one report: written down before it is done, so that no crash makes two or none.

    intent -> opened(report id) -> finishing -> finished(receipt)

Before `finishing` nothing counts at the desk: a report that a crash left open is retracted and a
fresh one is made. From `finishing` on nothing is retracted: `/finish` is repeated until the desk
says that it is done, and if it has forgotten the report, unfinished for a day, a fresh one is made.
Source: docs/spec/reports.md, section 3.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accord.scan.cases import model
from accord.scan.cases.desk import CaseDesk
from accord.scan.cases.model import Case, Task, TaskKind
from accord.scan.cases.store import Deed, Fault, no_fault
from accord.scan.reports.cybertip import (
    UploadFacts,
    check_reportable,
    file_details_xml,
    report_xml,
)
from accord.scan.reports.tipline import Tipline, TiplineClient
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import TimeMs

REPORTS_FILE: Final = "reports.sqlite"
LOCK_FILE: Final = "reports.lock"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS filings (
    case_id TEXT NOT NULL, environment TEXT NOT NULL, stage TEXT NOT NULL, report_id TEXT NOT NULL,
    receipt BLOB NOT NULL, time_ms INTEGER NOT NULL, PRIMARY KEY (case_id, environment)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Filing:
    """How far a case's report is."""

    stage: str  # "none", "intent", "opened", "finishing" or "finished".
    report_id: str
    receipt: bytes


class FilingStore:
    """The write-ahead record. One process at a time: see `exclusive`. Raises: Unavailable."""

    def __init__(self, home: Path) -> None:
        self._home = home
        try:
            path = home / REPORTS_FILE
            self._db = sqlite3.connect(path, isolation_level=None)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("report.store", why=str(err)) from err

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else files meanwhile; a process that dies lets go. Raises: Unavailable."""
        descriptor = os.open(self._home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                raise Unavailable("report.busy", mend="let the other one finish") from err
            yield
        finally:
            os.close(descriptor)

    def load(self, case_id: str, environment: str) -> Filing:
        """`none`, if nothing was begun."""
        try:
            row = self._db.execute(
                "SELECT stage, report_id, receipt FROM filings WHERE case_id = ? "
                "AND environment = ?",
                (case_id, environment),
            ).fetchone()
        except sqlite3.Error as err:
            raise Unavailable("report.store", why=str(err)) from err
        return Filing("none", "", b"") if row is None else Filing(*row)

    def store(self, case_id: str, environment: str, filing: Filing, now_ms: TimeMs) -> None:
        """On return it survives power loss."""
        row = (case_id, environment, filing.stage, filing.report_id, filing.receipt, now_ms)
        try:
            self._db.execute("INSERT OR REPLACE INTO filings VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as err:
            raise Unavailable("report.store", why=str(err)) from err


@dataclass(frozen=True, slots=True)
class Filed:
    """A report that was made. `was_filed`: it had been made before this call."""

    report_id: str
    environment: str
    receipt: bytes
    was_filed: bool


@dataclass(frozen=True, slots=True)
class Sending:
    """What filing works with. `connect` opens a client of the desk."""

    tipline: Tipline
    home: Path
    connect: Callable[[Tipline], TiplineClient] = TiplineClient
    fault: Fault = no_fault


def file_report(
    desk: CaseDesk,
    case_id: str,
    who: str,
    facts: UploadFacts,
    data: bytes | None,
    sending: Sending,
) -> Filed:
    """Make a case's report, or find that it was made; then note its tasks as done.

    `data` is the file, where it is to go along. A test's report is thrown away by the desk, so
    that it leaves the tasks as they are.

    Raises: Malformed, where there is nothing to report here; Unavailable: the same call again.
    """
    model.check_name(who)
    case = desk.store.case(case_id)
    check_reportable(case)
    tipline = sending.tipline
    mine = [
        task
        for task in desk.store.tasks(case_id, TaskKind.REPORT)
        if task.task.facts.get("to") in tipline.duties
    ]
    if not mine:
        raise Malformed("report.no_duty", mend="duties in cases.toml name what the rules say")
    with closing(FilingStore(sending.home)) as store, store.exclusive():
        before = store.load(case_id, tipline.environment)
        done = before
        if before.stage != "finished":
            with closing(sending.connect(tipline)) as client:
                done = _Work(store, client, case, facts, data, desk, sending).run(before)
    sending.fault("before tasks")
    if tipline.environment == "production":
        now = desk.clock()
        told = {"report_id": done.report_id, "environment": tipline.environment}
        for task in mine:
            deed = Deed(who, "reported", now, told | {"subject": task.task.subject})
            desk.store.finish_task(
                case_id, TaskKind.REPORT, task.task.subject, deed, _reported(now)
            )
    was_filed = before.stage == "finished"
    return Filed(done.report_id, tipline.environment, done.receipt, was_filed)


def _reported(now: TimeMs) -> Callable[[Case], tuple[Case, tuple[Task, ...]]]:
    return lambda case: (model.reported(case, now), ())


@dataclass(frozen=True, slots=True)
class _Work:
    """One filing under way."""

    store: FilingStore
    client: TiplineClient
    case: Case
    facts: UploadFacts
    data: bytes | None
    desk: CaseDesk
    sending: Sending

    def run(self, before: Filing) -> Filing:
        self.client.status()
        if before.stage == "finishing":
            receipt = self.client.finish(before.report_id)
            if receipt is not None:
                return self._keep(Filing("finished", before.report_id, receipt))
        elif before.report_id:
            self.client.retract(before.report_id)  # A crash left it open, with who knows what.
        return self._make()

    def _make(self) -> Filing:
        self._keep(Filing("intent", "", b""))
        # Crash from here until `opened`: a report that nobody finishes; the desk drops it in a day.
        report_id = self.client.submit(
            report_xml(self.case, self.sending.tipline.reporter, self.facts)
        )
        self.sending.fault("after submit")
        self._keep(Filing("opened", report_id, b""))
        if self.data is not None:
            file_id = self.client.upload(report_id, self.data)
            self.sending.fault("after upload")
            self.client.fileinfo(file_details_xml(self.case, report_id, file_id, self.facts))
            self.sending.fault("after fileinfo")
        self._keep(Filing("finishing", report_id, b""))
        # POINT OF NO RETURN. Crash from here: `/finish` is asked again and never another report.
        receipt = self.client.finish(report_id)
        self.sending.fault("after finish")
        if receipt is None:
            raise Unavailable("report.forgotten", mend="the same command again")
        return self._keep(Filing("finished", report_id, receipt))

    def _keep(self, filing: Filing) -> Filing:
        self.sending.fault(f"before {filing.stage}")
        environment = self.sending.tipline.environment
        self.store.store(self.case.id, environment, filing, self.desk.clock())
        self.sending.fault(f"after {filing.stage} kept")
        return filing


def filing_view(filed: Filed) -> dict[str, object]:
    """For JSON."""
    return {
        "report_id": filed.report_id,
        "environment": filed.environment,
        "was_filed": filed.was_filed,
        "receipt": filed.receipt.decode("utf-8", "replace"),
    }
