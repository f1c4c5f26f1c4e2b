"""The ledger's state: a few small tables of records, and the digest that all validators agree on.

State is a pure function of the accepted entries and the genesis: nothing here knows a block
height, a rejected statement or an empty block, so that a follower that folds the log alone holds
the very same state as a validator.
Source: docs/spec/ledger.md, section State.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, Protocol, TypeVar, cast

from accord.statements.bodies import (
    Action,
    Groups,
    Index,
    Jurisdiction,
    Jurisdictions,
    Member,
    Millis,
    Operator,
    Parameters,
    Recipient,
    Recipients,
    Role,
    Sha256,
    Title,
    Version,
)
from accord.statements.rules import RuleSet
from accord.wire import record
from accord.wire.digests import labelled_sha256
from accord.wire.limits import AGENCIES_MAX, BATCH_LISTINGS_MAX, RECIPIENTS_MAX
from accord.wire.record import Compact, Count, Size, Uint

R = TypeVar("R")


class Standing(StrEnum):
    ADMITTED = "admitted"
    SUSPENDED = "suspended"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class AgencyRow:
    """`number` is the agency's place in the order of admission: its bit in the registry's masks."""

    number: Annotated[int, Uint(0, 2**16)]
    title: Title
    sovereign: Jurisdiction  # Whose law-enforcement agency it is; certification counts these.
    jurisdictions: Jurisdictions  # Where it may make rules.
    standing: Standing
    since_ms: Millis


@dataclass(frozen=True, slots=True)
class PlatformRow:
    title: Title
    jurisdictions: Jurisdictions
    groups: Groups
    standing: Standing
    since_ms: Millis


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key once registered stays known, so that it can never be registered again."""

    member: Member
    role: Role
    operator: Operator
    public: Annotated[bytes, Size(32, 1216)]
    since_ms: Millis
    revoked_ms: Millis | None


@dataclass(frozen=True, slots=True)
class CompromiseRow:
    """What a key said from `since_ms` on is void to the registry: its member declared it."""

    member: Member
    since_ms: Millis


@dataclass(frozen=True, slots=True)
class KeysetRow:
    """`changes` are the keysets since `day_ms`, the first one of a day that is counted."""

    version: Annotated[int, Uint(0, 2**31)]
    day_ms: Millis
    changes: Annotated[int, Uint(0, 2**31)]


@dataclass(frozen=True, slots=True)
class RuleRow:
    version: Version
    entry: Index
    agency: Member
    since_ms: Millis
    rule_set: RuleSet


@dataclass(frozen=True, slots=True)
class PublicationRow:
    """What later statements about a batch are checked against."""

    agency: Member
    operator: Operator
    count: Annotated[int, Uint(1, BATCH_LISTINGS_MAX)]
    approved_by: Index | None


class ProposalStatus(StrEnum):
    OPEN = "open"
    PASSED = "passed"  # Waits for its time-lock.
    DONE = "done"
    FAILED = "failed"  # Passed, but no longer possible when its time came.
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, order=True)
class Ballot(Compact):
    agency: Member
    approve: bool


@dataclass(frozen=True, slots=True)
class ProposalRow:
    action: Action
    proposer: Member
    opened_ms: Millis
    ballots: Annotated[tuple[Ballot, ...], Count(0, AGENCIES_MAX, ordered=True)]
    status: ProposalStatus
    due_ms: Millis | None  # When a passed proposal takes effect.


@dataclass(frozen=True, slots=True)
class AgendaRow:
    """A proposal that time can still move: open, or passed and waiting for its time-lock."""

    proposer: Member


@dataclass(frozen=True, slots=True)
class PendingEpoch:
    number: Version
    commitment: Sha256
    entry: Index
    opener: Member
    opened_ms: Millis
    recipients: Recipients
    acknowledged: Annotated[tuple[Member, ...], Count(0, AGENCIES_MAX, ordered=True)]


