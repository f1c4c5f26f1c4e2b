"""A stolen root under a vote, and rules of another version than the software has."""

from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF, TRIAL_PARAMETERS
from accord.client.home import PrivateKey, role_keys
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.state import PROPOSALS, ProposalStatus, index_key
from accord.node.store import Store
from accord.replica.replica import Replica, sync_any
from accord.statements.bodies import Keyset, Propose, ReplaceKeys, Role, Vote
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId, OperatorId, TimeMs
from consortium_kit import CHAIN, Consortium, derived_key, founding
from source_kit import ConsortiumSource, now_of

VICTIM = MemberId("nl-one")
LOCK_MS = 3_600_000
BOTH = frozenset({1, 2})


@pytest.fixture
def four() -> Consortium:
    return Consortium(founding(parameters=replace(TRIAL_PARAMETERS, time_lock_ms=LOCK_MS)))


def fresh_keys() -> tuple[PrivateKey, ...]:
    """What the agency applies with anew, on a machine that no thief has seen."""
    return tuple(derived_key("nl-one/new", role, operator) for role, operator in AGENCY_STAFF)


def thieves_keyset(four: Consortium, version: int, *more: PrivateKey) -> Keyset:
    keys = [key for key in four.keys[VICTIM] if key.role not in {k.role for k in more}]
    return Keyset(four.header(VICTIM), version, role_keys(CHAIN, VICTIM, [*keys, *more]))


def propose(four: Consortium) -> int:
    action = ReplaceKeys(VICTIM, role_keys(CHAIN, VICTIM, fresh_keys()))
    return four.must(Propose(four.header("ie-two"), action), Role.GOVERNOR)


def pass_it(four: Consortium, entry: int) -> None:
    for agency in ("ca-three", "nl-four"):
        four.must(Vote(four.header(agency), entry, approve=True), Role.GOVERNOR)


def status(four: Consortium, entry: int) -> ProposalStatus:
    row = four.ledger.state.get(PROPOSALS, index_key(entry))
    assert row is not None
    return row.status


def test_once_the_vote_has_passed_the_stolen_root_changes_nothing(four: Consortium) -> None:
    entry = propose(four)
    thief = derived_key("thief", Role.ANALYST, "thief")
    four.must(thieves_keyset(four, 2, thief), Role.ROOT)  # One agency's word stops nobody.
    pass_it(four, entry)
    assert status(four, entry) is ProposalStatus.PASSED
    again = derived_key("thief", Role.COSIGNER, "thief")
    assert four.say(thieves_keyset(four, 3, thief, again), Role.ROOT) is RejectCode.KEYSET_SUSPENDED
    other = Keyset(
        four.header("ie-two"),
        2,
        role_keys(CHAIN, MemberId("ie-two"), four.keys[MemberId("ie-two")]),
    )
    four.must(other, Role.ROOT)  # Nobody else's.
    four.now = TimeMs(four.now + LOCK_MS)
    four.keys[VICTIM] = fresh_keys()
    four.must(
        Keyset(four.header(VICTIM), 4, role_keys(CHAIN, VICTIM, four.keys[VICTIM])), Role.ROOT
    )
    assert status(four, entry) is ProposalStatus.DONE


@pytest.mark.parametrize("operator", ["node", "thief"])
def test_a_thief_cannot_make_the_vote_fail_by_taking_up_the_proposed_keys(
    four: Consortium, operator: str
) -> None:
    """Their proofs stand in the proposal for all to read; a taken key could not be installed."""
    entry = propose(four)
    (proposed,) = (key for key in fresh_keys() if key.role is Role.COSIGNER)
    stolen = replace(proposed, operator=OperatorId(operator))
    assert four.say(thieves_keyset(four, 2, stolen), Role.ROOT) is RejectCode.KEY_REUSED
    pass_it(four, entry)
    four.now = TimeMs(four.now + LOCK_MS)
    four.keys[VICTIM] = fresh_keys()
    four.must(
        Keyset(four.header(VICTIM), 3, role_keys(CHAIN, VICTIM, four.keys[VICTIM])), Role.ROOT
    )
    assert status(four, entry) is ProposalStatus.DONE


