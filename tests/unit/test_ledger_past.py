"""A log that goes on under a new genesis: one state from the bytes that were pinned, or none."""

import json
from dataclasses import replace

import pytest

from accord.agency.founding import TRIAL_PARAMETERS
from accord.agency.sealing import wrap_epoch
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.genesis import encode_genesis, parse_genesis
from accord.ledger.membership import agencies, parameters
from accord.ledger.past import begin
from accord.ledger.state import (
    AGENCIES_TABLE,
    AGENDA,
    KEYS,
    PLATFORMS,
    PROPOSALS,
    ProposalStatus,
    Standing,
    index_key,
)
from accord.ledger.views import cosigners, validators
from accord.statements.bodies import Approve, Propose, Role, Vote, Wrap
from accord.tlog import leaf_hash, tree_root
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import AGENCIES, ChainId
from accord.wire.limits import CONTINUATIONS_MAX
from bytes_kit import bent
from consortium_kit import CHAIN, Consortium, founding, listings, plan
from continuing_kit import NEWCOMERS, SECOND, Shape, continuing, go_on


@pytest.fixture(scope="module")
def world() -> Consortium:
    made = Consortium().open_epochs()
    made.admit_platform()
    made.open_epoch(made.founding.genesis.groups[1])
    made.publish("nl-one", listings(3))
    made.publish("ca-three", listings(2, "other"))
    return made


def test_a_genesis_that_continues_nothing_has_the_bytes_it_always_had(world: Consortium) -> None:
    raw = encode_genesis(world.founding.genesis)
    assert "continues" not in json.loads(raw)
    null = json.dumps({**json.loads(raw), "continues": None}, indent=2, sort_keys=True)
    with pytest.raises(Malformed, match=r"genesis\.not_canonical"):
        parse_genesis(null.encode() + b"\n")


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_says_whether_it_continues(world: Consortium, version: int) -> None:
    genesis = replace(continuing(world).genesis, version=version)
    with pytest.raises(Malformed, match=r"genesis\.version"):
        parse_genesis(encode_genesis(genesis))


def test_entries_keep_their_numbers_and_members_their_places(world: Consortium) -> None:
    after = go_on(world)
    state = after.ledger.state
    assert after.ledger.frontier.root() == tree_root(map(leaf_hash, world.leaves))
    assert sorted(agencies(state)) == ["de-six", "fr-five", "ie-two", "nl-one"]
    numbers = {key.decode(): row.number for key, row in state.rows(AGENCIES_TABLE)}
    assert numbers == {
        "nl-one": 0,
        "ie-two": 1,
        "ca-three": 2,
        "nl-four": 3,
        "de-six": 4,
        "fr-five": 5,
    }
    gone = state.get(AGENCIES_TABLE, b"ca-three")
    assert gone is not None
    assert gone.standing is Standing.REMOVED
    platform = state.get(PLATFORMS, b"cloud")
    assert platform is not None
    assert platform.standing is Standing.ADMITTED
    size = len(world.leaves)
    proposal = after.must(Propose(after.header("nl-one"), TRIAL_PARAMETERS), Role.GOVERNOR)
    assert proposal == size


def test_parameters_and_signers_are_those_of_the_new_genesis(world: Consortium) -> None:
    shape = Shape(parameters=replace(TRIAL_PARAMETERS, time_lock_ms=5))
    after = go_on(world, shape)
    state, before = after.ledger.state, world.ledger.state
    assert parameters(state).time_lock_ms == 5
    assert set(validators(state)) == set(agencies(state))
    assert not set(validators(state).values()) & set(validators(before).values())
    old = {key.key.raw for _, key in cosigners(before, CHAIN)}
    assert not old & {key.key.raw for _, key in cosigners(state, SECOND)}
    revoked = [row for _, row in state.rows(KEYS) if row.public in old and row.revoked_ms]
    assert {row.member for row in revoked} == {"nl-one", "ie-two"}


def test_what_was_under_way_ends(world: Consortium) -> None:
    entry = world.must(
        Propose(world.header("nl-one"), replace(TRIAL_PARAMETERS, time_lock_ms=9)), Role.GOVERNOR
    )
    after = go_on(world)
    row = after.ledger.state.get(PROPOSALS, index_key(entry))
    assert row is not None
    assert row.status is ProposalStatus.LAPSED
    assert not list(after.ledger.state.rows(AGENDA))
    vote = Vote(after.header("nl-one"), entry, approve=True)
    assert after.say(vote, Role.GOVERNOR) is RejectCode.PROPOSAL_CLOSED


def test_nothing_is_sealed_or_handed_out_under_a_key_of_those_who_are_gone(
    world: Consortium,
) -> None:
    after = go_on(world)
    body, blob = after.publish_body("nl-one", listings(1, "new"))
    assert after.say(body, Role.ANALYST, blob) is RejectCode.EPOCH_ROTATION_DUE
    state = after.ledger.state
    number, to = epoch_of(state, AGENCIES).number, recipients_of(state, AGENCIES)
    publics = [(item, row.public) for item in to if (row := state.get(KEYS, item.key_id))]
    wraps = wrap_epoch(after.chain, AGENCIES, number, bytes(32), publics, None)
    wrap = Wrap(after.header("nl-one"), AGENCIES, number, to, sha256(wraps))
    assert after.say(wrap, Role.KEEPER, wraps) is RejectCode.EPOCH_ROTATION_DUE
    number = epoch_of(after.ledger.state, AGENCIES).number
    after.open_epochs()
    assert epoch_of(after.ledger.state, AGENCIES).number == number + 1
    after.publish("fr-five", listings(1, "new"))


