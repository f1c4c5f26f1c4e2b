"""Group epochs: who holds a group's key, and when a new one is in force.

An epoch is opened by one agency's keeper and is in force when more than two thirds of the
agencies acknowledged that its key opens, so that a garbled or split epoch never takes hold.
Source: docs/spec/confidentiality.md, section Epochs.
"""

from collections.abc import Iterable
from dataclasses import replace

from accord.ledger.codes import RejectCode
from accord.ledger.state import (
    AGENCIES_TABLE,
    CONSORTIUM,
    EPOCHS,
    KEYS,
    ONLY,
    PLATFORMS,
    Draft,
    EpochRow,
    PendingEpoch,
    Reader,
    Stalled,
    Standing,
)
from accord.statements.bodies import Acknowledge, Epoch, Publish, Recipient, Role, Wrap
from accord.tlog.policy import quorum_of
from accord.wire.ids import AGENCIES, GroupId, MemberId, TimeMs
from accord.wire.limits import (
    EPOCH_PENDING_MS_MAX,
    RECIPIENTS_MAX,
    ROTATION_GRACE_MS,
    WRAPS_MAX,
)

NO_EPOCH = EpochRow(0, bytes(32), (), None, None, ())


def group_members(state: Reader, group: GroupId) -> set[MemberId]:
    """Every agency, and the platforms admitted to the group."""
    members = {
        MemberId(key.decode())
        for key, row in state.rows(AGENCIES_TABLE)
        if row.standing is Standing.ADMITTED
    }
    if group != AGENCIES:
        for key, row in state.rows(PLATFORMS):
            if row.standing is Standing.ADMITTED and group in row.groups:
                members.add(MemberId(key.decode()))
    return members


def recipients_of(state: Reader, group: GroupId) -> tuple[Recipient, ...]:
    """The decryptor keys that the group's epoch key must be wrapped to, in order."""
    members = group_members(state, group)
    return tuple(
        sorted(
            Recipient(row.member, key_id)
            for key_id, row in state.rows(KEYS)
            if row.role is Role.DECRYPTOR and row.revoked_ms is None and row.member in members
        )
    )


def is_holder(state: Reader, group: GroupId, member: MemberId) -> bool:
    """Whether a key in force of the member was told the epoch in force, as far as a ledger can see:
    not whether what it was told opens."""
    row = epoch_of(state, group)
    return row.number == 0 or any(
        (key := state.get(KEYS, item.key_id)) is not None and key.revoked_ms is None
        for item in row.recipients
        if item.member == member
    )


def epoch_of(state: Reader, group: GroupId) -> EpochRow:
    return state.get(EPOCHS, group.encode()) or NO_EPOCH


def is_overdue(row: EpochRow, now: TimeMs) -> bool:
    """Whether the key in force is one that nothing may be sealed under or handed out any more."""
    return row.rotate_by_ms is not None and now >= row.rotate_by_ms


def membership_changed(draft: Draft, groups: Iterable[GroupId], now: TimeMs) -> None:
    """Somebody lost the right to open these groups: rotate soon, or publishing stops."""
    for group in groups:
        row = epoch_of(draft, group)
        if row.number == 0 and row.pending is None:
            continue
        due = TimeMs(now + ROTATION_GRACE_MS) if row.rotate_by_ms is None else row.rotate_by_ms
        draft.put(EPOCHS, group.encode(), replace(row, rotate_by_ms=due, pending=None))


def check_publish(state: Reader, body: Publish, now: TimeMs) -> RejectCode | None:
    """A batch is sealed under the epochs in force, and goes to every agency."""
    if AGENCIES not in body.groups:
        return RejectCode.MISSING_AGENCIES_GROUP
    known = state.get(CONSORTIUM, ONLY)
    if known is None or not set(body.groups) <= set(known.groups):
        return RejectCode.UNKNOWN_GROUP
    if len(body.epochs) != len(body.groups):
        return RejectCode.EPOCH_NOT_CURRENT
    for group, number in zip(body.groups, body.epochs, strict=True):
        row = epoch_of(state, group)
        if row.number != number:
            return RejectCode.EPOCH_NOT_CURRENT
        if is_overdue(row, now):
            return RejectCode.EPOCH_ROTATION_DUE
    return None


