"""What platforms found of listings that matched, sealed to the agencies.

Columns of words, a word for each (listing, algorithm, exact or near, reason); the blob that carries
them; its opening. Platforms belong to no group that only agencies are in, so the content key is
wrapped to each agency's decryptor key itself.
Not here: whether a word counts (registry.feedback), sealing (scan.cases.sealed).
Invariants: equal words give equal bytes; a reason says by itself whether it is for or against a
listing, so that the two cannot disagree; a blob opens for its platform and chain only.
Source: docs/spec/statements.md and docs/spec/confidentiality.md, section Feedback.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from accord.statements.bodies import Feedback, Member, Recipient, Sha256
from accord.statements.confidential import (
    HPKE,
    CipherSuite,
    MemberWrap,
    aead_open,
    content_commitment,
    derive,
    padded_size,
    unpad,
)
from accord.wire import cbor, record
from accord.wire.digests import labelled_sha256, sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import REF_BYTES, ChainId, KeyId, ListingRef, MemberId, parse_ref
from accord.wire.limits import (
    BATCH_LISTINGS_MAX,
    BLOB_BYTES_MAX,
    FEEDBACK_ALGORITHMS_MAX,
    FEEDBACK_WORDS_MAX,
    WRAPS_MAX,
)
from accord.wire.record import Count, Size, Text, Uint

ROW_BYTES: Final = REF_BYTES + 3  # A word in the columns below.
HEAD_BYTES: Final = 1_024  # More than their names and the longest table of algorithms take.
TAG_BYTES: Final = 16
PURPOSE: Final = "feedback"  # What the content key is used for.


class Reason(StrEnum):
    """What reviewers found. Append only: its place in this list is its number on the wire."""

    CONFIRMED = "confirmed"
    NOT_CSAM = "not-csam"  # The file that matched, and so the listing: an exact match tells.
    OTHER_CATEGORY = "other-category"
    WRONG_CLASS = "wrong-class"
    FALSE_NEAR = "false-near"  # A near match: the file shows something else than what is listed.
    NOISY = "noisy"  # It matched far more files in a day than a listing can: held for review.

    @property
    def is_affirmative(self) -> bool:
        return self is Reason.CONFIRMED

    @property
    def is_false_positive(self) -> bool:
        """Whether a person looked and the file was nothing that a list is for."""
        return self in (Reason.NOT_CSAM, Reason.FALSE_NEAR)


REASONS: Final = tuple(Reason)
Name = Annotated[str, Text(0, 32)]


@dataclass(frozen=True, slots=True, order=True)
class Word:
    """One thing a platform says of one listing. `algorithm` is what matched; empty where it is
    about the listing whatever matched."""

    ref: ListingRef
    algorithm: str
    is_near: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class Columns:
    """Words as they travel. Shape: `refs` 12 bytes each, as `ListingRef.encode`; the others one
    byte each: a place in `algorithms`, 0 exact or 1 near, a place in `REASONS`.
    """

    version: Annotated[int, Uint(1, 1)]
    count: Annotated[int, Uint(1, FEEDBACK_WORDS_MAX)]
    refs: Annotated[bytes, Size(REF_BYTES, REF_BYTES * FEEDBACK_WORDS_MAX)]
    algorithms: Annotated[tuple[Name, ...], Count(1, FEEDBACK_ALGORITHMS_MAX, ordered=True)]
    algorithm_of: Annotated[bytes, Size(1, FEEDBACK_WORDS_MAX)]
    near_of: Annotated[bytes, Size(1, FEEDBACK_WORDS_MAX)]
    reason_of: Annotated[bytes, Size(1, FEEDBACK_WORDS_MAX)]


@dataclass(frozen=True, slots=True)
class FeedbackBlob:
    """A feedback statement's blob: the header that validators check, and ciphertext."""

    version: Annotated[int, Uint(1, 1)]
    platform: Member
    suite: CipherSuite
    commitment: Sha256
    ciphertext: Annotated[bytes, Size(TAG_BYTES, BLOB_BYTES_MAX)]
    wraps: Annotated[tuple[MemberWrap, ...], Count(1, WRAPS_MAX, ordered=True)]


def encode_words(words: Iterable[Word]) -> bytes:
    """The columns of distinct words, in order. Raises: Malformed, for none or too many."""
    rows = sorted(set(words), key=_order)
    if not 0 < len(rows) <= FEEDBACK_WORDS_MAX:
        raise Malformed("feedback.count", got=len(rows), limit=FEEDBACK_WORDS_MAX)
    names = tuple(sorted({row.algorithm for row in rows}))
    columns = Columns(
        version=1,
        count=len(rows),
        refs=b"".join(row.ref.encode() for row in rows),
        algorithms=names,
        algorithm_of=bytes(names.index(row.algorithm) for row in rows),
        near_of=bytes(row.is_near for row in rows),
        reason_of=bytes(REASONS.index(row.reason) for row in rows),
    )
    return record.encode_record(columns)


