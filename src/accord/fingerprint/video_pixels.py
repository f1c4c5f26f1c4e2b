"""From a decoded video frame to upright luma, and the bars that a film has around it.

Only luma is looked at, since PDQ sees nothing else: where a codec keeps it in a plane of its own,
it is taken from there. Nothing here copies more than one frame.
Not here: which frames (video), PDQ itself (pdq).
Source: docs/spec/fingerprint.md, section 17.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from accord.fingerprint import second
from accord.fingerprint.pdq import GRID, NOTHING, SIDE_MIN, STRIP_ROWS, Hashed, Strip
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.resample import shrunk

_KERNEL: Final = kernel_of()
# 8-bit formats whose first plane is luma. "j" is full range; else the frame says which it is.
_LUMA_FIRST: Final = frozenset(
    {
        *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "yuv440p", "yuva420p"),
        *("yuvj420p", "yuvj422p", "yuvj444p", "yuvj411p", "yuvj440p", "nv12", "nv21", "gray"),
    }
)
_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG
_BLACK: Final = np.float32(16)  # Of limited range,
_SPREAD: Final = np.float32(255 / 219)  # and what brings it to the full one.
_PLAIN_RANGE: Final = 24  # Grey levels that a row of a bar spans at most.
_BAR_MIN: Final = 50  # A bar is at least one 50th of its side.
_INNER_MIN: Final = 8  # What is left is at least an eighth of it.
_SECOND_SIDE: Final = 1024
_SMALL_SIDE: Final = 384  # 255 frames of it are 38 MB at most.
_REMEMBERED_PIXELS_MAX: Final = 10_000_000  # 4K: a larger frame is too much memory to keep.
_ROWS_APART: Final = 64
_PIXELS_APART: Final = 4  # Every fourth pixel of a row tells whether it is plain.


class Luma(NamedTuple):
    """A frame upright. Shape: pixels (height, width). `is_full`: 0 to 255, else 16 to 235."""

    pixels: Strip
    is_full: bool


def luma_of(frame: VideoFrame) -> Luma:
    name, width, height = frame.format.name, frame.width, frame.height
    plane = frame.planes[0]
    if name in _LUMA_FIRST and plane.line_size >= width:
        raw = np.frombuffer(memoryview(plane), dtype=np.uint8)[: plane.line_size * height]
        pixels: Strip = np.ascontiguousarray(raw.reshape(height, plane.line_size)[:, :width])
        is_full = name.startswith(("yuvj", "gray")) or frame.color_range == _FULL_RANGE
    else:
        grey = frame.reformat(format="gray", threads=1).to_ndarray()
        pixels, is_full = grey.astype(np.uint8, copy=False), True
    turns = round(frame.rotation / 90) % 4
    return Luma(pixels if turns == 0 else np.ascontiguousarray(np.rot90(pixels, turns)), is_full)


def pdq_of_luma(luma: Luma) -> Hashed:
    """Levels are spread after the filter, where nothing is rounded to whole ones any more."""
    height, width = luma.pixels.shape
    if min(width, height) < SIDE_MIN:
        return NOTHING
    grey = luma.pixels[:, :, None]
    strips = (grey[top : top + STRIP_ROWS] for top in range(0, height, STRIP_ROWS))
    grid = _KERNEL.grid(strips, width, height)
    if not luma.is_full:
        grid = (grid - _BLACK) * _SPREAD
    return _KERNEL.hashed(grid)


@dataclass(slots=True)
class LastHashed:
    """PDQ of frames, one after another. One whose pixels are those of the last, as in slides and
    pauses, is not hashed anew: the answer is the same, for a tenth of the work."""

    _luma: Luma | None = field(default=None)
    _hashed: Hashed = NOTHING

    def of(self, luma: Luma) -> Hashed:
        if self._luma is None or not _are_equal(self._luma, luma):
            self._hashed = pdq_of_luma(luma)
            self._luma = luma if luma.pixels.size <= _REMEMBERED_PIXELS_MAX else None
        return self._hashed


def _are_equal(one: Luma, other: Luma) -> bool:
    """Some rows of two that differ tell as a rule, but only all of them that they do not."""
    if one.is_full != other.is_full or one.pixels.shape != other.pixels.shape:
        return False
    some = np.array_equal(one.pixels[::_ROWS_APART], other.pixels[::_ROWS_APART])
    return some and np.array_equal(one.pixels, other.pixels)


def photodna_of(frame: VideoFrame) -> bytes | None:
    """What a second fingerprinter makes of a frame."""
    if not second.is_used():
        return None
    image = Image.fromarray(frame.reformat(format="rgb24", threads=1).to_ndarray())
    upright = image.rotate(90 * (round(frame.rotation / 90) % 4), expand=True)
    return second.second_of(shrunk(upright, _SECOND_SIDE))


class Margins(NamedTuple):
    """Plain rows and columns at the ends. Units: pixels."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(slots=True)
