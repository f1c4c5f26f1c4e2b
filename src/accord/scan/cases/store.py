"""The cases' SQLite file: cases, their trail, their tasks, feedback, and how often listings match.

A change of a case, its line in the trail and the tasks it leaves are one transaction; on return it
survives power loss. Every change reads the case inside its own transaction, so that several
processes and reviewers may work on one file: the second of two sees what the first did.
Not here: what may follow what (model), the encrypted files (quarantine), telling the agencies
(telling, which has its tables here).
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from accord.scan.cases.model import Case, Disposition, State, Task, TaskKind, corrections
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import TimeMs
from accord.wire.limits import CASES_LISTED_MAX

CASES_FILE: Final = "cases.sqlite"
_WAIT_S: Final = 10.0  # For another process's transaction.
_HOUR_MS: Final = 3_600_000
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cases (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, due_ms INTEGER NOT NULL, opened_ms INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cases_by_due ON cases (state, due_ms, opened_ms);
CREATE TABLE IF NOT EXISTS trail (
    idx INTEGER PRIMARY KEY, id TEXT NOT NULL, time_ms INTEGER NOT NULL, who TEXT NOT NULL,
    what TEXT NOT NULL, facts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS trail_by_case ON trail (id, idx);
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, due_ms INTEGER,
    facts TEXT NOT NULL, done_ms INTEGER, outcome TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (id, kind, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feedback (
    subject TEXT NOT NULL, reason TEXT NOT NULL, verdict TEXT NOT NULL, files INTEGER NOT NULL,
    PRIMARY KEY (subject, reason)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored (
    file BLOB NOT NULL, listing TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (file, listing)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (
    subject TEXT NOT NULL, reason TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (subject, reason)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS telling (
    job INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, words INTEGER NOT NULL, sent BLOB,
    entry INTEGER
);
CREATE TABLE IF NOT EXISTS matched (
    listing TEXT NOT NULL, hour INTEGER NOT NULL, files INTEGER NOT NULL,
    PRIMARY KEY (listing, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS noisy (
    listing TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, files INTEGER NOT NULL,
    released_ms INTEGER, who TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
"""
_NEVER: Final = 2**62
Fault = Callable[[str], None]  # Called between steps; a test raises there.
Change = Callable[[Case], tuple[Case, Sequence[Task]]]