@dataclass(frozen=True, slots=True, order=True)
class Stalled(Compact):
    """An agency whose pending epoch was replaced, and when it had opened it."""

    agency: Member
    opened_ms: Millis


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A group's key: the generation in force (0 before the first), and the next one if pending.

    `recipients` hold the key in force; `rotate_by_ms` is set when a member left; `stalled` are
    those who tried in vain to open the next one, and now let others try.
    """

    number: Annotated[int, Uint(0, 2**31)]
    commitment: Sha256
    recipients: Annotated[tuple[Recipient, ...], Count(0, RECIPIENTS_MAX, ordered=True)]
    rotate_by_ms: Millis | None
    pending: PendingEpoch | None
    stalled: Annotated[tuple[Stalled, ...], Count(0, AGENCIES_MAX, ordered=True)]


@dataclass(frozen=True, slots=True)
class SeenRow:
    """The mark of an unexpired statement."""


@dataclass(frozen=True, slots=True)
class TallyRow:
    """How many statements of a member were accepted in one hour, numbered since 1970, and how
    many listings of others it disputed in one day."""

    hour: Index
    statements: Annotated[int, Uint(1, 2**31)]
    day: Index = 0
    disputed: Annotated[int, Uint(0, 2**31)] = 0


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """How much a platform said of listings in the newest day, numbered since 1970, in which it
    said anything."""

    day: Index
    statements: Annotated[int, Uint(1, 2**31)]
    words: Annotated[int, Uint(1, 2**31)]


@dataclass(frozen=True, slots=True)
class ConsortiumRow:
    """The clock and counters of the fold."""

    time_ms: Millis  # Block time of the newest entry.
    size: Index  # Entries so far.
    agencies_ever: Annotated[int, Uint(0, 2**16)]
    groups: Groups


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A table's name, its row type, and how many leading key bytes make one digest bucket.

    Buckets keep the digest cheap: a block re-hashes only the buckets that it wrote to.
    """

    name: str
    row: type[R]
    bucket_bytes: int = 0


AGENCIES_TABLE = Table("agencies", AgencyRow)
AGENDA = Table("agenda", AgendaRow)
COMPROMISES = Table("compromises", CompromiseRow)
CONSORTIUM = Table("consortium", ConsortiumRow)
EPOCHS = Table("epochs", EpochRow)
FEEDBACK = Table("feedback", FeedbackRow)
KEYS = Table("keys", KeyRow, bucket_bytes=1)
KEYSETS = Table("keysets", KeysetRow)
PARAMETERS = Table("parameters", Parameters)
PLATFORMS = Table("platforms", PlatformRow)
PROPOSALS = Table("proposals", ProposalRow, bucket_bytes=7)  # Kept for ever, as publications are.
PUBLICATIONS = Table("publications", PublicationRow, bucket_bytes=7)  # 256 entries a bucket.
RULES = Table("rules", RuleRow)
SEEN = Table("seen", SeenRow, bucket_bytes=8)  # Key: expiry minute (8 bytes), statement digest.
TALLIES = Table("tallies", TallyRow)

TABLES: dict[str, Table[object]] = {
    table.name: cast(Table[object], table)
    for table in (
        AGENCIES_TABLE,
        AGENDA,
        COMPROMISES,
        CONSORTIUM,
        EPOCHS,
        FEEDBACK,
        KEYS,
        KEYSETS,
        PARAMETERS,
        PLATFORMS,
        PROPOSALS,
        PUBLICATIONS,
        RULES,
        SEEN,
        TALLIES,
    )
}
ONLY = b""  # The key of a table's single row.


@dataclass(frozen=True, slots=True)
class Write:
    """A row to store, or None to remove it."""

    table: str
    key: bytes
    row: object | None

    def encoded(self) -> bytes | None:
        return None if self.row is None else record.encode_record(self.row)