def test_no_statement_of_the_old_chain_counts_again(world: Consortium) -> None:
    """Neither one that was logged nor one that never was."""
    unlogged = world.sign(Approve(world.header("nl-one"), 5), Role.APPROVER)
    after = go_on(world)
    old = [raw for _, block in world.blocks for raw in block]
    codes = {after.block(raw).verdicts[0] for raw in [*old, unlogged]}
    assert codes <= {
        RejectCode.BAD_SIGNATURE,
        RejectCode.MEMBER_SUSPENDED,
        RejectCode.UNKNOWN_KEY,
        RejectCode.EXPIRED,
    }
    assert after.block(unlogged).verdicts == (RejectCode.BAD_SIGNATURE,)


@pytest.mark.parametrize("role", [Role.CONSENSUS, Role.COSIGNER])
def test_what_signed_the_old_log_signs_nothing_on_the_new_one(
    world: Consortium, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "continuing_kit.FRESH", [r for r in (Role.CONSENSUS, Role.COSIGNER) if r is not role]
    )
    with pytest.raises(Malformed, match=r"genesis\.agency.*key_reused"):
        go_on(world)


def test_a_newcomer_cannot_take_the_name_of_who_left_or_of_a_platform(world: Consortium) -> None:
    with pytest.raises(Malformed, match=r"genesis\.agency.*invalid_action"):
        go_on(world, Shape(newcomers=(plan("cloud", "FR"),)))
    first = go_on(world)
    again = Shape(("nl-one", "ie-two"), (plan("ca-three", "CA"),), ChainId("trial-tests-3"))
    with pytest.raises(Malformed, match=r"genesis\.agency.*(invalid_action|key_reused)"):
        go_on(first, again)


def test_other_leaves_than_those_that_were_pinned_found_nothing(world: Consortium) -> None:
    made, leaves = continuing(world), world.leaves
    begin(made, leaves)
    changed = bent(leaves[5])
    for wrong in (
        leaves[:-1],
        [*leaves, leaves[-1]],
        [*leaves[:5], changed, *leaves[6:]],
        [leaves[1], leaves[0], *leaves[2:]],
        [],
    ):
        with pytest.raises(Unproven, match=r"genesis\.past"):
            begin(made, wrong)


def test_a_pinned_leaf_that_breaks_a_rule_founds_nothing(world: Consortium) -> None:
    """A root says which leaves, not that they were ever right."""
    leaves = [*world.leaves, world.leaves[-1]]
    made = continuing(world, Shape(), tree_root(map(leaf_hash, leaves)))
    pinned = replace(made.genesis.continues, size=len(leaves)) if made.genesis.continues else None
    other = parse_genesis(
        encode_genesis(replace(made.genesis, continues=pinned)),
        [encode_genesis(world.founding.genesis)],
    )
    with pytest.raises(Unproven, match=r"genesis\.past.*replayed"):
        begin(other, leaves)


def test_somebody_who_can_open_the_old_keys_must_go_on(world: Consortium) -> None:
    with pytest.raises(Malformed, match=r"genesis\.no_opener"):
        go_on(world, Shape(survivors=(), newcomers=NEWCOMERS))


def test_it_can_happen_again_and_an_older_file_is_needed_each_time(world: Consortium) -> None:
    first = go_on(world).open_epochs()
    first.publish("fr-five", listings(1, "first"))
    third = Shape(("fr-five", "nl-one"), (plan("es-seven", "ES"),), ChainId("trial-tests-3"))
    second = go_on(first, third)
    assert begin(second.founding, first.leaves).state.digest() == second.ledger.state.digest()
    assert [f.genesis.chain for f in second.founding.line()] == [CHAIN, SECOND, "trial-tests-3"]
    size = first.founding.begins_at
    assert second.founding.chain_at(size - 1) == CHAIN
    assert second.founding.chain_at(size) == SECOND
    assert second.founding.chain_at(len(first.leaves)) == "trial-tests-3"
    lacking = parse_genesis(
        encode_genesis(second.founding.genesis), [encode_genesis(first.founding.genesis)]
    )
    with pytest.raises(Malformed, match=r"genesis\.no_previous"):
        begin(lacking, first.leaves)


def test_a_chain_id_is_used_once(world: Consortium) -> None:
    with pytest.raises(Malformed, match=r"genesis\.chain"):
        continuing(world, Shape(chain=CHAIN))
    first = go_on(world)
    with pytest.raises(Malformed, match=r"genesis\.chain"):
        continuing(first, Shape(("nl-one",), (), CHAIN))


def test_continuations_are_bounded() -> None:
    current = Consortium()
    for number in range(CONTINUATIONS_MAX):
        shape = Shape(("nl-one",), (), ChainId(f"trial-{number}"))
        current = go_on(current, shape)
    with pytest.raises(Malformed, match=r"genesis\.continuations"):
        go_on(current, Shape(("nl-one",), (), ChainId("trial-more")))


def test_only_the_genesis_that_is_named_is_continued(world: Consortium) -> None:
    other = founding((plan("nl-one", "NL"),))
    made = continuing(world)
    raw = encode_genesis(made.genesis)
    assert parse_genesis(raw, [encode_genesis(other.genesis)]).previous is None
    pinned = made.genesis.continues
    assert pinned is not None
    wrong = replace(made.genesis, continues=replace(pinned, chain=ChainId("trial-elsewhere")))
    with pytest.raises(Malformed, match=r"genesis\.continues"):
        parse_genesis(encode_genesis(wrong), [encode_genesis(world.founding.genesis)])


def test_both_ways_to_the_start_agree_with_a_ledger_that_went_on(world: Consortium) -> None:
    after = go_on(world).open_epochs()
    again = Ledger.begun(after.founding, iter(world.leaves))
    for time_ms, block in after.blocks:
        result = again.finalize(block, time_ms)
    assert result.app_hash == after.ledger.app_hash()
