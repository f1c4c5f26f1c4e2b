"""From a screening to a case: the match record, which never changes afterwards.

Source: docs/spec/cases.md, section 2.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from accord.matching import Decision, Query, Reason
from accord.matching.decision import Answer
from accord.scan.cases.desk import CaseDesk
from accord.scan.cases.model import DAY_MS, HOUR_MS, Case, State
from accord.scan.cases.quarantine import Held
from accord.scan.screener import BUILD, Running, Screened
from accord.statements.rules import EXACT_ALGORITHMS, Action, Algorithm
from accord.wire.digests import labelled_sha256
from accord.wire.ids import TimeMs
from accord.wire.limits import CASE_MATCHES_MAX

ID_CHARS: Final = 20  # 80 bits: no two of a platform's cases collide, and people can read it out.
HELD: Final = frozenset({Action.QUARANTINE, Action.BLOCK})  # Their files go to quarantine.
Json = dict[str, object]


def needs_case(decision: Decision) -> bool:
    """Whether a person has to look, or a duty follows."""
    return decision.action.severity >= Action.REVIEW.severity or (
        decision.answer is Answer.MATCH and bool(decision.duties.reports)
    )


TakeIn = Callable[[Screened, str | None, Held | None], None]
# A stored file's screening, what stands for its place, and the file once more: the case, if any.
TakeInStored = Callable[[Screened, bytes, Callable[[], Held | None]], str | None]


def taking_in(desk: CaseDesk) -> TakeIn:
    """What a gateway calls after each screening, before it answers. Raises: Unavailable: then
    there is no answer, and the upload comes again."""

    def take_in(screened: Screened, upload: str | None, data: Held | None) -> None:
        decision = screened.decision
        if not needs_case(decision):
            return
        held = data if decision.action in HELD else None
        desk.take_in(open_case(screened, upload), listings_of(decision), held)

    return take_in


def taking_in_stored(desk: CaseDesk) -> TakeInStored:
    """What a scan calls after each match, before it remembers the file. Raises: Unavailable: then
    the scan ends, and the next one decides the file again."""

    def take_in(screened: Screened, place: bytes, read: Callable[[], Held | None]) -> str | None:
        decision = screened.decision
        if not needs_case(decision) or not decision.reasons:
            return None
        seen = _seen(screened.query)
        file = labelled_sha256("stored-file", place, b"" if seen is None else seen)

        def make(listings: list[str]) -> Case:
            return _stored_case(screened, file, listings)

        held = read if decision.action in HELD else None
        return desk.take_in_stored(file, listings_of(decision), make, held).id

    return take_in


def _stored_case(screened: Screened, file: bytes, listings: list[str]) -> Case:
    """The case of a stored file for some listings: what the others say is in cases before it."""
    case = open_case(screened, None)
    names = (listing.encode() for listing in listings)
    case_id = labelled_sha256("case", b"stored", file, *names).hex()[:ID_CHARS]
    matches = case.record["matches"]
    rows = matches if isinstance(matches, list) else []
    record = dict(case.record) | {
        "matches": [row for row in rows if row["listing"] in listings],
        "listings": len(listings),
    }
    return replace(case, id=case_id, record=record)


def open_case(screened: Screened, upload: str | None) -> Case:
    """The case of a screening. The same file of the same upload is the same case."""
    query, decision, receipt = screened.query, screened.decision, screened.receipt
    at = receipt.time_ms
    hours = decision.duties.report_within_hours
    return Case(
        id=_id_of(query, upload, receipt.leaf),
        version=1,
        state=State.OPEN,
        opened_ms=at,
        effective_ms=at,
        action=decision.action.value,
        report_due_ms=None if hours is None else TimeMs(at + hours * HOUR_MS),
        preserve_until_ms=TimeMs(at + decision.duties.preserve_days * DAY_MS),
        record=_record(screened),
    )


def listings_of(decision: Decision) -> list[str]:
    """The listings that matched, by ref."""
    return sorted({str(reason.ref) for reason in decision.reasons})


def _id_of(query: Query, upload: str | None, leaf: bytes) -> str:
    seen = _seen(query)
    if upload is None or seen is None:
        return labelled_sha256("case", b"receipt", leaf).hex()[:ID_CHARS]
    return labelled_sha256("case", b"upload", upload.encode(), seen).hex()[:ID_CHARS]


def _seen(query: Query) -> bytes | None:
    """What tells a file's content from another's: its strongest digest, else a fingerprint."""
    seen = [digest for _, digest in query.digests] or [frame.bits for frame in query.frames]
    return seen[-1] if seen else None


def _record(screened: Screened) -> Json:
    query, decision, running = screened.query, screened.decision, screened.running
    duties = decision.duties
    return {
        "digests": {algorithm.value: digest.hex() for algorithm, digest in query.digests},
        "pdq": [{"bits": f.bits.hex(), "quality": f.quality} for f in query.frames[:1]],
        "answer": decision.answer.value,
        "code": decision.code,
        "matches": [
            _match(query, reason, running) for reason in decision.reasons[:CASE_MATCHES_MAX]
        ],
        "listings": decision.listings,
        "local": [f"{note.step} {note.list_name} {note.listing}" for note in decision.local],
        "checkpoint": {
            "size": decision.checkpoint.size,
            "root": decision.checkpoint.root.hex(),
            "stale": decision.stale,
        },
        "reports": [
            {"jurisdiction": r.jurisdiction, "to": r.to, "within_hours": r.within_hours}
            for r in duties.reports
        ],
        "preserve_days": duties.preserve_days,
        "user_notices": [
            {"jurisdiction": name, "text": text} for name, text in duties.user_notices
        ],
        "receipt": {"index": screened.receipt.index, "leaf": screened.receipt.leaf.hex()},
        "client": BUILD,
    }


def _match(query: Query, reason: Reason, running: Running) -> Json:
    is_exact = reason.algorithm in EXACT_ALGORITHMS
    return {
        "kind": "exact" if is_exact else "near",
        "algorithm": reason.algorithm.value,
        "value": _value(query, reason.algorithm),
        "distance": reason.distance,
        "metric": reason.metric.value,
        "threshold": 0 if is_exact else _threshold(reason, running),
        "quality": reason.query_quality,
        "listing_quality": reason.listing_quality,
        "listing": str(reason.ref),
        "publisher": reason.publisher,
        "class": str(reason.class_code),
        "jurisdiction": reason.jurisdiction,
        "rule": {
            "title": reason.rule_title,
            "entry": reason.rule_entry,
            "version": reason.rule_version,
            "clause": reason.clause,
        },
        "action": reason.action.value,
        "disputed": reason.disputed,
        "certified_by": [who.agency for who in reason.certifiers],
    }


def _value(query: Query, algorithm: Algorithm) -> str:
    """What of the file matched, as far as the query tells: of several pictures, the main one."""
    if algorithm is Algorithm.PDQ:
        return query.frames[0].bits.hex() if query.frames else ""
    values = (value for name, value in (*query.digests, *query.vectors) if name is algorithm)
    return next(values, b"").hex()


def _threshold(reason: Reason, running: Running) -> int | None:
    share = running.obligations.by_jurisdiction.get(reason.jurisdiction)
    clauses = () if share is None else share.clauses
    near = [active.clause.near_by(reason.algorithm) for active in clauses]
    named = [
        item
        for active, item in zip(clauses, near, strict=True)
        if item is not None and active.clause.name == reason.clause
    ]
    return named[0].threshold if named else None
