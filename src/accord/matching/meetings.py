"""Which listings so many patches, or such a share of a film's frames, meet, and how near.

A meeting is a value of the query within some bits of a listed value. What counts is how many
values of each side meet one of the other, each counted once, whichever side that is fewer of. So
a listing's distance under a demand is the least threshold at which it would be met.
Not here: finding meetings (index), what follows (many, few).
Invariants: pure; what is nearer or more never meets less; no sum of floats.
Source: docs/spec/decisions.md, section Patches and films.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Rows

Ints = NDArray[np.int64]
Distances = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Meetings:
    """Aligned: the listing's row, which value of the query, which of the row's in the order they
    were listed in, both from 0, and the distance in bits. Of a pair that stands here several times
    the nearest counts."""

    rows: Rows
    asked: Ints
    listed: Ints
    bits: Distances

    def of_first(self, count: int) -> "Meetings":
        """Those with the first values of each row."""
        keep = self.listed < count
        return Meetings(self.rows[keep], self.asked[keep], self.listed[keep], self.bits[keep])


def reached(meetings: Meetings, asked_min: Ints, listed_min: Ints) -> tuple[Rows, Distances]:
    """The rows of which enough values meet, ascending, and at which distance.

    One for each meeting, the same for all of a row: `asked_min`, how many of the query's values
    must; `listed_min`, how many of its row's. All are 1 at least. Units: bits.
    """
    rows, bits = _at_rank(meetings.rows, meetings.asked, meetings.bits, asked_min)
    others, more = _at_rank(meetings.rows, meetings.listed, meetings.bits, listed_min)
    both, here, there = np.intersect1d(rows, others, assume_unique=True, return_indices=True)
    return both.astype(np.uint32), np.maximum(bits[here], more[there])


def nearest(
    found: list[tuple[Rows, Distances]],
) -> tuple[Rows, Distances]:
    """Of several ways to ask, such as mirrored, each row's smallest distance; by distance, then
    row."""
    rows = np.concatenate([rows for rows, _ in found])
    bits = np.concatenate([bits for _, bits in found])
    ranked = np.lexsort((bits, rows))
    first = ranked[_starts(rows[ranked])]
    rows, bits = rows[first], bits[first]
    ranked = np.lexsort((rows, bits))
    return rows[ranked], bits[ranked]


def _at_rank(rows: Rows, values: Ints, bits: Distances, needs: Ints) -> tuple[Rows, Distances]:
    """For each row that has so many values, the distance of the so-manieth nearest of them."""
    ranked = np.lexsort((bits, values, rows))
    rows, values, bits, needs = rows[ranked], values[ranked], bits[ranked], needs[ranked]
    first = _starts(rows)
    first[1:] |= values[1:] != values[:-1]  # Each value at its nearest.
    rows, bits, needs = rows[first], bits[first], needs[first]
    ranked = np.lexsort((bits, rows))
    rows, bits, needs = rows[ranked], bits[ranked], needs[ranked]
    starts = np.flatnonzero(_starts(rows))
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    last = place == needs - 1
    return rows[last], bits[last]


def _starts(rows: Rows) -> NDArray[np.bool_]:
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = rows[1:] != rows[:-1]
    return first
