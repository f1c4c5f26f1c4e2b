"""Meaningless listings, and pictures made by a procedure: nothing here was ever photographed.

The same seed gives the same bytes.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accord.statements.batch import Listing
from accord.statements.rules import ClassCode

CLASS: Final = ClassCode("test", "", "T1")
LISTED_QUALITY: Final = 90
JPEG_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Units: pixels."""

    name: str
    width: int
    height: int


SIZES: Final = (
    PictureSize("512 px JPEG", 512, 384),
    PictureSize("2 MP JPEG", 1632, 1224),
    PictureSize("12 MP JPEG", 4000, 3000),
)


class Material:
    """A stream of listings and pictures from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def listings(self, count: int) -> list[Listing]:
        """Random fingerprints and digests, which no file has."""
        return [
            Listing(
                class_code=CLASS,
                pdq=self._random.bytes(32),
                pdq_quality=LISTED_QUALITY,
                md5=self._random.bytes(16),
                sha1=self._random.bytes(20),
                sha256=self._random.bytes(32),
            )
            for _ in range(count)
        ]

    def picture(self, size: PictureSize) -> bytes:
        """A JPEG of soft shapes with grain, about as dense as a phone's photograph."""
        layers = np.zeros((size.height, size.width, 3), dtype=np.float32)
        for cells, weight in ((5, 110.0), (24, 45.0), (160, 22.0)):
            layers += weight * self._soft(cells, size)
        layers += self._random.normal(0, 9, layers.shape).astype(np.float32)
        pixels = np.clip(layers + 128, 0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=JPEG_QUALITY)
        return out.getvalue()

    def _soft(self, cells: int, size: PictureSize) -> NDArray[np.float32]:
        """Random values on a coarse grid, drawn out. Shape: (height, width, 3), -1 to 1."""
        grid = self._random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        drawn = Image.fromarray(grid).resize((size.width, size.height), Image.Resampling.BICUBIC)
        return np.asarray(drawn, dtype=np.float32) / 127.5 - 1
