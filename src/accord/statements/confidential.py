"""Confidentiality: opening what only members may open.

Layout: one random content key (CEK) a batch; `commitment` binds the blob to that one key, since
the AEAD alone would let one ciphertext open to different lists for different readers; the CEK
wrapped under the epoch key of each group; the epoch key wrapped to each member by HPKE (X-Wing,
so that what is recorded today stays closed to the computers of tomorrow).
Pure: these functions open and verify. Their sealing twins draw randomness and live in
`agency.sealing`.
Source: docs/spec/confidentiality.md; RFC 9180; draft-connolly-cfrg-xwing-kem.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from accord.statements.batch import Batch, parse_batch
from accord.statements.bodies import Group, KeyIdBytes, Member, Publish, Sha256, Version
from accord.wire import cbor, record
from accord.wire.digests import labelled_sha256, sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, GroupId, MemberId
from accord.wire.keys import key_id_of
from accord.wire.limits import BLOB_BYTES_MAX, GROUPS_MAX, WRAPS_MAX
from accord.wire.record import Compact, Count, Size, Uint

KEY_BYTES: Final = 32
NONCE: Final = bytes(12)  # Every key below seals exactly one plaintext.
WRAP_BYTES: Final = KEY_BYTES + 16  # A wrapped key and its tag.
DECRYPT_PUBLIC_BYTES: Final = 1184 + 32  # ML-KEM-768 and X25519.
DECRYPT_PRIVATE_BYTES: Final = 64 + 32  # ML-KEM-768 seed and X25519 scalar.
HPKE_WRAP_BYTES: Final = 1088 + 32 + KEY_BYTES + 16  # Encapsulation, wrapped key, tag.
_LATTICE_BYTES: Final = 1152  # Of an ML-KEM-768 key: 768 coefficients of 12 bits.
_LATTICE_Q: Final = 3329
_CURVE_P: Final = 2**255 - 19
# The points of Curve25519 with an order of 8 or less. Source: RFC 7748 section 6.1;
# D. J. Bernstein, "Curve25519", 2006.
_LOW_ORDER_X: Final = frozenset(
    {
        0,
        1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        _CURVE_P - 1,
    }
)
HPKE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)

EpochKeys = Mapping[tuple[GroupId, int], bytes]


class CipherSuite(StrEnum):
    """Agility: a new suite is a new name, and an old reader refuses it by name."""

    X1 = "x1"  # X-Wing, HKDF-SHA-256, ChaCha20-Poly1305.


@dataclass(frozen=True, slots=True, order=True)
class GroupWrap(Compact):
    """The content key under a group's epoch key."""

    group: Group
    epoch: Version
    wrapped: Annotated[bytes, Size(WRAP_BYTES, WRAP_BYTES)]


@dataclass(frozen=True, slots=True)
class BatchBlob:
    """What a publish statement's blob is: the header that validators check, and ciphertext."""

    version: Annotated[int, Uint(1, 1)]
    agency: Member
    suite: CipherSuite
    commitment: Sha256
    ciphertext: Annotated[bytes, Size(16, BLOB_BYTES_MAX)]
    wraps: Annotated[tuple[GroupWrap, ...], Count(1, GROUPS_MAX, ordered=True)]


@dataclass(frozen=True, slots=True, order=True)
class MemberWrap(Compact):
    """An epoch key wrapped to one member's decryptor key."""

    member: Member
    key_id: KeyIdBytes
    wrapped: Annotated[bytes, Size(HPKE_WRAP_BYTES, HPKE_WRAP_BYTES)]


@dataclass(frozen=True, slots=True)
class EpochBlob:
    """What an epoch or wrap statement's blob is. `previous` lets one key open all history."""

    version: Annotated[int, Uint(1, 1)]
    group: Group
    number: Version
    suite: CipherSuite
    wraps: Annotated[tuple[MemberWrap, ...], Count(1, WRAPS_MAX, ordered=True)]
    previous: Annotated[bytes, Size(WRAP_BYTES, WRAP_BYTES)] | None


def content_commitment(content_key: bytes) -> bytes:
    return labelled_sha256("content-key", content_key)


def epoch_commitment(chain: ChainId, group: GroupId, number: int, epoch_key: bytes) -> bytes:
    return labelled_sha256(
        "epoch-key", chain.encode(), group.encode(), number.to_bytes(8, "big"), epoch_key
    )


