"""Rule sets: what platforms must, may or must not screen in a jurisdiction, and what follows.

A rule set is a signed, versioned ledger entry. People write it as YAML (`agency.rulefile`); here
is the record that is signed, and its digest, which platforms attest.
Source: docs/spec/rules.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Final

from accord.wire import record
from accord.wire.digests import labelled_sha256
from accord.wire.ids import NAME_RE, GroupId
from accord.wire.limits import GROUPS_MAX, PATCH_BITS_MAX, PATCH_VOTES, PATCH_VOTES_MIN
from accord.wire.record import Compact, Count, Text, Uint

Days = Annotated[int, Uint(0, 36_500)]
Minutes = Annotated[int, Uint(0, 5_256_000)]
Hours = Annotated[int, Uint(0, 876_000)]
Name = Annotated[str, Text(pattern=NAME_RE)]
Group = Annotated[GroupId, Text(pattern=NAME_RE)]


class Modality(StrEnum):
    REQUIRED = "required"
    PERMITTED = "permitted"
    PROHIBITED = "prohibited"


class Scope(StrEnum):
    STORED = "stored"
    UPLOADS = "uploads"


class Service(StrEnum):
    HOSTING = "hosting"
    MESSAGING = "messaging"
    SEARCH = "search"
    SOCIAL = "social"


class Action(StrEnum):
    """What the platform does. `severity` orders them; several rules combine to the strictest."""

    ALLOW = "allow"
    TAG = "tag"
    REVIEW = "review"
    QUARANTINE = "quarantine"
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return _SEVERITY[self]


_SEVERITY: Final = {action: place for place, action in enumerate(Action)}


class Algorithm(StrEnum):
    """What a rule matches by. Another one is another value here and a row in `METRICS`."""

    MD5 = "md5"
    PATCHES = "patches"  # Squares of a picture, by PDQ: so many must meet.
    PDQ = "pdq"
    PHOTODNA = "photodna"
    SHA1 = "sha1"
    SHA256 = "sha256"
    VPDQ = "vpdq"  # Frames of a film, by PDQ: such a share of them must meet.


class Metric(StrEnum):
    """How far two fingerprints are apart, and the unit that a threshold is in."""

    HAMMING = "hamming"  # Bits that differ.
    L1 = "l1"  # Sum of absolute differences.
    L2 = "l2"  # Euclidean distance; a distance found is kept squared, a threshold is not.


class Step(StrEnum):
    """What of a file is looked up."""

    FRAME = "frame"  # The picture without its borders or frame.
    FULL = "full"  # The whole picture, as it is, mirrored and turned by right angles.
    PATCHES = "patches"  # Parts of it.


EXACT_ALGORITHMS: Final = frozenset({Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256})
# The metrics of each perceptual algorithm, the usual one first, with the widest threshold that a
# record holds: 64 of 256 bits; 144 values that differ by 255 each, by sum and by Euclid.
METRICS: Final[Mapping[Algorithm, Mapping[Metric, int]]] = {
    Algorithm.PATCHES: {Metric.HAMMING: PATCH_BITS_MAX},
    Algorithm.PDQ: {Metric.HAMMING: 64},
    Algorithm.PHOTODNA: {Metric.L2: 3_060, Metric.L1: 36_720},
    Algorithm.VPDQ: {Metric.HAMMING: 64},
}
# By the same fingerprint, so one of them is no second opinion on another.
PDQ_KIN: Final = frozenset({Algorithm.PATCHES, Algorithm.PDQ, Algorithm.VPDQ})
QUALITY_ALGORITHMS: Final = frozenset({Algorithm.PDQ})  # The others measure no quality.
THRESHOLD_MAX: Final = 36_720


class ReviewLevel(IntEnum):
    """How an endorsing agency looked: 0 fingerprints agree, 1 one person looked, 2 two did."""

    DIGEST = 0
    ONE_PERSON = 1
    TWO_PERSONS = 2


@dataclass(frozen=True, slots=True, order=True)
class ClassCode(Compact):
    """A class as the agency's own scheme says it; never collapsed into another scheme.

    Such as ("ncmec", "", "A1"), ("uk", "", "A"), ("interpol", "", "baseline"), ("test", "", "T1").
    """

    scheme: Name
    profile: Annotated[str, Text(0, 32)]
    value: Annotated[str, Text(1, 32)]

    def __str__(self) -> str:
        return "/".join(part for part in (self.scheme, self.profile, self.value) if part)


@dataclass(frozen=True, slots=True)
class Certification:
    """How many agencies, from how many sovereign jurisdictions, at which review level."""

    agencies: Annotated[int, Uint(1, 64)]
    sovereigns: Annotated[int, Uint(1, 64)]
    review_level: Annotated[int, Uint(0, 2)]


@dataclass(frozen=True, slots=True)
class Exact:
    """A digest match: same bytes."""

    algorithms: Annotated[tuple[Algorithm, ...], Count(1, 8, ordered=True)]
    action: Action


Demand = tuple[int, int, int]  # Votes, per cent of the query's frames, of the listing's.
NO_DEMAND: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Near:
    """A perceptual match within `threshold`, in the unit of `metric`.

    `alone` says that this algorithm suffices for an action above `review`. Without it such a
    match is sent to review, since unrelated template-like pictures can collide, unless one of
    `confirmed_by` agrees on the same listing: a digest that is equal, or a perceptual algorithm of
    the same clause within its own threshold.
    `votes` are asked of patches: so many of the query's meet as many of the listing's first 24
    within the threshold, or two more as many of all. `query_percent` and `listed_percent` are asked
    of films: so much of the frames of either meets a frame of the other, and one at least. Of other
    algorithms all three are 0.
    """

    algorithm: Algorithm
    threshold: Annotated[int, Uint(0, THRESHOLD_MAX)]
    quality_min: Annotated[int, Uint(0, 100)]
    action: Action
    alone: bool
    metric: Metric = Metric.HAMMING
    confirmed_by: Annotated[tuple[Algorithm, ...], Count(0, 8, ordered=True)] = (
        Algorithm.MD5,
        Algorithm.SHA1,
        Algorithm.SHA256,
    )
    votes: Annotated[int, Uint(0, 24)] = 0
    query_percent: Annotated[int, Uint(0, 100)] = 0
    listed_percent: Annotated[int, Uint(0, 100)] = 0

    @property
    def demand(self) -> Demand:
        """How many must be within the threshold, of algorithms that ask about more than one."""
        return self.votes, self.query_percent, self.listed_percent

    @property
    def limit(self) -> int:
        """What a distance found is held against: squared for L2, which keeps them whole."""
        return limit_of(self.metric, self.threshold)


def limit_of(metric: Metric, threshold: int) -> int:
    """A threshold in the numbers that look-ups give. See `Near.limit`."""
    return threshold * threshold if metric is Metric.L2 else threshold


@dataclass(frozen=True, slots=True, order=True)
class Ceiling(Compact):
    """How wide rules may match by an algorithm. One without a ceiling may not match near at all."""

    algorithm: Algorithm
    metric: Metric
    threshold_max: Annotated[int, Uint(0, THRESHOLD_MAX)]


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule of the set: these classes, at this certification, with these actions.

    `near` names each algorithm once; its order means nothing and is by algorithm.
    """

    name: Name
    classes: Annotated[tuple[ClassCode, ...], Count(1, 64, ordered=True)]
    certification: Certification
    exact: Exact | None
    near: Annotated[tuple[Near, ...], Count(0, 8)]

    def near_by(self, algorithm: Algorithm) -> Near | None:
        return next((near for near in self.near if near.algorithm is algorithm), None)


