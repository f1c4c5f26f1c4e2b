"""Disputes that lapse, are renewed or upheld; keys that are void; values that show nothing."""

from dataclasses import replace

import pytest

from accord.ledger.state import COMPROMISES, CompromiseRow, Standing
from accord.registry import certifiers
from accord.statements.batch import Listing
from accord.statements.gates import PLACEHOLDERS, check_listing
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, KeyId, MemberId, TimeMs
from registry_kit import A1, NOW, World, clause, listing, pdq_of, rule_set

LIFE = 1_000
AT = JurisdictionId("AT")
STOLEN = KeyId(b"\5" * 16)


def disputed_world(agency: str = "ada") -> World:
    """A listing of bea's in AT, and a dispute about it."""
    world = World()
    world.put_parameters(dispute_life_ms=LIFE)
    for name in ("AT", "CY"):
        world.put_rules(name, rule_set(clause(1, 1)))
    world.publish("bea", listing(1))
    world.dispute(agency, 0)
    return world


def seen(world: World, at_ms: int, jurisdiction: str = "AT") -> list[int]:
    """The status of row 0 at so long after the first entry."""
    found = world.obligations(NOW + at_ms).by_jurisdiction[JurisdictionId(jurisdiction)]
    return list(found.clauses[0].status[:1])


def test_a_dispute_lapses_unless_it_is_renewed() -> None:
    world = disputed_world()
    assert [seen(world, at) for at in (2, LIFE + 1, LIFE + 2)] == [[2], [2], [1]]
    world.clock_ms = LIFE + 500
    world.dispute("ada", 0)
    assert seen(world, 2 * LIFE) == [2]
    assert seen(world, 3 * LIFE) == [1]


def test_a_dispute_that_its_publisher_agrees_with_or_enough_share_stays() -> None:
    agreed = disputed_world()
    agreed.dispute("bea", 0)
    shared = disputed_world()
    shared.dispute("cyd", 0)
    for world in (agreed, shared):
        assert [seen(world, 10 * LIFE, name) for name in ("AT", "CY")] == [[2], [2]]


def test_disputes_of_two_lives_do_not_add_up() -> None:
    world = disputed_world("cyd")
    world.clock_ms = LIFE + 500
    world.dispute("ada", 0)
    assert seen(world, LIFE + 600, "CY") == [1]
    assert seen(world, LIFE + 600, "AT") == [2]
    assert seen(world, 9 * LIFE) == [1]


def test_one_agency_that_says_it_again_is_not_two() -> None:
    world = disputed_world()
    for _ in range(5):
        world.dispute("ada", 0)
    assert seen(world, 2 * LIFE) == [1]


def endorsed_world() -> World:
    """A listing of ada's that bea endorsed by a key, and two agencies are asked for."""
    world = World()
    world.put_rules("AT", rule_set(clause(2, 2, 1)))
    world.publish("ada", listing(1))
    world.key = STOLEN
    world.endorse("bea", 0, 1)
    return world


@pytest.mark.parametrize(("since", "active"), [(NOW, []), (NOW + 2, []), (NOW + 3, ["0/0"])])
def test_what_a_void_key_endorsed_since_then_does_not_count(since: int, active: list[str]) -> None:
    world = endorsed_world()
    world.put(COMPROMISES, STOLEN, CompromiseRow(MemberId("bea"), TimeMs(since)))
    assert world.active() == active


def test_what_the_agency_says_again_with_another_key_counts() -> None:
    world = endorsed_world()
    world.put(COMPROMISES, STOLEN, CompromiseRow(MemberId("bea"), TimeMs(NOW)))
    world.key = KeyId(b"\6" * 16)
    again = world.endorse("bea", 0, 2)
    assert world.active() == ["0/0"]
    found = world.obligations()
    named = certifiers(found, found.by_jurisdiction[AT].clauses[0], 0)
    assert [who.entry for who in named] == [0, again]


