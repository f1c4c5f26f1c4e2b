"""Squares around a picture's spots, each hashed by PDQ: what crops, overlays and frames leave over.

A square comes upright and, a second time, turned to the strongest direction of what it shows. No
place, size or direction is kept: a listing has some PDQs, a query asks with some, and how many
meet is all that is looked at (votes).
Not here: where spots are (spots), which patches a listing keeps (rehearsal), the compiled twin
(patches_native).
Invariants: 32-bit floats, each sum in the order written: the same picture, the same patches.
Source: docs/spec/fingerprint.md, section 13.
"""

import math
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.dihedral import Bits, bits_of, flipped, mirrored
from accord.fingerprint.frames import Grey
from accord.fingerprint.pdq import GRID, SIDE, Floats, NumpyKernel
from accord.fingerprint.spots import BLURS_USED, SIDE_MAX, SIDE_MIN, SPOT, Spots, halved, spots_of

PICTURE_SIDE: Final = 480  # Pixels of the longest side of a picture that patches are taken from.
TURNS: Final = 512  # Steps of a whole turn.
REACH: Final = np.float32(14)  # A patch's side in scales of its spot.
TURN_REACH: Final = np.float32(8)  # The side of what its direction is taken from.
WINDOW: Final = 32  # Samples a side of that.
BINS: Final = 36
QUALITY_MIN: Final = 20
LEANS: Final = (7, -7, 14, -14)  # Steps of a turn: 5 and 10 degrees. A patch bears 3.
LEANING_MAX: Final = 48  # Of a query's whole picture, so many spots lean.
_WINDOW_DEVIATION: Final = 8  # Samples.
_SECOND: Final = np.float32(0.8)  # A second direction is at least so strong.
_ROUNDS: Final = 3
_MIPS: Final = 6
_SCALE_MIN: Final = 2.2  # Smaller spots move too much.
_PATCH_MAX: Final = 0.8  # Of the longest side.
_INSIDE: Final = 0.25  # Of a patch's side: what lies at least between a spot and the edge.
_NEAR: Final = (
    0.35  # Of a patch's side; spots nearer to a stronger one of about its scale are left out.
)
_SCALES_ALIKE: Final = 2**0.8

Turns: TypeAlias = NDArray[np.int32]


def _circle() -> Floats:
    turns = [2 * math.pi * step / TURNS for step in range(TURNS)]
    return np.array([(math.cos(turn), math.sin(turn)) for turn in turns]).astype(np.float32)


def _weights() -> Floats:
    """A bell over the window, nothing outside of its circle."""
    half = (WINDOW - 1) / 2
    y, x = np.mgrid[0:WINDOW, 0:WINDOW] - half
    square = x * x + y * y
    bell = np.exp(-square / (2 * _WINDOW_DEVIATION**2))
    return np.where(square > half * half, 0, bell).astype(np.float32)


CIRCLE: Final = _circle()
WEIGHTS: Final = _weights()


class PatchKernel(Protocol):
    """What computes. Every implementation gives the same floats."""

    def spots(self, grey: Grey) -> Spots:
        """See `spots.spots_of`."""
        ...

    def turns(self, grey: Grey, spots: Spots) -> Turns:
        """Steps of a turn of each spot's strongest direction and of a second one, or -1.
        Shape: (n, 2)."""
        ...

    def hashed(self, grey: Grey, spots: Spots, turns: Turns) -> tuple[Floats, NDArray[np.int32]]:
        """PDQ's frequencies and quality of each patch. Shape: turns (n), (n, 16, 16) and (n)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Shape: bits (n, 32); the same mirrored; the frequencies (n, 16, 16) behind the bits; whether
    each was turned (n); spot and quality (n)."""

    bits: Bits
    mirrored: Bits
    frequencies: Floats
    is_turned: NDArray[np.bool_]
    spots: Spots
    quality: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.bits)


def has_patches(grey: Grey) -> bool:
    height, width = grey.shape
    return bool(min(height, width) >= SIDE_MIN and max(height, width) <= SIDE_MAX)


