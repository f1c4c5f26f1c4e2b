"""What is asked and what is answered: queries, decisions, and the view people and programs get.

Not here: how one leads to the other (decide).
Invariants: a decision names rules, entries, agencies and checkpoint, and holds no fingerprint.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from accord.fingerprint.types import Fingerprint, Fingerprinted, Look, Unhashable
from accord.registry.obligation import Certifier
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    Action,
    Algorithm,
    ClassCode,
    Metric,
    Scope,
    Service,
    Step,
)
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId, ListingRef, MemberId

_VECTOR_BYTES = {Algorithm.PHOTODNA: 144}
_DIGEST_BYTES = {Algorithm.MD5: 16, Algorithm.SHA1: 20, Algorithm.SHA256: 32}
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Query:
    """The facts of one file. `undetermined` says why there are no frames, or not all. `members`
    says which file of an archive each frame is of, where it is one. Raises: Malformed.
    """

    digests: tuple[tuple[Algorithm, bytes], ...] = ()
    frames: tuple[Fingerprint, ...] = ()
    undetermined: str | None = None
    is_exact: bool = True  # Else frames may be `PDQ_DRIFT_MAX` bits off: see `Screen.may_match`.
    vectors: tuple[tuple[Algorithm, bytes], ...] = ()  # Perceptual, beside PDQ: PhotoDNA.
    members: tuple[int, ...] = ()
    vector_members: tuple[int, ...] = ()  # Of `vectors`, as `members` are of `frames`.
    unseen_member: int = 0  # The first one that `undetermined` is about.
    looks: tuple[Look, ...] = ()  # What more there is to ask of each frame, or nothing at all.
    steps: frozenset[Step] = frozenset({Step.FULL})  # That were carried out, whatever they gave.

    def __post_init__(self) -> None:
        for algorithm, digest in self.digests:
            if algorithm not in EXACT_ALGORITHMS or len(digest) != _DIGEST_BYTES[algorithm]:
                raise Malformed("query.digest", algorithm=algorithm.value)
        for algorithm, vector in self.vectors:
            if len(vector) != _VECTOR_BYTES.get(algorithm):
                raise Malformed("query.vector", algorithm=algorithm.value)
        if self.members and len(self.members) != len(self.frames):
            raise Malformed("query.members", got=len(self.members))
        if self.vector_members and len(self.vector_members) != len(self.vectors):
            raise Malformed("query.members", got=len(self.vector_members))
        if self.looks and len(self.looks) != len(self.frames):
            raise Malformed("query.looks", got=len(self.looks))

    def __repr__(self) -> str:
        return f"Query({len(self.digests)} digests, {len(self.frames)} frames)"


def query_of(
    found: Fingerprinted | Unhashable, steps: frozenset[Step] = frozenset({Step.FULL})
) -> Query:
    """What a file's fingerprinting yielded, asked as it is. `steps` were carried out."""
    digests: tuple[tuple[Algorithm, bytes], ...] = ()
    if found.digests is not None:
        digests = (
            (Algorithm.MD5, found.digests.md5),
            (Algorithm.SHA1, found.digests.sha1),
            (Algorithm.SHA256, found.digests.sha256),
        )
    if isinstance(found, Unhashable):
        return Query(digests, undetermined=found.code.value)
    frames = tuple(frame.fingerprint for frame in found.pdq)
    members = tuple(frame.member for frame in found.pdq)
    vectors = dict.fromkeys(
        (frame.member, frame.photodna) for frame in found.pdq if frame.photodna is not None
    )
    return Query(
        digests,
        frames,
        None if found.unseen is None else found.unseen.code.value,
        is_exact=found.is_exact,
        vectors=tuple((Algorithm.PHOTODNA, vector) for _, vector in vectors),
        members=members if any(members) else (),
        vector_members=tuple(member for member, _ in vectors) if any(members) else (),
        unseen_member=0 if found.unseen is None else found.unseen.member,
        looks=tuple(frame.look for frame in found.pdq),
        steps=steps,
    )


@dataclass(frozen=True, slots=True)
class Context:
    """Where and how a file turned up. No jurisdictions means all the platform is admitted in."""

    jurisdictions: tuple[JurisdictionId, ...] = ()
    scope: Scope = Scope.UPLOADS
    service: Service = Service.HOSTING
    stale: bool = False  # The newest quorum is older than `limits.STALE_MS_MAX`.


@dataclass(frozen=True, slots=True)
class Place:
    """The checkpoint an answer is good for."""

    size: int
    root: bytes


class Answer(StrEnum):
    MATCH = "match"
    NO_MATCH = "no-match"
    UNDETERMINED = "undetermined"


class Cap(StrEnum):
    """Why a reason's action is milder than its clause says."""

    NEAR_ALONE = "near-alone"  # One perceptual algorithm alone, and the rule wants two.
    DISPUTED = "disputed"


class Applied(StrEnum):
    """What became of a jurisdiction's rule set in a decision."""

    APPLIED = "applied"
    NO_RULES = "no-rules"
    NOT_VALID = "not-valid"
    OTHER_SCOPE = "other-scope"
    OTHER_SERVICE = "other-service"
    PROHIBITED = "prohibited"
    YIELDED = "yielded"  # Merely permitted, while another jurisdiction of the file prohibits.


