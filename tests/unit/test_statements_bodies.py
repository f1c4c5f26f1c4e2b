"""Bodies, envelopes, entries: exact bytes, and nothing else parses."""

import pytest

from accord.agency.founding import AGENCY_STAFF
from accord.statements.batch import Listing, batch_of, encode_batch, listings_of, parse_batch
from accord.statements.bodies import (
    Approve,
    Body,
    Dispute,
    DisputeReason,
    Endorse,
    Header,
    Keyset,
    RefRange,
    Role,
    encode_body,
    parse_body,
)
from accord.statements.entries import Entry, parse_entry
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_envelope,
    parse_transaction,
    seal_envelope,
)
from accord.wire import cbor
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.keys import VerifyKey
from consortium_kit import CHAIN, CLASS, Consortium, founding, keys_for, listings

HEADER = Header(MemberId("nl-one"), b"\x01" * 16, TimeMs(1_800_000_000_000))
APPROVE = Approve(HEADER, 7)
KEYS = keys_for("nl-one", AGENCY_STAFF)
ANALYST = next(key for key in KEYS if key.role is Role.ANALYST)


@pytest.mark.parametrize(
    "body",
    [
        APPROVE,
        Endorse(HEADER, (RefRange(3, 0, 5), RefRange(4, 0, 1)), 2),
        Dispute(HEADER, (RefRange(3, 0, 5),), DisputeReason.NOT_CSAM),
        Keyset(HEADER, 2, founding().genesis.agencies[0].keys),
    ],
    ids=lambda body: type(body).__name__,
)
def test_a_body_parses_back(body: Body) -> None:
    assert parse_body(encode_body(body)) == body


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "unheard-of"},
        {"member": "UPPER"},
        {"id": b"short"},
        {"entry": -1},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_changed_body_does_not_parse(change: dict[str, cbor.Value]) -> None:
    value = cbor.parse(encode_body(APPROVE))
    assert isinstance(value, dict)
    with pytest.raises(Malformed, match=r"record\."):
        parse_body(cbor.encode({**value, **change}))


def test_an_envelope_verifies_on_its_own_chain_only() -> None:
    raw = seal_envelope(CHAIN, ANALYST.key_id, APPROVE, ANALYST.sign)
    envelope = parse_envelope(raw)
    assert (envelope.body, envelope.key_id) == (APPROVE, ANALYST.key_id)
    envelope.verify(CHAIN, VerifyKey(ANALYST.public))
    with pytest.raises(Unproven):
        envelope.verify(ChainId("trial-other.example"), VerifyKey(ANALYST.public))


def test_every_flipped_bit_of_an_envelope_is_noticed() -> None:
    raw = seal_envelope(CHAIN, ANALYST.key_id, APPROVE, ANALYST.sign)
    for place in range(len(raw) * 8):
        broken = bytearray(raw)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises((Malformed, Unproven)):
            parse_envelope(bytes(broken)).verify(CHAIN, VerifyKey(ANALYST.public))


def test_entries_and_transactions_parse_back() -> None:
    entry = Entry(TimeMs(5), b"statement")
    assert parse_entry(entry.encode()) == entry
    for transaction in (Transaction(b"e", None), Transaction(b"e", b"blob")):
        assert parse_transaction(encode_transaction(transaction)) == transaction
    for value in ([2, 5, b""], [1, -5, b""], [1, 5], "x"):
        with pytest.raises(Malformed):
            parse_entry(cbor.encode(value))  # type: ignore[arg-type]  # A list of values.
        with pytest.raises(Malformed):
            parse_transaction(cbor.encode(value))  # type: ignore[arg-type]  # Likewise.


def test_batches_parse_back_with_gaps() -> None:
    rows = [*listings(9), Listing(CLASS, sha1=b"s" * 20), Listing(CLASS, md5=b"m" * 16)]
    batch = batch_of(rows)
    assert listings_of(batch) == rows
    assert parse_batch(encode_batch(batch)) == batch


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (Listing(CLASS), "record.count"),
        (Listing(CLASS, pdq=b"p" * 32, md5=b"m" * 16), "batch.quality"),
        (Listing(CLASS, pdq=b"p" * 32, pdq_quality=49), "batch.low_quality"),
        (Listing(CLASS, md5=b"short"), "batch.values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "row",
)
def test_a_listing_says_neither_too_little_nor_too_much(row: Listing, code: str) -> None:
    with pytest.raises(Malformed, match=code):
        batch_of([row])


def test_a_listing_without_any_fingerprint_is_refused_among_others() -> None:
    with pytest.raises(Malformed, match=r"batch\.empty_listing"):
        batch_of([*listings(3), Listing(CLASS)])


def test_a_consortium_keeps_its_leaves_below_the_bundle_limit() -> None:
    consortium = Consortium().open_epochs()
    consortium.publish("nl-one", listings(2))
    assert max(map(len, consortium.leaves)) < 65_535
