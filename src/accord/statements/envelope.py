"""Envelopes: a body and the signature that makes it a statement.

COSE_Sign1 (RFC 9052, tag 18) with EdDSA. The external additional data names the chain, so a
statement of one consortium is noise in another. Protected header: {1: -8, 4: key id}; no
unprotected header.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cbor2

from accord.statements.bodies import Body, encode_body, parse_body
from accord.wire import cbor
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import ChainId, KeyId
from accord.wire.keys import KEY_ID_BYTES, SIGNATURE_BYTES, VerifyKey
from accord.wire.limits import BLOB_BYTES_MAX, ENVELOPE_BYTES_MAX, TRANSACTION_BYTES_MAX

_TAG_18: Final = b"\xd2\x84"  # COSE_Sign1, an array of four.
_PROTECTED_PREFIX: Final = bytes.fromhex("a201270450")  # {1: -8, 4: bytes(16)}
_EMPTY_MAP: Final = b"\xa0"

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed, not yet verified statement. `digest` identifies it for replay protection."""

    raw: bytes
    key_id: KeyId
    payload: bytes
    signature: bytes
    body: Body

    @property
    def digest(self) -> bytes:
        """SHA-256 over the payload, so that a second signature of one body is a replay too."""
        return sha256(self.payload)

    def verify(self, chain: ChainId, key: VerifyKey) -> None:
        """Raises: Unproven."""
        key.verify(signed_bytes(chain, self.key_id, self.payload), self.signature)


@dataclass(frozen=True, slots=True)
class Transaction:
    """What travels to the ledger: a statement and the blob its body commits to, if any."""

    envelope: bytes
    blob: bytes | None


def signed_bytes(chain: ChainId, key_id: KeyId, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    aad = b"accord/v1/" + chain.encode()
    return cbor.encode(["Signature1", _PROTECTED_PREFIX + key_id, aad, payload])


def seal_envelope(chain: ChainId, key_id: KeyId, body: Body, sign: Sign) -> bytes:
    """A statement's bytes. `sign` holds the private key; Ed25519 signing is deterministic."""
    payload = encode_body(body)
    signature = sign(signed_bytes(chain, key_id, payload))
    protected = cbor.encode(_PROTECTED_PREFIX + key_id)
    return _TAG_18 + protected + _EMPTY_MAP + cbor.encode(payload) + cbor.encode(signature)


def parse_envelope(raw: bytes) -> Envelope:
    """Raises: Malformed. Says nothing about the signature: see `Envelope.verify`."""
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise Malformed("envelope.size", size=len(raw))
    if raw[:2] != _TAG_18:
        raise Malformed("envelope.tag")
    try:
        parts = cbor2.loads(raw[1:], max_depth=4)  # The empty map is a dict with no keys.
    except (cbor2.CBORDecodeError, ValueError, OverflowError) as err:
        raise Malformed("envelope.syntax") from err
    match parts:
        case [bytes(protected), {}, bytes(payload), bytes(signature)] if parts[1] == {}:
            pass
        case _:
            raise Malformed("envelope.shape")
    if protected[:5] != _PROTECTED_PREFIX or len(protected) != 5 + KEY_ID_BYTES:
        raise Malformed("envelope.header")
    if len(signature) != SIGNATURE_BYTES:
        raise Malformed("envelope.signature")
    rebuilt = _TAG_18 + cbor.encode(protected) + _EMPTY_MAP + cbor.encode(payload)
    if rebuilt + cbor.encode(signature) != raw:
        raise Malformed("envelope.not_canonical")
    return Envelope(raw, KeyId(protected[5:]), payload, signature, parse_body(payload))


def encode_transaction(transaction: Transaction) -> bytes:
    """Shape: a CBOR array of the statement and its blob or null."""
    return cbor.encode([transaction.envelope, transaction.blob])


def parse_transaction(raw: bytes) -> Transaction:
    """Raises: Malformed."""
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise Malformed("transaction.size", size=len(raw))
    match cbor.parse(raw):
        case [bytes(envelope), None]:
            return Transaction(envelope, None)
        case [bytes(envelope), bytes(blob)]:
            if not 0 < len(blob) <= BLOB_BYTES_MAX:
                raise Malformed("transaction.blob_size", size=len(blob))
            return Transaction(envelope, blob)
        case _:
            raise Malformed("transaction.shape")
