"""Apply one statement: the order of checks, and who handles which kind.

Invariants: equal state, bytes and time give equal writes on every node; a rejection writes
nothing; a statement counts at most once, ever.
Source: docs/spec/ledger.md, section Apply.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from accord.ledger.codes import RejectCode
from accord.ledger.epochs import apply_acknowledge, apply_epoch, apply_wrap
from accord.ledger.governance import advance, apply_propose, apply_rule, apply_vote
from accord.ledger.listings import (
    apply_approve,
    apply_dispute,
    apply_feedback,
    apply_publish,
    check_endorse,
    check_withdraw,
)
from accord.ledger.membership import (
    agencies,
    agency,
    apply_keyset,
    consortium,
    parameters,
    platform,
)
from accord.ledger.state import (
    CONSORTIUM,
    KEYS,
    ONLY,
    SEEN,
    TALLIES,
    Draft,
    KeyRow,
    Reader,
    SeenRow,
    TallyRow,
    Write,
)
from accord.statements.bodies import (
    BLOB_KINDS,
    Acknowledge,
    Approve,
    Attest,
    Body,
    Dispute,
    Endorse,
    Epoch,
    Feedback,
    Keyset,
    Propose,
    Publish,
    Recipient,
    Role,
    Rule,
    Vote,
    Withdraw,
    Wrap,
)
from accord.statements.confidential import parse_batch_blob, parse_epoch_blob
from accord.statements.envelope import Envelope, Transaction, parse_envelope
from accord.statements.feedback import fits, parse_feedback_blob, wrapped_to
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, TimeMs
from accord.wire.keys import VerifyKey
from accord.wire.limits import STATEMENT_LIFE_MS_MAX, STATEMENTS_HOUR_MAX

# The versions of these rules that this software has. A vote switches to another at an entry, and
# who has not got it stops there: to go on by other rules would be a fork.
FOLDS = frozenset({1})
MINUTE_MS = 60_000
HOUR_MS = 3_600_000

SPEAKERS: dict[type[Body], Role] = {
    Publish: Role.ANALYST,
    Approve: Role.APPROVER,
    Endorse: Role.ANALYST,
    Dispute: Role.ANALYST,
    Withdraw: Role.ANALYST,
    Keyset: Role.ROOT,
    Rule: Role.GOVERNOR,
    Propose: Role.GOVERNOR,
    Vote: Role.GOVERNOR,
    Epoch: Role.KEEPER,
    Acknowledge: Role.KEEPER,
    Wrap: Role.KEEPER,
    Attest: Role.SCANNER,
    Feedback: Role.REPORTER,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a statement changes, and what it said."""

    writes: tuple[Write, ...]
    body: Body
    envelope: Envelope


def check_blob(transaction: Transaction) -> RejectCode | None:
    """Whether the blob is the one its statement commits to, with a header that agrees.

    Validators ask this before they order a transaction; a follower that folds leaves alone has
    the log's word for it and checks the blob when it opens it.
    """
    try:
        body = parse_envelope(transaction.envelope).body
        if not isinstance(body, BLOB_KINDS):
            return None if transaction.blob is None else RejectCode.BLOB_MISMATCH
        if transaction.blob is None:
            return RejectCode.BLOB_MISSING
        if sha256(transaction.blob) != body.blob_sha256:
            return RejectCode.BLOB_MISMATCH
        agrees = _header_agrees(body, transaction.blob)
    except Malformed:
        return RejectCode.MALFORMED
    return None if agrees else RejectCode.BLOB_HEADER


def _header_agrees(body: Publish | Epoch | Wrap | Feedback, blob: bytes) -> bool:
    if isinstance(body, Feedback):
        said = parse_feedback_blob(blob)
        is_told = wrapped_to(said) == body.recipients_sha256
        return said.platform == body.header.member and is_told and fits(said, body.count)
    if isinstance(body, Publish):
        batch = parse_batch_blob(blob)
        wrapped = tuple((wrap.group, wrap.epoch) for wrap in batch.wraps)
        released = tuple(zip(body.groups, body.epochs, strict=False))
        return batch.agency == body.header.member and wrapped == released
    epoch = parse_epoch_blob(blob)
    recipients = tuple(Recipient(wrap.member, wrap.key_id) for wrap in epoch.wraps)
    if (epoch.group, epoch.number, recipients) != (body.group, body.number, body.recipients):
        return False
    return isinstance(body, Wrap) or (epoch.previous is None) == (body.number == 1)


def require_fold(state: Reader, folds: frozenset[int]) -> None:
    """Raises: Unavailable, where the rules in force are not among those that this software has."""
    voted = parameters(state).fold_version
    if voted not in folds:
        mend = f"install the software that has fold {voted}, then start again: nothing is lost"
        here = ",".join(map(str, sorted(folds)))
        entry = consortium(state).size
        raise Unavailable("ledger.fold_version", entry=entry, voted=voted, here=here, mend=mend)