def is_sound(clause: Clause) -> bool:
    """What the record's fields cannot say one by one. The ledger refuses the rest."""
    algorithms = [near.algorithm for near in clause.near]
    if algorithms != sorted(set(algorithms)) or (clause.exact is None and not algorithms):
        return False
    if clause.exact is not None and not set(clause.exact.algorithms) <= EXACT_ALGORITHMS:
        return False
    return all(_is_sound_near(near) for near in clause.near)


def _is_sound_near(near: Near) -> bool:
    widest = METRICS.get(near.algorithm, {}).get(near.metric)
    has_quality = near.algorithm in QUALITY_ALGORITHMS or near.quality_min == 0
    kin = PDQ_KIN if near.algorithm in PDQ_KIN else {near.algorithm}
    apart = not kin & set(near.confirmed_by)
    within = widest is not None and near.threshold <= widest
    return within and has_quality and apart and _is_sound_demand(near)


def _is_sound_demand(near: Near) -> bool:
    votes, query, listed = near.demand
    if near.algorithm is Algorithm.PATCHES:  # One patch alone says nothing, two little.
        acts = near.action.severity > Action.REVIEW.severity
        enough = PATCH_VOTES_MIN if acts else PATCH_VOTES
        return votes >= enough and query == listed == 0
    if near.algorithm is Algorithm.VPDQ:
        return votes == 0 and query + listed > 0
    return near.demand == NO_DEMAND


@dataclass(frozen=True, slots=True)
class LegalBasis:
    text: Annotated[str, Text(1, 1000)]
    url: Annotated[str, Text(0, 300)]


@dataclass(frozen=True, slots=True)
class Report:
    to: Annotated[str, Text(1, 200)]
    within_hours: Hours


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything that holds in one jurisdiction. `undetermined` answers "could not look".

    `groups` narrows it to listings that were released to one of these groups; empty means all
    that the platform has.
    """

    title: Annotated[str, Text(1, 200)]
    modality: Modality
    legal_basis: LegalBasis
    valid_from_ms: Annotated[int, Uint(0, 2**53)]
    valid_to_ms: Annotated[int, Uint(0, 2**53)] | None
    services: Annotated[tuple[Service, ...], Count(1, 8, ordered=True)]
    scope: Annotated[tuple[Scope, ...], Count(1, 2, ordered=True)]
    clauses: Annotated[tuple[Clause, ...], Count(0, 32)]
    undetermined: Action
    stale: Action  # The least that happens to an upload while the list is stale.
    report: Report | None
    preserve_days: Days
    sync_within_minutes: Minutes  # From a list's block time to its attestation.
    rescan_within_hours: Hours  # From a list's block time until stored files were looked at again.
    user_notice: Annotated[str, Text(0, 2000)]
    # At the latest so long after the last attestation comes the next.
    attest_within_minutes: Minutes = 1_440
    groups: Annotated[tuple[Group, ...], Count(0, GROUPS_MAX, ordered=True)] = ()
    screen: Annotated[tuple[Step, ...], Count(1, 8, ordered=True)] = (Step.FULL,)


def rules_sha256(rule_sets: list[tuple[str, int, RuleSet]]) -> bytes:
    """The digest a platform attests: every (jurisdiction, version, rule set) it runs, sorted."""
    rows = sorted(rule_sets, key=lambda row: row[0])
    parts = [
        b"".join((name.encode(), b"\x00", version.to_bytes(8, "big"), record.encode_record(rules)))
        for name, version, rules in rows
    ]
    return labelled_sha256("rules", *parts)
