"""A file that holds several, decided as its strictest part. Pure.

Not here: one part's decision (`decide`). The decision over all parts at once names rules, reasons
and duties; what each part alone leads to can only make it stricter.
Source: docs/spec/decisions.md, section 8.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from accord.matching.decision import Answer, Decision, Duties, Query, Reason, Verdict
from accord.statements.rules import Algorithm
from accord.wire.ids import ListingRef
from accord.wire.limits import REASONS_MAX

_Item = TypeVar("_Item")
_STRICTNESS: Final = (None, Answer.NO_MATCH, Answer.UNDETERMINED, Answer.MATCH)


def parts_of(query: Query) -> tuple[tuple[int, Query], ...]:
    """Each part's number and what to ask about it, or nothing where the query is one whole.

    What was not looked at, beside what was, is a part of its own.
    """
    members = query.members or (0,) * len(query.frames)
    if not any(members) and not (query.frames and query.undetermined):
        return ()
    vector_members = query.vector_members or (0,) * len(query.vectors)
    parts = [
        (
            number,
            Query(
                frames=_of(number, query.frames, members),
                vectors=_of(number, query.vectors, vector_members),
                looks=_of(number, query.looks, members) if query.looks else (),
                steps=query.steps,
            ),
        )
        for number in dict.fromkeys(members)
    ]
    if query.undetermined is not None:
        parts.append((query.unseen_member, Query(undetermined=query.undetermined)))
    return tuple(parts)


def _of(number: int, items: Sequence[_Item], members: Sequence[int]) -> tuple[_Item, ...]:
    return tuple(item for item, member in zip(items, members, strict=True) if member == number)


def strictest(joint: Decision, numbers: Sequence[int], decisions: Sequence[Decision]) -> Decision:
    """`joint`, made as strict as the strictest of its parts, and the numbers of those."""
    every = (joint, *decisions)
    answer = max((decision.answer for decision in every), key=_STRICTNESS.index)
    decisive = {
        number
        for number, decision in zip(numbers, decisions, strict=True)
        if decision.answer is answer and number
    }
    return replace(
        joint,
        answer=answer,
        action=max((decision.action for decision in every), key=lambda action: action.severity),
        code=next((decision.code for decision in every if decision.code is not None), None),
        verdicts=tuple(
            _strictest_of(verdicts)
            for verdicts in zip(*(decision.verdicts for decision in every), strict=True)
        ),
        members=() if answer is Answer.NO_MATCH else tuple(sorted(decisive)),
        **_grounds_of(every),
    )


def _grounds_of(every: Sequence[Decision]) -> dict[str, Any]:
    """Reasons and duties of the joint decision, and those that a part alone has: such as a film
    that is lost among the pictures beside it."""
    joint = every[0]
    known = {_named(reason) for reason in joint.reasons}
    more = {_named(reason): reason for decision in every[1:] for reason in decision.reasons}
    added = [reason for name, reason in more.items() if name not in known]
    if not added:
        return {}
    reasons = sorted((*joint.reasons, *added), key=lambda reason: -reason.action.severity)
    hours = [
        d.duties.report_within_hours for d in every if d.duties.report_within_hours is not None
    ]
    return {
        "reasons": tuple(reasons[:REASONS_MAX]),
        "truncated": len(reasons) > REASONS_MAX or any(d.truncated for d in every),
        "listings": max(len({r.ref for r in reasons}), *(d.listings for d in every)),
        "duties": Duties(
            reports=tuple(dict.fromkeys(r for d in every for r in d.duties.reports)),
            report_within_hours=min(hours, default=None),
            preserve_days=max(d.duties.preserve_days for d in every),
            user_notices=tuple(dict.fromkeys(n for d in every for n in d.duties.user_notices)),
        ),
    }


def _named(reason: Reason) -> tuple[str, str, Algorithm, ListingRef]:
    return reason.jurisdiction, reason.clause, reason.algorithm, reason.ref


def _strictest_of(verdicts: Sequence[Verdict]) -> Verdict:
    """One jurisdiction's, of all parts."""
    return verdicts[0]._replace(
        answer=max((verdict.answer for verdict in verdicts), key=_STRICTNESS.index),
        action=max((verdict.action for verdict in verdicts), key=lambda action: action.severity),
    )
