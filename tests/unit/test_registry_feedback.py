"""Which of a platform's words count, how often, and what agencies see of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.ledger.state import COMPROMISES, CompromiseRow
from accord.registry.feedback import (
    By,
    FeedbackFold,
    Only,
    Uncounted,
    count_feedback,
    weigh,
)
from accord.registry.listings import registry_digest
from accord.registry.views import listing_view
from accord.statements.feedback import REASONS, Reason
from accord.wire.errors import Broken
from accord.wire.ids import GroupId, KeyId, ListingRef, MemberId, TimeMs
from feedback_kit import word
from registry_kit import B2, NOW, PLATFORM, World, clause, listing, rule_set

ADA, BEA, DRIVE = MemberId("ada"), MemberId("bea"), MemberId("drive")


@pytest.fixture
def world() -> World:
    """Batch 0 of ada (three listings), batch 2 of bea (one); two platforms."""
    made = World()
    made.publish("ada", listing(1), listing(2, B2), listing(3))
    made.publish("bea", listing(4))
    made.put_platform(name=DRIVE)
    return made


def by(world: World, *names: By, only: Only | None = None) -> list[tuple[object, ...]]:
    """(listing, agency, algorithm, platform, affirmative, negative, false positives)."""
    return [
        (
            item.listing and str(item.listing),
            item.agency,
            item.algorithm,
            item.platform,
            item.affirmative,
            item.negative,
            item.false_positives,
        )
        for item in count_feedback(world.weighed(), names, only)
    ]


def test_words_are_counted_by_listing_agency_algorithm_and_platform(world: World) -> None:
    world.feedback(
        word("0/0", Reason.CONFIRMED),
        word("0/0", Reason.FALSE_NEAR, "pdq"),
        word("2/0", Reason.OTHER_CATEGORY),
    )
    world.feedback(
        word("0/0", Reason.FALSE_NEAR, "pdq"), word("0/2", Reason.CONFIRMED), platform=DRIVE
    )
    assert by(world) == [(None, None, None, None, 2, 3, 2)]
    assert by(world, By.LISTING) == [
        ("0/0", ADA, None, None, 1, 2, 2),
        ("2/0", BEA, None, None, 0, 1, 0),
        ("0/2", ADA, None, None, 1, 0, 0),
    ]
    assert by(world, By.AGENCY) == [
        (None, ADA, None, None, 2, 2, 2),
        (None, BEA, None, None, 0, 1, 0),
    ]
    assert by(world, By.ALGORITHM) == [
        (None, None, "pdq", None, 0, 2, 2),
        (None, None, "sha256", None, 2, 1, 0),
    ]
    assert by(world, By.PLATFORM, only=Only(algorithm="pdq")) == [
        (None, None, None, "cloud", 0, 1, 1),
        (None, None, None, DRIVE, 0, 1, 1),
    ]
    (total,) = count_feedback(world.weighed(), only=Only(listing=ListingRef(0, 0)))
    assert (total.platforms, total.of(Reason.CONFIRMED)) == (2, 1)
    assert by(world, only=Only(agency=BEA, platform=DRIVE)) == []


def test_a_platform_that_repeats_itself_counts_once(world: World) -> None:
    for days in range(3):
        world.clock_ms = 86_400_000 * days
        world.feedback(word("0/0", Reason.NOT_CSAM), word("0/1", Reason.NOT_CSAM))
    first = NOW + 4
    found = count_feedback(world.weighed(), [By.LISTING])
    assert [(str(item.listing), item.negative, item.first_ms) for item in found] == [
        ("0/0", 1, first),
        ("0/1", 1, first),
    ]
    world.feedback(word("0/0", Reason.NOT_CSAM), platform=DRIVE)
    assert by(world, By.LISTING)[0] == ("0/0", ADA, None, None, 0, 2, 2)


def test_a_word_about_what_is_not_there_or_not_for_the_platform_counts_nowhere(
    world: World,
) -> None:
    private = world.publish("ada", listing(7), groups=(GroupId("others"),))
    world.feedback(
        word("0/0"),
        word("0/3"),  # The batch has three.
        word("1/0"),  # An approval.
        word("99/0"),  # Later than the word itself.
        word(f"{private}/0", Reason.NOT_CSAM),
    )
    late = len(world.entries) + 1
    world.feedback(word(f"{late}/0", Reason.NOT_CSAM))
    world.publish("ada", listing(8))
    assert by(world, By.LISTING) == [("0/0", ADA, None, None, 1, 0, 0)]
    assert world.weighed().uncounted == (
        Uncounted(PLATFORM, "not-released", 1),
        Uncounted(PLATFORM, "unknown", 4),
    )


def test_what_does_not_open_is_counted_and_named_and_stops_nothing(world: World) -> None:
    world.feedback(unopened="feedback.wrap")
    world.feedback(unopened="not_released", platform=DRIVE)
    world.feedback(unopened="feedback.wrap")
    world.feedback(word("0/0"))
    weighed = world.weighed()
    assert weighed.unopened == (
        Uncounted(PLATFORM, "feedback.wrap", 2),
        Uncounted(DRIVE, "not_released", 1),
    )
    assert by(world) == [(None, None, None, None, 1, 0, 0)]


def test_what_a_stolen_key_said_does_not_count(world: World) -> None:
    world.key = KeyId(b"\x01" * 16)
    world.feedback(word("0/0"))
    world.feedback(word("0/1"))
    world.put(COMPROMISES, world.key, CompromiseRow(PLATFORM, TimeMs(NOW + 5)))
    assert by(world, By.LISTING) == [("0/0", ADA, None, None, 1, 0, 0)]
    assert world.weighed().uncounted == (Uncounted(PLATFORM, "void", 1),)


def test_a_flood_moves_no_obligation_and_no_digest(world: World) -> None:
    world.put_rules("AT", rule_set(clause()))
    before, digest = world.active(), registry_digest(world.registry().snapshot())
    size = world.registry().snapshot().size
    world.feedback(*(word(f"0/{n}", Reason.NOT_CSAM) for n in range(3)), platform=DRIVE)
    world.feedback(*(word(f"{n}/0", Reason.NOT_CSAM) for n in range(1_000)))
    assert before
    assert world.active() == before
    same = replace(world.registry().snapshot(), size=size)
    assert registry_digest(same) == digest


def test_a_listing_shows_what_platforms_say_of_it(world: World) -> None:
    world.feedback(word("0/0", Reason.FALSE_NEAR, "pdq"), word("0/1"))
    view = listing_view(world.registry().snapshot(), ListingRef(0, 0), world.weighed())
    (said,) = view.feedback
    assert (said.algorithm, said.platform, said.false_positives) == ("pdq", PLATFORM, 1)
    assert listing_view(world.registry().snapshot(), ListingRef(0, 0)).feedback == ()


def test_nothing_said_and_nothing_listed_are_no_error() -> None:
    nobody = World()
    assert by(nobody, By.LISTING) == []
    nobody.feedback(word("0/0"))
    assert by(nobody) == []
    assert nobody.weighed().uncounted == (Uncounted(PLATFORM, "unknown", 1),)


def test_entries_are_folded_in_order_once(world: World) -> None:
    fold = FeedbackFold()
    fold.fold_all(world.entries)
    with pytest.raises(Broken, match=r"registry.order"):
        fold.fold(world.entries[0])


WORDS = st.builds(
    lambda at, reason, algorithm: word(f"0/{at}", reason, algorithm),
    st.integers(0, 4),
    st.sampled_from(Reason),
    st.sampled_from(["", "pdq", "md5"]),
)


@given(st.lists(st.tuples(st.booleans(), st.lists(WORDS, min_size=1, max_size=4)), max_size=8))
def test_counts_are_those_of_a_plain_count(
    said: list[tuple[bool, list]],  # type: ignore[type-arg]  # Words.
) -> None:
    world = World()
    world.publish("ada", listing(1), listing(2), listing(3))
    world.put_platform(name=DRIVE)
    wanted = set()
    for is_drive, words in said:
        name = DRIVE if is_drive else PLATFORM
        world.feedback(*words, platform=name)
        wanted |= {(name, item) for item in words if item.ref.ordinal < 3}
    found = count_feedback(world.weighed(), By)
    got = {
        (item.platform, item.algorithm, item.listing, reason, item.of(reason))
        for item in found
        for reason in REASONS
        if item.of(reason)
    }
    plain = {(name, w.algorithm, w.ref, w.reason, 1) for name, w in wanted}
    assert got == plain
    half = FeedbackFold()
    half.fold_all(world.entries)
    assert count_feedback(weigh(half.said(), world.registry().snapshot(), world.state), By) == found
