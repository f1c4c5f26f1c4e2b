"""The steps by which an altered picture still meets its listing, from a picture's pixels.

`full`: the fingerprint, mirrored and turned by right angles. `frame`: the same of rectangles in
which another picture may lie. `patches`: squares around what stands out. Each step has its cost,
and a caller takes those that its rules ask for.
Not here: decoding, orientation and transparency (decode, pixels); look-ups (matching).
Source: docs/spec/fingerprint.md, sections 11 to 14.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from PIL import Image

from accord.fingerprint.dihedral import Bits, bits_of, mirrored, variants_of
from accord.fingerprint.frames import Box, boxes_of
from accord.fingerprint.patches import LEANING_MAX, Patches, patches_of
from accord.fingerprint.patches_native import patch_kernel_of
from accord.fingerprint.pdq import NOTHING, SIDE_MIN, STRIP_ROWS, Floats, Hashed
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.rehearsal import NO_BITS, rehearsed
from accord.fingerprint.resample import for_frames, for_patches, grey_of
from accord.fingerprint.types import PDQ_BYTES, Fingerprint, Look
from accord.fingerprint.upright import upright_strips
from accord.wire.limits import LISTING_PATCHES, LISTING_PATCHES_MAX, PDQ_QUALITY_MIN

LISTED_MAX: Final = LISTING_PATCHES  # Patches of a listing,
LISTED_LARGE: Final = (
    LISTING_PATCHES_MAX  # and of one that is to be found by a sixteenth of its picture too.
)
SPOTS_WHOLE: Final = 100  # Spots of a query's whole picture,
SPOTS_BOX: Final = 60  # and of each box whose patches are taken.
BOXES_WITH_PATCHES: Final = 2
_EDGE_CELLS: Final = 3
_SMALL_SHARE: Final = 0.7  # A box with more of the picture's area shows nothing new to patches.
_KERNEL: Final = kernel_of()
_PATCHES: Final = patch_kernel_of()


class Step(StrEnum):
    FULL = "full"
    FRAME = "frame"
    PATCHES = "patches"


STEPS: Final = frozenset(Step)


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """What an agency lists of a picture. Shape: patches (n, 32)."""

    full: Fingerprint
    patches: Bits


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is looked up for a query: nothing where a step was not asked for, or sees too little.

    Shape: full (8, 32), frames (two for each box, 32), patches and mirrored (n, 32).
    """

    full: Bits
    frames: Bits
    patches: Bits
    mirrored: Bits


def listed_patches(grey: Image.Image, patches_max: int = LISTED_MAX) -> bytes:
    """What a listing keeps of a grey picture as `resample.grey_of` gives it, the most telling
    first: fewer of them are a listing too. 32 bytes each."""
    return rehearsed(grey, patches_max, _PATCHES).tobytes()


def looked_at(grey: Image.Image, steps: frozenset[Step], variants: bytes) -> Look:
    """What a query asks further of a grey picture as `resample.grey_of` gives it."""
    if min(grey.size) < SIDE_MIN:
        return Look(variants)
    boxes = _cut(grey)
    frames = _framed([box for box, _ in boxes]) if Step.FRAME in steps else NO_BITS
    found = _patches(grey, boxes) if Step.PATCHES in steps else []
    return Look(
        variants,
        frames.tobytes(),
        b"".join(part.bits.tobytes() for part in found),
        b"".join(part.mirrored.tobytes() for part in found),
    )


def listed_of(
    picture: Image.Image, patches_max: int = LISTED_MAX, common: Bits = NO_BITS
) -> Listed:
    """Of an opaque, upright RGB or grey picture. It takes as long as some twenty queries.

    `common` are patches that many pictures show, such as an app's buttons: none like them is kept.
    """
    found = rehearsed(grey_of(picture), patches_max, _PATCHES, common)
    return Listed(_hashed(picture).fingerprint, found)


def asked_of(picture: Image.Image, steps: frozenset[Step] = STEPS) -> Asked:
    """Of an opaque, upright RGB or grey picture."""
    full = frames = patches = other = NO_BITS
    if Step.FULL in steps:
        full = _full(picture)
    if steps & {Step.FRAME, Step.PATCHES}:
        grey = grey_of(picture)
        boxes = _cut(grey) if min(grey.size) >= SIDE_MIN else []
        if Step.FRAME in steps:
            frames = _framed([box for box, _ in boxes])
        if Step.PATCHES in steps:
            found = _patches(grey, boxes)
            patches = np.concatenate([part.bits for part in found])
            other = np.concatenate([part.mirrored for part in found])
    return Asked(full, frames, patches, other)


def _full(picture: Image.Image) -> Bits:
    hashed = _hashed(picture)
    if hashed.frequencies is None or hashed.fingerprint.quality < PDQ_QUALITY_MIN:
        return NO_BITS
    found = b"".join(variants_of(hashed.frequencies))
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, PDQ_BYTES)


def _hashed(picture: Image.Image) -> Hashed:
    width, height = picture.size
    if min(width, height) < SIDE_MIN:
        return NOTHING
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    return _KERNEL.hashed(_KERNEL.grid(upright_strips(picture, 1), width, height))


def _cut(grey: Image.Image) -> list[tuple[Image.Image, float]]:
    """The boxes' pictures, and the share of the whole that each is."""
    small = for_frames(grey)
    scale = max(grey.size) / max(small.shape)
    width, height = grey.size

    def cut(box: Box) -> Image.Image:
        left, top = round(box.left * scale), round(box.top * scale)
        right, bottom = round(box.right * scale), round(box.bottom * scale)
        return grey.crop((left, top, min(right, width), min(bottom, height)))

    return [(cut(box), box.area / small.size) for box in boxes_of(small)]


def _framed(boxes: list[Image.Image]) -> Bits:
    """Upright and mirrored, of those that show enough."""
    found = []
    for box in boxes:
        grey = np.asarray(box)[:, :, None]
        strips = (grey[top : top + STRIP_ROWS] for top in range(0, len(grey), STRIP_ROWS))
        grid = _KERNEL.grid(strips, box.width, box.height)
        hashed = _KERNEL.hashed(grid)
        is_rich = min(hashed.fingerprint.quality, _inner_quality(grid)) >= PDQ_QUALITY_MIN
        if hashed.frequencies is not None and is_rich:
            upright = hashed.frequencies[None]
            found.append(bits_of(np.concatenate([upright, mirrored(upright)])))
    return np.concatenate(found) if found else NO_BITS


def _inner_quality(grid: Floats) -> int:
    """PDQ's quality without the outer cells, where a box a pixel too large shows an edge."""
    inner = grid[_EDGE_CELLS:-_EDGE_CELLS, _EDGE_CELLS:-_EDGE_CELLS]
    steps = (inner[1:] - inner[:-1], inner[:, 1:] - inner[:, :-1])
    total = sum(
        int(np.abs((step * np.float32(100 / 255)).astype(np.int32)).sum()) for step in steps
    )
    return total // 90


def _patches(grey: Image.Image, boxes: list[tuple[Image.Image, float]]) -> list[Patches]:
    found = [patches_of(for_patches(grey), SPOTS_WHOLE, _PATCHES, LEANING_MAX)]
    small = [box for box, share in boxes if share <= _SMALL_SHARE]
    for box in small[:BOXES_WITH_PATCHES]:
        found.append(patches_of(for_patches(box), SPOTS_BOX, _PATCHES))
    return found
