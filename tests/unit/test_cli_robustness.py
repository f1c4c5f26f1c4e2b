"""The robustness benchmark's alterations and arithmetic."""

from pathlib import Path

import numpy as np
import pytest

from accord.cli.bench.robustness import Book, Scale, matches_of, nearest_of, run
from accord.cli.bench.robustness_alterations import NAMES, altered
from accord.cli.bench.robustness_fit import (
    KINDS,
    STEPS,
    USED,
    Result,
    Tally,
    histograms,
    interval_of,
    line_of,
    wilson,
)
from accord.fingerprint.ladder import Asked
from accord.fingerprint.votes import MATCH_RULES
from accord.wire.errors import Malformed
from pictures_kit import opened, picture


@pytest.mark.parametrize("name", NAMES)
def test_an_alteration_is_a_picture_and_the_same_every_time(name: str) -> None:
    small = picture(3, (160, 120))
    first = altered(name, small, 5)
    assert first == altered(name, small, 5)
    assert min(opened(first).size) >= 16


def test_intervals_are_wilson_s() -> None:
    low, high = wilson(95, 100)
    assert (round(low, 3), round(high, 3)) == (0.888, 0.978)
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(40, 40)
    assert high == pytest.approx(1.0)
    assert round(low, 3) == 0.912


def test_a_line_finds_the_tail_it_was_drawn_from() -> None:
    """A tenth as many every six bits: 10^-12 lies 72 bits below where all are."""
    within = np.floor(10 ** (8 + (np.arange(257) - 120) / 6)).clip(0, 1e8).astype(np.int64)
    line = line_of(np.diff(within, prepend=0))
    assert line is not None
    assert line.per_decade == pytest.approx(6, rel=0.1)
    assert abs(line.bits_at_bound - 48) <= 3
    assert line_of(np.zeros(257, dtype=np.int64)) is None


def test_votes_are_counted_by_listing_and_hand() -> None:
    """A query of two patches: both on the first listing, one of them mirrored on the second."""
    random = np.random.default_rng(1)
    patches = random.integers(0, 256, (5, 32), dtype=np.uint8)
    full = random.integers(0, 256, (3, 32), dtype=np.uint8)
    book = Book(full, patches, np.array([0, 3, 5]), np.array([3, 2, 0]), 3)
    near = nearest_of(Asked(full[:1], full[2:], patches[:2], patches[3:4]), book)
    assert near.full[0] == 0
    assert near.frame[2] == 0
    assert near.votes[:2, 0].tolist() == [0, 0]
    assert near.first.tolist() == near.votes.tolist()
    assert near.votes[0, 1] == 0
    assert near.votes[1, 1] > 44
    assert set(near.votes[:, 2].tolist()) == {256}


def test_votes_of_the_first_and_of_all_are_counted_apart() -> None:
    random = np.random.default_rng(2)
    patches = random.integers(0, 256, (40, 32), dtype=np.uint8)
    full = random.integers(0, 256, (2, 32), dtype=np.uint8)
    book = Book(full, patches, np.array([0, 35]), np.array([35, 5]), 2)
    nothing = full[:0]

    def said(*places: int) -> list[tuple[bool, bool]]:
        near = nearest_of(Asked(nothing, nothing, patches[list(places)], nothing), book)
        met = matches_of(near)
        return list(zip(met["all"].tolist(), met["automatic"].tolist(), strict=True))

    assert said(0, 23) == [(True, False), (False, False)]
    assert said(0, 1, 23) == [(True, True), (False, False)]
    assert said(0, 24) == said(0, 24, 34) == [(False, False), (False, False)]
    assert said(0, 24, 25, 34) == [(True, False), (False, False)]
    assert said(24, 25, 26, 27, 34) == [(True, True), (False, False)]
    assert said(24, 35, 36) == [(False, False), (True, False)]
    assert {kind for kind in USED if kind.startswith("votes")} == {
        *("votes_2", "votes_3", "votes_4_of_all", "votes_5_of_all")
    }


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for scale in (
        Scale(tmp_path, None, ("melted",), 1, 1, 1, 24),
        Scale(tmp_path, None, NAMES[:1], 1, 1, 1, 24),
        Scale(tmp_path / "no", None, NAMES[:1], 1, 1, 1, 24),
    ):
        with pytest.raises(Malformed):
            run(scale, lambda *_: None)


def test_tallies_add_up() -> None:
    one, other = Tally.empty(("a",)), Tally.empty(("a",))
    one.count("a", dict.fromkeys(STEPS, True))
    other.count("a", dict.fromkeys(STEPS, False))
    other.samples.append(histograms())
    other.samples[0][KINDS[0]][50] += 3
    other.false["full"] += 2
    one.add(other)
    one.add_others(other)
    assert one.asked == {"a": 2}
    assert set(one.met["a"].values()) == {1}
    assert one.others(KINDS[0])[50] == 6
    assert one.false["full"] == 4


def test_bounds_are_derived_from_a_tail_and_from_nothing_else() -> None:
    tally = Tally.empty(())
    tally.samples.append(histograms())
    result = Result({}, {}, tally, ({"pair": "none"},), {"full": 1.0})
    nothing = result.as_json(is_derived=True)["false_positive"]
    assert nothing["fit"] == {}
    assert set(nothing["derived_bits"].values()) == {None}
    within = np.floor(10 ** (8 + (np.arange(257) - 120) / 6)).clip(0, 1e8).astype(np.int64)
    tally.samples[0]["votes_3"] += np.diff(within, prepend=0)
    found = result.as_json(is_derived=True)["false_positive"]
    assert abs(found["derived_bits"]["votes_3"] - 48) <= 3
    assert found["derived_bits"]["full"] is None
    assert found["derived_bits"]["votes_3_of_corpus"] is None
    assert found["fit"]["votes_3"]["used_bits"] == str(MATCH_RULES[0].bits_max)
    assert "fit" not in result.as_json(is_derived=False)["false_positive"]


def test_an_interval_holds_what_it_was_drawn_from() -> None:
    """Thirty pictures of one tail: the bound is where it was put, give or take what is seen."""
    random = np.random.default_rng(2)
    within = 10.0 ** ((np.arange(257) - 120) / 6)
    share = np.diff(np.minimum(within, 1), prepend=0)
    samples = [random.multinomial(10_000_000, share / share.sum()) for _ in range(30)]
    found = interval_of(samples)
    assert found is not None
    low, high = found
    assert low <= 48 <= high + 1
    assert high - low <= 12
    assert interval_of([np.zeros(257, dtype=np.int64)] * 3) is None