@pytest.mark.parametrize("spoke", ["publish", "approve", "dispute", "withdraw"])
def test_nothing_that_a_void_key_said_counts(spoke: str) -> None:
    world = World()
    world.put_rules("AT", rule_set(clause(1, 1)))

    def say(kind: str) -> None:
        world.key = STOLEN if kind == spoke else KeyId(bytes(16))
        match kind:
            case "publish":
                world.publish("ada", listing(1), approved=False)
            case "approve":
                world.approve("ada", 0)
            case "dispute":
                world.dispute("ada", 0)
            case _:
                world.withdraw("ada", 0)

    say("publish")
    say("approve")
    if spoke in {"dispute", "withdraw"}:
        say(spoke)
    before = world.active()
    world.put(COMPROMISES, STOLEN, CompromiseRow(MemberId("ada"), TimeMs(NOW)))
    after = world.active()
    assert (before, after) == {
        "publish": (["0/0"], []),
        "approve": (["0/0"], []),
        "dispute": (["0/0?"], ["0/0"]),
        "withdraw": ([], ["0/0"]),
    }[spoke]


def test_a_withdrawal_by_a_sound_key_stays_though_a_void_one_said_it_too() -> None:
    world = World()
    world.put_rules("AT", rule_set(clause(1, 1)))
    world.publish("ada", listing(1), listing(2))
    world.key = STOLEN
    world.withdraw("ada", 0, 0, 2)
    world.key = KeyId(bytes(16))
    world.withdraw("ada", 0)
    world.put(COMPROMISES, STOLEN, CompromiseRow(MemberId("ada"), TimeMs(NOW)))
    assert world.active() == ["0/1"]


@pytest.mark.parametrize(
    ("scheme", "value"), [(scheme, values[0]) for scheme, values in PLACEHOLDERS.items()]
)
def test_a_value_that_shows_nothing_is_refused_and_never_active(scheme: str, value: bytes) -> None:
    sound = Listing(A1, pdq=pdq_of(1), pdq_quality=90)
    check_listing(sound)
    blank = replace(sound, **{scheme: value})
    with pytest.raises(Malformed, match=r"listing\.(placeholder|flat|empty_file)"):
        check_listing(blank)
    world = World()
    world.put_rules("AT", rule_set(clause(1, 1)))
    world.publish("ada", blank, sound)
    assert world.active() == ["0/1"]


@pytest.mark.parametrize("byte", [0x01, 0xFE])
def test_a_flat_picture_is_refused(byte: int) -> None:
    with pytest.raises(Malformed, match=r"listing\.flat"):
        check_listing(Listing(A1, pdq=bytes([byte]) * 32, pdq_quality=90))


def test_disputes_of_an_agency_that_left_do_not_count() -> None:
    world = disputed_world("cyd")
    world.put_agency("cyd", "CY", 3, standing=Standing.REMOVED)
    assert seen(world, 10, "CY") == [1]


def test_a_rule_with_release_groups_counts_only_what_reached_them() -> None:
    inner = GroupId("inner")
    world = World()
    world.put_platform(("AT", "BE"), (GroupId("clouds"), inner))
    world.put_rules("AT", rule_set(clause(2, 2), groups=(inner,)))
    world.put_rules("BE", rule_set(clause(2, 2)))
    world.publish("ada", listing(1), groups=(AGENCIES, inner))
    world.publish("bea", listing(1))
    assert (world.active("AT"), world.active("BE")) == ([], ["0/0", "2/0"])
    world.endorse("bea", 0)
    assert world.active("AT") == ["0/0"]


def test_governance_admits_classes_and_eyes_whatever_the_rules_say() -> None:
    world = World()
    world.put_rules("AT", rule_set(clause(2, 2, 0)))
    world.publish("ada", listing(1))
    world.endorse("bea", 0, 0)
    assert world.active() == ["0/0"]
    world.put_parameters(review_level_min=1)
    assert world.active() == []
    world.put_parameters(classes=())
    assert world.active() == []
