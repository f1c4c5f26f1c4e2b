"""Which way up a frame is to be seen, and its pixels that way, strip by strip.

A picture is never held twice: a turned one is cut, turned and given away in strips.
Source: docs/spec/fingerprint.md, section 5.
"""

import ctypes
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from PIL import Image

from accord.fingerprint.pdq import STRIP_ROWS, Strip

ORIENTATION_TAG: Final = 0x0112
TURNS: Final[dict[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
_FROM_THE_END: Final = frozenset({3, 4, 7, 8})  # The first upright row is the last row or column.


def orientation_of(frame: Image.Image) -> int:
    """EXIF orientation 1 to 8 that is still to be applied; 1 where it is absent or damaged."""
    try:
        value = frame.getexif().get(ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, OSError, KeyError, IndexError, TypeError, OverflowError):
        return 1  # A damaged EXIF block is no reason to miss the picture.
    return value if isinstance(value, int) and value in TURNS else 1


def upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation in QUARTER_TURNS else (width, height)


def upright_strips(image: Image.Image, orientation: int) -> Iterator[Strip]:
    """The pixels of a loaded L, RGB or RGBA picture, as `pdq.Kernel.grid` takes them."""
    turn = TURNS.get(orientation)
    whole = _pixels(image) if turn is None else None
    if whole is not None:
        for top in range(0, len(whole), STRIP_ROWS):
            yield whole[top : top + STRIP_ROWS]
        return
    width, height = image.size
    length = width if orientation in QUARTER_TURNS else height
    for top in range(0, length, STRIP_ROWS):
        begin, end = top, min(top + STRIP_ROWS, length)
        if orientation in _FROM_THE_END:
            begin, end = length - end, length - begin
        is_column = orientation in QUARTER_TURNS
        part = image.crop((begin, 0, end, height) if is_column else (0, begin, width, end))
        turned = part if turn is None else part.transpose(turn)
        yield pixels_of(turned)


def pixels_of(image: Image.Image) -> Strip:
    """The pixels of a loaded L, RGB or RGBA picture as it lies, where they are if that goes."""
    view = _pixels(image)
    if view is not None:
        return view
    copied = np.asarray(image)
    return copied[:, :, None] if copied.ndim == 2 else copied


class _ArrowArray(ctypes.Structure):
    """`struct ArrowArray` of the Arrow C data interface."""


_ArrowArray._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
)
_pointer_in: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_in.restype = ctypes.c_void_p
_pointer_in.argtypes = (ctypes.py_object, ctypes.c_char_p)


class _Held:
    """Pixels where the picture has them, and what keeps them there. NumPy reads the first."""

    def __init__(self, at: int, shape: tuple[int, int, int], capsule: object) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (at, True),
            "shape": shape,
            "typestr": "|u1",
        }
        self.capsule = capsule


def _pixels(image: Image.Image) -> Strip | None:
    """A view of the picture's own memory; None where that is in several pieces."""
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:
        return None
    array = _ArrowArray.from_address(_pointer_in(capsule, b"arrow_array"))
    values = array.children[0].contents if array.n_children else array
    width, height = image.size
    channels, rest = divmod(values.length, width * height)
    if rest or values.n_buffers < 2 or channels not in (1, 4):
        return None
    return np.asarray(_Held(values.buffers[1] + values.offset, (height, width, channels), capsule))
