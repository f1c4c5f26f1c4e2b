"""YAML read as a tree of marked nodes: nothing is constructed, every value knows its line.

Refused before a tree is built: more bytes or depth than the limits, several documents, anchors,
aliases and tags (so no expansion bombs and no objects), duplicate keys, keys that are not text.
Not here: what the values mean (`rulefile`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from accord.wire.errors import Malformed
from accord.wire.limits import RULE_FILE_BYTES_MAX, RULE_FILE_DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number or a word; `is_plain` when it stands without quotes."""

    line: int
    text: str
    is_plain: bool

    @property
    def is_null(self) -> bool:
        return self.is_plain and self.text in {"", "~", "null"}


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Fields:
    line: int
    fields: tuple[tuple[Scalar, "Node"], ...]


Node: TypeAlias = Scalar | Items | Fields


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: where it is and how to mend it."""

    line: int
    field: str
    mend: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.mend}"


class Faulty(Malformed):
    """A file with mistakes, all of them. The detail is the first one's."""

    def __init__(self, code: str, faults: tuple[Fault, ...]) -> None:
        first = faults[0]
        super().__init__(
            code, line=first.line, field=first.field, mend=first.mend, faults=len(faults)
        )
        self.faults: Final = faults


def parse_tree(raw: bytes, code: str) -> tuple[Node, list[Fault]]:
    """The one document in `raw`, and the keys it holds twice (the first one stands).

    Raises: Faulty with `code` for what has no tree.
    """
    if len(raw) > RULE_FILE_BYTES_MAX:
        raise Faulty(code, (Fault(1, "file", f"keep it under {RULE_FILE_BYTES_MAX} bytes"),))
    try:
        events = [*_checked_events(raw.decode("utf-8-sig"), code)]
    except UnicodeDecodeError as err:
        raise Faulty(code, (Fault(1, "file", "save it as UTF-8"),)) from err
    except (YAMLError, ValueError) as err:  # ValueError: a number escape out of range.
        mark = getattr(err, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(err, "problem", None) or "not YAML"
        raise Faulty(code, (Fault(line, "file", f"mend the YAML: {problem}"),)) from err
    if not events:
        raise Faulty(code, (Fault(1, "file", "write a rule set"),))
    twice: list[Fault] = []
    node, _ = _build(events, 0, code, twice)
    return node, twice


def _checked_events(text: str, code: str) -> Iterator[Event]:
    """The events of nodes. Depth is checked as they come, so a bomb ends where it gets deep."""
    depth = documents = 0
    yaml = YAML(typ="rt", pure=True)
    for event in cast(Iterator[Event], yaml.parse(text)):
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Faulty(code, (Fault(line, "file", "one file holds one rule set"),))
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise Faulty(code, (Fault(line, "file", "write it out: no anchors, no aliases"),))
        if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            if event.ctag is not None and str(event.ctag) not in {"", "!"}:
                raise Faulty(code, (Fault(line, "file", "leave out the tag"),))
            depth += not isinstance(event, ScalarEvent)
            if depth > RULE_FILE_DEPTH_MAX:
                raise Faulty(code, (Fault(line, "file", "nested deeper than any rule set is"),))
            yield event
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
            yield event


def _build(events: list[Event], place: int, code: str, twice: list[Fault]) -> tuple[Node, int]:
    """The node that starts at `place`, and the place after it."""
    event = events[place]
    line = event.start_mark.line + 1
    if isinstance(event, ScalarEvent):
        # The scanner marks where a folded text was folded, so that it could be written back.
        text = event.value.replace("\a", "") if event.style == ">" else event.value
        return Scalar(line, text, not event.style), place + 1
    place += 1
    if isinstance(event, SequenceStartEvent):
        items: list[Node] = []
        while not isinstance(events[place], SequenceEndEvent):
            item, place = _build(events, place, code, twice)
            items.append(item)
        return Items(line, tuple(items)), place + 1
    fields: dict[str, tuple[Scalar, Node]] = {}
    while not isinstance(events[place], MappingEndEvent):
        key, place = _build(events, place, code, twice)
        if not isinstance(key, Scalar):
            raise Faulty(code, (Fault(key.line, "file", "a field's name is one word"),))
        value, place = _build(events, place, code, twice)
        if key.text in fields:
            twice.append(Fault(key.line, key.text, "it stands here twice: keep one"))
        else:
            fields[key.text] = (key, value)
    return Fields(line, tuple(fields.values())), place + 1


_PLAIN_RE: Final = re.compile(r"(?!null$)[A-Za-z0-9]([A-Za-z0-9 /._-]*[A-Za-z0-9])?")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\"}


def dump_lines(value: dict[str, object], indent: str = "") -> Iterator[str]:
    """Block mappings, one line a text, so that `parse_tree` reads back every character.

    Why not the library's emitter: it folds long texts and loses some line separators.
    """
    for name, item in value.items():
        match item:
            case dict():
                yield f"{indent}{name}:"
                yield from dump_lines(item, indent + "  ")
            case [dict(), *_]:
                yield f"{indent}{name}:"
                for row in item:
                    fields = cast(dict[str, object], row)  # Lists are of one kind.
                    first, *rest = dump_lines(fields, indent + "    ")
                    yield f"{indent}  - {first.lstrip()}"
                    yield from rest
            case list():
                yield f"{indent}{name}: [{', '.join(_quote(text) for text in item)}]"
            case bool():
                yield f"{indent}{name}: {'yes' if item else 'no'}"
            case _:
                yield f"{indent}{name}: {_quote(str(item))}"


def _quote(text: str) -> str:
    if _PLAIN_RE.fullmatch(text):
        return text
    return '"' + "".join(_ESCAPES.get(char) or _escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    return char if char.isprintable() else f"\\U{ord(char):08x}"
