"""Sealing: the twins of `statements.confidential`, with the randomness that they need.

Source: docs/spec/confidentiality.md.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from accord.statements.batch import Batch, encode_batch
from accord.statements.bodies import Recipient
from accord.statements.confidential import (
    HPKE,
    KEY_BYTES,
    NONCE,
    BatchBlob,
    CipherSuite,
    EpochBlob,
    GroupWrap,
    MemberWrap,
    content_commitment,
    derive,
    epoch_commitment,
    hpke_info,
    load_decrypt_public,
    padded_size,
    payload_aad,
    previous_aad,
    wrap_aad,
    wrap_purpose,
)
from accord.wire.errors import Malformed
from accord.wire.ids import ChainId, GroupId, MemberId
from accord.wire.limits import BLOB_BYTES_MAX
from accord.wire.record import encode_record


@dataclass(frozen=True, slots=True)
class SealedEpoch:
    """A new epoch key, its commitment, and the blob that carries it to the members."""

    key: bytes
    commitment: bytes
    blob: bytes


def seal_batch(
    chain: ChainId,
    agency: MemberId,
    batch: Batch,
    epochs: Mapping[GroupId, tuple[int, bytes]],
    content_key: bytes | None = None,
) -> bytes:
    """The blob of a publish statement. `epochs` gives each group's number and key.

    Raises: Malformed if the batch is larger than a blob may be: split it.
    """
    content_key = content_key or os.urandom(KEY_BYTES)
    commitment = content_commitment(content_key)
    plain = encode_batch(batch)
    padded = len(plain).to_bytes(4, "big") + plain
    padded += bytes(padded_size(len(plain)) - len(padded))
    aad = payload_aad(chain, agency, CipherSuite.X1, commitment)
    ciphertext = ChaCha20Poly1305(derive(content_key, "payload")).encrypt(NONCE, padded, aad)
    wraps = tuple(
        GroupWrap(group, number, _wrap(chain, group, number, key, content_key))
        for group, (number, key) in sorted(epochs.items())
    )
    blob = encode_record(BatchBlob(1, agency, CipherSuite.X1, commitment, ciphertext, wraps))
    if len(blob) > BLOB_BYTES_MAX:
        raise Malformed("batch.size", size=len(blob), limit=BLOB_BYTES_MAX)
    return blob


def _wrap(
    chain: ChainId, group: GroupId, number: int, epoch_key: bytes, content_key: bytes
) -> bytes:
    commitment = content_commitment(content_key)
    key = derive(epoch_key, wrap_purpose(commitment))
    aad = wrap_aad(chain, group, number, commitment)
    return ChaCha20Poly1305(key).encrypt(NONCE, content_key, aad)


def seal_epoch(
    chain: ChainId,
    group: GroupId,
    number: int,
    recipients: Sequence[tuple[Recipient, bytes]],
    previous: bytes | None,
) -> SealedEpoch:
    """A fresh epoch key, wrapped to every recipient's public decryptor key.

    `previous` is the key of epoch `number - 1`, which the new one shall open; None for the first.
    """
    key = os.urandom(KEY_BYTES)
    blob = wrap_epoch(chain, group, number, key, recipients, previous)
    return SealedEpoch(key, epoch_commitment(chain, group, number, key), blob)


def wrap_epoch(
    chain: ChainId,
    group: GroupId,
    number: int,
    key: bytes,
    recipients: Sequence[tuple[Recipient, bytes]],
    previous: bytes | None,
) -> bytes:
    """The blob of an epoch statement, or of a wrap statement for members that came later."""
    wraps = tuple(
        MemberWrap(
            to.member,
            to.key_id,
            HPKE.encrypt(
                key,
                load_decrypt_public(public),
                hpke_info(chain, group, number, to.member, to.key_id),
            ),
        )
        for to, public in recipients
    )
    before = None
    if previous is not None:
        aad = previous_aad(chain, group, number)
        before = ChaCha20Poly1305(derive(key, "previous")).encrypt(NONCE, previous, aad)
    return encode_record(EpochBlob(1, group, number, CipherSuite.X1, wraps, before))
