"""Whose word counts: the consortium's members as masks over a registry's agencies.

Not here: what they said (listings), how many are needed (obligation).
Invariants: only agencies in good standing count, for and against a listing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accord.ledger.state import (
    AGENCIES_TABLE,
    COMPROMISES,
    CONSORTIUM,
    ONLY,
    PARAMETERS,
    AgencyRow,
    Reader,
    Standing,
)
from accord.registry.columns import Bytes, Flags, Masks, Rows
from accord.registry.listings import Kind, Opinions, Snapshot
from accord.statements.bodies import Parameters
from accord.wire.errors import Broken
from accord.wire.ids import JurisdictionId, TimeMs


@dataclass(frozen=True, slots=True, eq=False)
class Void:
    """What was said with a key that its owner has since declared compromised as of then.

    Shape: `since_ms` one for each of `Snapshot.keys`, and one more; `opinions` and `batches` one
    flag each; `reopened` the rows, ascending, that nobody but such a key withdrew.
    """

    since_ms: NDArray[np.int64]

    opinions: Flags
    batches: Flags
    reopened: Rows


@dataclass(frozen=True, eq=False)
class Bench:
    """Masks over `Snapshot.agencies`: those in good standing, by sovereign, and by jurisdiction
    that they are accredited for."""

    admitted: int
    sovereigns: tuple[int, ...]
    home: Mapping[JurisdictionId, int]
    void: Void

    def judges_as(self, before: "Bench", agencies: int) -> bool:
        """Whether what had been said by then weighs as it did, when the log had shown so many
        agencies: whose word counts, for which sovereign, with which keys. Homes may differ."""
        known = (1 << agencies) - 1
        spans = [members & known for members in self.sovereigns]
        keys = len(before.void.since_ms) - 1
        return (
            self.admitted & known == before.admitted
            and [members for members in spans if members] == list(before.sovereigns)
            and np.array_equal(self.void.since_ms[:keys], before.void.since_ms[:keys])
        )

    @property
    def void_opinions(self) -> Flags:
        return self.void.opinions

    def sovereigns_in(self, masks: Masks) -> Bytes:
        """How many distinct sovereigns each mask of agencies in good standing spans."""
        spans = np.zeros(len(masks), dtype=np.uint64)
        for number, table in enumerate(self._tables):
            some = masks if number == 0 else masks >> np.uint64(16 * number)
            spans |= table[some.astype(np.uint16) & np.uint16(len(table) - 1)]
        return np.bitwise_count(spans)

    @cached_property
    def _tables(self) -> tuple[Masks, ...]:
        """The sovereigns of 16 agencies at once, as masks by sovereign."""
        tables: list[Masks] = []
        agencies = sum(self.sovereigns).bit_length()
        for first in range(0, agencies, 16):
            size = 1 << min(16, agencies - first)
            table = np.zeros(size, dtype=np.uint64)
            for number, members in enumerate(self.sovereigns):
                words = np.arange(size) & (members >> first & 0xFFFF)
                table |= np.where(words != 0, np.uint64(1 << number), np.uint64(0))
            tables.append(table)
        return tuple(tables)


def bench_of(snapshot: Snapshot, state: Reader) -> Bench:
    rows = [(state.get(AGENCIES_TABLE, name.encode()), name) for name in snapshot.agencies]
    admitted = 0
    sovereigns: dict[JurisdictionId, int] = {}
    home: dict[JurisdictionId, int] = {}
    for bit, (row, _) in enumerate(rows):
        if row is None:  # The ledger fold let it speak, so it has a row.
            raise Broken("registry.agency_unknown", bit=bit)
        if row.standing is Standing.ADMITTED:
            admitted |= 1 << bit
            _note(row, 1 << bit, sovereigns, home)
    return Bench(admitted, tuple(sovereigns.values()), home, _void_of(snapshot, state))


def _void_of(snapshot: Snapshot, state: Reader) -> Void:
    batches, opinions = snapshot.batches, snapshot.opinions
    since = np.full(len(snapshot.keys) + 1, 2**62, dtype=np.int64)  # The last: not approved.
    for number, key in enumerate(snapshot.keys):
        row = state.get(COMPROMISES, key)
        if row is not None:
            since[number] = row.since_ms
    gone = opinions.time_ms >= since[opinions.key]
    unsound = batches.time_ms >= since[batches.key]
    unsound |= batches.approved_ms >= since[batches.approver]
    return Void(since, gone, unsound, _reopened(snapshot, gone))


def _reopened(snapshot: Snapshot, gone: Flags) -> Rows:
    opinions = snapshot.opinions
    withdrawals = opinions.kind == Kind.WITHDRAW
    if not (withdrawals & gone).any():
        return np.empty(0, dtype=np.uint32)
    left, right = (
        _covered(opinions, places)
        for places in (np.flatnonzero(withdrawals & gone), np.flatnonzero(withdrawals & ~gone))
    )
    rows: Rows = np.setdiff1d(left, right)
    return rows


def _covered(opinions: Opinions, places: NDArray[np.intp]) -> Rows:
    edges = [(int(opinions.first[at]), int(opinions.count[at])) for at in places]
    ranges = [np.arange(first, first + count, dtype=np.uint32) for first, count in edges]
    return np.unique(np.concatenate(ranges)) if ranges else np.empty(0, dtype=np.uint32)


def _note(
    row: AgencyRow,
    bit: int,
    sovereigns: dict[JurisdictionId, int],
    home: dict[JurisdictionId, int],
) -> None:
    sovereigns[row.sovereign] = sovereigns.get(row.sovereign, 0) | bit
    for jurisdiction in row.jurisdictions:
        home[jurisdiction] = home.get(jurisdiction, 0) | bit


def block_time_ms(state: Reader) -> TimeMs:
    """The block time of the newest entry: the clock of everything that is attested."""
    whole = state.get(CONSORTIUM, ONLY)
    if whole is None:
        raise Broken("registry.no_consortium")
    return whole.time_ms


def parameters_of(state: Reader) -> Parameters:
    parameters = state.get(PARAMETERS, ONLY)
    if parameters is None:
        raise Broken("registry.no_consortium")
    return parameters
