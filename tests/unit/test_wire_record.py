"""Records: exactly the declared fields, each within its limit."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

import pytest

from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.record import (
    Compact,
    Count,
    Size,
    Text,
    Uint,
    dump_record,
    encode_record,
    parse_record,
)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, order=True)
class Point(Compact):
    x: Annotated[int, Uint(0, 9)]
    y: int


@dataclass(frozen=True, slots=True)
class Circle:
    KIND: ClassVar[str] = "circle"
    radius: int


@dataclass(frozen=True, slots=True)
class Square:
    KIND: ClassVar[str] = "square"
    side: int


@dataclass(frozen=True, slots=True)
class Drawing:
    name: Annotated[str, Text(1, 5)]
    raw: Annotated[bytes, Size(2, 4)]
    points: Annotated[tuple[Point, ...], Count(1, 3, ordered=True)]
    colour: Colour | None
    shape: Circle | Square
    filled: bool


DRAWING = Drawing("abc", b"xy", (Point(1, 2), Point(3, 1)), Colour.RED, Square(4), filled=True)


def test_a_record_parses_back() -> None:
    assert parse_record(Drawing, encode_record(DRAWING)) == DRAWING


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "record.size"),
        ("name", "abcdef", "record.size"),
        ("name", 5, "record.type"),
        ("raw", b"x", "record.size"),
        ("points", [], "record.count"),
        ("points", [[3, 1], [1, 2]], "record.order"),
        ("points", [[1, 2], [1, 2]], "record.order"),
        ("points", [[10, 2]], "record.range"),
        ("points", [[1]], "record.type"),
        ("points", 3, "record.type"),
        ("colour", "green", "record.choice"),
        ("shape", {"kind": "oval"}, "record.kind"),
        ("shape", {"kind": "circle", "side": 1}, "record.unknown"),
        ("shape", 1, "record.type"),
        ("filled", 1, "record.type"),  # True is not 1 and 1 is not True.
    ],
)
def test_each_limit_is_named(field: str, value: cbor.Value, code: str) -> None:
    dumped = dump_record(DRAWING)
    assert isinstance(dumped, dict)
    dumped[field] = value
    with pytest.raises(Malformed) as caught:
        parse_record(Drawing, cbor.encode(dumped))
    assert caught.value.code in (code, "record.missing")
    assert field in str(caught.value.detail["field"])


def test_fields_are_neither_missing_nor_unknown() -> None:
    dumped = dump_record(DRAWING)
    assert isinstance(dumped, dict)
    for broken in ({**dumped, "more": 1}, {k: v for k, v in dumped.items() if k != "name"}):
        with pytest.raises(Malformed, match=r"record\.(unknown|missing)"):
            parse_record(Drawing, cbor.encode(broken))
