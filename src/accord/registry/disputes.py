"""Which disputes bear on which rows: at home at once, everywhere when upheld, until they lapse.

Not here: what a disputed row leads to (matching).
Invariants: a dispute of an agency that does not count changes nothing; a dispute that is neither
renewed nor upheld ends by itself; a row that is upheld stays so.
Source: docs/spec/registry.md, section Dispute.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Flags, Masks, Rows
from accord.registry.listings import Kind, Snapshot
from accord.registry.standing import Bench
from accord.statements.bodies import Parameters
from accord.wire.ids import JurisdictionId, TimeMs

_ONE: Final = np.uint64(1)
NOBODY: Final[Rows] = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Disputes:
    """Shape: `rows` ascending, those disputed by an agency that counts; the others aligned.

    `bearing` holds the agencies whose dispute has not lapsed; `upheld` says that the publisher
    disputes its own listing, or that agencies of enough sovereigns did within one life.
    """

    rows: Rows
    bearing: Masks
    upheld: Flags
    own: Rows  # Those that their publisher disputes, ascending.
    bench: Bench

    def review_only(self, jurisdiction: JurisdictionId) -> Rows:
        """The rows on which no automatic action is taken in a jurisdiction, ascending."""
        home = np.uint64(self.bench.home.get(jurisdiction, 0))
        rows: Rows = self.rows[self.upheld | ((self.bearing & home) != 0)]
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """Disputes row by row, by row and then time."""

    rows: Rows
    time_ms: NDArray[np.int64]
    agency: NDArray[np.uint64]  # A mask of one bit.


def disputes_of(
    snapshot: Snapshot, bench: Bench, parameters: Parameters, now_ms: TimeMs
) -> Disputes:
    """The disputes that bear at a block time."""
    said = _said(snapshot, bench)
    if not len(said.rows):
        nothing = np.empty(0, dtype=np.bool_)
        return Disputes(NOBODY, np.empty(0, dtype=np.uint64), nothing, NOBODY, bench)
    starts = np.flatnonzero(np.r_[True, said.rows[1:] != said.rows[:-1]])
    rows = said.rows[starts]
    young = np.where(said.time_ms + parameters.dispute_life_ms > now_ms, said.agency, np.uint64(0))
    publisher = _ONE << snapshot.publisher[said.rows].astype(np.uint64)
    by_publisher = np.logical_or.reduceat((said.agency & publisher) != 0, starts)
    together = _within_a_life(said, parameters.dispute_life_ms)
    enough = bench.sovereigns_in(together) >= parameters.dispute_sovereigns
    upheld = np.logical_or.reduceat(enough, starts) | by_publisher
    bearing = np.bitwise_or.reduceat(young, starts)
    return Disputes(rows, bearing, upheld, rows[by_publisher], bench)


def _said(snapshot: Snapshot, bench: Bench) -> _Said:
    opinions = snapshot.opinions
    counts = opinions.kind == Kind.DISPUTE
    counts &= (np.uint64(bench.admitted) >> opinions.agency.astype(np.uint64)) & _ONE != 0
    counts &= ~bench.void_opinions
    first, count = opinions.first[counts], opinions.count[counts]
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    rows = np.arange(total) + np.repeat(first - (ends - count), count)
    time_ms = np.repeat(opinions.time_ms[counts], count)
    agency = np.repeat(_ONE << opinions.agency[counts].astype(np.uint64), count)
    ranked = np.lexsort((time_ms, rows))
    return _Said(rows[ranked].astype(np.uint32), time_ms[ranked], agency[ranked])


def _within_a_life(said: _Said, life_ms: int) -> Masks:
    """For each dispute, who disputed the same row from then on until it would have lapsed."""
    together = np.zeros(len(said.rows), dtype=np.uint64)
    places = np.arange(len(said.rows))
    for mask in np.unique(said.agency):  # At most 64, however often each of them says it again.
        later = np.where(said.agency == mask, places, len(places))
        following = np.minimum.accumulate(later[::-1])[::-1]
        at = np.minimum(following, len(places) - 1)
        near = (following < len(places)) & (said.rows[at] == said.rows)
        near &= said.time_ms[at] < said.time_ms + life_ms
        together |= np.where(near, mask, np.uint64(0))
    return together
