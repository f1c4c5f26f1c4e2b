"""A listing keeps means of what it rehearsed, and nothing that anybody's shapes look like."""

import hashlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from accord.cli.demo.pictures import CAT, COFFEE, Photo
from accord.fingerprint.dihedral import bits_of
from accord.fingerprint.ladder import listed_of
from accord.fingerprint.patches import Patches, patches_of
from accord.fingerprint.patches_native import apart, patch_kernel_of
from accord.fingerprint.pdq import SIDE, Floats
from accord.fingerprint.plain import PLAIN, is_plain
from accord.fingerprint.rehearsal import NO_BITS, meant
from accord.fingerprint.resample import for_patches, grey_of
from accord.fingerprint.spots import SPOT
from pictures_kit import opened

SCRIPT = Path(__file__).parents[2] / "scripts/plain_patches.py"
UNSEEN = 1_000_000  # Pages of this number and beyond are in no table.


def patches_on(picture: Image.Image) -> Patches:
    return patches_of(for_patches(grey_of(picture)), 100, patch_kernel_of())


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("plain_patches", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_the_one_that_was_measured() -> None:
    assert PLAIN.shape == (32_768, 32)
    assert len(np.unique(PLAIN, axis=0)) == len(PLAIN)
    assert hashlib.sha256(PLAIN.tobytes()).hexdigest()[:16] == "cda39fce9851e2f4"


@pytest.mark.parametrize("kind", range(3))
def test_pages_that_were_never_drawn_are_plain_all_the_same(kind: int, script: ModuleType) -> None:
    found = [patches_on(script.page(kind, UNSEEN + number)).bits for number in range(12)]
    assert is_plain(np.concatenate(found)).mean() > 0.5


@pytest.mark.parametrize("photo", [CAT, COFFEE], ids=lambda photo: photo.name)
def test_a_photograph_is_not_plain_and_its_listing_nowhere(photo: Photo) -> None:
    picture = opened(photo.read())
    assert is_plain(patches_on(picture).bits).mean() < 0.4
    listed = listed_of(picture).patches
    assert len(listed) == 24
    assert not is_plain(listed).any()


def test_no_patch_and_one_of_the_table() -> None:
    assert is_plain(NO_BITS).shape == (0,)
    away = np.random.default_rng(1).integers(0, 256, (1, 32), dtype=np.uint8)
    assert is_plain(np.concatenate([PLAIN[:1], away])).tolist() == [True, False]


def noisy(patch: Floats, noise: float, random: np.random.Generator) -> Floats:
    return (patch + random.normal(0, noise, patch.shape)).astype(np.float32)


def view_of(frequencies: Floats) -> Patches:
    count = len(frequencies)
    bits = bits_of(frequencies)
    spots = np.zeros(count, SPOT)
    turned, quality = np.zeros(count, bool), np.full(count, 99, np.int32)
    return Patches(bits, bits, frequencies, turned, spots, quality)


def test_a_mean_is_nearer_to_the_next_copy_than_the_original_is() -> None:
    random = np.random.default_rng(5)
    true = random.normal(0, 1, (6, SIDE, SIDE))
    original = noisy(true, 0.2, random)
    views = [view_of(noisy(true * 10**power, 0.2 * 10**power, random)) for power in range(-3, 4)]
    following = bits_of(noisy(true, 0.2, random))
    before = np.diag(apart(bits_of(original), following))
    after = np.diag(apart(meant(original, views), following))
    assert after.sum() < 0.8 * before.sum()


def test_a_mean_takes_nothing_from_what_is_far_and_needs_no_view() -> None:
    random = np.random.default_rng(6)
    one, others = (random.normal(0, 1, (n, SIDE, SIDE)).astype(np.float32) for n in (1, 9))
    flat = np.zeros((1, SIDE, SIDE), np.float32)
    empty = view_of(others[:0])
    assert (meant(one, [view_of(others), empty]) == bits_of(one)).all()
    assert (meant(flat, [view_of(flat)]) == bits_of(flat)).all()
    assert len(meant(one[:0], [view_of(others)])) == 0
