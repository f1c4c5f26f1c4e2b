"""What the drive knows about its files: one SQLite database, one transaction per change.

Invariants: only a file in state `stored` is visible; a file leaves `waiting` only with a verdict;
a verdict, the duties that follow from it and the new state are recorded together or not at all.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from clouddrive.gateway import Verdict
from clouddrive.limits import APPEALS_PER_REFERENCE_MAX, ROWS_SHOWN_MAX

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, media_type TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  jurisdiction TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL,
  fingerprints TEXT, list_seen TEXT NOT NULL DEFAULT '', verdict_key TEXT,
  reference TEXT UNIQUE, dismissed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS files_by_state ON files (state, list_seen);
CREATE TABLE IF NOT EXISTS matches (
  id INTEGER PRIMARY KEY, file_id TEXT NOT NULL REFERENCES files (id), reference TEXT NOT NULL,
  time_ms INTEGER NOT NULL, how TEXT NOT NULL, state TEXT NOT NULL, facts TEXT NOT NULL,
  preserve_until_ms INTEGER);
CREATE TABLE IF NOT EXISTS tasks (
  id INTEGER PRIMARY KEY, match_id INTEGER NOT NULL REFERENCES matches (id),
  reference TEXT NOT NULL, jurisdiction TEXT NOT NULL, recipient TEXT NOT NULL,
  due_ms INTEGER NOT NULL, preserve_until_ms INTEGER, done_ms INTEGER);
CREATE TABLE IF NOT EXISTS appeals (
  id INTEGER PRIMARY KEY, reference TEXT NOT NULL, time_ms INTEGER NOT NULL,
  message TEXT NOT NULL);
"""


class State(StrEnum):
    WAITING = "waiting"  # Not screened yet: nobody sees it.
    STORED = "stored"  # Screened and visible.
    HELD = "held"  # An upload that a person has to look into; encrypted.
    REFUSED = "refused"  # An upload that was not taken; kept encrypted where a duty says so.
    QUARANTINED = "quarantined"  # Was stored, then matched; encrypted.
    DELETED = "deleted"  # Its bytes are gone; the row stays where a match refers to it.


@dataclass(frozen=True, slots=True)
class StoredFile:
    id: str
    name: str
    media_type: str
    size_bytes: int
    jurisdiction: str
    state: State
    created_ms: int
    fingerprints: str | None
    list_seen: str
    verdict_key: str | None
    reference: str | None
    dismissed: bool

    def __repr__(self) -> str:
        return f"StoredFile({self.id[:6]}.., {self.state})"


@dataclass(frozen=True, slots=True)
class MatchRow:
    id: int
    file_id: str
    reference: str
    time_ms: int
    how: str
    state: State
    facts: str
    preserve_until_ms: int | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    id: int
    match_id: int
    reference: str
    jurisdiction: str
    recipient: str
    due_ms: int
    preserve_until_ms: int | None
    done_ms: int | None


@dataclass(frozen=True, slots=True)
class AppealRow:
    id: int
    reference: str
    time_ms: int
    message: str


