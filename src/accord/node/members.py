"""Members, keys, epochs and proposals as JSON, for the people who govern."""

from collections.abc import Sequence
from typing import Any

from accord.ledger.epochs import epoch_of
from accord.ledger.membership import consortium, groups_of, parameters
from accord.ledger.state import (
    AGENCIES_TABLE,
    KEYS,
    KEYSETS,
    PLATFORMS,
    PROPOSALS,
    RULES,
    ProposalRow,
    Reader,
)
from accord.node.store import Misbehaviour
from accord.wire.ids import ChainId, GroupId, MemberId
from accord.wire.record import dump_record


def members_view(state: Reader, chain: ChainId) -> dict[str, Any]:
    """Everything public about who is in, and what is being decided. Byte strings are hex."""
    whole = consortium(state)
    return {
        "chain": chain,
        "size": whole.size,
        "time_ms": whole.time_ms,
        "parameters": _json(dump_record(parameters(state))),
        "agencies": [
            _member(state, key) | {"number": row.number, **_json(dump_record(row))}
            for key, row in state.rows(AGENCIES_TABLE)
        ],
        "platforms": [
            _member(state, key) | _json(dump_record(row)) for key, row in state.rows(PLATFORMS)
        ],
        "epochs": [_epoch(state, group) for group in whole.groups],
        "proposals": [
            _proposal(int.from_bytes(key, "big"), row) for key, row in state.rows(PROPOSALS)
        ],
        "rules": [
            {
                "jurisdiction": key.decode(),
                "version": row.version,
                "entry": row.entry,
                "agency": row.agency,
            }
            for key, row in state.rows(RULES)
        ],
    }


def misbehaviour_view(seen: Sequence[Misbehaviour]) -> list[dict[str, Any]]:
    """What the consensus engine proved against validators: public, and never forgotten."""
    return [
        {
            "kind": item.kind,
            "agency": item.agency,
            "address": item.address.hex(),
            "height": item.height,
            "time_ms": item.time_ms,
        }
        for item in seen
    ]


def splits_view(splits: Sequence[tuple[bytes, int, bytes]]) -> list[dict[str, Any]]:
    """Heads that a cosigner signed and that contradict this node's log: evidence, whole."""
    return [
        {"cosigner": key.hex(), "size": size, "note": note.decode()} for key, size, note in splits
    ]


def _member(state: Reader, key: bytes) -> dict[str, Any]:
    member = MemberId(key.decode())
    keyset = state.get(KEYSETS, key)
    return {
        "id": member,
        "groups": list(groups_of(state, member)),
        "keyset_version": keyset.version if keyset else 0,
        "keys": [
            {
                "id": key_id.hex(),
                "role": row.role.value,
                "operator": row.operator,
                "since_ms": row.since_ms,
                "revoked_ms": row.revoked_ms,
            }
            for key_id, row in state.rows(KEYS)
            if row.member == member
        ],
    }


def _epoch(state: Reader, group: GroupId) -> dict[str, Any]:
    row = epoch_of(state, group)
    pending = row.pending
    return {
        "group": group,
        "number": row.number,
        "holders": [to.member for to in row.recipients],
        "rotate_by_ms": row.rotate_by_ms,
        "pending": None
        if pending is None
        else {
            "number": pending.number,
            "opener": pending.opener,
            "entry": pending.entry,
            "acknowledged": list(pending.acknowledged),
        },
    }


def _proposal(entry: int, row: ProposalRow) -> dict[str, Any]:
    action = _json(dump_record(row.action))
    action.pop("keys", None)  # A thousand bytes a key; the log has them.
    return {
        "entry": entry,
        "kind": row.action.KIND,
        "action": action,
        "proposer": row.proposer,
        "opened_ms": row.opened_ms,
        "ballots": {ballot.agency: ballot.approve for ballot in row.ballots},
        "status": row.status.value,
        "due_ms": row.due_ms,
    }


def _json(value: Any) -> Any:  # noqa: ANN401 - any CBOR value becomes the like JSON value.
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value
