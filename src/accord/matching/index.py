"""Every active listing that equals a digest or lies within a distance of a PDQ, exactly.

Not here: which of them matter (decide), how PDQs are found (index_ring), files (scan.index_store).
Invariants: an index never changes; its answers are those of a scan of every wanted row, ties
included.
Units: on one core of a 2.6 GHz server a PDQ costs about 8 us among a million rows and 30 us among
ten million, a digest 70 us; BENCHMARKS.md has the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_kernel import Matches
from accord.matching.index_layout import PDQ_BYTES
from accord.matching.index_native import kernel_of
from accord.matching.index_ring import Ring
from accord.registry.columns import Bytes, Flags, Rows
from accord.registry.listings import Snapshot
from accord.statements.rules import Algorithm, Metric
from accord.wire.errors import Malformed

_CHANGED_SHARE: Final = 4  # Built anew when rows gone and rows new are more than one in so many.
_TOGETHER_MIN: Final = 16  # Fewer queries are asked one by one: the answers need no sorting apart.
_BLOCK_ROWS: Final = 1 << 18  # Compared at a time when an index is held against a snapshot.
Distances = NDArray[np.uint16]
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)
_NO_DISTANCES: Final[Distances] = np.empty(0, dtype=np.uint16)
_NOTHING: Final[tuple[Rows, Bytes]] = (_NO_ROWS, np.empty((0, PDQ_BYTES), dtype=np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one look-up found. Shape: aligned, by distance and then row; digests have distance 0.
    Units: distances of `metric`, squared for L2.

    `quality` is the query's, 100 for a digest.
    """

    algorithm: Algorithm
    rows: Rows
    distances: Distances
    quality: int = 100
    metric: Metric = Metric.HAMMING


