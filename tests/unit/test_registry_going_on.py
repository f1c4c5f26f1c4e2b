"""What goes on from an earlier answer is what is computed from nothing: one change a step."""

from collections.abc import Callable

import numpy as np
import pytest

from accord.ledger.state import COMPROMISES, CompromiseRow, Standing
from accord.registry import PlatformObligations, Registry, platform_obligations, registry_digest
from accord.registry.list_version import ListVersion, list_version
from accord.statements.batch import Listing
from accord.wire.ids import GroupId, KeyId, MemberId, TimeMs
from registry_kit import (
    A1,
    B2,
    GROUP,
    NOW,
    PLATFORM,
    World,
    clause,
    everything,
    listing,
    pdq_of,
    rule_set,
)

OTHERS = GroupId("others")
LATER = KeyId(b"\7" * 16)


def founded() -> World:
    """Five listings of `ada`, one of `bea`; five clauses in three jurisdictions."""
    world = World()
    world.put_rules("AT", rule_set(clause(1, 1, 0), clause(2, 1, 0, name="two", classes=(A1, B2))))
    world.put_rules("BE", rule_set(clause(2, 2, 0, classes=(B2,)), clause(1, 1, 2, name="seen")))
    world.put_rules("CY", rule_set(clause(2, 1, 1, classes=(A1, B2))))
    world.publish("ada", *(listing(seed, B2 if seed == 3 else A1) for seed in range(5)))
    world.publish("bea", listing(9))
    return world


def again(*seeds: int) -> list[Listing]:
    return [listing(seed, B2 if seed == 3 else A1) for seed in seeds]


def stolen(world: World, name: str, key: KeyId, late_ms: int = 0) -> None:
    since = CompromiseRow(MemberId(name), TimeMs(NOW + late_ms))
    world.put(COMPROMISES, key, since)


def with_key(world: World, key: KeyId, say: Callable[[], int]) -> None:
    world.key = key
    say()


STORIES: dict[str, list[Callable[[World], object]]] = {
    "equal listings, one approved later": [
        lambda w: w.publish("bea", *again(0, 3, 7), approved=False),
        lambda w: w.approve("bea", 4),
        lambda w: w.publish("cyd", *again(0)),
    ],
    "a publisher that disputes its own no longer vouches": [
        lambda w: w.publish("bea", *again(0, 1)),
        lambda w: w.dispute("bea", 4, 1),
        lambda w: w.dispute("cyd", 4, 0),
    ],
    "endorsed, at each level": [
        lambda w: w.publish("bea", *again(0)),
        *(lambda w, level=level: w.endorse("cyd", 0, level, level, 3) for level in range(3)),
        lambda w: w.endorse("ben", 4, 0),
    ],
    "two who list it and one who endorsed it": [
        lambda w: w.put_rules("AT", rule_set(clause(3, 1, 0))),
        lambda w: w.publish("bea", *again(0)),
        lambda w: w.endorse("cyd", 0, 0),
    ],
    "an endorsement counts for the row alone": [
        lambda w: w.publish("ben", *again(3), approved=False),
        lambda w: w.endorse("cyd", 0, 0, 3),
        lambda w: w.approve("ben", 4),
    ],
    "withdrawn": [
        lambda w: w.publish("bea", *again(0, 1)),
        lambda w: w.withdraw("ada", 0, 1, 2),
        lambda w: w.withdraw("bea", 4),
    ],
    "removed": [
        lambda w: w.publish("bea", *again(0)),
        lambda w: w.put_agency("bea", "BE", 1, standing=Standing.REMOVED),
        lambda w: w.publish("cyd", *again(1)),
    ],
    "moved to another sovereign": [
        lambda w: w.publish("bea", *again(3)),
        lambda w: w.put_agency("bea", "AT", 1),
    ],
    "a key declared void, and the statements repeated": [
        lambda w: with_key(w, LATER, lambda: w.endorse("bea", 0, 2, 0, 3)),
        lambda w: stolen(w, "bea", LATER),
        lambda w: with_key(w, KeyId(b"\1" * 16), lambda: w.endorse("bea", 0, 2, 1)),
        lambda w: w.endorse("bea", 0, 1, 2),
        lambda w: with_key(w, LATER, lambda: w.publish("ben", *again(0))),
        lambda w: w.withdraw("ada", 0),
        lambda w: with_key(w, KeyId(b"\2" * 16), lambda: w.withdraw("ada", 0, 1)),
    ],
    "governance and rules": [
        lambda w: w.publish("bea", *again(0, 3)),
        lambda w: w.put_parameters(agencies_min=2),
        lambda w: w.put_parameters(pdq_max=3),
        lambda w: w.put_parameters(classes=(A1,)),
        lambda w: w.put_parameters(),
        lambda w: w.put_rules("CY", rule_set(clause(1, 1, 1))),
        lambda w: w.put_rules("AT", rule_set(clause(2, 2, 2)), 2),
        lambda w: w.put_platform(("AT",)),
        lambda w: w.put_platform(("AT", "BE", "CY")),
    ],
    "groups": [
        lambda w: w.publish("bea", *again(0, 3), groups=(OTHERS,)),
        lambda w: w.put_platform(groups=(GROUP, OTHERS)),
        lambda w: w.put_platform(groups=(OTHERS,)),
        lambda w: w.put_rules("AT", rule_set(clause(), groups=(GROUP,))),
        lambda w: w.put_platform(groups=(GROUP, OTHERS)),
    ],
    "values of two schemes, and ones that show nothing": [
        lambda w: w.publish("bea", Listing(A1, pdq=pdq_of(0), pdq_quality=50, md5=b"\1" * 16)),
        lambda w: w.publish("cyd", Listing(A1, md5=b"\1" * 16), Listing(A1, md5=b"\2" * 16)),
        lambda w: w.publish("ben", Listing(A1, pdq=bytes(32), pdq_quality=50, md5=b"\2" * 16)),
    ],
    "time passes": [
        lambda w: w.dispute("ada", 0, 2),
        lambda w: w.put_parameters(dispute_life_ms=5),
        lambda w: setattr(w, "clock_ms", 100),
        lambda w: w.publish("ada", *again(1)),
    ],
}


