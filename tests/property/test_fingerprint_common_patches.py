"""The stop-list's file: exact, total, and one form for one list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.fingerprint.common_patches import HEAD, encode_common, parse_common
from accord.wire.errors import Malformed

ROWS = st.lists(st.binary(min_size=32, max_size=32), max_size=8)


def _bits(rows: list[bytes]) -> np.ndarray:  # type: ignore[type-arg]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 32)


@given(ROWS)
def test_a_list_comes_back_in_order_and_once(rows: list[bytes]) -> None:
    data = encode_common(_bits(rows))
    assert [row.tobytes() for row in parse_common(data)] == sorted(set(rows))
    assert encode_common(parse_common(data)) == data


@given(ROWS, st.binary(min_size=1, max_size=3))
def test_anything_else_is_refused(rows: list[bytes], noise: bytes) -> None:
    data = encode_common(_bits(rows))
    for bad in (
        noise,
        noise + data,
        data + noise,
        data[:-1],
        HEAD[:-2] + data[len(HEAD) - 2 :][1:],
    ):
        with pytest.raises(Malformed, match=r"fingerprint\.common"):
            parse_common(bad)


def test_another_order_twice_the_same_and_capitals_are_refused() -> None:
    one, other = b"0" * 63 + b"a\n", b"f" * 64 + b"\n"
    assert len(parse_common(HEAD + one + other)) == 2
    for body in (other + one, one + one, one.upper(), b"g" * 64 + b"\n", b" " * 64 + b"\n"):
        with pytest.raises(Malformed):
            parse_common(HEAD + body)
