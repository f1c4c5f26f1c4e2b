"""An immutable index of PDQs: every row within a distance, exactly.

Not here: which rows matter (index), files (scan.index_store).
Invariants: an index is a stretch of bytes, the same whichever kernel built it and wherever it
lies; its answers are those of a scan of all its rows, in order of query, distance and row.
Units: 132 bytes a row. On one core of a 2.6 GHz server: see BENCHMARKS.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_kernel import NO_MATCHES, Kernel, Matches, Searcher, Table
from accord.matching.index_layout import PDQ_BYTES, Layout, layout_for
from accord.matching.index_native import kernel_of
from accord.matching.index_plan import BANDS, plan_for
from accord.native import allocate
from accord.registry.columns import Bytes, Rows
from accord.wire.errors import Malformed


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """Shape: `rows` ascending; a match's place is one in `rows`. `memory` holds it all."""

    layout: Layout
    memory: memoryview
    rows: Rows
    table: Table
    searcher: Searcher

    @classmethod
    def open(cls, layout: Layout, memory: memoryview, kernel: Kernel | None = None) -> "Ring":
        """An index that lies in `memory`. Cost: none, nothing is read."""
        table = Table(layout, memory)
        searcher = (kernel or kernel_of()).open(table)
        return cls(layout, memory, layout.rows(memory), table, searcher)

    @classmethod
    def build(cls, rows: Rows, bits: Bytes, kernel: Kernel | None = None) -> "Ring":
        """`rows` ascend; `bits` (count, 32) are their PDQs."""
        layout = layout_for(len(rows))
        memory = allocate(layout.size)
        for _ in sections(layout, rows, bits, lambda at, size: memory[at : at + size], kernel):
            pass
        return cls.open(layout, memory, kernel)

    def __len__(self) -> int:
        return len(self.rows)

    def ask(self, bits: bytes, threshold_bits: int) -> Matches:
        """Every row within the threshold of one PDQ, by distance, then row. Raises: Malformed."""
        if len(bits) != PDQ_BYTES:
            raise Malformed("matching.pdq_length")
        if threshold_bits < 0:
            return NO_MATCHES
        found = self.searcher.ask(plan_for(threshold_bits), bits)
        return found if len(found) < 2 else found[np.lexsort((found["place"], found["distance"]))]

    def search(self, bits: bytes, threshold_bits: int) -> Matches:
        """`ask` for PDQs one behind the other; thousands at once cost half. Raises: Malformed."""
        if len(bits) % PDQ_BYTES:
            raise Malformed("matching.pdq_length")
        if threshold_bits < 0:
            return NO_MATCHES
        found = self.searcher.search(plan_for(threshold_bits), bits)
        if len(found) < 2:
            return found
        return found[np.lexsort((found["place"], found["distance"], found["query"]))]


def sections(
    layout: Layout,
    rows: Rows,
    bits: Bytes,
    room: Callable[[int, int], memoryview],
    kernel: Kernel | None = None,
) -> Iterator[memoryview]:
    """Each section of an index as it is made, in the order of a file.

    `room(start, size)` is zeroed memory for one section; nothing of it is needed once the next
    section is asked for, but for the hashes, which are needed once more.
    Cost: beside `room`, 32 bytes a row.
    """
    kernel = kernel or kernel_of()
    (start, size), (hashes_at, hashes_size), *bands = layout.sections
    part = room(start, size)
    _array(part, np.uint32, len(rows))[:] = rows
    yield part
    part = room(hashes_at, hashes_size)
    hashes = _array(part, np.uint8, PDQ_BYTES * len(rows)).reshape(-1, PDQ_BYTES)
    kernel.permute(np.ascontiguousarray(bits), hashes)
    yield part
    if not bands:
        return
    columns = kernel.columns(hashes)
    del hashes, part
    for number, (start, size) in enumerate(bands):
        part = room(start, size)
        band = layout.band(part, number, start=0)
        kernel.fill(columns[number], columns[(number + 1) % BANDS], band)
        yield part


S = TypeVar("S", bound=np.generic)


def _array(memory: memoryview, dtype: type[S], count: int) -> NDArray[S]:
    return np.frombuffer(memory, dtype=dtype, count=count)
