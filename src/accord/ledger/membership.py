"""Members and their keys: admission, removal, keysets, and the actions that votes enact.

Source: docs/spec/ledger.md, sections Members and Governance.
"""

from dataclasses import replace
from typing import assert_never

from accord.ledger.codes import RejectCode
from accord.ledger.epochs import membership_changed
from accord.ledger.state import (
    AGENCIES_TABLE,
    AGENDA,
    COMPROMISES,
    CONSORTIUM,
    KEYS,
    KEYSETS,
    ONLY,
    PARAMETERS,
    PLATFORMS,
    PROPOSALS,
    AgencyRow,
    CompromiseRow,
    ConsortiumRow,
    Draft,
    KeyRow,
    KeysetRow,
    PlatformRow,
    ProposalStatus,
    Reader,
    Standing,
)
from accord.statements.bodies import (
    AGENCY_ROLES,
    PLATFORM_ROLES,
    Accredit,
    Action,
    AdmitAgency,
    AdmitPlatform,
    Compromised,
    Keyset,
    Parameters,
    RemoveAgency,
    RemovePlatform,
    ReplaceKeys,
    Role,
    RoleKey,
    SuspendPlatform,
    is_possible,
    possession_bytes,
)
from accord.statements.confidential import check_decrypt_public
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.ids import AGENCIES, ChainId, GroupId, MemberId, TimeMs
from accord.wire.keys import VerifyKey, key_id_of
from accord.wire.limits import (
    AGENCIES_MAX,
    DECRYPTORS_MAX,
    JURISDICTIONS_MAX,
    KEYSETS_DAY_MAX,
)

ONE_KEY_ROLES = frozenset({Role.ROOT, Role.COSIGNER, Role.CONSENSUS})
DAY_MS = 86_400_000


def consortium(state: Reader) -> ConsortiumRow:
    row = state.get(CONSORTIUM, ONLY)
    if row is None:
        raise Broken("ledger.not_founded")
    return row


def parameters(state: Reader) -> Parameters:
    row = state.get(PARAMETERS, ONLY)
    if row is None:
        raise Broken("ledger.not_founded")
    return row


def agencies(state: Reader) -> dict[MemberId, AgencyRow]:
    """The agencies in good standing, by id."""
    return {
        MemberId(key.decode()): row
        for key, row in state.rows(AGENCIES_TABLE)
        if row.standing is Standing.ADMITTED
    }


def agency(state: Reader, member: MemberId) -> AgencyRow | None:
    row = state.get(AGENCIES_TABLE, member.encode())
    return row if row is not None and row.standing is Standing.ADMITTED else None


def platform(state: Reader, member: MemberId) -> PlatformRow | None:
    row = state.get(PLATFORMS, member.encode())
    return row if row is not None and row.standing is Standing.ADMITTED else None


def groups_of(state: Reader, member: MemberId) -> tuple[GroupId, ...]:
    """The groups whose batches a member may open. An agency is in every group."""
    if agency(state, member) is not None:
        return consortium(state).groups
    row = platform(state, member)
    return () if row is None else row.groups


def check_keys(
    state: Reader, chain: ChainId, member: MemberId, keys: tuple[RoleKey, ...], *, is_agency: bool
) -> RejectCode | None:
    """Whether `keys` could be the keyset of `member`: roles, proofs, and nobody else's keys."""
    allowed = AGENCY_ROLES if is_agency else PLATFORM_ROLES
    roles = [key.role for key in keys]
    if list(keys) != sorted(keys) or not set(roles) <= allowed or roles.count(Role.ROOT) != 1:
        return RejectCode.BAD_KEYSET
    if any(roles.count(role) > 1 for role in ONE_KEY_ROLES):
        return RejectCode.BAD_KEYSET
    if roles.count(Role.DECRYPTOR) > DECRYPTORS_MAX:
        return RejectCode.BAD_KEYSET
    # Quorums count every agency, of those who cosign and of those who order.
    if is_agency and not {Role.COSIGNER, Role.CONSENSUS} <= set(roles):
        return RejectCode.BAD_KEYSET
    if len({key.public for key in keys}) != len(keys):
        return RejectCode.KEY_REUSED
    for key in keys:
        known = state.get(KEYS, key_id_of(key.public))
        if known is not None:
            same = (known.member, known.role, known.operator) == (member, key.role, key.operator)
            if not same or known.revoked_ms is not None:
                return RejectCode.KEY_REUSED
        if (known is None or key.proof) and not _is_sound(chain, member, key):
            return RejectCode.BAD_KEYSET
    return None


def _is_sound(chain: ChainId, member: MemberId, key: RoleKey) -> bool:
    try:
        if key.role is Role.DECRYPTOR:
            check_decrypt_public(key.public)
            return key.proof == b""
        signed = possession_bytes(chain, member, key.role, key.public)
        VerifyKey(key.public).verify(signed, key.proof)
    except (Malformed, Unproven):
        return False
    return True


