"""The registry against a slow twin made of sets, and against itself in other chunkings."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.follow.delta import FoldedEntry
from accord.ledger.state import Standing
from accord.registry import Registry, platform_obligations, registry_digest
from accord.statements.batch import Listing
from accord.statements.bodies import Approve, Dispute, Endorse, Publish, RefRange, Withdraw
from accord.wire.ids import JurisdictionId
from registry_kit import A1, AGENCIES, B2, PLATFORM, World, clause, rule_set

NAMES = sorted(AGENCIES)
Step = tuple[str, str, list[Listing], tuple[int, int, int, int], str | None]
VALUES = [bytes([seed]) * 32 for seed in (1, 2, 3)] + [b"\1" * 31 + b"\2"]
LISTING = st.builds(
    lambda code, pdq, md5: Listing(
        code,
        pdq=pdq,
        pdq_quality=None if pdq is None else 80,
        md5=md5 if md5 or pdq else bytes(16),
    ),
    st.sampled_from([A1, A1, B2]),
    st.sampled_from([None, *VALUES]),
    st.sampled_from([None, None, bytes(16), b"\1" * 16]),
)
STEP = st.tuples(
    st.sampled_from(["publish", "publish", "approve", "endorse", "dispute", "withdraw"]),
    st.sampled_from(NAMES),
    st.lists(LISTING, min_size=1, max_size=4),
    st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(1, 4), st.integers(0, 2)),
    st.sampled_from([None, None, None, "no_key"]),
)
ASKED = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))


def tell(world: World, steps: Sequence[Step]) -> None:
    """Say what the ledger fold would accept of these steps."""
    published: list[tuple[str, int, int]] = []
    for kind, agency, listings, (pick, place, wide, level), unopened in steps:
        if kind == "publish":
            entry = world.publish(agency, *listings, approved=False, unopened=unopened)
            published.append((agency, entry, len(listings)))
            continue
        if not published:
            continue
        publisher, entry, size = published[pick % len(published)]
        first = place % size
        count = min(wide, size - first)
        approved = any(
            isinstance(said.body, Approve) and said.body.entry == entry for said in world.entries
        )
        if kind == "approve" and not approved:
            world.approve(publisher, entry)
        if kind == "endorse" and approved and agency != publisher:
            world.endorse(agency, entry, level, first, count)
        if kind == "dispute":
            world.dispute(agency, entry, first, count)
        if kind == "withdraw":
            world.withdraw(publisher, entry, first, count)


@dataclass
class Twin:
    """One listing as sets: the definition of the answer."""

    publisher: str
    listing: Listing
    approved: bool = False
    withdrawn: bool = False
    endorsed: set[tuple[str, int]] = field(default_factory=set)
    disputed: set[str] = field(default_factory=set)


def fold_twin(entries: Sequence[FoldedEntry]) -> dict[tuple[int, int], Twin]:
    from accord.statements.batch import listings_of

    twins: dict[tuple[int, int], Twin] = {}

    def ranged(refs: tuple[RefRange, ...]) -> list[Twin]:
        keys = [(ref.entry, ref.first + i) for ref in refs for i in range(ref.count)]
        return [twins[key] for key in keys if key in twins]

    for entry in entries:
        match entry.body:
            case Publish() as body if entry.batch is not None:
                for ordinal, listing in enumerate(listings_of(entry.batch)):
                    twins[entry.index, ordinal] = Twin(body.header.member, listing)
            case Approve() as body:
                for (batch, _), twin in twins.items():
                    twin.approved |= batch == body.entry
            case Endorse() as body:
                for twin in ranged(body.refs):
                    twin.endorsed.add((body.header.member, body.level))
            case Dispute() as body:
                for twin in ranged(body.refs):
                    twin.disputed.add(body.header.member)
            case Withdraw() as body:
                for twin in ranged(body.refs):
                    twin.withdrawn = True
            case _:
                pass
    return twins


def active_twin(
    twins: dict[tuple[int, int], Twin], asked: tuple[int, int, int], gone: str | None
) -> dict[tuple[int, int], int]:
    """Status of each active ref in AT, where class A1 is asked for."""
    agencies, sovereigns, level = asked
    live = {
        key: twin
        for key, twin in twins.items()
        if twin.approved and not twin.withdrawn and twin.listing.class_code == A1
    }
    found: dict[tuple[int, int], int] = {}
    for key, twin in live.items():
        vouching = {twin.publisher} | {name for name, seen in twin.endorsed if seen >= level}
        if level == 0:
            mine = {("pdq", twin.listing.pdq), ("md5", twin.listing.md5)}
            for other in live.values():
                theirs = {("pdq", other.listing.pdq), ("md5", other.listing.md5)}
                shared = {value for value in mine & theirs if value[1] is not None}
                if shared and other.publisher not in other.disputed:
                    vouching.add(other.publisher)
        vouching.discard(gone or "")
        if len(vouching) < agencies or len({AGENCIES[name] for name in vouching}) < sovereigns:
            continue
        against = twin.disputed - {gone}
        spans = {AGENCIES[name] for name in against}
        review = "AT" in spans or twin.publisher in against or len(spans) >= 2
        found[key] = 2 if review else 1
    return found


@settings(deadline=None)
@given(st.lists(STEP, max_size=25), ASKED, st.sampled_from([None, *NAMES]))
def test_obligations_equal_the_slow_twin(
    steps: list[Step], asked: tuple[int, int, int], gone: str | None
) -> None:
    world = World()
    world.put_rules("AT", rule_set(clause(*asked)))
    tell(world, [("publish", "ada", [Listing(B2, md5=bytes(16))], (0, 0, 1, 0), None), *steps])
    if gone is not None:
        world.put_agency(gone, AGENCIES[gone], 0, standing=Standing.REMOVED)
    found = world.obligations()
    status = found.by_jurisdiction[JurisdictionId("AT")].clauses[0].status
    shown = {
        (ref.entry, ref.ordinal): int(status[row])
        for row in found.active_rows
        for ref in [found.snapshot.ref_of(int(row))]
    }
    assert shown == active_twin(fold_twin(world.entries), asked, gone)


@given(st.lists(STEP, max_size=25), st.lists(st.integers(0, 60), max_size=4))
def test_any_chunking_and_any_restart_give_one_registry(steps: list[Step], cuts: list[int]) -> None:
    world = World()
    world.put_rules("AT", rule_set(clause(2, 2)))
    tell(world, [("publish", "ada", [Listing(A1, md5=bytes(16))], (0, 0, 1, 0), None), *steps])
    whole = world.registry().snapshot()
    chunked = Registry()
    for cut in [*sorted(cuts), len(world.entries)]:
        chunked.fold_all(world.entries[chunked.size : cut])
        chunked.snapshot()  # Reading in between sorts early: it must not show.
    again = chunked.snapshot()
    assert registry_digest(again) == registry_digest(whole)
    roots = {
        platform_obligations(snapshot, world.state, PLATFORM).active_root
        for snapshot in (whole, again)
    }
    assert len(roots) == 1
    for scheme, values in whole.values.items():
        assert list(values.whole().order) == list(again.values[scheme].whole().order)
        assert [list(part) for part in values.equal_groups] == [
            list(part) for part in again.values[scheme].equal_groups
        ]


@settings(deadline=None)
@given(st.data(), st.integers(2, 4), st.integers(0, 2))
def test_fewer_than_k_agencies_never_activate_anything(
    data: st.DataObject, agencies: int, level: int
) -> None:
    few = data.draw(st.permutations(NAMES))[: agencies - 1]
    world = World()
    world.put_rules("AT", rule_set(clause(agencies, 1, level)))
    step = STEP.map(lambda step: (step[0], few[NAMES.index(step[1]) % len(few)], *step[2:]))
    steps = data.draw(st.lists(step, max_size=30))
    tell(world, [("publish", few[0], [Listing(A1, md5=bytes(16))], (0, 0, 1, 0), None), *steps])
    assert world.active() == []
