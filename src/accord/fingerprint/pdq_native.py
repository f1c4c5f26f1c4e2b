"""The compiled kernel behind the interface of `pdq`, whose NumPy twin defines every bit of it.

Not here: the C (native/pdq.c), finding the library (accord.native).
"""

import ctypes
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.fold import KEPT, Fold
from accord.fingerprint.pdq import (
    COSINES,
    GRID,
    SIDE,
    Floats,
    Hashed,
    Kernel,
    NumpyKernel,
    Strip,
)
from accord.fingerprint.types import PDQ_BYTES, Fingerprint
from accord.native import LIBRARY, PATH, Path
from accord.wire.errors import Broken

_ALIGNMENT: Final = 64
_Call = Callable[..., int]


class _Fold(ctypes.Structure):
    """`struct fold` of native/pdq.h."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("start", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
    )


class NativeKernel:
    """One path of the library."""

    def __init__(self, library: ctypes.CDLL, path: Path) -> None:
        self.name = path.name.lower()
        self._path = int(path)
        where, size, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32

        def function(name: str, *arguments: type, answer: type = ctypes.c_int32) -> _Call:
            found = library[f"accord_pdq_{name}"]
            found.argtypes, found.restype = arguments, answer
            return cast(_Call, found)

        path_of = ctypes.c_int32
        self._room = function("room", number, number, answer=size)
        self._begin = function("begin", where, number, number)
        self._rows = function("rows", path_of, where, where, size, number, number)
        self._finish = function("finish", path_of, where, where)
        self._fold = function("fold", path_of, where, size, where, where, where, where)
        self._bits = function("bits", path_of, where, where, where, where)

    def grid(self, strips: Iterable[Strip], width: int, height: int) -> Floats:
        room = _aligned(self._room(width, height))
        at = room.ctypes.data
        _check(self._begin(at, width, height))
        for strip in strips:
            rows, across, channels = strip.shape
            is_packed = strip.strides[1] == channels and (channels == 1 or strip.strides[2] == 1)
            if across != width or not is_packed:
                raise Broken("kernel.answer", number=rows)  # No strip of this picture.
            stride, to = strip.strides[0], strip.ctypes.data
            _check(self._rows(self._path, at, to, stride, channels, rows))
        grid = np.empty((GRID, GRID), dtype=np.float32)
        _check(self._finish(self._path, at, grid.ctypes.data))
        return grid

    def folded(self, grey: Strip, across: Fold, down: Fold) -> Floats:
        if grey.shape != (down.size, across.size) or grey.strides[1] != 1:
            raise Broken("kernel.answer", number=len(grey))
        room = _aligned(GRID * (across.size + 8) * 4)
        grid = np.empty((GRID, GRID), dtype=np.float32)
        structs = [_struct_of(fold) for fold in (across, down)]
        at = [ctypes.addressof(struct) for struct in structs]
        stride, to = grey.strides[0], grid.ctypes.data
        _check(self._fold(self._path, grey.ctypes.data, stride, *at, room.ctypes.data, to))
        return grid

    def hashed(self, grid: Floats) -> Hashed:
        frequencies = np.empty((SIDE, SIDE), dtype=np.float32)
        bits = ctypes.create_string_buffer(PDQ_BYTES)
        quality = self._bits(
            self._path, grid.ctypes.data, COSINES.ctypes.data, frequencies.ctypes.data, bits
        )
        return Hashed(Fingerprint(bits.raw, _check(quality)), frequencies)


@lru_cache(KEPT)
def _struct_of(fold: Fold) -> _Fold:
    """Good as long as `fold` is, which the cache holds beside it."""
    start, weight = fold.start.ctypes.data, fold.weight.ctypes.data
    return _Fold(fold.size, fold.weight.shape[1], start, weight)


def kernel_of(path: Path = PATH) -> Kernel:
    """The kernel of a path; NumPy's where that is the path or there is no library."""
    if path is Path.NUMPY or LIBRARY is None:
        return NumpyKernel()
    return NativeKernel(LIBRARY, path)


def _aligned(size: int) -> NDArray[np.uint8]:
    room = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size]


def _check(answer: int) -> int:
    if answer < 0:
        raise Broken("kernel.answer", number=answer)
    return answer
