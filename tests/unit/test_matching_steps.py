"""Variants, frames, patches and films, from rules to reasons."""

from dataclasses import replace

import pytest

from accord.agency.founding import CEILINGS
from accord.fingerprint.types import Fingerprint, Look
from accord.matching import Answer, Context, Place, Query, build_screen
from accord.matching.decision import Decision
from accord.registry import Registry
from accord.registry.list_version import list_version
from accord.statements.batch import Listing
from accord.statements.rules import Action, Algorithm, Near, Step
from accord.wire.limits import FRAME_BITS_MAX, VARIANT_BITS_MAX
from registry_kit import A1, PLATFORM, World, clause, flip, listing, pdq_of, rule_set

EVERY = frozenset(Step)
PDQ = Near(Algorithm.PDQ, 60, 50, Action.REVIEW, alone=False)
BY_PATCHES = Near(Algorithm.PATCHES, 36, 0, Action.REVIEW, alone=False, votes=3)
BY_FILM = Near(
    Algorithm.VPDQ, 31, 0, Action.REVIEW, alone=False, query_percent=80, listed_percent=50
)
PATCHES = tuple(pdq_of(number) for number in range(100, 124))
FRAMES = tuple(pdq_of(number) for number in range(200, 210))
OTHER = pdq_of(9_999)


def world_of(*near: Near, screen: tuple[Step, ...] = tuple(sorted(Step))) -> World:
    world = World()
    # Governance would narrow what is asked for here to see that steps do.
    world.put_parameters(ceilings=tuple(replace(c, threshold_max=64) for c in CEILINGS))
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(replace(clause(), near=near), screen=screen))
    world.publish("ada", listing(1))
    world.publish("ada", Listing(A1, md5=b"\x01" * 16, patches=PATCHES))
    world.publish("ada", Listing(A1, md5=b"\x02" * 16, frames=FRAMES))
    return world


def ask(
    world: World, *looks: Look, frame: bytes = OTHER, steps: frozenset[Step] = EVERY
) -> Decision:
    frames = tuple(Fingerprint(frame, 90) for _ in looks)
    return decided(world, Query(frames=frames, looks=looks, steps=steps))


def decided(world: World, query: Query) -> Decision:
    registry: Registry = world.registry()
    screen = build_screen(registry, world.state, PLATFORM, Place(registry.size, bytes(32)))
    # The same by a screen that grew from an earlier one.
    again = build_screen(registry, world.state, PLATFORM, Place(registry.size, bytes(32)), screen)
    decision = screen.decide(query, Context())
    assert again.decide(query, Context()) == decision
    return decision


def found_by(decision: Decision) -> list[tuple[str, str, int]]:
    return [(str(r.ref), r.algorithm.value, r.distance) for r in decision.reasons]


@pytest.mark.parametrize(
    ("part", "most"), [("variants", VARIANT_BITS_MAX), ("frames", FRAME_BITS_MAX)]
)
def test_variants_and_frames_reach_no_further_than_their_step_may(part: str, most: int) -> None:
    world = world_of(PDQ)
    for bits in (0, most):
        near = Look(**{part: OTHER + flip(pdq_of(1), bits)})
        assert found_by(ask(world, near)) == [("0/0", "pdq", bits)]
    beyond = Look(**{part: flip(pdq_of(1), most + 1)})
    assert ask(world, beyond).answer is Answer.NO_MATCH
    assert found_by(ask(world, Look(), frame=flip(pdq_of(1), 60))) == [("0/0", "pdq", 60)]


def test_a_rule_set_is_met_by_the_steps_that_it_names_alone() -> None:
    world = world_of(PDQ, screen=(Step.FULL,))
    assert ask(world, Look(frames=pdq_of(1))).answer is Answer.NO_MATCH
    world.put_platform(("AT", "BE"))
    world.put_rules("BE", rule_set(replace(clause(), near=(PDQ,)), screen=(Step.FRAME,)))
    decision = ask(world, Look(frames=pdq_of(1)))
    assert {r.jurisdiction for r in decision.reasons} == {"BE"}
    assert {r.jurisdiction for r in ask(world, Look(), frame=pdq_of(1)).reasons} == {"AT"}


