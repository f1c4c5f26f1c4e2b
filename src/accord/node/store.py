"""The node's durable memory: SQLite, one block one transaction.

Job: keep blocks, entries, tree nodes, state rows, blobs and signed heads, and read them back.
Not here: rules (ledger), what is signed (cosigning), private keys.
Invariants: a block is there whole or not at all; what is there folds to the app hash beside it,
or the store does not open; nothing in it opens a blob.
A crash at any moment leaves the last committed block, and perhaps a head not yet signed for it,
which the engine signs when it starts.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from accord.ledger.apply import FOLDS
from accord.ledger.block import BlockResult, Ledger
from accord.ledger.genesis import Founding
from accord.ledger.membership import consortium
from accord.ledger.state import TABLES, State, Write, parse_row
from accord.node.restoring import Folded, Restored
from accord.node.snapshots import Carried, carried_bytes
from accord.statements.bodies import BLOB_KINDS
from accord.statements.entries import parse_entry
from accord.statements.envelope import Transaction, encode_transaction, parse_envelope
from accord.tlog.merkle import Frontier, completed_nodes, frontier_at, leaf_hash
from accord.tlog.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, Tile, encode_bundle
from accord.wire import cbor
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import MemberId, TimeMs

SCHEMA_VERSION = 4
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (height INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, size INTEGER NOT NULL,
    root BLOB NOT NULL, app_hash BLOB NOT NULL, verdicts BLOB NOT NULL);
CREATE TABLE entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, digest BLOB NOT NULL);
CREATE UNIQUE INDEX entries_digest ON entries (digest);
CREATE TABLE nodes (level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, idx))
    WITHOUT ROWID;
CREATE TABLE state (tbl TEXT, key BLOB, row BLOB NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID;
CREATE TABLE blobs (sha256 BLOB PRIMARY KEY, entry INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE INDEX blobs_entry ON blobs (entry);
CREATE TABLE head (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), size INTEGER NOT NULL,
    note BLOB NOT NULL);
CREATE TABLE transitions (size INTEGER PRIMARY KEY, before BLOB NOT NULL, note BLOB);
CREATE TABLE cosigned (key BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE misbehaviour (seen_height INTEGER NOT NULL, kind TEXT NOT NULL,
    address BLOB NOT NULL, agency TEXT, height INTEGER NOT NULL, time_ms INTEGER NOT NULL);
CREATE TABLE splits (key BLOB, size INTEGER, note BLOB NOT NULL, PRIMARY KEY (key, size))
    WITHOUT ROWID;
"""

Connect = Callable[[Path], sqlite3.Connection]


def connect_sqlite(path: Path) -> sqlite3.Connection:
    """A connection that commits when told, and whose commits survive power loss."""
    # One thread at a time uses it, not always the same one.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Proof that reached the engine: this validator signed two things where one is allowed.

    `address` is the engine's name for its key; `agency` is None where that was never on the ledger.
    """

    kind: str
    address: bytes
    agency: MemberId | None
    height: int
    time_ms: TimeMs


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it counted: its accepted transactions, and every verdict.

    `verdicts` are entry indexes, and for a rejected transaction its code, negated; what it said
    is not kept.
    """

    time_ms: TimeMs
    size: int
    app_hash: bytes
    verdicts: tuple[int, ...]
    transactions: tuple[bytes, ...]


class PastLog(Protocol):
    """Where the entries are that a genesis pins: an old node's store, or a replica."""

    def leaves(self, first: int, end: int) -> list[bytes]: ...

    def blob(self, digest: bytes) -> bytes | None:
        """None for one that is not there, such as one that was erased."""
        ...


