"""The replica's SQLite file: leaves, blobs, the newest checkpoint, and the last of each log that
it went over from.

One writer, any number of readers. Blobs are stored before the entries that name them, entries
and their checkpoint in one transaction: a crash leaves at worst blobs nobody asked for yet.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from accord.wire.errors import Unavailable, Unproven
from accord.wire.limits import EVIDENCE_NOTES_MAX

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (sha256 BLOB PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS evidence (note BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS past (size INTEGER NOT NULL, note BLOB PRIMARY KEY);
"""


class ReplicaStore:
    """Durable on return. Raises: Unavailable, for a disk that is full or does not answer."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=10, check_same_thread=False)
            self._db.text_factory = bytes  # What is not ours then fails as a hash, not as text.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("replica.store", why=str(err)) from err

    def close(self) -> None:
        self._db.close()

    def checkpoints(self, *, newest_only: bool = False) -> list[tuple[int, bytes]]:
        """(size, note), ascending: the newest, and those at which the policy changed."""
        order = "DESC LIMIT 1" if newest_only else "ASC"
        rows = self._query(f"SELECT size, note FROM checkpoints ORDER BY size {order}")  # noqa: S608  (both are ours)
        return [(int(str(size)), _bytes(note)) for size, note in rows]

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Leaves [first, end), as many as there are."""
        sql = "SELECT leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [_bytes(row[0]) for row in self._query(sql, (first, end))]

    def blob(self, digest: bytes) -> bytes | None:
        rows = self._query("SELECT raw FROM blobs WHERE sha256 = ?", (digest,))
        return _bytes(rows[0][0]) if rows else None

    def has_blob(self, digest: bytes) -> bool:
        return bool(self._query("SELECT 1 FROM blobs WHERE sha256 = ?", (digest,)))

    def store_blobs(self, blobs: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (digest, bytes). Repeating changes nothing."""
        self._write([("INSERT OR IGNORE INTO blobs VALUES (?, ?)", list(blobs))])

    def store_entries(
        self, first: int, leaves: Sequence[bytes], size: int, note: bytes, *, replaces: int | None
    ) -> None:
        """Keep leaves and the checkpoint that proves them, all or nothing; the checkpoint at
        `replaces` is no longer needed then.
        """
        rows = [(first + place, leaf) for place, leaf in enumerate(leaves)]
        self._write(
            [
                ("DELETE FROM checkpoints WHERE size = ?", [(replaces,)] if replaces else []),
                ("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows),
                ("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", [(size, note)]),
            ]
        )

    def go_over(self, first: int, leaves: Sequence[bytes]) -> None:
        """Keep the rest of the leaves that a new genesis pins, and put the old log's heads aside:
        from here on the checkpoints are those of the new chain.
        """
        rows = [(first + place, leaf) for place, leaf in enumerate(leaves)]
        self._write(
            [
                ("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows),
                ("INSERT OR IGNORE INTO past SELECT size, note FROM checkpoints", [()]),
                ("DELETE FROM checkpoints", [()]),
            ]
        )

    def past(self) -> list[tuple[int, bytes]]:
        """(size, note) of the heads by which older chains' logs were proved, ascending."""
        rows = self._query("SELECT size, note FROM past ORDER BY size, rowid")
        return [(int(str(size)), _bytes(note)) for size, note in rows]

    def count(self) -> int:
        """How many leaves there are."""
        return int(str(self._query("SELECT count(*) FROM entries")[0][0]))

    def evidence(self) -> list[bytes]:
        """Signed heads of another log than ours, oldest first."""
        return [_bytes(row[0]) for row in self._query("SELECT note FROM evidence ORDER BY rowid")]

    def store_evidence(self, note: bytes) -> None:
        """Keep a note, if it is new and there is room: one says all, a flood says no more."""
        sql = "INSERT OR IGNORE INTO evidence SELECT ? WHERE (SELECT count(*) FROM evidence) < ?"
        self._write([(sql, [(note, EVIDENCE_NOTES_MAX)])])

    def _query(self, sql: str, args: Sequence[object] = ()) -> list[tuple[object, ...]]:
        try:
            return self._db.execute(sql, args).fetchall()
        except sqlite3.Error as err:
            raise Unavailable("replica.store", why=str(err)) from err

    def _write(self, steps: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        try:
            with self._db:
                for sql, rows in steps:
                    self._db.executemany(sql, rows)
        except sqlite3.Error as err:
            raise Unavailable("replica.store", why=str(err)) from err


def _bytes(cell: object) -> bytes:
    """SQLite is typed by value: anything but a blob here was put there by somebody else."""
    if not isinstance(cell, bytes):
        raise Unproven("replica.tampered", why="a column holds another type")
    return cell