def test_three_patches_are_a_match_at_the_distance_of_the_third() -> None:
    world = world_of(PDQ, BY_PATCHES)
    three = flip(PATCHES[0], 5) + flip(PATCHES[7], 30) + flip(PATCHES[9], 36) + OTHER
    assert found_by(ask(world, Look(patches=three))) == [("2/0", "patches", 36)]
    assert found_by(ask(world, Look(patches=OTHER, mirrored=three))) == [("2/0", "patches", 36)]


def test_two_patches_or_one_seen_three_times_or_both_hands_together_are_none() -> None:
    world = world_of(PDQ, BY_PATCHES)
    two = PATCHES[0] + PATCHES[1]
    for look in (
        Look(patches=two + OTHER),
        Look(patches=PATCHES[0] * 3),  # Three of the query on one of the listing.
        Look(patches=b"".join(flip(PATCHES[0], n) for n in range(5))),
        Look(patches=two, mirrored=PATCHES[2]),
        Look(patches=two + flip(PATCHES[2], 37)),
    ):
        assert ask(world, look).answer is Answer.NO_MATCH
    apart = ask(world, Look(patches=two), Look(patches=PATCHES[2]))
    assert apart.answer is Answer.NO_MATCH  # Patches of two pictures of one file.


@pytest.mark.parametrize("listed", [25, 240])
def test_of_a_listing_of_many_patches_the_first_count_as_of_any(listed: int) -> None:
    world = world_of(PDQ, BY_PATCHES)
    many = tuple(pdq_of(number) for number in range(1_000, 1_000 + listed))
    world.publish("ada", Listing(A1, md5=b"\x03" * 16, patches=many))

    def met(*patches: bytes) -> list[tuple[str, str, int]]:
        return found_by(ask(world, Look(patches=b"".join(patches))))

    assert met(*many[21:24]) == [("6/0", "patches", 0)]
    assert met(many[0], many[1], many[24]) == []
    assert met(many[0], many[1], *many[24:26]) == []
    # The nearest of both ways to count: three of the first, or five of all.
    far = flip(many[2], 20)
    assert met(many[0], many[1], far, *many[24:28]) == [
        ("6/0", "patches", 20 if listed == 25 else 0)
    ]
    assert met(*PATCHES[:3], many[0], many[24]) == [("2/0", "patches", 0)]


def test_places_in_a_listing_are_its_own_in_base_and_delta() -> None:
    """What comes after the index was built is counted by its first patches alike."""
    world = world_of(PDQ, BY_PATCHES)
    registry: Registry = world.registry()
    place = Place(registry.size, bytes(32))
    earlier = build_screen(registry, world.state, PLATFORM, place)
    many = tuple(pdq_of(number) for number in range(1_000, 1_100))
    for seed in (3, 4):
        own = many[50 * (seed - 3) : 50 * (seed - 2)]
        world.publish("ada", Listing(A1, md5=bytes([seed]) * 16, patches=own))
    registry = world.registry()
    place = Place(registry.size, bytes(32))
    for before in (None, earlier):
        screen = build_screen(registry, world.state, PLATFORM, place, before)
        for first, ref in ((0, "6/0"), (50, "8/0")):
            for some, answer in (
                (many[first + 21 : first + 24], [ref]),
                (many[first + 24 : first + 27], []),
            ):
                query = Query(
                    frames=(Fingerprint(OTHER, 90),),
                    looks=(Look(patches=b"".join(some)),),
                    steps=EVERY,
                )
                assert [str(r.ref) for r in screen.decide(query, Context()).reasons] == answer


def test_a_query_that_was_not_asked_with_patches_was_not_looked_at() -> None:
    world = world_of(PDQ, BY_PATCHES)
    missed = ask(world, Look(), steps=frozenset({Step.FULL, Step.FRAME}))
    assert (missed.answer, missed.code) == (Answer.UNDETERMINED, "query.step_lacking")
    assert ask(world, Look()).answer is Answer.NO_MATCH


