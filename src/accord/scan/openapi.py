"""What `/openapi.json` says beyond what the handlers' signatures do: parameters, bodies, answers.

Checked by the tests against real answers.
"""

from enum import StrEnum
from typing import Any, Final

from accord.fingerprint.types import VIEWS_MAX, UnhashableCode
from accord.matching.decision import Applied, Cap
from accord.registry import Coverage
from accord.statements.rules import Action, Modality, Scope, Service
from accord.wire.ids import JURISDICTION_RE
from accord.wire.limits import ARCHIVE_MEMBERS_MAX, JURISDICTIONS_MAX, UPLOAD_ID_CHARS_MAX

Schema = dict[str, Any]


def _object(properties: Schema, required: tuple[str, ...] | None = None) -> Schema:
    needed = list(properties) if required is None else list(required)
    shape: Schema = {"type": "object", "properties": properties}
    return shape | ({"required": needed} if needed else {})


def _list(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def _hex(size: int) -> Schema:
    return {"type": "string", "pattern": f"^[0-9a-f]{{{2 * size}}}$"}


def _one_of(choices: type[StrEnum], *others: None) -> Schema:
    kind = ["string", "null"] if others else "string"
    return {"type": kind, "enum": [*(item.value for item in choices), *others]}


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_JURISDICTION: Schema = {"type": "string", "pattern": f"^({JURISDICTION_RE.pattern})$"}
_SCOPE: Schema = {"type": "string", "enum": [item.value for item in Scope]}
_SERVICE: Schema = {"type": "string", "enum": [item.value for item in Service]}
_ACTION: Schema = {"type": "string", "enum": [item.value for item in Action]}
_ANSWERS: Final = ("match", "no_match", "undetermined")
_DECISION: Schema = {"type": "string", "enum": list(_ANSWERS)}
_UPLOAD: Schema = {"type": "string", "minLength": 1, "maxLength": UPLOAD_ID_CHARS_MAX}
_FRAME: Schema = _object(
    {"bits": _hex(32), "quality": {"type": "integer", "minimum": 0, "maximum": 100}}
)
_FINGERPRINTS: Schema = _object(
    {
        "pdq": _list(_FRAME, VIEWS_MAX),
        "photodna": {"anyOf": [_hex(144), _list(_hex(144), VIEWS_MAX) | {"minItems": 1}]},
        "md5": _hex(16),
        "sha1": _hex(20),
        "sha256": _hex(32),
        "unseen": {"type": "string", "enum": [code.value for code in UnhashableCode]},
    },
    (),
)
_ERROR: Schema = _object({"error": _object({"code": _TEXT, "message": _TEXT, "mend": _TEXT})})
_REASON: Schema = _object(
    {
        "jurisdiction": _JURISDICTION,
        "rule": _object({"title": _TEXT, "version": _COUNT, "entry": _COUNT, "clause": _TEXT}),
        "listing": _TEXT,
        "class": _TEXT,
        "algorithm": _TEXT,
        "distance": _COUNT,
        "disputed": _FLAG,
        "action": _ACTION,
        "cap": _one_of(Cap, None),
        "certified_by": _list(_object({"agency": _TEXT, "entry": _COUNT, "how": _TEXT})),
    }
)
_ANSWER: Schema = _object(
    {
        "decision": _DECISION,
        "action": _ACTION,
        "code": _MAYBE_TEXT,
        "conflict": _FLAG,
        "conflict_between": _object(
            {"required_in": _list(_JURISDICTION), "prohibited_in": _list(_JURISDICTION)}
        )
        | {"type": ["object", "null"]},
        "reasons": _list(_REASON),
        "listings": _COUNT,
        "truncated": _FLAG,
        "members": _list(_COUNT, ARCHIVE_MEMBERS_MAX),
        "jurisdictions": _list(
            _object(
                {
                    "jurisdiction": _JURISDICTION,
                    "applied": _one_of(Applied),
                    "answer": {"type": ["string", "null"], "enum": [*_ANSWERS, None]},
                    "action": _ACTION,
                }
            )
        ),
        "duties": _object(
            {
                "report": _list(
                    _object({"jurisdiction": _JURISDICTION, "to": _TEXT, "within_hours": _COUNT})
                ),
                "preserve_days": _COUNT,
                "user_notice": _list(_TEXT),
            }
        ),
        "checkpoint": _object({"size": _COUNT, "root": _hex(32), "stale": _FLAG}),
        "local": _list(_object({"step": _TEXT, "list": _TEXT, "listing": _TEXT, "refused": _FLAG})),
        "fingerprints": _FINGERPRINTS,
        "receipt": _object(
            {
                "index": _COUNT,
                "leaf": _hex(32),
                "time_ms": _COUNT,
                "key_id": _hex(16),
                "signature": _TEXT,
            }
        ),
    }
)
_HIDDEN_OF_REASON: Final = {"listing", "distance", "certified_by"}
_CLIENT_REASON: Schema = _object(
    {
        name: schema
        for name, schema in _REASON["properties"].items()
        if name not in _HIDDEN_OF_REASON
    }
)
_HIDDEN: Final = {"listings", "truncated", "local"}
_CLIENT_ANSWER: Schema = _object(
    {name: schema for name, schema in _ANSWER["properties"].items() if name not in _HIDDEN}
    | {"reasons": _list(_CLIENT_REASON)}
) | {"description": "To a client that does not hold the list, whose request is signed"}
_STATUS: Schema = _object(
    {
        "platform": _TEXT,
        "list": _object(
            {
                "size": _COUNT,
                "root": _hex(32),
                "time_ms": _COUNT,
                "cosigned_ms": {"type": "integer"},
                "stale": _FLAG,
                "active_count": _COUNT,
                "active_root": _hex(32),
                "version": _hex(32),
                "unopened_batches": _COUNT,
            }
        ),
        "rules": _list(
            _object(
                {
                    "jurisdiction": _JURISDICTION,
                    "version": _COUNT,
                    "entry": _COUNT,
                    "title": _TEXT,
                    "modality": _one_of(Modality),
                    "in_force": _one_of(Coverage),
                }
            )
        ),
        "receipts": _object({"size": _COUNT, "root": _hex(32)}),
    }
)


def _answers(schema: Schema | None, *errors: int) -> dict[int | str, Schema]:
    answers: dict[int | str, Schema] = {
        status: {
            "description": "See docs/errors.md",
            "content": {"application/json": {"schema": _ERROR}},
        }
        for status in errors
    }
    if schema is not None:
        answers[200] = {
            "description": "The answer",
            "content": {"application/json": {"schema": schema}},
        }
    return answers


def _parameter(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


SCREEN: Final[dict[str, Any]] = {
    "summary": "Screen one file, by its bytes or by fingerprints",
    "responses": _answers({"anyOf": [_ANSWER, _CLIENT_ANSWER]}, 400, 401, 403, 408, 413, 429, 503),
    "openapi_extra": {
        "parameters": [
            _parameter("jurisdiction", _list(_JURISDICTION, JURISDICTIONS_MAX)),
            _parameter("scope", _SCOPE),
            _parameter("service", _SERVICE),
            _parameter("upload", _UPLOAD),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "description": "The file itself; a film alone may have more than 50 MB",
                    }
                },
                "application/json": {
                    "schema": _object(
                        {
                            "fingerprints": _FINGERPRINTS,
                            "jurisdictions": _list(_JURISDICTION, JURISDICTIONS_MAX),
                            "scope": _SCOPE,
                            "service": _SERVICE,
                            "upload": _UPLOAD,
                        },
                        ("fingerprints",),
                    )
                },
            },
        },
    },
}
STATUS: Final[dict[str, Any]] = {
    "summary": "Which list and rules screen now",
    "responses": _answers(_STATUS, 401, 503),
}
LOG: Final[dict[str, Any]] = {
    "summary": "The platform's receipts as a C2SP tiled log",
    "responses": _answers(None, 400, 401, 404),
}
