"""CBOR values as JSON: one form, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.readable import dump_json, load_json

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda t: not t.startswith("hex:"))
VALUES: st.SearchStrategy[cbor.Value] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_dumped_loads_to_the_same_and_has_one_form(value: cbor.Value) -> None:
    raw = dump_json(value)
    assert load_json(raw, "any.code") == value
    assert dump_json(load_json(raw, "any.code")) == raw
    assert raw.endswith(b"\n")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"1.5", b"NaN", b'{"a": 1e3}', b'"hex:0"', b'"hex:zz"', b"[" * 100_000],
)
def test_what_has_no_value_is_refused_with_the_callers_code(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        load_json(raw, "any.code", mend="ask again")
    assert refused.value.code == "any.code"
    assert refused.value.detail == {"mend": "ask again"}