def test_a_film_is_met_by_its_share_of_frames_on_both_sides() -> None:
    world = world_of(PDQ, BY_FILM)

    def film(count: int, others: int = 0) -> Query:
        shown = [flip(bits, 3) for bits in FRAMES[:count]]
        shown += [pdq_of(5_000 + n) for n in range(others)]
        frames = tuple(Fingerprint(bits, 90) for bits in shown)
        return Query(frames=frames, looks=(Look(),) * len(frames), steps=EVERY)

    assert found_by(decided(world, film(5))) == [("4/0", "vpdq", 3)]  # Half of the listing's.
    assert decided(world, film(4)).answer is Answer.NO_MATCH
    assert decided(world, film(8, 2)).answer is Answer.MATCH  # Four fifths of the query's.
    assert decided(world, film(7, 2)).answer is Answer.NO_MATCH
    mirrored = Query(
        frames=tuple(Fingerprint(pdq_of(6_000 + n), 90) for n in range(5)),
        looks=tuple(Look(variants=bits) for bits in FRAMES[:5]),
        steps=EVERY,
    )
    assert decided(world, mirrored).answer is Answer.MATCH


def test_a_frame_within_bars_is_the_same_frame() -> None:
    """Ten frames, each asked with as a whole, which is another, and within its bars."""
    world = world_of(PDQ, BY_FILM)
    inner = [Look(frames=flip(bits, 3) + pdq_of(7_500 + n)) for n, bits in enumerate(FRAMES)]

    def film(count: int) -> Query:
        frames = tuple(Fingerprint(pdq_of(7_000 + n), 90) for n in range(10))
        looks = tuple(inner[:count]) + (Look(),) * (10 - count)
        return Query(frames=frames, looks=looks, steps=EVERY)

    assert found_by(decided(world, film(8))) == [("4/0", "vpdq", 3)]
    assert decided(world, film(7)).answer is Answer.NO_MATCH
    both = Query(  # Four of ten that meet two frames each, by both of their values, are four.
        frames=tuple(Fingerprint(bits, 90) for bits in FRAMES[:4])
        + tuple(Fingerprint(pdq_of(7_000 + n), 90) for n in range(6)),
        looks=tuple(Look(frames=bits) for bits in FRAMES[4:8]) + (Look(),) * 6,
        steps=EVERY,
    )
    assert decided(world, both).answer is Answer.NO_MATCH


def test_a_picture_meets_a_films_frame_only_where_a_rule_says_so() -> None:
    picture = Query(frames=(Fingerprint(FRAMES[3], 90),), looks=(Look(),), steps=EVERY)
    assert decided(world_of(PDQ, BY_FILM), picture).answer is Answer.NO_MATCH
    anywhere = replace(BY_FILM, query_percent=100, listed_percent=0)
    assert found_by(decided(world_of(PDQ, anywhere), picture)) == [("4/0", "vpdq", 0)]


def test_what_is_withdrawn_or_not_certified_is_met_by_no_step() -> None:
    world = world_of(PDQ, BY_PATCHES)
    world.withdraw("ada", 2, 0)
    assert ask(world, Look(patches=b"".join(PATCHES))).answer is Answer.NO_MATCH
    world = world_of(PDQ, BY_PATCHES)
    asked = replace(clause(agencies=2, level=1), near=(PDQ, BY_PATCHES))
    world.put_rules("AT", rule_set(asked, screen=tuple(sorted(Step))))
    assert ask(world, Look(patches=b"".join(PATCHES))).answer is Answer.NO_MATCH
    world.endorse("bea", 2)
    assert ask(world, Look(patches=b"".join(PATCHES))).answer is Answer.MATCH