def derive(key: bytes, purpose: str) -> bytes:
    """A key for one purpose. Shape: HKDF-Expand(key, "accord/v1/" + purpose), 32 bytes."""
    return HKDFExpand(SHA256(), KEY_BYTES, b"accord/v1/" + purpose.encode()).derive(key)


def payload_aad(chain: ChainId, agency: MemberId, suite: CipherSuite, commitment: bytes) -> bytes:
    return cbor.encode(["accord/v1/batch", chain, agency, suite.value, commitment])


def wrap_aad(chain: ChainId, group: GroupId, epoch: int, commitment: bytes) -> bytes:
    return cbor.encode(["accord/v1/wrap", chain, group, epoch, commitment])


def wrap_purpose(commitment: bytes) -> str:
    """Each content key is wrapped under a key of its own, so that no nonce ever repeats."""
    return "wrap/" + commitment.hex()


def previous_aad(chain: ChainId, group: GroupId, number: int) -> bytes:
    return cbor.encode(["accord/v1/previous", chain, group, number])


def hpke_info(
    chain: ChainId, group: GroupId, number: int, member: MemberId, key_id: bytes
) -> bytes:
    return cbor.encode(["accord/v1/epoch", chain, group, number, member, key_id])


def unpad(padded: bytes) -> bytes:
    """The plaintext inside its size class. Raises: Unproven."""
    size = int.from_bytes(padded[:4], "big")
    if len(padded) < 4 or size > len(padded) - 4 or any(padded[4 + size :]):
        raise Unproven("confidential.padding")
    return padded[4 : 4 + size]


def padded_size(size: int) -> int:
    """Bytes of the size class: Padme, at most 12 % over, which hides the exact count.

    Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", 2019.
    """
    total = max(size + 4, 256)
    exponent = total.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (total + mask) & ~mask


def parse_batch_blob(raw: bytes) -> BatchBlob:
    """Raises: Malformed."""
    return record.parse_record(BatchBlob, raw)


def parse_epoch_blob(raw: bytes) -> EpochBlob:
    """Raises: Malformed."""
    return record.parse_record(EpochBlob, raw)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A group that a batch did not reach, since its publisher wrapped the content key wrongly:
    every holder of that group's key sees it in the bytes that the publisher signed for."""

    group: GroupId
    code: str


@dataclass(frozen=True, slots=True)
class Release:
    """What the keys at hand make of a batch. `batch` is None where no wrap of theirs was right."""

    batch: Batch | None
    faults: tuple[Fault, ...]


def open_batch(chain: ChainId, body: Publish, raw: bytes, keys: EpochKeys) -> Batch | None:
    """The batch, or None when none of `keys` is for a group it was released to.

    Raises: as `open_release`, and Unproven if no wrap for `keys` is right.
    """
    release = open_release(chain, body, raw, keys)
    if release.batch is None and release.faults:
        raise Unproven(release.faults[0].code, group=release.faults[0].group)
    return release.batch


def open_release(chain: ChainId, body: Publish, raw: bytes, keys: EpochKeys) -> Release:
    """The batch, and to which of the groups in `keys` it was not released as it says.

    Every wrap there is a key for is tried: a publisher that wraps rightly for one group and
    wrongly for another would otherwise show agencies and platforms different lists.
    Raises: Unproven if the blob is not the one the body commits to, does not open or holds another
    count; Malformed if it does not parse. All holders of a right wrap get the same error.
    """
    if sha256(raw) != body.blob_sha256:
        raise Unproven("confidential.blob_digest")
    blob = parse_batch_blob(raw)
    if blob.agency != body.header.member:
        raise Unproven("confidential.blob_agency")
    if [(w.group, w.epoch) for w in blob.wraps] != list(
        zip(body.groups, body.epochs, strict=False)
    ):
        raise Unproven("confidential.groups")
    content_key: bytes | None = None
    faults: list[Fault] = []
    for wrap in blob.wraps:
        if (wrap.group, wrap.epoch) not in keys:
            continue
        try:
            content_key = _open_wrap(chain, blob, wrap, keys[wrap.group, wrap.epoch])
        except Unproven as err:
            faults.append(Fault(wrap.group, err.code))
    batch = None if content_key is None else _open_payload(chain, body, blob, content_key)
    return Release(batch, tuple(faults))


def _open_payload(chain: ChainId, body: Publish, blob: BatchBlob, content_key: bytes) -> Batch:
    aad = payload_aad(chain, blob.agency, blob.suite, blob.commitment)
    padded = aead_open(derive(content_key, "payload"), blob.ciphertext, aad)
    batch = parse_batch(unpad(padded))
    if batch.count != body.count:
        raise Unproven("confidential.count")
    return batch


