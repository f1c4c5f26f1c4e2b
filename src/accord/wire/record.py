"""Records: frozen dataclasses that have exactly one CBOR map each.

A record declares its fields once, with their limits; this module derives the strict parser and
the encoder. Every field is present, no other field is, every value obeys its limit, so
`parse_record(T, encode_record(x)) == x` and nothing else parses.

Field types: `int` (`Uint` bounds), `bytes` (`Size` bounds), `str` (`Text` bounds), `bool`,
`X | None`, `tuple[X, ...]` (`Count` bounds), `StrEnum`, another record (a nested map), and
`Compact` records (a nested array, for what comes by the thousand), and a union of records that
each have a `KIND` (a map with the further field `kind`).
"""

import re
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import (
    Annotated,
    Any,
    ClassVar,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.limits import TEXT_CHARS_MAX

T = TypeVar("T")
Parse = Callable[[cbor.Value, str], Any]
Dump = Callable[[Any], cbor.Value]


@dataclass(frozen=True, slots=True)
class Uint:
    """Bounds of an integer, both included."""

    low: int = 0
    high: int = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Size:
    """Bounds of a byte string, in bytes, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Count:
    """Bounds of an array, in items; `ordered` asks for strictly ascending items."""

    low: int
    high: int
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Bounds of a text, in characters, or the pattern it must match whole."""

    low: int = 0
    high: int = TEXT_CHARS_MAX
    pattern: re.Pattern[str] | None = None


Limit = Uint | Size | Count | Text


class Compact:
    """Marks a record that is encoded as an array of its fields in order."""

    __slots__ = ()
    COMPACT: ClassVar[bool] = True


def encode_record(value: object) -> bytes:
    """The one encoding of a record."""
    return cbor.encode(dump_record(value))


def dump_record(value: object) -> cbor.Value:
    """A record as a CBOR value, for nesting and for JSON views."""
    _, dump = _codec_of(cast(Hashable, type(value)))
    return dump(value)


def parse_record(kind: type[T], raw: bytes) -> T:
    """Raises: Malformed, naming the field."""
    return load_record(kind, cbor.parse(raw))


def load_record(kind: type[T], value: cbor.Value, where: str = "") -> T:
    """A record from a CBOR value. Raises: Malformed, naming the field."""
    parse, _ = _codec_of(cast(Hashable, kind))
    return cast(T, parse(value, where or kind.__name__))


def load_tagged(kinds: Mapping[str, type[T]], value: cbor.Value, where: str) -> T:
    """A record of the kind that the map's field `kind` names. Raises: Malformed."""
    if not isinstance(value, dict):
        raise Malformed("record.type", field=where)
    name = value.get("kind")
    if not isinstance(name, str) or name not in kinds:
        raise Malformed("record.kind", field=f"{where}.kind")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return load_record(kinds[name], rest, where)


@cache
def _codec_of(hint: Any) -> tuple[Parse, Dump]:
    """Parser and encoder of a type hint, made once."""
    limit: Limit | None = None
    if get_origin(hint) is Annotated:
        hint, limit = get_args(hint)[0], get_args(hint)[1]
    while hasattr(hint, "__supertype__"):  # A NewType is its base on the wire.
        hint = hint.__supertype__
    if get_origin(hint) is Annotated:  # A NewType over an annotated base.
        hint, limit = get_args(hint)[0], get_args(hint)[1]
    if get_origin(hint) in (Union, types.UnionType):
        return _optional(hint, limit)
    if get_origin(hint) is tuple:
        return _array(get_args(hint)[0], limit if isinstance(limit, Count) else None)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum(hint)
    if isinstance(hint, type) and is_dataclass(cast(object, hint)):
        return _map_or_row(hint)
    return _scalar(hint, limit)


def _scalar(hint: Any, limit: Limit | None) -> tuple[Parse, Dump]:
    if hint is bool:
        return _typed(bool, None), _same
    if hint is int:
        bounds = limit if isinstance(limit, Uint) else Uint()

        def check_int(value: int, where: str) -> None:
            if not bounds.low <= value <= bounds.high:
                raise Malformed("record.range", field=where)

        return _typed(int, check_int), _same
    if hint is bytes:
        size = limit if isinstance(limit, Size) else Size(0, 2**20)

        def check_bytes(value: bytes, where: str) -> None:
            if not size.low <= len(value) <= size.high:
                raise Malformed("record.size", field=where)

        return _typed(bytes, check_bytes), _same
    if hint is str:
        text = limit if isinstance(limit, Text) else Text()

        def check_text(value: str, where: str) -> None:
            if not text.low <= len(value) <= text.high:
                raise Malformed("record.size", field=where)
            if text.pattern is not None and text.pattern.fullmatch(value) is None:
                raise Malformed("record.text", field=where)

        return _typed(str, check_text), _same
    raise TypeError(f"no record codec for {hint!r}")


def _typed(kind: type[T], check: Callable[[T, str], None] | None) -> Parse:
    def parse(value: cbor.Value, where: str) -> T:
        if type(value) is not kind:  # Exact: True is an int in Python and must not be one here.
            raise Malformed("record.type", field=where)
        if check is not None:
            check(value, where)
        return value

    return parse


def _same(value: Any) -> cbor.Value:
    return cast(cbor.Value, value)


def _optional(hint: Any, limit: Limit | None) -> tuple[Parse, Dump]:
    inner = [arg for arg in get_args(hint) if arg is not type(None)]
    if len(inner) > 1:
        return _union({kind.KIND: kind for kind in inner})
    parse_inner, dump_inner = _codec_of(Annotated[inner[0], limit] if limit else inner[0])

    def parse(value: cbor.Value, where: str) -> object:
        parsed: object = None if value is None else parse_inner(value, where)
        return parsed

    def dump(value: Any) -> cbor.Value:
        return None if value is None else dump_inner(value)

    return parse, dump


def _union(kinds: Mapping[str, type[object]]) -> tuple[Parse, Dump]:
    def parse(value: cbor.Value, where: str) -> object:
        return load_tagged(kinds, value, where)

    def dump(value: Any) -> cbor.Value:
        return {"kind": value.KIND, **cast(dict[str, cbor.Value], dump_record(value))}

    return parse, dump


def _array(item_hint: Any, limit: Count | None) -> tuple[Parse, Dump]:
    parse_item, dump_item = _codec_of(item_hint)
    bounds = limit or Count(0, 10_000)

    def parse(value: cbor.Value, where: str) -> object:
        if not isinstance(value, list):
            raise Malformed("record.type", field=where)
        if not bounds.low <= len(value) <= bounds.high:
            raise Malformed("record.count", field=where)
        items: tuple[Any, ...] = tuple(
            parse_item(item, f"{where}[{i}]") for i, item in enumerate(value)
        )
        if bounds.ordered and any(a >= b for a, b in pairwise(items)):
            raise Malformed("record.order", field=where)
        return cast(object, items)

    def dump(value: Any) -> cbor.Value:
        return [dump_item(item) for item in value]

    return parse, dump


def _enum(kind: type[StrEnum]) -> tuple[Parse, Dump]:
    members = {member.value: member for member in kind}

    def parse(value: cbor.Value, where: str) -> object:
        if not isinstance(value, str) or value not in members:
            raise Malformed("record.choice", field=where)
        return members[value]

    def dump(value: Any) -> cbor.Value:
        return cast(StrEnum, value).value

    return parse, dump


def _map_or_row(kind: type) -> tuple[Parse, Dump]:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    codecs = [(name, *_codec_of(hints[name])) for name in names]
    wanted = set(names)

    def parse_map(value: cbor.Value, where: str) -> object:
        if not isinstance(value, dict):
            raise Malformed("record.type", field=where)
        if value.keys() != wanted:
            odd = sorted(value.keys() ^ wanted)[0]
            code = "record.missing" if odd in wanted else "record.unknown"
            raise Malformed(code, field=f"{where}.{odd[:40]}")
        return kind(**{name: parse(value[name], f"{where}.{name}") for name, parse, _ in codecs})

    def dump_map(value: Any) -> cbor.Value:
        return {name: dump(getattr(value, name)) for name, _, dump in codecs}

    def parse_row(value: cbor.Value, where: str) -> object:
        if not isinstance(value, list) or len(value) != len(codecs):
            raise Malformed("record.type", field=where)
        pairs = zip(codecs, value, strict=True)
        return kind(*[parse(item, f"{where}.{name}") for (name, parse, _), item in pairs])

    def dump_row(value: Any) -> cbor.Value:
        return [dump(getattr(value, name)) for name, _, dump in codecs]

    if getattr(kind, "COMPACT", False):
        return parse_row, dump_row
    return parse_map, dump_map
