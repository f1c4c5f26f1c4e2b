"""From a file's facts and what looks like it to a decision, by the rules of its jurisdictions.

Not here: finding candidates (index), what is active where (registry).
Invariants: pure; only active listings of a jurisdiction act there; a near match is never more
than `review` on one algorithm alone unless the rule says so; a disputed listing is never more
than `review`; "could not look" is an answer of its own, never "no match".
Source: docs/spec/decisions.md.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.matching.decision import (
    Answer,
    Applied,
    Cap,
    Conflict,
    Context,
    Decision,
    Duties,
    Place,
    Query,
    Reason,
    ReportDuty,
    Verdict,
)
from accord.matching.index import Candidates, Distances
from accord.registry.columns import Bytes, Flags, Rows
from accord.registry.listings import Snapshot
from accord.registry.obligation import (
    REVIEW_ONLY,
    ActiveClause,
    Certifier,
    Coverage,
    Obligation,
    PlatformObligations,
    certifiers,
)
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    QUALITY_ALGORITHMS,
    STEPS_CARRIED_OUT,
    Action,
    Algorithm,
    Clause,
    Metric,
    Modality,
    Near,
)
from accord.wire.errors import Broken, Malformed
from accord.wire.limits import REASONS_MAX

LOW_QUALITY: Final = "query.low_quality"  # No frame is good enough for a rule's near matching.
NOT_ASKED: Final = "query.not_asked"  # A clause matches near by algorithms the query lacks.
STEP_LACKING: Final = "rules.step_lacking"  # The rules ask for a step that this software lacks.
_ACTIONS: Final = tuple(Action)
_REVIEW: Final = Action.REVIEW.severity
_CAPS: Final = (None, Cap.NEAR_ALONE, Cap.DISPUTED)
_COVERAGE: Final = {
    Coverage.NO_RULES: Applied.NO_RULES,
    Coverage.NOT_VALID: Applied.NOT_VALID,
}


@dataclass(frozen=True, slots=True, eq=False)
class Scoped:
    """A jurisdiction of the file, and whether its rules apply to it."""

    obligation: Obligation
    applied: Applied


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """What one look-up matched under one clause. Arrays are aligned; `cap` is a place in _CAPS."""

    obligation: Obligation
    active: ActiveClause
    found: Candidates
    rows: Rows
    distances: Distances
    severity: Bytes
    cap: Bytes


def applicable(obligations: PlatformObligations, context: Context) -> tuple[Scoped, ...]:
    """Which rules apply to a file. Raises: Malformed, for a jurisdiction that the platform is not
    admitted in: an unknown one must not pass as one without rules."""
    asked = context.jurisdictions or tuple(obligations.by_jurisdiction)
    scoped: list[Scoped] = []
    for name in dict.fromkeys(asked):
        share = obligations.by_jurisdiction.get(name)
        if share is None:
            raise Malformed("decision.jurisdiction", jurisdiction=name)
        scoped.append(Scoped(share, _applied(share, context)))
    if not any(item.applied is Applied.PROHIBITED for item in scoped):
        return tuple(scoped)
    return tuple(
        Scoped(item.obligation, Applied.YIELDED) if _is_permitted(item) else item for item in scoped
    )


def _applied(share: Obligation, context: Context) -> Applied:
    if share.rule is None or share.coverage in _COVERAGE:
        return _COVERAGE[share.coverage]
    if context.scope not in share.rule.rule_set.scope:
        return Applied.OTHER_SCOPE
    if context.service not in share.rule.rule_set.services:
        return Applied.OTHER_SERVICE
    return Applied.PROHIBITED if share.coverage is Coverage.PROHIBITED else Applied.APPLIED


def _is_permitted(item: Scoped) -> bool:
    rule = item.obligation.rule
    permitted = rule is not None and rule.rule_set.modality is Modality.PERMITTED
    return permitted and item.applied is Applied.APPLIED


def decide(
    query: Query,
    candidates: Sequence[Candidates],
    obligations: PlatformObligations,
    context: Context,
    checkpoint: Place,
) -> Decision:
    """The decision on a file. `candidates` hold at least what the clauses in force could match.

    Raises: Malformed, see `applicable`.
    """
    scoped = applicable(obligations, context)
    hits: list[_Hits] = []
    verdicts: list[Verdict] = []
    code = query.undetermined
    for item in scoped:
        mine = (
            _hits_in(item.obligation, candidates, obligations.snapshot)
            if item.applied is Applied.APPLIED
            else []
        )
        unseen = query.undetermined or _unseen(item.obligation, query, mine)
        code = code or (unseen if item.applied is Applied.APPLIED else None)
        verdicts.append(_verdict(item, mine, unseen, context.stale))
        hits += mine
    conflict = _conflict(scoped)
    action = max((verdict.action for verdict in verdicts), key=_severity, default=Action.ALLOW)
    if conflict is not None and action.severity > _REVIEW:
        action = Action.REVIEW
    reasons, listings, truncated = _name_reasons(hits, obligations)
    return Decision(
        answer=_answer(verdicts, query),
        action=action,
        code=code,
        reasons=reasons,
        verdicts=tuple(verdicts),
        duties=_duties(scoped, verdicts),
        conflict=conflict,
        listings=listings,
        truncated=truncated,
        stale=context.stale,
        checkpoint=checkpoint,
    )


def _severity(action: Action) -> int:
    return action.severity


def _hits_in(
    share: Obligation, candidates: Sequence[Candidates], snapshot: Snapshot
) -> list[_Hits]:
    """What each clause of a jurisdiction matched, with the action it leads to there."""
    hits: list[_Hits] = []
    for active in share.clauses:
        kept: list[tuple[Candidates, Flags]] = []
        for found in candidates:
            keep = _kept(active, found, snapshot) if len(found.rows) else None
            if keep is not None and keep.any():
                kept.append((found, keep))
        hits += [_hits_of(share, active, item, candidates, kept) for item in kept]
    return hits


def _kept(active: ActiveClause, found: Candidates, snapshot: Snapshot) -> Flags | None:
    """Which of the rows found match under a clause; None if it does not ask by this."""
    if found.algorithm in EXACT_ALGORITHMS:
        exact = active.clause.exact
        if exact is None or found.algorithm not in exact.algorithms:
            return None
        keep: Flags = active.active.at(found.rows)
        return keep
    near = active.clause.near_by(found.algorithm)
    if (
        near is None
        or near.metric is not found.metric
        or min(found.quality, 100) < near.quality_min
    ):
        return None
    keep = active.active.at(found.rows)
    keep &= found.distances <= near.limit
    if found.algorithm in QUALITY_ALGORITHMS and keep.any():
        keep &= _qualities(snapshot, found.rows) >= near.quality_min
    return keep


def _hits_of(
    share: Obligation,
    active: ActiveClause,
    item: tuple[Candidates, Flags],
    candidates: Sequence[Candidates],
    kept: Sequence[tuple[Candidates, Flags]],
) -> _Hits:
    """The actions of what one look-up matched under a clause."""
    found, keep = item
    rows = found.rows[keep]
    near = active.clause.near_by(found.algorithm)
    exact = active.clause.exact
    action = near.action if near is not None else exact.action if exact is not None else None
    if action is None:  # `_kept` gives neither without one of them.
        raise Broken("decision.no_term")
    cap = np.zeros(len(rows), dtype=np.uint8)
    severity = np.full(len(rows), action.severity, dtype=np.uint8)
    if action.severity > _REVIEW:
        if near is not None and not near.alone:
            confirmed = _confirmed(near, candidates, kept)
            cap[~np.isin(rows, confirmed)] = _CAPS.index(Cap.NEAR_ALONE)
        cap[active.status_of(rows) == REVIEW_ONLY] = _CAPS.index(Cap.DISPUTED)
        severity[cap > 0] = _REVIEW
    return _Hits(share, active, found, rows, found.distances[keep], severity, cap)


def _confirmed(
    near: Near, candidates: Sequence[Candidates], kept: Sequence[tuple[Candidates, Flags]]
) -> Rows:
    """The rows on which a second algorithm agrees: an equal digest, named by the clause or not,
    or a perceptual match of the same clause."""
    agreeing = [
        found.rows
        for found in candidates
        if found.algorithm in EXACT_ALGORITHMS and found.algorithm in near.confirmed_by
    ]
    agreeing += [
        found.rows[keep]
        for found, keep in kept
        if found.algorithm not in EXACT_ALGORITHMS and found.algorithm in near.confirmed_by
    ]
    return np.concatenate(agreeing) if agreeing else np.empty(0, dtype=np.uint32)


def _qualities(snapshot: Snapshot, rows: Rows) -> NDArray[np.int64]:
    """The PDQ quality of each row, -1 where it has no PDQ."""
    there, places = snapshot.values["pdq"].places_of(rows)
    if not len(snapshot.pdq_quality):
        return np.full(len(rows), -1, dtype=np.int64)
    return np.where(there, snapshot.pdq_quality[places].astype(np.int64), -1)


def _quality_of(snapshot: Snapshot, row: Rows) -> int:
    return int(_qualities(snapshot, row)[0])


def _unseen(share: Obligation, query: Query, hits: Sequence[_Hits]) -> str | None:
    """Why a picture without a match was not really looked at here."""
    if hits or not (query.frames or query.vectors):
        return None
    if share.rule is not None and not set(share.rule.rule_set.screen) <= STEPS_CARRIED_OUT:
        return STEP_LACKING
    best = max((frame.quality for frame in query.frames), default=0)
    have = {algorithm for algorithm, _ in query.vectors}
    if query.frames:
        have.add(Algorithm.PDQ)
    codes = [_unseen_by(active.clause, have, best) for active in share.clauses]
    return next((code for code in codes if code is not None), None)


def _unseen_by(clause: Clause, have: Collection[Algorithm], best: int) -> str | None:
    """Why a clause could not be looked at by any algorithm that it asks."""
    asked = [near for near in clause.near if near.algorithm in have]
    if not clause.near or any(
        near.algorithm not in QUALITY_ALGORITHMS or best >= near.quality_min for near in asked
    ):
        return None
    return LOW_QUALITY if asked else NOT_ASKED


def _verdict(item: Scoped, hits: Sequence[_Hits], unseen: str | None, stale: bool) -> Verdict:
    rule = item.obligation.rule
    answer: Answer | None = None
    action = Action.ALLOW
    if item.applied is Applied.APPLIED and rule is not None:
        answer = Answer.MATCH if hits else Answer.UNDETERMINED if unseen else Answer.NO_MATCH
        if hits:
            action = _ACTIONS[max(int(hit.severity.max()) for hit in hits)]
        elif unseen:
            action = rule.rule_set.undetermined
        if stale:
            action = max(action, rule.rule_set.stale, key=_severity)
    return Verdict(
        jurisdiction=item.obligation.jurisdiction,
        applied=item.applied,
        rule_version=None if rule is None else rule.version,
        rule_entry=None if rule is None else rule.entry,
        answer=answer,
        action=action,
    )


def _answer(verdicts: Sequence[Verdict], query: Query) -> Answer:
    given = {verdict.answer for verdict in verdicts}
    if Answer.MATCH in given:
        return Answer.MATCH
    if Answer.UNDETERMINED in given or query.undetermined is not None:
        return Answer.UNDETERMINED
    return Answer.NO_MATCH


def _conflict(scoped: Sequence[Scoped]) -> Conflict | None:
    named = {
        wanted: tuple(i.obligation.jurisdiction for i in scoped if i.applied is wanted)
        for wanted in (Applied.APPLIED, Applied.PROHIBITED)
    }
    if not named[Applied.APPLIED] or not named[Applied.PROHIBITED]:
        return None
    return Conflict(named[Applied.APPLIED], named[Applied.PROHIBITED])


def _duties(scoped: Sequence[Scoped], verdicts: Sequence[Verdict]) -> Duties:
    rules = [
        (verdict.jurisdiction, item.obligation.rule.rule_set)
        for item, verdict in zip(scoped, verdicts, strict=True)
        if verdict.answer is Answer.MATCH and item.obligation.rule is not None
    ]
    reports = tuple(
        ReportDuty(name, rule.report.to, rule.report.within_hours)
        for name, rule in rules
        if rule.report is not None
    )
    return Duties(
        reports=reports,
        report_within_hours=min((report.within_hours for report in reports), default=None),
        preserve_days=max((rule.preserve_days for _, rule in rules), default=0),
        user_notices=tuple((name, rule.user_notice) for name, rule in rules if rule.user_notice),
    )


def _name_reasons(
    hits: Sequence[_Hits], obligations: PlatformObligations
) -> tuple[tuple[Reason, ...], int, bool]:
    """The strictest reasons, the count of listings matched, and whether some were left out.

    Order: strictest first, then exact, then by algorithm, distance, listing and rule. A listing
    that several frames match under one clause is one reason, at its smallest distance.
    """
    if not hits:
        return (), 0, False
    which = np.repeat(np.arange(len(hits)), [len(hit.rows) for hit in hits])
    within = np.concatenate([np.arange(len(hit.rows)) for hit in hits])
    rows = np.concatenate([hit.rows for hit in hits])
    distances = np.concatenate([hit.distances for hit in hits])
    severity = np.concatenate([hit.severity for hit in hits]).astype(np.int64)
    by = np.array([_rank(hit.found.algorithm) for hit in hits])[which]
    reasons: list[Reason] = []
    vouching: dict[object, tuple[Certifier, ...]] = {}  # Clauses that ask the same share it.
    named: set[tuple[str, str, str, int]] = set()
    truncated = False
    for place in np.lexsort((which, rows, distances, by, -severity)):
        hit = hits[int(which[place])]
        algorithm = hit.found.algorithm.value
        key = (hit.obligation.jurisdiction, hit.active.clause.name, algorithm, int(rows[place]))
        if key in named:
            continue
        if len(reasons) == REASONS_MAX:
            truncated = True
            break
        named.add(key)
        asked = (key[3], hit.active.clause.certification.review_level, hit.active.clause.classes)
        shared = (*asked, id(hit.active.live))
        if shared not in vouching:
            vouching[shared] = certifiers(obligations, hit.active, key[3])
        reasons.append(_reason(hit, int(within[place]), obligations, vouching[shared]))
    return tuple(reasons), len(np.unique(rows)), truncated


def _rank(algorithm: Algorithm) -> int:
    """Digests alike and first; distances of two algorithms do not compare."""
    return 0 if algorithm in EXACT_ALGORITHMS else 1 + list(Algorithm).index(algorithm)


def _shown(distance: int, metric: Metric) -> int:
    """A distance in the unit of thresholds; a root that is no whole number is rounded up."""
    if metric is not Metric.L2 or distance == 0:
        return distance
    return math.isqrt(distance - 1) + 1


def _reason(
    hit: _Hits, place: int, obligations: PlatformObligations, vouching: tuple[Certifier, ...]
) -> Reason:
    snapshot, row, rule = obligations.snapshot, int(hit.rows[place]), hit.obligation.rule
    if rule is None:  # A hit comes from a clause, and a clause from a rule set.
        raise Broken("decision.rule_missing")
    has_quality = hit.found.algorithm in QUALITY_ALGORITHMS
    return Reason(
        jurisdiction=hit.obligation.jurisdiction,
        rule_title=rule.rule_set.title,
        rule_version=rule.version,
        rule_entry=rule.entry,
        clause=hit.active.clause.name,
        ref=snapshot.ref_of(row),
        publisher=snapshot.agencies[snapshot.publisher[row]],
        class_code=snapshot.classes[snapshot.class_of[row]],
        algorithm=hit.found.algorithm,
        distance=_shown(int(hit.distances[place]), hit.found.metric),
        metric=hit.found.metric,
        query_quality=hit.found.quality if has_quality else None,
        listing_quality=_quality_of(snapshot, hit.rows[place : place + 1]) if has_quality else None,
        action=_ACTIONS[int(hit.severity[place])],
        cap=_CAPS[int(hit.cap[place])],
        disputed=int(hit.active.status_of(hit.rows[place : place + 1])[0]) == REVIEW_ONLY,
        certifiers=vouching,
    )
