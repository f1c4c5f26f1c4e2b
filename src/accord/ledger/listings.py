"""Statements about listings, as far as a blind ledger can check them.

Source: docs/spec/ledger.md, section Listings.
"""

from dataclasses import replace

from accord.ledger.codes import RejectCode
from accord.ledger.epochs import check_publish, recipients_of
from accord.ledger.membership import DAY_MS, parameters
from accord.ledger.state import (
    FEEDBACK,
    PUBLICATIONS,
    TALLIES,
    Draft,
    FeedbackRow,
    PublicationRow,
    index_key,
)
from accord.statements.bodies import (
    Approve,
    Dispute,
    Endorse,
    Feedback,
    Publish,
    RefRange,
    Withdraw,
)
from accord.statements.feedback import recipients_sha256
from accord.wire.errors import Broken
from accord.wire.ids import AGENCIES, MemberId, OperatorId, TimeMs
from accord.wire.limits import FEEDBACK_DAY_STATEMENTS_MAX, FEEDBACK_DAY_WORDS_MAX


def apply_publish(
    draft: Draft, body: Publish, operator: OperatorId, entry: int, now: TimeMs
) -> RejectCode | None:
    code = check_publish(draft, body, now)
    if code is not None:
        return code
    row = PublicationRow(body.header.member, operator, body.count, None)
    draft.put(PUBLICATIONS, index_key(entry), row)
    return None


def apply_approve(
    draft: Draft, body: Approve, operator: OperatorId, entry: int
) -> RejectCode | None:
    row = draft.get(PUBLICATIONS, index_key(body.entry))
    if row is None:
        return RejectCode.UNKNOWN_ENTRY
    if row.agency != body.header.member:
        return RejectCode.NOT_THE_PUBLISHER
    if row.operator == operator:
        return RejectCode.SAME_OPERATOR
    if row.approved_by is not None:
        return RejectCode.ALREADY_APPROVED
    draft.put(PUBLICATIONS, index_key(body.entry), replace(row, approved_by=entry))
    return None


def check_endorse(draft: Draft, body: Endorse) -> RejectCode | None:
    """Another agency's approved listings only: one's own count once already."""
    return _check_refs(draft, body.refs) or next(
        (code for row in _batches(draft, body.refs) if (code := _endorsable(row, body))), None
    )


def _endorsable(row: PublicationRow, body: Endorse) -> RejectCode | None:
    if row.agency == body.header.member:
        return RejectCode.OWN_LISTING
    return RejectCode.NOT_APPROVED if row.approved_by is None else None


def apply_dispute(draft: Draft, body: Dispute, now: TimeMs) -> RejectCode | None:
    """Within the quota of a day: no agency alone, nor a stolen key, disputes the whole list."""
    code = _check_refs(draft, body.refs)
    if code is not None:
        return code
    member, day = body.header.member, now // DAY_MS
    tally = draft.get(TALLIES, member.encode())
    if tally is None:
        raise Broken("ledger.tally")  # This statement was counted in it.
    before = tally.disputed if tally.day == day else 0
    disputed = before + sum(ref.count for ref in body.refs if not _is_own(draft, ref, member))
    if disputed > parameters(draft).dispute_day_max:
        return RejectCode.OVER_QUOTA
    draft.put(TALLIES, member.encode(), replace(tally, day=day, disputed=disputed))
    return None


def _is_own(draft: Draft, ref: RefRange, member: MemberId) -> bool:
    row = draft.get(PUBLICATIONS, index_key(ref.entry))
    return row is not None and row.agency == member


def check_withdraw(draft: Draft, body: Withdraw) -> RejectCode | None:
    code = _check_refs(draft, body.refs)
    if code is not None:
        return code
    mine = all(row.agency == body.header.member for row in _batches(draft, body.refs))
    return None if mine else RejectCode.NOT_THE_PUBLISHER


def _check_refs(draft: Draft, refs: tuple[RefRange, ...]) -> RejectCode | None:
    for ref in refs:
        row = draft.get(PUBLICATIONS, index_key(ref.entry))
        if row is None:
            return RejectCode.UNKNOWN_ENTRY
        if ref.first + ref.count > row.count:
            return RejectCode.REF_OUT_OF_RANGE
    return None


def _batches(draft: Draft, refs: tuple[RefRange, ...]) -> list[PublicationRow]:
    rows = (draft.get(PUBLICATIONS, index_key(entry)) for entry in sorted({r.entry for r in refs}))
    return [row for row in rows if row is not None]


def apply_feedback(draft: Draft, body: Feedback, now: TimeMs) -> RejectCode | None:
    """Within the platform's quota of a day, and told to every agency that has a key to open it.

    What it says of which listings nobody here can see: a word about none, or about one that the
    platform was never given, counts nowhere (registry.feedback).
    """
    member, day = body.header.member.encode(), now // DAY_MS
    row = draft.get(FEEDBACK, member)
    statements, words = (0, 0) if row is None or row.day != day else (row.statements, row.words)
    said = FeedbackRow(day, statements + 1, words + body.count)
    is_much = said.words > FEEDBACK_DAY_WORDS_MAX
    if is_much or said.statements > FEEDBACK_DAY_STATEMENTS_MAX:
        return RejectCode.FEEDBACK_QUOTA
    if body.recipients_sha256 != recipients_sha256(recipients_of(draft, AGENCIES)):
        return RejectCode.WRONG_RECIPIENTS
    draft.put(FEEDBACK, member, said)
    return None
