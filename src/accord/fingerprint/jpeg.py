"""The fingerprint of a JPEG from a small grey decoding, several times faster than from all pixels.

A decoder gives the means of blocks of 2, 4 or 8 pixels a side for a fraction of the work, and a
JPEG stores its luma apart from its colours. The filter of PDQ is written in these means (fold).
Invariants: no answer where the header does not say that the picture is one for which this was
measured, where the decoder says anything but a whole picture, below quality 80, or where the
frequencies hardly differ. The exact path then answers, so none has a fingerprint here alone.
Source: docs/spec/fingerprint.md, section 10.
"""

import io
from typing import Final, NamedTuple

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from accord.fingerprint.fold import fold_of
from accord.fingerprint.pdq import Hashed
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.types import Fingerprint
from accord.fingerprint.upright import QUARTER_TURNS, orientation_of, pixels_of
from accord.wire.limits import IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX

QUALITY_MIN: Final = 80  # Where the drift is measured; flatter pictures drift more.
SIDE_MIN: Final = 192  # Smaller ones cost next to nothing to decode whole.
CELL_MIN: Final = 4  # Means on a cell's shorter side; fewer drift more than they save.
SPREAD_MIN: Final = 6  # Pure noise comes to 4 and drifts 24 bits; the flattest photograph to 7.
_ASPECT_MAX: Final = 8  # Beyond it the box along the longer side is wider than was measured.
_SCALES: Final = (8, 4, 2, 1)
_MIRRORED_ACROSS: Final = frozenset({2, 3, 7, 8})  # As stored, before the quarter turn.
_MIRRORED_DOWN: Final = frozenset({3, 4, 6, 7})
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})  # Huffman: baseline, extended, progressive.
_SCAN: Final = 0xDA
_KERNEL: Final = kernel_of()


class Header(NamedTuple):
    """A JPEG of 8 bits whose first component is its luma at full size."""

    width: int
    height: int
    has_app1: bool  # EXIF or XMP, which may say that the picture is turned.


class Scaled(NamedTuple):
    """Units: width and height of the whole picture, upright."""

    hashed: Hashed
    width: int
    height: int

    @property
    def fingerprint(self) -> Fingerprint:
        return self.hashed.fingerprint


# GAP(#4): the stored luma is hashed, not that of clipped RGB: a file crafted with colours outside
# RGB shows a listed picture and is 68 bits off here, so nothing is found; `--decoding exact` finds.
def scaled_fingerprint(data: bytes) -> Scaled | None:
    """None where the exact path is to answer. Raises: what Pillow's decoder does."""
    header = parse_header(data)
    scale = None if header is None else scale_for(header)
    if header is None or scale is None:
        return None
    width, height, has_app1 = header
    with JpegImageFile(io.BytesIO(data)) as image:
        if image.size != (width, height) or image.mode not in ("L", "RGB"):
            return None
        image.draft("L", (width // scale, height // scale))
        image.decodermaxblock = len(data) + 1  # In one piece: the decoder is not woken for each.
        image.load()
        if image.mode != "L" or image.size != (-(-width // scale), -(-height // scale)):
            return None
        turn = orientation_of(image) if has_app1 else 1
        grey = pixels_of(image)[:, :, 0]
    across = fold_of(width, scale, turn in _MIRRORED_ACROSS)
    down = fold_of(height, scale, turn in _MIRRORED_DOWN)
    grid = _KERNEL.folded(grey, across, down)
    if turn in QUARTER_TURNS:
        grid, width, height = np.ascontiguousarray(grid.T), height, width
    hashed = _KERNEL.hashed(grid)
    if hashed.fingerprint.quality < QUALITY_MIN or spread_of(hashed) < SPREAD_MIN:
        return None
    return Scaled(hashed, width, height)


def spread_of(hashed: Hashed) -> float:
    """How far from their median half of the frequencies are: what a small error must not reach."""
    if hashed.frequencies is None:
        return 0
    values = hashed.frequencies.ravel()
    middle = len(values) // 2 - 1
    return float(
        np.partition(np.abs(values - np.partition(values, middle)[middle]), middle)[middle]
    )


def scale_for(header: Header) -> int | None:
    """The coarsest decoding that keeps the drift small; None where there is none worth it."""
    shorter, longer = sorted(header[:2])
    if shorter < SIDE_MIN or longer > shorter * _ASPECT_MAX:
        return None
    if longer > IMAGE_SIDE_MAX or shorter * longer > IMAGE_PIXELS_MAX:
        return None
    return next((scale for scale in _SCALES if shorter // scale >= 64 * CELL_MIN), 1)


def parse_header(data: bytes) -> Header | None:
    """What stands before the first scan; None for all that is unusual. Any bytes are answered."""
    at, is_jfif, has_app1, transform = 2, False, False, None
    found: tuple[Header, bytes] | None = None
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # Fill.
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if size < 2 or len(body) != size - 2:
            return None
        if marker == _SCAN:
            if found is None or not _is_luma_first(*found, is_jfif, transform):
                return None
            return found[0]._replace(has_app1=has_app1)
        has_app1 |= marker == 0xE1
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            is_jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe":
            if len(body) < 12:
                return None
            transform = body[11]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if found is not None or marker not in _FRAMES or len(body) < 6:
                return None
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            found = Header(width, height, False), body
        at += 2 + size
    return None


def _is_luma_first(header: Header, frame: bytes, is_jfif: bool, transform: int | None) -> bool:
    """Whether a decoder reads the frame as grey, or as luma and two colours of no finer grid."""
    count, components = frame[5], frame[6:]
    if frame[0] != 8 or min(header[:2]) < 1 or len(components) != 3 * count:
        return False
    if count == 1:
        return True
    if count != 3 or transform not in (None, 1):
        return False
    names, samplings = components[::3], components[1::3]
    if not is_jfif and transform is None and names != b"\x01\x02\x03":
        return False
    across, down = samplings[0] >> 4, samplings[0] & 15
    return all(s >> 4 <= across and s & 15 <= down for s in samplings)
