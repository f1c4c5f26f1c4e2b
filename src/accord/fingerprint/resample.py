"""One picture, grey, at the sizes that frames and patches are looked for in.

Not here: which way up and what is behind transparency (pixels).
Source: docs/spec/fingerprint.md, sections 12 and 13.
"""

from typing import Final

import numpy as np
from PIL import Image

from accord.fingerprint.frames import SIDE_MAX as FRAMES_SIDE
from accord.fingerprint.frames import Grey
from accord.fingerprint.patches import PICTURE_SIDE

GREY_SIDE: Final = 1024  # Longest side of the grey picture that rectangles are cut from.
_LARGER_MAX: Final = 2  # A small picture is made at most so many times larger for patches.


def grey_of(picture: Image.Image) -> Image.Image:
    """An opaque RGB, RGBA or grey picture in mode L, 1,024 on the longest side at most."""
    grey = picture if picture.mode == "L" else picture.convert("L")
    return shrunk(grey, GREY_SIDE)


def shrunk(grey: Image.Image, longest: int) -> Image.Image:
    """By area, to so many pixels on the longest side; as it is where it is no larger."""
    side = max(grey.size)
    if side <= longest:
        return grey
    width, height = (max(1, (2 * s * longest + side) // (2 * side)) for s in grey.size)
    return grey.resize((width, height), Image.Resampling.BOX)


def for_frames(grey: Image.Image) -> Grey:
    """Shape: (height, width)."""
    return np.asarray(shrunk(grey, FRAMES_SIDE))


def for_patches(grey: Image.Image) -> Grey:
    """At 480 pixels on the longest side; a smaller picture at up to twice its size."""
    side = max(grey.size)
    if side >= PICTURE_SIDE:
        return np.asarray(shrunk(grey, PICTURE_SIDE))
    longest = min(PICTURE_SIDE, side * _LARGER_MAX)
    width, height = (max(1, (2 * s * longest + side) // (2 * side)) for s in grey.size)
    return np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))
