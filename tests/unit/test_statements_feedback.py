"""Words about listings: their bytes, whom they open for, and what is refused."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.ledger.apply import check_blob
from accord.ledger.codes import RejectCode
from accord.scan.cases.sealed import hearers, seal_feedback, wrap_content_key
from accord.statements.bodies import Feedback, Recipient, Role
from accord.statements.confidential import load_decrypt_private
from accord.statements.envelope import Transaction, seal_envelope
from accord.statements.feedback import (
    Columns,
    Reason,
    Word,
    encode_words,
    fits,
    open_feedback,
    parse_feedback_blob,
    parse_words,
)
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, KeyId, ListingRef, MemberId
from accord.wire.limits import FEEDBACK_WORDS_MAX
from accord.wire.record import encode_record, parse_record
from bytes_kit import bent
from consortium_kit import CHAIN, Consortium, derived_key
from feedback_kit import feedback_body, word

NL = MemberId("nl-one")
WORDS = (
    word("12/3", Reason.FALSE_NEAR, "pdq"),
    word("12/3", Reason.CONFIRMED),
    word("15/0", Reason.NOISY, ""),
)
REFS = st.builds(ListingRef, st.integers(0, 2**40), st.integers(0, 9_999))
ANY_WORD = st.builds(
    Word,
    REFS,
    st.sampled_from(["", "pdq", "md5", "later-one"]),
    st.booleans(),
    st.sampled_from(Reason),
)


@pytest.fixture(scope="module")
def world() -> Consortium:
    consortium = Consortium()
    consortium.admit_platform()
    return consortium


def keys_of(member: str) -> dict[KeyId, object]:
    key_id, private = load_decrypt_private(derived_key(member, Role.DECRYPTOR, "keeper").seed)
    return {KeyId(key_id): private}


def opened(
    body: Feedback, blob: bytes, member: str = "nl-one", chain: ChainId = CHAIN
) -> tuple[Word, ...] | None:
    return open_feedback(chain, body, blob, MemberId(member), keys_of(member))  # type: ignore[arg-type]


@given(st.lists(ANY_WORD, min_size=1, max_size=20), st.integers(0, 2**32))
def test_words_are_one_string_of_bytes_and_nothing_near_it_parses(
    words: list[Word], place: int
) -> None:
    raw = encode_words(words)
    said = parse_words(raw)
    assert set(said) == set(words)
    assert encode_words(said) == encode_words(reversed(words)) == raw
    at = place % len(raw)
    for near_miss in (raw[:at], raw + b"\x00", raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]):
        try:
            other = parse_words(near_miss)
        except Malformed:
            continue
        assert encode_words(other) == near_miss, "whatever parses is what would be written"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"near_of": b"\x02\x00\x00"}, "feedback.number"),
        ({"reason_of": b"\x00\x00\x06"}, "feedback.number"),
        ({"algorithm_of": b"\x03\x02\x01"}, "feedback.number"),
        ({"algorithm_of": b"\x01\x01\x01"}, "feedback.algorithms"),
        ({"near_of": b"\x00\x00"}, "feedback.columns"),
        ({"count": 2}, "feedback.columns"),
        ({"refs": bytes(37)}, "feedback.columns"),
        ({"refs": bytes(8) + b"\x00\x00\x27\x10" + bytes(24)}, "feedback.ordinal"),
        ({"refs": bytes(36)}, "feedback.order"),
        ({"version": 2}, "record.range"),
    ],
)
def test_columns_that_do_not_fit_are_named(change: dict[str, object], code: str) -> None:
    columns = parse_record(Columns, encode_words(WORDS))
    raw = encode_record(replace(columns, **change))  # type: ignore[arg-type]  # One field each.
    with pytest.raises(Malformed) as refused:
        parse_words(raw)
    assert refused.value.code == code


def test_no_words_and_too_many_are_refused() -> None:
    with pytest.raises(Malformed, match=r"feedback.count"):
        encode_words([])
    with pytest.raises(Malformed, match=r"feedback.count"):
        encode_words(word(f"{entry}/0") for entry in range(FEEDBACK_WORDS_MAX + 1))


def test_every_agency_opens_it_and_nobody_else(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    for agency in world.agencies:
        assert opened(body, blob, agency) == WORDS
    key_id, private = load_decrypt_private(derived_key("cloud", Role.DECRYPTOR, "scanner").seed)
    assert open_feedback(CHAIN, body, blob, MemberId("cloud"), {KeyId(key_id): private}) is None


def test_what_is_not_what_was_sealed_does_not_open(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    other, another = feedback_body(world, WORDS[:1])
    with pytest.raises(Unproven, match=r"confidential.blob_digest"):
        opened(body, another)
    with pytest.raises(Unproven, match=r"confidential.count"):
        opened(replace(other, count=2), another)
    with pytest.raises(Unproven, match=r"feedback.wrap"):
        opened(body, blob, chain=ChainId("trial-elsewhere"))
    theirs = replace(body, header=world.header("drive"))
    with pytest.raises(Unproven, match=r"feedback.platform"):
        opened(theirs, blob)


def test_a_blob_that_was_sealed_wrongly_is_named(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    parsed = parse_feedback_blob(blob)
    garbled = [replace(wrap, wrapped=bytes(len(wrap.wrapped))) for wrap in parsed.wraps]
    swapped = parse_feedback_blob(feedback_body(world, WORDS, content_key=b"\x07" * 32)[1])
    for changed, code in (
        (replace(parsed, wraps=tuple(garbled)), "feedback.wrap"),
        (replace(parsed, ciphertext=bent(parsed.ciphertext)), "confidential.ciphertext"),
        (replace(parsed, commitment=swapped.commitment), "feedback.wrap"),
    ):
        raw = encode_record(changed)
        with pytest.raises(Unproven, match=code):
            opened(replace(body, blob_sha256=sha256(raw)), raw)


def test_a_key_that_the_blob_does_not_commit_to_opens_nothing(world: Consortium) -> None:
    """One ciphertext cannot hold one list of words for some agencies and another for others."""
    body, blob = feedback_body(world, WORDS, content_key=b"\x07" * 32)
    parsed = parse_feedback_blob(blob)
    # Wrapped for that very commitment, but to another key.
    to, public = hearers(world.ledger.state)[0]
    wrapped = wrap_content_key(
        CHAIN, MemberId("cloud"), parsed.commitment, to, public, b"\x08" * 32
    )
    wraps = tuple(
        replace(wrap, wrapped=wrapped) if wrap.key_id == to.key_id else wrap
        for wrap in parsed.wraps
    )
    raw = encode_record(replace(parsed, wraps=wraps))
    with pytest.raises(Unproven, match=r"feedback.commitment"):
        opened(replace(body, blob_sha256=sha256(raw)), raw, to.member)


def test_an_agency_with_two_keys_opens_it_by_whichever_wrap_opens(world: Consortium) -> None:
    to, public = hearers(world.ledger.state)[0]
    spare = derived_key(to.member, Role.DECRYPTOR, "spare")
    spare_id, spare_key = load_decrypt_private(spare.seed)
    second = (Recipient(to.member, spare_id), spare.public)
    body, blob = feedback_body(world, WORDS, recipients=sorted([(to, public), second]))
    keys = keys_of(to.member) | {KeyId(spare_id): spare_key}
    parsed = parse_feedback_blob(blob)
    for bad in ({0}, {1}, {0, 1}):
        wraps = tuple(
            replace(wrap, wrapped=bytes(len(wrap.wrapped))) if at in bad else wrap
            for at, wrap in enumerate(parsed.wraps)
        )
        raw = encode_record(replace(parsed, wraps=wraps))
        said = replace(body, blob_sha256=sha256(raw))
        if len(bad) < 2:
            assert open_feedback(CHAIN, said, raw, to.member, keys) == WORDS  # type: ignore[arg-type]
            continue
        with pytest.raises(Unproven, match=r"feedback.wrap"):
            open_feedback(CHAIN, said, raw, to.member, keys)  # type: ignore[arg-type]


def test_a_blob_is_no_larger_than_its_words(world: Consortium) -> None:
    words = [word(f"{entry}/0", algorithm="pdq") for entry in range(1, 2_001)]
    blob = parse_feedback_blob(
        seal_feedback(CHAIN, MemberId("cloud"), words, hearers(world.ledger.state))
    )
    assert fits(blob, 2_000)
    assert not fits(blob, 1_000)


@given(st.integers(0, 2**32), st.integers(1, 255))
def test_whatever_a_platform_sends_gets_a_verdict_and_opens_or_is_named(
    place: int, flip: int
) -> None:
    """One byte of the blob is another one, and the statement names that blob."""
    body, blob = _sealed()
    at = place % len(blob)
    raw = blob[:at] + bytes([blob[at] ^ flip]) + blob[at + 1 :]
    said = replace(body, blob_sha256=sha256(raw))
    key = derived_key("cloud", Role.REPORTER, "reporter")
    envelope = seal_envelope(CHAIN, key.key_id, said, key.sign)
    verdict = check_blob(Transaction(envelope, raw))
    assert verdict in (None, RejectCode.MALFORMED, RejectCode.BLOB_HEADER)
    for agency in ("nl-one", "nl-four"):
        try:
            words = opened(said, raw, agency)
        except (Malformed, Unproven):
            continue
        assert words in (None, WORDS), "it opens to what was sealed, or not at all"
        assert words is None or verdict is None or verdict is RejectCode.BLOB_HEADER


@cache
def _sealed() -> tuple[Feedback, bytes]:
    consortium = Consortium()
    consortium.admit_platform()
    return feedback_body(consortium, WORDS)
