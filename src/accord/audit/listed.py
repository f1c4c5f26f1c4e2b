"""Whether a value is listed, as one agency says it, signed, at one size of the log.

The answer holds no value: whoever asked keeps the salt of the commitments. It names no listing
either. Two agencies that fold the same log give the same answer to the byte and differ in their
signatures alone, so each can be held against all others.
Not here: drawing salts, signing and folding (agency.answering).
Invariants: `parse_signed_answer` takes one form only, so that any changed bit is refused.
Source: docs/spec/non-membership.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from accord.ledger.state import KeyRow
from accord.registry import Snapshot
from accord.registry.reach import Listed, check_reach, rows_within, standing_of
from accord.statements.batch import WIDTHS
from accord.statements.bodies import Chain, Groups, Index, KeyIdBytes, Member, Millis, Role, Sha256
from accord.statements.rules import THRESHOLD_MAX, Algorithm, Metric
from accord.wire import cbor
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import AGENCIES, ChainId, ListingRef, MemberId, TimeMs
from accord.wire.keys import VerifyKey
from accord.wire.limits import ANSWER_ITEMS_MAX
from accord.wire.readable import dump_json, load_json
from accord.wire.record import Count, Size, Uint, dump_record, encode_record, load_record

ANSWER_VERSION: Final = 1
FORMAT: Final = "accord/v1/list-answer"  # Also what keeps its signatures apart from all others.
SALT_BYTES: Final = 32
ANSWERING_ROLES: Final = frozenset({Role.ANALYST, Role.AUDITOR})


@dataclass(frozen=True, slots=True)
class AskedValue:
    """A value that is asked about. Without a metric it must be equal; else units of `metric`."""

    scheme: Algorithm
    value: bytes
    metric: Metric | None = None
    distance: int = 0

    def __post_init__(self) -> None:
        width = WIDTHS.get(self.scheme.value)
        if width is None:  # What a rule matches by, and no single value: of squares, of frames.
            mend = "ask about the pdq of each part, or the file itself"
            raise Malformed("registry.value", scheme=self.scheme.value, mend=mend)
        if len(self.value) != width:
            raise Malformed("registry.value", scheme=self.scheme.value, size=len(self.value))
        check_reach(self.scheme, self.metric, self.distance)

    def __repr__(self) -> str:
        return f"AskedValue({self.scheme}, {self.distance})"


@dataclass(frozen=True, slots=True)
class AnsweredValue:
    """What is said of one value, which only the salt tells."""

    commitment: Sha256
    scheme: Algorithm
    metric: Metric | None
    distance: Annotated[int, Uint(0, THRESHOLD_MAX)]
    listed: Listed

    def __post_init__(self) -> None:
        check_reach(self.scheme, self.metric, self.distance)


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """The same bytes at every agency. `time_ms` is the block time of entry `size - 1`."""

    version: Annotated[int, Uint(ANSWER_VERSION, ANSWER_VERSION)]
    chain: Chain
    size: Annotated[int, Uint(1, 2**53)]
    root: Sha256
    time_ms: Millis
    fold_version: Annotated[int, Uint(1, 2**31)]
    groups: Groups
    values: Annotated[tuple[AnsweredValue, ...], Count(1, ANSWER_ITEMS_MAX)]

    @property
    def is_clean(self) -> bool:
        """Whether none of the values is listed, was, or is about to be."""
        return all(item.listed is Listed.NO for item in self.values)


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """An answer and who stands for it."""

    KIND: ClassVar[str] = FORMAT
    agency: Member
    answer: ListAnswer
    key_id: KeyIdBytes
    signature: Annotated[bytes, Size(64, 64)]

    def encode(self) -> bytes:
        """Shape: as `wire.readable`, with the further field `format`."""
        fields = dump_record(self)
        if not isinstance(fields, dict):
            raise Malformed("answer.form")
        return dump_json({"format": FORMAT, **fields})

    def verify(self, key: KeyRow | None, *, is_admitted: bool) -> ListAnswer:
        """The answer, seen to be the agency's own. `key` is the ledger's row of `key_id`;
        `is_admitted`: whether the agency is in good standing there.

        Raises: Unproven with `answer.agency` (suspended, removed, or none), `answer.key` (not a
        key of that agency that may say this),
        `answer.key_revoked` (its thief dates it as he likes: ask the agency to sign again),
        `key.signature`.
        """
        if not is_admitted:
            raise Unproven("answer.agency", agency=self.agency)
        if key is None or key.member != self.agency or key.role not in ANSWERING_ROLES:
            raise Unproven("answer.key", agency=self.agency, key=self.key_id.hex()[:8])
        if key.revoked_ms is not None:
            raise Unproven("answer.key_revoked", agency=self.agency, key=self.key_id.hex()[:8])
        VerifyKey(key.public).verify(signed_bytes(self.agency, self.answer), self.signature)
        return self.answer


@dataclass(frozen=True, slots=True)
class Place:
    """A size of a log, and what its holder knows of it."""

    chain: ChainId
    size: Index
    root: bytes
    time_ms: TimeMs


def signed_bytes(agency: MemberId, answer: ListAnswer) -> bytes:
    """What an agency's signature covers."""
    return cbor.encode([FORMAT, agency, encode_record(answer)])


