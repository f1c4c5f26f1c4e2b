"""Who may say what about listings."""

from dataclasses import replace

import pytest

from accord.agency.sealing import seal_batch
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of
from accord.statements.batch import batch_of
from accord.statements.bodies import (
    Approve,
    Dispute,
    DisputeReason,
    Endorse,
    RefRange,
    Role,
    Withdraw,
)
from accord.wire.digests import sha256
from accord.wire.ids import AGENCIES, GroupId, MemberId, TimeMs
from consortium_kit import GROUPS, Consortium, listings


@pytest.fixture(scope="module")
def ready() -> Consortium:
    return Consortium().open_epochs()


def test_a_batch_needs_a_second_person_of_the_same_agency(ready: Consortium) -> None:
    entry = ready.publish("nl-one", listings(2), approve=False)
    other = Approve(ready.header("ie-two"), entry)
    assert ready.say(other, Role.APPROVER) is RejectCode.NOT_THE_PUBLISHER
    assert ready.say(Approve(ready.header("nl-one"), entry), Role.ANALYST) is RejectCode.WRONG_ROLE
    ready.must(Approve(ready.header("nl-one"), entry), Role.APPROVER)
    again = Approve(ready.header("nl-one"), entry)
    assert ready.say(again, Role.APPROVER) is RejectCode.ALREADY_APPROVED
    unknown = Approve(ready.header("nl-one"), 0)
    assert ready.say(unknown, Role.APPROVER) is RejectCode.UNKNOWN_ENTRY


def test_endorsing_is_for_others_and_for_approved_listings(ready: Consortium) -> None:
    entry = ready.publish("nl-one", listings(3), approve=False)
    refs = (RefRange(entry, 0, 3),)
    early = Endorse(ready.header("ie-two"), refs, 1)
    assert ready.say(early, Role.ANALYST) is RejectCode.NOT_APPROVED
    ready.must(Approve(ready.header("nl-one"), entry), Role.APPROVER)
    own = Endorse(ready.header("nl-one"), refs, 1)
    assert ready.say(own, Role.ANALYST) is RejectCode.OWN_LISTING
    beyond = Endorse(ready.header("ie-two"), (RefRange(entry, 1, 3),), 1)
    assert ready.say(beyond, Role.ANALYST) is RejectCode.REF_OUT_OF_RANGE
    ready.must(Endorse(ready.header("ie-two"), refs, 1), Role.ANALYST)


def test_anybody_disputes_and_only_the_publisher_withdraws(ready: Consortium) -> None:
    entry = ready.publish("nl-one", listings(3))
    refs = (RefRange(entry, 0, 3),)
    ready.must(Dispute(ready.header("ca-three"), refs, DisputeReason.OTHER), Role.ANALYST)
    foreign = Withdraw(ready.header("ca-three"), refs, DisputeReason.OTHER)
    assert ready.say(foreign, Role.ANALYST) is RejectCode.NOT_THE_PUBLISHER
    ready.must(Withdraw(ready.header("nl-one"), refs, DisputeReason.OTHER), Role.ANALYST)


def test_a_blob_must_be_the_one_that_was_signed(ready: Consortium) -> None:
    body, blob = ready.publish_body("nl-one", listings(2))
    cases = {
        RejectCode.BLOB_MISSING: None,
        RejectCode.BLOB_MISMATCH: blob + b"x",
    }
    for code, wrong in cases.items():
        assert ready.say(body, Role.ANALYST, wrong) is code
    approve = Approve(ready.header("nl-one"), 0)
    assert ready.say(approve, Role.APPROVER, blob) is RejectCode.BLOB_MISMATCH
    stolen = replace(body, header=ready.header("ie-two"))
    assert ready.say(stolen, Role.ANALYST, blob) is RejectCode.BLOB_HEADER
    fewer = replace(body, groups=(AGENCIES,), epochs=body.epochs[:1])
    assert ready.say(fewer, Role.ANALYST, blob) is RejectCode.BLOB_HEADER
    garbage = replace(body, blob_sha256=sha256(b"garbage"))
    assert ready.say(garbage, Role.ANALYST, b"garbage") is RejectCode.MALFORMED