class Bars:
    """The bars around a film, as far as its frames so far tell: what is plain in all of them."""

    size: tuple[int, int] = (0, 0)
    margins: Margins | None = field(default=None)

    def seen(self, luma: Luma) -> Margins | None:
        """Takes a frame into account; the bars that are left then, None where there are none."""
        found = _margins_of(luma.pixels)
        height, width = luma.pixels.shape
        if self.size != (height, width) or self.margins is None:
            self.size, self.margins = (height, width), found
        else:
            pairs = zip(self.margins, found, strict=True)
            self.margins = Margins(*(min(pair) for pair in pairs))
        return self.left()

    def may_be(self) -> bool:
        """Whether what is plain in all frames so far is wide enough to be bars."""
        if self.margins is None:
            return False
        height, width = self.size
        top, bottom, left, right = self.margins
        return _BAR_MIN * max(top, bottom) >= height or _BAR_MIN * max(left, right) >= width

    def are_nearly(self, others: Margins) -> bool:
        """Whether these are no wider than others by a cell of PDQ's grid: an encoder's ripples."""
        height, width = self.size
        pairs = zip(self.margins or (), others, (height, height, width, width), strict=True)
        return all(GRID * abs(one - other) <= side for one, other, side in pairs)

    def scaled_to(self, small: Luma) -> Margins:
        """The bars in a smaller picture of a frame, and the row in which they end."""
        height, width = self.size
        top, bottom, left, right = self.margins or Margins(0, 0, 0, 0)
        rows, columns = small.pixels.shape

        def scaled(margin: int, side: int, of: int) -> int:
            return 1 + -(-margin * side // of) if margin else 0

        return Margins(
            scaled(top, rows, height),
            scaled(bottom, rows, height),
            scaled(left, columns, width),
            scaled(right, columns, width),
        )

    def left(self) -> Margins | None:
        """The bars, where they are wide enough to be some and leave enough to be a picture."""
        if self.margins is None:
            return None
        height, width = self.size
        top, bottom, left, right = self.margins
        inner_height, inner_width = height - top - bottom, width - left - right
        is_picture = _INNER_MIN * inner_height >= height and _INNER_MIN * inner_width >= width
        return self.margins if self.may_be() and is_picture else None


def small_of(luma: Luma) -> Luma:
    """A frame at 384 on the longest side at most, by area: some are kept until bars are known."""
    image = shrunk(Image.fromarray(luma.pixels), _SMALL_SIDE)
    return Luma(np.asarray(image), luma.is_full)


def trimmed(luma: Luma, bars: Margins) -> Luma:
    height, width = luma.pixels.shape
    inner = luma.pixels[bars.top : height - bars.bottom, bars.left : width - bars.right]
    return Luma(np.ascontiguousarray(inner), luma.is_full)


def _margins_of(pixels: Strip) -> Margins:
    return Margins(*_ends(pixels[:, ::_PIXELS_APART]), *_ends(pixels[::_PIXELS_APART].T))


def _ends(rows: Strip) -> tuple[int, int]:
    """How many rows at the beginning and at the end are plain."""
    spans = rows.max(axis=1).astype(np.int32) - rows.min(axis=1)
    told = np.flatnonzero(spans > _PLAIN_RANGE)
    if len(told) == 0:
        return len(rows), 0
    return int(told[0]), int(len(rows) - 1 - told[-1])
