"""Which patches of a picture a listing keeps: those that are found again when it is altered.

The agency has the picture, so it tries: parts of it, turned, small and askew, each looked at as a
query would be. A patch becomes the mean of itself and of where it was found again: that is nearer
to the next alteration than the original is. What anybody's shapes look like is left out (plain).
Patches are then taken one by one, each time the one that helps the alterations most that have the
fewest votes so far. Those beyond the first few, whose votes count apart, are for small parts too.
Whoever matches needs none of this: any choice is a valid listing, and this one is merely found
more often.
Not here: what patches are (patches), pixels (ladder), plain ones (plain).
Source: docs/spec/fingerprint.md, section 13.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accord.fingerprint.dihedral import Bits, bits_of
from accord.fingerprint.patches import LEANING_MAX, Patches, PatchKernel, patches_of
from accord.fingerprint.patches_native import apart
from accord.fingerprint.pdq import SIDE, Floats
from accord.fingerprint.plain import is_plain
from accord.fingerprint.resample import for_patches
from accord.fingerprint.types import PDQ_BYTES
from accord.wire.limits import LISTING_PATCHES, PATCH_BITS_MAX

CANDIDATES_MAX: Final = 160  # Spots of the whole picture, each upright and turned.
LOOKED_AT: Final = 100  # Spots of an altered picture.
EVERY: Final = 1000  # Patches of one picture, where what pictures share is looked for.
_SURE: Final = PATCH_BITS_MAX  # Found again.
_LOST: Final = _SURE + 10  # Not found; between the two, partly.
_SAME: Final = 46  # Bits to what is surely the same place, which the mean is taken with.
_APART: Final = 70  # Bits between two patches of a listing: what repeats itself votes once.
_FAINTEST: Final = 1e-6  # A patch without any frequency has no strength to be brought to 1.
_SAMENESS_MAX: Final = 0.4  # A photograph's median is 0.24; window frames come to 0.5.
NO_BITS: Final[Bits] = np.empty((0, PDQ_BYTES), dtype=np.uint8)


class Part(NamedTuple):
    """The share of each side, and how far along it lies."""

    wide: float
    high: float
    x: float
    y: float


def _parts(share: float, along: tuple[float, ...]) -> tuple[Part, ...]:
    return tuple(Part(share, share, x, y) for y, x in product(along, along))


_LARGE_PARTS: Final = (
    *(
        Part(0.78, 0.78, x, y)
        for x, y in ((0.1, 0.1), (0.9, 0.15), (0.2, 0.85), (0.85, 0.9), (0.5, 0.5))
    ),
    *_parts(0.5, (0.05, 0.5, 0.95)),
)
_STRIPS: Final = tuple(
    part for at in (0.0, 0.33, 0.67, 1.0) for part in (Part(0.27, 1, at, 0), Part(1, 0.27, 0, at))
)
_SMALL_PARTS: Final = (
    *_STRIPS,
    *_parts(0.36, (0.04, 0.35, 0.65, 0.96)),
    *_parts(0.25, (0.05, 0.28, 0.5, 0.72, 0.95)),
)
# Parts whose own spots are candidates too, as a query of the part would see them, and how many.
_SOURCES: Final = (
    *((part, 60) for part in _parts(0.5, (0, 0.5, 1))),
    *((part, 40) for part in _parts(0.25, (0, 0.33, 0.67, 1))),
)
# Degrees, and whether the corners are cut off.
_TURNS: Final = (
    *((7.0, False), (-11.0, False), (3.0, True), (-5.0, True), (10.0, True)),
    *((2.5, False), (-5.0, False), (9.0, False)),
)
_SHRUNK: Final = (0.4, 0.36)
_PASTED: Final = 1.8  # The side of a page that the picture lies on, in sides of the picture.


def rehearsed(
    picture: Image.Image, patches_max: int, kernel: PatchKernel, common: Bits = NO_BITS
) -> Bits:
    """The patches to list: none like a `common` one. Shape: (n, 32), n at most `patches_max`;
    `picture` in mode L."""
    views = [_seen(altered, kernel, LEANING_MAX) for altered in _altered(picture)]
    whole = patches_of(for_patches(picture), CANDIDATES_MAX, kernel).frequencies
    own = _listable(meant(whole, views), common)
    first = _chosen(own, _found(own, views), min(patches_max, LISTING_PATCHES))
    if patches_max <= LISTING_PATCHES:
        return first
    views += [_seen(_cut(picture, part), kernel, 0) for part in _SMALL_PARTS]
    more = _listable(meant(_with_parts(whole, picture, kernel), views), common)
    more = more[apart(more, first).min(axis=1, initial=8 * PDQ_BYTES) > _APART]
    votes = _found(first, views).sum(axis=1)
    rest = _chosen(more, _found(more, views), patches_max - len(first), votes)
    return np.asarray(np.concatenate([first, rest]))


def _seen(altered: Image.Image, kernel: PatchKernel, leaning_max: int) -> Patches:
    return patches_of(for_patches(altered), LOOKED_AT, kernel, leaning_max)


def _with_parts(whole: Floats, picture: Image.Image, kernel: PatchKernel) -> Floats:
    """The candidates of the whole picture and of its parts. Shape: (n, 16, 16), frequencies."""
    found = [whole]
    for part, spots in _SOURCES:
        grey = for_patches(_cut(picture, part))
        found.append(patches_of(grey, spots, kernel).frequencies)
    return np.asarray(np.concatenate(found))


def _listable(own: Bits, common: Bits) -> Bits:
    """Without what many pictures show, and what says little."""
    is_own = apart(own, common).min(axis=1, initial=8 * PDQ_BYTES) > _APART
    return np.asarray(own[is_own & (sameness_of(own) <= _SAMENESS_MAX) & ~is_plain(own)])


def meant(candidates: Floats, views: Sequence[Patches]) -> Bits:
    """The PDQ of each candidate's mean with what is nearest to it in every view that shows it: bits
    that vary from view to view fall where most of them do. Shape: (n, 16, 16), (n, 32)."""
    bits = bits_of(candidates)
    if not len(bits):
        return NO_BITS
    total = _levelled(candidates)
    for view in views:
        if not len(view):
            continue
        distance = apart(bits, view.bits)
        nearest = distance.argmin(axis=1)
        is_same = distance[np.arange(len(bits)), nearest] <= _SAME
        total[is_same] += _levelled(view.frequencies[nearest[is_same]])
    return bits_of(total)


def _levelled(frequencies: Floats) -> Floats:
    """Around their median, and as strong as each other: contrast is not what is averaged."""
    values = frequencies.reshape(-1, SIDE * SIDE)
    values = values - np.median(values, axis=1, keepdims=True)
    strength = np.sqrt((values * values).mean(axis=1, keepdims=True))
    return np.asarray((values / np.maximum(strength, _FAINTEST)).reshape(frequencies.shape))


def sameness_of(bits: Bits) -> NDArray[np.float64]:
    """How far each patch is the product of a row and a column, 0 to 1, as edges, corners and bars
    are: few of its bits then say something of their own. Shape: (n, 32), (n)."""
    signs = np.unpackbits(bits, axis=1).reshape(-1, SIDE, SIDE) * 2.0 - 1.0
    strongest = np.linalg.svd(signs, compute_uv=False)[:, 0]
    return np.asarray(strongest**2 / (SIDE * SIDE))


def common_in(listings: list[Bits]) -> Bits:
    """The patches that two or more of these pictures show: for `common` of the listings to come.
    Listings of many patches (`EVERY`) leave out none that a picture might be listed by."""
    every = np.concatenate([NO_BITS, *listings])
    of = np.repeat(np.arange(len(listings)), [len(bits) for bits in listings])
    found = [
        bits[(apart(bits, every[of != place]) <= _SURE).any(axis=1)]
        for place, bits in enumerate(listings)
    ]
    return np.concatenate([NO_BITS, *found])


def distances(some: Bits, others: Bits) -> NDArray[np.int64]:
    """Hamming distances of each with each. Shape: (n, m). Units: bits."""
    return apart(some, others).astype(np.int64)


def _found(own: Bits, views: Sequence[Patches]) -> NDArray[np.float64]:
    """How well each of our patches is found in each altered picture, 0 to 1. Shape: (views, n)."""
    nearest = np.stack([apart(own, v.bits).min(axis=1, initial=8 * PDQ_BYTES) for v in views])
    return np.asarray(np.clip((_LOST - nearest.astype(np.float64)) / (_LOST - _SURE), 0.0, 1.0))


def _chosen(
    own: Bits, found: NDArray[np.float64], count: int, votes: NDArray[np.float64] | float = 0.0
) -> Bits:
    """So many at most, where each altered picture has `votes` of others already."""
    votes = np.zeros(len(found)) + votes
    is_free = np.ones(len(own), dtype=bool)
    kept: list[int] = []
    while len(kept) < count and is_free.any():
        worth = (1 / (1 + votes) ** 3) @ found
        best = int(np.where(is_free, worth, -1).argmax())
        kept.append(best)
        votes += found[:, best]
        is_free &= apart(own[best : best + 1], own)[0] > _APART
    return np.asarray(own[np.array(kept, dtype=np.int64)])


def _cut(picture: Image.Image, part: Part) -> Image.Image:
    width, height = picture.size
    wide, high = max(1, int(width * part.wide)), max(1, int(height * part.high))
    left, top = int((width - wide) * part.x), int((height - high) * part.y)
    return picture.crop((left, top, left + wide, top + high))


def _altered(picture: Image.Image) -> Iterator[Image.Image]:
    width, height = picture.size
    bilinear = Image.Resampling.BILINEAR
    for part in _LARGE_PARTS:
        yield _cut(picture, part)
    for degrees, is_cut in _TURNS:
        turned = picture.rotate(degrees, bilinear)
        cut = (width // 8, height // 8, width - width // 8, height - height // 8)
        yield turned.crop(cut) if is_cut else turned
    small = tuple(max(32, int(s * f)) for s, f in zip(picture.size, _SHRUNK, strict=True))
    yield picture.resize((small[0], small[1]), Image.Resampling.BOX)
    for x, y in ((0.0, 0.2), (0.9, 0.7)):
        page = Image.new("L", (int(width * _PASTED), int(height * _PASTED)), 128)
        page.paste(picture, (int((page.width - width) * x), int((page.height - height) * y)))
        yield page
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