def apply_epoch(draft: Draft, body: Epoch, entry: int, now: TimeMs) -> RejectCode | None:
    known = draft.get(CONSORTIUM, ONLY)
    if known is None or body.group not in known.groups:
        return RejectCode.UNKNOWN_GROUP
    row = epoch_of(draft, body.group)
    if body.number != row.number + 1:
        return RejectCode.SUPERSEDED
    if row.pending is not None and now < row.pending.opened_ms + EPOCH_PENDING_MS_MAX:
        return RejectCode.EPOCH_PENDING
    stalled = _stalled(draft, row, now)
    if any(item.agency == body.header.member for item in stalled):
        return RejectCode.EPOCH_PENDING
    wanted = recipients_of(draft, body.group)
    if body.recipients != wanted[:WRAPS_MAX]:  # The rest get theirs through wrap statements.
        return RejectCode.WRONG_RECIPIENTS
    pending = PendingEpoch(
        number=body.number,
        commitment=body.commitment,
        entry=entry,
        opener=body.header.member,
        opened_ms=now,
        recipients=body.recipients,
        acknowledged=(),
    )
    draft.put(EPOCHS, body.group.encode(), replace(row, pending=pending, stalled=stalled))
    return None


def _stalled(state: Reader, row: EpochRow, now: TimeMs) -> tuple[Stalled, ...]:
    """Who tried in vain and has yet to wait until each of the others could have tried. Or a keeper
    that is always first with an epoch that opens for nobody would stop publishing for good."""
    tried = {item.agency: item.opened_ms for item in row.stalled}
    if row.pending is not None:
        tried[row.pending.opener] = row.pending.opened_ms
    standing = {
        key for key, item in state.rows(AGENCIES_TABLE) if item.standing is Standing.ADMITTED
    }
    wait_ms = EPOCH_PENDING_MS_MAX * len(standing)
    return tuple(
        Stalled(agency, opened_ms)
        for agency, opened_ms in sorted(tried.items())
        if now < opened_ms + wait_ms
    )


def apply_acknowledge(
    draft: Draft, body: Acknowledge, agencies: set[MemberId]
) -> RejectCode | None:
    """Count an acknowledgement; the one that completes the quorum puts the epoch in force."""
    row = epoch_of(draft, body.group)
    pending = row.pending
    if pending is None or (pending.number, pending.commitment) != (body.number, body.commitment):
        return RejectCode.UNKNOWN_EPOCH
    if body.header.member in pending.acknowledged:
        return RejectCode.ALREADY_ACKNOWLEDGED
    by = tuple(sorted({*pending.acknowledged, body.header.member}))
    if len(agencies.intersection(by)) < quorum_of(len(agencies)):
        held = replace(row, pending=replace(pending, acknowledged=by))
        draft.put(EPOCHS, body.group.encode(), held)
        return None
    in_force = EpochRow(pending.number, pending.commitment, pending.recipients, None, None, ())
    draft.put(EPOCHS, body.group.encode(), in_force)
    return None


def apply_wrap(draft: Draft, body: Wrap, now: TimeMs) -> RejectCode | None:
    """The key in force for members that came, or changed keys, after it was opened.

    To those that were told before as well: only they know whether what they got opens.
    """
    row = epoch_of(draft, body.group)
    if row.number == 0 or body.number != row.number:
        return RejectCode.EPOCH_NOT_CURRENT
    if is_overdue(row, now):  # The next one leads to it: no newcomer needs this one by itself.
        return RejectCode.EPOCH_ROTATION_DUE
    wanted = set(recipients_of(draft, body.group))
    # Keys that were revoked since hold nothing any more.
    holders = tuple(sorted(wanted.intersection({*row.recipients, *body.recipients})))
    if not wanted.issuperset(body.recipients) or len(holders) > RECIPIENTS_MAX:
        return RejectCode.WRONG_RECIPIENTS
    draft.put(EPOCHS, body.group.encode(), replace(row, recipients=holders))
    return None
