"""From a file's facts and what looks like it to a decision, by the rules of its jurisdictions.

Not here: finding candidates (index), what is active where (registry).
Invariants: pure; only active listings of a jurisdiction act there; a near match is never more
than `review` on one algorithm alone unless the rule says so; a disputed listing is never more
than `review`; "could not look" is an answer of its own, never "no match".
Source: docs/spec/decisions.md.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from accord.matching.decision import (
    Answer,
    Applied,
    Conflict,
    Context,
    Decision,
    Duties,
    Place,
    Query,
    ReportDuty,
    Verdict,
)
from accord.matching.few import FEW_ROWS_MAX, Few
from accord.matching.index import Candidates
from accord.matching.many import ACTIONS, REVIEW, Many
from accord.registry.obligation import (
    Coverage,
    Obligation,
    PlatformObligations,
)
from accord.statements.rules import (
    QUALITY_ALGORITHMS,
    Action,
    Algorithm,
    Clause,
    Modality,
    Step,
)
from accord.wire.errors import Malformed
from accord.wire.limits import PDQ_QUALITY_MIN

LOW_QUALITY: Final = "query.low_quality"  # No frame is good enough for a rule's near matching.
NOT_ASKED: Final = "query.not_asked"  # A clause matches near by algorithms the query lacks.
STEP_LACKING: Final = "query.step_lacking"  # The rules look at more of a picture than was asked.
_COVERAGE: Final = {
    Coverage.NO_RULES: Applied.NO_RULES,
    Coverage.NOT_VALID: Applied.NOT_VALID,
}


@dataclass(frozen=True, slots=True, eq=False)
class Scoped:
    """A jurisdiction of the file, and whether its rules apply to it."""

    obligation: Obligation
    applied: Applied


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
    few = sum(len(found.rows) for found in candidates) <= FEW_ROWS_MAX
    matcher = (Few if few else Many)(candidates, obligations)
    return decide_by(matcher, query, obligations, context, checkpoint)


def decide_by(
    matcher: Few | Many,
    query: Query,
    obligations: PlatformObligations,
    context: Context,
    checkpoint: Place,
) -> Decision:
    """`decide` on what one of the two ways to match found. They give the same."""
    scoped = applicable(obligations, context)
    verdicts: list[Verdict] = []
    code = query.undetermined
    for item in scoped:
        is_applied = item.applied is Applied.APPLIED
        strictest = matcher.strictest_in(item.obligation) if is_applied else None
        unseen = query.undetermined
        if is_applied and strictest is None:
            unseen = unseen or _unseen(item.obligation, query)
        code = code or (unseen if is_applied else None)
        verdicts.append(_verdict(item, strictest, unseen, context.stale))
    conflict = _conflict(scoped)
    action = max((verdict.action for verdict in verdicts), key=_severity, default=Action.ALLOW)
    if conflict is not None and action.severity > REVIEW:
        action = Action.REVIEW
    reasons, listings, truncated = matcher.reasons()
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


def _unseen(share: Obligation, query: Query) -> str | None:
    """Why a picture without a match was not really looked at here."""
    if not (query.frames or query.vectors):
        return None
    if query.frames and not share.steps <= query.steps:
        return STEP_LACKING
    best = max((frame.quality for frame in query.frames), default=0)
    have = {algorithm for algorithm, _ in query.vectors}
    if query.frames:
        have.add(Algorithm.PDQ)
    kin = {Algorithm.PATCHES} if Step.PATCHES in query.steps else set[Algorithm]()
    if best >= PDQ_QUALITY_MIN:
        kin.add(Algorithm.VPDQ)
    codes = [_unseen_by(active.clause, have, kin, best) for active in share.clauses]
    return next((code for code in codes if code is not None), None)


def _unseen_by(
    clause: Clause, have: Collection[Algorithm], kin: Collection[Algorithm], best: int
) -> str | None:
    """Why a clause could not be looked at by any algorithm that it asks. `kin` of PDQ stand for it
    where a clause asks for nothing else."""
    asked = [near for near in clause.near if near.algorithm in have]
    asked = asked or [near for near in clause.near if near.algorithm in kin]
    if not clause.near or any(
        near.algorithm not in QUALITY_ALGORITHMS or best >= near.quality_min for near in asked
    ):
        return None
    return LOW_QUALITY if asked else NOT_ASKED


def _verdict(item: Scoped, strictest: int | None, unseen: str | None, stale: bool) -> Verdict:
    rule = item.obligation.rule
    answer: Answer | None = None
    action = Action.ALLOW
    if item.applied is Applied.APPLIED and rule is not None:
        answer = Answer.UNDETERMINED if unseen else Answer.NO_MATCH
        if strictest is not None:
            answer, action = Answer.MATCH, ACTIONS[strictest]
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
    there = [item.applied for item in scoped]
    if Applied.PROHIBITED not in there or Applied.APPLIED not in there:
        return None
    applied, prohibited = (
        tuple(i.obligation.jurisdiction for i in scoped if i.applied is wanted)
        for wanted in (Applied.APPLIED, Applied.PROHIBITED)
    )
    return Conflict(applied, prohibited)


def _duties(scoped: Sequence[Scoped], verdicts: Sequence[Verdict]) -> Duties:
    rules = [
        (verdict.jurisdiction, item.obligation.rule.rule_set)
        for item, verdict in zip(scoped, verdicts, strict=True)
        if verdict.answer is Answer.MATCH and item.obligation.rule is not None
    ]
    if not rules:
        return Duties()
    reports = tuple(
        [
            ReportDuty(name, rule.report.to, rule.report.within_hours)
            for name, rule in rules
            if rule.report is not None
        ]
    )
    return Duties(
        reports=reports,
        report_within_hours=min([report.within_hours for report in reports], default=None),
        preserve_days=max([rule.preserve_days for _, rule in rules], default=0),
        user_notices=tuple((name, rule.user_notice) for name, rule in rules if rule.user_notice),
    )