def apply(
    state: Reader,
    chain: ChainId,
    statement: bytes,
    now: TimeMs,
    folds: frozenset[int] = FOLDS,
) -> Accepted | RejectCode:
    """The writes that `statement` causes at block time `now`, or the first rule it breaks.

    Raises: Unavailable, where rules are in force by now that are not among `folds`.
    """
    try:
        envelope = parse_envelope(statement)
    except Malformed:
        return RejectCode.MALFORMED
    draft = Draft(state)
    advance(draft, chain, now)
    require_fold(draft, folds)
    key = draft.get(KEYS, envelope.key_id)
    code = _check_author(draft, chain, envelope, key) if key else RejectCode.UNKNOWN_KEY
    code = code or _check_time(draft, envelope, now) or _count(draft, envelope, now)
    if code is None and key is not None:
        entry = consortium(draft).size
        code = _handle(draft, chain, envelope.body, key, entry, now)
    if code is not None:
        return code
    _remember(draft, envelope, now)
    return Accepted(draft.writes(), envelope.body, envelope)


def _check_author(
    draft: Draft, chain: ChainId, envelope: Envelope, key: KeyRow
) -> RejectCode | None:
    body = envelope.body
    if key.member != body.header.member:
        return RejectCode.WRONG_MEMBER
    if key.revoked_ms is not None:
        return RejectCode.UNKNOWN_KEY
    if key.role is not SPEAKERS[type(body)]:
        return RejectCode.WRONG_ROLE
    if agency(draft, key.member) is None and platform(draft, key.member) is None:
        return RejectCode.MEMBER_SUSPENDED
    try:
        envelope.verify(chain, VerifyKey(key.public))
    except Unproven:
        return RejectCode.BAD_SIGNATURE
    return None


def _check_time(draft: Draft, envelope: Envelope, now: TimeMs) -> RejectCode | None:
    not_after = envelope.body.header.not_after_ms
    if now > not_after:
        return RejectCode.EXPIRED
    if not_after > now + STATEMENT_LIFE_MS_MAX:
        return RejectCode.TOO_FAR_AHEAD
    seen = draft.get(SEEN, _seen_key(envelope))
    return None if seen is None else RejectCode.REPLAYED


def _count(draft: Draft, envelope: Envelope, now: TimeMs) -> RejectCode | None:
    """One more of its member in this hour: what everybody must remember stays bounded."""
    member, hour = envelope.body.header.member.encode(), now // HOUR_MS
    tally = draft.get(TALLIES, member)
    count = 1 if tally is None or tally.hour != hour else tally.statements + 1
    if count > STATEMENTS_HOUR_MAX:
        return RejectCode.OVER_QUOTA
    day, disputed = (0, 0) if tally is None else (tally.day, tally.disputed)
    draft.put(TALLIES, member, TallyRow(hour, count, day, disputed))
    return None


def _seen_key(envelope: Envelope) -> bytes:
    minute = envelope.body.header.not_after_ms // MINUTE_MS
    return minute.to_bytes(8, "big") + envelope.digest


def _remember(draft: Draft, envelope: Envelope, now: TimeMs) -> None:
    """Count the entry, mark the statement, and forget those that have expired."""
    whole = consortium(draft)
    draft.put(CONSORTIUM, ONLY, replace(whole, time_ms=now, size=whole.size + 1))
    if now // MINUTE_MS != whole.time_ms // MINUTE_MS:
        oldest = (now // MINUTE_MS).to_bytes(8, "big")
        for key in [key for key, _ in draft.rows(SEEN) if key[:8] < oldest]:
            draft.put(SEEN, key, None)
    draft.put(SEEN, _seen_key(envelope), SeenRow())


def _handle(
    draft: Draft, chain: ChainId, body: Body, key: KeyRow, entry: int, now: TimeMs
) -> RejectCode | None:
    match body:
        case Publish():
            return apply_publish(draft, body, key.operator, entry, now)
        case Approve():
            return apply_approve(draft, body, key.operator, entry)
        case Endorse():
            return check_endorse(draft, body)
        case Dispute():
            return apply_dispute(draft, body, now)
        case Withdraw():
            return check_withdraw(draft, body)
        case Keyset():
            return apply_keyset(draft, chain, body, now)
        case Rule():
            return apply_rule(draft, body, entry, now)
        case Propose():
            return apply_propose(draft, chain, body, entry, now)
        case Vote():
            return apply_vote(draft, chain, body, now)
        case Epoch():
            return apply_epoch(draft, body, entry, now)
        case Acknowledge():
            return apply_acknowledge(draft, body, set(agencies(draft)))
        case Wrap():
            return apply_wrap(draft, body, now)
        case Attest():
            return RejectCode.ATTESTATION_AHEAD if body.size > entry else None
        case Feedback():
            return apply_feedback(draft, body, now)
        case _:
            assert_never(body)
