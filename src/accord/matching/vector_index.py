"""An immutable index of byte vectors (PhotoDNA's kind, 144 bytes): every row within a distance.

How it passes rows over, and why no row within the distance is among them. Let `A` be 24 axes of
whole numbers (the main directions of the rows, scaled and rounded) and `s` a number that no
eigenvalue of `A A'` exceeds: the greatest sum of absolute values in one of its rows (Gershgorin).
For any rows x and y, `|A x - A y|^2 <= s |x - y|^2`. A row's place on an axis is kept as a cell,
2^shift wide; if two cells are c apart, c > 0, the places are more than `(c - 1) 2^shift` apart.
So if the squares of `c - 1` over the axes sum to more than `s r^2 / 4^shift`, the rows are further
than r apart. The same holds for all rows of a box, with the cell of the box that is nearest. For
the sum of absolute differences (L1), `s` is the greatest sum of squares in a column of A instead:
`|A d|^2` is convex in d, so among all d within r it is greatest at a corner of that set, where d is
r in one place and 0 elsewhere. All of this is in whole numbers, so nothing is rounded; what is left
is compared whole.

Rows are put in an order that keeps neighbours together, in zones of 64, and zones in fields of 64.
Not here: which rows matter (index), where arrays lie (vector_layout), files (scan.index_file).
Units: 173 bytes a row.
"""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_file import section_of, view
from accord.matching.vector_layout import AXES, VECTOR_BYTES, ZONE, VectorLayout
from accord.native import LIBRARY, PATH, Path, fault_of
from accord.registry.columns import Bytes, Rows
from accord.statements.rules import Metric
from accord.wire.errors import Malformed

VECTOR_MATCH: Final = np.dtype([("place", "<u4"), ("distance", "<u4")])
VectorMatches = NDArray[np.void]  # Of VECTOR_MATCH: place in the index; L1, or L2 squared.
NO_VECTORS: Final[VectorMatches] = np.empty(0, dtype=VECTOR_MATCH)
NO_VECTORS.setflags(write=False)
_SCALE: Final = 1024  # Of the axes: their rounding errors are then a tenth of a percent.
_SAMPLE: Final = 50_000  # Rows that the axes are found from.
_AXES_MIN: Final = 1024  # Fewer rows are compared sooner than their directions are found.
_BLOCK: Final = 1 << 16
_KEY_BITS: Final = 40  # Of the order: some 2^24 rows are told apart long before.
_EVERY_ROW: Final = 2**64 - 1
_ROOM: Final = 256
_Out = ctypes.c_char * (_ROOM * VECTOR_MATCH.itemsize)


