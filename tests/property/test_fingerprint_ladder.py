"""Patches meet those of the altered picture, and those of no other."""

import numpy as np
import pytest

from accord.cli.bench.robustness_alterations import Picture, altered
from accord.cli.bench.robustness_near import PAIRS
from accord.cli.demo.pictures import CAT, COFFEE, PHOTOS, ROCKET, Photo
from accord.fingerprint.ladder import LISTED_MAX, Listed, Step, asked_of, listed_of
from accord.fingerprint.rehearsal import EVERY, common_in, distances
from accord.fingerprint.votes import FRAME_BITS_MAX, FULL_BITS_MAX, Verdict, verdict_of
from accord.wire.limits import LISTING_PATCHES_MAX
from pictures_kit import opened

HARD = (
    "crop-anywhere-70",
    "crop-anywhere-50",
    "caption-20",
    "emoji-10",
    "flip",
    "rotate-5",
    "perspective",
    "collage",
    "combination-mirrored-crop",
)


@pytest.fixture(scope="module")
def listed() -> dict[str, Listed]:
    return {photo.name: listed_of(opened(photo.read())) for photo in (CAT, COFFEE, ROCKET)}


def verdict(query: Picture, listing: Listed) -> Verdict:
    asked = asked_of(query, frozenset({Step.PATCHES}))
    upright = distances(asked.patches, listing.patches)
    return verdict_of(upright, distances(asked.mirrored, listing.patches))


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("photo", [CAT, COFFEE], ids=lambda photo: photo.name)
def test_an_altered_picture_matches_its_listing_alone(
    name: str, photo: Photo, listed: dict[str, Listed]
) -> None:
    query = opened(altered(name, opened(photo.read()), 3))
    found = {other: verdict(query, listing) for other, listing in listed.items()}
    assert found.pop(photo.name) is Verdict.MATCH
    assert set(found.values()) == {Verdict.NOTHING}


def test_a_listing_of_many_patches_begins_with_those_of_one_of_few(
    listed: dict[str, Listed],
) -> None:
    """So whatever few find, many find; and which few are kept does not depend on how many are."""
    picture = opened(COFFEE.read())
    many = listed_of(picture, LISTING_PATCHES_MAX).patches
    assert len(many) == LISTING_PATCHES_MAX == len(np.unique(many, axis=0))
    assert many[:LISTED_MAX].tolist() == listed[COFFEE.name].patches.tolist()
    assert many[:40].tolist() == listed_of(picture, 40).patches.tolist()
    assert many[:10].tolist() == listed_of(picture, 10).patches.tolist()


@pytest.mark.parametrize("name", PAIRS)
def test_what_only_looks_alike_does_not_match(name: str) -> None:
    """Distinct pictures with much in common: see robustness_near."""
    one, other, alike = PAIRS[name]()
    common = common_in([listed_of(like, EVERY).patches for like in alike])
    assert (len(common) > 0) is (len(alike) > 0)
    listing = listed_of(one, common=common)
    assert verdict(other, listing) is Verdict.NOTHING
    if len(listing.patches) >= 3:
        assert verdict(one, listing) is Verdict.MATCH
    full, frame = near_bits(other, listing)
    assert full > FULL_BITS_MAX
    assert frame > FRAME_BITS_MAX


def near_bits(query: Picture, listing: Listed) -> tuple[int, int]:
    """How near the query's variants and its boxes come to the listing."""
    asked = asked_of(query, frozenset({Step.FULL, Step.FRAME}))
    own = np.frombuffer(listing.full.bits, dtype=np.uint8)[None]
    full, frame = (distances(bits, own) for bits in (asked.full, asked.frames))
    return int(full.min(initial=256)), int(frame.min(initial=256))


def test_photographs_do_not_meet(listed: dict[str, Listed]) -> None:
    for photo in PHOTOS:
        query = opened(photo.read())
        found = {name for name, listing in listed.items() if verdict(query, listing)}
        assert found <= {photo.name}


def test_a_listing_is_small_and_says_each_thing_once(listed: dict[str, Listed]) -> None:
    for listing in listed.values():
        assert 3 <= len(listing.patches) <= LISTED_MAX
        apart = distances(listing.patches, listing.patches)
        np.fill_diagonal(apart, 256)
        assert apart.min() > 70
