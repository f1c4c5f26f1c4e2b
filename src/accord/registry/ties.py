"""Rows that share a value with another row, and who vouches for them by listing it as well.

Not here: who vouches by publishing or endorsing (words), what a clause asks (certification).
Invariants: a row vouches for rows with an equal value if it is live, of the classes asked about
and not disputed by its own publisher; vouching does not go on from row to row.
A tied row keeps for ever the slot that it got when it was found, so that whatever is kept by slot
grows at its end. No answer depends on the order of slots.
Source: docs/spec/registry.md, section Certification.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Flags, Masks, Rows, distinct
from accord.registry.listings import SCHEMES, Snapshot
from accord.registry.pages import Paged
from accord.registry.words import Words

_SLOT_BITS: Final = 32
_SLOT: Final = np.uint64(2**32 - 1)
Slots = NDArray[np.intp]
Groups = tuple[Rows, NDArray[np.intp]]  # Members group by group, and where groups start.


@dataclass(frozen=True, eq=False)
class Ties:
    """Shape: `rows` by slot; `keys` row << 32 | slot, ascending."""

    rows: Rows
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _sorted(self) -> memoryview:
        return self.keys.data

    def slot_of(self, row: int) -> int | None:
        place = bisect_left(self._sorted, row << _SLOT_BITS)
        if place == len(self._sorted):
            return None
        key = int(self._sorted[place])
        return key & (2**32 - 1) if key >> _SLOT_BITS == row else None

    def slots_of(self, rows: Rows) -> tuple[Flags, Slots]:
        """Which of `rows` are tied, and the slots of those."""
        asked = rows.astype(np.uint64) << np.uint64(_SLOT_BITS)
        if not len(self.keys):
            return np.zeros(len(rows), dtype=np.bool_), np.empty(0, dtype=np.intp)
        found = self.keys[np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)]
        there: Flags = found >> np.uint64(_SLOT_BITS) == rows
        return there, (found[there] & _SLOT).astype(np.intp)

    def within(self, rows: slice) -> Slots:
        """The slots of the tied rows of a stretch, in order of row."""
        edges = np.array([rows.start, rows.stop], dtype=np.uint64) << np.uint64(_SLOT_BITS)
        low, high = np.searchsorted(self.keys, edges)
        return (self.keys[low:high] & _SLOT).astype(np.intp)


def ties_of(snapshot: Snapshot, before: "Ties | None" = None, size: int = 0) -> Ties:
    """The ties of a snapshot; `before` are those of its first `size` rows. Cost: of the others."""
    if before is None:
        groups = [snapshot.values[scheme].equal_groups for scheme in SCHEMES]
    else:
        groups = [snapshot.values[scheme].equal_groups_since(size) for scheme in SCHEMES]
    rows = distinct(np.concatenate([members for members, _ in groups]))
    if before is not None:
        rows = rows[~before.slots_of(rows)[0]]
    known = Ties(rows[:0], np.empty(0, dtype=np.uint64)) if before is None else before
    slots = np.arange(len(known), len(known) + len(rows), dtype=np.uint64)
    keys = rows.astype(np.uint64) << np.uint64(_SLOT_BITS) | slots
    merged = np.insert(known.keys, np.searchsorted(known.keys, keys), keys)
    return Ties(np.concatenate([known.rows, rows]), merged)


def partners_of(snapshot: Snapshot, rows: Rows) -> Rows:
    """`rows`, all tied, and every row that shares a value with one of them, ascending."""
    groups = _groups_of(snapshot, rows)
    return distinct(np.concatenate([members for members, _ in groups]))


def _groups_of(snapshot: Snapshot, rows: Rows) -> list[Groups]:
    return [snapshot.values[scheme].equal_groups_of(rows) for scheme in SCHEMES]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The equal rows of one scheme. Shape: aligned with its members, but `starts`."""

    classes: NDArray[np.uint32]
    own: Masks  # The publisher where its row may vouch, else 0.
    starts: NDArray[np.intp]
    places: NDArray[np.intp]  # Of members, in `Tied.rows`, of those that are `asked`.
    asked: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Tied:
    """Some tied rows and what there is to know about them, whichever classes are asked about."""

    rows: Rows
    slots: Slots
    live: Flags
    classes: NDArray[np.uint32]
    words: Masks  # Who vouches for the row itself.
    groups: tuple[_Group, ...]

    def vouching(self, wanted: Flags) -> Masks:
        """Who vouches for each row when these classes count, by an equal listing or the row
        itself; also agencies that do not count."""
        words = self.words.copy()
        for group in self.groups:
            own = np.where(wanted[group.classes], group.own, np.uint64(0))
            shared = np.bitwise_or.reduceat(own, group.starts)
            words_of = np.repeat(shared, np.diff(group.starts, append=len(own)))
            np.bitwise_or.at(words, group.places, words_of[group.asked])
        return words


def tied_of(
    snapshot: Snapshot,
    ties: Ties,
    rows: Rows | None,
    live: Paged[np.bool_],
    words: Words,
    own_disputed: Rows,
) -> Tied:
    """What there is to know about some tied rows, ascending, or about all."""
    if rows is None:
        rows = np.sort(ties.rows)
        groups = [snapshot.values[scheme].equal_groups for scheme in SCHEMES]
    else:
        groups = _groups_of(snapshot, rows)
    known: list[_Group] = []
    for members, starts in groups:
        if not len(members):
            continue
        may = live.at(members)
        if len(own_disputed):
            may &= ~np.isin(members, own_disputed)
        own = np.where(may, words.own(members), np.uint64(0))
        places = np.minimum(np.searchsorted(rows, members), len(rows) - 1)
        asked = rows[places] == members
        known.append(_Group(snapshot.class_of[members], own, starts, places[asked], asked))
    return Tied(
        rows=rows,
        slots=ties.slots_of(rows)[1],
        live=live.at(rows),
        classes=snapshot.class_of[rows],
        words=words.of(rows, 0),
        groups=tuple(known),
    )
