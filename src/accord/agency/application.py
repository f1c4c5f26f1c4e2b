"""Applications: what a member to be hands to an agency, which proposes it. A JSON file.

The same JSON as the genesis: sorted keys, byte strings as `hex:...`, one form only. It holds
public keys with their proofs of possession and no secret.
"""

from typing import cast

from accord.statements.bodies import Action, AdmitAgency, AdmitPlatform
from accord.wire import cbor, record
from accord.wire.errors import Malformed
from accord.wire.readable import dump_json, load_json

APPLICATION_FILE = "application.json"
APPLICATION_BYTES_MAX = 1_000_000  # 32 keys of 1.3 KB, in hex, many times over.
KINDS: dict[str, type[Action]] = {kind.KIND: kind for kind in (AdmitPlatform, AdmitAgency)}


def encode_application(action: AdmitPlatform | AdmitAgency) -> bytes:
    """Shape: JSON with the action's fields and its `kind`."""
    fields = cast(dict[str, cbor.Value], record.dump_record(action))
    return dump_json({"kind": action.KIND, **fields})


def parse_application(raw: bytes) -> Action:
    """Raises: Malformed. The keys' proofs are the ledger's to check."""
    if len(raw) > APPLICATION_BYTES_MAX:
        raise Malformed("application.size", size=len(raw))
    value = load_json(raw, "application.json", mend="ask the applicant for the file again")
    action = record.load_tagged(KINDS, value, "application")
    if not isinstance(action, AdmitPlatform | AdmitAgency) or encode_application(action) != raw:
        raise Malformed("application.not_canonical", mend="ask the applicant for the file again")
    return action
