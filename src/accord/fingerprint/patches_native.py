"""The compiled kernel behind the interface of `patches`, whose NumPy twin defines every bit of it.

Not here: the C (native/patches.c), finding the library (accord.native).
"""

import ctypes
from collections.abc import Callable
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.dihedral import Bits
from accord.fingerprint.frames import Grey
from accord.fingerprint.patches import (
    CIRCLE,
    REACH,
    TURN_REACH,
    WEIGHTS,
    NumpyPatchKernel,
    PatchKernel,
    Turns,
    has_patches,
)
from accord.fingerprint.pdq import COSINES, SIDE, Floats
from accord.fingerprint.spots import BLURS, BLURS_USED, SPOT, Blurs, Spots
from accord.fingerprint.types import PDQ_BYTES
from accord.native import LIBRARY, PATH, Path
from accord.wire.errors import Broken

_SPOTS_ROOM: Final = 4096  # Most pictures have fewer; where one has more, it is asked again.
_Call = Callable[..., int]


class _Blurs(ctypes.Structure):
    """`struct blurs` of native/patches.h."""

    _fields_ = (
        ("radius", ctypes.c_uint32 * (BLURS + 1)),
        ("first", ctypes.c_uint32 * (BLURS + 1)),
        ("contrast", ctypes.c_float),
        ("edge", ctypes.c_float),
        ("scale", ctypes.c_float),
        ("taps", ctypes.c_void_p),
        ("powers", ctypes.c_void_p),
    )


class NativePatchKernel:
    """One path of the library."""

    def __init__(self, library: ctypes.CDLL, path: Path) -> None:
        self._path = int(path)
        self._taps = np.concatenate(BLURS_USED.taps)
        self._blurs = _struct_of(BLURS_USED, self._taps)
        where, size, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32
        share = ctypes.c_float

        def function(name: str, *arguments: type, answer: type = ctypes.c_int32) -> _Call:
            found = library[f"accord_patches_{name}"]
            found.argtypes, found.restype = arguments, answer
            return cast(_Call, found)

        picture = (ctypes.c_int32, where, size, number, number)
        self._room_for = function("room", number, number, answer=size)
        self._spots = function("spots", *picture, where, where, where, number)
        self._turns = function("turns", *picture, where, where, number, share, where, where)
        outs = (where, where, where, where)
        self._hashed = function("hashed", *picture, where, where, where, number, share, *outs)

    def spots(self, grey: Grey) -> Spots:
        picture, room = self._open(grey)
        capacity = _SPOTS_ROOM
        while True:
            found = np.empty(capacity, SPOT)
            blurs, out = ctypes.addressof(self._blurs), found.ctypes.data
            count = _check(self._spots(*picture, blurs, room.ctypes.data, out, capacity))
            if count <= capacity:
                return found[:count]
            capacity = count

    def turns(self, grey: Grey, spots: Spots) -> Turns:
        turns = np.full((len(spots), 2), -1, dtype=np.int32)
        if not len(spots):
            return turns
        picture, room = self._open(grey)
        spots = np.ascontiguousarray(spots)
        here = room.ctypes.data, spots.ctypes.data, len(spots)
        _check(self._turns(*picture, *here, TURN_REACH, WEIGHTS.ctypes.data, turns.ctypes.data))
        return turns

    def hashed(self, grey: Grey, spots: Spots, turns: Turns) -> tuple[Floats, NDArray[np.int32]]:
        frequencies = np.zeros((len(spots), SIDE, SIDE), dtype=np.float32)
        quality = np.zeros(len(spots), dtype=np.int32)
        if not len(spots):
            return frequencies, quality
        picture, room = self._open(grey)
        spots, turns = np.ascontiguousarray(spots), np.ascontiguousarray(turns)
        here = room.ctypes.data, spots.ctypes.data, turns.ctypes.data, len(spots), REACH
        tables = CIRCLE.ctypes.data, COSINES.ctypes.data
        outs = frequencies.ctypes.data, quality.ctypes.data
        _check(self._hashed(*picture, *here, *tables, *outs))
        return frequencies, quality

    def _open(self, grey: Grey) -> tuple[tuple[int, int, int, int, int], Floats]:
        """The first arguments of a call, good as long as `grey`, and its working memory."""
        if grey.dtype != np.uint8 or grey.strides[1] != 1 or not has_patches(grey):
            raise Broken("kernel.answer", number=len(grey))
        height, width = grey.shape
        room = np.empty(self._room_for(width, height), dtype=np.float32)
        return (self._path, grey.ctypes.data, grey.strides[0], width, height), room


def _struct_of(blurs: Blurs, taps: Floats) -> _Blurs:
    """Good as long as `taps` and the powers are."""
    radius = [len(half) - 1 for half in blurs.taps]
    first = np.cumsum([0, *(len(half) for half in blurs.taps[:-1])]).tolist()
    return _Blurs(
        (ctypes.c_uint32 * len(radius))(*radius),
        (ctypes.c_uint32 * len(first))(*first),
        blurs.contrast,
        blurs.edge,
        blurs.scale,
        taps.ctypes.data,
        blurs.powers.ctypes.data,
    )


def patch_kernel_of(path: Path = PATH) -> PatchKernel:
    """The kernel of a path; NumPy's where that is the path or there is no library."""
    if path is Path.NUMPY or LIBRARY is None:
        return NumpyPatchKernel()
    return NativePatchKernel(LIBRARY, path)


def apart(some: Bits, others: Bits, path: Path = PATH) -> NDArray[np.uint16]:
    """Hamming distances of each with each. Shape: (n, 32), (m, 32), (n, m). Units: bits."""
    found = np.zeros((len(some), len(others)), dtype=np.uint16)
    function = getattr(LIBRARY, "accord_patches_apart", None)
    if path is Path.NUMPY or function is None:
        one, other = (np.ascontiguousarray(bits).view(np.uint64) for bits in (some, others))
        for word in range(PDQ_BYTES // 8):
            found += np.bitwise_count(one[:, word, None] ^ other[None, :, word])
        return found
    where, size = ctypes.c_void_p, ctypes.c_uint64
    function.argtypes = (ctypes.c_int32, where, size, where, size, where)
    function.restype = None
    left, right = (np.ascontiguousarray(bits, dtype=np.uint8) for bits in (some, others))
    here = left.ctypes.data, len(left), right.ctypes.data, len(right)
    function(int(path), *here, found.ctypes.data)
    return found


def _check(answer: int) -> int:
    if answer < 0:
        raise Broken("kernel.answer", number=answer)
    return answer
