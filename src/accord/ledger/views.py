"""What others ask of the state: the policy in force, who a key is, who the members are."""

from dataclasses import dataclass

from accord.ledger.membership import agencies, agency, groups_of, platform
from accord.ledger.state import KEYS, KeyRow, Reader
from accord.statements.bodies import Role
from accord.tlog.note import Algorithm, NoteKey
from accord.tlog.policy import Policy, consortium_policy
from accord.wire.ids import ChainId, GroupId, KeyId, MemberId
from accord.wire.keys import VerifyKey


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a key in good standing, and what may be released to them."""

    member: MemberId
    key: KeyRow
    groups: tuple[GroupId, ...]
    is_agency: bool


def cosigner_key(chain: ChainId, member: MemberId, raw: bytes) -> NoteKey:
    """An agency's cosigner as checkpoints name it: `<chain>/<agency>`."""
    return NoteKey(f"{chain}/{member}", Algorithm.COSIGNATURE_V1, VerifyKey(raw))


def cosigners(state: Reader, chain: ChainId) -> tuple[tuple[MemberId, NoteKey], ...]:
    """The agencies that have a cosigner key, in the order of their ids."""
    standing = agencies(state)
    keys = {
        row.member: cosigner_key(chain, row.member, row.public)
        for _, row in state.rows(KEYS)
        if row.role is Role.COSIGNER and row.revoked_ms is None and row.member in standing
    }
    return tuple(sorted(keys.items()))


def policy_of(state: Reader, chain: ChainId) -> Policy:
    """Who must have signed a checkpoint of the log that folds to this state."""
    return consortium_policy((), cosigners(state, chain))


def validators(state: Reader) -> dict[MemberId, bytes]:
    """The consensus keys in force, one of each agency: who orders blocks, with power 1 each."""
    standing = agencies(state)
    keys = {
        row.member: row.public
        for _, row in state.rows(KEYS)
        if row.role is Role.CONSENSUS and row.revoked_ms is None and row.member in standing
    }
    return dict(sorted(keys.items()))


def caller_of(state: Reader, key_id: KeyId) -> Caller | None:
    """The member in good standing that a signing key speaks for."""
    key = state.get(KEYS, key_id)
    if key is None or key.revoked_ms is not None or key.role is Role.DECRYPTOR:
        return None
    is_agency = agency(state, key.member) is not None
    if not is_agency and platform(state, key.member) is None:
        return None
    return Caller(key.member, key, groups_of(state, key.member), is_agency)


def keys_of(state: Reader, member: MemberId) -> dict[KeyId, KeyRow]:
    """A member's keys in force, by key id."""
    return {
        KeyId(key_id): row
        for key_id, row in state.rows(KEYS)
        if row.member == member and row.revoked_ms is None
    }