@dataclass(frozen=True, eq=False)
class MatchIndex:
    """An immutable index over some rows of a snapshot.

    `base` and `delta` hold the PDQs of all wanted rows, each row in one of them; `wanted` is a
    flag for each row of the snapshot. Rows that are no longer wanted may stay in both: they are
    dropped when found.
    """

    snapshot: Snapshot
    wanted: Flags
    base: Ring
    delta: Ring

    @classmethod
    def build(cls, snapshot: Snapshot, rows: Rows, base: Ring | None = None) -> "MatchIndex":
        """An index with `rows` wanted. `base`, if there is one, `fits` the snapshot.

        Cost: what is not in the base, 2 ms for 10,000 rows, and 2 ms a million rows; without a
        base, or if too much of it has changed, 0.4 s a million rows.
        """
        wanted = _flags(snapshot, rows)
        if base is not None:
            known = _flags(snapshot, base.rows)
            delta = Ring.build(*_pdqs(snapshot, rows[~known[rows]]))
            index = cls(snapshot, wanted, base, delta)
            if index.changed * _CHANGED_SHARE <= len(base):
                return index
        return cls(snapshot, wanted, Ring.build(*_pdqs(snapshot, rows)), Ring.build(*_NOTHING))

    def extended(self, snapshot: Snapshot, rows: Rows, base: Ring | None = None) -> "MatchIndex":
        """The index of a later snapshot with `rows` wanted in all; same answers as `build`."""
        return MatchIndex.build(snapshot, rows, self.base if base is None else base)

    def rebased(self, base: Ring) -> "MatchIndex":
        """The same rows of the same snapshot on another base, which `fits` it."""
        return MatchIndex.build(self.snapshot, np.flatnonzero(self.wanted).astype(np.uint32), base)

    @cached_property
    def changed(self) -> int:
        """Rows that a base made now would gain or lose."""
        dead = len(self.base) - int(np.count_nonzero(self.wanted[self.base.rows]))
        return dead + len(self.delta)

    def merged(self) -> tuple[Rows, Bytes]:
        """The rows of a base made now, and their PDQs."""
        return _pdqs(self.snapshot, np.flatnonzero(self.wanted).astype(np.uint32))

    def exact(self, algorithm: Algorithm, digest: bytes) -> Candidates:
        """Rows with this very digest."""
        rows = self.snapshot.values[algorithm.value].equal_to(digest)
        rows = rows[self.wanted[rows]]
        return Candidates(algorithm, rows, np.zeros(len(rows), dtype=np.uint16))

    def near(self, bits: bytes, threshold_bits: int, quality: int = 100) -> Candidates:
        """Rows within `threshold_bits` of a PDQ. Raises: Malformed; Unproven, see `Ring`."""
        found = self.base.ask(bits, threshold_bits)
        fresh = self.delta.ask(bits, threshold_bits)
        if not len(found) and not len(fresh):
            return Candidates(Algorithm.PDQ, _NO_ROWS, _NO_DISTANCES, quality)
        _, rows, distances = self._wanted(found, fresh)
        return Candidates(Algorithm.PDQ, rows, distances, quality)

    def near_many(
        self, queries: Sequence[tuple[bytes, int]], threshold_bits: int
    ) -> tuple[Candidates, ...]:
        """`near` for many (bits, quality); each costs half among thousands. Raises: as `near`."""
        if len(queries) < _TOGETHER_MIN:
            return tuple(self.near(bits, threshold_bits, quality) for bits, quality in queries)
        if any(len(bits) != PDQ_BYTES for bits, _ in queries):
            raise Malformed("matching.pdq_length")
        joined = b"".join(bits for bits, _ in queries)
        which, rows, distances = self._wanted(
            self.base.search(joined, threshold_bits), self.delta.search(joined, threshold_bits)
        )
        ends = np.searchsorted(which, np.arange(1, len(queries) + 1)).tolist()
        answers: list[Candidates] = []
        start = 0
        for (_, quality), end in zip(queries, ends, strict=True):
            mine = (rows[start:end], distances[start:end]) if end > start else _NO_MATCHES
            answers.append(Candidates(Algorithm.PDQ, *mine, quality))
            start = end
        return tuple(answers)

    def _wanted(self, found: Matches, fresh: Matches) -> tuple[NDArray[np.uint32], Rows, Distances]:
        """Matches of base and delta that are wanted, by query, distance and row."""
        rows = np.concatenate([self.base.rows[found["place"]], self.delta.rows[fresh["place"]]])
        both = np.concatenate([found, fresh])
        keep = self.wanted[rows]
        rows, both = rows[keep], both[keep]
        ranked = np.lexsort((rows, both["distance"], both["query"]))
        both = both[ranked]
        return both["query"], rows[ranked], both["distance"].astype(np.uint16)


_NO_MATCHES: Final = (_NO_ROWS, _NO_DISTANCES)


def fits(ring: Ring, snapshot: Snapshot) -> bool:
    """Whether every row of an index has, in this snapshot, the very PDQ that the index holds.

    What an index from elsewhere must pass before it answers for this registry: rows of another
    log, or numbered otherwise, do not. Cost: about 40 ms a million rows.
    """
    if len(ring) == 0:
        return True
    if int(ring.rows[-1]) >= snapshot.count or (ring.rows[1:] <= ring.rows[:-1]).any():
        return False
    column, kernel = snapshot.values["pdq"], kernel_of()
    for start in range(0, len(ring), _BLOCK_ROWS):
        there, places = column.places_of(ring.rows[start : start + _BLOCK_ROWS])
        if not there.all():
            return False
        bits = np.ascontiguousarray(column.values[places])
        kernel.permute(bits, bits)
        if not np.array_equal(bits, ring.table.hashes[start : start + _BLOCK_ROWS]):
            return False
    return True


def _flags(snapshot: Snapshot, rows: Rows) -> Flags:
    flags = np.zeros(snapshot.count, dtype=np.bool_)
    flags[rows] = True
    return flags


def _pdqs(snapshot: Snapshot, rows: Rows) -> tuple[Rows, Bytes]:
    """Those of `rows` that have a PDQ, ascending, and the PDQs."""
    rows = np.sort(rows)
    column = snapshot.values["pdq"]
    there, places = column.places_of(rows)
    return rows[there], column.values[places[there]]
