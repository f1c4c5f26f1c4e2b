"""Columns that only grow, and columns of fingerprints or digests that find equal values.

Not here: what the rows mean (listings), the file that a column's first rows may lie in
(matching.index_column).
Invariants: an array handed out keeps its first rows for ever, unless its owner writes into them;
`Run` and `Values` never change. How a column was filled, in one go or row by row, and how much of
it lies in a file cannot be told from what it answers.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
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
_BLOCK_ROWS: Final = 1 << 18  # Compared at a time.
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)


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
class Run:
    """Some rows' values of one scheme, sorted for look-ups.

    Shape: `rows` ascending; `values` (count, width), aligned with `rows`; `keys` the first eight
    bytes of each value, sorted; `order` the places in `rows` in that order, ascending on ties.
    """

    rows: Rows
    values: Bytes
    keys: NDArray[np.uint64]
    order: Rows

    @classmethod
    def empty(cls, width: int) -> "Run":
        nothing = np.empty((0, width), dtype=np.uint8)
        return cls(_NO_ROWS, nothing, np.empty(0, dtype=np.uint64), _NO_ROWS)

    @classmethod
    def of(cls, rows: Rows, values: Bytes) -> "Run":
        """Sorted anew. `rows` ascend."""
        keys = _keys(values)
        order = np.argsort(keys, kind="stable").astype(np.uint32)
        return cls(rows, values, keys[order], order)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _sorted(self) -> memoryview:
        """`keys` for a search that makes no array: a tenth of the time."""
        return self.keys.data

    def place_of(self, row: int) -> int | None:
        """Where a row's value lies."""
        place = int(self.rows.searchsorted(np.uint32(row)))
        return place if place < len(self.rows) and int(self.rows[place]) == row else None

    def equal_to(self, value: bytes) -> Rows:
        """The rows with exactly this value, of the column's width, ascending."""
        key = int.from_bytes(value[:8], sys.byteorder)
        low = bisect_left(self._sorted, key)
        if low == len(self._sorted) or self._sorted[low] != key:
            return _NO_ROWS
        high = bisect_right(self._sorted, key, low, min(low + 2, len(self._sorted)))
        if high == low + 1:  # Most often. Arrays cost more than the one row.
            place = int(self.order[low])
            return (
                self.rows[place : place + 1] if self.values[place].tobytes() == value else _NO_ROWS
            )
        places = self.order[low : bisect_right(self._sorted, key, low)]
        wanted = np.frombuffer(value, dtype=np.uint8)
        rows: Rows = self.rows[places[(self.values[places] == wanted).all(axis=1)]]
        return rows

    def places_of(self, rows: Rows) -> tuple[Flags, NDArray[np.intp]]:
        """Which of `rows` have a value, and where; a place is meaningless where there is none."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.intp)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return self.rows[places] == rows, places

    def tied(self) -> Flags:
        """Which of `keys` stand beside an equal one."""
        tie = self.keys[1:] == self.keys[:-1]
        flags = np.zeros(len(self.keys), dtype=np.bool_)
        flags[1:] |= tie
        flags[:-1] |= tie
        return flags

    def is_sorted(self) -> bool:
        """Whether `keys` and `order` are what `rows` and `values` make. A run from elsewhere that
        says so answers as one made here: equal keys with rising places leave one order only."""
        if not len(self.rows):
            return not len(self.keys) and not len(self.order)
        if (self.rows[1:] <= self.rows[:-1]).any() or int(self.order.max()) >= len(self.rows):
            return False
        rising = (self.keys[1:] > self.keys[:-1]) | (
            (self.keys[1:] == self.keys[:-1]) & (self.order[1:] > self.order[:-1])
        )
        return bool(rising.all()) and all(
            np.array_equal(self.keys[part], _keys(self.values[self.order[part]]))
            for part in _blocks(len(self.rows))
        )


@dataclass(frozen=True, eq=False)
class Values:
    """One scheme's values, of the rows that have one, in log order.

    A row's place counts through `base`, which may lie in a file that many processes map, and then
    through `tail`, whose rows lie behind all of it.
    """

    base: Run
    tail: Run

    def __len__(self) -> int:
        return len(self.base) + len(self.tail)

    @property
    def width(self) -> int:
        return int(self.base.values.shape[1])

    def equal_to(self, value: bytes) -> Rows:
        """The rows with exactly this value, ascending."""
        if len(value) != self.width:
            return _NO_ROWS
        found, late = self.base.equal_to(value), self.tail.equal_to(value)
        if not len(late):
            return found
        return np.concatenate([found, late]) if len(found) else late

    def places_of(self, rows: Rows) -> tuple[Flags, NDArray[np.intp]]:
        """Which of `rows` have a value, and where; a place is meaningless where there is none."""
        there, places = self.base.places_of(rows)
        if not len(self.tail):
            return there, places
        late, behind = self.tail.places_of(rows)
        return there | late, np.where(late, behind + len(self.base), places)

    def at(self, places: NDArray[np.intp]) -> Bytes:
        """The values at some places. Shape: (len(places), width)."""
        late = places >= len(self.base)
        if not late.any():
            return self.base.values[places]
        found = np.empty((len(places), self.width), dtype=np.uint8)
        found[~late] = self.base.values[places[~late]]
        found[late] = self.tail.values[places[late] - len(self.base)]
        return found

    def rows_at(self, places: NDArray[np.intp]) -> Rows:
        late = places >= len(self.base)
        found = np.empty(len(places), dtype=np.uint32)
        found[~late] = self.base.rows[places[~late]]
        found[late] = self.tail.rows[places[late] - len(self.base)]
        return found

    def place_of(self, row: int) -> int | None:
        """`places_of`, of one row."""
        place = self.base.place_of(row)
        if place is None and (place := self.tail.place_of(row)) is not None:
            place += len(self.base)
        return place

    def value_of(self, row: int) -> bytes | None:
        place = self.place_of(row)
        if place is None:
            return None
        run, at = (
            (self.base, place) if place < len(self.base) else (self.tail, place - len(self.base))
        )
        value: bytes = run.values[at].tobytes()
        return value

    def runs(self) -> tuple[Run, Run]:
        return self.base, self.tail

    def whole(self) -> Run:
        """All of it as one run. Cost: where there is a tail, a copy and a sort."""
        if not len(self.tail):
            return self.base
        if not len(self.base):
            return self.tail
        return Run.of(
            np.concatenate([self.base.rows, self.tail.rows]),
            np.concatenate([self.base.values, self.tail.values]),
        )

    def begins_with(self, run: Run) -> bool:
        """Whether the first rows are those of `run`, with the very same values, rightly sorted.
        Cost: about 30 ms a million rows of 32 bytes."""
        if len(run) > len(self) or run.values.shape[1] != self.width or not run.is_sorted():
            return False
        start = 0
        for mine in self.runs():
            end = min(start + len(mine), len(run))
            for part in _blocks(end - start):
                theirs = slice(start + part.start, start + part.stop)
                if not np.array_equal(mine.rows[part], run.rows[theirs]):
                    return False
                if not np.array_equal(mine.values[part], run.values[theirs]):
                    return False
            start = end
        return True

    @cached_property
    def equal_groups(self) -> tuple[Rows, NDArray[np.intp]]:
        """Rows that share their value with another row, group by group, and where groups start."""
        places = self._doubtful()  # Few: only these are compared whole.
        words = _words(self.at(places))
        ranked = np.lexsort((places, *words.T))
        places, words = places[ranked], words[ranked]
        equal = (words[1:] == words[:-1]).all(axis=1)
        grouped = np.zeros(len(places), dtype=np.bool_)
        grouped[1:] |= equal
        grouped[:-1] |= equal
        first = np.ones(len(places), dtype=np.bool_)
        first[1:] = ~equal
        return self.rows_at(places[grouped]), np.flatnonzero(first[grouped])

    def _doubtful(self) -> NDArray[np.intp]:
        """The places whose key some other place has too."""
        base, tail = self.base, self.tail
        early, late = base.tied(), tail.tied()
        if len(base) and len(tail):
            low = np.searchsorted(base.keys, tail.keys, "left")
            high = np.searchsorted(base.keys, tail.keys, "right")
            shared = high > low
            late |= shared
            # Equal keys of the tail have one stretch of the base: each is walked once.
            low, which = np.unique(low[shared], return_index=True)
            sizes = high[shared][which] - low
            ends = np.cumsum(sizes)
            early[np.arange(int(sizes.sum())) + np.repeat(low - (ends - sizes), sizes)] = True
        found = [base.order[early].astype(np.intp), tail.order[late].astype(np.intp) + len(base)]
        return np.concatenate(found)


class GrowingValues:
    """The writing side of `Values`. New values are sorted in when somebody wants to read."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._base = Run.empty(width)
        self._restart(Run.empty(width))

    def _restart(self, tail: Run) -> None:
        self._rows = Growing(np.uint32)
        self._values = Growing(np.uint8, self._width)
        self._keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._order: Rows = _NO_ROWS
        self.extend(tail.rows, tail.values)

    def extend(self, rows: Rows, values: Bytes) -> None:
        """`rows` ascend and lie behind all earlier ones."""
        self._rows.extend(rows)
        self._values.extend(values)

    def freeze(self) -> Values:
        """Cost: a sort of what is new and one pass over what came behind the base."""
        done, values = len(self._keys), self._values.view()
        if done < len(values):
            fresh = _keys(values[done:])
            ranked = np.argsort(fresh, kind="stable")
            at = np.searchsorted(self._keys, fresh[ranked], "right")
            self._keys = np.insert(self._keys, at, fresh[ranked])
            self._order = np.insert(self._order, at, (ranked + done).astype(np.uint32))
        return Values(self._base, Run(self._rows.view(), values, self._keys, self._order))

    def adopt(self, base: Run) -> bool:
        """Hold the first rows where `base` lies and no longer here, if it has the very same ones
        and more than the base before. What was frozen earlier stays as it is. Whether it did."""
        unsorted = Run(self._rows.view(), self._values.view(), self._keys[:0], _NO_ROWS)
        now = Values(self._base, unsorted)  # To compare and to cut: nothing is looked up in it.
        if len(base) <= len(self._base) or not now.begins_with(base):
            return False
        behind = np.arange(len(base), len(now), dtype=np.intp)
        self._base = base
        self._restart(Run.of(now.rows_at(behind), now.at(behind)))
        return True


def _keys(values: Bytes) -> NDArray[np.uint64]:
    return np.ascontiguousarray(values[:, :8]).view(np.uint64)[:, 0]


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, count))


def _words(values: Bytes) -> NDArray[np.uint64]:
    """Values as 64-bit words, the last one padded with zeros."""
    width = values.shape[1]
    padded = np.zeros((len(values), -(-width // 8) * 8), dtype=np.uint8)
    padded[:, :width] = values
    return padded.view(np.uint64)
