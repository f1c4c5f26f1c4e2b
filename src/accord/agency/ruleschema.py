"""The JSON Schema of rule files, for editors that complete and check while one writes.

It says what a field may be; what fields together must fulfil, `accord rules check` says.
Invariant: exactly the fields that `rulefile` reads, with the words of the record's own types.
Source: docs/spec/rules.md; the schema itself is docs/spec/rules.schema.json.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from accord.agency.rulefile import CERTIFICATION, CLAUSE, EXACT, NEAR, REVIEWS, TOP, is_required
from accord.statements.classes import CLASSES_KNOWN
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    METRICS,
    THRESHOLD_MAX,
    Action,
    Algorithm,
    Metric,
    Modality,
    Scope,
    Service,
    Step,
)

Schema = dict[str, Any]
DURATION: Final[Schema] = {
    "type": "string",
    "pattern": "^(0|[1-9][0-9]{0,6}) +(minute|hour|day|week|year)s?$",
    "examples": ["24 hours", "1 year"],
}
MOMENT: Final[Schema] = {"type": "string", "examples": ["2026-01-01", "2026-01-01T12:00:00Z"]}
NAME: Final[Schema] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,31}$"}


def rule_schema() -> Schema:
    """JSON Schema 2020-12 of a rule file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Accord rule file",
        "description": "What platforms must, may or must not screen in one jurisdiction.",
        **_fields(TOP, _top()),
    }


def _top() -> Mapping[str, Schema]:
    text = _text
    return {
        "title": text(1, 200),
        "modality": _words(Modality),
        "legal_basis": {
            "type": "object",
            "additionalProperties": False,
            "required": ["text"],
            "properties": {"text": text(1, 1000), "url": text(0, 300)},
        },
        "valid_from": MOMENT,
        "valid_to": MOMENT,
        "services": _list(_words(Service)),
        "scope": _list(_words(Scope)),
        "undetermined": _words(Action),
        "stale": _words(Action),
        "report": {
            "type": "object",
            "additionalProperties": False,
            "required": ["to", "within"],
            "properties": {"to": text(1, 200), "within": DURATION},
        },
        "preserve": DURATION,
        "sync_within": DURATION,
        "rescan_within": DURATION,
        "attest_within": DURATION,
        "user_notice": text(0, 2000),
        "groups": {"type": "array", "items": NAME, "maxItems": 16, "uniqueItems": True},
        "screen": _list(_words(Step)),
        "clauses": {"type": "array", "maxItems": 32, "items": _clause()},
    }


def _clause() -> Schema:
    known = [str(code) for code in sorted(CLASSES_KNOWN)]
    near = _near()
    properties: dict[str, Schema] = {
        "name": NAME,
        "classes": _list({"type": "string", "examples": known}, most=64),
        "certified_by": _fields(
            CERTIFICATION,
            {
                "agencies": _number(1, 64),
                "sovereigns": _number(1, 64),
                "review": {"enum": list(REVIEWS)},
            },
        ),
        "exact": _fields(
            EXACT,
            {"algorithms": _list(_words(sorted(EXACT_ALGORITHMS))), "action": _words(Action)},
        ),
        "near": {"oneOf": [near, {"type": "array", "items": near, "maxItems": 8}]},
    }
    return {
        **_fields(CLAUSE, properties),
        "anyOf": [{"required": ["exact"]}, {"required": ["near"]}],
    }


def _near() -> Schema:
    return _fields(
        NEAR,
        {
            "algorithm": _words(METRICS),
            "metric": _words(Metric),
            "within": _number(0, THRESHOLD_MAX),
            "quality": _number(0, 100),
            "votes": _number(2, 24),
            "query_percent": _number(0, 100),
            "listed_percent": _number(0, 100),
            "action": _words(Action),
            "alone": {"type": "boolean"},
            "confirmed_by": {**_list(_words(Algorithm)), "minItems": 0},
        },
    )


def _fields(specs: Mapping[str, Any], properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, spec in specs.items() if is_required(spec)],
        "properties": {name: properties[name] for name in specs},
    }


def _words(words: Iterable[StrEnum]) -> Schema:
    return {"enum": [word.value for word in words]}


def _list(item: Schema, most: int = 8) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most, "uniqueItems": True}


def _text(low: int, high: int) -> Schema:
    return {"type": "string", "minLength": low, "maxLength": high}


def _number(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}