def test_a_digest_that_others_list_vouches_for_nothing_that_stands_beside_it() -> None:
    """One agency puts a fingerprint and patches of its choice beside what is widely listed."""
    world = World()
    world.put_platform(("AT",))
    asked = replace(clause(agencies=2, sovereigns=2, level=0), near=(BY_PATCHES, PDQ))
    world.put_rules("AT", rule_set(asked, screen=tuple(sorted(Step))))
    known = b"\x07" * 16
    mixed = Listing(A1, md5=known, pdq=pdq_of(1), pdq_quality=90, patches=PATCHES)
    world.publish("ada", mixed)
    world.publish("bea", Listing(A1, md5=known, pdq=pdq_of(2), pdq_quality=90))
    by_digest = Query(digests=((Algorithm.MD5, known),), steps=EVERY)
    assert {str(r.ref) for r in decided(world, by_digest).reasons} == {"0/0", "2/0"}
    for frame in (pdq_of(1), pdq_of(2)):
        assert ask(world, Look(), frame=frame).answer is Answer.NO_MATCH
    assert ask(world, Look(patches=b"".join(PATCHES))).answer is Answer.NO_MATCH
    # Who lists the very fingerprint, or endorses the listing, vouches for it.
    world.publish("cyd", Listing(A1, pdq=pdq_of(2), pdq_quality=70))
    seen = ask(world, Look(), frame=pdq_of(2))
    assert {str(r.ref) for r in seen.reasons} == {"2/0", "4/0"}
    assert {who.agency for r in seen.reasons for who in r.certifiers} == {"bea", "cyd"}
    world.endorse("cyd", 0, level=0)
    assert ask(world, Look(patches=b"".join(PATCHES))).answer is Answer.MATCH


def test_a_digest_confirms_only_where_it_is_vouched_for_itself() -> None:
    """One agency alone puts a look-alike's digest beside a fingerprint that two list."""
    world = World()
    world.put_platform(("AT",))
    strict = Near(Algorithm.PDQ, 31, 50, Action.BLOCK, alone=False)
    world.put_rules("AT", rule_set(replace(clause(agencies=2, level=0), near=(strict,))))
    other = b"\x05" * 32
    world.publish("ada", Listing(A1, pdq=pdq_of(1), pdq_quality=90, sha256=other))
    world.publish("bea", listing(1))
    frame = (Fingerprint(flip(pdq_of(1), 4), 90),)
    query = Query(digests=((Algorithm.SHA256, other),), frames=frame)
    assert decided(world, query).action is Action.REVIEW
    world.publish("cyd", Listing(A1, sha256=other))
    assert decided(world, query).action is Action.BLOCK


def test_a_film_among_other_pictures_has_its_reasons_and_duties() -> None:
    world = world_of(PDQ, BY_FILM)
    film = [Fingerprint(bits, 90) for bits in FRAMES]
    others = [Fingerprint(pdq_of(7_000 + n), 90) for n in range(10)]
    members = (1,) * len(film) + (2,) * len(others)
    frames = (*film, *others)
    looks = (Look(),) * len(frames)
    decision = decided(world, Query(frames=frames, looks=looks, members=members, steps=EVERY))
    assert (decision.answer, decision.members) == (Answer.MATCH, (1,))
    assert found_by(decision) == [("4/0", "vpdq", 0)]
    assert (decision.listings, decision.duties.preserve_days) == (1, 90)
    assert decision.duties.reports


@pytest.mark.parametrize("near", [BY_PATCHES, BY_FILM])
def test_a_clause_by_patches_or_films_alone_is_looked_at(near: Near) -> None:
    world = world_of(near)
    assert ask(world, Look()).answer is Answer.NO_MATCH


def test_a_list_has_another_version_when_another_value_is_vouched_for() -> None:
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(replace(clause(agencies=3, level=0), near=(PDQ,))))
    mixed = Listing(A1, md5=b"\x07" * 16, pdq=pdq_of(1), pdq_quality=90)
    world.publish("ada", mixed)
    world.endorse("ben", 0, level=0)
    world.publish("bea", Listing(A1, md5=b"\x07" * 16))
    last = world.publish("cyd", listing(1))
    before = world.obligations()
    assert ask(world, Look(), frame=pdq_of(1)).answer is Answer.MATCH
    world.withdraw("cyd", last, 0)
    after = world.obligations()
    assert ask(world, Look(), frame=pdq_of(1)).answer is Answer.NO_MATCH
    assert list_version(after).digest != list_version(before).digest