def install_keys(draft: Draft, member: MemberId, keys: tuple[RoleKey, ...], now: TimeMs) -> None:
    """Make `keys` the member's keys; those it had and `keys` leaves out are revoked as of now."""
    wanted = {key_id_of(key.public): key for key in keys}
    for key_id, row in list(draft.rows(KEYS)):
        if row.member == member and row.revoked_ms is None and key_id not in wanted:
            draft.put(KEYS, key_id, replace(row, revoked_ms=now))
    for key_id, key in wanted.items():
        if draft.get(KEYS, key_id) is None:
            row = KeyRow(member, key.role, key.operator, key.public, now, None)
            draft.put(KEYS, key_id, row)
    before = draft.get(KEYSETS, member.encode()) or KeysetRow(0, now, 0)
    draft.put(KEYSETS, member.encode(), replace(before, version=before.version + 1))


def check_compromised(
    state: Reader,
    member: MemberId,
    keys: tuple[RoleKey, ...],
    compromised: tuple[Compromised, ...],
    now: TimeMs | None = None,
) -> RejectCode | None:
    """Former keys of the member alone, each once, as of a time that has passed."""
    kept = {key_id_of(key.public) for key in keys}
    named = [item.key_id for item in compromised]
    for item in compromised:
        row = state.get(KEYS, item.key_id)
        if row is None or row.member != member or item.key_id in kept:
            return RejectCode.BAD_KEYSET
        if now is not None and item.since_ms > now:
            return RejectCode.BAD_KEYSET
    return None if len(set(named)) == len(named) else RejectCode.BAD_KEYSET


def note_compromised(draft: Draft, member: MemberId, compromised: tuple[Compromised, ...]) -> None:
    """An earlier time that was declared before stays."""
    for item in compromised:
        known = draft.get(COMPROMISES, item.key_id)
        since = item.since_ms if known is None else min(item.since_ms, known.since_ms)
        draft.put(COMPROMISES, item.key_id, CompromiseRow(member, TimeMs(since)))


def apply_keyset(draft: Draft, chain: ChainId, body: Keyset, now: TimeMs) -> RejectCode | None:
    member = body.header.member
    current = draft.get(KEYSETS, member.encode())
    if current is None or body.version != current.version + 1:
        return RejectCode.SUPERSEDED
    if now >= current.day_ms + DAY_MS:
        current = replace(current, day_ms=now, changes=0)
    if current.changes >= KEYSETS_DAY_MAX:
        return RejectCode.OVER_QUOTA
    is_agency = agency(draft, member) is not None
    code = check_keys(draft, chain, member, body.keys, is_agency=is_agency)
    code = code or check_compromised(draft, member, body.keys, body.compromised, now)
    code = code or _check_root_trusted(draft, member, body.keys)
    if code is not None:
        return code
    note_compromised(draft, member, body.compromised)
    had = _decryptors(draft, member)
    draft.put(KEYSETS, member.encode(), replace(current, changes=current.changes + 1))
    install_keys(draft, member, body.keys, now)
    if had - _decryptors(draft, member):  # A lost decryption key: what it opens must be replaced.
        membership_changed(draft, groups_of(draft, member), now)
    return None


def _check_root_trusted(
    state: Reader, member: MemberId, keys: tuple[RoleKey, ...]
) -> RejectCode | None:
    """Whether a vote on this member's root stands against a keyset that the root signed.

    Once the vote has passed, only time stands between a thief and the new keys: the root changes
    nothing any more. While it is open, the root cannot make it fail by taking up the proposed keys,
    whose proofs everybody can read.
    """
    for place, _ in state.rows(AGENDA):
        row = state.get(PROPOSALS, place)
        if row is None or not isinstance(row.action, ReplaceKeys) or row.action.member != member:
            continue
        if row.status is ProposalStatus.PASSED:
            return RejectCode.KEYSET_SUSPENDED
        proposed = {key.public for key in row.action.keys}
        for key in keys:
            if key.public in proposed and state.get(KEYS, key_id_of(key.public)) is None:
                return RejectCode.KEY_REUSED
    return None


def _decryptors(state: Reader, member: MemberId) -> set[bytes]:
    return {
        key_id
        for key_id, row in state.rows(KEYS)
        if row.member == member and row.role is Role.DECRYPTOR and row.revoked_ms is None
    }


def admit_agency(draft: Draft, action: AdmitAgency, now: TimeMs) -> RejectCode | None:
    """The keys have been checked. Numbers are given in order and never reused."""
    whole = consortium(draft)
    if not _is_new(draft, action.agency) or whole.agencies_ever >= AGENCIES_MAX:
        return RejectCode.INVALID_ACTION
    row = AgencyRow(
        number=whole.agencies_ever,
        title=action.title,
        sovereign=action.sovereign,
        jurisdictions=action.jurisdictions,
        standing=Standing.ADMITTED,
        since_ms=now,
    )
    draft.put(AGENCIES_TABLE, action.agency.encode(), row)
    draft.put(CONSORTIUM, ONLY, replace(whole, agencies_ever=whole.agencies_ever + 1))
    install_keys(draft, action.agency, action.keys, now)
    return None


