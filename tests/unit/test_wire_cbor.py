"""One value, one encoding."""

import pytest

from accord.wire import cbor
from accord.wire.errors import Malformed


@pytest.mark.parametrize(
    "raw",
    [
        "a2616101616102",  # A key twice.
        "1800",  # A wide zero.
        "0000",  # A trailing byte.
        "5f4101ff",  # Indefinite length.
        "fb3ff0000000000000",  # A float.
        "f93c00",
        "c249010000000000000000",  # A tag.
        "c074323031332d30332d32315432303a30343a30305a",
        "a10102",  # A key that is not text.
        "a2616201616102",  # Keys out of order.
        "f7",
        "",
        "61ff",  # Not UTF-8.
        "81" * 40 + "00",  # Too deep.
        "3b8000000000000000",  # Below the smallest integer.
    ],
)
def test_what_is_not_canonical_is_refused(raw: str) -> None:
    with pytest.raises(Malformed, match=r"cbor\."):
        cbor.parse(bytes.fromhex(raw))


def test_a_value_parses_back() -> None:
    value: cbor.Value = {"a": [1, -5, b"x", "y", True, None], "bb": {"c": 2**64 - 1}}
    assert cbor.parse(cbor.encode(value)) == value


@pytest.mark.parametrize("value", [1.0, {1: 2}, 2**64, object(), (1,)])
def test_only_values_encode(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)  # type: ignore[arg-type]  # The mistake under test.