def test_a_batch_goes_to_every_agency_under_the_epochs_in_force(ready: Consortium) -> None:
    def publish(epochs: dict[str, int]) -> int | RejectCode:
        batch = batch_of(listings(1))
        keys = {GroupId(group): (number, bytes(32)) for group, number in epochs.items()}
        blob = seal_batch(ready.ledger.chain, MemberId("nl-one"), batch, keys)
        body, _ = ready.publish_body("nl-one", listings(1))
        body = replace(
            body,
            groups=tuple(sorted(keys)),
            epochs=tuple(keys[group][0] for group in sorted(keys)),
            blob_sha256=sha256(blob),
        )
        return ready.say(body, Role.ANALYST, blob)

    assert publish({"platforms": 1}) is RejectCode.MISSING_AGENCIES_GROUP
    assert publish({"agencies": 2, "platforms": 1}) is RejectCode.EPOCH_NOT_CURRENT
    assert publish({"agencies": 1, "others": 1}) is RejectCode.UNKNOWN_GROUP


def test_a_statement_counts_once_and_in_its_time(ready: Consortium) -> None:
    entry = ready.publish("nl-one", listings(1), approve=False)
    raw = ready.sign(Approve(ready.header("nl-one"), entry), Role.APPROVER)
    first, second = ready.block(raw, raw).verdicts
    assert (isinstance(first, int), second) == (True, RejectCode.REPLAYED)
    assert ready.block(raw).verdicts == (RejectCode.REPLAYED,)
    late = ready.header("nl-one")
    for not_after, code in (
        (ready.now, RejectCode.EXPIRED),
        (ready.now + 3_700_000, RejectCode.TOO_FAR_AHEAD),
    ):
        body = Approve(replace(late, not_after_ms=TimeMs(not_after)), entry)
        assert ready.say(body, Role.APPROVER) is code


def test_replays_are_refused_until_they_have_expired_and_then_forgotten() -> None:
    consortium = Consortium().open_epochs()
    raw = consortium.sign(*_dispute(consortium))
    assert isinstance(consortium.block(raw).verdicts[0], int)
    for minutes in range(1, 15):
        consortium.now = TimeMs(consortium.now + 60_000)
        consortium.publish("nl-one", listings(1))  # Time moves the ledger's memory on.
        verdict = consortium.block(raw).verdicts[0]
        assert verdict in (RejectCode.REPLAYED, RejectCode.EXPIRED), minutes
    assert verdict is RejectCode.EXPIRED


def _dispute(consortium: Consortium) -> tuple[Dispute, Role]:
    entry = consortium.publish("nl-one", listings(1))
    refs = (RefRange(entry, 0, 1),)
    return Dispute(consortium.header("ie-two"), refs, DisputeReason.OTHER), Role.ANALYST


def test_a_stranger_and_a_borrowed_name_are_refused(ready: Consortium) -> None:
    body = Approve(ready.header("nl-one"), 0)
    ready.keys[MemberId("nl-one")], kept = (
        ready.keys[MemberId("ie-two")],
        ready.keys[MemberId("nl-one")],
    )
    borrowed = ready.sign(body, Role.APPROVER)
    ready.keys[MemberId("nl-one")] = kept
    assert ready.block(borrowed).verdicts == (RejectCode.WRONG_MEMBER,)
    good = ready.sign(body, Role.APPROVER)
    forged = good[:-2] + bytes([good[-2] ^ 1]) + good[-1:]
    assert ready.block(forged).verdicts == (RejectCode.BAD_SIGNATURE,)
    assert ready.block(b"noise").verdicts == (RejectCode.MALFORMED,)


def test_a_rejection_changes_nothing(ready: Consortium) -> None:
    before = ready.ledger.app_hash()
    body, blob = ready.publish_body("nl-one", listings(1))
    ready.now = TimeMs(ready.now + 120_000)
    wrong = replace(body, epochs=(9, 9))
    assert isinstance(ready.say(wrong, Role.ANALYST, blob), RejectCode)
    assert ready.ledger.app_hash() == before


def test_one_member_cannot_fill_a_block() -> None:
    consortium = Consortium().open_epochs()
    large = []
    for number in range(6):
        body, blob = consortium.publish_body("nl-one", listings(7_000, str(number)))
        large.append(consortium.sign(body, Role.ANALYST, blob))
    small_body, small_blob = consortium.publish_body("ie-two", listings(1))
    small = consortium.sign(small_body, Role.ANALYST, small_blob)
    verdicts = consortium.block(*large, small).verdicts
    assert RejectCode.OVER_QUOTA in verdicts
    assert isinstance(verdicts[-1], int)


def test_groups_have_their_first_epoch(ready: Consortium) -> None:
    assert [epoch_of(ready.ledger.state, group).number for group in GROUPS] == [1, 1]
