"""What is active where: one rule of certification, dispute or validity a test."""

from dataclasses import replace

import numpy as np
import pytest

from accord.ledger.state import Standing
from accord.registry import Certifier, Coverage, certifiers, obligation, registry_digest
from accord.registry.columns import Flags
from accord.registry.pages import PAGE_BITS, Paged
from accord.registry.roots import ActiveTree, active_tree
from accord.statements.batch import Listing
from accord.statements.rules import Modality
from accord.tlog.merkle import leaf_hash, tree_root
from accord.wire.errors import Broken, Unavailable
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, MemberId
from registry_kit import (
    A1,
    B2,
    GROUP,
    NOW,
    PLATFORM,
    World,
    clause,
    listing,
    pdq_of,
    rule_set,
)

AT = JurisdictionId("AT")


def world_with(*args: int) -> World:
    """Rules in AT that ask (agencies, sovereigns, review level)."""
    world = World()
    world.put_rules("AT", rule_set(clause(*args)))
    return world


def test_a_batch_counts_once_approved() -> None:
    world = world_with(1, 1)
    entry = world.publish("ada", listing(1), listing(2), approved=False)
    assert world.active() == []
    world.approve("ada", entry)
    assert world.active() == ["0/0", "0/1"]


def test_withdrawal_ends_a_listing_at_once() -> None:
    world = world_with(1, 1)
    entry = world.publish("ada", listing(1), listing(2), listing(3))
    world.withdraw("ada", entry, first=1)
    assert world.active() == ["0/0", "0/2"]


def test_two_agencies_of_one_sovereign_are_one_sovereign() -> None:
    world = world_with(2, 2)
    entry = world.publish("bea", listing(1))
    world.endorse("ben", entry)
    assert world.active() == []
    world.endorse("cyd", entry)
    assert world.active() == ["0/0"]


def test_an_agency_counts_once_however_often_it_speaks() -> None:
    world = world_with(3, 1)
    entry = world.publish("ada", listing(1))
    for level in (0, 1, 2):
        world.endorse("bea", entry, level)
    world.publish("ada", listing(1))
    assert world.active() == []
    world.endorse("ben", entry)
    assert world.active() == ["0/0"]


@pytest.mark.parametrize(("level", "active"), [(0, []), (1, ["0/0"]), (2, ["0/0"])])
def test_an_endorsement_counts_from_its_review_level_on(level: int, active: list[str]) -> None:
    world = world_with(2, 1, 1)
    world.endorse("bea", world.publish("ada", listing(1)), level)
    assert world.active() == active


def test_an_endorsement_covers_its_range_only() -> None:
    world = world_with(2, 1)
    entry = world.publish("ada", *(listing(seed) for seed in range(4)))
    world.endorse("bea", entry, first=1, count=2)
    assert world.active() == ["0/1", "0/2"]


@pytest.mark.parametrize("floor", ["agencies_min", "sovereigns_min"])
def test_governance_floors_hold_above_the_rule(floor: str) -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1))
    world.put_parameters(**{floor: 2})
    assert world.active() == []


def test_a_removed_agency_is_not_one_of_k() -> None:
    world = world_with(2, 1)
    world.endorse("bea", world.publish("ada", listing(1)))
    world.put_agency("ada", "AT", 0, standing=Standing.REMOVED)
    assert world.active() == []


def test_a_removed_agency_stops_counting() -> None:
    world = world_with(2, 2)
    entry = world.publish("ada", listing(1))
    world.endorse("bea", entry)
    assert world.active() == ["0/0"]
    world.put_agency("ada", "AT", 0, standing=Standing.REMOVED)
    assert world.active() == []
    world.endorse("cyd", entry)
    assert world.active() == ["0/0"]


def test_only_the_classes_of_the_clause_are_active() -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1, B2), listing(2, A1))
    assert world.active() == ["0/1"]


def test_only_what_was_released_to_the_platform_is_active_or_vouches() -> None:
    world = world_with(2, 2)
    hidden = (AGENCIES, GroupId("others"))
    world.publish("ada", listing(1))
    world.publish("bea", listing(1), groups=hidden)
    assert world.active() == []
    world.publish("bea", listing(1), groups=(AGENCIES, GROUP))
    assert world.active() == ["0/0", "4/0"]


def test_an_equal_fingerprint_or_digest_vouches_at_level_0() -> None:
    world = world_with(2, 2)
    world.publish("ada", Listing(A1, md5=bytes(16)), listing(1), listing(3))
    world.publish("bea", Listing(A1, pdq=pdq_of(2), pdq_quality=90, md5=bytes(16)), listing(1))
    assert world.active() == ["0/0", "0/1", "2/0", "2/1"]
    world.put_rules("AT", rule_set(clause(2, 2, 1)))
    assert world.active() == []


