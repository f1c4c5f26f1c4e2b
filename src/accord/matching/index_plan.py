"""Which buckets to probe for a threshold, so that no row within it is missed.

A fingerprint is 16 bands of 16 bits, in a ring: after the last band comes the first. Let `d[j]` be
the distance of two fingerprints in band `j`, and give each band a budget `t[j]` so that all budgets
sum to the threshold plus one.

Lemma. If the distances sum to the threshold or less, there is a band `b` with
`d[b] <= t[b] - 1` and `d[b] + d[b+1] <= t[b] + t[b+1] - 1`.
Proof. Walk the ring from band 0 and add up `x[j] = d[j] - t[j]`; the whole round sums to -1 or
less. Let `b` be the last place at which the sum before it, `S[b]`, is greatest. Every later sum of
this round is smaller than `S[b]`, by the choice of the last. A sum of the next round is the same
sum one round earlier, which is at most `S[b]`, and -1 or less: smaller than `S[b]` too. So every
walk that begins at `b` sums to less than 0, in particular those of one step and of two. These are
the two claims.  (This is the cycle lemma; Dvoretzky and Motzkin, 1947.)

So it is complete to look, for each band, at the buckets within `t[b] - 1` bits of the query's, and
to keep of them what differs in the next band by at most what is left of both budgets. A band whose
budget is 0 cannot be such a `b` and is not probed at all.

Not here: how rows are kept (index_layout), how they are looked up (index_kernel).
Units: at threshold 31 every budget is 2: 272 buckets, 17 a band, and of what they hold one row in
385 passes. 36 takes 872 buckets, 44 takes 1,832 and 60 takes 9,472.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

PDQ_BITS: Final = 256
BANDS: Final = 16
BAND_BITS: Final = 16
BUCKETS: Final = 1 << BAND_BITS
THRESHOLD_MAX: Final = 79  # Above it the buckets are so many that a scan of all rows is cheaper.
ROWS_PER_STEP: Final = 8  # A bucket costs about what comparing so many rows costs.

STEP: Final = np.dtype([("mask", "<u2"), ("band", "u1"), ("slack", "u1")])


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The probes of a threshold.

    Shape: `steps` of type STEP, by band: probe the bucket `query ^ mask` of `band` and keep what
    differs from the query's next band by at most `slack` bits. Band b's steps are
    `first[b]` to `first[b + 1]`. `budgets` (16,) are the lemma's.
    """

    threshold_bits: int
    budgets: NDArray[np.uint8]
    steps: NDArray[np.void]
    first: NDArray[np.uint32]

    def is_worth(self, count: int) -> bool:
        """Whether probing beats comparing each of `count` rows."""
        return self.threshold_bits <= THRESHOLD_MAX and len(self.steps) * ROWS_PER_STEP < count

    def finds(self, bands: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """By which bands a row is found. Shape: `bands` (count, 16), the distance in each."""
        distances = bands.astype(np.int64)
        budgets = self.budgets.astype(np.int64)
        both = distances + np.roll(distances, -1, axis=1)
        return (distances < budgets) & (both < budgets + np.roll(budgets, -1))


@lru_cache(maxsize=PDQ_BITS + 1)
def plan_for(threshold_bits: int) -> Plan:
    """The plan of a threshold, budgets spread evenly. Without steps above `THRESHOLD_MAX`."""
    edges = np.arange(BANDS + 1) * (threshold_bits + 1) // BANDS
    budgets = np.minimum(np.diff(edges), 255).astype(np.uint8)
    steps: list[tuple[int, int, int]] = []
    first = [0]
    for band in range(BANDS):
        if threshold_bits <= THRESHOLD_MAX:
            both = int(budgets[band]) + int(budgets[(band + 1) % BANDS])
            steps += [
                (mask, band, both - 1 - bits)
                for bits in range(int(budgets[band]))
                for mask in _masks(bits)
            ]
        first.append(len(steps))
    return Plan(
        threshold_bits, budgets, np.array(steps, dtype=STEP), np.array(first, dtype=np.uint32)
    )


@lru_cache(maxsize=BAND_BITS + 1)
def _masks(bits: int) -> tuple[int, ...]:
    """Every band value with so many bits, ascending."""
    return tuple(sorted(sum(1 << b for b in chosen) for chosen in combinations(range(16), bits)))
