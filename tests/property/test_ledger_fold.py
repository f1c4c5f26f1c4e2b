"""The ledger under random statements: deterministic, chunk-blind, and never half-applied."""

import contextlib
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.ledger.apply import apply
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.state import TABLES, Reader, parse_row
from accord.statements.bodies import (
    Approve,
    Dispute,
    DisputeReason,
    Endorse,
    Propose,
    RefRange,
    RemoveAgency,
    Role,
    SuspendPlatform,
    Vote,
    Withdraw,
)
from accord.statements.envelope import parse_envelope, parse_transaction
from accord.tlog.merkle import Frontier, leaf_hash, tree_root
from accord.wire import record
from accord.wire.errors import Malformed
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import Consortium, listings

Step = Callable[[Consortium, random.Random], None]


def _agency(world: Consortium, rng: random.Random) -> str:
    return rng.choice(world.agencies)


def _entry(world: Consortium, rng: random.Random) -> int:
    return rng.randrange(len(world.leaves) + 1)


def _refs(world: Consortium, rng: random.Random) -> tuple[RefRange, ...]:
    return (RefRange(_entry(world, rng), rng.randrange(3), rng.randrange(1, 4)),)


def publish(world: Consortium, rng: random.Random) -> None:
    body, blob = world.publish_body(_agency(world, rng), listings(rng.randrange(1, 4)))
    world.say(body, Role.ANALYST, blob if rng.random() < 0.9 else None)


def approve(world: Consortium, rng: random.Random) -> None:
    world.say(Approve(world.header(_agency(world, rng)), _entry(world, rng)), Role.APPROVER)


def endorse(world: Consortium, rng: random.Random) -> None:
    header = world.header(_agency(world, rng))
    world.say(Endorse(header, _refs(world, rng), rng.randrange(3)), Role.ANALYST)


def dispute(world: Consortium, rng: random.Random) -> None:
    header = world.header(_agency(world, rng))
    world.say(Dispute(header, _refs(world, rng), DisputeReason.OTHER), Role.ANALYST)


def withdraw(world: Consortium, rng: random.Random) -> None:
    header = world.header(_agency(world, rng))
    world.say(Withdraw(header, _refs(world, rng), DisputeReason.OTHER), Role.ANALYST)


def propose(world: Consortium, rng: random.Random) -> None:
    target = MemberId(_agency(world, rng))
    action = RemoveAgency(target) if rng.random() < 0.5 else SuspendPlatform(MemberId("cloud"))
    world.say(Propose(world.header(_agency(world, rng)), action), Role.GOVERNOR)


def vote(world: Consortium, rng: random.Random) -> None:
    header = world.header(_agency(world, rng))
    world.say(Vote(header, _entry(world, rng), rng.random() < 0.8), Role.GOVERNOR)


def replay(world: Consortium, rng: random.Random) -> None:
    _, transactions = rng.choice(world.blocks)
    world.block(*transactions, b"noise")


def wait(world: Consortium, rng: random.Random) -> None:
    world.now = TimeMs(world.now + rng.randrange(1, 900_000))


STEPS: list[Step] = [publish, approve, endorse, dispute, withdraw, propose, vote, replay, wait]


def lived(seed: int, steps: int = 40) -> Consortium:
    rng = random.Random(seed)
    world = Consortium().open_epochs()
    world.admit_platform()
    for _ in range(steps):
        rng.choice(STEPS)(world, rng)
    return world


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_state_is_a_function_of_the_leaves_alone(seed: int) -> None:
    world = lived(seed)
    again = Ledger.founded(world.founding.genesis)
    for time_ms, transactions in world.blocks:
        again.finalize(transactions, time_ms)
    assert again.app_hash() == world.ledger.app_hash()
    # A follower sees neither blocks nor rejections, and comes to the same state.
    follower = Ledger.founded(world.founding.genesis)
    from accord.statements.entries import parse_entry

    for leaf in world.leaves:
        entry = parse_entry(leaf)
        accepted = apply(follower.state, follower.chain, entry.statement, entry.time_ms)
        assert not isinstance(accepted, RejectCode)
        follower.state.commit(accepted.writes)
    assert follower.state.digest() == world.ledger.state.digest()
    assert tree_root(map(leaf_hash, world.leaves)) == world.ledger.frontier.root()


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_every_row_survives_its_encoding(seed: int) -> None:
    world = lived(seed)
    for table in TABLES.values():
        for _, row in world.ledger.state.rows(table):
            assert parse_row(table.name, record.encode_record(row)) == row


@given(st.integers(0, 2**32), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_a_mutated_transaction_is_refused_and_changes_nothing(seed: int, where: int) -> None:
    world = MUTANTS
    rng = random.Random(seed)
    _, transactions = rng.choice(world.blocks)
    raw = bytearray(transactions[0])
    raw[where % len(raw)] ^= 1 << rng.randrange(8)
    before = world.ledger.app_hash()
    result = world.ledger.finalize([bytes(raw)], world.now)
    assert isinstance(result.verdicts[0], RejectCode)
    assert world.ledger.app_hash() == before


MUTANTS = lived(7, 20)


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_only_malformed_leaves_a_parser(noise: bytes) -> None:
    for parse in (parse_envelope, parse_transaction):
        with contextlib.suppress(Malformed):
            parse(noise)


def test_the_frontier_is_the_log() -> None:
    world = lived(3)
    assert Frontier().extend(map(leaf_hash, world.leaves)) == world.ledger.frontier
    reader: Reader = world.ledger.state
    assert reader is world.ledger.state
