"""The filter of PDQ as weights on an axis, for pictures that a decoder gave smaller.

The filter is linear up to its grid. On an axis of n samples each cell is a weighted sum of about
n / 64 of them; where a decoder gives the means of blocks of `scale` samples instead, the same
cell is written in those. Inside a block the samples are taken to lie on a line whose slope the
neighbouring blocks tell: exact for everything but what is finer than a block.
Source: docs/spec/fingerprint.md, section 10.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CELLS: Final = 64
KEPT: Final = 256  # Sizes of pictures repeat; a fold is about 4 KB.


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Weights of an axis of `size` blocks. Cell i is the sum over t of `weight[i, t]` times block
    `start[i] + t`, added in that order in 32-bit float."""

    size: int
    start: NDArray[np.uint32]
    weight: NDArray[np.float32]


@lru_cache(KEPT)
def fold_of(size: int, scale: int, flipped: bool = False) -> Fold:
    """The weights of an axis of `size` samples on the means of `scale` of them each.

    `flipped` counts cells from the other end. There are at least 64 blocks.
    """
    begins, ends, share = _boxes(size)
    if flipped:
        begins, ends = size - ends, size - begins
    first = begins.min(axis=1) // scale
    blocks = int((ends.max(axis=1) - first * scale).max() + scale - 1) // scale
    cell = np.arange(_CELLS)[:, None]
    steps = np.zeros((_CELLS, blocks * scale + 1))
    np.add.at(steps, (cell, begins - first[:, None] * scale), share)
    np.subtract.at(steps, (cell, ends - first[:, None] * scale), share)
    samples = np.cumsum(steps, axis=1)[:, :-1].reshape(_CELLS, blocks, scale)
    count = -(-size // scale)
    start = np.clip(first - 1, 0, count - blocks - 2)
    block = first[:, None] + np.arange(blocks)
    weight = np.zeros((_CELLS, blocks + 2))

    def spread(where: NDArray[np.int64], amount: NDArray[np.float64]) -> None:
        there = (where >= 0) & (where < count)
        place = np.where(there, where - start[:, None], 0)
        np.add.at(weight, (cell, place), np.where(there, amount, 0))

    spread(block, samples.sum(axis=2))
    if scale > 1:
        offset = (np.arange(scale) - (scale - 1) / 2) / scale
        after, before = np.minimum(block + 1, count - 1), np.maximum(block - 1, 0)
        slope = (samples * offset).sum(axis=2) / np.maximum(after - before, 1)
        spread(after, slope)
        spread(before, -slope)
    return Fold(count, start.astype(np.uint32), weight.astype(np.float32))


def _boxes(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Two passes of the box as a sum of boxes: for each cell, where those of the first pass that
    its second pass takes begin and end, and what each sample in them weighs. Some weigh nothing.
    """
    window = (size + 2 * _CELLS - 1) // (2 * _CELLS)
    ahead = window // 2

    def reach(place: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.maximum(place - (window - ahead - 1), 0), np.minimum(place + ahead + 1, size)

    begin, end = reach((2 * np.arange(_CELLS) + 1) * size // (2 * _CELLS))
    taken = begin[:, None] + np.arange(window)
    is_taken = taken < end[:, None]
    begins, ends = reach(np.where(is_taken, taken, begin[:, None]))
    share = is_taken / ((end - begin)[:, None] * (ends - begins))
    return begins, ends, share
