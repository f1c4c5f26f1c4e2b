"""Canonical CBOR: one value, one encoding.

Deterministic encoding of RFC 8949 section 4.2.1 over a small subset: unsigned and negative
integers of 64 bits, byte strings, text strings, arrays, maps with text keys, true, false, null.
No floats, no tags, no indefinite lengths. Bytes are accepted iff they re-encode to themselves,
which also refuses duplicate keys, wide integers and trailing bytes that `cbor2` alone lets pass.
"""

from typing import TypeAlias, cast

import cbor2

from accord.wire.errors import Malformed
from accord.wire.limits import CBOR_DEPTH_MAX

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[str, Value] | None"

INT_MAX = 2**64 - 1
INT_MIN = -(2**63)


def encode(value: Value) -> bytes:
    """Total over `Value`; anything else is a mistake of ours and raises TypeError."""
    _check(value, 0)
    return cbor2.dumps(value, canonical=True)


def parse(raw: bytes) -> Value:
    """Raises: Malformed, for whatever is not the canonical encoding of one `Value`."""
    try:
        value = cbor2.loads(
            raw, max_depth=CBOR_DEPTH_MAX, allow_indefinite=False, allow_duplicate_keys=False
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, UnicodeDecodeError) as err:
        raise Malformed("cbor.syntax") from err
    try:
        _check(value, 0)
        again = cbor2.dumps(value, canonical=True)
    except (TypeError, ValueError, cbor2.CBOREncodeError) as err:
        raise Malformed("cbor.type") from err
    if again != raw:
        raise Malformed("cbor.not_canonical")
    return cast(Value, value)


def _check(value: object, depth: int) -> None:
    if depth > CBOR_DEPTH_MAX:
        raise TypeError("nested too deep")
    match value:
        case None | bool() | bytes() | str():
            return
        case int():
            if not INT_MIN <= value <= INT_MAX:
                raise TypeError("integer out of range")
        case list():
            for item in cast(list[object], value):
                _check(item, depth + 1)
        case dict():
            for key, item in cast(dict[object, object], value).items():
                if not isinstance(key, str):
                    raise TypeError("a map key is not text")
                _check(item, depth + 1)
        case _:
            raise TypeError(f"no canonical encoding for {type(value).__name__}")