def patches_of(grey: Grey, spots_max: int, kernel: PatchKernel, leaning_max: int = 0) -> Patches:
    """The patches of the strongest spots: upright, of the first `leaning_max` leaning as well,
    turned. Shape: grey (height, width)."""
    if not has_patches(grey):
        spots = np.empty(0, SPOT)
    else:
        spots = _chosen(kernel.spots(grey), grey, spots_max)
    turns = kernel.turns(grey, spots)
    has = turns >= 0
    leaning = [spots[:leaning_max]] * len(LEANS)
    upright = np.concatenate([spots, *leaning])
    leans = np.zeros(len(upright), np.int32)
    leans[len(spots) :] = np.repeat(LEANS, len(leaning[0])) % TURNS
    every = np.concatenate([upright, spots[has[:, 0]], spots[has[:, 1]]])
    steps = np.concatenate([leans, turns[has[:, 0], 0], turns[has[:, 1], 1]])
    frequencies, quality = kernel.hashed(grey, every, steps)
    is_turned = np.arange(len(every)) >= len(upright)
    # A mirrored picture's upright patch is mirrored across; a turned one about its direction.
    other = np.where(is_turned[:, None, None], flipped(frequencies), mirrored(frequencies))
    rich = quality >= QUALITY_MIN
    return Patches(
        bits_of(frequencies[rich]),
        bits_of(other[rich]),
        frequencies[rich],
        is_turned[rich],
        every[rich],
        quality[rich],
    )


def _chosen(spots: Spots, grey: Grey, spots_max: int) -> Spots:
    """The strongest spots whose patch lies well inside, none near a stronger one of its scale."""
    height, width = grey.shape
    x, y, scale = (spots[name].astype(np.float64) for name in ("x", "y", "scale"))
    side = scale * float(REACH)
    edge = side * _INSIDE
    is_inside = (x >= edge) & (y >= edge) & (x <= width - 1 - edge) & (y <= height - 1 - edge)
    spots = spots[is_inside & (scale >= _SCALE_MIN) & (side <= _PATCH_MAX * max(width, height))]
    spots = spots[np.lexsort((spots["x"], spots["y"], -spots["response"]))]
    x, y, scale = (spots[name].astype(np.float64) for name in ("x", "y", "scale"))
    is_left = np.ones(len(spots), dtype=bool)
    kept: list[int] = []
    for at in range(len(spots)):
        if not is_left[at]:
            continue
        kept.append(at)
        if len(kept) == spots_max:
            break
        reach = _NEAR * float(REACH) * np.minimum(scale, scale[at])
        is_near = (x - x[at]) ** 2 + (y - y[at]) ** 2 < reach**2
        larger, smaller = np.maximum(scale, scale[at]), np.minimum(scale, scale[at])
        is_left &= ~(is_near & (larger < smaller * _SCALES_ALIKE))
    return spots[kept]


class NumpyPatchKernel:
    """The definition."""

    def spots(self, grey: Grey) -> Spots:
        return spots_of(grey, BLURS_USED)

    def turns(self, grey: Grey, spots: Spots) -> Turns:
        turns = np.full((len(spots), 2), -1, dtype=np.int32)
        if not len(spots):
            return turns
        step = (spots["scale"] * TURN_REACH) / np.float32(WINDOW)
        along = np.arange(WINDOW).astype(np.float32) - np.float32(15.5)
        x = spots["x"][:, None, None] + along[None, None, :] * step[:, None, None]
        y = spots["y"][:, None, None] + along[None, :, None] * step[:, None, None]
        shape = (len(spots), WINDOW, WINDOW)
        x, y = (np.broadcast_to(side.astype(np.float32, copy=False), shape) for side in (x, y))
        window = _sampled(grey, x, y, step)
        return _strongest(_smoothed(_bins_of(window)))

    def hashed(self, grey: Grey, spots: Spots, turns: Turns) -> tuple[Floats, NDArray[np.int32]]:
        frequencies = np.zeros((len(spots), SIDE, SIDE), dtype=np.float32)
        quality = np.zeros(len(spots), dtype=np.int32)
        if not len(spots):
            return frequencies, quality
        step = (spots["scale"] * REACH) / np.float32(GRID)
        cosine, sine = CIRCLE[turns, 0] * step, CIRCLE[turns, 1] * step
        along = np.arange(GRID).astype(np.float32) - np.float32(31.5)
        u, v = along[None, None, :], along[None, :, None]
        c, d = cosine[:, None, None], sine[:, None, None]
        x = spots["x"][:, None, None] + (u * c - v * d)
        y = spots["y"][:, None, None] + (u * d + v * c)
        x, y = x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
        for at, grid in enumerate(_sampled(grey, x, y, step)):
            hashed = NumpyKernel().hashed(grid)
            if hashed.frequencies is not None:
                frequencies[at], quality[at] = hashed.frequencies, hashed.fingerprint.quality
        return frequencies, quality


