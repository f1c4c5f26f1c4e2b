"""Proposals, votes and rule sets.

A proposal passes when more than two thirds of all agencies approve; an agency to be removed has
no ballot, and all others together suffice. It takes effect after the time-lock, when the next
entry of that time or later is applied: the log alone decides, never a clock.
Source: docs/spec/ledger.md, section Governance.
"""

from dataclasses import replace

from accord.ledger.codes import RejectCode
from accord.ledger.membership import (
    agencies,
    agency,
    check_action,
    consortium,
    enact,
    parameters,
)
from accord.ledger.state import (
    AGENDA,
    PROPOSALS,
    RULES,
    AgendaRow,
    Ballot,
    Draft,
    ProposalRow,
    ProposalStatus,
    Reader,
    RuleRow,
    index_key,
)
from accord.statements.bodies import Parameters, Propose, RemoveAgency, Rule, Vote, ceiling_of
from accord.statements.rules import Clause, is_sound
from accord.tlog.policy import quorum_of
from accord.wire.errors import Broken
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import PROPOSALS_OPEN_MAX


def apply_propose(
    draft: Draft, chain: ChainId, body: Propose, entry: int, now: TimeMs
) -> RejectCode | None:
    code = check_action(draft, chain, body.action)
    if code is not None:
        return code
    member = body.header.member
    if sum(row.proposer == member for _, row in draft.rows(AGENDA)) >= PROPOSALS_OPEN_MAX:
        return RejectCode.OVER_QUOTA
    draft.put(AGENDA, index_key(entry), AgendaRow(member))
    row = ProposalRow(body.action, member, now, (), ProposalStatus.OPEN, None)
    draft.put(PROPOSALS, index_key(entry), row)
    return _count(draft, chain, row, entry, Ballot(member, approve=True), now)


def apply_vote(draft: Draft, chain: ChainId, body: Vote, now: TimeMs) -> RejectCode | None:
    """An agency's newest ballot counts, while the proposal is open."""
    row = draft.get(PROPOSALS, index_key(body.proposal))
    if row is None:
        return RejectCode.UNKNOWN_PROPOSAL
    if row.status is not ProposalStatus.OPEN:
        return RejectCode.PROPOSAL_CLOSED
    ballot = Ballot(body.header.member, body.approve)
    return _count(draft, chain, row, body.proposal, ballot, now)


def _count(
    draft: Draft, chain: ChainId, row: ProposalRow, entry: int, ballot: Ballot, now: TimeMs
) -> RejectCode | None:
    others = [old for old in row.ballots if old.agency != ballot.agency]
    row = replace(row, ballots=tuple(sorted([*others, ballot])))
    electorate = electors(draft, row)
    approvals = sum(ballot.approve and ballot.agency in electorate for ballot in row.ballots)
    # Of all agencies, not of the electorate: or five of eight could remove the other three one by
    # one, and be all there is, where a vote on anything else takes six.
    if approvals >= min(quorum_of(len(agencies(draft))), len(electorate)):
        due = TimeMs(now + parameters(draft).time_lock_ms)
        row = replace(row, status=ProposalStatus.PASSED, due_ms=due)
    draft.put(PROPOSALS, index_key(entry), row)
    advance(draft, chain, now)  # A time-lock of zero acts at once.
    return None


def electors(state: Reader, row: ProposalRow) -> set[MemberId]:
    """The agencies whose ballots count: all but the one to be removed."""
    members = set(agencies(state))
    if isinstance(row.action, RemoveAgency):
        members.discard(row.action.agency)
    return members


def advance(draft: Draft, chain: ChainId, now: TimeMs) -> None:
    """Enact what is due, oldest first, and let old proposals lapse."""
    life_ms = parameters(draft).proposal_life_ms
    passed: list[tuple[int, bytes, ProposalRow]] = []
    for key in [key for key, _ in draft.rows(AGENDA)]:
        row = draft.get(PROPOSALS, key)
        if row is None:
            raise Broken("ledger.agenda")
        if row.status is ProposalStatus.OPEN and now >= row.opened_ms + life_ms:
            _close(draft, key, row, ProposalStatus.LAPSED)
        if row.status is ProposalStatus.PASSED and row.due_ms is not None and now >= row.due_ms:
            passed.append((row.due_ms, key, row))
    for _, key, row in sorted(passed, key=lambda item: item[:2]):
        failed = enact(draft, chain, row.action, now) is not None
        _close(draft, key, row, ProposalStatus.FAILED if failed else ProposalStatus.DONE)


def _close(draft: Draft, key: bytes, row: ProposalRow, status: ProposalStatus) -> None:
    """The record stays; time has nothing more to do with it."""
    draft.put(PROPOSALS, key, replace(row, status=status))
    draft.put(AGENDA, key, None)


def apply_rule(draft: Draft, body: Rule, entry: int, now: TimeMs) -> RejectCode | None:
    row = agency(draft, body.header.member)
    if row is None or body.jurisdiction not in row.jurisdictions:
        return RejectCode.NOT_ACCREDITED
    key = body.jurisdiction.encode()
    current = draft.get(RULES, key)
    if body.version != (current.version + 1 if current else 1):
        return RejectCode.SUPERSEDED
    rules = body.rule_set
    if rules.valid_to_ms is not None and rules.valid_to_ms <= rules.valid_from_ms:
        return RejectCode.BAD_RULE_SET
    if len({clause.name for clause in rules.clauses}) != len(rules.clauses):
        return RejectCode.BAD_RULE_SET
    if not set(rules.groups) <= set(consortium(draft).groups):
        return RejectCode.UNKNOWN_GROUP
    for clause in rules.clauses:
        code = _check_clause(clause, parameters(draft))
        if code is not None:
            return code
    draft.put(RULES, key, RuleRow(body.version, entry, body.header.member, now, rules))
    return None


def _check_clause(clause: Clause, floors: Parameters) -> RejectCode | None:
    if not is_sound(clause):
        return RejectCode.BAD_RULE_SET
    asked = clause.certification
    if asked.agencies < floors.agencies_min or asked.sovereigns < floors.sovereigns_min:
        return RejectCode.BELOW_FLOOR
    if asked.review_level < floors.review_level_min:
        return RejectCode.BELOW_FLOOR
    for near in clause.near:
        ceiling = ceiling_of(floors, near)
        if ceiling is None or near.threshold > ceiling:
            return RejectCode.BELOW_FLOOR
    return None if set(clause.classes) <= set(floors.classes) else RejectCode.CLASS_NOT_ADMITTED
