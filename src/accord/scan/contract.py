"""The gateway's contract: requests parsed, answers laid out. Pure; the same for every command.

Source: docs/spec/gateway.md.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from accord.audit.receipts import ScanReceipt
from accord.fingerprint.types import VIEWS_MAX, Fingerprint, UnhashableCode
from accord.matching import Context, Decision, Query, Reason
from accord.scan.receipts import LogHead
from accord.scan.screener import Running, Screened
from accord.statements.rules import Algorithm, Scope, Service
from accord.wire.errors import Malformed
from accord.wire.ids import JURISDICTION_RE, JurisdictionId, TimeMs
from accord.wire.limits import JURISDICTIONS_MAX, UPLOAD_ID_CHARS_MAX

Json = dict[str, object]
DIGESTS_ONLY = "query.digests_only"  # Nobody told what the picture looks like.
_DIGESTS = ((Algorithm.MD5, 16), (Algorithm.SHA1, 20), (Algorithm.SHA256, 32))
_ASKED = frozenset({"fingerprints", "jurisdictions", "scope", "service", "upload"})
_VECTORS = ((Algorithm.PHOTODNA, 144),)
_FINGERPRINTS = frozenset({"pdq", "photodna", "md5", "sha1", "sha256", "unseen"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The facts of one file besides its bytes."""

    context: Context
    upload: str | None


def parse_facts(
    jurisdictions: Sequence[object], scope: object, service: object, upload: object
) -> Asked:
    """Facts of an upload; those left out are None. Raises: Malformed."""
    if len(jurisdictions) > JURISDICTIONS_MAX:
        raise Malformed("screen.jurisdictions", limit=JURISDICTIONS_MAX)
    names: list[JurisdictionId] = []
    for name in jurisdictions:
        if not isinstance(name, str) or JURISDICTION_RE.fullmatch(name) is None:
            raise Malformed("screen.jurisdictions", wanted="codes such as NL")
        names.append(JurisdictionId(name))
    if upload is not None and not (
        isinstance(upload, str) and 0 < len(upload) <= UPLOAD_ID_CHARS_MAX and upload.isprintable()
    ):
        raise Malformed("screen.upload", limit=UPLOAD_ID_CHARS_MAX)
    if scope not in (None, *(item.value for item in Scope)):
        raise Malformed("screen.scope", wanted=" or ".join(Scope))
    if service not in (None, *(item.value for item in Service)):
        raise Malformed("screen.service", wanted=", ".join(Service))
    context = Context(
        jurisdictions=tuple(names),
        scope=Scope.UPLOADS if scope is None else Scope(scope),
        service=Service.HOSTING if service is None else Service(service),
    )
    return Asked(context, upload)


