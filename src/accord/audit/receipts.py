"""What a platform's receipts are: the leaf, its commitment, and the signed scan receipt.

A receipt says when (to the minute), under which list and rules, and what was decided; of the file
it holds only a salted commitment, so that without the salt nobody can tell which file it was. The
scan receipt is the platform's signed promise that a leaf stands at an index of its log.
Not here: storing and signing (scan), judging (verdict).
Source: docs/spec/receipts.md.
"""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256 as sha256_hash
from typing import Annotated, Final

from accord.matching.decision import Answer
from accord.statements.bodies import Chain, Index, Jurisdiction, Member, Millis, Sha256
from accord.statements.rules import Action, Scope, Service
from accord.tlog.merkle import leaf_hash
from accord.tlog.note import Algorithm, NoteKey
from accord.wire import cbor, record
from accord.wire.digests import labelled_sha256
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.keys import VerifyKey
from accord.wire.limits import JURISDICTIONS_MAX, REASONS_MAX
from accord.wire.record import Count, Size, Text, Uint

RECEIPT_VERSION: Final = 1
LOOKUP_VERSION: Final = 2
MINUTE_MS: Final = 60_000
SALT_BYTES: Final = 32
NO_UPLOAD: Final = b""  # The MAC of an upload that has no id.


class Subject(StrEnum):
    """What of the file the commitment is over."""

    NOTHING = "nothing"  # No fingerprint was to be had: the file could not be read.
    PDQ = "pdq"
    PHOTODNA = "photodna"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True)
class ReceiptMeta:
    """All that a receipt says in the open. `bucket_ms` is the start of the minute."""

    bucket_ms: Millis
    scope: Scope
    service: Service
    jurisdictions: Annotated[tuple[Jurisdiction, ...], Count(0, JURISDICTIONS_MAX, ordered=True)]
    rules_sha256: Sha256
    active_root: Sha256
    size: Index  # Of the list that answered.
    build: Annotated[str, Text(1, 64)]
    decision: Answer
    action: Action
    code: Annotated[str, Text(1, 64)] | None  # Why it could not be looked at, in part or whole.
    entries: Annotated[tuple[Index, ...], Count(0, REASONS_MAX, ordered=True)]  # Matched batches.


@dataclass(frozen=True, slots=True)
class Receipt:
    """A leaf of the platform's log."""

    version: Annotated[int, Uint(RECEIPT_VERSION, RECEIPT_VERSION)]
    subject: Subject
    meta: ReceiptMeta
    commitment: Sha256

    def encode(self) -> bytes:
        return record.encode_record(self)


@dataclass(frozen=True, slots=True)
class LookupReceipt:
    """A leaf for somebody who asked and does not hold the list: who it was stands in the open."""

    version: Annotated[int, Uint(LOOKUP_VERSION, LOOKUP_VERSION)]
    subject: Subject
    meta: ReceiptMeta
    commitment: Sha256
    client: Member

    def encode(self) -> bytes:
        return record.encode_record(self)


def parse_receipt(leaf: bytes) -> Receipt | LookupReceipt:
    """Raises: Malformed."""
    value = cbor.parse(leaf)
    if isinstance(value, dict) and value.get("version") == LOOKUP_VERSION:
        return record.load_record(LookupReceipt, value)
    return record.load_record(Receipt, value)


def receipt_leaf(
    subject: Subject, meta: ReceiptMeta, commitment: bytes, client: MemberId | None
) -> bytes:
    """The leaf of a screening of the platform's own, or of a client's look-up."""
    if client is None:
        return Receipt(RECEIPT_VERSION, subject, meta, commitment).encode()
    return LookupReceipt(LOOKUP_VERSION, subject, meta, commitment, client).encode()


def bucket_of(time_ms: TimeMs) -> TimeMs:
    """The minute a time falls in: finer would help to tell uploaders apart."""
    return TimeMs(time_ms - time_ms % MINUTE_MS)


def upload_mac(key: bytes, upload: str | None) -> bytes:
    """What stands for an upload id, which is never kept."""
    if upload is None:
        return NO_UPLOAD
    return hmac.new(key, b"accord/v1/upload\x00" + upload.encode(), sha256_hash).digest()


def commit_to(salt: bytes, subject: bytes, mac: bytes) -> bytes:
    """The commitment: opened by showing `salt`, the fingerprint or digest, and the MAC."""
    return labelled_sha256("receipt", salt, subject, mac)


def receipts_origin(chain: ChainId, platform: MemberId) -> str:
    """The name of a platform's log and of the key that signs its checkpoints."""
    return f"{chain}/{platform}/receipts"


def receipts_key(chain: ChainId, platform: MemberId, public: bytes) -> NoteKey:
    """A scanner key as the log's checkpoints name it. Raises: Malformed."""
    return NoteKey(receipts_origin(chain, platform), Algorithm.ED25519, VerifyKey(public))


@dataclass(frozen=True, slots=True)
class ScanReceipt:
    """The signed promise: at `time_ms` this leaf hash was put at `index` of the platform's log."""

    chain: Chain
    platform: Member
    index: Index
    leaf: Sha256
    time_ms: Millis
    key_id: Annotated[bytes, Size(16, 16)]
    signature: Annotated[bytes, Size(64, 64)]

    def verify(self, key: VerifyKey) -> None:
        """Raises: Unproven."""
        key.verify(
            scan_receipt_bytes(self.chain, self.platform, self.index, self.leaf, self.time_ms),
            self.signature,
        )

    def is_for(self, leaf: bytes) -> bool:
        return leaf_hash(leaf) == self.leaf


def scan_receipt_bytes(
    chain: ChainId, platform: MemberId, index: int, leaf: bytes, time_ms: TimeMs
) -> bytes:
    """What a scan receipt's signature covers."""
    return cbor.encode(["accord/v1/scr", chain, platform, index, leaf, time_ms])


def encode_scan_receipt(receipt: ScanReceipt) -> bytes:
    return record.encode_record(receipt)


def parse_scan_receipt(raw: bytes) -> ScanReceipt:
    """Raises: Malformed."""
    return record.parse_record(ScanReceipt, raw)
