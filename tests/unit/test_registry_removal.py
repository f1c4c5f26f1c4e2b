"""How long a withdrawal takes to the last platform, out of entries alone."""

from dataclasses import replace

import pytest

from accord.ledger.state import COMPROMISES, KEYS, CompromiseRow, KeyRow, Standing
from accord.registry.removal import Acknowledged, Removal, removals
from accord.statements.bodies import Attest, Role
from accord.wire.ids import GroupId, KeyId, MemberId, OperatorId, TimeMs
from registry_kit import NOW, PLATFORM, World, header, listing

DRIVE = MemberId("drive")


def attest(world: World, size: int, platform: str = PLATFORM) -> int:
    nothing = bytes(32)
    return world.say(
        Attest(header(platform), size, nothing, nothing, nothing, TimeMs(0), 0, nothing, "b")
    )


@pytest.fixture
def world() -> World:
    made = World()
    made.put_platform(name=DRIVE)
    made.publish("ada", listing(1), listing(2))
    return made


def found(world: World) -> tuple[Removal, ...]:
    return removals(world.entries, world.state)


def test_a_withdrawal_is_done_when_the_last_platform_attests_a_list_without_it(
    world: World,
) -> None:
    entry = world.withdraw("ada", 0)
    attest(world, entry)  # A list that still had it.
    (before,) = found(world)
    assert (before.is_open, before.took_ms(TimeMs(NOW + 100)), before.done_ms) == (True, 98, None)
    world.clock_ms = 1_000
    first = attest(world, entry + 1)
    (half,) = found(world)
    assert half.platforms == (
        Acknowledged(PLATFORM, first, TimeMs(NOW + 1_000 + first)),
        Acknowledged(DRIVE, None, None),
    )
    assert half.is_open
    world.clock_ms = 5_000
    last = attest(world, 40, DRIVE)
    attest(world, 41, DRIVE)
    (done,) = found(world)
    assert done.done_ms == NOW + 5_000 + last
    assert done.took_ms(TimeMs(NOW + 10**9)) == 5_000 + last - entry
    assert (done.listings, done.agency, done.reason) == (1, "ada", "not-csam")


def test_one_attestation_follows_all_withdrawals_before_it_and_none_after(world: World) -> None:
    first, second = world.withdraw("ada", 0), world.withdraw("ada", 0, first=1)
    attest(world, second)
    attest(world, second + 1, DRIVE)
    third = world.withdraw("ada", 0)
    done = {item.entry: [p.time_ms is not None for p in item.platforms] for item in found(world)}
    assert done == {first: [True, True], second: [False, True], third: [False, False]}


def test_only_platforms_that_had_been_given_it_are_waited_for(world: World) -> None:
    other = world.publish("ada", listing(5), groups=(GroupId("others"),))
    world.withdraw("ada", other)
    (nobody,) = found(world)
    assert (nobody.platforms, nobody.is_open, nobody.done_ms, nobody.took_ms(TimeMs(NOW))) == (
        (),
        False,
        None,
        0,
    )


def test_one_that_came_later_owes_nothing_and_one_that_ended_is_excused(world: World) -> None:
    entry = world.withdraw("ada", 0)
    world.put_platform(name=DRIVE, since_ms=NOW + entry + 1)
    (item,) = found(world)
    assert [p.platform for p in item.platforms] == [PLATFORM]
    world.put_platform(name=DRIVE, standing=Standing.SUSPENDED, since_ms=NOW + entry)
    (item,) = found(world)
    assert [p.platform for p in item.platforms] == [PLATFORM], "it had ended before"
    attest(world, entry + 1)
    assert not found(world)[0].is_open


def test_a_platform_that_ended_since_is_named_and_holds_nothing_open() -> None:
    world = World()
    world.publish("ada", listing(1))
    entry = world.withdraw("ada", 0)
    key = KeyRow(PLATFORM, Role.SCANNER, OperatorId("scanner"), bytes(32), TimeMs(NOW), None)
    world.put(KEYS, bytes(16), key)
    world.put_platform(standing=Standing.REMOVED, since_ms=NOW + entry + 50)
    (item,) = found(world)
    assert item.platforms == (Acknowledged(PLATFORM, None, None, is_excused=True),)
    assert not item.is_open
    late = KeyRow(PLATFORM, Role.SCANNER, OperatorId("s"), bytes(32), TimeMs(NOW + 20), None)
    world.put(KEYS, bytes(16), late)
    assert found(world)[0].platforms == (), "it came after the withdrawal"


def test_a_withdrawal_by_a_stolen_key_is_none(world: World) -> None:
    world.key = KeyId(b"\x02" * 16)
    entry = world.withdraw("ada", 0)
    world.put(COMPROMISES, world.key, CompromiseRow(MemberId("ada"), TimeMs(NOW + entry)))
    assert found(world) == ()


def test_an_attestation_by_a_stolen_key_closes_nothing(world: World) -> None:
    entry = world.withdraw("ada", 0)
    attest(world, entry + 1, DRIVE)
    world.key = KeyId(b"\x02" * 16)
    stolen = attest(world, entry + 1)
    row = CompromiseRow(MemberId(PLATFORM), TimeMs(NOW + stolen + 1))
    world.put(COMPROMISES, world.key, row)
    assert not found(world)[0].is_open, "it was not stolen yet"
    world.put(COMPROMISES, world.key, replace(row, since_ms=TimeMs(NOW + stolen)))
    assert found(world)[0].is_open
    world.key = KeyId(b"\x03" * 16)
    attest(world, entry + 1)
    assert not found(world)[0].is_open
