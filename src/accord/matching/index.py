"""Every active listing that equals a digest or lies within a distance of a fingerprint, exactly.

Not here: which of them matter (decide), how PDQs are found (index_ring) and vectors (vector_index),
how digests are (registry.columns), files (scan.index_store).
Invariants: an index never changes; its answers are those of a scan of every wanted row, ties
included.
Units: on one core of a 2.6 GHz server a PDQ costs about 8 us among a million rows and 30 us among
ten million, a vector 30 us and 230 us, a digest 4 us and, where there is one, 13; BENCHMARKS.md
has the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_kernel import Matches
from accord.matching.index_layout import PDQ_BYTES
from accord.matching.index_native import kernel_of
from accord.matching.index_ring import Ring
from accord.matching.meetings import Distances, Ints, Meetings
from accord.matching.vector_index import VectorIndex, no_vectors
from accord.registry.columns import Bytes, Flags, Rows
from accord.registry.listings import Snapshot
from accord.registry.view_columns import ViewColumn
from accord.statements.rules import NO_DEMAND, Algorithm, Demand, Metric, Step
from accord.wire.errors import Malformed

_CHANGED_SHARE: Final = 4  # Built anew when rows gone and rows new are more than one in so many.
_TOGETHER_MIN: Final = 16  # Fewer queries are asked one by one: the answers need no sorting apart.
_BLOCK_ROWS: Final = 1 << 18  # Compared at a time when an index is held against a snapshot.
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)
_NO_DISTANCES: Final[Distances] = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one look-up found. Shape: aligned, by distance and then row; digests have distance 0.
    Units: distances of `metric`, squared for L2.

    `quality` is the query's, 100 where the algorithm has none. `step` is what of the query was
    looked at, where rule sets choose that; `demand` what was asked to be met, by algorithms that
    count meetings. What listing a row is, no look-up has to say: `Snapshot.encode_refs`.
    """

    algorithm: Algorithm
    rows: Rows
    distances: Distances
    quality: int = 100
    metric: Metric = Metric.HAMMING
    step: Step | None = None
    demand: Demand = NO_DEMAND


@dataclass(frozen=True, slots=True, eq=False)
class Bases:
    """What an index may be built on, such as files. Each `fits` the snapshot (`vectors_fit`)."""

    pdq: Ring | None = None
    photodna: VectorIndex | None = None
    views: Mapping[str, Ring] = field(default_factory=dict[str, Ring])  # By scheme.

    @property
    def is_any(self) -> bool:
        return self.pdq is not None or self.photodna is not None or bool(self.views)


@dataclass(frozen=True, slots=True, eq=False)
class ViewIndex:
    """The views of one scheme, each row's in one of the two."""

    base: Ring
    delta: Ring


