"""Applications: what a member to be hands to an agency, which proposes it. A JSON file.

The same JSON as the genesis: sorted keys, byte strings as `hex:...`, one form only. It holds
public keys with their proofs of possession and no secret.
"""

import json
from typing import cast

from accord.statements.bodies import Action, AdmitAgency, AdmitPlatform
from accord.wire import cbor, record
from accord.wire.errors import Malformed

APPLICATION_BYTES_MAX = 1_000_000  # 32 keys of 1.3 KB, in hex, many times over.
KINDS: dict[str, type[Action]] = {kind.KIND: kind for kind in (AdmitPlatform, AdmitAgency)}


def encode_application(action: AdmitPlatform | AdmitAgency) -> bytes:
    """Shape: JSON with the action's fields and its `kind`."""
    fields = cast(dict[str, cbor.Value], record.dump_record(action))
    value = _to_json({"kind": action.KIND, **fields})
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse_application(raw: bytes) -> Action:
    """Raises: Malformed. The keys' proofs are the ledger's to check."""
    if len(raw) > APPLICATION_BYTES_MAX:
        raise Malformed("application.size", size=len(raw))
    try:
        value: object = json.loads(raw.decode(), parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as err:
        raise Malformed("application.json", mend="ask the applicant for the file again") from err
    action = record.load_tagged(KINDS, _from_json(value), "application")
    if not isinstance(action, AdmitPlatform | AdmitAgency) or encode_application(action) != raw:
        raise Malformed("application.not_canonical", mend="ask the applicant for the file again")
    return action


def _refuse(_: str) -> int:
    raise ValueError("no floats")


def _to_json(value: cbor.Value) -> object:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return "hex:" + value.hex() if isinstance(value, bytes) else value


def _from_json(value: object) -> cbor.Value:
    match value:
        case dict():
            return {str(k): _from_json(v) for k, v in cast(dict[object, object], value).items()}
        case list():
            return [_from_json(item) for item in cast(list[object], value)]
        case str() if value.startswith("hex:"):
            try:
                return bytes.fromhex(value[4:])
            except ValueError as err:
                raise Malformed("application.json") from err
        case None | bool() | int() | str():
            return value
        case _:
            raise Malformed("application.json")
