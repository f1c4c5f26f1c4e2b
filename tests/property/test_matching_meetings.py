"""Votes and shares by arrays are those of the plain definition."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accord.matching.meetings import Meetings, nearest, reached

PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)),
    st.integers(0, 6),
    max_size=30,
)
NEEDS = st.lists(st.integers(1, 4), min_size=4, max_size=4)  # One for each row.


def meetings_of(pairs: dict[tuple[int, int, int], int]) -> Meetings:
    columns = np.array([[*key, bits] for key, bits in pairs.items()], dtype=np.int64)
    rows, asked, listed, bits = columns.reshape(-1, 4).T
    return Meetings(rows.astype(np.uint32), asked, listed + 10 * rows, bits.astype(np.uint32))


def plainly(
    pairs: dict[tuple[int, int, int], int], asked_min: list[int], listed_min: list[int]
) -> dict[int, int]:
    """The least threshold at which enough of both sides meet."""
    found: dict[int, int] = {}
    for row in range(4):
        for bits in range(7):
            within = [(a, b) for (r, a, b), d in pairs.items() if r == row and d <= bits]
            enough = len({a for a, _ in within}) >= asked_min[row]
            if enough and len({b for _, b in within}) >= listed_min[row]:
                found[row] = bits
                break
    return found


@given(PAIRS, NEEDS, NEEDS)
def test_what_is_reached_is_what_the_definition_says(
    pairs: dict[tuple[int, int, int], int], asked_min: list[int], listed_min: list[int]
) -> None:
    meetings = meetings_of(pairs)
    asked, listed = (np.array(some)[meetings.rows] for some in (asked_min, listed_min))
    rows, bits = reached(meetings, asked, listed)
    assert dict(zip(rows.tolist(), bits.tolist(), strict=True)) == plainly(
        pairs, asked_min, listed_min
    )
    assert rows.tolist() == sorted(rows.tolist())


@given(PAIRS, PAIRS)
def test_the_nearest_of_two_ways_to_ask_counts(
    some: dict[tuple[int, int, int], int], others: dict[tuple[int, int, int], int]
) -> None:
    ones = np.ones(len(some), dtype=np.int64), np.ones(len(others), dtype=np.int64)
    found = [
        reached(meetings_of(pairs), need, need)
        for pairs, need in zip((some, others), ones, strict=True)
    ]
    rows, bits = nearest(found)
    wanted = plainly(some, [1] * 4, [1] * 4)
    for row, distance in plainly(others, [1] * 4, [1] * 4).items():
        wanted[row] = min(distance, wanted.get(row, math.inf))
    got = list(zip(bits.tolist(), rows.tolist(), strict=True))
    assert got == sorted((distance, row) for row, distance in wanted.items())
