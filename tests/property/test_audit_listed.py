"""Answers about the list: no changed bit passes, and the answer is that of a plain comparison."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.audit.listed import (
    AskedValue,
    ListAnswer,
    Place,
    SignedAnswer,
    answer_of,
    parse_signed_answer,
    signed_bytes,
)
from accord.ledger.state import KeyRow
from accord.registry.reach import Listed
from accord.statements.bodies import Role
from accord.statements.rules import Algorithm, Metric
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, MemberId, OperatorId, TimeMs
from consortium_kit import derived_key
from registry_kit import World, flip, listing, pdq_of

SALT = bytes(range(32))
NL = MemberId("nl-one")
KEY = derived_key(NL, Role.AUDITOR, "auditor")
ROW = KeyRow(NL, Role.AUDITOR, OperatorId("auditor"), KEY.public, TimeMs(0), None)


def made() -> SignedAnswer:
    world = World()
    world.publish("ada", listing(1), listing(2))
    place = Place(ChainId("trial-tests.example"), 2, bytes(32), TimeMs(5))
    asked = [
        AskedValue(Algorithm.PDQ, pdq_of(1), Metric.HAMMING, 31),
        AskedValue(Algorithm.MD5, bytes(16)),
    ]
    answer, _ = answer_of(world.registry().snapshot(), place, 1, SALT, asked)
    return SignedAnswer(NL, answer, KEY.key_id, KEY.sign(signed_bytes(NL, answer)))


SIGNED = made()
RAW = SIGNED.encode()


def checked(raw: bytes) -> ListAnswer:
    """As a verifier does whose ledger knows one key."""
    signed = parse_signed_answer(raw)
    return signed.verify(ROW if signed.key_id == KEY.key_id else None, is_admitted=True)


def test_the_whole_answer_verifies() -> None:
    assert checked(RAW) == SIGNED.answer


@given(st.integers(0, 8 * len(RAW) - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    changed = bytearray(RAW)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, Unproven)):
        checked(bytes(changed))


def test_no_letter_may_change_its_case() -> None:
    for place in range(len(RAW)):  # 0x20 makes `a` an `A`, which reads as the same number.
        changed = bytearray(RAW)
        changed[place] ^= 0x20
        with pytest.raises((Malformed, Unproven)):
            checked(bytes(changed))


@given(st.binary(max_size=400))
def test_a_parser_answers_or_says_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_signed_answer(raw)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 64)), min_size=1, max_size=8),
    st.integers(0, 5),
    st.integers(1, 64),
)
def test_none_is_said_exactly_where_none_is_within(
    rows: list[tuple[int, int]], seed: int, distance: int
) -> None:
    world = World()
    values = [flip(pdq_of(number), bits) for number, bits in rows]
    world.publish("ada", *[replace(listing(0), pdq=value) for value in values])
    query = pdq_of(seed)
    place = Place(ChainId("trial-tests.example"), 2, bytes(32), TimeMs(5))
    asked = [AskedValue(Algorithm.PDQ, query, Metric.HAMMING, distance)]
    answer, refs = answer_of(world.registry().snapshot(), place, 1, SALT, asked)
    apart = [(int.from_bytes(v, "big") ^ int.from_bytes(query, "big")).bit_count() for v in values]
    within = sum(bits <= distance for bits in apart)
    assert len(refs[0]) == within
    assert answer.is_clean == (within == 0)
    assert answer.values[0].listed is (Listed.YES if within else Listed.NO)