def no_fault(_step: str) -> None:
    """For everybody but tests."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Who does what, for the trail. `facts` name no uploader and hold no fingerprint."""

    who: str
    what: str
    time_ms: TimeMs
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the trail; `idx` only grows."""

    idx: int
    case: str
    time_ms: TimeMs
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class KeptTask:
    """A task as it stands."""

    case: str
    task: Task
    done_ms: TimeMs | None
    outcome: str


class CaseStore:
    """One file. Methods may be called from any thread. Raises: Unavailable, for the disk."""

    def __init__(self, path: Path, fault: Fault = no_fault) -> None:
        self._lock = threading.RLock()
        self._fault = fault
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None
            )
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("cases.store", why=str(err)) from err

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self, name: str) -> Iterator[sqlite3.Connection]:
        """All that is done in it, or nothing; on leaving it survives power loss."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._fault(f"before {name}")
                # Crash up to here: nothing was acknowledged and nothing is there.
                self._db.execute("COMMIT")
            except sqlite3.Error as err:
                self._roll_back()
                raise Unavailable("cases.store", why=str(err)) from err
            except BaseException:  # Told on: an interrupt, too, leaves no transaction open.
                self._roll_back()
                raise
        # POINT OF NO RETURN. Crash from here: it stands, and the same call finds it so.
        self._fault(f"after {name}")

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as err:
            raise Unavailable("cases.store", why=str(err)) from err

    def query(self, sql: str, args: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, args).fetchall()
            except sqlite3.Error as err:
                raise Unavailable("cases.store", why=str(err)) from err

    def open(self, case: Case, listings: Sequence[str], deed: Deed) -> Case:
        """Keep a new case; of one that is there, only that it was seen again. As it then stands."""
        with self.transaction("open") as db:
            known = self._load(case.id)
            if known is None:
                kept = case
                self._write(db, kept)
                self._note(db, case.id, deed)
            else:
                kept = replace(known, version=known.version + 1, sightings=known.sightings + 1)
                self._write(db, kept)
            _count_matches(db, listings, deed.time_ms)
        return kept

    def open_stored(
        self, file: bytes, listings: Sequence[str], make: Callable[[list[str]], Case], deed: Deed
    ) -> Case:
        """The case of a stored file for those of the listings that it has none for yet; where it
        has one for each, the newest of them, unchanged. `listings` are one or more.

        `file` stands for one content at one place: a scan that is repeated, or was cut off after
        this, opens nothing twice.
        """
        with self.transaction("open") as db:
            sql = "SELECT listing, id FROM stored WHERE file = ?"
            known = dict(db.execute(sql, (file,)).fetchall())
            fresh = sorted(set(listings) - set(known))
            if not fresh:
                cases = [self.case(known[listing]) for listing in sorted(set(listings))]
                return max(cases, key=lambda case: (case.opened_ms, case.id))
            case = make(fresh)
            self._write(db, case)
            self._note(db, case.id, deed)
            rows = [(file, listing, case.id) for listing in fresh]
            db.executemany("INSERT INTO stored VALUES (?, ?, ?)", rows)
            _count_matches(db, fresh, deed.time_ms)
        return case

    def change(self, case_id: str, deed: Deed, change: Change, version: int | None = None) -> Case:
        """One step of a case. `version`: the one that the caller saw, if it must be that.

        Raises: Malformed, for no such case, another version, or as `change` does: nothing is kept.
        """
        with self.transaction(deed.what) as db:
            known = self.case(case_id)
            if version is not None and version != known.version:
                mend = "look at it again, then decide"
                raise Malformed("cases.version", got=version, stands=known.version, mend=mend)
            kept, tasks = change(known)
            self._write(db, kept)
            self._note(db, case_id, deed)
            if kept.disposition is not None and kept.disposition is not known.disposition:
                self._replace_tasks(db, case_id, tasks)
                self._add_corrections(db, kept, deed.time_ms)
        return kept

    def case(self, case_id: str) -> Case:
        """Raises: Malformed, for no such case."""
        found = self._load(case_id)
        if found is None:
            raise Malformed("cases.unknown", mend="accord cases list")
        return found

    def cases(self, state: State | None = None, limit: int = CASES_LISTED_MAX) -> list[Case]:
        """What is due first comes first; then the oldest."""
        sql = "SELECT body FROM cases WHERE ? IS NULL OR state = ? ORDER BY due_ms, opened_ms, id"
        rows = self.query(f"{sql} LIMIT ?", (state, state, min(limit, CASES_LISTED_MAX)))
        return [_parse_case(row[0]) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many cases are in each state."""
        return dict(self.query("SELECT state, COUNT(*) FROM cases GROUP BY state"))

    def trail(self, case_id: str) -> list[dict[str, object]]:
        """Everything that happened to a case, in order."""
        rows = self.query(
            "SELECT time_ms, who, what, facts FROM trail WHERE id = ? ORDER BY idx", (case_id,)
        )
        return [
            {"time_ms": time_ms, "who": who, "what": what, **json.loads(facts)}
            for time_ms, who, what, facts in rows
        ]

    def lines(self, after: int, limit: int) -> list[Line]:
        """The trail of all cases in order, from the line after one."""
        sql = "SELECT idx, id, time_ms, who, what FROM trail WHERE idx > ? ORDER BY idx LIMIT ?"
        return [Line(*row) for row in self.query(sql, (after, limit))]

    def tasks(
        self, case_id: str | None = None, kind: TaskKind | None = None, *, pending: bool = False
    ) -> list[KeptTask]:
        """Tasks, what is due first at the top."""
        sql = (
            "SELECT id, kind, subject, due_ms, facts, done_ms, outcome FROM tasks "
            "WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR kind = ?2) "
            "AND (?3 = 0 OR done_ms IS NULL) ORDER BY due_ms IS NULL, due_ms, id, kind, subject"
        )
        return [
            KeptTask(row[0], Task(TaskKind(row[1]), row[2], row[3], json.loads(row[4])), *row[5:])
            for row in self.query(sql, (case_id, kind, int(pending)))
        ]

    def finish_task(
        self, case_id: str, kind: TaskKind, subject: str, deed: Deed, change: Change | None = None
    ) -> bool:
        """Note that a task is done, once. Whether it was pending. Raises: Malformed."""
        with self.transaction("task") as db:
            known = self.case(case_id)
            done = db.execute(
                "UPDATE tasks SET done_ms = ?, outcome = ? "
                "WHERE id = ? AND kind = ? AND subject = ? AND done_ms IS NULL",
                (deed.time_ms, json.dumps(dict(deed.facts)), case_id, kind, subject),
            )
            if done.rowcount == 1:
                self._note(db, case_id, deed)
                if change is not None:
                    self._write(db, change(known)[0])
        return done.rowcount == 1

    def feedback(self) -> list[dict[str, object]]:
        """What the agencies are to hear of listings: one line each, however many files."""
        rows = self.query("SELECT subject, verdict, reason, files FROM feedback ORDER BY 1, 3")
        names = ("listing", "verdict", "reason", "files")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def matched(self, since_ms: TimeMs) -> dict[str, int]:
        """How many files each listing matched since the hour of a time."""
        sql = "SELECT listing, SUM(files) FROM matched WHERE hour >= ? GROUP BY listing"
        return dict(self.query(sql, (since_ms // _HOUR_MS,)))

    def hold_noisy(self, found: Mapping[str, int], now_ms: TimeMs) -> list[str]:
        """Hold listings that match too much, and tell the agencies; which ones are new.

        One that a person released is held again only after a day.
        """
        fresh: list[str] = []
        with self.transaction("noisy") as db:
            for listing, files in sorted(found.items()):
                done = db.execute(
                    "INSERT INTO noisy (listing, since_ms, files) VALUES (?1, ?2, ?3) "
                    "ON CONFLICT (listing) DO UPDATE SET since_ms = ?2, files = ?3, "
                    "released_ms = NULL WHERE released_ms + 86400000 <= ?2",
                    (listing, now_ms, files),
                )
                if done.rowcount == 1:
                    fresh.append(listing)
                    db.execute(
                        "INSERT INTO feedback VALUES (?1, 'noisy', 'negative', ?2) "
                        "ON CONFLICT (subject, reason) DO UPDATE SET files = files + ?2",
                        (listing, files),
                    )
        return fresh

    def held(self) -> dict[str, int]:
        """Listings that are held, with how many files each matched in a day when it was found."""
        return dict(self.query("SELECT listing, files FROM noisy WHERE released_ms IS NULL"))

    def release_noisy(self, listing: str, who: str, now_ms: TimeMs) -> bool:
        """A person looked: matches of the listing act again. Whether it was held."""
        with self.transaction("noisy") as db:
            done = db.execute(
                "UPDATE noisy SET released_ms = ?, who = ? "
                "WHERE listing = ? AND released_ms IS NULL",
                (now_ms, who, listing),
            )
        return done.rowcount == 1

    def note(self, case_id: str, deed: Deed) -> None:
        """A line in the trail that changes nothing, such as that somebody looked."""
        with self.transaction("note") as db:
            self._note(db, self.case(case_id).id, deed)

    def _replace_tasks(self, db: sqlite3.Connection, case_id: str, tasks: Sequence[Task]) -> None:
        """A disposition's tasks instead of those of the one before; what was done stays done."""
        for facts, subject in db.execute(
            "SELECT facts, subject FROM tasks WHERE id = ? AND kind = ?",
            (case_id, TaskKind.FEEDBACK),
        ).fetchall():
            db.execute(
                "UPDATE feedback SET files = files - 1 WHERE subject = ? AND reason = ?",
                (subject, json.loads(facts)["reason"]),
            )
        db.execute("DELETE FROM feedback WHERE files <= 0")
        db.execute(
            "DELETE FROM tasks WHERE id = ? AND (done_ms IS NULL OR kind = ?)",
            (case_id, TaskKind.FEEDBACK),
        )
        self._add_tasks(db, case_id, tasks)
        for task in tasks:
            if task.kind is TaskKind.FEEDBACK:
                db.execute(
                    "INSERT INTO feedback VALUES (?, ?, ?, 1) "
                    "ON CONFLICT (subject, reason) DO UPDATE SET files = files + 1",
                    (task.subject, task.facts["reason"], task.facts["verdict"]),
                )

    def _add_tasks(self, db: sqlite3.Connection, case_id: str, tasks: Sequence[Task]) -> None:
        """What is there stays as it is; only a correction that was made may be due again."""
        for task in tasks:
            key = (case_id, task.kind, task.subject)
            if task.kind is TaskKind.CORRECT:
                db.execute("DELETE FROM tasks WHERE id = ? AND kind = ? AND subject = ?", key)
            db.execute(
                "INSERT OR IGNORE INTO tasks (id, kind, subject, due_ms, facts) "
                "VALUES (?, ?, ?, ?, ?)",
                (*key, task.due_ms, json.dumps(dict(task.facts))),
            )

    def _add_corrections(self, db: sqlite3.Connection, case: Case, now_ms: TimeMs) -> None:
        """Desks that had a report which this disposition contradicts are to be told."""
        sql = (
            "SELECT subject, outcome, facts FROM tasks WHERE id = ? AND kind = ? "
            "AND done_ms IS NOT NULL ORDER BY done_ms"
        )
        made = db.execute(sql, (case.id, TaskKind.REPORT)).fetchall()
        said = db.execute(sql, (case.id, TaskKind.CORRECT)).fetchall()
        reported = {subject: json.loads(outcome) for subject, outcome, _ in made}
        told = [json.loads(facts) for _, _, facts in said]
        last = {str(facts["subject"]): str(facts["now"]) for facts in told}
        self._add_tasks(db, case.id, corrections(case, reported, last, now_ms))

    def task_counts(self) -> dict[str, dict[str, int]]:
        """How many tasks of each kind are pending, and how many are done."""
        rows = self.query(
            "SELECT kind, SUM(done_ms IS NULL), SUM(done_ms IS NOT NULL) FROM tasks GROUP BY kind"
        )
        return {kind: {"pending": pending, "done": done} for kind, pending, done in rows}

    def _load(self, case_id: str) -> Case | None:
        rows = self.query("SELECT body FROM cases WHERE id = ?", (case_id,))
        return _parse_case(rows[0][0]) if rows else None

    def _write(self, db: sqlite3.Connection, case: Case) -> None:
        due = _NEVER if case.report_due_ms is None else case.report_due_ms
        db.execute(
            "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?)",
            (case.id, case.state, due, case.opened_ms, json.dumps(asdict(case), sort_keys=True)),
        )
        self._fault("after case")

    def _note(self, db: sqlite3.Connection, case_id: str, deed: Deed) -> None:
        db.execute(
            "INSERT INTO trail (id, time_ms, who, what, facts) VALUES (?, ?, ?, ?, ?)",
            (case_id, deed.time_ms, deed.who, deed.what, json.dumps(dict(deed.facts))),
        )
        self._fault("after trail")


def _count_matches(db: sqlite3.Connection, listings: Sequence[str], now_ms: TimeMs) -> None:
    for listing in sorted(set(listings)):
        db.execute(
            "INSERT INTO matched VALUES (?, ?, 1) "
            "ON CONFLICT (listing, hour) DO UPDATE SET files = files + 1",
            (listing, now_ms // _HOUR_MS),
        )


def _parse_case(text: str) -> Case:
    value = json.loads(text)
    value["state"] = State(value["state"])
    value["disposition"] = value["disposition"] and Disposition(value["disposition"])
    value["unsure"], value["holds"] = tuple(value["unsure"]), tuple(value["holds"])
    return Case(**value)
