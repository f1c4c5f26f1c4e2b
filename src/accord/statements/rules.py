"""Rule sets: what platforms must, may or must not screen in a jurisdiction, and what follows.

A rule set is a signed, versioned ledger entry. People write it as YAML (`agency.rulefile`); here
is the record that is signed, and its digest, which platforms attest.
Source: docs/spec/rules.md.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated

from accord.wire import record
from accord.wire.digests import labelled_sha256
from accord.wire.ids import NAME_RE
from accord.wire.record import Compact, Count, Text, Uint

Days = Annotated[int, Uint(0, 36_500)]
Minutes = Annotated[int, Uint(0, 5_256_000)]
Hours = Annotated[int, Uint(0, 876_000)]
Name = Annotated[str, Text(pattern=NAME_RE)]


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
        return list(Action).index(self)


class Algorithm(StrEnum):
    MD5 = "md5"
    PDQ = "pdq"
    SHA1 = "sha1"
    SHA256 = "sha256"


EXACT_ALGORITHMS = frozenset({Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256})


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


@dataclass(frozen=True, slots=True)
class Near:
    """A perceptual match within `threshold_bits`.

    `alone` says that one algorithm suffices for an action above `review`; without it such a
    match is sent to review, since unrelated template-like pictures can collide.
    """

    algorithm: Algorithm
    threshold_bits: Annotated[int, Uint(0, 64)]
    quality_min: Annotated[int, Uint(0, 100)]
    action: Action
    alone: bool


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule of the set: these classes, at this certification, with these actions."""

    name: Name
    classes: Annotated[tuple[ClassCode, ...], Count(1, 64, ordered=True)]
    certification: Certification
    exact: Exact | None
    near: Near | None


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
    """Everything that holds in one jurisdiction. `undetermined` answers "could not look"."""

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


def rules_sha256(rule_sets: list[tuple[str, int, RuleSet]]) -> bytes:
    """The digest a platform attests: every (jurisdiction, version, rule set) it runs, sorted."""
    rows = sorted(rule_sets, key=lambda row: row[0])
    parts = [
        b"".join((name.encode(), b"\x00", version.to_bytes(8, "big"), record.encode_record(rules)))
        for name, version, rules in rows
    ]
    return labelled_sha256("rules", *parts)