def check_action(state: Reader, chain: ChainId, action: Action) -> RejectCode | None:
    """Whether the action could be enacted on `state` as it is. Asked again when its time comes."""
    match action:
        case AdmitAgency():
            if not _is_new(state, action.agency):
                return RejectCode.INVALID_ACTION
            if consortium(state).agencies_ever >= AGENCIES_MAX:
                return RejectCode.INVALID_ACTION
            return check_keys(state, chain, action.agency, action.keys, is_agency=True)
        case AdmitPlatform():
            known = set(consortium(state).groups) - {AGENCIES}
            if not set(action.groups) <= known:
                return RejectCode.UNKNOWN_GROUP
            row = state.get(PLATFORMS, action.platform.encode())
            back = row is not None and row.standing is Standing.SUSPENDED
            if not back and not _is_new(state, action.platform):
                return RejectCode.INVALID_ACTION
            return check_keys(state, chain, action.platform, action.keys, is_agency=False)
        case RemoveAgency():
            ok = agency(state, action.agency) is not None and len(agencies(state)) > 1
        case SuspendPlatform():
            ok = platform(state, action.platform) is not None
        case RemovePlatform():
            row = state.get(PLATFORMS, action.platform.encode())
            ok = row is not None and row.standing is not Standing.REMOVED
        case Accredit():
            accredited = agency(state, action.agency)
            ok = (
                accredited is not None
                and action.jurisdiction not in accredited.jurisdictions
                and len(accredited.jurisdictions) < JURISDICTIONS_MAX
            )
        case ReplaceKeys():
            is_agency = agency(state, action.member) is not None
            if not is_agency and platform(state, action.member) is None:
                return RejectCode.INVALID_ACTION
            code = check_keys(state, chain, action.member, action.keys, is_agency=is_agency)
            return code or check_compromised(state, action.member, action.keys, action.compromised)
        case Parameters():
            ok = is_possible(action)
        case _:
            assert_never(action)
    return None if ok else RejectCode.INVALID_ACTION


def enact(draft: Draft, chain: ChainId, action: Action, now: TimeMs) -> RejectCode | None:
    """Carry out an action whose vote passed and whose time came."""
    code = check_action(draft, chain, action)
    if code is not None:
        return code
    match action:
        case AdmitAgency():
            return admit_agency(draft, action, now)
        case AdmitPlatform():
            row = PlatformRow(
                action.title, action.jurisdictions, action.groups, Standing.ADMITTED, now
            )
            draft.put(PLATFORMS, action.platform.encode(), row)
            install_keys(draft, action.platform, action.keys, now)
        case RemoveAgency():
            _end_agency(draft, action.agency, now)
        case SuspendPlatform():
            _end_platform(draft, action.platform, Standing.SUSPENDED, now)
        case RemovePlatform():
            _end_platform(draft, action.platform, Standing.REMOVED, now)
        case Accredit():
            accredit(draft, action)
        case ReplaceKeys():
            code = check_compromised(draft, action.member, action.keys, action.compromised, now)
            if code is not None:
                return code
            note_compromised(draft, action.member, action.compromised)
            install_keys(draft, action.member, action.keys, now)
            membership_changed(draft, groups_of(draft, action.member), now)
        case Parameters():
            draft.put(PARAMETERS, ONLY, action)
        case _:
            assert_never(action)
    return None


def accredit(draft: Draft, action: Accredit) -> None:
    row = agency(draft, action.agency)
    if row is None:
        raise Broken("ledger.checked_action")
    more = tuple(sorted({*row.jurisdictions, action.jurisdiction}))
    draft.put(AGENCIES_TABLE, action.agency.encode(), replace(row, jurisdictions=more))


def _is_new(state: Reader, member: MemberId) -> bool:
    key = member.encode()
    return state.get(AGENCIES_TABLE, key) is None and state.get(PLATFORMS, key) is None


def _end_agency(draft: Draft, member: MemberId, now: TimeMs) -> None:
    row = draft.get(AGENCIES_TABLE, member.encode())
    if row is None:
        raise Broken("ledger.checked_action")
    groups = groups_of(draft, member)
    ended = replace(row, standing=Standing.REMOVED, since_ms=now)
    draft.put(AGENCIES_TABLE, member.encode(), ended)
    membership_changed(draft, groups, now)


def _end_platform(draft: Draft, member: MemberId, standing: Standing, now: TimeMs) -> None:
    row = draft.get(PLATFORMS, member.encode())
    if row is None:
        raise Broken("ledger.checked_action")
    draft.put(PLATFORMS, member.encode(), replace(row, standing=standing, since_ms=now))
    membership_changed(draft, row.groups, now)