def vector_distances(vectors: Bytes, query: Bytes, metric: Metric) -> NDArray[np.int64]:
    """From one vector to each of many; squared for L2. This is what a match is."""
    apart = vectors.astype(np.int16) - query.astype(np.int16)
    if metric is Metric.L1:
        return cast(NDArray[np.int64], np.abs(apart).sum(axis=1, dtype=np.int64))
    return cast(NDArray[np.int64], (apart.astype(np.int32) ** 2).sum(axis=1, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Where rows lie on the axes. Shape: `axes` (24, 144), `origin` (24,); `codes` (zones, 24,
    64), a zone's cells axis by axis; boxes of zones and of fields alike, by field and by 64
    fields. Boxes and cells beyond the last row are full."""

    axes: NDArray[np.int16]
    origin: NDArray[np.int32]
    shift: int
    scale: int  # `s` for L2.
    scale_l1: int
    codes: Bytes
    zone_low: Bytes
    zone_high: Bytes
    field_low: Bytes
    field_high: Bytes

    def budget(self, limit: int, metric: Metric) -> int:
        """What the squared gaps of a row within `limit` sum to at most."""
        square = self.scale_l1 * limit * limit if metric is Metric.L1 else self.scale * limit
        return square >> 2 * self.shift


@dataclass(frozen=True, slots=True, eq=False)
class VectorIndex:
    """Shape: `vectors` (count, 144) in the order of the index; `rows`, aligned, whose they are."""

    rows: Rows
    vectors: Bytes
    cells: Cells
    is_mapped: bool
    search: "Callable[[bytes, int, int, Metric], VectorMatches]"

    @classmethod
    def build(cls, rows: Rows, vectors: Bytes, path: Path = PATH) -> "VectorIndex":
        """Cost: about 2 s a million rows. Raises: Malformed."""
        if vectors.ndim != 2 or vectors.shape[1] != VECTOR_BYTES:
            raise Malformed("matching.vector_length")
        axes = _axes_of(vectors)
        order, codes, origin, shift = _cells_of(vectors, axes)
        zones = _in_blocks(codes[order])
        low, high = _boxes(zones, len(rows))
        zone_low, zone_high = _in_blocks(low, 255), _in_blocks(high)
        field_low, field_high = _outer(zone_low, np.min), _outer(zone_high, np.max)
        cells = Cells(
            axes,
            origin,
            shift,
            _bound_of(axes),
            _bound_l1_of(axes),
            zones,
            zone_low,
            zone_high,
            _in_blocks(field_low, 255),
            _in_blocks(field_high),
        )
        ordered = np.ascontiguousarray(vectors[order])
        return cls(rows[order], ordered, cells, False, _searcher(ordered, cells, path))

    @classmethod
    def open(cls, layout: VectorLayout, memory: memoryview, path: Path = PATH) -> "VectorIndex":
        """An index that lies in `memory`. Cost: none, nothing but the axes is read."""
        (rows, _), (vectors, _), (codes, _), (zones, _), (fields, _), (axes, _) = layout.sections
        box, wide = AXES * ZONE, AXES * VECTOR_BYTES

        def boxes(start: int, count: int) -> Bytes:
            return view(memory, start, count * box, "u1").reshape(count, AXES, ZONE)

        weights = view(memory, axes, wide, "<i2").reshape(AXES, VECTOR_BYTES)
        cells = Cells(
            weights,
            view(memory, axes + 2 * wide, AXES, "<i4"),
            layout.detail,
            _bound_of(weights),
            _bound_l1_of(weights),
            boxes(codes, layout.zones),
            boxes(zones, layout.fields),
            boxes(zones + layout.fields * box, layout.fields),
            boxes(fields, layout.groups),
            boxes(fields + layout.groups * box, layout.groups),
        )
        flat = view(memory, vectors, layout.count * VECTOR_BYTES, "u1")
        ordered = flat.reshape(layout.count, VECTOR_BYTES)
        found = view(memory, rows, layout.count, "<u4")
        return cls(found, ordered, cells, memory.readonly, _searcher(ordered, cells, path))

    def sections(self) -> tuple[VectorLayout, Iterator[memoryview]]:
        """The bytes of this index, section by section. Cost: a copy of one section at a time."""
        cells = self.cells
        layout = VectorLayout(len(self.rows), cells.shift)
        axes = np.concatenate([_raw(cells.axes), _raw(cells.origin)])
        arrays: tuple[NDArray[Any], ...] = (
            self.rows,
            self.vectors,
            cells.codes,
            np.stack([cells.zone_low, cells.zone_high]),
            np.stack([cells.field_low, cells.field_high]),
            axes,
        )
        sized = zip(layout.sections, arrays, strict=True)
        return layout, (section_of(array, size) for (_, size), array in sized)

    def __len__(self) -> int:
        return len(self.rows)

    def ask(self, vector: bytes, distance: int, metric: Metric = Metric.L2) -> VectorMatches:
        """Every row within `distance`, included, by distance, then row. Raises: Malformed."""
        if len(vector) != VECTOR_BYTES:
            raise Malformed("matching.vector_length")
        if distance < 0 or not len(self.rows):
            return NO_VECTORS
        limit = distance if metric is Metric.L1 else distance * distance
        found = self.search(vector, limit, self.cells.budget(limit, metric), metric)
        if len(found) < 2:
            return found
        return found[np.lexsort((self.rows[found["place"]], found["distance"]))]


def _raw(array: NDArray[Any]) -> Bytes:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


@lru_cache(maxsize=1)
def no_vectors() -> VectorIndex:
    """An index of no rows."""
    nothing = np.empty((0, VECTOR_BYTES), dtype=np.uint8)
    return VectorIndex.build(np.empty(0, dtype=np.uint32), nothing)


def _axes_of(vectors: Bytes) -> NDArray[np.int16]:
    """The main directions of a sample of the rows, as whole numbers. Any axes give the same
    answers, these pass over most."""
    sample = vectors[:: max(1, len(vectors) // _SAMPLE)].astype(np.float64)
    if len(sample) < _AXES_MIN:
        return np.eye(AXES, VECTOR_BYTES, dtype=np.int16) * np.int16(_SCALE)
    centred = sample - sample.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    main = directions[:, ::-1][:, :AXES].T
    return np.ascontiguousarray(np.rint(main * _SCALE).astype(np.int16))


def _bound_of(axes: NDArray[np.int16]) -> int:
    wide = axes.astype(np.int64)
    return int(np.abs(wide @ wide.T).sum(axis=1).max())


def _bound_l1_of(axes: NDArray[np.int16]) -> int:
    return int((axes.astype(np.int64) ** 2).sum(axis=0).max())


def _cells_of(
    vectors: Bytes, axes: NDArray[np.int16]
) -> tuple[NDArray[np.intp], Bytes, NDArray[np.int32], int]:
    """The order of the rows, the cell of each on each axis, where cells begin, how wide they
    are."""
    places = np.empty((len(vectors), AXES), dtype=np.int32)
    for start in range(0, len(vectors), _BLOCK):
        # Sums of whole numbers below 2^53 are exact in doubles, in whatever order they are taken.
        part = vectors[start : start + _BLOCK].astype(np.float64) @ axes.T.astype(np.float64)
        places[start : start + _BLOCK] = part
    origin = places.min(axis=0) if len(places) else np.zeros(AXES, dtype=np.int32)
    places -= origin
    widest = int(places.max()) if len(places) else 0
    shift = max(0, widest.bit_length() - 8)
    codes = (places >> shift).astype(np.uint8)
    return np.argsort(_keys_of(places), kind="stable"), codes, origin.astype(np.int32), shift


def _keys_of(places: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A number for each row, such that rows in its order are neighbours: the axis that is widest
    now is halved, where half of the rows lie, and so on."""
    keys = np.zeros(len(places), dtype=np.uint64)
    if not len(places):
        return keys
    sample = np.sort(places[:: max(1, len(places) // _SAMPLE)], axis=0)
    widths = (sample[-1 - len(sample) // 20] - sample[len(sample) // 20]).astype(np.float64)
    splits = np.zeros(AXES, dtype=np.int64)
    chosen: list[int] = []
    for _ in range(_KEY_BITS):
        axis = int(np.argmax(widths))
        widths[axis] /= 2
        splits[axis] += 1
        chosen.append(axis)
    ranks: dict[int, NDArray[np.int64]] = {}
    for axis in set(chosen):
        share = np.arange(1, 1 << int(min(splits[axis], 16))) * len(sample)
        edges = sample[share >> int(min(splits[axis], 16)), axis]
        ranks[axis] = np.searchsorted(edges, places[:, axis], side="right")
    left = np.minimum(splits, 16)
    for axis in chosen:
        if left[axis]:
            left[axis] -= 1
            bit = (ranks[axis] >> int(left[axis])) & 1
            keys = (keys << np.uint64(1)) | bit.astype(np.uint64)
    return keys


def _in_blocks(codes: Bytes, fill: int = 0) -> Bytes:
    """(count, 24) as (blocks, 24, 64), filled up."""
    blocks = max(1, -(-len(codes) // ZONE))
    padded = np.full((blocks * ZONE, AXES), fill, dtype=np.uint8)
    padded[: len(codes)] = codes
    return np.ascontiguousarray(padded.reshape(blocks, ZONE, AXES).transpose(0, 2, 1))


def _boxes(zones: Bytes, count: int) -> tuple[Bytes, Bytes]:
    """The least and the greatest cell of each zone's rows on each axis. Shape: (zones, 24)."""
    low, high = zones.min(axis=2), zones.max(axis=2)
    last = count % ZONE
    if last:  # What fills up the last zone is no row.
        low[-1], high[-1] = zones[-1, :, :last].min(axis=1), zones[-1, :, :last].max(axis=1)
    return low, high


def _outer(boxes: Bytes, of: Callable[..., Any]) -> Bytes:
    """One box around each 64. Filling is such that it does not matter."""
    return np.asarray(of(boxes, axis=2), dtype=np.uint8)


class _Vectors(ctypes.Structure):
    """`struct vectors` of native/vector.h."""

    _fields_ = (
        ("count", ctypes.c_uint64),
        ("fields", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("vectors", "codes", "zone_low", "zone_high")),
        *((name, ctypes.c_void_p) for name in ("field_low", "field_high", "axes", "origin")),
        ("shift", ctypes.c_uint64),
    )


@lru_cache(maxsize=1)
def _native() -> Callable[..., int] | None:
    if LIBRARY is None:
        return None
    where, size, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int32
    function = LIBRARY.accord_vector_search
    function.argtypes = (number, where, ctypes.c_char_p, number, size, size, where, size)
    function.restype = ctypes.c_int64
    return cast(Callable[..., int], function)


def _searcher(
    vectors: Bytes, cells: Cells, path: Path
) -> Callable[[bytes, int, int, Metric], VectorMatches]:
    call = _native()
    if call is None or path is Path.NUMPY:
        return lambda vector, limit, _, metric: _scan(vectors, vector, limit, metric)
    return _NativeSearch(call, vectors, cells, path)


class _NativeSearch:
    """Holds the arrays and the structure that points into them. Any number of threads at once."""

    def __init__(self, call: Callable[..., int], vectors: Bytes, cells: Cells, path: Path) -> None:
        arrays: tuple[NDArray[Any], ...] = (vectors, cells.codes, cells.zone_low, cells.zone_high)
        arrays += (cells.field_low, cells.field_high, cells.axes, cells.origin)
        fields = -(-len(vectors) // (ZONE * ZONE))
        at = (array.ctypes.data for array in arrays)
        self._call, self._path, self._arrays = call, int(path), arrays
        self._index = _Vectors(len(vectors), fields, *at, cells.shift)

    def __call__(self, vector: bytes, limit: int, budget: int, metric: Metric) -> VectorMatches:
        index, is_l1 = ctypes.addressof(self._index), int(metric is Metric.L1)
        limit, budget = min(limit, _EVERY_ROW), min(budget, _EVERY_ROW)
        out, room = _Out(), _ROOM
        while True:
            found = self._call(self._path, index, vector, is_l1, limit, budget, out, room)
            if found < 0:
                raise fault_of(found)
            if found <= room:
                data = memoryview(out)
                return np.frombuffer(data, dtype=VECTOR_MATCH, count=found) if found else NO_VECTORS
            out, room = (ctypes.c_char * (found * VECTOR_MATCH.itemsize))(), found


def _scan(vectors: Bytes, vector: bytes, limit: int, metric: Metric) -> VectorMatches:
    distances = vector_distances(vectors, np.frombuffer(vector, dtype=np.uint8), metric)
    places = np.flatnonzero(distances <= limit)
    found = np.empty(len(places), dtype=VECTOR_MATCH)
    found["place"], found["distance"] = places, distances[places]
    return found
