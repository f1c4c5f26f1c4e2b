"""Arrays in pages: a later version shares those that nothing touched, so a change costs its page.

Not here: what the rows mean (listings).
Invariants: a page handed out never changes; a page that is the same object in two versions of one
array has the same rows, and one that was written to or grew is another object.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Flags, Rows

P = TypeVar("P", bound=np.generic)
PAGE_BITS: Final = 16  # 65,536 rows: what is made of a page on the way stays in the cache.


@dataclass(frozen=True, slots=True, eq=False)
class Paged(Generic[P]):
    """Shape: at least one page; every page but the last has 2 ** `bits` rows."""

    pages: tuple[NDArray[P], ...]
    bits: int

    def __len__(self) -> int:
        return ((len(self.pages) - 1) << self.bits) + len(self.pages[-1])

    def __getitem__(self, row: int) -> P:
        page = row >> self.bits
        value: P = self.pages[page][row - (page << self.bits)]
        return value

    def differs_from(self, before: "Paged[P]") -> Flags:
        """Which pages are other objects than in an earlier version; new ones are."""
        stale = np.ones(len(self.pages), dtype=np.bool_)
        pairs = zip(self.pages, before.pages, strict=False)
        same = [page is known for page, known in pairs]
        stale[: len(same)] = np.logical_not(same)
        return stale

    def part(self, number: int) -> slice:
        """The rows of a page."""
        start = number << self.bits
        return slice(start, start + len(self.pages[number]))

    def at(self, rows: Rows) -> NDArray[P]:
        """The values of some rows, in whatever order. Cost: least where they ascend."""
        if len(self.pages) == 1:
            return self.pages[0][rows]
        found = np.empty(len(rows), dtype=self.pages[0].dtype)
        ranked: NDArray[np.intp] | None = None
        if (rows[1:] < rows[:-1]).any():
            ranked = np.argsort(rows, kind="stable")
            rows = rows[ranked]
        edges = np.searchsorted(rows, np.arange(1, len(self.pages) + 1) << self.bits).tolist()
        low, place = 0, np.uint32((1 << self.bits) - 1)
        for number, high in enumerate(edges):
            if high > low:
                found[low:high] = self.pages[number][rows[low:high] & place]
                low = high
        if ranked is None:
            return found
        there = np.empty_like(found)
        there[ranked] = found
        return there

    def whole(self) -> NDArray[P]:
        """All of it in one piece. Cost: a copy."""
        return np.concatenate(self.pages)


class GrowingPages(Generic[P]):
    """The writing side of `Paged`: rows come in as zeros, and any may be written to later."""

    def __init__(self, dtype: type[P], bits: int = PAGE_BITS) -> None:
        self._dtype = dtype
        self._bits = bits
        self._pages: list[NDArray[P]] = [np.zeros(1 << bits, dtype=dtype)]
        self._shared = [False]  # Whether the rows of a page that there are were handed out.
        self._frozen: list[NDArray[P] | None] = [None]
        self.count = 0

    def __getitem__(self, row: int) -> P:
        value: P = self._pages[row >> self._bits][row & ((1 << self._bits) - 1)]
        return value

    def grow(self, count: int) -> None:
        """`count` more rows, of zeros."""
        if self.count < len(self._pages) << self._bits:
            self._frozen[-1] = None
        self.count += count
        while len(self._pages) << self._bits < self.count:
            self._pages.append(np.zeros(1 << self._bits, dtype=self._dtype))
            self._shared.append(False)
            self._frozen.append(None)

    def edit(self, first: int, count: int) -> Iterator[NDArray[P]]:
        """The rows from `first` on, page by page, to be written to."""
        for number in range(first >> self._bits, -(-(first + count) >> self._bits)):
            start = number << self._bits
            if self._shared[number]:
                page = np.zeros(1 << self._bits, dtype=self._dtype)
                there = self._pages[number][: self._size(number)]
                page[: len(there)] = there
                self._pages[number] = page
                self._shared[number] = False
            self._frozen[number] = None
            yield self._pages[number][max(first - start, 0) : first + count - start]

    def _size(self, number: int) -> int:
        return min(self.count - (number << self._bits), 1 << self._bits)

    def freeze(self) -> Paged[P]:
        """The rows so far. Cost: nothing that grows with what was not touched."""
        pages: list[NDArray[P]] = []
        for number, known in enumerate(self._frozen):
            page = self._pages[number][: self._size(number)] if known is None else known
            self._shared[number], self._frozen[number] = True, page
            pages.append(page)
        return Paged(tuple(pages), self._bits)
