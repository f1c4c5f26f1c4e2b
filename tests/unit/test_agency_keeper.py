"""Keepers put epochs in force together, keep newcomers served, and never acknowledge garbage."""

from pathlib import Path

import pytest

from accord.agency.keeper import AcknowledgeEpoch, OpenEpoch, WrapEpoch, decide_tasks, rank_of
from accord.agency.sealing import seal_epoch
from accord.client.home import new_key, role_keys
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.state import KEYS
from accord.statements.bodies import Epoch, Keyset, Propose, RemoveAgency, RemovePlatform, Role
from accord.statements.confidential import open_batch
from accord.wire.digests import sha256
from accord.wire.ids import AGENCIES, MemberId, OperatorId, TimeMs
from accord.wire.limits import EPOCH_PENDING_MS_MAX, KEEPER_TURN_MS
from consortium_kit import CHAIN, GROUPS, Consortium, listings
from desk_kit import Agencies, Book

PLATFORMS = GROUPS[1]


@pytest.fixture
def house(tmp_path: Path) -> Agencies:
    return Agencies(tmp_path, Consortium())


def numbers(house: Agencies) -> list[int]:
    return [epoch_of(house.consortium.ledger.state, group).number for group in GROUPS]


def later(house: Agencies, ms: int) -> None:
    house.consortium.now = TimeMs(house.consortium.now + ms)


def test_four_keepers_found_the_first_epochs_without_a_race(house: Agencies) -> None:
    house.settle()
    assert numbers(house) == [1, 1]
    held = [place for book in house.books.values() for place in book.keyring.keys]
    assert len(held) == 2 * 4
    assert house.line.entries.keys() == {sha256(sent) for sent in house.line.sent}


def test_the_next_agency_acts_when_the_first_does_not(house: Agencies) -> None:
    assert rank_of(house.consortium.ledger.state, MemberId("ie-two")) == 1
    assert house.step("ie-two") == []
    later(house, KEEPER_TURN_MS - 1)
    assert house.step("ie-two") == []
    later(house, 1)
    assert [type(done.task) for done in house.step("ie-two")] == [OpenEpoch, OpenEpoch]


def test_out_of_turn_acts_at_once(house: Agencies) -> None:
    done = house.step("nl-four", out_of_turn=True)
    assert [type(d.task) for d in done] == [OpenEpoch, OpenEpoch]


def test_a_lost_race_is_a_rejection_and_nothing_else(house: Agencies) -> None:
    house.step("nl-one")
    stale = house.keepers[MemberId("ie-two")]
    state = Consortium().ledger.state  # What ie-two saw before.
    tasks = decide_tasks(
        state, house.books[MemberId("ie-two")].keyring, MemberId("ie-two"), house.now()
    )
    done = [stale._do(task) for task in tasks]
    assert {d.code for d in done} == {"reject.epoch_pending"}


def test_a_newcomer_gets_the_key_and_reads_all_history(house: Agencies) -> None:
    house.settle()
    house.consortium.epoch_keys |= house.books[MemberId("nl-one")].keyring.keys
    body, blob = house.consortium.publish_body("nl-one", listings(3))
    house.consortium.must(body, Role.ANALYST, blob)
    house.consortium.admit_platform("cloud")
    assert [type(d.task) for d in house.step("nl-one")] == [WrapEpoch]
    cloud = Book(house.consortium, MemberId("cloud"))
    cloud.sync()
    assert set(cloud.keyring.keys) == {(PLATFORMS, 1)}
    batch = open_batch(CHAIN, body, blob, cloud.keyring.keys)
    assert batch is not None
    assert batch.count == 3


def test_after_a_removal_the_next_epoch_leaves_the_member_out(house: Agencies) -> None:
    house.consortium.admit_platform("cloud")
    house.settle()
    head = house.consortium.header("nl-one")
    house.consortium.decide(Propose(head, RemovePlatform(MemberId("cloud"))))
    house.settle()
    assert numbers(house) == [1, 2]
    cloud = Book(house.consortium, MemberId("cloud"))
    cloud.sync()
    assert set(cloud.keyring.keys) == {(PLATFORMS, 1)}
    assert all((PLATFORMS, 2) in book.keyring.keys for book in house.books.values())


def test_a_removed_agency_has_nothing_to_keep(house: Agencies) -> None:
    house.settle()
    head = house.consortium.header("nl-one")
    house.consortium.decide(Propose(head, RemoveAgency(MemberId("nl-four"))))
    assert house.step("nl-four", out_of_turn=True) == []
    house.settle()
    assert numbers(house) == [2, 2]


def test_a_changed_decryptor_key_gets_the_current_key_and_then_a_new_epoch(house: Agencies) -> None:
    house.settle()
    member = MemberId("ie-two")
    keys = [k for k in house.consortium.keys[member] if k.role is not Role.DECRYPTOR]
    keys.append(new_key(Role.DECRYPTOR, OperatorId("keeper")))
    body = Keyset(house.consortium.header(member), 2, role_keys(CHAIN, member, keys))
    house.consortium.must(body, Role.ROOT)
    house.consortium.keys[member] = tuple(keys)
    house.settle()
    assert numbers(house) == [2, 2]
    fresh = Book(house.consortium, member)
    fresh.sync()
    assert set(fresh.keyring.keys) == {(group, n) for group in GROUPS for n in (1, 2)}


def garbled(house: Agencies) -> Epoch:
    """An epoch whose blob opens to another key than committed."""
    state = house.consortium.ledger.state
    to = recipients_of(state, AGENCIES)
    publics = [(r, row.public) for r in to if (row := state.get(KEYS, r.key_id))]
    right = seal_epoch(CHAIN, AGENCIES, 1, publics, None)
    wrong = seal_epoch(CHAIN, AGENCIES, 1, publics, None)
    header = house.consortium.header("ca-three")
    body = Epoch(header, AGENCIES, 1, right.commitment, to, sha256(wrong.blob))
    house.consortium.must(body, Role.KEEPER, wrong.blob)
    return body


def test_a_garbled_epoch_is_not_acknowledged_and_is_replaced(house: Agencies) -> None:
    body = garbled(house)
    house.settle()
    row = epoch_of(house.consortium.ledger.state, AGENCIES)
    assert row.number == 0
    assert row.pending is not None
    assert (row.pending.commitment, row.pending.acknowledged) == (body.commitment, ())
    later(house, EPOCH_PENDING_MS_MAX)
    house.settle()
    assert numbers(house) == [1, 1]


def test_a_sound_epoch_waits_for_keepers_that_are_away(house: Agencies) -> None:
    house.step("nl-one")
    house.step("nl-one")
    later(house, 10 * EPOCH_PENDING_MS_MAX)
    tasks = house.step("nl-one", "ie-two")
    assert {type(done.task) for done in tasks} == {AcknowledgeEpoch}
    assert house.step("nl-one", "ie-two", out_of_turn=True) == []
    house.step("ca-three")
    assert numbers(house) == [1, 1]
