"""PDQ of a picture mirrored and turned by right angles, from the frequencies of the upright one.

Mirroring changes the sign of every odd frequency along an axis, and transposing swaps the axes, so
the eight ways to lay a picture down cost one transform and eight medians. They are asked of a
query; a listing keeps its upright fingerprint alone.
Not here: how frequencies come about (pdq). A picture really turned differs by a few bits, as the
filter of PDQ does not lie in the middle of its window.
Source: docs/spec/fingerprint.md, section 11.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.pdq import SIDE, Floats
from accord.fingerprint.types import PDQ_BYTES

Bits: TypeAlias = NDArray[np.uint8]
_MEDIAN: Final = SIDE * SIDE // 2 - 1
_ODD: Final = np.where(np.arange(SIDE) % 2 == 0, -1, 1).astype(np.float32)  # Frequencies 1, 3 ...


class Variant(IntEnum):
    """What was done to the picture whose fingerprint it is, in the order of `variants_of`."""

    UPRIGHT = 0
    MIRRORED = 1  # Left to right.
    FLIPPED = 2  # Top to bottom.
    HALF_TURN = 3
    TRANSPOSED = 4  # About the main diagonal.
    QUARTER_TURN = 5  # Clockwise.
    THREE_QUARTER_TURN = 6
    TRANSVERSED = 7  # About the other diagonal.


def bits_of(frequencies: Floats) -> Bits:
    """Bits of many pictures. Shape: frequencies (n, 16, 16), bits (n, 32)."""
    values = frequencies.reshape(-1, SIDE * SIDE)
    median = np.partition(values, _MEDIAN, axis=1)[:, _MEDIAN, None]
    return np.packbits((values > median)[:, ::-1], axis=1)


def mirrored(frequencies: Floats) -> Floats:
    """Left to right. Shape: (n, 16, 16)."""
    return frequencies * _ODD


def flipped(frequencies: Floats) -> Floats:
    """Top to bottom. Shape: (n, 16, 16)."""
    return frequencies * _ODD[:, None]


def variants_of(frequencies: Floats) -> tuple[bytes, ...]:
    """The bits of all eight, by `Variant`. Shape: frequencies (16, 16)."""
    upright = frequencies[None]
    half = flipped(mirrored(upright))
    across = np.ascontiguousarray(upright.transpose(0, 2, 1))
    laid = (upright, mirrored(upright), flipped(upright), half)
    turned = (across, mirrored(across), flipped(across), flipped(mirrored(across)))
    found = bits_of(np.concatenate(laid + turned)).tobytes()
    return tuple(found[at : at + PDQ_BYTES] for at in range(0, len(found), PDQ_BYTES))
