"""Statement bodies: one record a kind.

Every body carries the member that speaks, a random id and `not_after_ms`; the ledger remembers a
statement's digest until then, so a replay is refused while any number may be in flight in any
order. Where order matters (keyset, rule, epoch) the body names the version it makes current.
Source: docs/spec/statements.md.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, ClassVar, TypeAlias, cast

from accord.statements.rules import METRICS, Ceiling, ClassCode, Near, RuleSet
from accord.wire import cbor, record
from accord.wire.errors import Malformed
from accord.wire.ids import (
    CHAIN_RE,
    JURISDICTION_RE,
    NAME_RE,
    ChainId,
    GroupId,
    JurisdictionId,
    MemberId,
    OperatorId,
    TimeMs,
)
from accord.wire.limits import (
    AGENCIES_MAX,
    BATCH_LISTINGS_MAX,
    CLASSES_MAX,
    FEEDBACK_WORDS_MAX,
    GROUPS_MAX,
    JURISDICTIONS_MAX,
    KEYS_MAX,
    REFS_MAX,
    WRAPS_MAX,
)
from accord.wire.record import Compact, Count, Size, Text, Uint

Member = Annotated[MemberId, Text(pattern=NAME_RE)]
Group = Annotated[GroupId, Text(pattern=NAME_RE)]
Operator = Annotated[OperatorId, Text(pattern=NAME_RE)]
Jurisdiction = Annotated[JurisdictionId, Text(pattern=JURISDICTION_RE)]
Chain = Annotated[ChainId, Text(pattern=CHAIN_RE)]
Sha256 = Annotated[bytes, Size(32, 32)]
KeyIdBytes = Annotated[bytes, Size(16, 16)]
Index = Annotated[int, Uint(0, 2**53)]
Version = Annotated[int, Uint(1, 2**31)]
Millis = Annotated[TimeMs, Uint(0, 2**53)]
Groups = Annotated[tuple[Group, ...], Count(1, GROUPS_MAX, ordered=True)]
Jurisdictions = Annotated[tuple[Jurisdiction, ...], Count(1, JURISDICTIONS_MAX, ordered=True)]
Title = Annotated[str, Text(1, 200)]


@dataclass(frozen=True, slots=True)
class Header:
    """What every body carries."""

    member: Member
    id: Annotated[bytes, Size(16, 16)]
    not_after_ms: Millis


@dataclass(frozen=True, slots=True, order=True)
class RefRange(Compact):
    """`count` listings of one publish entry, from `first` on."""

    entry: Index
    first: Annotated[int, Uint(0, BATCH_LISTINGS_MAX - 1)]
    count: Annotated[int, Uint(1, BATCH_LISTINGS_MAX)]


Refs = Annotated[tuple[RefRange, ...], Count(1, REFS_MAX, ordered=True)]


class Role(StrEnum):
    """What a key may do. One key has one role; two persons have two operators."""

    ROOT = "root"  # Signs keysets; kept offline.
    ANALYST = "analyst"  # Publishes, endorses, disputes, withdraws.
    APPROVER = "approver"  # The second pair of eyes on a batch.
    GOVERNOR = "governor"  # Proposes, votes, sets rules.
    COSIGNER = "cosigner"  # Signs checkpoints.
    CONSENSUS = "consensus"  # Signs blocks.
    DECRYPTOR = "decryptor"  # Opens epoch keys (HPKE, not Ed25519).
    KEEPER = "keeper"  # Opens epochs and wraps keys for members.
    AUDITOR = "auditor"  # Challenges and findings.
    SCANNER = "scanner"  # A platform's receipts, attestations and requests.
    REPORTER = "reporter"  # A platform's feedback and reports.


AGENCY_ROLES = frozenset(Role) - {Role.SCANNER, Role.REPORTER}
PLATFORM_ROLES = frozenset({Role.ROOT, Role.SCANNER, Role.REPORTER, Role.DECRYPTOR})


@dataclass(frozen=True, slots=True, order=True)
class RoleKey(Compact):
    """A public key with its role and the person or machine behind it.

    `public` is Ed25519 (32 bytes), or X-Wing (1,216 bytes) for `decryptor`; `proof` is the
    signature of possession over `possession_bytes`, empty for `decryptor`.
    """

    role: Role
    operator: Operator
    public: Annotated[bytes, Size(32, 1216)]
    proof: Annotated[bytes, Size(0, 64)]


Keys = Annotated[tuple[RoleKey, ...], Count(1, KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class Publish:
    """List a batch: `count` listings in the blob, released to `groups` at their epochs."""

    KIND: ClassVar[str] = "publish"
    header: Header
    count: Annotated[int, Uint(1, BATCH_LISTINGS_MAX)]
    groups: Groups
    epochs: Annotated[tuple[Version, ...], Count(1, GROUPS_MAX)]
    urgent: bool
    blob_sha256: Sha256


@dataclass(frozen=True, slots=True)
class Approve:
    """A second person of the publishing agency makes a batch count."""

    KIND: ClassVar[str] = "approve"
    header: Header
    entry: Index


@dataclass(frozen=True, slots=True)
class Endorse:
    """Another agency corroborates listings at a review level: 0 digest, 1 one person, 2 two."""

    KIND: ClassVar[str] = "endorse"
    header: Header
    refs: Refs
    level: Annotated[int, Uint(0, 2)]


class DisputeReason(StrEnum):
    NOT_CSAM = "not-csam"
    WRONG_CLASS = "wrong-class"
    LAWFUL_HERE = "lawful-here"
    LOW_INFORMATION = "low-information"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Dispute:
    """Stop automatic action on listings in the disputing agency's jurisdictions, at once."""

    KIND: ClassVar[str] = "dispute"
    header: Header
    refs: Refs
    reason: DisputeReason


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The publishing agency ends listings; history stays."""

    KIND: ClassVar[str] = "withdraw"
    header: Header
    refs: Refs
    reason: DisputeReason


@dataclass(frozen=True, slots=True, order=True)
class Compromised(Compact):
    """A former key of a member that somebody else may have used since then."""

    key_id: KeyIdBytes
    since_ms: Millis


Compromises = Annotated[tuple[Compromised, ...], Count(0, KEYS_MAX, ordered=True)]


@dataclass(frozen=True, slots=True)
class Keyset:
    """A member's role keys from now on, all of them, signed by its root key."""

    KIND: ClassVar[str] = "keyset"
    header: Header
    version: Version
    keys: Keys
    compromised: Compromises = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule set of a jurisdiction from now on."""

    KIND: ClassVar[str] = "rule"
    header: Header
    jurisdiction: Jurisdiction
    version: Version
    rule_set: RuleSet


@dataclass(frozen=True, slots=True)
class AdmitAgency:
    KIND: ClassVar[str] = "admit-agency"
    agency: Member
    title: Title
    sovereign: Jurisdiction
    jurisdictions: Jurisdictions
    keys: Keys


@dataclass(frozen=True, slots=True)
class RemoveAgency:
    KIND: ClassVar[str] = "remove-agency"
    agency: Member


@dataclass(frozen=True, slots=True)
class AdmitPlatform:
    KIND: ClassVar[str] = "admit-platform"
    platform: Member
    title: Title
    jurisdictions: Jurisdictions
    groups: Groups
    keys: Keys


@dataclass(frozen=True, slots=True)
class SuspendPlatform:
    KIND: ClassVar[str] = "suspend-platform"
    platform: Member


@dataclass(frozen=True, slots=True)
class RemovePlatform:
    KIND: ClassVar[str] = "remove-platform"
    platform: Member


@dataclass(frozen=True, slots=True)
class Accredit:
    """Give an agency the rule-making for a jurisdiction."""

    KIND: ClassVar[str] = "accredit"
    agency: Member
    jurisdiction: Jurisdiction


@dataclass(frozen=True, slots=True)
class ReplaceKeys:
    """Replace a member's keys, its root included, when the root is lost or stolen."""

    KIND: ClassVar[str] = "replace-keys"
    member: Member
    keys: Keys
    compromised: Compromises = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the consortium as a whole has agreed; a proposal replaces all of it."""

    KIND: ClassVar[str] = "parameters"
    time_lock_ms: Annotated[int, Uint(0, 2_592_000_000)]  # From passing to effect.
    proposal_life_ms: Annotated[int, Uint(1_000, 7_776_000_000)]  # To gather its votes.
    agencies_min: Annotated[int, Uint(1, AGENCIES_MAX)]  # No rule may certify with fewer.
    sovereigns_min: Annotated[int, Uint(1, AGENCIES_MAX)]
    review_level_min: Annotated[int, Uint(0, 2)]
    # No rule may match wider; an algorithm and metric that is not named may not match near at all.
    ceilings: Annotated[tuple[Ceiling, ...], Count(0, 32, ordered=True)]
    # The closed purpose: no other class is active anywhere, whatever is listed or ruled.
    classes: Annotated[tuple[ClassCode, ...], Count(0, CLASSES_MAX, ordered=True)]
    dispute_sovereigns: Annotated[
        int, Uint(1, AGENCIES_MAX)
    ]  # Disputes from so many act everywhere.
    dispute_life_ms: Annotated[int, Uint(1_000, 31_622_400_000)]  # Then one lapses, unless upheld.
    dispute_day_max: Annotated[int, Uint(0, 2**31)]  # Listings an agency may dispute in a day.
    fold_version: Version


def is_possible(parameters: Parameters) -> bool:
    """Whether the numbers fit one another, and each ceiling is of a metric that there is."""
    named = [(limit.algorithm, limit.metric) for limit in parameters.ceilings]
    known = all(metric in METRICS.get(algorithm, {}) for algorithm, metric in named)
    enough = parameters.agencies_min >= parameters.sovereigns_min
    return enough and known and len(set(named)) == len(named)


def ceiling_of(parameters: Parameters, near: Near) -> int | None:
    """How wide rules may match by the algorithm and metric of `near`; None: not at all."""
    wanted = (near.algorithm, near.metric)
    limits = {(limit.algorithm, limit.metric): limit.threshold_max for limit in parameters.ceilings}
    return limits.get(wanted)


Action: TypeAlias = (
    AdmitAgency
    | RemoveAgency
    | AdmitPlatform
    | SuspendPlatform
    | RemovePlatform
    | Accredit
    | ReplaceKeys
    | Parameters
)
ACTIONS: dict[str, type[Action]] = {
    kind.KIND: kind
    for kind in (
        AdmitAgency,
        RemoveAgency,
        AdmitPlatform,
        SuspendPlatform,
        RemovePlatform,
        Accredit,
        ReplaceKeys,
        Parameters,
    )
}


@dataclass(frozen=True, slots=True)
class Propose:
    """Put an action to the vote; the proposer's agency votes for it by proposing."""

    KIND: ClassVar[str] = "propose"
    header: Header
    action: Action