class Store:
    """One process opens one database; calls come from the event loop's thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:  # Told on: an interrupt, too, leaves no transaction open.
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Files

    def add_waiting(
        self,
        file_id: str,
        *,
        name: str,
        media_type: str,
        size_bytes: int,
        jurisdiction: str,
        created_ms: int,
    ) -> None:
        """Crash before: the bytes are swept at the next start. Crash after: they are screened."""
        self._db.execute(
            "INSERT INTO files (id, name, media_type, size_bytes, jurisdiction, state, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (file_id, name, media_type, size_bytes, jurisdiction, State.WAITING, created_ms),
        )

    def file(self, file_id: str) -> StoredFile | None:
        return self._one_file("SELECT * FROM files WHERE id = ?", file_id)

    def file_by_reference(self, reference: str) -> StoredFile | None:
        return self._one_file("SELECT * FROM files WHERE reference = ?", reference)

    def files_in(self, *states: State) -> list[StoredFile]:
        """Newest first."""
        marks = ",".join("?" * len(states))
        sql = f"SELECT * FROM files WHERE state IN ({marks}) ORDER BY created_ms DESC, id"  # noqa: S608 - marks only.
        return [_file(row) for row in self._db.execute(sql, states)]

    def count(self, state: State) -> int:
        return self._number("SELECT count(*) FROM files WHERE state = ?", state)

    def stale_files(self, version: str, limit: int) -> list[StoredFile]:
        """Visible files that were not looked at with this list and these rules."""
        rows = self._db.execute(
            "SELECT * FROM files WHERE state = ? AND list_seen <> ? ORDER BY id LIMIT ?",
            (State.STORED, version, limit),
        )
        return [_file(row) for row in rows]

    def count_seen(self, version: str) -> int:
        return self._number(
            "SELECT count(*) FROM files WHERE state = ? AND list_seen = ?", State.STORED, version
        )

    def mark_seen(self, file_id: str, version: str) -> None:
        self._db.execute("UPDATE files SET list_seen = ? WHERE id = ?", (version, file_id))

    def dismiss(self, reference: str) -> None:
        self._db.execute("UPDATE files SET dismissed = 1 WHERE reference = ?", (reference,))

    def forget(self, file_id: str, before: State) -> bool:
        """The owner's or the drive's end of a file; the row stays where a match refers to it."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE files SET state = ?, fingerprints = NULL WHERE id = ? AND state = ?",
                (State.DELETED, file_id, before),
            ).rowcount
            self._db.execute(
                "DELETE FROM files WHERE id = ? AND state = ?"
                " AND id NOT IN (SELECT file_id FROM matches)",
                (file_id, State.DELETED),
            )
        return changed == 1

    def settle(
        self,
        file: StoredFile,
        after: State,
        verdict: Verdict,
        *,
        how: str,
        version: str,
        reference: str,
        now_ms: int,
    ) -> bool:
        """Records a verdict with all that follows from it; False when the file moved meanwhile."""
        telling = verdict.decision != "no_match" or verdict.action != "allow"
        with self._transaction():
            changed = self._db.execute(
                "UPDATE files SET state = ?, list_seen = ?, verdict_key = ?, dismissed = 0,"
                " fingerprints = coalesce(?, fingerprints), reference = coalesce(reference, ?)"
                " WHERE id = ? AND state = ?",
                (
                    after,
                    version,
                    verdict.key,
                    verdict.fingerprints,
                    reference if telling else None,
                    file.id,
                    file.state,
                ),
            ).rowcount
            if changed != 1:
                return False
            if telling and verdict.key != file.verdict_key:
                self._add_match(file, after, verdict, how, file.reference or reference, now_ms)
        return True

    def _add_match(
        self,
        file: StoredFile,
        after: State,
        verdict: Verdict,
        how: str,
        reference: str,
        now_ms: int,
    ) -> None:
        until = now_ms + verdict.preserve_days * DAY_MS if verdict.preserve_days else None
        match_id = self._db.execute(
            "INSERT INTO matches (file_id, reference, time_ms, how, state, facts,"
            " preserve_until_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (file.id, reference, now_ms, how, after, verdict.facts, until),
        ).lastrowid
        for duty in verdict.reports:
            due_ms = now_ms + duty.within_hours * HOUR_MS
            self._db.execute(
                "INSERT INTO tasks (match_id, reference, jurisdiction, recipient, due_ms,"
                " preserve_until_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (match_id, reference, duty.jurisdiction, duty.to, due_ms, until),
            )

    # Matches, tasks, appeals

    def matches(self, limit: int = ROWS_SHOWN_MAX) -> list[MatchRow]:
        rows = self._db.execute("SELECT * FROM matches ORDER BY id DESC LIMIT ?", (limit,))
        return [_match(row) for row in rows]

    def count_matches(self) -> int:
        return self._number("SELECT count(*) FROM matches")

    def last_match(self, file_id: str) -> MatchRow | None:
        row = self._db.execute(
            "SELECT * FROM matches WHERE file_id = ? ORDER BY id DESC LIMIT 1", (file_id,)
        ).fetchone()
        return None if row is None else _match(row)

    def tasks(self, limit: int = ROWS_SHOWN_MAX) -> list[TaskRow]:
        """Open ones first, the most pressing on top."""
        rows = self._db.execute(
            "SELECT * FROM tasks ORDER BY done_ms IS NOT NULL, due_ms, id LIMIT ?", (limit,)
        )
        return [TaskRow(**dict(row)) for row in rows]

    def finish_task(self, task_id: int, now_ms: int) -> None:
        """Repeating it keeps the first time."""
        self._db.execute(
            "UPDATE tasks SET done_ms = ? WHERE id = ? AND done_ms IS NULL", (now_ms, task_id)
        )

    def add_appeal(self, reference: str, message: str, now_ms: int) -> bool:
        """False when this reference has as many appeals as it may have."""
        with self._transaction():
            if len(self.appeals(reference)) >= APPEALS_PER_REFERENCE_MAX:
                return False
            self._db.execute(
                "INSERT INTO appeals (reference, time_ms, message) VALUES (?, ?, ?)",
                (reference, now_ms, message),
            )
        return True

    def appeals(self, reference: str | None = None) -> list[AppealRow]:
        """Newest first; of one reference or of all."""
        rows = self._db.execute(
            "SELECT * FROM appeals WHERE ? IS NULL OR reference = ? ORDER BY id DESC LIMIT ?",
            (reference, reference, ROWS_SHOWN_MAX),
        )
        return [AppealRow(**dict(row)) for row in rows]

    def _one_file(self, sql: str, key: str) -> StoredFile | None:
        row = self._db.execute(sql, (key,)).fetchone()
        return None if row is None else _file(row)

    def _number(self, sql: str, *keys: str) -> int:
        return int(self._db.execute(sql, keys).fetchone()[0])


def _file(row: sqlite3.Row) -> StoredFile:
    fields: dict[str, Any] = dict(row)
    fields["state"] = State(fields["state"])
    fields["dismissed"] = bool(fields["dismissed"])
    return StoredFile(**fields)


def _match(row: sqlite3.Row) -> MatchRow:
    fields: dict[str, Any] = dict(row)
    fields["state"] = State(fields["state"])
    return MatchRow(**fields)