def _open_wrap(chain: ChainId, blob: BatchBlob, wrap: GroupWrap, epoch_key: bytes) -> bytes:
    key = derive(epoch_key, wrap_purpose(blob.commitment))
    aad = wrap_aad(chain, wrap.group, wrap.epoch, blob.commitment)
    try:
        content_key = aead_open(key, wrap.wrapped, aad)
    except Unproven as err:
        raise Unproven("confidential.wrap", group=wrap.group) from err
    if content_commitment(content_key) != blob.commitment:
        raise Unproven("confidential.commitment", group=wrap.group)
    return content_key


def open_epoch(
    chain: ChainId,
    blob: EpochBlob,
    commitment: bytes,
    member: MemberId,
    key_id: bytes,
    private: MLKEM768X25519PrivateKey,
) -> bytes | None:
    """The epoch key, or None when the blob has no wrap for this member's key.

    Raises: Unproven when the wrap does not open or opens to another key than committed.
    """
    wrap = next((w for w in blob.wraps if (w.member, w.key_id) == (member, key_id)), None)
    if wrap is None:
        return None
    info = hpke_info(chain, blob.group, blob.number, member, key_id)
    try:
        key = HPKE.decrypt(wrap.wrapped, private, info)
    except (InvalidTag, ValueError) as err:
        raise Unproven("confidential.epoch_wrap", group=blob.group, number=blob.number) from err
    if epoch_commitment(chain, blob.group, blob.number, key) != commitment:
        raise Unproven("confidential.epoch_commitment", group=blob.group, number=blob.number)
    return key


def open_previous(chain: ChainId, blob: EpochBlob, epoch_key: bytes) -> bytes | None:
    """The key of the epoch before, or None for the first. Raises: Unproven."""
    if blob.previous is None:
        return None
    aad = previous_aad(chain, blob.group, blob.number)
    return aead_open(derive(epoch_key, "previous"), blob.previous, aad)


def aead_open(key: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """The plaintext under a key that sealed it alone. Raises: Unproven."""
    try:
        return ChaCha20Poly1305(key).decrypt(NONCE, ciphertext, aad)
    except InvalidTag as err:
        raise Unproven("confidential.ciphertext") from err


def check_decrypt_public(raw: bytes) -> None:
    """Whether everybody can seal to this key, by arithmetic alone: ledgers ask it, and two builds
    of a library that disagreed would fork the chain. FIPS 203 section 7.2 for the lattice half;
    one spelling and no low order for the curve half, whose shared secret would be zero.

    Raises: Malformed.
    """
    if len(raw) != DECRYPT_PUBLIC_BYTES:
        raise Malformed("key.size", size=len(raw))
    for at in range(0, _LATTICE_BYTES, 3):
        pair = int.from_bytes(raw[at : at + 3], "little")
        if pair & 0xFFF >= _LATTICE_Q or pair >> 12 >= _LATTICE_Q:
            raise Malformed("key.decrypt_public")
    x = int.from_bytes(raw[1184:], "little")
    if x >= _CURVE_P or x in _LOW_ORDER_X:
        raise Malformed("key.decrypt_public")


def load_decrypt_public(raw: bytes) -> MLKEM768X25519PublicKey:
    """Raises: Malformed."""
    check_decrypt_public(raw)
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:1184]),
            X25519PublicKey.from_public_bytes(raw[1184:]),
        )
    except ValueError as err:
        raise Malformed("key.decrypt_public") from err


def load_decrypt_private(raw: bytes) -> tuple[bytes, MLKEM768X25519PrivateKey]:
    """(key id, key) from a 96-byte seed. Raises: Malformed."""
    if len(raw) != DECRYPT_PRIVATE_BYTES:
        raise Malformed("key.size", size=len(raw))
    kem = MLKEM768PrivateKey.from_seed_bytes(raw[:64])
    dh = X25519PrivateKey.from_private_bytes(raw[64:])
    public = kem.public_key().public_bytes_raw() + dh.public_key().public_bytes_raw()
    return key_id_of(public), MLKEM768X25519PrivateKey(kem, dh)


def decrypt_public_of(raw: bytes) -> bytes:
    """The 1,216 public bytes of a 96-byte private seed."""
    kem = MLKEM768PrivateKey.from_seed_bytes(raw[:64])
    dh = X25519PrivateKey.from_private_bytes(raw[64:])
    return kem.public_key().public_bytes_raw() + dh.public_key().public_bytes_raw()