def parse_json_request(raw: bytes) -> tuple[Query, Asked]:
    """The form for files that were looked at before. Raises: Malformed."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise Malformed("screen.json") from err
    fields = _object(value, "screen.json", _ASKED)
    jurisdictions = fields.get("jurisdictions") or []
    if not isinstance(jurisdictions, list):
        raise Malformed("screen.jurisdictions", wanted="a list")
    asked = parse_facts(
        cast(list[object], jurisdictions),
        fields.get("scope"),
        fields.get("service"),
        fields.get("upload"),
    )
    return parse_fingerprints(fields.get("fingerprints")), asked


def parse_fingerprints(value: object) -> Query:
    """What `fingerprints` of an answer says, as a query. Raises: Malformed."""
    fields = _object(value, "screen.fingerprints", _FINGERPRINTS)
    rows = fields.get("pdq") or []
    if not isinstance(rows, list) or len(cast(list[object], rows)) > VIEWS_MAX:
        raise Malformed("screen.fingerprints", field="pdq", limit=VIEWS_MAX)
    frames = tuple(_frame(row) for row in cast(list[object], rows))
    digests = tuple(
        (name, _hex(fields[name.value], size, name.value))
        for name, size in _DIGESTS
        if fields.get(name.value) is not None
    )
    vectors = tuple(
        (name, _hex(one, size, name.value))
        for name, size in _VECTORS
        for one in _one_or_more(fields.get(name.value), name.value)
    )
    if not frames and not digests and not vectors:
        raise Malformed("screen.fingerprints", hint="none given")
    unseen = fields.get("unseen")
    if unseen is not None and not (isinstance(unseen, str) and unseen in set(UnhashableCode)):
        raise Malformed("screen.fingerprints", field="unseen")
    undetermined = unseen if frames or vectors else DIGESTS_ONLY
    return Query(digests, frames, undetermined, vectors=vectors)


def _one_or_more(value: object, field: str) -> list[object]:
    """A value of each picture that has one: by itself where it is the only one."""
    if value is None:
        return []
    several = cast(list[object], value) if isinstance(value, list) else [value]
    if not 0 < len(several) <= VIEWS_MAX:
        raise Malformed("screen.fingerprints", field=field, limit=VIEWS_MAX)
    return several


def _frame(row: object) -> Fingerprint:
    fields = _object(row, "screen.fingerprints", frozenset({"bits", "quality"}))
    quality = fields.get("quality")
    if type(quality) is not int:
        raise Malformed("screen.fingerprints", field="quality")
    return Fingerprint(_hex(fields.get("bits"), 32, "bits"), quality)


def _hex(value: object, size: int, field: str) -> bytes:
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) and len(value) == 2 * size else b""
    except ValueError:
        raw = b""
    if len(raw) != size:
        raise Malformed("screen.fingerprints", field=field, wanted=f"{2 * size} hex digits")
    return raw


def _object(value: object, code: str, known: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(code, wanted="an object")
    fields = cast(dict[str, object], value)
    if not fields.keys() <= known:
        raise Malformed(code, hint="unknown field", known=",".join(sorted(known)))
    return fields


def answer_view(screened: Screened) -> Json:
    """The answer to one screening."""
    return {
        **decision_fields(screened.decision, screened.running),
        "fingerprints": fingerprints_view(screened.query),
        "receipt": receipt_view(screened.receipt),
    }


def decision_fields(decision: Decision, running: Running) -> Json:
    """The part of an answer that names no file."""
    duties, conflict = decision.duties, decision.conflict
    return {
        "decision": decision.answer.value.replace("-", "_"),
        "action": decision.action.value,
        "code": decision.code,
        "conflict": conflict is not None,
        "conflict_between": conflict
        and {
            "required_in": list(conflict.required_in),
            "prohibited_in": list(conflict.prohibited_in),
        },
        "reasons": [_reason_view(reason, running) for reason in decision.reasons],
        "listings": decision.listings,
        "truncated": decision.truncated,
        "members": list(decision.members),
        "jurisdictions": [
            {
                "jurisdiction": verdict.jurisdiction,
                "applied": verdict.applied.value,
                "answer": verdict.answer and verdict.answer.value.replace("-", "_"),
                "action": verdict.action.value,
            }
            for verdict in decision.verdicts
        ],
        "duties": {
            "report": [
                {"jurisdiction": r.jurisdiction, "to": r.to, "within_hours": r.within_hours}
                for r in duties.reports
            ],
            "preserve_days": duties.preserve_days,
            "user_notice": [text for _, text in duties.user_notices],
        },
        "checkpoint": {
            "size": decision.checkpoint.size,
            "root": decision.checkpoint.root.hex(),
            "stale": decision.stale,
        },
        "local": [
            {
                "step": note.step.value,
                "list": note.list_name,
                "listing": note.listing,
                "refused": note.is_refused,
            }
            for note in decision.local
        ],
    }


def _reason_view(reason: Reason, running: Running) -> Json:
    rule = running.obligations.by_jurisdiction[reason.jurisdiction].rule
    return {
        "jurisdiction": reason.jurisdiction,
        "rule": {
            "title": "" if rule is None else rule.rule_set.title,
            "version": reason.rule_version,
            "entry": reason.rule_entry,
            "clause": reason.clause,
        },
        "listing": str(reason.ref),
        "class": str(reason.class_code),
        "algorithm": reason.algorithm.value,
        "distance": reason.distance,
        "disputed": reason.disputed,
        "action": reason.action.value,
        "cap": reason.cap and reason.cap.value,
        "certified_by": [
            {"agency": who.agency, "entry": who.entry, "how": who.how} for who in reason.certifiers
        ],
    }


def fingerprints_view(query: Query) -> Json:
    """For the platform's own store, to ask again without reading the file again."""
    digests = {algorithm.value: digest.hex() for algorithm, digest in query.digests}
    frames = [{"bits": frame.bits.hex(), "quality": frame.quality} for frame in query.frames]
    each = {
        name.value: [vector.hex() for algorithm, vector in query.vectors if algorithm is name]
        for name, _ in _VECTORS
    }
    vectors = {name: v if len(v) > 1 else v[0] for name, v in each.items() if v}
    # Whoever asks again by these asks again about a file that was not looked at whole.
    unseen = {"unseen": query.undetermined} if frames and query.undetermined else {}
    return {"pdq": frames, **vectors, **digests, **unseen}


def receipt_view(receipt: ScanReceipt) -> Json:
    return {
        "index": receipt.index,
        "leaf": receipt.leaf.hex(),
        "time_ms": receipt.time_ms,
        "key_id": receipt.key_id.hex(),
        "signature": base64.b64encode(receipt.signature).decode(),
    }


def status_view(platform: str, running: Running, head: LogHead, now_ms: TimeMs) -> Json:
    """Which list and rules screen now."""
    obligations = running.obligations
    rules = [
        {
            "jurisdiction": name,
            "version": share.rule.version,
            "entry": share.rule.entry,
            "title": share.rule.rule_set.title,
            "modality": share.rule.rule_set.modality.value,
            "in_force": share.coverage.value,
        }
        for name, share in sorted(obligations.by_jurisdiction.items())
        if share.rule is not None
    ]
    return {
        "platform": platform,
        "list": {
            "size": running.screen.checkpoint.size,
            "root": running.screen.checkpoint.root.hex(),
            "time_ms": obligations.now_ms,
            "cosigned_ms": running.cosigned_ms,
            "stale": running.is_stale(now_ms),
            "active_count": obligations.active_count,
            "active_root": obligations.active_root.hex(),
            "version": running.version.hex(),
            "unopened_batches": obligations.snapshot.unopened,
        },
        "rules": rules,
        "receipts": {"size": head.size, "root": head.root.hex()},
    }
