"""Who vouches for a row by publishing or endorsing it, as masks of agencies.

Not here: how many are needed (certification), who vouches by an equal listing (ties).
Invariants: only agencies in good standing count; what a void key said does not.
Source: docs/spec/registry.md, section Certification.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Masks, Rows
from accord.registry.listings import Kind, Snapshot
from accord.registry.standing import Bench

_BITS: Final[Masks] = np.uint64(1) << np.arange(64, dtype=np.uint64)


class Words:
    """Of one snapshot, under one bench."""

    def __init__(self, snapshot: Snapshot, bench: Bench) -> None:
        self._snapshot = snapshot
        self._admitted = np.uint64(bench.admitted)
        self._endorsing = snapshot.opinions.kind == Kind.ENDORSE
        self._is_void = bench.void.opinions

    def own(self, rows: slice | Rows) -> Masks:
        """The publisher of each row."""
        bits: Masks = _BITS[self._snapshot.publisher[rows]]
        return bits

    def page(self, number: int, level: int) -> Masks:
        """Of the rows of a page, at a review level."""
        snapshot = self._snapshot
        rows = snapshot.withdrawn.part(number)
        words = self.own(rows)
        for endorsed in snapshot.endorsed[level:]:
            words |= endorsed.pages[number]
        if len(self._void):
            self._mend(words, rows, level)
        words &= self._admitted
        return words

    def of(self, rows: Rows, level: int) -> Masks:
        """Of some rows, ascending."""
        words = self.own(rows)
        for endorsed in self._snapshot.endorsed[level:]:
            words |= endorsed.at(rows)
        words &= self._admitted
        if len(self._void):
            bits = self._snapshot.withdrawn.bits
            numbers = rows >> bits
            for number in np.unique(numbers).tolist():
                low, high = np.searchsorted(numbers, [number, number + 1])
                words[low:high] = self.page(number, level)[rows[low:high] - (number << bits)]
        return words

    @cached_property
    def _void(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._endorsing & self._is_void)

    @cached_property
    def _sound(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._endorsing & ~self._is_void)

    def _mend(self, words: Masks, rows: slice, level: int) -> None:
        """Rows that a void key endorsed: what the other keys said alone."""
        touched = np.zeros(len(words), dtype=np.bool_)
        for part, _ in self._within(self._void, rows):
            touched[part] = True
        if not touched.any():
            return
        alone = self.own(rows)
        opinions = self._snapshot.opinions
        for part, at in self._within(self._sound, rows):
            if opinions.detail[at] >= level:
                alone[part] |= _BITS[opinions.agency[at]]
        words[touched] = alone[touched]

    def _within(self, opinions: NDArray[np.intp], rows: slice) -> Iterator[tuple[slice, int]]:
        """Those of some opinions that are about rows of a page, each with its part of the page."""
        said = self._snapshot.opinions
        first, count = said.first[opinions], said.count[opinions]
        for at in opinions[(first < rows.stop) & (first + count > rows.start)].tolist():
            start = int(said.first[at]) - rows.start
            yield slice(max(start, 0), start + int(said.count[at])), at
