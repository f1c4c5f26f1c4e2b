"""How near is the same picture: bits of each step, and votes of a query's patches on a listing.

One patch that meets says little: the same logo, the same letter, the same window. Votes are
different patches of the query on different patches of one listing, all of them mirrored or none,
and the more of them there are the less alike each needs to be. What many patches are listed of is
met by chance more often: a few more votes are asked of all of them than of the first.
Invariants: more or nearer candidates never weaken a verdict; no sum of floats.
Source: docs/spec/fingerprint.md, section 14, and the figures behind it in BENCHMARKS.md.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accord.wire.limits import (
    FRAME_BITS_MAX,
    LISTING_PATCHES,
    PATCH_BITS_MAX,
    PATCH_VOTES,
    PATCH_VOTES_MIN,
    PATCH_VOTES_MORE,
    VARIANT_BITS_MAX,
)

__all__ = [
    "BITS_MAX",
    "FRAME_BITS_MAX",
    "FULL_BITS_MAX",
    "MATCH_RULES",
    "REVIEW_RULES",
    "Rule",
    "Verdict",
    "verdict_of",
    "votes_of",
]


class Rule(NamedTuple):
    """So many votes, each within so many bits."""

    votes: int
    bits_max: int


FULL_BITS_MAX: Final = VARIANT_BITS_MAX  # Of eight variants, the nearest.
# Of up to four boxes, upright and mirrored, the nearest: `limits.FRAME_BITS_MAX`.
# By the fit of BENCHMARKS.md two votes are within one false match in a million queries, with little
# to spare, so they are for a person to look at; three, which anything automatic needs, by far.
MATCH_RULES: Final = (Rule(PATCH_VOTES_MIN, PATCH_BITS_MAX),)
REVIEW_RULES: Final = (Rule(PATCH_VOTES, PATCH_BITS_MAX),)
BITS_MAX: Final = max(rule.bits_max for rule in (*MATCH_RULES, *REVIEW_RULES))  # What to look up.


class Verdict(IntEnum):
    NOTHING = 0
    REVIEW = 1
    MATCH = 2


def votes_of(distances: NDArray[np.int64], bits_max: int) -> int:
    """How many patches of each side meet one of the other, the lesser of the two.

    Shape: distances (query patches, listed patches), of one hand.
    """
    meets = distances <= bits_max
    return int(min(meets.any(axis=0).sum(), meets.any(axis=1).sum()))


def verdict_of(upright: NDArray[np.int64], mirrored: NDArray[np.int64]) -> Verdict:
    """What a query's patches say of one listing. Shape: as in `votes_of`, one for each hand."""

    def holds(rules: tuple[Rule, ...]) -> bool:
        return any(
            votes_of(distances[:, :LISTING_PATCHES], rule.bits_max) >= rule.votes
            or votes_of(distances, rule.bits_max) >= rule.votes + PATCH_VOTES_MORE
            for rule in rules
            for distances in (upright, mirrored)
        )

    if holds(MATCH_RULES):
        return Verdict.MATCH
    return Verdict.REVIEW if holds(REVIEW_RULES) else Verdict.NOTHING
