"""The compiled kernel behind the interface of `index_kernel`, whose twin there defines it.

Not here: the C (native/ring.c), finding the library (accord.native).
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_kernel import (
    MATCH,
    NO_MATCHES,
    Kernel,
    Matches,
    NumpyKernel,
    Searcher,
    Table,
)
from accord.matching.index_layout import PDQ_BYTES, Band, nibble_table
from accord.matching.index_plan import BANDS, Plan
from accord.native import LIBRARY, PATH, Path, best_path, fault_of
from accord.wire.errors import Unproven

_CORRUPT: Final = -2
_ROOM: Final = 256  # Matches of one look-up; where there are more it is asked again with room.
_BULK_MIN: Final = 2048  # Fewer queries share too few buckets to be worth sorting.
_ASKERS_MAX: Final = 1_000_000  # Probes of one band in one batch: 8 MB, which caches still hold.
_Out = ctypes.c_char * (_ROOM * MATCH.itemsize)
_Call = Callable[..., int]


class _Ring(ctypes.Structure):
    """`struct ring` of native/ring.h."""

    _fields_ = (
        ("count", ctypes.c_uint64),
        ("hashes", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p * BANDS),
        ("filter", ctypes.c_void_p * BANDS),
        ("ids", ctypes.c_void_p * BANDS),
    )


class _Plan(ctypes.Structure):
    """`struct plan` of native/ring.h."""

    _fields_ = (
        ("steps", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("budgets", ctypes.c_void_p),
        ("threshold", ctypes.c_uint64),
        ("probes", ctypes.c_uint64),
    )


class NativeKernel:
    """One path of the library."""

    def __init__(self, library: ctypes.CDLL, path: Path) -> None:
        self.path = path
        self._table = nibble_table()
        where, size, data = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p
        number = ctypes.c_int64

        def function(name: str, answer: type | None, *arguments: type) -> _Call:
            found = library[f"accord_ring_{name}"]
            found.argtypes, found.restype = arguments, answer
            return cast(_Call, found)

        path_of = ctypes.c_int32
        self._permute = function("permute", None, where, where, where, size)
        self._columns = function("columns", None, where, size, where, size)
        self._band = function("band", None, where, where, size, where, where, where)
        self.ask = function("ask", number, path_of, where, where, where, data, where, size)
        self.search = function("search", number, path_of, where, where, where, size, where, size)
        self.bulk = function("bulk", number, path_of, where, where, where, size, where, size)
        self.table_at = _at(self._table)

    @property
    def name(self) -> str:
        return self.path.name.lower()

    def permute(self, bits: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        self._permute(self.table_at, _at(bits), _at(out), len(bits))

    def columns(self, hashes: NDArray[np.uint8]) -> NDArray[np.uint16]:
        columns = np.empty((BANDS, len(hashes)), dtype=np.uint16)
        self._columns(_at(hashes), len(hashes), _at(columns), len(hashes))
        return columns

    def fill(self, keys: NDArray[np.uint16], nexts: NDArray[np.uint16], band: Band) -> None:
        arrays = (band.offsets, band.filter, band.ids)
        self._band(_at(keys), _at(nexts), len(keys), *(_at(array) for array in arrays))

    def open(self, table: Table) -> Searcher:
        return _NativeSearcher(self, table)


class _NativeSearcher:
    """Holds the table and the addresses in it."""

    def __init__(self, kernel: NativeKernel, table: Table) -> None:
        self._kernel = kernel
        self._kept: tuple[Any, ...] = (table,)
        layout = table.layout
        self._count = layout.count
        start = _at(np.frombuffer(table.memory, dtype=np.uint8))
        ring = _Ring(self._count, start + layout.sections[1][0])
        for band in range(layout.bands):
            offsets, filters, ids = layout.parts(band)
            ring.offsets[band], ring.filter[band] = start + offsets, start + filters
            ring.ids[band] = start + ids
        self._ring = ring
        self._ring_at = ctypes.addressof(ring)
        self._path = int(kernel.path)
        self._plans: dict[int, int] = {}  # Where the plan of each threshold lies.

    def ask(self, plan: Plan, bits: bytes) -> Matches:
        if not self._count:
            return NO_MATCHES
        kernel, out = self._kernel, _Out()
        at = self._plans.get(plan.threshold_bits) or self._plan_at(plan)
        found = kernel.ask(self._path, self._ring_at, at, kernel.table_at, bits, out, _ROOM)
        if found == 0:
            return NO_MATCHES
        if 0 < found <= _ROOM:
            return np.frombuffer(memoryview(out), dtype=MATCH, count=found)
        if found < 0:
            raise _fault(found)
        queries = np.frombuffer(bits, dtype=np.uint8).reshape(1, PDQ_BYTES)
        return self._run(kernel.search, at, self._permuted(queries), found)

    def search(self, plan: Plan, bits: bytes) -> Matches:
        queries = np.frombuffer(bits, dtype=np.uint8).reshape(-1, PDQ_BYTES)
        at = self._plans.get(plan.threshold_bits) or self._plan_at(plan)
        if len(queries) < _BULK_MIN:
            return self._run(self._kernel.search, at, self._permuted(queries), _ROOM)
        size = max(_BULK_MIN, _ASKERS_MAX // max(1, int(np.diff(plan.first).max())))
        parts: list[Matches] = []
        for start in range(0, len(queries), size):
            part = self._permuted(queries[start : start + size])
            found = self._run(self._kernel.bulk, at, part, len(part))
            if start:
                found["query"] += start
            parts.append(found)
        return np.concatenate(parts)

    def _run(self, call: _Call, plan_at: int, queries: NDArray[np.uint8], room: int) -> Matches:
        """Asked again where there was too little room: the same answers come again."""
        while True:
            out = np.empty(max(room, _ROOM), dtype=MATCH)
            found = call(
                self._path, self._ring_at, plan_at, _at(queries), len(queries), _at(out), len(out)
            )
            if found < 0:
                raise _fault(found)
            if found <= len(out):
                return out[:found]
            room = found

    def _permuted(self, queries: NDArray[np.uint8]) -> NDArray[np.uint8]:
        out = np.empty(queries.shape, dtype=np.uint8)
        self._kernel.permute(queries, out)
        return out

    def _plan_at(self, plan: Plan) -> int:
        probes = len(plan.steps) if plan.is_worth(self._count) else 0
        arrays = (plan.steps, plan.first, plan.budgets)
        made = _Plan(*(_at(array) for array in arrays), plan.threshold_bits, probes)
        self._kept += (made, plan)
        self._plans[plan.threshold_bits] = ctypes.addressof(made)
        return self._plans[plan.threshold_bits]


def _at(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _fault(number: int) -> Exception:
    return Unproven("index.corrupt") if number == _CORRUPT else fault_of(number)


@lru_cache(maxsize=len(Path))
def kernel_of(path: Path = PATH) -> Kernel:
    """The kernel of a path that this machine has."""
    if LIBRARY is None or path is Path.NUMPY:
        return NumpyKernel()
    return NativeKernel(LIBRARY, path)


def kernels() -> tuple[Kernel, ...]:
    """Every kernel of this machine, the readable one first."""
    return tuple(kernel_of(path) for path in Path if path <= best_path(LIBRARY))
