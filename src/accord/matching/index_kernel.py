"""What an index computes, and how NumPy computes it: the definition of every answer.

Not here: which probes are complete (index_plan), where arrays lie (index_layout), the compiled
kernel (index_native).
Invariants: on equal bytes every kernel gives equal answers, in an order of its own, and builds
equal bytes; no kernel reads outside of its arrays, whatever is in them.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_layout import PDQ_BYTES, Band, Layout, permuted
from accord.matching.index_plan import BANDS, BUCKETS, Plan
from accord.wire.errors import Unproven

MATCH: Final = np.dtype([("query", "<u4"), ("place", "<u4"), ("distance", "<u4")])
Matches = NDArray[np.void]  # Of MATCH: number of the query, place in the index, distance in bits.
NO_MATCHES: Final[Matches] = np.empty(0, dtype=MATCH)
NO_MATCHES.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """An index where it lies. Whoever holds a table holds its memory."""

    layout: Layout
    memory: memoryview

    @property
    def hashes(self) -> NDArray[np.uint8]:
        """Permuted. Shape: (count, 32)."""
        return self.layout.hashes(self.memory)


class Searcher(Protocol):
    """Looks up in one table. Any number of threads at once.

    `ask` takes one PDQ, `search` any number one behind the other; both return every row within the
    plan's threshold, each once. Raises: Unproven, for a table that contradicts itself.
    """

    def ask(self, plan: Plan, bits: bytes) -> Matches: ...

    def search(self, plan: Plan, bits: bytes) -> Matches: ...


class Kernel(Protocol):
    """One way to compute."""

    @property
    def name(self) -> str: ...

    def permute(self, bits: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Shape: (count, 32), both, C order; `out` may be `bits`."""
        ...

    def columns(self, hashes: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """The bands of each row as columns. Shape: (16, count)."""
        ...

    def fill(self, keys: NDArray[np.uint16], nexts: NDArray[np.uint16], band: Band) -> None:
        """Put all rows into a band, by key, then by row."""
        ...

    def open(self, table: Table) -> Searcher: ...


class NumpyKernel:
    """The readable one."""

    name = "numpy"

    def permute(self, bits: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        for start in range(0, len(bits), BUCKETS):  # A block at a time: a bit takes a byte here.
            out[start : start + BUCKETS] = permuted(bits[start : start + BUCKETS])

    def columns(self, hashes: NDArray[np.uint8]) -> NDArray[np.uint16]:
        return np.ascontiguousarray(hashes.view("<u2").reshape(-1, BANDS).T)

    def fill(self, keys: NDArray[np.uint16], nexts: NDArray[np.uint16], band: Band) -> None:
        order = np.argsort(keys, kind="stable")
        band.ids[:] = order
        band.filter[:] = nexts[order]
        band.offsets[0] = 0
        band.offsets[1:] = np.cumsum(np.bincount(keys, minlength=BUCKETS))

    def open(self, table: Table) -> Searcher:
        return _NumpySearcher(table)


class _NumpySearcher:
    def __init__(self, table: Table) -> None:
        self._hashes = table.hashes
        layout = table.layout
        self._bands = tuple(layout.band(table.memory, number) for number in range(layout.bands))

    def ask(self, plan: Plan, bits: bytes) -> Matches:
        return self.search(plan, bits)

    def search(self, plan: Plan, bits: bytes) -> Matches:
        queries = permuted(np.frombuffer(bits, dtype=np.uint8).reshape(-1, PDQ_BYTES))
        found = [self._one(plan, number, query) for number, query in enumerate(queries)]
        return np.concatenate(found) if found else NO_MATCHES

    def _one(self, plan: Plan, number: int, query: NDArray[np.uint8]) -> Matches:
        if self._bands and plan.is_worth(len(self._hashes)):
            places = self._candidates(plan, query.view("<u2"))
            distances = distances_of(self._hashes[places], query)
        else:
            distances = distances_of(self._hashes, query)
            places = np.arange(len(distances), dtype=np.uint32)
        close = distances <= plan.threshold_bits
        matches = np.empty(int(close.sum()), dtype=MATCH)
        matches["query"] = number
        matches["place"] = places[close]
        matches["distance"] = distances[close]
        return matches

    def _candidates(self, plan: Plan, query: NDArray[np.uint16]) -> NDArray[np.uint32]:
        """The rows that the plan keeps, each once: a superset of those within its threshold."""
        kept: list[NDArray[np.uint32]] = []
        for number, band in enumerate(self._bands):
            steps = plan.steps[plan.first[number] : plan.first[number + 1]]
            buckets = (query[number] ^ steps["mask"]).astype(np.int64)
            starts = band.offsets[buckets].astype(np.int64)
            sizes = band.offsets[buckets + 1].astype(np.int64) - starts
            if (sizes < 0).any() or (starts + sizes > len(band.ids)).any():
                raise Unproven("index.corrupt", band=number)
            # Each bucket's places, one behind the other.
            ends = np.cumsum(sizes)
            places = np.arange(int(sizes.sum())) + np.repeat(starts - (ends - sizes), sizes)
            slack = np.repeat(steps["slack"], sizes)
            differing = np.bitwise_count(band.filter[places] ^ query[(number + 1) % BANDS])
            kept.append(band.ids[places[differing <= slack]])
        found = np.unique(np.concatenate(kept))
        if len(found) and found[-1] >= len(self._hashes):
            raise Unproven("index.corrupt")
        return found


def distances_of(hashes: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """From one PDQ to each of many, in bits. This is what a match is."""
    differing = hashes.view(np.uint64).reshape(-1, 4) ^ query.view(np.uint64)
    bits: NDArray[np.uint32] = np.bitwise_count(differing).sum(axis=1, dtype=np.uint32)
    return bits