@dataclass(frozen=True, slots=True)
class Vote:
    KIND: ClassVar[str] = "vote"
    header: Header
    proposal: Index
    approve: bool


@dataclass(frozen=True, slots=True, order=True)
class Recipient(Compact):
    """A member and the decryptor key that an epoch key is wrapped to."""

    member: Member
    key_id: KeyIdBytes


Recipients = Annotated[tuple[Recipient, ...], Count(1, WRAPS_MAX, ordered=True)]


@dataclass(frozen=True, slots=True)
class Epoch:
    """A new group key, in the blob wrapped to every member of the group."""

    KIND: ClassVar[str] = "epoch"
    header: Header
    group: Group
    number: Version
    commitment: Sha256
    recipients: Recipients
    blob_sha256: Sha256


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """An agency's keeper says that a pending epoch's key opens and fits its commitment."""

    KIND: ClassVar[str] = "acknowledge"
    header: Header
    group: Group
    number: Version
    commitment: Sha256


@dataclass(frozen=True, slots=True)
class Wrap:
    """The current group key, in the blob wrapped to members that came or changed keys since."""

    KIND: ClassVar[str] = "wrap"
    header: Header
    group: Group
    number: Version
    recipients: Recipients
    blob_sha256: Sha256


@dataclass(frozen=True, slots=True)
class Attest:
    """A platform says which list and which rules it runs."""

    KIND: ClassVar[str] = "attest"
    header: Header
    size: Index  # Log size the list was folded from.
    root: Sha256  # Log root at that size.
    rules_sha256: Sha256
    active_root: Sha256
    applied_at_ms: Millis
    receipts_size: Index  # The platform's own log, so that it cannot be rewritten later.
    receipts_root: Sha256
    build: Annotated[str, Text(1, 64)]


