"""The registry as people see it."""

import pytest

from accord.registry.listings import Kind
from accord.registry.views import (
    Count,
    Found,
    OpinionView,
    Status,
    counts,
    find,
    listed_rows,
    listing_view,
)
from accord.statements.batch import Listing
from accord.wire.errors import Malformed
from accord.wire.ids import ListingRef, MemberId
from registry_kit import A1, B2, NOW, World, flip, listing, pdq_of

ADA, BEA = MemberId("ada"), MemberId("bea")


def test_a_listing_tells_its_story_without_its_fingerprint() -> None:
    world = World()
    entry = world.publish("ada", listing(1), listing(2, B2, quality=70))
    endorsed = world.endorse("bea", entry, level=1, first=1)
    disputed = world.dispute("cyd", entry, first=0, count=2)
    world.publish("bea", listing(2))
    view = listing_view(world.registry().snapshot(), ListingRef(entry, 1))
    assert (view.publisher, view.class_code, view.status) == (ADA, B2, Status.DISPUTED)
    assert (view.schemes, view.pdq_quality) == (("pdq",), 70)
    assert (view.published_ms, view.approved_entry) == (NOW + entry, entry + 1)
    assert view.equal_to == (ListingRef(4, 0),)
    assert view.opinions == (
        OpinionView(endorsed, NOW + endorsed, BEA, Kind.ENDORSE, "1"),
        OpinionView(disputed, NOW + disputed, MemberId("cyd"), Kind.DISPUTE, "not-csam"),
    )
    assert pdq_of(2).hex() not in repr(view)
    with pytest.raises(Malformed, match=r"registry\.ref_unknown"):
        listing_view(world.registry().snapshot(), ListingRef(entry, 2))


def test_counts_are_by_agency_class_and_status() -> None:
    world = World()
    assert counts(world.registry().snapshot()) == ()
    entry = world.publish("ada", listing(1), listing(2), listing(3, B2), listing(4))
    world.withdraw("ada", entry, first=1)
    world.dispute("bea", entry, first=3)
    world.publish("bea", listing(9), approved=False)
    snapshot = world.registry().snapshot()
    assert counts(snapshot) == (
        Count(ADA, A1, Status.DISPUTED, 1),
        Count(ADA, A1, Status.LISTED, 1),
        Count(ADA, A1, Status.WITHDRAWN, 1),
        Count(ADA, B2, Status.LISTED, 1),
        Count(BEA, A1, Status.PROPOSED, 1),
    )
    assert list(listed_rows(snapshot)) == [0, 2, 3]


def test_find_by_digest_and_by_distance() -> None:
    world = World()
    near = Listing(A1, pdq=flip(pdq_of(1), 31), pdq_quality=90, sha1=b"\7" * 20)
    world.publish("ada", near, listing(1), listing(5))
    snapshot = world.registry().snapshot()
    assert find(snapshot, "sha1", b"\7" * 20) == (Found(0, ListingRef(0, 0)),)
    assert find(snapshot, "md5", bytes(16)) == ()
    assert find(snapshot, "pdq", pdq_of(1)) == (Found(0, ListingRef(0, 1)),)
    assert find(snapshot, "pdq", pdq_of(1), 30) == (Found(0, ListingRef(0, 1)),)
    assert find(snapshot, "pdq", pdq_of(1), 31) == (
        Found(0, ListingRef(0, 1)),
        Found(31, ListingRef(0, 0)),
    )
    with pytest.raises(Malformed, match=r"registry\.value"):
        find(snapshot, "pdq", bytes(16))