def parse_signed_answer(raw: bytes) -> SignedAnswer:
    """Raises: Malformed, for anything but the one form."""
    value = load_json(raw, "answer.form")
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise Malformed("answer.form", wanted=FORMAT)
    signed = load_record(SignedAnswer, value)
    if signed.encode() != raw:
        raise Malformed("answer.form", wanted="the file as it was written")
    return signed


def commitment_to(salt: bytes, asked: AskedValue) -> bytes:
    """What stands for a value. Raises: Malformed, for a salt of another length."""
    if len(salt) != SALT_BYTES:
        raise Malformed("answer.salt", wanted=f"{SALT_BYTES} bytes")
    return labelled_sha256("list-asked", salt, asked.scheme.value.encode(), asked.value)


def answer_of(
    snapshot: Snapshot, place: Place, fold_version: int, salt: bytes, asked: Sequence[AskedValue]
) -> tuple[ListAnswer, tuple[tuple[ListingRef, ...], ...]]:
    """The answer, and, for agencies alone, the listings behind each value of it.

    `snapshot` is an agency's fold of the log's first `place.size` entries.
    Raises: Unavailable with `answer.holes`, where a batch did not open for want of a key: what is
    in it nobody can deny.
    """
    if snapshot.unopened or snapshot.unchecked:
        mend = "let a keeper wrap the group key, then follow again"
        raise Unavailable("answer.holes", unopened=snapshot.unopened, mend=mend)
    values: list[AnsweredValue] = []
    refs: list[tuple[ListingRef, ...]] = []
    for one in asked:
        rows = rows_within(snapshot, one.scheme, one.value, one.metric, one.distance)
        commitment = commitment_to(salt, one)
        listed = standing_of(snapshot, rows)
        values.append(AnsweredValue(commitment, one.scheme, one.metric, one.distance, listed))
        refs.append(tuple(snapshot.ref_of(int(row)) for row in rows))
    answer = ListAnswer(
        version=ANSWER_VERSION,
        chain=place.chain,
        size=place.size,
        root=place.root,
        time_ms=place.time_ms,
        fold_version=fold_version,
        groups=(AGENCIES,),
        values=tuple(values),
    )
    return answer, tuple(refs)


def check_asked(answer: ListAnswer, salt: bytes, asked: Sequence[AskedValue]) -> None:
    """Hold an answer against what was asked. Raises: Unproven with `answer.other_question`."""
    wanted = [(commitment_to(salt, one), one.metric, one.distance) for one in asked]
    got = [(item.commitment, item.metric, item.distance) for item in answer.values]
    if wanted != got:
        raise Unproven("answer.other_question")


def check_root(answer: ListAnswer, size: int, root_at: Callable[[int], bytes]) -> None:
    """Hold an answer against a log one has verified, of `size` entries.

    Raises: Unavailable with `answer.ahead`, where the log here ends before; Unproven with
    `answer.other_log`.
    """
    if answer.size > size:
        raise Unavailable("answer.ahead", size=answer.size, have=size, mend="accord follow --once")
    if root_at(answer.size) != answer.root:
        raise Unproven("answer.other_log", size=answer.size)


def check_place(answer: ListAnswer, place: Place, fold_version: int) -> None:
    """Hold all else that an answer says of the log against that log, as `place` tells it.

    `fold_version`: the one in force. Raises: Unproven with `answer.other_facts`.
    """
    pairs = {
        "chain": (answer.chain, place.chain),
        "time_ms": (answer.time_ms, place.time_ms),
        "fold_version": (answer.fold_version, fold_version),
        "groups": (answer.groups, (AGENCIES,)),
    }
    wrong = [name for name, (said, true) in pairs.items() if said != true]
    if wrong:
        raise Unproven("answer.other_facts", size=place.size, fields=", ".join(wrong))


def agreed(answers: Sequence[ListAnswer]) -> ListAnswer:
    """The one answer that several agencies gave. Raises: Unproven with `answer.disagree`."""
    first = answers[0]
    if any(answer != first for answer in answers):
        raise Unproven("answer.disagree", mend="compare them: sizes, questions, then the log")
    return first