@pytest.mark.parametrize("spoiled", ["class", "unapproved", "withdrawn", "disputed", "own"])
def test_an_equal_listing_that_does_not_stand_does_not_vouch(spoiled: str) -> None:
    world = world_with(2, 1)
    world.publish("ada", listing(1))
    agency = "ada" if spoiled == "own" else "bea"
    twin = listing(1, B2 if spoiled == "class" else A1)
    entry = world.publish(agency, twin, approved=spoiled != "unapproved")
    if spoiled == "withdrawn":
        world.withdraw(agency, entry)
    if spoiled == "disputed":
        world.dispute(agency, entry)
    assert "0/0" not in world.active()


def test_equal_first_bytes_are_not_an_equal_fingerprint() -> None:
    world = world_with(2, 1)
    world.publish("ada", Listing(A1, pdq=bytes(32), pdq_quality=100))
    world.publish("bea", Listing(A1, pdq=bytes(31) + b"\1", pdq_quality=100))
    assert world.active() == []


def test_a_dispute_holds_in_the_jurisdictions_of_its_agency() -> None:
    world = World()
    world.put_agency("bea", "BE", 1, homes=("AT", "BE"))
    for jurisdiction in ("AT", "BE", "CY"):
        world.put_rules(jurisdiction, rule_set())
    entry = world.publish("ada", listing(1), listing(2))
    world.dispute("bea", entry)
    assert world.active("AT") == world.active("BE") == ["0/0?", "0/1"]
    assert world.active("CY") == ["0/0", "0/1"]


def test_disputes_of_enough_sovereigns_or_of_the_publisher_hold_everywhere() -> None:
    world = world_with(1, 1)
    entry = world.publish("ada", listing(1))
    world.dispute("bea", entry)
    world.dispute("ben", entry)
    assert world.active() == ["0/0"], "two agencies of one sovereign"
    world.dispute("cyd", entry)
    assert world.active() == ["0/0?"]
    other = world_with(1, 1)
    other.put_rules("CY", rule_set())
    other.dispute("ada", other.publish("ada", listing(1)))
    assert other.active("CY") == ["0/0?"]


def test_a_removed_agency_no_longer_disputes() -> None:
    world = world_with(1, 1)
    world.dispute("ada", world.publish("bea", listing(1)))
    assert world.active() == ["0/0?"]
    world.put_agency("ada", "AT", 0, standing=Standing.REMOVED)
    assert world.active() == ["0/0"]


def test_a_removed_publisher_no_longer_disputes_its_own_listing() -> None:
    world = world_with(1, 1)
    entry = world.publish("cyd", listing(1))
    world.endorse("bea", entry)
    world.dispute("cyd", entry)
    assert world.active() == ["0/0?"]
    world.put_agency("cyd", "CY", 3, standing=Standing.REMOVED)
    assert world.active() == ["0/0"]


def test_rules_hold_from_and_to_a_block_time() -> None:
    world = World()
    world.put_rules("AT", rule_set(valid_from_ms=NOW + 10, valid_to_ms=NOW + 20))
    world.publish("ada", listing(1))
    seen = {at: world.obligations(NOW + at).by_jurisdiction[AT].coverage for at in (9, 10, 19, 20)}
    assert seen == {
        9: Coverage.NOT_VALID,
        10: Coverage.ACTIVE,
        19: Coverage.ACTIVE,
        20: Coverage.NOT_VALID,
    }
    assert world.obligations().active_count == 0, "the newest entry's block time is the default"


def test_prohibited_screens_nothing_and_says_so() -> None:
    world = World()
    world.put_rules("AT", rule_set(modality=Modality.PROHIBITED))
    world.publish("ada", listing(1))
    found = world.obligations()
    assert found.by_jurisdiction[AT].coverage is Coverage.PROHIBITED
    assert found.by_jurisdiction[JurisdictionId("BE")].coverage is Coverage.NO_RULES
    assert found.active_count == 0


def test_the_ceiling_of_governance_lowers_a_threshold() -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1))
    world.put_parameters(pdq_max=12)
    assert world.obligations().by_jurisdiction[AT].clauses[0].clause.near[0].threshold == 12


def test_the_active_root_is_the_tree_over_the_refs_of_all_jurisdictions() -> None:
    world = world_with(1, 1)
    world.put_rules("BE", rule_set(clause(classes=(B2,))))
    world.publish("ada", listing(1), listing(2, B2))
    world.publish("bea", listing(3, B2))
    found = world.obligations()
    leaves = [
        leaf_hash(entry.to_bytes(8, "big") + bytes([bits])) for entry, bits in ((0, 3), (2, 1))
    ]
    assert found.active_root == tree_root(leaves)
    assert found.active_count == 3


def paged(flags: Flags) -> Paged[np.bool_]:
    starts = range(0, max(len(flags), 1), 1 << PAGE_BITS)
    return Paged(tuple(flags[start : start + (1 << PAGE_BITS)] for start in starts), PAGE_BITS)