def test_a_vote_that_lapsed_binds_nobody(four: Consortium) -> None:
    propose(four)
    four.now = TimeMs(four.now + TRIAL_PARAMETERS.proposal_life_ms)
    (proposed,) = (key for key in fresh_keys() if key.role is Role.COSIGNER)
    four.must(thieves_keyset(four, 2, proposed), Role.ROOT)


# Rules of another version.


@pytest.fixture
def upgraded() -> Consortium:
    """A consortium whose vote on fold 2 has passed; it takes effect with the next entry."""
    made = Consortium(founding(parameters=replace(TRIAL_PARAMETERS, time_lock_ms=LOCK_MS)))
    made.decide(Propose(made.header("nl-one"), replace(TRIAL_PARAMETERS, fold_version=2)))
    made.now = TimeMs(made.now + LOCK_MS)
    return made


def a_statement(world: Consortium) -> bytes:
    return world.sign(Propose(world.header("nl-one"), TRIAL_PARAMETERS), Role.GOVERNOR)


def with_both(world: Consortium) -> Ledger:
    """The same ledger, of software that has both versions."""
    ledger = Ledger.begun(world.founding, (), BOTH)
    for time_ms, block in world.blocks:
        ledger.finalize(block, time_ms)
    return ledger


def test_software_without_the_voted_rules_stops_at_that_entry_and_not_before(
    upgraded: Consortium,
) -> None:
    at, raw = len(upgraded.leaves), a_statement(upgraded)
    before = upgraded.ledger.app_hash()
    assert upgraded.ledger.finalize([], upgraded.now).app_hash == before  # An empty block is none.
    early = TimeMs(upgraded.now - LOCK_MS)
    assert upgraded.ledger.check(raw, early) in (None, RejectCode.TOO_FAR_AHEAD)
    for judge in (
        lambda: upgraded.ledger.check(raw, upgraded.now),
        lambda: list(upgraded.ledger.foresee([raw], upgraded.now)),
        lambda: upgraded.ledger.finalize([raw], upgraded.now),
    ):
        with pytest.raises(Unavailable, match=r"ledger\.fold_version") as caught:
            judge()
        detail = caught.value.detail
        assert (detail["entry"], detail["voted"], detail["here"]) == (at, 2, "1")
        assert "install" in str(detail["mend"])
    assert upgraded.ledger.app_hash() == before
    after = with_both(upgraded)
    assert after.finalize([raw], upgraded.now).verdicts == (at,)


def test_a_node_that_went_back_to_old_software_does_not_start(
    upgraded: Consortium, tmp_path: Path
) -> None:
    store = Store(tmp_path / "node.db", upgraded.founding, folds=BOTH)
    ledger = store.ledger()
    for time_ms, block in upgraded.blocks:
        store.commit(ledger.finalize(block, time_ms))
    store.close()
    Store(tmp_path / "node.db", upgraded.founding).close()
    store = Store(tmp_path / "node.db", upgraded.founding, folds=BOTH)
    store.commit(store.ledger().finalize([a_statement(upgraded)], upgraded.now))
    store.close()
    store = Store(tmp_path / "node.db", upgraded.founding)
    with pytest.raises(Unavailable, match=r"ledger\.fold_version"):
        store.ledger()
    store.close()


def test_a_follower_stops_where_the_rules_change(upgraded: Consortium, tmp_path: Path) -> None:
    source, now = ConsortiumSource(upgraded), now_of(upgraded)
    at = len(upgraded.leaves)
    old = Replica(tmp_path / "old", upgraded.founding, None, allow_trial=True)
    old.sync(source, now)
    upgraded.ledger = with_both(upgraded)
    upgraded.block(a_statement(upgraded))
    source = ConsortiumSource(upgraded, folds=BOTH)
    with pytest.raises(Unavailable, match=r"ledger\.fold_version") as caught:
        sync_any(old, [source], now)
    assert caught.value.detail["entry"] == at
    assert old.size == at
    old.close()
    new = Replica(tmp_path / "old", upgraded.founding, None, allow_trial=True, folds=BOTH)
    new.sync(source, now)
    assert new.size == at + 1
    new.close()
