"""PDQ of a picture's pixels: the readable definition, and the choice of what computes it.

The picture's luma goes through two passes of a box filter along rows and down columns, is sampled
at the centres of 64 by 64 cells (the grid), and of the grid's cosine transform the frequencies 1
to 16 of both axes give a bit each: whether they exceed their median.
Invariants: every sum is a running sum in 32-bit float, in the order of the reference, so that
grid, bits and quality are the reference's to the last bit on any picture; no picture is held whole.
Not here: where pixels come from (pixels, jpeg), the compiled twin (pdq_native).
Source: docs/spec/fingerprint.md, section 7.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.fold import Fold
from accord.fingerprint.types import PDQ_BYTES, PDQ_QUALITY_TOP, Fingerprint

GRID: Final = 64  # Cells a side.
SIDE: Final = 16  # Frequencies a side.
SIDE_MIN: Final = 5  # The reference hashes nothing smaller: all bits 0, quality 0.
STRIP_ROWS: Final = 64  # Rows of a picture that are looked at together; a multiple of 16.
_QUALITY_STEP: Final = 90  # The reference's, as are 100 and 255 below.

Floats: TypeAlias = NDArray[np.float32]
Strip: TypeAlias = NDArray[np.uint8]
_F: Final = np.float32


class Hashed(NamedTuple):
    """Shape: frequencies (16, 16), row 0 the lowest down; none where the picture is too small."""

    fingerprint: Fingerprint
    frequencies: Floats | None


class Kernel(Protocol):
    """What computes. Every implementation gives the same bits."""

    name: str

    def grid(self, strips: Iterable[Strip], width: int, height: int) -> Floats:
        """The 64 by 64 cells of a picture, 5 pixels a side at least.

        Shape: strips from top to bottom (rows, width, channels), of `STRIP_ROWS` rows but for the
        last; one channel grey, three or four: red, green, blue, and what is ignored.
        """
        ...

    def folded(self, grey: Strip, across: Fold, down: Fold) -> Floats:
        """The cells by weights. Shape: grey (down.size, across.size)."""
        ...

    def hashed(self, grid: Floats) -> Hashed:
        """Bits, quality and frequencies of a grid."""
        ...


def _cosines() -> Floats:
    """Shape: (16, 64). In double, rounded once: as the reference's table comes out."""
    scale = float(_F(math.sqrt(2 / GRID)))
    rows = [
        [scale * math.cos(math.pi / (2 * GRID) * (i + 1) * (2 * j + 1)) for j in range(GRID)]
        for i in range(SIDE)
    ]
    return np.array(rows).astype(np.float32)


COSINES: Final = _cosines()
NOTHING: Final = Hashed(Fingerprint(bytes(PDQ_BYTES), 0), None)


class NumpyKernel:
    """The definition."""

    name = "numpy"

    def grid(self, strips: Iterable[Strip], width: int, height: int) -> Floats:
        lumas = (luma_of(strip) for strip in strips)
        if width == height == GRID:
            return np.concatenate(list(lumas))
        first = (row for luma in lumas for row in _along(luma, width))
        second = _box(first, height)
        picked: list[Floats] = []
        while batch := list(islice(second, STRIP_ROWS)):
            picked.append(_along(np.stack(batch), width)[:, centres(width)])
        last = list(_box(iter(np.concatenate(picked)), height))
        return np.stack([last[y] for y in centres(height)])

    def folded(self, grey: Strip, across: Fold, down: Fold) -> Floats:
        values = grey.astype(np.float32)
        return _weigh(_weigh(values, down).T, across).T

    def hashed(self, grid: Floats) -> Hashed:
        half = np.zeros((SIDE, GRID), dtype=np.float32)
        for k in range(GRID):
            half += COSINES[:, k, None] * grid[k]
        frequencies = np.zeros((SIDE, SIDE), dtype=np.float32)
        for k in range(GRID):
            frequencies += half[:, k, None] * COSINES[:, k]
        median = np.partition(frequencies.ravel(), SIDE * SIDE // 2 - 1)[SIDE * SIDE // 2 - 1]
        bits = (frequencies > median).ravel()[::-1]
        return Hashed(Fingerprint(np.packbits(bits).tobytes(), _quality(grid)), frequencies)


def luma_of(strip: Strip) -> Floats:
    """Thousandths are whole numbers, so one division rounds as the reference's sum of doubles."""
    if strip.shape[2] == 1:
        return strip[:, :, 0].astype(np.float32)
    red, green, blue = (strip[:, :, place].astype(np.int32) for place in range(3))
    thousandths = (299 * red + 587 * green + 114 * blue).astype(np.float32)
    return np.divide(thousandths, _F(1000), dtype=np.float32)


def centres(size: int) -> NDArray[np.int64]:
    """Where the 64 cells of an axis are sampled."""
    return (2 * np.arange(GRID) + 1) * size // (2 * GRID)


def window_of(size: int) -> tuple[int, int]:
    """The box of an axis: how many samples it takes, and how many of them lie ahead."""
    window = (size + 2 * GRID - 1) // (2 * GRID)
    return window, window // 2


def _box(rows: Iterator[Floats], size: int) -> Iterator[Floats]:
    """The mean of the rows around each row. First the new one is added, then the old one goes."""
    window, ahead = window_of(size)
    inside: deque[Floats] = deque()
    total: Floats = np.zeros(1, dtype=np.float32)
    for place in range(size + ahead):
        if place < size:
            inside.append(next(rows))
            total = total + inside[-1]
        if place >= window:
            total = total - inside.popleft()
        if place >= ahead:
            yield np.divide(total, _F(len(inside)), dtype=np.float32)


def _along(rows: Floats, width: int) -> Floats:
    return np.stack(list(_box(iter(np.ascontiguousarray(rows.T)), width))).T


def _weigh(values: Floats, fold: Fold) -> Floats:
    cells = np.zeros((GRID, values.shape[1]), dtype=np.float32)
    for t in range(fold.weight.shape[1]):
        cells += fold.weight[:, t, None] * values[fold.start + t]
    return cells


def _quality(grid: Floats) -> int:
    steps = 0
    for difference in (grid[:-1] - grid[1:], grid[:, :-1] - grid[:, 1:]):
        steps += int(np.abs((difference * _F(100) / _F(255)).astype(np.int32)).sum())
    return min(PDQ_QUALITY_TOP, steps // _QUALITY_STEP)