class Reader(Protocol):
    """Read access to state, whether stored or drafted."""

    def get(self, table: Table[R], key: bytes) -> R | None: ...

    def rows(self, table: Table[R]) -> Iterator[tuple[bytes, R]]:
        """All rows in key order."""
        ...


def index_key(index: int) -> bytes:
    """An entry index as a key: 8 bytes big-endian, so that key order is log order."""
    return index.to_bytes(8, "big")


class State:
    """The tables in memory. One writer; `commit` is the only change."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, object]] = {name: {} for name in TABLES}
        self._digests: dict[tuple[str, bytes], bytes] = {}
        self._stale: set[tuple[str, bytes]] = set()
        self._buckets: dict[tuple[str, bytes], set[bytes]] = {}

    def get(self, table: Table[R], key: bytes) -> R | None:
        return cast(R | None, self._tables[table.name].get(key))

    def rows(self, table: Table[R]) -> Iterator[tuple[bytes, R]]:
        rows = cast(dict[bytes, R], self._tables[table.name])
        for key in sorted(rows):
            yield key, rows[key]

    def commit(self, writes: Iterable[Write]) -> None:
        for write in writes:
            rows = self._tables[write.table]
            bucket = (write.table, write.key[: TABLES[write.table].bucket_bytes])
            keys = self._buckets.setdefault(bucket, set())
            if write.row is None:
                rows.pop(write.key, None)
                keys.discard(write.key)
            else:
                rows[write.key] = write.row
                keys.add(write.key)
            self._stale.add(bucket)

    def digest(self) -> bytes:
        """What validators agree on: every row of every table, independent of history.

        Shape: labelled SHA-256 over (table, bucket, bucket digest) in order; a bucket digest
        covers its (key, encoded row) pairs in key order; an empty bucket is left out.
        """
        for name, prefix in self._stale:
            keys = self._buckets.get((name, prefix), set())
            if not keys:
                self._digests.pop((name, prefix), None)
                self._buckets.pop((name, prefix), None)
                continue
            rows = self._tables[name]
            pairs = (part for key in sorted(keys) for part in (key, _encoded(rows[key])))
            self._digests[name, prefix] = labelled_sha256("state-bucket", *pairs)
        self._stale.clear()
        parts: list[bytes] = []
        for name, prefix in sorted(self._digests):
            parts += [name.encode(), prefix, self._digests[name, prefix]]
        return labelled_sha256("state", *parts)


def _encoded(row: object) -> bytes:
    return record.encode_record(row)


class Draft:
    """State as it would be after some writes; thrown away if the statement is rejected."""

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._writes: dict[str, dict[bytes, Write]] = {}

    def get(self, table: Table[R], key: bytes) -> R | None:
        write = self._writes.get(table.name, {}).get(key)
        return self._base.get(table, key) if write is None else cast(R | None, write.row)

    def rows(self, table: Table[R]) -> Iterator[tuple[bytes, R]]:
        changed = self._writes.get(table.name)
        if not changed:
            yield from self._base.rows(table)
            return
        merged = dict(self._base.rows(table))
        for key, write in changed.items():
            if write.row is None:
                merged.pop(key, None)
            else:
                merged[key] = cast(R, write.row)
        for key in sorted(merged):
            yield key, merged[key]

    def put(self, table: Table[R], key: bytes, row: R | None) -> None:
        self.absorb(Write(table.name, key, row))

    def absorb(self, write: Write) -> None:
        """Take over a write, such as one that another draft made."""
        self._writes.setdefault(write.table, {})[write.key] = write

    def writes(self) -> tuple[Write, ...]:
        """In the order of table and key, so that stores and digests never see another."""
        return tuple(
            self._writes[table][key]
            for table in sorted(self._writes)
            for key in sorted(self._writes[table])
        )


def parse_row(table_name: str, raw: bytes) -> object:
    """A stored row. Raises: Malformed."""
    return record.parse_record(TABLES[table_name].row, raw)