def parse_words(raw: bytes) -> tuple[Word, ...]:
    """Raises: Malformed, unless `encode_words` would give these bytes."""
    columns = record.parse_record(Columns, raw)
    of = (columns.algorithm_of, columns.near_of, columns.reason_of)
    sizes = {len(columns.refs) // REF_BYTES, *map(len, of)}
    if sizes != {columns.count} or len(columns.refs) % REF_BYTES:
        raise Malformed("feedback.columns", count=columns.count)
    limits = (len(columns.algorithms), 2, len(REASONS))
    if any(max(column) >= limit for column, limit in zip(of, limits, strict=True)):
        raise Malformed("feedback.number")
    if set(columns.algorithm_of) != set(range(len(columns.algorithms))):
        raise Malformed("feedback.algorithms")
    words = tuple(
        Word(
            parse_ref(columns.refs[REF_BYTES * at : REF_BYTES * (at + 1)]),
            columns.algorithms[columns.algorithm_of[at]],
            bool(columns.near_of[at]),
            REASONS[columns.reason_of[at]],
        )
        for at in range(columns.count)
    )
    if any(word.ref.ordinal >= BATCH_LISTINGS_MAX for word in words):
        raise Malformed("feedback.ordinal")
    if any(_order(left) >= _order(right) for left, right in pairwise(words)):
        raise Malformed("feedback.order")
    return words


def _order(word: Word) -> tuple[bytes, str, bool, int]:
    return (word.ref.encode(), word.algorithm, word.is_near, REASONS.index(word.reason))


def parse_feedback_blob(raw: bytes) -> FeedbackBlob:
    """Raises: Malformed."""
    return record.parse_record(FeedbackBlob, raw)


def recipients_sha256(recipients: Iterable[Recipient]) -> bytes:
    """Whom a blob is wrapped to, as its statement names them: a list would be most of a leaf."""
    rows = cbor.encode([[item.member, item.key_id] for item in recipients])
    return labelled_sha256("feedback-recipients", rows)


def wrapped_to(blob: FeedbackBlob) -> bytes:
    """`recipients_sha256` of those that a blob is wrapped to."""
    return recipients_sha256(Recipient(wrap.member, wrap.key_id) for wrap in blob.wraps)


def fits(blob: FeedbackBlob, count: int) -> bool:
    """Whether the ciphertext is no larger than so many words can be: a quota of words is then a
    quota of bytes, though nobody who stores them can open them."""
    return len(blob.ciphertext) <= padded_size(HEAD_BYTES + ROW_BYTES * count) + TAG_BYTES


def payload_aad(chain: ChainId, platform: MemberId, suite: CipherSuite, commitment: bytes) -> bytes:
    return cbor.encode(["accord/v1/feedback", chain, platform, suite.value, commitment])


def wrap_info(
    chain: ChainId, platform: MemberId, commitment: bytes, member: MemberId, key_id: bytes
) -> bytes:
    """What binds a wrap to its place, for HPKE."""
    return cbor.encode(["accord/v1/feedback-wrap", chain, platform, commitment, member, key_id])


def open_feedback(
    chain: ChainId,
    body: Feedback,
    raw: bytes,
    member: MemberId,
    keys: Mapping[KeyId, MLKEM768X25519PrivateKey],
) -> tuple[Word, ...] | None:
    """The words, or None where none of the member's `keys` was told.

    Raises: Unproven, for another blob than the statement names, wraps of which none opens to the
    key that was committed to, and what does not decrypt; Malformed, for what does not parse.
    """
    if sha256(raw) != body.blob_sha256:
        raise Unproven("confidential.blob_digest")
    blob = parse_feedback_blob(raw)
    if blob.platform != body.header.member:
        raise Unproven("feedback.platform")
    ours = [
        (wrap, keys[KeyId(wrap.key_id)])
        for wrap in blob.wraps
        if wrap.member == member and wrap.key_id in keys
    ]
    if not ours:
        return None
    content_key = _open_first(chain, blob, ours)
    aad = payload_aad(chain, blob.platform, blob.suite, blob.commitment)
    words = parse_words(unpad(aead_open(derive(content_key, PURPOSE), blob.ciphertext, aad)))
    if len(words) != body.count:
        raise Unproven("confidential.count")
    return words


def _open_first(
    chain: ChainId,
    blob: FeedbackBlob,
    ours: Iterable[tuple[MemberWrap, MLKEM768X25519PrivateKey]],
) -> bytes:
    """The content key by the first wrap that holds it. Raises: Unproven, the first one's fault."""
    faults: list[Unproven] = []
    for wrap, private in ours:
        try:
            return _open_wrap(chain, blob, wrap, private)
        except Unproven as err:
            faults.append(err)
    raise faults[0]


def _open_wrap(
    chain: ChainId, blob: FeedbackBlob, wrap: MemberWrap, private: MLKEM768X25519PrivateKey
) -> bytes:
    info = wrap_info(chain, blob.platform, blob.commitment, wrap.member, wrap.key_id)
    try:
        content_key = HPKE.decrypt(wrap.wrapped, private, info)
    except (InvalidTag, ValueError) as err:
        raise Unproven("feedback.wrap") from err
    if content_commitment(content_key) != blob.commitment:
        raise Unproven("feedback.commitment")
    return content_key
