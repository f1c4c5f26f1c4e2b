"""A block is trusted only with the signatures of more than two thirds of our fold's validators."""

import base64
import copy
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.node.light import verify_commit
from accord.node.settings import Trust
from accord.wire.errors import Malformed, Unproven

RECORDED = json.loads((Path(__file__).parents[2] / "vectors" / "comet_commit.json").read_bytes())
CHAIN: str = RECORDED["chain"]
KEYS = [base64.b64decode(key) for key in RECORDED["keys"]]
HASH = "083091486D3D79998776F4F282C2877FFA92632BF800615839A1832A7FB8B33C"


def commit() -> Any:  # noqa: ANN401 - a JSON document.
    return copy.deepcopy(RECORDED["commit"])


def inside(value: Any) -> Any:  # noqa: ANN401
    return value["signed_header"]["commit"]


def test_what_real_validators_signed_is_trusted() -> None:
    assert verify_commit(commit(), CHAIN, KEYS) == Trust(3, bytes.fromhex(HASH))


def test_three_of_four_are_enough_and_two_are_not() -> None:
    value = commit()
    for left in (3, 2, 1, 0):
        inside(value)["signatures"][left] |= {"block_id_flag": 1, "signature": None}
        if left == 3:
            assert verify_commit(value, CHAIN, KEYS).height == 3
            continue
        with pytest.raises(Unproven, match=r"light\.quorum"):
            verify_commit(value, CHAIN, KEYS)


def test_one_signature_many_times_counts_once() -> None:
    value = commit()
    inside(value)["signatures"] = [inside(value)["signatures"][0]] * 4
    with pytest.raises(Unproven, match=r"light\.quorum"):
        verify_commit(value, CHAIN, KEYS)


def test_strangers_signatures_do_not_count() -> None:
    with pytest.raises(Unproven, match=r"light\.quorum"):
        verify_commit(commit(), CHAIN, [*KEYS[:2], bytes([1, *[0] * 31]), b"\x05" + bytes(31)])


BENT: dict[str, Callable[[Any], None]] = {
    "height": lambda it: it.update(height="4"),
    "round": lambda it: it.update(round=1),
    "block": lambda it: it["block_id"].update(hash="00" * 32),
    "parts": lambda it: it["block_id"]["parts"].update(total=2),
    "time": lambda it: it["signatures"][1].update(timestamp="2026-11-23T09:17:26.692399143Z"),
    "signature": lambda it: it["signatures"][2].update(signature=it["signatures"][1]["signature"]),
}


@pytest.mark.parametrize("what", BENT)
def test_anything_changed_breaks_a_signature(what: str) -> None:
    value = commit()
    BENT[what](inside(value))
    with pytest.raises(Unproven, match=r"key\.signature"):
        verify_commit(value, CHAIN, KEYS)
    with pytest.raises(Unproven, match=r"key\.signature"):
        verify_commit(commit(), CHAIN + "x", KEYS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=5), of, max_size=3),
    max_leaves=5,
)
PLACES = ("height", "round", "block_id", "signatures", "hash", "parts", "total", "timestamp")


@given(JSON, st.sampled_from(PLACES))
def test_any_answer_is_trusted_or_refused(noise: object, place: str) -> None:
    value = commit()
    found = inside(value)
    for where in (found, found["block_id"], found["block_id"]["parts"], found["signatures"][0]):
        if place in where:
            where[place] = noise
            break
    for answer in (value, noise, {"signed_header": {"commit": noise}}):
        with suppress(Malformed, Unproven):
            assert verify_commit(answer, CHAIN, KEYS) == Trust(3, bytes.fromhex(HASH))
