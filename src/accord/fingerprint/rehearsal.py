"""Which patches of a picture a listing keeps: those that are found again when it is altered.

The agency has the picture, so it tries: parts of it, turned, small and askew, each looked at as a
query would be. Patches are taken one by one, each time the one that helps the alterations most
that have the fewest votes so far. Whoever matches needs none of this: any choice is a valid
listing, and this one is merely found more often.
Not here: what patches are (patches), pixels (ladder).
Source: docs/spec/fingerprint.md, section 13.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accord.fingerprint.dihedral import Bits
from accord.fingerprint.patches import Patches, PatchKernel, patches_of
from accord.fingerprint.pdq import SIDE
from accord.fingerprint.resample import for_patches
from accord.fingerprint.types import PDQ_BYTES

CANDIDATES_MAX: Final = 160  # Spots, each upright and turned.
LOOKED_AT: Final = 100  # Spots of an altered picture.
_SURE: Final = 36  # Bits: found again.
_LOST: Final = 46  # Not found; between the two, partly.
_APART: Final = 70  # Bits between two patches of a listing: what repeats itself votes once.

_SAMENESS_MAX: Final = 0.4  # A photograph's median is 0.24; window frames come to 0.5.
NO_BITS: Final[Bits] = np.empty((0, PDQ_BYTES), dtype=np.uint8)

Part = tuple[float, float, float]  # The share of each side, and how far along it lies.
_PARTS: Final[tuple[Part, ...]] = (
    *((0.78, x, y) for x, y in ((0.1, 0.1), (0.9, 0.15), (0.2, 0.85), (0.85, 0.9), (0.5, 0.5))),
    *((0.5, x, y) for x in (0.05, 0.5, 0.95) for y in (0.05, 0.5, 0.95)),
)
# Degrees, and whether the corners are cut off.
_TURNS: Final = ((7.0, False), (-11.0, False), (3.0, True), (-5.0, True), (10.0, True))
_SHRUNK: Final = (0.4, 0.36)


def rehearsed(
    picture: Image.Image, patches_max: int, kernel: PatchKernel, common: Bits = NO_BITS
) -> Bits:
    """The patches to list: none like a `common` one. Shape: (n, 32), n at most `patches_max`;
    `picture` in mode L."""
    own = patches_of(for_patches(picture), CANDIDATES_MAX, kernel)
    if not len(own):
        return own.bits
    found = [_found(own, altered, kernel) for altered in _altered(picture)]
    is_own = distances(own.bits, common).min(axis=1, initial=8 * PDQ_BYTES) > _APART
    is_own &= sameness_of(own.bits) <= _SAMENESS_MAX
    apart = distances(own.bits, own.bits)
    return own.bits[_chosen(np.stack(found), apart, is_own, patches_max)]


def sameness_of(bits: Bits) -> NDArray[np.float64]:
    """How far each patch is the product of a row and a column, 0 to 1, as edges, corners and bars
    are: few of its bits then say something of their own. Shape: (n, 32), (n)."""
    signs = np.unpackbits(bits, axis=1).reshape(-1, SIDE, SIDE) * 2.0 - 1.0
    strongest = np.linalg.svd(signs, compute_uv=False)[:, 0]
    return np.asarray(strongest**2 / (SIDE * SIDE))


def common_in(listings: list[Bits]) -> Bits:
    """The patches that two or more of these pictures show: for `common` of the listings to come."""
    every = np.concatenate([NO_BITS, *listings])
    of = np.repeat(np.arange(len(listings)), [len(bits) for bits in listings])
    meets = (distances(every, every) <= _SURE) & (of[:, None] != of)
    return np.asarray(every[meets.any(axis=1)])


def distances(some: Bits, others: Bits) -> NDArray[np.int64]:
    """Hamming distances of each with each. Shape: (n, m). Units: bits."""
    left, right = (np.ascontiguousarray(bits).view(np.uint64) for bits in (some, others))
    differing = np.bitwise_count(left[:, None, :] ^ right[None, :, :])
    return np.asarray(differing.sum(axis=2, dtype=np.int64))


def _found(own: Patches, altered: Image.Image, kernel: PatchKernel) -> NDArray[np.float64]:
    """How well each of our patches is found in an altered picture, 0 to 1."""
    seen = patches_of(for_patches(altered), LOOKED_AT, kernel)
    if not len(seen):
        return np.zeros(len(own))
    nearest = distances(own.bits, seen.bits).min(axis=1)
    return np.asarray(np.clip((_LOST - nearest) / (_LOST - _SURE), 0.0, 1.0))


def _chosen(
    found: NDArray[np.float64],
    apart: NDArray[np.int64],
    is_free: NDArray[np.bool_],
    patches_max: int,
) -> NDArray[np.int64]:
    """Shape: found (alterations, patches), apart (patches, patches), is_free (patches)."""
    votes = np.zeros(len(found))
    is_free = is_free.copy()
    kept: list[int] = []
    while len(kept) < patches_max and is_free.any():
        worth = found.T @ (1 / (1 + votes) ** 2)
        best = int(np.where(is_free, worth, -1).argmax())
        kept.append(best)
        votes += found[:, best]
        is_free &= apart[best] > _APART
    return np.array(kept, dtype=np.int64)


def _altered(picture: Image.Image) -> Iterator[Image.Image]:
    width, height = picture.size
    bilinear = Image.Resampling.BILINEAR
    for share, x, y in _PARTS:
        wide, high = int(width * share), int(height * share)
        left, top = int((width - wide) * x), int((height - high) * y)
        yield picture.crop((left, top, left + wide, top + high))
    for degrees, is_cut in _TURNS:
        turned = picture.rotate(degrees, bilinear)
        cut = (width // 8, height // 8, width - width // 8, height - height // 8)
        yield turned.crop(cut) if is_cut else turned
    small = tuple(max(32, int(s * f)) for s, f in zip(picture.size, _SHRUNK, strict=True))
    yield picture.resize((small[0], small[1]), Image.Resampling.BOX)
    for lean in (0.02, 0.05):  # Each corner in by that share of a side and a little.
        x, y = width * lean, height * lean
        corners = (
            x,
            y / 2,
            0.03 * width,
            height - y,
            width - x / 2,
            height,
            width - x,
            0.05 * height,
        )
        yield picture.transform(picture.size, Image.Transform.QUAD, corners, bilinear)