class LogReader:
    """Reads of what is stored; also a prover's `HashReader`. One caller at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def node(self, level: int, index: int) -> bytes:
        """As `HashReader.node`. Raises: Malformed, where the tree has no such subtree."""
        row = self._row("SELECT hash FROM nodes WHERE level = ? AND idx = ?", level, index)
        if row is None:
            raise Malformed("tlog.range", low=index, high=self.size)
        return _bytes(row[0])

    def tile(self, tile: Tile) -> bytes:
        """A tile or entry bundle. Raises: Malformed, where it is not (yet) all there."""
        first, last = tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width - 1
        if tile.level == ENTRIES:
            sql = "SELECT leaf FROM entries WHERE idx BETWEEN ? AND ? ORDER BY idx"
            found = [_bytes(row[0]) for row in self._rows(sql, first, last)]
        else:
            sql = "SELECT hash FROM nodes WHERE level = ? AND idx BETWEEN ? AND ? ORDER BY idx"
            level = tile.level * TILE_HEIGHT
            found = [_bytes(row[0]) for row in self._rows(sql, level, first, last)]
        if len(found) != tile.width:
            raise Malformed("tlog.tile", level=tile.level, index=tile.index, width=tile.width)
        return encode_bundle(found) if tile.level == ENTRIES else b"".join(found)

    def leaf(self, index: int) -> bytes | None:
        row = self._row("SELECT leaf FROM entries WHERE idx = ?", index)
        return None if row is None else _bytes(row[0])

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Leaves [first, end), as many as there are."""
        sql = "SELECT leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [_bytes(row[0]) for row in self._rows(sql, first, end)]

    def find(self, statement: bytes, digest: bytes) -> int | None:
        """The index of this very statement, byte for byte, if it is in the log."""
        row = self._row("SELECT idx, leaf FROM entries WHERE digest = ?", digest)
        if row is None or parse_entry(_bytes(row[1])).statement != statement:
            return None
        return int(row[0])

    def blob(self, digest: bytes) -> bytes | None:
        row = self._row("SELECT bytes FROM blobs WHERE sha256 = ?", digest)
        return None if row is None else _bytes(row[0])

    def blobless(self, end: int) -> int:
        """How many blobs that the first `end` entries name are not here: erased, or not copied."""
        named = (parse_envelope(parse_entry(leaf).statement).body for leaf in self.leaves(0, end))
        wanted = {body.blob_sha256 for body in named if isinstance(body, BLOB_KINDS)}
        return sum(self.blob_entry(digest) is None for digest in wanted)

    def blob_entry(self, digest: bytes) -> int | None:
        """The first entry that committed to a blob: it says whom the blob was released to."""
        row = self._row("SELECT entry FROM blobs WHERE sha256 = ?", digest)
        return None if row is None else int(row[0])

    def entry_sizes(self, first: int, end: int) -> list[int]:
        """What each of these entries takes in a chunk of a snapshot. Units: bytes."""
        sql = (
            "SELECT length(leaf), coalesce(length(bytes), 0) FROM entries LEFT JOIN blobs"
            " ON blobs.entry = entries.idx WHERE idx >= ? AND idx < ? ORDER BY idx"
        )
        return [carried_bytes(int(row[0]), int(row[1])) for row in self._rows(sql, first, end)]

    def carried(self, first: int, end: int) -> list[Carried]:
        """Entries as a chunk of a snapshot carries them."""
        sql = (
            "SELECT leaf, bytes FROM entries LEFT JOIN blobs ON blobs.entry = entries.idx"
            " WHERE idx >= ? AND idx < ? ORDER BY idx"
        )
        rows = self._rows(sql, first, end)
        return [(_bytes(leaf), None if blob is None else _bytes(blob)) for leaf, blob in rows]

    def head_of_block(self, height: int) -> tuple[int, bytes] | None:
        """The log's size and root after a block; None where this node did not see it."""
        row = self._row("SELECT size, root FROM blocks WHERE height = ?", height)
        return None if row is None else (int(row[0]), _bytes(row[1]))

    @property
    def is_fresh(self) -> bool:
        """No block was committed here yet: as it was founded, or restored from a snapshot."""
        restored = self._row("SELECT value FROM meta WHERE name = ?", _RESTORED)
        return self.height == (0 if restored is None else int(restored[0]))

    @property
    def size(self) -> int:
        return int(self._must("SELECT size FROM blocks ORDER BY height DESC LIMIT 1")[0])

    @property
    def time_ms(self) -> TimeMs:
        """The time of the last block; the genesis has one too."""
        return TimeMs(int(self._must("SELECT time_ms FROM blocks ORDER BY height DESC LIMIT 1")[0]))

    @property
    def root(self) -> bytes:
        """Of the log as of the last block."""
        return _bytes(self._must("SELECT root FROM blocks ORDER BY height DESC LIMIT 1")[0])

    @property
    def height(self) -> int:
        return int(self._must("SELECT max(height) FROM blocks")[0])

    def head(self) -> tuple[int, bytes] | None:
        """The newest signed head: its size and its note."""
        row = self._row("SELECT size, note FROM head")
        return None if row is None else (int(row[0]), _bytes(row[1]))

    def transitions(self) -> tuple[int, ...]:
        """The sizes at which the policy changed and that have their head signed under both."""
        sql = "SELECT size FROM transitions WHERE note IS NOT NULL ORDER BY size"
        return tuple(int(row[0]) for row in self._rows(sql))

    def policy_changes(self) -> tuple[tuple[int, bytes, bool], ...]:
        """Every policy change: its size, the policy before it, whether its head is signed."""
        sql = "SELECT size, before, note IS NOT NULL FROM transitions ORDER BY size"
        return tuple((int(row[0]), _bytes(row[1]), bool(row[2])) for row in self._rows(sql))

    def misbehaviour(self) -> tuple[Misbehaviour, ...]:
        """All that the engine proved against validators, oldest first."""
        sql = "SELECT kind, address, agency, height, time_ms FROM misbehaviour ORDER BY rowid"
        return tuple(
            Misbehaviour(
                row[0],
                _bytes(row[1]),
                None if row[2] is None else MemberId(row[2]),
                int(row[3]),
                TimeMs(int(row[4])),
            )
            for row in self._rows(sql)
        )

    def splits(self) -> tuple[tuple[bytes, int, bytes], ...]:
        """Cosigners' keys, the sizes for which they signed another root than ours, the notes."""
        sql = "SELECT key, size, note FROM splits ORDER BY size, key"
        return tuple((_bytes(row[0]), int(row[1]), _bytes(row[2])) for row in self._rows(sql))

    def transition(self, size: int) -> tuple[bytes, bytes | None] | None:
        """A policy change: the policy text before it, and the note once it is signed."""
        row = self._row("SELECT before, note FROM transitions WHERE size = ?", size)
        if row is None:
            return None
        return _bytes(row[0]), None if row[1] is None else _bytes(row[1])

    def cosigned(self, key: bytes) -> int | None:
        """The size of the newest head here that a cosigner signed."""
        row = self._row("SELECT size FROM cosigned WHERE key = ?", key)
        return None if row is None else int(row[0])

    def block(self, height: int) -> StoredBlock:
        """A block to replay, heights from 1. Raises: Malformed, where a blob of it is gone."""
        sql = "SELECT time_ms, size, app_hash, verdicts FROM blocks WHERE height = ?"
        row = self._must(sql, height)
        before = int(self._must("SELECT size FROM blocks WHERE height = ?", height - 1)[0])
        raws = tuple(self._transaction(index) for index in range(before, int(row[1])))
        verdicts = cbor.parse(_bytes(row[3]))
        if not isinstance(verdicts, list):
            raise Broken("store.verdicts", height=height)
        numbers = tuple(item for item in verdicts if isinstance(item, int))
        return StoredBlock(TimeMs(int(row[0])), int(row[1]), _bytes(row[2]), numbers, raws)

    def _transaction(self, index: int) -> bytes:
        statement = parse_entry(_bytes(self._must(_LEAF, index)[0])).statement
        body = parse_envelope(statement).body
        if not isinstance(body, BLOB_KINDS):
            return encode_transaction(Transaction(statement, None))
        blob = self.blob(body.blob_sha256)
        if blob is None:
            raise Malformed("store.blob_gone", entry=index)
        return encode_transaction(Transaction(statement, blob))

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as err:
            raise Unavailable("store.read", why=type(err).__name__) from err

    def _row(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def _must(self, sql: str, *values: object) -> tuple[Any, ...]:
        row = self._row(sql, *values)
        if row is None:
            raise Broken("store.row_gone")
        return row


_RESTORING = "restoring"  # Until a snapshot is restored whole.
_RESTORED = "restored"  # The height of the snapshot that this store began with.
_LEAF = "SELECT leaf FROM entries WHERE idx = ?"
# Both only grow: the head of an old policy change may be completed after a newer head.
_HEAD = (
    "INSERT INTO head VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size,"
    " note = excluded.note WHERE excluded.size >= head.size"
)
_COSIGNED = (
    "INSERT INTO cosigned VALUES (?, ?) ON CONFLICT DO UPDATE SET size = excluded.size"
    " WHERE excluded.size > cosigned.size"
)


class Store(LogReader):
    """The one writer. After a write that failed it takes no more: open the file again, which
    shows whether the block is there.
    """

    def __init__(
        self,
        path: Path,
        founding: Founding,
        connect: Connect = connect_sqlite,
        past: PastLog | None = None,
        folds: frozenset[int] = FOLDS,
    ) -> None:
        """Open the file, or found it, where its genesis continues another log out of `past`.

        Raises: Unavailable; Unproven (another genesis; not the entries that it pins); Broken.
        """
        try:
            super().__init__(connect(path))
        except sqlite3.Error as err:
            raise Unavailable("store.open", why=type(err).__name__) from err
        self._path = path
        self._connect = connect
        self._founding = founding
        self._folds = folds
        self._failed = False
        if self._rows("PRAGMA user_version")[0][0] != SCHEMA_VERSION:
            self._found(past)
        known = self._must("SELECT value FROM meta WHERE name = 'genesis_sha256'")[0]
        if _bytes(known) != founding.digest:
            self.close()
            raise Unproven("store.genesis", mend="this directory belongs to another consortium")
        if self._row("SELECT value FROM meta WHERE name = ?", _RESTORING) is not None:
            self.begin_restoring()  # Again: the last attempt did not come to its end.
        self._frontier = frontier_at(self, self.size)

    def reader(self) -> LogReader:
        """A second connection, for another thread; it sees what is committed."""
        return LogReader(self._connect(self._path))

    def ledger(self) -> Ledger:
        """The fold as of the last block. Raises: Broken, where it is not what was agreed."""
        state = State()
        rows = self._rows("SELECT tbl, key, row FROM state ORDER BY tbl, key")
        if any(name not in TABLES for name, _, _ in rows):
            raise Broken("store.table")
        try:
            state.commit(
                Write(name, _bytes(key), parse_row(name, _bytes(row))) for name, key, row in rows
            )
        except Malformed as err:
            raise Broken("store.state_row") from err
        ledger = Ledger(self._founding.genesis.chain, state, self._frontier, self._folds)
        sql = "SELECT root, app_hash FROM blocks ORDER BY height DESC LIMIT 1"
        root, app_hash = self._must(sql)
        if ledger.frontier.root() != root or ledger.app_hash() != app_hash:
            raise Broken("store.app_hash", height=self.height)
        return ledger

    def commit(
        self,
        result: BlockResult,
        policy_before: bytes | None = None,
        misbehaviour: Sequence[Misbehaviour] = (),
    ) -> None:
        """Keep a whole block; on return it survives power loss. `policy_before` where it changed
        the policy. Raises: Unavailable; the block may or may not be stored.
        """
        hashes = [leaf_hash(item.leaf) for item in result.logged]
        nodes = completed_nodes(self._frontier, hashes)
        with self._transacting() as run:
            for item in result.logged:
                digest = item.accepted.envelope.digest
                run("INSERT INTO entries VALUES (?, ?, ?)", item.index, item.leaf, digest)
                blob = item.transaction.blob
                if blob is not None:
                    sql = "INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
                    run(sql, sha256(blob), item.index, blob)
            for node in nodes:
                run("INSERT INTO nodes VALUES (?, ?, ?)", node.level, node.index, node.hash)
            _write_state(run, result.writes)
            if policy_before is not None:
                sql = "INSERT INTO transitions VALUES (?, ?, NULL)"
                run(sql, result.frontier.size, policy_before)
            height = self.height + 1
            for seen in misbehaviour:
                row = (height, seen.kind, seen.address, seen.agency, seen.height, seen.time_ms)
                run("INSERT INTO misbehaviour VALUES (?, ?, ?, ?, ?, ?)", *row)
            _write_block(run, height, result)
        self._frontier = result.frontier

    def publish(self, size: int, note: bytes, signers: Sequence[bytes]) -> None:
        """Keep a signed head, unless a larger one is there, and, where the policy changed at its
        size, keep it for ever.

        `signers` are the public keys that signed. Raises: Unavailable.
        """
        with self._transacting() as run:
            run(_HEAD, size, note)
            sql = "UPDATE transitions SET note = ? WHERE size = ? AND note IS NULL"
            run(sql, note, size)
            for key in signers:
                run(_COSIGNED, key, size)

    def keep_split(self, key: bytes, size: int, note: bytes) -> None:
        """Keep a cosigner's signature over another root than ours. Raises: Unavailable."""
        with self._transacting() as run:
            run("INSERT OR IGNORE INTO splits VALUES (?, ?, ?)", key, size, note)

    def founded(self) -> Ledger:
        """The ledger before this node's first block."""
        leaves = self.leaves(0, self._founding.begins_at)
        return Ledger.begun(self._founding, leaves, self._folds)

    def begin_restoring(self) -> None:
        """Everything as it was founded, and a mark that holds until `end_restoring`.

        Only for a store that is fresh. Raises: Broken; Unavailable.
        """
        if not self.is_fresh:
            raise Broken("store.not_fresh", height=self.height)
        begins = self.founded()
        size = begins.frontier.size
        with self._transacting() as run:
            run("INSERT OR REPLACE INTO meta VALUES (?, 1)", _RESTORING)
            run("DELETE FROM meta WHERE name = ?", _RESTORED)
            run("DELETE FROM entries WHERE idx >= ?", size)
            run("DELETE FROM blobs WHERE entry >= ?", size)
            run("DELETE FROM nodes WHERE (idx + 1) << level > ?", size)
            run("DELETE FROM transitions WHERE size > ?", size)
            run("DELETE FROM head WHERE size > ?", size)
            run("DELETE FROM blocks WHERE height > 0")
            run("DELETE FROM state")
            _write_state(run, _rows_of(begins.state))
        self._frontier = begins.frontier

    def keep_restored(self, first: int, entries: Sequence[Restored]) -> None:
        """As `RestoringStore`."""
        if first != self._frontier.size:
            raise Broken("store.restored_order", wanted=self._frontier.size, got=first)
        hashes = [leaf_hash(entry.leaf) for entry in entries]
        nodes = completed_nodes(self._frontier, hashes)
        with self._transacting() as run:
            for index, entry in enumerate(entries, first):
                run("INSERT INTO entries VALUES (?, ?, ?)", index, entry.leaf, entry.digest)
                if entry.blob is not None:
                    run("INSERT INTO blobs VALUES (?, ?, ?)", entry.blob[0], index, entry.blob[1])
            for node in nodes:
                run("INSERT INTO nodes VALUES (?, ?, ?)", node.level, node.index, node.hash)
        self._frontier = self._frontier.extend(hashes)

    def end_restoring(self, height: int, folded: Folded) -> None:
        """As `RestoringStore`. Raises: Broken, where the entries are not what was folded."""
        ledger = folded.ledger
        if ledger.frontier != self._frontier:
            raise Broken("store.restored_order", wanted=ledger.frontier.size)
        writes = _rows_of(ledger.state)
        time_ms = consortium(ledger.state).time_ms
        done = BlockResult(time_ms, (), (), writes, ledger.frontier, ledger.app_hash())
        with self._transacting() as run:
            run("DELETE FROM state")
            _write_state(run, writes)
            for change in folded.changes:
                row = (change.size, change.before, change.note)
                run("INSERT INTO transitions VALUES (?, ?, ?)", *row)
            _write_block(run, height, done)
            run("INSERT OR REPLACE INTO meta VALUES (?, ?)", _RESTORED, height)
            run("DELETE FROM meta WHERE name = ?", _RESTORING)

    def _found(self, past: PastLog | None) -> None:
        begins_at = self._founding.begins_at
        if begins_at and past is None:
            self.close()
            raise Unavailable("store.no_past", entries=begins_at, mend="accord node inherit")
        leaves = [] if past is None else past.leaves(0, begins_at)
        ledger = Ledger.begun(self._founding, leaves, self._folds)
        writes = _rows_of(ledger.state)
        time_ms = consortium(ledger.state).time_ms
        empty = BlockResult(time_ms, (), (), writes, ledger.frontier, ledger.app_hash())
        with self._transacting() as run:
            for statement in SCHEMA.split(";"):
                run(statement)
            run("INSERT INTO meta VALUES ('genesis_sha256', ?)", self._founding.digest)
            if past is not None:
                _write_past(run, leaves, past)
            _write_state(run, writes)
            _write_block(run, 0, empty)
            run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _transacting(self) -> Iterator[Callable[..., None]]:
        """All that is run inside, or nothing. Raises: Unavailable."""
        if self._failed:
            raise Unavailable("store.halted")

        def run(sql: str, *values: object) -> None:
            self._connection.execute(sql, values)

        # What stops here, by whatever error, may or may not be on the disk.
        self._failed = True
        try:
            run("BEGIN IMMEDIATE")
            yield run
            # Crash up to here: the journal is incomplete and the next opening ignores it.
            run("COMMIT")
            # POINT OF NO RETURN. Crash from here: the next opening finds the block.
        except sqlite3.Error as err:
            raise Unavailable("store.commit", why=type(err).__name__) from err
        finally:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
        self._failed = False


def _rows_of(state: State) -> tuple[Write, ...]:
    """All rows of a state."""
    return tuple(
        Write(table.name, key, row) for table in TABLES.values() for key, row in state.rows(table)
    )


def _write_past(run: Callable[..., None], leaves: Sequence[bytes], past: PastLog) -> None:
    """The entries that the genesis pins, as they would stand here had they been ordered here."""
    for node in completed_nodes(Frontier(), map(leaf_hash, leaves)):
        run("INSERT INTO nodes VALUES (?, ?, ?)", node.level, node.index, node.hash)
    for index, leaf in enumerate(leaves):
        envelope = parse_envelope(parse_entry(leaf).statement)
        run("INSERT INTO entries VALUES (?, ?, ?)", index, leaf, envelope.digest)
        if isinstance(envelope.body, BLOB_KINDS):
            digest = envelope.body.blob_sha256
            blob = past.blob(digest)
            if blob is not None and sha256(blob) != digest:
                raise Unproven("store.past_blob", entry=index)
            if blob is not None:
                sql = "INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
                run(sql, digest, index, blob)


def _write_state(run: Callable[..., None], writes: Sequence[Write]) -> None:
    for write in writes:
        encoded = write.encoded()
        if encoded is None:
            run("DELETE FROM state WHERE tbl = ? AND key = ?", write.table, write.key)
        else:
            run("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", write.table, write.key, encoded)


def _write_block(run: Callable[..., None], height: int, result: BlockResult) -> None:
    verdicts = [item if type(item) is int else -int(item) for item in result.verdicts]
    run(
        "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)",
        height,
        result.time_ms,
        result.frontier.size,
        result.frontier.root(),
        result.app_hash,
        cbor.encode([*verdicts]),
    )


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise Broken("store.column")
    return value
