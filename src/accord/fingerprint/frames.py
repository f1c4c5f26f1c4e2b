"""Where in a picture another may lie: inside borders, bars, a blurred backdrop, a phone's screen.

A side of an inner picture is a long straight step beside which, on the outside, little happens.
The best sides of the four directions are put together to rectangles, the sum of whose sides tells
how likely they are; margins of one colour are trimmed besides. A proposal that is none costs two
look-ups and nothing else.
Not here: fingerprints of the rectangles (ladder), collages, whose outside is a picture (patches).
Invariants: whole numbers only, but for scores, which are sums of quotients of small whole numbers
in 64-bit float: the same bytes give the same boxes everywhere.
Source: docs/spec/fingerprint.md, section 12.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

BOXES_MAX: Final = 4
SIDE_MAX: Final = 512  # Longest side of the picture that is looked at.
_STEP_MIN: Final = 6  # Grey levels from one row to the next.
_LINES_MAX: Final = 8  # In each of the four directions.
_APART: Final = 3  # Rows between two lines of a direction.
_EDGE_SCORE: Final = 0.45  # What a side is worth where the picture itself ends.
_SCORE_MIN: Final = 0.5  # The mean of four sides. A horizon alone comes to 0.49.
_SIDE_MIN: Final = 0.2  # A side that is worth less is none.
_SHARE_MIN: Final = 8  # An inner picture's side is at least so many-th of the outer's.
_PIXELS_MIN: Final = 48
_ALIKE: Final = 0.93  # Of two boxes that overlap by more the better one is kept.
_PLAIN_RANGE: Final = 24  # Grey levels that a margin of one colour spans at most,
_PLAIN_STEP: Final = 4  # and its mean difference from its own middle.

Grey: TypeAlias = NDArray[np.uint8]
_Ints: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float64]


class Box(NamedTuple):
    """Pixels; right and bottom lie just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)


class _Steps(NamedTuple):
    """Along one axis: where rows differ from the row before.

    Shape: sums (rows + 1, columns + 1); entry (y, x) counts the steps of boundary y left of x.
    Boundary y lies between rows y - 1 and y; 0 and the last have none.
    """

    sums: NDArray[np.int32]
    rows: int
    columns: int


def boxes_of(grey: Grey) -> tuple[Box, ...]:
    """At most `BOXES_MAX`, the likeliest first. Shape: grey (height, width), `SIDE_MAX` at most."""
    height, width = grey.shape
    if min(height, width) < _PIXELS_MIN:
        return ()
    turned = np.ascontiguousarray(grey.T)
    found = _trimmed(grey, turned)
    found += [box for _, box in _rectangles(grey, turned)]
    kept: list[Box] = []
    for box in found:
        if all(_overlap(box, known) <= _ALIKE for known in (*kept, Box(0, 0, width, height))[-9:]):
            kept.append(box)
    return tuple(kept[:BOXES_MAX])


def _trimmed(grey: Grey, turned: Grey) -> list[Box]:
    """The picture without margins of one colour, if it has any."""
    rows, columns = _plain(grey), _plain(turned)
    height, width = grey.shape
    if rows.all() or columns.all():
        return []
    top, bottom = int(rows.argmin()), height - int(rows[::-1].argmin())
    columns = _plain(turned[:, top:bottom])
    if columns.all():
        return []
    left, right = int(columns.argmin()), width - int(columns[::-1].argmin())
    box = Box(left, top, right, bottom)
    return [box] if box.area < width * height and _is_large_enough(box, width, height) else []


def _plain(grey: Grey) -> NDArray[np.bool_]:
    """Rows in which next to nothing happens."""
    plain = np.asarray((grey.max(axis=1) - grey.min(axis=1)) <= _PLAIN_RANGE)
    wide = grey[plain].astype(np.int32)  # Few, in most pictures.
    middle = wide.sum(axis=1, keepdims=True) // grey.shape[1]
    plain[plain] = np.abs(wide - middle).sum(axis=1) <= _PLAIN_STEP * grey.shape[1]
    return plain


def _steps_of(grey: Grey) -> _Steps:
    rows, columns = grey.shape
    after, before = grey[1:], grey[:-1]
    apart = np.maximum(after, before) - np.minimum(after, before)
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int32)
    np.cumsum(apart >= _STEP_MIN, axis=1, out=sums[1:rows, 1:])
    return _Steps(sums, rows, columns)


