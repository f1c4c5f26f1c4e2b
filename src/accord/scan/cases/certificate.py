"""Destruction certificates: the platform's signed word that a case's file is gone.

Signed by its reporter key, whose public half the ledger has: anybody with the log can check it.
Source: docs/spec/cases.md, section 6.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs
from accord.wire.keys import VerifyKey

LABEL: Final = "accord/v1/destroyed"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was destroyed, when, by whom, and in what case. `sealed_sha256` is of the ciphertext;
    empty, where no file was held."""

    chain: str
    platform: str
    case: str
    sealed_sha256: str
    key_name: str
    disposition: str
    preserved_until_ms: TimeMs
    destroyed_ms: TimeMs
    reviewer: str

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        rows: dict[str, cbor.Value] = dict(asdict(self))
        return cbor.encode([LABEL, rows])


def encode_certificate(certificate: Certificate, key_id: str, signature: bytes) -> str:
    """One JSON line."""
    value = asdict(certificate) | {"key_id": key_id, "signature": signature.hex()}
    return json.dumps(value, sort_keys=True)


def verify_certificate(text: str, key: VerifyKey) -> Certificate:
    """Raises: Malformed; Unproven, if another key signed it, or it was changed."""
    try:
        value = json.loads(text)
        signature = bytes.fromhex(value.pop("signature"))
        value.pop("key_id")
        certificate = Certificate(**value)
        signed = certificate.signed_bytes()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise Malformed("cases.certificate") from err
    key.verify(signed, signature)
    return certificate
