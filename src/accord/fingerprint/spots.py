"""Where a picture has something to hold on to: blobs of light or dark, with their place and size.

The picture is blurred in steps, neighbouring blurs are subtracted, and what stands out from all 26
neighbours in place and scale is a spot, put between the samples by a parabola in three dimensions
(the keypoints of SIFT; Lowe, 2004). A spot only says where a patch is taken from.
This is the definition; the compiled twin (patches_native) gives the same floats.
Invariants: 32-bit floats, each sum in the order written, nothing but sums, products, quotients.
Source: docs/spec/fingerprint.md, section 13.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.frames import Grey
from accord.fingerprint.pdq import Floats

SPOT: Final = np.dtype([("x", "<f4"), ("y", "<f4"), ("scale", "<f4"), ("response", "<f4")])
SIDE_MIN: Final = 24
SIDE_MAX: Final = 1024
INTERVALS: Final = 3  # Scales in an octave.
BLURS: Final = 5  # Levels of an octave above its first.
_SCALE: Final = 1.6  # Of the first level, in pixels.
_SCALE_BEFORE: Final = 0.5  # What the picture is taken to have.
_CONTRAST: Final = 0.3  # Grey levels. The strongest are taken, so a low bar helps flat pictures.
_EDGE: Final = 12.1  # (10 + 1)^2 / 10: one curvature at most ten times the other.
_RADIUS: Final = 3.2  # Deviations that a filter reaches.
_POWERS: Final = 64
_MOVES: Final = 4
_REACH: Final = 0.6

Spots: TypeAlias = NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class Blurs:
    """Half of each filter, middle first. Filter 0 makes the first level, i the level i from the
    one before. `powers` are 2^((i / 32 - 1) / 3), i = 0 .. 64, then 2^(level / 3), level = 1 ..."""

    taps: tuple[Floats, ...]
    powers: Floats
    contrast: float = _CONTRAST
    edge: float = _EDGE
    scale: float = _SCALE


def _filter(deviation: float) -> Floats:
    reach = math.ceil(_RADIUS * deviation)
    half = [math.exp(-k * k / (2 * deviation * deviation)) for k in range(reach + 1)]
    return np.array([tap / (2 * sum(half) - half[0]) for tap in half]).astype(np.float32)


def _blurs() -> Blurs:
    deviations = [math.sqrt(_SCALE**2 - _SCALE_BEFORE**2)]
    for level in range(1, BLURS + 1):
        before, after = (_SCALE * 2 ** (at / INTERVALS) for at in (level - 1, level))
        deviations.append(math.sqrt(after**2 - before**2))
    between = [2 ** ((i / (_POWERS / 2) - 1) / INTERVALS) for i in range(_POWERS + 1)]
    levels = [2 ** (level / INTERVALS) for level in range(1, BLURS + 1)]
    powers = np.array(between + levels).astype(np.float32)
    return Blurs(tuple(_filter(deviation) for deviation in deviations), powers)


BLURS_USED: Final = _blurs()


def spots_of(grey: Grey, blurs: Blurs = BLURS_USED) -> Spots:
    """By octave, level, row and column. Shape: grey (height, width), 24 to 1,024 a side."""
    found: list[Spots] = []
    first = _blurred(grey.astype(np.float32), blurs.taps[0])
    octave = np.float32(1)
    while min(first.shape) >= SIDE_MIN:
        levels = [first]
        for taps in blurs.taps[1:]:
            levels.append(_blurred(levels[-1], taps))
        steps = np.stack([after - before for before, after in pairwise(levels)])
        found.append(_refined(steps, blurs, octave))
        first = halved(levels[-3])
        octave = octave * np.float32(2)
    return np.concatenate(found) if found else np.empty(0, SPOT)


def halved(picture: Floats) -> Floats:
    """Each pixel the mean of four."""
    height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    upper, lower = picture[0:height:2, :width], picture[1:height:2, :width]
    across = (upper[:, ::2] + upper[:, 1::2]) + (lower[:, ::2] + lower[:, 1::2])
    return (across * np.float32(0.25)).astype(np.float32, copy=False)


def _blurred(picture: Floats, taps: Floats) -> Floats:
    return _along(_along(picture.T, taps).T, taps)


def _along(picture: Floats, taps: Floats) -> Floats:
    """Down the columns; the last row goes on beyond the end."""
    reach, rows = len(taps) - 1, len(picture)
    padded = np.pad(picture, ((reach, reach), (0, 0)), mode="edge")
    total = taps[0] * picture
    for k in range(1, reach + 1):
        total = total + taps[k] * (
            padded[reach - k : reach - k + rows] + padded[reach + k : reach + k + rows]
        )
    return np.asarray(total)


def _peaks(steps: Floats, least: float) -> NDArray[np.int64]:
    """Shape: (n, 3), level, row, column of what is beyond all its neighbours."""
    middle = steps[1:-1, 1:-1, 1:-1]
    is_top = np.abs(middle) > np.float32(least)
    is_bottom = is_top.copy()
    levels, rows, columns = steps.shape
    for place in range(27):
        s, y, x = place // 9, place // 3 % 3, place % 3
        if place == 13:
            continue
        other = steps[s : levels - 2 + s, y : rows - 2 + y, x : columns - 2 + x]
        is_top &= middle > other
        is_bottom &= middle < other
    return np.argwhere(is_top | is_bottom) + 1


def _refined(steps: Floats, blurs: Blurs, octave: np.float32) -> Spots:
    """The peaks that stay near a sample, strong and round enough, in their order."""
    at = _peaks(steps, blurs.contrast * 0.5)
    spots = np.empty(len(at), SPOT)
    is_found = np.zeros(len(at), dtype=bool)
    left = np.arange(len(at))
    for _ in range(_MOVES):
        if not len(left):
            break
        offset, response, is_round = _fitted(steps, at[left], blurs)
        is_near = (np.abs(offset) <= np.float32(_REACH)).all(axis=1)
        is_good = is_near & is_round & (np.abs(response) >= np.float32(blurs.contrast))
        done = left[is_good]
        spots[done] = _placed(at[done], offset[is_good], response[is_good], blurs, octave)
        is_found[done] = True
        is_on = ~is_near & (np.abs(offset) < 8).all(axis=1)
        moved = (offset[is_on] > np.float32(_REACH)).astype(np.int64)
        moved -= offset[is_on] < -np.float32(_REACH)
        left = left[is_on]
        at[left] += moved[:, ::-1]
        ends = np.array(steps.shape) - 2
        left = left[((at[left] >= 1) & (at[left] <= ends)).all(axis=1)]
    return spots[is_found]


def _fitted(
    steps: Floats, at: NDArray[np.int64], blurs: Blurs
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Offsets (n, 3) in x, y and level, not a number where there is none; responses; roundness."""

    def value(s: int, y: int, x: int) -> Floats:
        return np.asarray(steps[at[:, 0] + s, at[:, 1] + y, at[:, 2] + x])

    half, quarter, two = np.float32(0.5), np.float32(0.25), np.float32(2)
    v = value(0, 0, 0)
    gx = (value(0, 0, 1) - value(0, 0, -1)) * half
    gy = (value(0, 1, 0) - value(0, -1, 0)) * half
    gs = (value(1, 0, 0) - value(-1, 0, 0)) * half
    xx = (value(0, 0, 1) + value(0, 0, -1)) - two * v
    yy = (value(0, 1, 0) + value(0, -1, 0)) - two * v
    ss = (value(1, 0, 0) + value(-1, 0, 0)) - two * v
    xy = ((value(0, 1, 1) - value(0, 1, -1)) - (value(0, -1, 1) - value(0, -1, -1))) * quarter
    xs = ((value(1, 0, 1) - value(1, 0, -1)) - (value(-1, 0, 1) - value(-1, 0, -1))) * quarter
    ys = ((value(1, 1, 0) - value(1, -1, 0)) - (value(-1, 1, 0) - value(-1, -1, 0))) * quarter
    m0, m1, m2 = yy * ss - ys * ys, xs * ys - xy * ss, xy * ys - xs * yy
    det = (xx * m0 + xy * m1) + xs * m2
    n1, n2, n3 = xx * ss - xs * xs, xy * xs - xx * ys, xx * yy - xy * xy
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ox = -(((m0 * gx + m1 * gy) + m2 * gs) / det)
        oy = -(((m1 * gx + n1 * gy) + n2 * gs) / det)
        os = -(((m2 * gx + n2 * gy) + n3 * gs) / det)
        response = v + half * ((gx * ox + gy * oy) + gs * os)
    offset = np.where((det == 0)[:, None], np.float32(np.nan), np.stack([ox, oy, os], axis=1))
    trace, flat = xx + yy, xx * yy - xy * xy
    is_round = (flat > 0) & (trace * trace < np.float32(blurs.edge) * flat)
    return offset, response.astype(np.float32, copy=False), is_round


def _placed(
    at: NDArray[np.int64], offset: Floats, response: Floats, blurs: Blurs, octave: np.float32
) -> Spots:
    spots = np.empty(len(at), SPOT)
    shift = (octave - np.float32(1)) * np.float32(0.5)
    spots["x"] = (at[:, 2].astype(np.float32) + offset[:, 0]) * octave + shift
    spots["y"] = (at[:, 1].astype(np.float32) + offset[:, 1]) * octave + shift
    place = (offset[:, 2] + np.float32(1)) * np.float32(_POWERS // 2)
    whole = place.astype(np.int32)
    low, high = blurs.powers[whole], blurs.powers[whole + 1]
    power = low + (place - whole.astype(np.float32)) * (high - low)
    spots["scale"] = ((np.float32(blurs.scale) * octave) * blurs.powers[_POWERS + at[:, 0]]) * power
    spots["response"] = np.abs(response)
    return spots