def _side_scores(steps: _Steps, at: _Ints, begin: _Ints, end: _Ints, outwards: int) -> _Floats:
    """How much boundaries look like sides between two columns: the share of it that is a step,
    less twice the share of steps two rows further out. -1 outwards is up."""
    length = np.maximum(end - begin, 1)

    def share(boundary: _Ints) -> _Floats:
        inside = np.clip(boundary, 0, steps.rows)
        return np.asarray((steps.sums[inside, end] - steps.sums[inside, begin]) / length)

    return _judged(share, steps.rows, at, outwards)


def _span_scores(steps: _Steps, at: _Ints, begin: int, end: int, outwards: int) -> _Floats:
    """The same between two columns that all boundaries have in common."""
    spans = (steps.sums[:, end] - steps.sums[:, begin]) / max(end - begin, 1)

    def share(boundary: _Ints) -> _Floats:
        return np.asarray(spans[np.clip(boundary, 0, steps.rows)])

    return _judged(share, steps.rows, at, outwards)


def _judged(share: Callable[[_Ints], _Floats], rows: int, at: _Ints, outwards: int) -> _Floats:
    beyond = 2 * share(at + 2 * outwards)
    last = 0 if outwards < 0 else rows
    # A step may fall on two boundaries when the picture was made smaller.
    step = np.minimum(1.0, share(at) + np.maximum(0.0, share(at - outwards) - 0.5))
    return np.where(at == last, _EDGE_SCORE, step - beyond)


def _lines(steps: _Steps, outwards: int) -> _Ints:
    """The boundaries of a direction that look most like sides, and the picture's own."""
    every = np.arange(1, steps.rows)
    score = np.full(len(every), -1.0)
    parts = [(0, 1, 1), (0, 2, 3), (1, 3, 3), (1, 5, 5), (0, 1, 2), (1, 2, 2)]
    for begin, end, of in parts:  # The whole length and parts of it.
        low, high = steps.columns * begin // of, steps.columns * end // of
        found = _span_scores(steps, every, low, high, outwards)
        score = np.maximum(score, found * min(1.0, 0.7 + 0.3 * (high - low) / steps.columns))
    chosen: list[int] = [0 if outwards < 0 else steps.rows]
    for place in np.argsort(-score, kind="stable"):
        if len(chosen) > _LINES_MAX or score[place] < _SIDE_MIN:
            break
        if all(abs(int(every[place]) - known) >= _APART for known in chosen):
            chosen.append(int(every[place]))
    return np.array(chosen, dtype=np.int64)


def _rectangles(grey: Grey, turned: Grey) -> list[tuple[float, Box]]:
    """Every four lines that make a likely rectangle, the likeliest first."""
    height, width = grey.shape
    down, across = _steps_of(grey), _steps_of(turned)
    tops, bottoms = _lines(down, -1), _lines(down, 1)
    lefts, rights = _lines(across, -1), _lines(across, 1)
    grids = np.meshgrid(lefts, tops, rights, bottoms, indexing="ij")
    left, top, right, bottom = (grid.ravel() for grid in grids)
    is_wide = right - left >= np.maximum(_PIXELS_MIN, width // _SHARE_MIN)
    is_high = bottom - top >= np.maximum(_PIXELS_MIN, height // _SHARE_MIN)
    is_part = (right - left < width) | (bottom - top < height)
    fits = np.nonzero(is_wide & is_high & is_part)[0]
    left, top, right, bottom = left[fits], top[fits], right[fits], bottom[fits]
    sides = np.stack(
        [
            _side_scores(down, top, left, right, -1),
            _side_scores(down, bottom, left, right, 1),
            _side_scores(across, left, top, bottom, -1),
            _side_scores(across, right, top, bottom, 1),
        ]
    )
    score = np.where(sides.min(axis=0) < _SIDE_MIN, 0.0, sides.sum(axis=0) / 4)
    order = np.argsort(-score, kind="stable")[: 8 * BOXES_MAX]
    return [
        (float(score[k]), Box(int(left[k]), int(top[k]), int(right[k]), int(bottom[k])))
        for k in order
        if score[k] >= _SCORE_MIN
    ]


def _is_large_enough(box: Box, width: int, height: int) -> bool:
    wide, high = box.right - box.left, box.bottom - box.top
    return min(wide, high) >= _PIXELS_MIN and wide * 8 >= width and high * 8 >= height


def _overlap(one: Box, other: Box) -> float:
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / (one.area + other.area - wide * high)
