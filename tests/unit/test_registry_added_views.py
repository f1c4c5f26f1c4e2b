"""Patches and frames: with a listing, and added to one that is there already."""

import numpy as np
import pytest

from accord.ledger.state import COMPROMISES, CompromiseRow
from accord.registry import registry_digest
from accord.registry.listings import Snapshot
from accord.statements.batch import Listing, batch_of, encode_batch, listings_of, parse_batch
from accord.wire.errors import Malformed
from accord.wire.ids import KeyId, ListingRef, MemberId, TimeMs
from registry_kit import A1, World, clause, listing, pdq_of, rule_set

PATCHES = tuple(pdq_of(number) for number in range(100, 124))
FRAMES = tuple(pdq_of(number) for number in range(200, 203))


def with_patches(seed: int, count: int = 24) -> Listing:
    return Listing(A1, pdq=pdq_of(seed), pdq_quality=90, patches=PATCHES[:count])


def added(entry: int, ordinal: int = 0, patches: tuple[bytes, ...] = PATCHES) -> Listing:
    return Listing(A1, patches=patches, of=ListingRef(entry, ordinal))


def patches_of(snapshot: Snapshot, row: int) -> list[bytes]:
    return [value.tobytes() for value in snapshot.views["patches"].values_of(row)]


def test_a_batch_keeps_each_rows_own_views() -> None:
    rows = [
        with_patches(1, 3),
        listing(2),
        Listing(A1, md5=bytes(range(16)), frames=FRAMES, patches=PATCHES[3:5]),
        added(7, 2),
    ]
    batch = batch_of(rows)
    assert listings_of(parse_batch(encode_batch(batch))) == rows


@pytest.mark.parametrize(
    "rows",
    [
        [Listing(A1, patches=PATCHES)],  # Nothing that a file is known by.
        [Listing(A1, of=ListingRef(1, 0))],  # Adds nothing.
        [Listing(A1, md5=bytes(16), patches=PATCHES, of=ListingRef(1, 0))],  # Both at once.
        [Listing(A1, md5=bytes(16), patches=(PATCHES[0], PATCHES[0]))],  # One of them twice.
        [Listing(A1, md5=bytes(16), frames=tuple(pdq_of(n) for n in range(256)))],
    ],
)
def test_a_row_that_is_neither_a_listing_nor_adds_to_one_is_refused(rows: list[Listing]) -> None:
    with pytest.raises(Malformed, match=r"batch\.|record\."):
        batch_of(rows)


def test_views_lie_at_their_rows_however_they_came() -> None:
    world = World()
    world.publish("ada", with_patches(1, 3), listing(2))
    entry = world.publish("ada", listing(3))
    world.publish("ada", added(entry))
    snapshot = world.registry().snapshot()
    assert patches_of(snapshot, 0) == list(PATCHES[:3])
    assert patches_of(snapshot, 1) == []
    assert patches_of(snapshot, 3) == list(PATCHES)
    assert not snapshot.withdrawn.whole().any()


def test_what_is_said_against_a_listing_is_said_of_what_was_added_to_it() -> None:
    world = World()
    entry = world.publish("ada", listing(1), listing(2))
    world.publish("ada", added(entry, 0), added(entry, 1))
    world.endorse("bea", entry, 1)
    world.dispute("cyd", entry, 0)
    world.withdraw("ada", entry, 1)
    snapshot = world.registry().snapshot()
    assert [int(mask) for mask in snapshot.endorsed[1].whole()] == [
        int(snapshot.endorsed[1][0]),
        0,
        0,
        0,
    ]
    assert snapshot.disputed[2] == snapshot.disputed[0] != 0
    assert snapshot.withdrawn.whole().tolist() == [False, True, False, True]


@pytest.mark.parametrize("case", ["unknown", "another's", "chained", "withdrawn", "disputed"])
def test_views_of_what_cannot_take_any_are_withdrawn_from_the_start(case: str) -> None:
    world = World()
    entry = world.publish("bea" if case == "another's" else "ada", listing(1))
    if case == "withdrawn":
        world.withdraw("ada", entry, 0)
    if case == "disputed":
        world.dispute("bea", entry, 0)
    if case == "chained":
        entry = world.publish("ada", added(entry))
    world.publish("ada", added(entry, 5 if case == "unknown" else 0))
    snapshot = world.registry().snapshot()
    assert bool(snapshot.withdrawn.whole()[-1])


def test_the_digest_of_a_registry_covers_views() -> None:
    worlds = World(), World()
    for world, count in zip(worlds, (3, 4), strict=True):
        world.publish("ada", with_patches(1, count))
    one, other = (registry_digest(world.registry().snapshot()) for world in worlds)
    assert one != other


def test_what_was_refused_stays_so_when_a_key_turns_out_stolen() -> None:
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(clause()))
    entry = world.publish("ada", listing(1))
    world.withdraw("ada", entry, 0)
    more = world.publish("ada", added(entry))
    thief = KeyId(b"\x09" * 16)
    world.key, honest = thief, world.key
    world.withdraw("ada", more, 0)
    world.key = honest
    world.put(COMPROMISES, thief, CompromiseRow(MemberId("ada"), TimeMs(0)))
    assert world.active() == []


def test_a_batch_adds_to_none_of_its_own_rows() -> None:
    world = World()
    old = world.publish("ada", listing(1))
    here = len(world.entries)
    world.publish("ada", added(here, 1), added(old, 0))
    assert world.registry().snapshot().withdrawn.at(np.arange(3)).tolist() == [False, True, False]