@dataclass(frozen=True, slots=True)
class Feedback:
    """A platform's reviewers on listings that matched; the words are in the blob, for agencies.

    `recipients_sha256` is over the agencies' decryptor keys in force, all of them, in order
    (`feedback.recipients_sha256`): no agency is left out unseen.
    """

    KIND: ClassVar[str] = "feedback"
    header: Header
    count: Annotated[int, Uint(1, FEEDBACK_WORDS_MAX)]
    recipients_sha256: Sha256
    blob_sha256: Sha256


Body: TypeAlias = (
    Publish
    | Approve
    | Endorse
    | Dispute
    | Withdraw
    | Keyset
    | Rule
    | Propose
    | Vote
    | Epoch
    | Acknowledge
    | Wrap
    | Attest
    | Feedback
)
KINDS: dict[str, type[Body]] = {
    kind.KIND: kind
    for kind in (
        Publish,
        Approve,
        Endorse,
        Dispute,
        Withdraw,
        Keyset,
        Rule,
        Propose,
        Vote,
        Epoch,
        Acknowledge,
        Wrap,
        Attest,
        Feedback,
    )
}
BLOB_KINDS = (Publish, Epoch, Wrap, Feedback)  # Kinds that travel with a blob.
_HEADER = tuple(field.name for field in fields(Header))


def encode_body(body: Body) -> bytes:
    """Shape: a CBOR map of `kind`, the header's fields and the body's own, flat."""
    flat = cast(dict[str, cbor.Value], record.dump_record(body))
    header = cast(dict[str, cbor.Value], flat.pop("header"))
    return cbor.encode({"kind": body.KIND, **header, **flat})


def parse_body(payload: bytes) -> Body:
    """Raises: Malformed, naming the field."""
    value = cbor.parse(payload)
    if not isinstance(value, dict):
        raise Malformed("record.type", field="body")
    nested: dict[str, cbor.Value] = {k: v for k, v in value.items() if k not in _HEADER}
    nested["header"] = {k: value[k] for k in _HEADER if k in value}
    return record.load_tagged(KINDS, nested, "body")


def possession_bytes(chain: ChainId, member: MemberId, role: Role, public: bytes) -> bytes:
    """What a role key signs to prove that its holder has it."""
    return cbor.encode(["accord/v1/possession", chain, member, role.value, public])
