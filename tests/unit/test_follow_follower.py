"""What a follower takes over: only what is newer, in its time, and signed as it leads to."""

import pytest

from accord.agency.founding import AGENCY_STAFF, agency_application
from accord.follow.follower import Follower
from accord.ledger.views import cosigner_key
from accord.statements.bodies import Propose, Role, Vote
from accord.statements.entries import Entry, parse_entry
from accord.tlog.note import Note, cosign_text, parse_note
from accord.wire.errors import Unproven
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CHAIN, Consortium, keys_for, listings, plan
from source_kit import ConsortiumSource

MINUTE_MS = 60_000


@pytest.fixture
def world() -> Consortium:
    consortium = Consortium().open_epochs()
    consortium.publish("nl-one", listings(1))
    return consortium


def follower_of(world: Consortium) -> Follower:
    return Follower(world.founding, allow_trial=True)


def follow(follower: Follower, world: Consortium, note: bytes) -> None:
    pull = follower.offer(note)
    if pull is not None:
        leaves = world.leaves[pull.first : pull.checkpoint.size]
        follower.advance(follower.stage(pull, leaves))


def test_an_older_signature_of_the_same_head_does_not_make_the_list_older(
    world: Consortium,
) -> None:
    """Or any node could replay a head of yesterday until the list is called stale."""
    source, follower = ConsortiumSource(world), follower_of(world)
    source.fetch_checkpoint()  # It folds what there is.
    size = len(world.leaves)
    fresh = source.checkpoint_at(size, world.now + 10 * MINUTE_MS)
    follow(follower, world, fresh)
    follow(follower, world, source.checkpoint_at(size, world.now))
    assert follower.checkpoint is not None
    assert follower.checkpoint.raw == fresh
    newer = source.checkpoint_at(size, world.now + 20 * MINUTE_MS)
    follow(follower, world, newer)
    assert follower.checkpoint.raw == newer


def test_a_block_time_that_runs_backwards_is_refused(world: Consortium) -> None:
    """Every deadline counts from block times; no honest ledger makes one smaller."""
    last = parse_entry(world.leaves[-1])
    world.leaves[-1] = Entry(TimeMs(last.time_ms - MINUTE_MS), last.statement).encode()
    source, follower = ConsortiumSource(world), follower_of(world)
    with pytest.raises(Unproven, match=r"follow\.rejected.*entry\.time"):
        follow(follower, world, source.fetch_checkpoint())
    assert follower.size == 0


def test_freshness_counts_the_agencies_of_the_policy_that_was_reached(world: Consortium) -> None:
    """The head of a transition carries the old and the new quorum; its age is the new one's."""
    follower = follower_of(world)
    follow(follower, world, ConsortiumSource(world).fetch_checkpoint())
    fifth = MemberId("fr-five")
    world.keys[fifth] = keys_for(fifth, AGENCY_STAFF)
    application = agency_application(CHAIN, plan(fifth, "FR"), world.keys[fifth])
    entry = world.must(Propose(world.header("nl-one"), application), Role.GOVERNOR)
    for agency in ("ie-two", "ca-three"):
        world.must(Vote(world.header(agency), entry, approve=True), Role.GOVERNOR)
    note = parse_note(ConsortiumSource(world).fetch_checkpoint())
    absent = f"{CHAIN}/nl-four"
    lines = tuple(line for line in note.lines if line.name != absent)
    assert len(lines) == 4  # Three of the four before, four of the five now.
    follow(follower, world, Note(note.text, lines).encode())
    assert follower.freshness(world.now).age_ms < MINUTE_MS


def test_a_quorum_that_was_voted_out_signs_nothing_further(world: Consortium) -> None:
    source, follower = ConsortiumSource(world), follower_of(world)
    follow(follower, world, source.fetch_checkpoint())
    old = {name: key for name, key in world.keys.items() if name != "cloud"}
    names = ("fr-five", "de-six", "es-seven", "it-eight", "pl-nine")
    for number, name in enumerate(names):
        member = MemberId(name)
        world.keys[member] = keys_for(name, AGENCY_STAFF)
        application = agency_application(CHAIN, plan(name, "FR"), world.keys[member])
        entry = world.must(Propose(world.header("nl-one"), application), Role.GOVERNOR)
        for agency in (*old, *names[:number]):
            world.say(Vote(world.header(agency), entry, approve=True), Role.GOVERNOR)
    source = ConsortiumSource(world)
    note = parse_note(source.fetch_checkpoint())
    lines = tuple(
        cosign_text(note.text, cosigner_key(CHAIN, name, key.public), world.now // 1000, key.sign)
        for name, keys in old.items()
        for key in keys
        if key.role is Role.COSIGNER
    )
    with pytest.raises(Unproven, match=r"tlog\.quorum"):
        follow(follower, world, Note(note.text, lines).encode())
    assert follower.checkpoint is not None
    assert follower.checkpoint.size < len(world.leaves)
