"""Columns that only grow, and columns of fingerprints or digests that find equal values.

Not here: what the rows mean (listings).
Invariants: an array handed out keeps its first rows for ever, unless its owner writes into them;
`Values` never changes. How a column was filled, in one go or row by row, cannot be told from it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)
Rows = NDArray[np.uint32]  # Places of listings in the registry, in log order.
Bytes = NDArray[np.uint8]
Masks = NDArray[np.uint64]  # One bit an agency.
Flags = NDArray[np.bool_]

_ROOM_MIN: Final = 1024  # Rows of the first allocation.


class Growing(Generic[S]):
    """An array that grows at its end, by doubling. Shape: (count,) or (count, width)."""

    def __init__(self, dtype: type[S], width: int | None = None) -> None:
        self._shape: tuple[int, ...] = () if width is None else (width,)
        self._array: NDArray[S] = np.empty((_ROOM_MIN, *self._shape), dtype=dtype)
        self.count = 0

    def extend(self, values: NDArray[S]) -> None:
        count = self.count + len(values)
        if count > len(self._array):
            room = max(count, 2 * len(self._array))
            grown: NDArray[S] = np.empty((room, *self._shape), dtype=self._array.dtype)
            grown[: self.count] = self._array[: self.count]
            self._array = grown
        self._array[self.count : count] = values
        self.count = count

    def append(self, value: int) -> None:
        self.extend(np.array([value], dtype=self._array.dtype))

    def view(self) -> NDArray[S]:
        """The rows so far; rows that come later do not show in it."""
        return self._array[: self.count]


@dataclass(frozen=True, eq=False)
class Values:
    """One scheme's values, of the rows that have one.

    Shape: `rows` ascending; `values` (count, width), aligned with `rows`; `keys` the first eight
    bytes of each value, sorted; `order` the places in `rows` in that order, ascending on ties.
    """

    rows: Rows
    values: Bytes
    keys: NDArray[np.uint64]
    order: Rows

    def equal_to(self, value: bytes) -> Rows:
        """The rows with exactly this value, ascending."""
        if len(value) != self.values.shape[1]:
            return np.empty(0, dtype=np.uint32)
        wanted = np.frombuffer(value, dtype=np.uint8)
        key = wanted[:8].view(np.uint64)[0]
        low, high = (
            np.searchsorted(self.keys, key, "left"),
            np.searchsorted(self.keys, key, "right"),
        )
        places = self.order[low:high]
        rows: Rows = self.rows[places[(self.values[places] == wanted).all(axis=1)]]
        return rows

    def places_of(self, rows: Rows) -> tuple[Flags, NDArray[np.intp]]:
        """Which of `rows` have a value, and where; a place is meaningless where there is none."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.intp)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return self.rows[places] == rows, places

    def value_of(self, row: int) -> bytes | None:
        there, places = self.places_of(np.array([row], dtype=np.uint32))
        return self.values[places[0]].tobytes() if there[0] else None

    @cached_property
    def equal_groups(self) -> tuple[Rows, NDArray[np.intp]]:
        """Rows that share their value with another row, group by group, and where groups start."""
        tie = self.keys[1:] == self.keys[:-1]
        in_run = np.zeros(len(self.keys), dtype=np.bool_)
        in_run[1:] |= tie
        in_run[:-1] |= tie
        places = self.order[in_run]  # Few: only these are compared whole.
        words = _words(self.values[places])
        ranked = np.lexsort((places, *words.T))
        places, words = places[ranked], words[ranked]
        equal = (words[1:] == words[:-1]).all(axis=1)
        grouped = np.zeros(len(places), dtype=np.bool_)
        grouped[1:] |= equal
        grouped[:-1] |= equal
        first = np.ones(len(places), dtype=np.bool_)
        first[1:] = ~equal
        return self.rows[places[grouped]], np.flatnonzero(first[grouped])


class GrowingValues:
    """The writing side of `Values`. New values are sorted in when somebody wants to read."""

    def __init__(self, width: int) -> None:
        self._rows = Growing(np.uint32)
        self._values = Growing(np.uint8, width)
        self._keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._order: Rows = np.empty(0, dtype=np.uint32)

    def extend(self, rows: Rows, values: Bytes) -> None:
        """`rows` ascend and lie behind all earlier ones."""
        self._rows.extend(rows)
        self._values.extend(values)

    def freeze(self) -> Values:
        """Cost: a sort of what is new and one pass over what is old."""
        done, values = len(self._keys), self._values.view()
        if done < len(values):
            fresh = np.ascontiguousarray(values[done:, :8]).view(np.uint64)[:, 0]
            ranked = np.argsort(fresh, kind="stable")
            at = np.searchsorted(self._keys, fresh[ranked], "right")
            self._keys = np.insert(self._keys, at, fresh[ranked])
            self._order = np.insert(self._order, at, (ranked + done).astype(np.uint32))
        return Values(self._rows.view(), values, self._keys, self._order)


def _words(values: Bytes) -> NDArray[np.uint64]:
    """Values as 64-bit words, the last one padded with zeros."""
    width = values.shape[1]
    padded = np.zeros((len(values), -(-width // 8) * 8), dtype=np.uint8)
    padded[:, :width] = values
    return padded.view(np.uint64)