def told(found: PlatformObligations) -> dict[str, object]:
    """What a decision depends on: not who vouches, not what is live and nowhere active."""
    clauses = {
        (name, number): (active.clause, active.status.tolist())
        for name, share in found.by_jurisdiction.items()
        for number, active in enumerate(share.clauses)
    }
    return {"clauses": clauses, "rules": found.rules_sha256, "size": found.snapshot.count}


@pytest.mark.parametrize("story", STORIES)
def test_every_step_is_what_is_computed_from_nothing(story: str) -> None:
    world, registry = founded(), Registry(page_bits=1)
    before: PlatformObligations | None = None
    shown: list[tuple[PlatformObligations, object]] = []
    versions: set[bytes] = set()
    version: ListVersion | None = None
    for step in [lambda _: None, *STORIES[story]]:
        step(world)
        registry.fold_all(world.entries[registry.size :])
        snapshot = registry.snapshot()
        before = platform_obligations(snapshot, world.state, PLATFORM, before=before)
        anew = world.obligations()
        assert everything(before) == everything(anew)
        assert registry_digest(snapshot) == registry_digest(anew.snapshot)
        other = Registry(page_bits=1)
        other.fold_all(world.entries)
        at_once = list_version(platform_obligations(other.snapshot(), world.state, PLATFORM))
        version = list_version(before, version)
        assert version.digest == at_once.digest
        assert version.digest not in versions or told(before) in [told(at) for at, _ in shown]
        versions.add(version.digest)
        shown.append((before, everything(before)))
    for answer, said in shown:
        assert everything(answer) == said, "an earlier answer changed"


def test_what_nothing_touched_is_shared_and_not_computed_again() -> None:
    world, registry = founded(), Registry(page_bits=1)
    registry.fold_all(world.entries)
    first = platform_obligations(registry.snapshot(), world.state, PLATFORM)
    world.endorse("cyd", 2)
    registry.fold_all(world.entries[registry.size :])
    second = platform_obligations(registry.snapshot(), world.state, PLATFORM, before=first)
    shares = [(f.by_jurisdiction.values(), f.activity.flags, f.live) for f in (first, second)]
    for before, after in zip(shares[0][1:], shares[1][1:], strict=True):
        assert list(map(id, before.pages))[:2] == list(map(id, after.pages))[:2]
    for old, new in zip(shares[0][0], shares[1][0], strict=True):
        codes = [item.clauses[0].active.grades.codes.pages for item in (old, new)]
        assert [a is b for a, b in zip(*codes, strict=True)] == [True, True, False]


def test_an_answer_of_another_registry_is_not_gone_on_from() -> None:
    world, other = founded(), World()
    world.publish("bea", *again(0))
    other.put_rules("AT", rule_set(clause(2, 1, 0)))
    other.publish("ada", *again(0, 7, 8))
    strange = other.obligations()
    snapshot = world.registry().snapshot()
    found = platform_obligations(snapshot, world.state, PLATFORM, before=strange)
    assert everything(found) == everything(world.obligations())
    assert not np.array_equal(found.active_rows, strange.active_rows)