class Verdict(NamedTuple):
    """One jurisdiction's answer; None where its rules did not apply.

    Like reasons a tuple with names: a decision makes many, and a frozen dataclass takes five times
    as long to make.
    """

    jurisdiction: JurisdictionId
    applied: Applied
    rule_version: int | None
    rule_entry: int | None
    answer: Answer | None
    action: Action


class Reason(NamedTuple):
    """One listing that one clause matched."""

    jurisdiction: JurisdictionId
    rule_title: str
    rule_version: int
    rule_entry: int
    clause: str
    ref: ListingRef
    publisher: MemberId
    class_code: ClassCode
    algorithm: Algorithm
    distance: int  # In the unit of `metric`; L2 rounded up.
    metric: Metric
    query_quality: int | None  # None for digests.
    listing_quality: int | None
    action: Action
    cap: Cap | None
    disputed: bool
    certifiers: tuple[Certifier, ...]


@dataclass(frozen=True, slots=True)
class ReportDuty:
    jurisdiction: JurisdictionId
    to: str
    within_hours: int


@dataclass(frozen=True, slots=True)
class Duties:
    """The union of what the matching jurisdictions ask. A deadline counts from the decision."""

    reports: tuple[ReportDuty, ...] = ()
    report_within_hours: int | None = None  # The earliest of them.
    preserve_days: int = 0
    user_notices: tuple[tuple[JurisdictionId, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Screening this file is required here and prohibited there: for a person to resolve."""

    required_in: tuple[JurisdictionId, ...]
    prohibited_in: tuple[JurisdictionId, ...]


class LocalStep(StrEnum):
    """What a platform's own layer made of a match. See `accord.matching.local`."""

    ALLOWED = "allowed"  # A file that it knows to be benign.
    NOT_ENABLED = "not-enabled"  # Its list is enabled for other files only, so far.
    NARROWED = "narrowed"  # Beyond its own threshold.
    NOISY = "noisy"  # Its listing matches far too much, and is held for review.
    DRY_RUN = "dry-run"


@dataclass(frozen=True, slots=True)
class LocalNote:
    """One difference that the layer makes, or would make: `is_refused` where a rule requires."""

    step: LocalStep
    list_name: str
    listing: str
    is_refused: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """`listings` were matched in all; `truncated` says that not every reason is named."""

    answer: Answer
    action: Action
    code: str | None  # Why it could not be looked at, in part or whole.
    reasons: tuple[Reason, ...]
    verdicts: tuple[Verdict, ...]
    duties: Duties
    conflict: Conflict | None
    listings: int
    truncated: bool
    stale: bool
    checkpoint: Place
    local: tuple[LocalNote, ...] = ()  # What the platform itself changed; else empty.
    members: tuple[int, ...] = ()  # Of an archive: those that led to the answer.


def decision_view(decision: Decision) -> Json:
    """A decision for JSON: names and numbers, no fingerprint."""
    duties, conflict = decision.duties, decision.conflict
    return {
        "answer": decision.answer.value,
        "action": decision.action.value,
        "code": decision.code,
        "reasons": [_reason_view(reason) for reason in decision.reasons],
        "jurisdictions": [
            {
                "jurisdiction": verdict.jurisdiction,
                "applied": verdict.applied.value,
                "rule_version": verdict.rule_version,
                "rule_entry": verdict.rule_entry,
                "answer": None if verdict.answer is None else verdict.answer.value,
                "action": verdict.action.value,
            }
            for verdict in decision.verdicts
        ],
        "duties": {
            "reports": [
                {"jurisdiction": r.jurisdiction, "to": r.to, "within_hours": r.within_hours}
                for r in duties.reports
            ],
            "report_within_hours": duties.report_within_hours,
            "preserve_days": duties.preserve_days,
            "user_notices": [
                {"jurisdiction": name, "text": text} for name, text in duties.user_notices
            ],
        },
        "conflict": conflict
        and {
            "required_in": list(conflict.required_in),
            "prohibited_in": list(conflict.prohibited_in),
        },
        "listings": decision.listings,
        "truncated": decision.truncated,
        "stale": decision.stale,
        "members": list(decision.members),
        "checkpoint": {"size": decision.checkpoint.size, "root": decision.checkpoint.root.hex()},
    }


def _reason_view(reason: Reason) -> Json:
    return {
        "jurisdiction": reason.jurisdiction,
        "rule_title": reason.rule_title,
        "rule_version": reason.rule_version,
        "rule_entry": reason.rule_entry,
        "clause": reason.clause,
        "listing": str(reason.ref),
        "publisher": reason.publisher,
        "class": str(reason.class_code),
        "algorithm": reason.algorithm.value,
        "distance": reason.distance,
        "metric": reason.metric.value,
        "query_quality": reason.query_quality,
        "listing_quality": reason.listing_quality,
        "action": reason.action.value,
        "cap": None if reason.cap is None else reason.cap.value,
        "disputed": reason.disputed,
        "certifiers": [
            {"agency": who.agency, "entry": who.entry, "how": who.how, "level": who.level}
            for who in reason.certifiers
        ],
    }
