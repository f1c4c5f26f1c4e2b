"""Sealing feedback: the twin of `statements.feedback`, with the randomness that it needs.

Source: docs/spec/confidentiality.md, section Feedback.
"""

import os
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from accord.ledger.epochs import recipients_of
from accord.ledger.state import KEYS, Reader
from accord.statements.bodies import Recipient
from accord.statements.confidential import (
    HPKE,
    KEY_BYTES,
    NONCE,
    CipherSuite,
    MemberWrap,
    content_commitment,
    derive,
    load_decrypt_public,
    padded_size,
)
from accord.statements.feedback import (
    PURPOSE,
    FeedbackBlob,
    Word,
    encode_words,
    payload_aad,
    wrap_info,
)
from accord.wire.ids import AGENCIES, ChainId, MemberId
from accord.wire.record import encode_record

Sealed = tuple[Recipient, bytes]  # Whom it is for, and the 1,216 bytes of the decryptor key.


def hearers(state: Reader) -> list[Sealed]:
    """Every agency's decryptor keys in force, in order: whom feedback is sealed to."""
    keys = ((to, state.get(KEYS, to.key_id)) for to in recipients_of(state, AGENCIES))
    return [(to, row.public) for to, row in keys if row is not None]


def seal_feedback(
    chain: ChainId,
    platform: MemberId,
    words: Iterable[Word],
    recipients: Iterable[Sealed],
    content_key: bytes | None = None,
) -> bytes:
    """The blob of a feedback statement. Raises: Malformed, for no words or too many."""
    content_key = content_key or os.urandom(KEY_BYTES)
    commitment = content_commitment(content_key)
    plain = encode_words(words)
    padded = len(plain).to_bytes(4, "big") + plain
    padded += bytes(padded_size(len(plain)) - len(padded))
    aad = payload_aad(chain, platform, CipherSuite.X1, commitment)
    ciphertext = ChaCha20Poly1305(derive(content_key, PURPOSE)).encrypt(NONCE, padded, aad)
    wraps = tuple(
        MemberWrap(
            to.member,
            to.key_id,
            wrap_content_key(chain, platform, commitment, to, public, content_key),
        )
        for to, public in recipients
    )
    return encode_record(FeedbackBlob(1, platform, CipherSuite.X1, commitment, ciphertext, wraps))


def wrap_content_key(
    chain: ChainId,
    platform: MemberId,
    commitment: bytes,
    to: Recipient,
    public: bytes,
    content_key: bytes,
) -> bytes:
    """The content key for one agency's decryptor key."""
    info = wrap_info(chain, platform, commitment, to.member, to.key_id)
    return HPKE.encrypt(content_key, load_decrypt_public(public), info)