@dataclass(frozen=True, eq=False)
class MatchIndex:
    """An immutable index over some rows of a snapshot.

    `base` and `delta` hold the PDQs of all wanted rows, each row in one of them, `vectors` and
    `vector_delta` the PhotoDNAs, and `views` patches and frames of films, by scheme; digests are
    found in the snapshot. `wanted` is a flag for each row of the snapshot. Rows that are no longer
    wanted may stay anywhere: they are dropped when found.
    """

    snapshot: Snapshot
    wanted: Flags
    base: Ring
    delta: Ring
    vectors: VectorIndex
    vector_delta: VectorIndex
    views: Mapping[str, ViewIndex]

    @classmethod
    def build(
        cls, snapshot: Snapshot, rows: Rows | Flags, bases: Bases | None = None
    ) -> "MatchIndex":
        """An index with `rows` wanted, or those with a flag. What `bases` has fits the snapshot.

        Cost: what is not in a base, 2 ms for 10,000 PDQs and 30 ms for vectors, and 2 ms a million
        rows; without a base, or if too much of it has changed, 0.4 s a million PDQs and 2 s a
        million vectors.
        """
        wanted, given = _flags(snapshot, rows), bases or Bases()

        def ring(some: Rows) -> Ring:
            return Ring.build(*_values_of(snapshot, "pdq", some))

        def vectors(some: Rows) -> VectorIndex:
            found, values = _values_of(snapshot, "photodna", some)
            return VectorIndex.build(found, values) if len(found) else no_vectors()

        values = snapshot.values
        base, delta = _pair(given.pdq, wanted, len(values["pdq"]), ring)
        large, small = _pair(given.photodna, wanted, len(values["photodna"]), vectors)
        views = {
            scheme: ViewIndex(*_pair(given.views.get(scheme), wanted, len(column), _viewed(column)))
            for scheme, column in snapshot.views.items()
        }
        return cls(snapshot, wanted, base, delta, large, small, views)

    def extended(
        self, snapshot: Snapshot, rows: Rows | Flags, bases: Bases | None = None
    ) -> "MatchIndex":
        """The index of a later snapshot with `rows` wanted in all; same answers as `build`."""
        given = bases or Bases()
        pdq = self.base if given.pdq is None else given.pdq
        photodna = self.vectors if given.photodna is None else given.photodna
        views = {scheme: views.base for scheme, views in self.views.items()} | dict(given.views)
        return MatchIndex.build(snapshot, rows, Bases(pdq, photodna, views))

    def rebased(self, bases: Bases, snapshot: Snapshot | None = None) -> "MatchIndex":
        """The same rows on other bases. `snapshot`: the same one, lying elsewhere."""
        return self.extended(snapshot or self.snapshot, self.wanted, bases)

    @cached_property
    def changed(self) -> int:
        """Rows that a base of PDQs made now would gain or lose."""
        return _changed(self.base, self.delta, self.wanted)

    @cached_property
    def vectors_changed(self) -> int:
        """Rows that a base of vectors made now would gain or lose."""
        return _changed(self.vectors, self.vector_delta, self.wanted)

    def views_changed(self, scheme: str) -> int:
        """Values that a base of this scheme's views made now would gain or lose."""
        views = self.views[scheme]
        return _changed(views.base, views.delta, self.wanted)

    def merged_views(self, scheme: str) -> tuple[Rows, Bytes]:
        """As `merged`, of views: each row as often as it has them."""
        return self.snapshot.views[scheme].of(self.wanted)

    def merged(self, scheme: str = "pdq") -> tuple[Rows, Bytes]:
        """The rows of a base made now, and their PDQs, or another scheme's values."""
        return _values_of(self.snapshot, scheme, np.flatnonzero(self.wanted).astype(np.uint32))

    def exact(self, algorithm: Algorithm, digest: bytes) -> Candidates:
        """Rows with this very digest."""
        rows = self.snapshot.values[algorithm.value].equal_to(digest)
        rows = rows[self.wanted[rows]]
        return Candidates(algorithm, rows, np.zeros(len(rows), dtype=np.uint32))

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

    def meetings(self, scheme: str, bits: bytes, threshold_bits: int) -> Meetings:
        """Every view of a wanted row within a distance of one of several PDQs, one behind the
        other. Raises: Malformed."""
        views = self.views[scheme]
        parts = [(ring, ring.search(bits, threshold_bits)) for ring in (views.base, views.delta)]
        found = np.concatenate([matches for _, matches in parts])
        rows = np.concatenate([ring.rows[matches["place"]] for ring, matches in parts])
        listed = np.concatenate(
            [  # Values of a row stand together, in their order, all in one of the two.
                matches["place"] - ring.rows.searchsorted(ring.rows[matches["place"]])
                for ring, matches in parts
            ]
        )
        keep = self.wanted[rows]
        asked = found["query"].astype(np.int64)
        return Meetings(rows[keep], asked[keep], listed[keep], found["distance"][keep])

    def counts_of(self, scheme: str, rows: Rows) -> Ints:
        """How many views each of `rows` has."""
        return self.snapshot.views[scheme].counts_of(rows)

    def near_vector(self, vector: bytes, threshold: int, metric: Metric) -> Candidates:
        """Rows within `threshold` of a PhotoDNA, by L1 or L2. Raises: Malformed."""
        parts = [
            (index.rows[found["place"]], found["distance"])
            for index in (self.vectors, self.vector_delta)
            for found in [index.ask(vector, threshold, metric)]
        ]
        rows = np.concatenate([rows for rows, _ in parts])
        distances = np.concatenate([distances for _, distances in parts])
        keep = self.wanted[rows]
        rows, distances = rows[keep], distances[keep]
        ranked = np.lexsort((rows, distances))
        return Candidates(Algorithm.PHOTODNA, rows[ranked], distances[ranked], metric=metric)

    def _wanted(self, found: Matches, fresh: Matches) -> tuple[NDArray[np.uint32], Rows, Distances]:
        """Matches of base and delta that are wanted, by query, distance and row."""
        rows = np.concatenate([self.base.rows[found["place"]], self.delta.rows[fresh["place"]]])
        both = np.concatenate([found, fresh])
        keep = self.wanted[rows]
        rows, both = rows[keep], both[keep]
        ranked = np.lexsort((rows, both["distance"], both["query"]))
        both = both[ranked]
        return both["query"], rows[ranked], both["distance"]


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
        bits = np.ascontiguousarray(column.at(places))
        kernel.permute(bits, bits)
        if not np.array_equal(bits, ring.table.hashes[start : start + _BLOCK_ROWS]):
            return False
    return True


