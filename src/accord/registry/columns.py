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
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
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
_FRESH_ROWS: Final = 1 << 15  # What came last is sorted in by itself, up to so many rows ...
_FRESH_SHARE: Final = 16  # ... or one in so many of those in memory before.
_HEADS_MIN: Final = 1 << 17  # Keys from which a table of where they begin pays.
_HEAD_BITS_MAX: Final = 20  # Of a table of where keys begin: 8 MB for ten million keys.
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)
_NO_KEYS: Final[NDArray[np.uint64]] = np.empty(0, dtype=np.uint64)


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

    @cached_property
    def _heads(self) -> tuple[np.uint64, NDArray[np.intp], int]:
        """By how much a key is shifted to its head, where the keys of each head begin, and the bits
        of the most keys that share one."""
        bits = min(max(len(self.keys).bit_length() - 4, 1), _HEAD_BITS_MAX)
        shift = np.uint64(64 - bits)
        starts = np.searchsorted(self.keys, np.arange(1 << bits, dtype=np.uint64) << shift)
        most = int(np.diff(starts, append=len(self.keys)).max())
        return shift, starts, most.bit_length()

    def places_with(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where in `order` the places with each of some distinct keys begin, and how many there
        are. Cost: 150 ns a key among ten million, many at once."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.intp), np.zeros(len(keys), dtype=np.intp)
        if len(self.keys) < _HEADS_MIN:
            low = np.searchsorted(self.keys, keys)
            return low, np.searchsorted(self.keys, keys, "right") - low
        shift, starts, bits = self._heads
        low = starts[(keys >> shift).astype(np.intp)]
        for bit in range(bits - 1, -1, -1):  # Steps of 2 ** bit: a search of all keys in step.
            low += (self.keys.take(low + ((1 << bit) - 1), mode="clip") < keys) << np.intp(bit)
        low = np.minimum(low, len(self.keys))  # Whoever went past the end is behind all.
        counts = np.zeros(len(keys), dtype=np.intp)
        hit = np.flatnonzero(low < len(self.keys))
        hit = hit[self.keys[low[hit]] == keys[hit]]
        counts[hit] = np.searchsorted(self.keys, keys[hit], "right") - low[hit]
        return low, counts

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

    A row's place counts through `base`, which may lie in a file that many processes map, then
    through `tail` and `fresh`, each of whose rows lie behind all before it.
    """

    base: Run
    tail: Run
    fresh: Run | None = None  # What came last, as long as it is little beside the tail.

    def __len__(self) -> int:
        return sum(len(run) for run in self.runs())

    @property
    def width(self) -> int:
        return int(self.base.values.shape[1])

    @cached_property
    def _parts(self) -> tuple[tuple[int, Run], ...]:
        """The runs that have rows, with the place of their first."""
        starts = np.cumsum([0, *(len(run) for run in self.runs())]).tolist()
        return tuple(
            (start, run) for start, run in zip(starts[:-1], self.runs(), strict=True) if len(run)
        )

    def equal_to(self, value: bytes) -> Rows:
        """The rows with exactly this value, ascending."""
        if len(value) != self.width:
            return _NO_ROWS
        found = _NO_ROWS
        for _, run in self._parts:
            more = run.equal_to(value)
            if len(more):
                found = np.concatenate([found, more]) if len(found) else more
        return found

    def places_of(self, rows: Rows) -> tuple[Flags, NDArray[np.intp]]:
        """Which of `rows` have a value, and where; a place is meaningless where there is none."""
        if len(self._parts) == 1:
            return self._parts[0][1].places_of(rows)
        there = np.zeros(len(rows), dtype=np.bool_)
        places = np.zeros(len(rows), dtype=np.intp)
        for start, run in self._parts:
            here, behind = run.places_of(rows)
            there |= here
            places = np.where(here, behind + start, places)
        return there, places

    def at(self, places: NDArray[np.intp]) -> Bytes:
        """The values at some places. Shape: (len(places), width)."""
        if len(self._parts) == 1:
            return self._parts[0][1].values[places]
        found = np.empty((len(places), self.width), dtype=np.uint8)
        for start, run in self._parts:
            here = (places >= start) & (places < start + len(run))
            found[here] = run.values[places[here] - start]
        return found

    def rows_at(self, places: NDArray[np.intp]) -> Rows:
        found = np.empty(len(places), dtype=np.uint32)
        for start, run in self._parts:
            here = (places >= start) & (places < start + len(run))
            found[here] = run.rows[places[here] - start]
        return found

    def place_of(self, row: int) -> int | None:
        """`places_of`, of one row."""
        for start, run in self._parts:
            place = run.place_of(row)
            if place is not None:
                return start + place
        return None

    def value_of(self, row: int) -> bytes | None:
        for _, run in self._parts:
            place = run.place_of(row)
            if place is not None:
                value: bytes = run.values[place].tobytes()
                return value
        return None

    def runs(self) -> tuple[Run, ...]:
        both = (self.base, self.tail)
        return both if self.fresh is None else (*both, self.fresh)

    def whole(self) -> Run:
        """All of it as one run. Cost: unless it is one already, a copy and a sort."""
        if len(self._parts) == 1:
            return self._parts[0][1]
        return Run.of(
            np.concatenate([run.rows for run in self.runs()]),
            np.concatenate([run.values for run in self.runs()]),
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
        return self._grouped(self._doubtful())  # Few: only these are compared whole.

    def equal_groups_of(self, rows: Rows) -> tuple[Rows, NDArray[np.intp]]:
        """As `equal_groups`, all groups that have one of `rows`, and perhaps others."""
        there, places = self.places_of(rows)
        return self._groups_with(_keys(self.at(places[there])))

    def equal_groups_since(self, row: int) -> tuple[Rows, NDArray[np.intp]]:
        """As `equal_groups_of`, of the rows from one on."""
        since = np.uint32(row)  # Of the type of `rows`, which are searched and not copied.
        late = [run.values[int(run.rows.searchsorted(since)) :] for _, run in self._parts]
        keys = distinct(np.concatenate([_NO_KEYS, *(_keys(values) for values in late)]))
        if sum(len(values) > 0 for values in late) != 1:
            return self._groups_with(keys)
        again = np.zeros(len(keys), dtype=np.bool_)  # Most new values are like no other.
        for (_, run), values in zip(self._parts, late, strict=True):
            if len(values):  # All new keys are here, so an equal one stands beside.
                beside = distinct(run.keys[1:][run.keys[1:] == run.keys[:-1]])
                again |= _are_in(keys, beside)
            else:
                again |= run.places_with(keys)[1] > 0
        return self._groups_with(keys[again])

    def _groups_with(self, keys: NDArray[np.uint64]) -> tuple[Rows, NDArray[np.intp]]:
        """The groups whose values begin with one of some keys."""
        keys = distinct(keys)
        found = [(start, run, *run.places_with(keys)) for start, run in self._parts]
        several = np.zeros(len(keys), dtype=np.intp)
        for *_, counts in found:
            several += counts
        doubtful = [np.empty(0, dtype=np.intp)]
        for start, run, low, counts in found:
            which = np.flatnonzero((several > 1) & (counts > 0))
            stretches = run.order[_stretches(low[which], counts[which])]
            doubtful.append(stretches.astype(np.intp) + start)
        return self._grouped(np.concatenate(doubtful))

    def _grouped(self, places: NDArray[np.intp]) -> tuple[Rows, NDArray[np.intp]]:
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
        flags = [run.tied() for _, run in self._parts]
        for one, other in combinations(range(len(flags)), 2):
            few, many = sorted((one, other), key=lambda at: len(flags[at]))
            keys = distinct(self._parts[few][1].keys)
            low, counts = self._parts[many][1].places_with(keys)
            flags[many][_stretches(low[counts > 0], counts[counts > 0])] = True
            low, counts = self._parts[few][1].places_with(keys[counts > 0])
            flags[few][_stretches(low, counts)] = True
        found = [
            run.order[mine].astype(np.intp) + start
            for mine, (start, run) in zip(flags, self._parts, strict=True)
        ]
        return np.concatenate([np.empty(0, dtype=np.intp), *found])


class GrowingValues:
    """The writing side of `Values`. New values are sorted in when somebody wants to read."""

    def __init__(self, width: int, fresh_rows: int = _FRESH_ROWS) -> None:
        """`fresh_rows`: up to how many are kept apart. It changes the cost, not the answers."""
        self._width = width
        self._fresh_rows = fresh_rows
        self._base = Run.empty(width)
        self._restart(_NO_ROWS, np.empty((0, width), dtype=np.uint8))

    def _restart(self, rows: Rows, values: Bytes) -> None:
        self._rows = Growing(np.uint32)
        self._values = Growing(np.uint8, self._width)
        self._tail, self._fresh = Run.empty(self._width), Run.empty(self._width)
        self.extend(rows, values)

    def extend(self, rows: Rows, values: Bytes) -> None:
        """`rows` ascend and lie behind all earlier ones."""
        self._rows.extend(rows)
        self._values.extend(values)

    def freeze(self) -> Values:
        """Cost: a sort of what is new and one pass over what came lately, and seldom one over all
        that came behind the base."""
        rows, values, settled = self._rows.view(), self._values.view(), len(self._tail)
        if len(settled_now := values[:settled]) and not np.may_share_memory(
            self._tail.values, settled_now
        ):
            self._tail = replace(self._tail, rows=rows[:settled], values=settled_now)
        self._fresh = _grown(self._fresh, rows[settled:], values[settled:])
        if len(self._fresh) > max(self._fresh_rows, settled // _FRESH_SHARE):
            self._tail = _joined(self._tail, self._fresh, rows, values)
            self._fresh = Run.empty(self._width)
        return Values(self._base, self._tail, self._fresh)

    def adopt(self, base: Run) -> bool:
        """Hold the first rows where `base` lies and no longer here, if it has the very same ones
        and more than the base before. What was frozen earlier stays as it is. Whether it did."""
        unsorted = Run(self._rows.view(), self._values.view(), self._tail.keys[:0], _NO_ROWS)
        now = Values(self._base, unsorted)  # To compare and to cut: nothing is looked up in it.
        if len(base) <= len(self._base) or not now.begins_with(base):
            return False
        behind = np.arange(len(base), len(now), dtype=np.intp)
        self._base = base
        self._restart(now.rows_at(behind), now.at(behind))
        return True


def _grown(run: Run, rows: Rows, values: Bytes) -> Run:
    """A run of `rows`, of which it had the first."""
    done = len(run)
    if done == len(rows):
        return run
    added = Run.of(rows[done:], values[done:])
    return _joined(run, added, rows, values)


def _joined(run: Run, added: Run, rows: Rows, values: Bytes) -> Run:
    """The run of `rows`: those of one run, and then those of the other."""
    if not len(run):
        return replace(added, rows=rows, values=values)
    at = np.searchsorted(run.keys, added.keys, "right")
    order = np.insert(run.order, at, added.order + np.uint32(len(run)))
    return Run(rows, values, np.insert(run.keys, at, added.keys), order)


def _stretches(low: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every place of stretches that begin at `low`."""
    ends = np.cumsum(sizes)
    shifts: NDArray[np.intp] = np.repeat(low - (ends - sizes), sizes)
    return shifts + np.arange(len(shifts))


def _are_in(keys: NDArray[np.uint64], some: NDArray[np.uint64]) -> Flags:
    """Which of `keys` are among `some`, which ascend."""
    if not len(some):
        return np.zeros(len(keys), dtype=np.bool_)
    found: Flags = some[np.minimum(np.searchsorted(some, keys), len(some) - 1)] == keys
    return found


def distinct(values: NDArray[S]) -> NDArray[S]:
    """Ascending. Faster than `np.unique`, which hashes them first."""
    values = np.sort(values)
    first = np.ones(len(values), dtype=np.bool_)
    first[1:] = values[1:] != values[:-1]
    found: NDArray[S] = values[first]
    return found


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
