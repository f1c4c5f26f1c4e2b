"""The compiled kernel against its twin, what has no patches, and what counts as a match."""

import numpy as np
import pytest
from PIL import Image

from accord.fingerprint.frames import Grey
from accord.fingerprint.patches import LEANS, NumpyPatchKernel, patches_of
from accord.fingerprint.patches_native import apart, patch_kernel_of
from accord.fingerprint.resample import for_patches, grey_of
from accord.fingerprint.votes import MATCH_RULES, Rule, Verdict, verdict_of, votes_of
from accord.native import LIBRARY, Path, best_path
from pictures_kit import picture

PATHS = [path for path in Path if path is not Path.NUMPY and path <= best_path(LIBRARY)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize("size", [(320, 208), (61, 40), (480, 25), (24, 24), (200, 300)], ids=str)
def test_kernels_agree_to_the_bit(path: Path, size: tuple[int, int]) -> None:
    grey = np.asarray(picture(7, size).convert("L"))
    noise = np.random.default_rng(5).integers(0, 256, grey.shape, dtype=np.uint8)
    for shown in (grey, noise, np.asarray(grey[::-1]), np.zeros_like(grey)):
        here, there = (
            _all_of(shown, kernel) for kernel in (NumpyPatchKernel(), patch_kernel_of(path))
        )
        assert [part.tobytes() for part in here] == [part.tobytes() for part in there]


def _all_of(grey: Grey, kernel: "NumpyPatchKernel") -> list[np.ndarray]:  # type: ignore[type-arg]
    spots = kernel.spots(grey)
    turns = kernel.turns(grey, spots)
    found = patches_of(grey, 40, kernel, 7)
    return [
        spots,
        turns,
        *kernel.hashed(grey, spots, turns[:, 0].clip(0)),
        found.bits,
        found.mirrored,
    ]


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (23, 480), (3000, 30)])
def test_what_is_too_small_has_none(size: tuple[int, int]) -> None:
    grey = for_patches(grey_of(Image.new("RGB", size, "red")))
    assert not len(patches_of(grey, 10, patch_kernel_of()))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_kernels_count_the_same_bits(path: Path) -> None:
    random = np.random.default_rng(9)
    some, others = (random.integers(0, 256, (n, 32), dtype=np.uint8) for n in (7, 11))
    others[3], others[4] = some[2], ~some[2]
    found = apart(some, others, path)
    assert found.tolist() == apart(some, others, Path.NUMPY).tolist()
    assert found[2, 3:5].tolist() == [0, 256]
    assert apart(some[:0], others, path).shape == (0, 11)


def test_a_leaning_patch_is_that_of_the_picture_turned_back() -> None:
    """By as much as it leans, so that what was turned by so much meets its upright patch."""
    grey = for_patches(picture(7, (480, 360)).convert("L"))
    kernel = patch_kernel_of()
    spots = patches_of(grey, 12, kernel).spots
    plain, leaning = patches_of(grey, 12, kernel), patches_of(grey, 12, kernel, 12)
    assert len(leaning) > len(plain)
    assert set(map(bytes, plain.bits)) <= set(map(bytes, leaning.bits))
    assert len(spots) == len(plain)
    degrees = 360 * LEANS[0] / 512
    turned = Image.fromarray(grey).rotate(-degrees, Image.Resampling.BICUBIC)
    asked = patches_of(np.asarray(turned), 40, kernel, 40)
    upright = plain.bits[~plain.is_turned]
    near = apart(upright, asked.bits[~asked.is_turned]).min(axis=1)
    nearer = apart(upright, patches_of(np.asarray(turned), 40, kernel).bits).min(axis=1)
    assert np.median(near) <= np.median(nearer)
    assert (near <= 24).sum() > (nearer <= 24).sum()


def test_votes_are_of_different_patches() -> None:
    many_on_one = np.full((5, 4), 128)
    many_on_one[:, 0] = 0
    assert votes_of(many_on_one, 36) == votes_of(many_on_one.T, 36) == 1
    assert verdict_of(many_on_one, many_on_one) is Verdict.NOTHING


def test_votes_among_all_of_many_patches_are_two_more_than_among_the_first() -> None:
    nothing = np.full((8, 240), 128)

    def said(first: int, others: int) -> Verdict:
        some = nothing.copy()
        some[range(first), range(first)] = 0
        some[range(first, first + others), range(24, 24 + others)] = 0
        return verdict_of(some, nothing)

    for others in range(6):
        for first in range(3):
            votes, all_votes = first, first + others
            is_found = votes >= 2 or all_votes >= 4
            is_match = votes >= 3 or all_votes >= 5
            wanted = Verdict.MATCH if is_match else Verdict.REVIEW if is_found else Verdict.NOTHING
            assert said(first, others) is wanted


@pytest.mark.parametrize("rule", MATCH_RULES, ids=str)
def test_a_rule_needs_all_its_votes_of_one_hand(rule: Rule) -> None:
    nothing = np.full((6, 6), 128)
    enough = np.where(np.eye(6) * (np.arange(6) < rule.votes) > 0, rule.bits_max, 128)
    assert verdict_of(enough, nothing) is verdict_of(nothing, enough) is Verdict.MATCH
    too_far = np.where(enough == rule.bits_max, rule.bits_max + 1, enough)
    assert verdict_of(too_far, nothing) is not Verdict.MATCH
    half = np.where(np.eye(6) * (np.arange(6) < 1) > 0, rule.bits_max, 128)
    assert verdict_of(half, half) is Verdict.NOTHING