def views_fit(ring: Ring, snapshot: Snapshot, scheme: str) -> bool:
    """`fits`, for views: of every row of the index all that this snapshot has, and no more.
    Cost: about 40 ms a million views."""
    if len(ring) == 0:
        return True
    column, kernel = snapshot.views[scheme], kernel_of()
    if int(ring.rows.max()) >= snapshot.count:
        return False
    wanted = np.zeros(snapshot.count, dtype=np.bool_)
    wanted[ring.rows] = True
    places = np.flatnonzero(wanted[column.rows])
    if len(places) != len(ring) or not np.array_equal(column.rows[places], ring.rows):
        return False
    for start in range(0, len(ring), _BLOCK_ROWS):
        bits = np.ascontiguousarray(column.values[places[start : start + _BLOCK_ROWS]])
        kernel.permute(bits, bits)
        if not np.array_equal(bits, ring.table.hashes[start : start + _BLOCK_ROWS]):
            return False
    return True


def vectors_fit(index: VectorIndex, snapshot: Snapshot) -> bool:
    """`fits`, for vectors. Cost: about 150 ms a million rows."""
    if len(index) == 0:
        return True
    if int(index.rows.max()) >= snapshot.count or len(np.unique(index.rows)) < len(index):
        return False
    column = snapshot.values["photodna"]
    for start in range(0, len(index), _BLOCK_ROWS):
        there, places = column.places_of(index.rows[start : start + _BLOCK_ROWS])
        if not there.all():
            return False
        if not np.array_equal(column.at(places), index.vectors[start : start + _BLOCK_ROWS]):
            return False
    return True


X = TypeVar("X", Ring, VectorIndex)


def _pair(base: X | None, wanted: Flags, values: int, build: Callable[[Rows], X]) -> tuple[X, X]:
    """Base and delta that hold all wanted rows that have one of so many values: on the base that
    there is, unless too much of it has changed."""
    if base is not None and len(base):
        fresh = wanted.copy()
        fresh[base.rows] = False
        delta = build(np.flatnonzero(fresh).astype(np.uint32))
        if _changed(base, delta, wanted) * _CHANGED_SHARE <= len(base):
            return base, delta
    rows = np.flatnonzero(wanted).astype(np.uint32) if values else _NO_ROWS
    return build(rows), build(_NO_ROWS)


def _viewed(column: ViewColumn) -> Callable[[Rows], Ring]:
    """Makes an index of the views of some rows."""

    def ring(rows: Rows) -> Ring:
        if not len(column) or not len(rows):
            return Ring.build(_NO_ROWS, column.values[:0])
        wanted = np.zeros(max(int(rows[-1]), int(column.rows[-1])) + 1, dtype=np.bool_)
        wanted[rows] = True
        return Ring.build(*column.of(wanted))

    return ring


def _changed(base: Ring | VectorIndex, delta: Ring | VectorIndex, wanted: Flags) -> int:
    dead = len(base) - int(np.count_nonzero(wanted[base.rows]))
    return dead + len(delta)


def _flags(snapshot: Snapshot, rows: Rows | Flags) -> Flags:
    if rows.dtype == np.bool_:
        return rows.astype(np.bool_, copy=False)
    flags = np.zeros(snapshot.count, dtype=np.bool_)
    flags[rows] = True
    return flags


def _values_of(snapshot: Snapshot, scheme: str, rows: Rows) -> tuple[Rows, Bytes]:
    """Those of `rows` that have a value, ascending, and the values."""
    rows = np.sort(rows)
    column = snapshot.values[scheme]
    there, places = column.places_of(rows)
    return rows[there], column.at(places[there])