def _sampled(grey: Grey, x: Floats, y: Floats, step: Floats) -> Floats:
    """Between pixels along straight lines, on the picture halved until a step is under two pixels.
    Shape: x, y (n, rows, columns); step (n)."""
    found = np.empty(x.shape, dtype=np.float32)
    picture, divisor = grey.astype(np.float32), np.float32(1)
    for level in range(_MIPS):
        is_here = step >= 2 * divisor if level + 1 < _MIPS else np.zeros(len(step), dtype=bool)
        is_here = ~is_here & ((step >= divisor) if level else np.ones(len(step), dtype=bool))
        if is_here.any():
            shift = (divisor - np.float32(1)) * np.float32(0.5)
            found[is_here] = _between(
                picture, (x[is_here] - shift) / divisor, (y[is_here] - shift) / divisor
            )
        divisor = divisor * np.float32(2)
        picture = picture if min(picture.shape) < 4 else halved(picture)
    return found


def _between(picture: Floats, x: Floats, y: Floats) -> Floats:
    rows, columns = picture.shape
    x = np.clip(x, np.float32(0), np.float32(columns - 1))
    y = np.clip(y, np.float32(0), np.float32(rows - 1))
    left = np.minimum(x.astype(np.int64), columns - 2)
    top = np.minimum(y.astype(np.int64), rows - 2)
    across, down = x - left.astype(np.float32), y - top.astype(np.float32)
    first, second = picture[top, left], picture[top + 1, left]
    above = first + across * (picture[top, left + 1] - first)
    below = second + across * (picture[top + 1, left + 1] - second)
    return np.asarray(above + down * (below - above), dtype=np.float32)


def _bins_of(window: Floats) -> Floats:
    """How strong the window's slopes are by direction. Shape: (n, 32, 32), (n, 36)."""
    gx = window[:, 1:-1, 2:] - window[:, 1:-1, :-2]
    gy = window[:, 2:, 1:-1] - window[:, :-2, 1:-1]
    ax, ay = np.abs(gx), np.abs(gy)
    greater, lesser = np.maximum(ax, ay), np.minimum(ax, ay)
    t = lesser / np.where(greater == 0, np.float32(1), greater)
    u = t * t
    # The arc tangent of 0 to 1 in eighths of a turn.
    curve = np.float32(1) + u * (np.float32(-0.2733) + u * np.float32(0.0587))
    angle = t * curve * np.float32(1.2733)
    angle = np.where(ay > ax, np.float32(2) - angle, angle)
    angle = np.where(gx < 0, np.float32(4) - angle, angle)
    angle = np.where(gy < 0, np.float32(8) - angle, angle) * np.float32(BINS / 8)
    low = angle.astype(np.int64)
    part = angle - low.astype(np.float32)
    strength = np.sqrt(gx * gx + gy * gy) * WEIGHTS[1:-1, 1:-1]
    strength = np.where(greater == 0, np.float32(0), strength)
    first, second = strength * (np.float32(1) - part), strength * part
    bins = np.zeros((len(window), BINS), dtype=np.float32)
    every = np.arange(len(window))
    for j in range(WINDOW - 2):
        for i in range(WINDOW - 2):
            bins[every, low[:, j, i] % BINS] += first[:, j, i]
            bins[every, (low[:, j, i] + 1) % BINS] += second[:, j, i]
    return bins


def _smoothed(bins: Floats) -> Floats:
    for _ in range(_ROUNDS):
        bins = (np.roll(bins, 1, axis=1) + bins) + np.roll(bins, -1, axis=1)
    return bins


def _strongest(bins: Floats) -> Turns:
    """The two greatest peaks of each row, put between bins by a parabola, in steps of a turn."""
    before, after = np.roll(bins, 1, axis=1), np.roll(bins, -1, axis=1)
    height = np.where((bins > before) & (bins >= after), bins, np.float32(-1))
    every = np.arange(len(bins))
    turns = np.full((len(bins), 2), -1, dtype=np.int32)
    top = height.max(axis=1)
    for place in range(2):
        at = height.argmax(axis=1)
        value = height[every, at]
        is_one = value >= 0 if place == 0 else (value >= 0) & (value >= _SECOND * top)
        left, right, middle = before[every, at], after[every, at], bins[every, at]
        flat = (left - np.float32(2) * middle) + right
        rise = np.float32(0.5) * (left - right) / np.where(flat == 0, np.float32(1), flat)
        peak = at.astype(np.float32) + np.where(flat == 0, np.float32(0), rise)
        scaled = (peak + np.float32(BINS)) * (np.float32(TURNS) / np.float32(BINS))
        steps = (scaled + np.float32(0.5)).astype(np.int32) % TURNS
        turns[:, place] = np.where(is_one, steps, -1)
        height[every, at] = -1
    return turns