def test_the_root_says_which_listings_of_a_batch_are_active() -> None:
    world = World()
    world.publish("ada", *(listing(seed) for seed in range(19)))
    world.publish("ada", *(listing(seed) for seed in range(3)))
    batches = world.registry().snapshot().batches
    flags = np.zeros(22, dtype=np.bool_)
    nothing = active_tree(batches, paged(flags.copy()))
    assert nothing.root == tree_root([])
    flags[[0, 8, 18, 21]] = True
    leaves = [bytes(8) + bytes([1, 1, 4]), (2).to_bytes(8, "big") + bytes([4])]
    for before in (None, nothing):
        found = active_tree(batches, paged(flags), before)
        assert found.root == tree_root([leaf_hash(leaf) for leaf in leaves])


def test_a_tree_that_goes_on_from_another_is_the_one_made_at_once() -> None:
    counts = np.array([10_000] * 20 + [1] * 600 + [9_999, 3])
    starts, entries = np.cumsum(counts) - counts, np.arange(len(counts))
    batches = replace(World().registry().snapshot().batches, entry=entries)
    batches = replace(batches, start=starts, count=counts)
    source, flags = np.random.default_rng(1), np.zeros(int(counts.sum()), dtype=np.bool_)
    before: Paged[np.bool_] | None = None
    tree: ActiveTree | None = None
    for batch in [0, 6, 13, 14, 300, 301, 619, 620, 621, 6, 0]:
        first, end = starts[batch], starts[batch] + counts[batch]
        flags = flags.copy()
        flags[first:end] = source.integers(0, 2, end - first) if batch != 13 else 0
        pages = paged(flags)
        if before is not None:  # As `activity_of` does: what did not change is the same object.
            pages = Paged(
                tuple(
                    old if np.array_equal(old, new) else new
                    for old, new in zip(before.pages, pages.pages, strict=True)
                ),
                PAGE_BITS,
            )
        before, tree = pages, active_tree(batches, pages, tree)
        leaves = [
            leaf_hash(
                at.to_bytes(8, "big")
                + np.packbits(flags[start : start + count], bitorder="little").tobytes()
            )
            for at, (start, count) in enumerate(zip(starts, counts, strict=True))
            if flags[start : start + count].any()
        ]
        assert tree.root == tree_root(leaves)
    flags[:] = True
    assert active_tree(batches, paged(flags), tree).root == active_tree(batches, paged(flags)).root


def test_certifiers_name_agencies_and_their_first_entries() -> None:
    world = world_with(2, 1)
    entry = world.publish("ada", listing(1))
    first = world.endorse("bea", entry, 0)
    world.endorse("bea", entry, 2)
    twin = world.publish("cyd", listing(1))
    found = world.obligations()
    assert certifiers(found, found.by_jurisdiction[AT].clauses[0], 0) == (
        Certifier(MemberId("ada"), entry, "published", None),
        Certifier(MemberId("bea"), first, "endorsed", 0),
        Certifier(MemberId("cyd"), twin, "equal-listing", None),
    )


def test_one_jurisdiction_is_its_share_of_all() -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1))
    share = obligation(world.registry().snapshot(), world.state, PLATFORM, AT)
    assert list(share.active_rows()) == [0]


def test_an_unknown_platform_or_fold_version_is_unavailable() -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1))
    with pytest.raises(Unavailable, match=r"registry\.platform_unknown"):
        obligation(world.registry().snapshot(), world.state, MemberId("nobody"), AT)
    world.put_parameters(fold_version=2)
    with pytest.raises(Unavailable, match=r"registry\.fold_version"):
        world.obligations()


def test_a_snapshot_stays_as_it_was() -> None:
    world = world_with(1, 1)
    entry = world.publish("ada", *(listing(seed) for seed in range(3)))
    registry = world.registry()
    snapshot = registry.snapshot()
    before = registry_digest(snapshot)
    world.withdraw("ada", entry)
    world.endorse("bea", entry)
    world.dispute("bea", entry)
    world.publish("cyd", *(listing(seed) for seed in range(5)))
    registry.fold_all(world.entries[registry.size :])
    assert registry_digest(snapshot) == before != registry_digest(registry.snapshot())


def test_equal_values_of_later_batches_are_found_in_log_order() -> None:
    world = World()
    registry = world.registry()
    for _ in range(3):
        world.publish("ada", listing(1), listing(2))
        registry.fold_all(world.entries[registry.size :])
        snapshot = registry.snapshot()
    assert list(snapshot.values["pdq"].equal_to(pdq_of(1))) == [0, 2, 4]


def test_entries_come_in_order_and_unopened_batches_change_nothing() -> None:
    world = world_with(1, 1)
    world.publish("ada", listing(1), listing(2), unopened="not_released")
    entry = world.publish("ada", listing(1), listing(2), unopened="no_key")
    world.endorse("bea", entry, count=2)
    world.dispute("bea", entry)
    registry = world.registry()
    snapshot = registry.snapshot()
    assert (snapshot.count, snapshot.unopened, len(snapshot.opinions.entry)) == (0, 1, 0)
    assert snapshot.agencies == ()
    with pytest.raises(Broken, match=r"registry\.order"):
        registry.fold(world.entries[0])
