"""CBOR values as JSON that people read and compare: one form only.

Shape: sorted keys, two spaces, byte strings as `hex:...`, no fractions, a final newline. A text
that begins with `hex:` has no form here; who decodes compares the encoding with what came.
"""

import json
from typing import cast

from accord.wire import cbor
from accord.wire.errors import Malformed

_HEX = "hex:"


def dump_json(value: cbor.Value) -> bytes:
    return (
        json.dumps(_to_json(value), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    )


def load_json(raw: bytes, code: str, **detail: str) -> cbor.Value:
    """Raises: Malformed, with the code and detail given."""
    try:
        value: object = json.loads(raw.decode(), parse_float=_refuse, parse_constant=_refuse)
        return _from_json(value)
    except (ValueError, RecursionError) as err:
        raise Malformed(code, **detail) from err


def _refuse(_: str) -> int:
    raise ValueError("no fractions")


def _to_json(value: cbor.Value) -> object:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return _HEX + value.hex() if isinstance(value, bytes) else value


def _from_json(value: object) -> cbor.Value:
    match value:
        case dict():
            return {str(k): _from_json(v) for k, v in cast(dict[object, object], value).items()}
        case list():
            return [_from_json(item) for item in cast(list[object], value)]
        case str() if value.startswith(_HEX):
            return bytes.fromhex(value.removeprefix(_HEX))
        case None | bool() | int() | str():
            return value
        case _:
            raise ValueError("no such value")
