"""Going on from a new genesis: one state and one app hash, whoever folds and in whatever pieces."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.ledger.block import Ledger
from accord.ledger.membership import consortium
from accord.ledger.past import begin, fold_leaf
from accord.ledger.state import Draft
from accord.statements.bodies import Role, Vote
from accord.tlog import leaf_hash, tree_root
from accord.wire.errors import Unproven
from accord.wire.ids import AGENCIES
from consortium_kit import Consortium, listings
from continuing_kit import NEWCOMERS, Shape, continuing, go_on


def world_of(seed: int) -> Consortium:
    rng = random.Random(seed)
    world = Consortium().open_epochs()
    for number in range(rng.randrange(4)):
        agency = rng.choice(world.agencies)
        world.publish(agency, listings(rng.randrange(1, 4), str(number)))
        world.say(Vote(world.header(agency), number, approve=True), Role.GOVERNOR)
    return world


def shape_of(world: Consortium, rng: random.Random) -> Shape:
    survivors = rng.sample(world.agencies, rng.randrange(1, 5))
    return Shape(survivors, NEWCOMERS[: rng.randrange(3)])


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_every_path_to_the_start_gives_one_state(seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(seed)
    after = go_on(world, shape_of(world, rng))
    start = begin(after.founding, iter(world.leaves))
    assert start.state.digest() == after.ledger.state.digest()
    assert start.frontier.root() == tree_root(map(leaf_hash, world.leaves))
    after.open_epoch(AGENCIES, after.shape.survivors[0])
    ledger = Ledger.begun(after.founding, world.leaves)
    for time_ms, block in after.blocks:
        ledger.finalize(block, time_ms)
    for leaf in after.leaves[len(world.leaves) :]:  # As a follower does.
        draft = Draft(start.state)
        assert not isinstance(fold_leaf(draft, after.chain, leaf), str)
        start.state.commit(draft.writes())
    assert start.state.digest() == ledger.state.digest()
    assert ledger.app_hash() == after.ledger.app_hash()
    assert consortium(start.state).size == len(after.leaves)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_no_other_log_fits_the_pin(seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(seed)
    founding = continuing(world, shape_of(world, rng))
    leaves = list(world.leaves)
    match rng.randrange(4):
        case 0:
            leaves = leaves[: rng.randrange(len(leaves))]
        case 1:
            place = rng.randrange(len(leaves))
            bit = rng.randrange(8 * len(leaves[place]))
            number = int.from_bytes(leaves[place], "big") ^ (1 << bit)
            leaves[place] = number.to_bytes(len(leaves[place]), "big")
        case 2:
            leaves.insert(rng.randrange(len(leaves)), rng.choice(leaves))
        case _:
            del leaves[rng.randrange(len(leaves))]
    with pytest.raises(Unproven, match=r"genesis\.past"):
        begin(founding, leaves)
