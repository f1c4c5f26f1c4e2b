"""The receipts' SQLite file: leaves, tree nodes, and apart from them the salts.

A batch of leaves, the nodes they complete, their salts and the new head are one transaction; on
return it survives power loss. Every append reads the head inside its own transaction, so that
several processes of one platform may write to one file and memory is never believed.
Not here: what a leaf says, signing (receipts).
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accord.tlog.merkle import Frontier, completed_nodes, leaf_hash, parse_frontier
from accord.wire.errors import Broken, Unavailable
from accord.wire.ids import TimeMs

MAC_KEY_BYTES: Final = 32
_WAIT_S: Final = 10.0  # For another process's transaction.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leaves (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS nodes (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), frontier BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS secrets (
    idx INTEGER PRIMARY KEY, salt BLOB NOT NULL, upload_mac BLOB NOT NULL, time_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS secrets_by_time ON secrets (time_ms);
CREATE TABLE IF NOT EXISTS mac_key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A leaf to append, with what opens its commitment."""

    leaf: bytes
    salt: bytes
    upload_mac: bytes
    time_ms: TimeMs

    def __repr__(self) -> str:
        return f"Pending({len(self.leaf)} bytes)"


Fault = Callable[[str], None]  # Called between steps; a test raises there.


def no_fault(_step: str) -> None:
    """For everybody but tests."""


class ReceiptStore:
    """One file. Methods may be called from any thread. Raises: Unavailable, for the disk."""

    def __init__(self, path: Path, fault: Fault = no_fault) -> None:
        self._lock = threading.Lock()
        self._fault = fault
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA secure_delete=ON")  # A deleted salt is overwritten.
            self._db.executescript(SCHEMA)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("receipts.store", why=str(err)) from err

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def append(self, batch: Sequence[Pending]) -> int:
        """Keep a batch, all or nothing; the index of its first leaf. Raises: Unavailable, with
        nothing appended unless the disk lied."""
        with self._lock:
            self._begin()
            try:
                first = self._append(batch)
                self._fault("before commit")
                # Crash up to here: nothing was acknowledged and nothing is there.
                self._db.execute("COMMIT")
            except sqlite3.Error as err:
                self._roll_back()
                raise Unavailable("receipts.store", why=str(err)) from err
            except BaseException:  # Told on: an interrupt, too, leaves no transaction open.
                self._roll_back()
                raise
        # POINT OF NO RETURN. Crash from here: receipts stand that nobody was told of.
        self._fault("after commit")
        return first

    def _append(self, batch: Sequence[Pending]) -> int:
        frontier = self._head()
        hashes = [leaf_hash(item.leaf) for item in batch]
        numbered = list(enumerate(batch, frontier.size))
        self._db.executemany(
            "INSERT INTO leaves VALUES (?, ?)", [(index, item.leaf) for index, item in numbered]
        )
        self._fault("after leaves")
        self._db.executemany(
            "INSERT INTO nodes VALUES (?, ?, ?)",
            [(node.level, node.index, node.hash) for node in completed_nodes(frontier, hashes)],
        )
        self._fault("after nodes")
        self._db.executemany(
            "INSERT INTO secrets VALUES (?, ?, ?, ?)",
            [(index, item.salt, item.upload_mac, item.time_ms) for index, item in numbered],
        )
        self._fault("after secrets")
        head = frontier.extend(hashes).encode()
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?)", (head,))
        return frontier.size

    def head(self) -> Frontier:
        """The log as it stands: size and what its root is made of."""
        with self._lock:
            try:
                return self._head()
            except sqlite3.Error as err:
                raise Unavailable("receipts.store", why=str(err)) from err

    def _head(self) -> Frontier:
        row = self._db.execute("SELECT frontier FROM head").fetchone()
        return Frontier() if row is None else parse_frontier(row[0])

    def node(self, level: int, index: int) -> bytes:
        """As `tlog.HashReader.node`. Raises: Unavailable."""
        rows = self._query("SELECT hash FROM nodes WHERE level = ? AND idx = ?", (level, index))
        if not rows:
            raise Unavailable("receipts.node", level=level, index=index)
        return bytes(rows[0][0])

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Leaves [first, end), as many as there are."""
        sql = "SELECT leaf FROM leaves WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [bytes(row[0]) for row in self._query(sql, (first, end))]

    def secret(self, index: int) -> tuple[bytes, bytes] | None:
        """(salt, upload MAC) of a receipt; None once they were deleted."""
        rows = self._query("SELECT salt, upload_mac FROM secrets WHERE idx = ?", (index,))
        return (bytes(rows[0][0]), bytes(rows[0][1])) if rows else None

    def forget_secrets(self, before_ms: TimeMs) -> int:
        """Delete what opens the receipts made before a time; how many. The leaves stay."""
        with self._lock:
            try:
                gone = self._db.execute("DELETE FROM secrets WHERE time_ms < ?", (before_ms,))
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as err:
                raise Unavailable("receipts.store", why=str(err)) from err
            return gone.rowcount

    def mac_key(self) -> bytes:
        """The key of upload MACs, made on first use; it never leaves the file."""
        with self._lock:
            try:
                self._db.execute(
                    "INSERT OR IGNORE INTO mac_key VALUES (1, ?)", (os.urandom(MAC_KEY_BYTES),)
                )
                row = self._db.execute("SELECT key FROM mac_key").fetchone()
            except sqlite3.Error as err:
                raise Unavailable("receipts.store", why=str(err)) from err
        if row is None or len(row[0]) != MAC_KEY_BYTES:
            raise Broken("receipts.mac_key")
        return bytes(row[0])

    def _begin(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as err:
            raise Unavailable("receipts.store", why=str(err)) from err

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as err:
            raise Unavailable("receipts.store", why=str(err)) from err

    def _query(self, sql: str, args: Sequence[object]) -> list[tuple[bytes, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, args).fetchall()
            except sqlite3.Error as err:
                raise Unavailable("receipts.store", why=str(err)) from err
