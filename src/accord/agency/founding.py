"""Founding: the keys of an agency or a platform, and the genesis of a consortium.

Each agency makes its own keys and hands over only `AdmitAgency`, the public part; the genesis is
the same list on every desk, compared by digest. A trial does all of it in one process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.client.home import Home, PrivateKey, create_home, new_key, role_keys
from accord.ledger.genesis import Continues, Founding, Genesis, encode_genesis, parse_genesis
from accord.statements.bodies import AdmitAgency, AdmitPlatform, Parameters, Role
from accord.statements.classes import CLASSES_KNOWN
from accord.statements.rules import Algorithm, Ceiling, Metric
from accord.wire.errors import Malformed
from accord.wire.ids import (
    AGENCIES,
    TRIAL_PREFIX,
    ChainId,
    GroupId,
    JurisdictionId,
    MemberId,
    OperatorId,
    TimeMs,
)
from accord.wire.limits import (
    BATCH_LISTINGS_MAX,
    PATCH_BITS_MAX,
    PDQ_THRESHOLD_MAX,
    PHOTODNA_THRESHOLD_MAX,
)

PLATFORMS_GROUP = GroupId("platforms")
DAY_MS = 86_400_000
CEILINGS = (
    Ceiling(Algorithm.PATCHES, Metric.HAMMING, PATCH_BITS_MAX),
    Ceiling(Algorithm.PDQ, Metric.HAMMING, PDQ_THRESHOLD_MAX),
    Ceiling(Algorithm.PHOTODNA, Metric.L1, PHOTODNA_THRESHOLD_MAX),
    Ceiling(Algorithm.PHOTODNA, Metric.L2, PHOTODNA_THRESHOLD_MAX),
    Ceiling(Algorithm.VPDQ, Metric.HAMMING, PDQ_THRESHOLD_MAX),
)

# Who holds which key: persons have pseudonyms, machines are named for what they do.
AGENCY_STAFF: tuple[tuple[Role, str], ...] = (
    (Role.ROOT, "safe"),
    (Role.ANALYST, "analyst-a"),
    (Role.APPROVER, "analyst-b"),
    (Role.GOVERNOR, "governor"),
    (Role.AUDITOR, "auditor"),
    (Role.COSIGNER, "node"),
    (Role.CONSENSUS, "node"),
    (Role.KEEPER, "keeper"),
    (Role.DECRYPTOR, "keeper"),
)
PLATFORM_STAFF: tuple[tuple[Role, str], ...] = (
    (Role.ROOT, "safe"),
    (Role.SCANNER, "scanner"),
    (Role.REPORTER, "reporter"),
    (Role.DECRYPTOR, "scanner"),
)
TRIAL_PARAMETERS = Parameters(
    time_lock_ms=0,
    proposal_life_ms=604_800_000,
    agencies_min=1,
    sovereigns_min=1,
    review_level_min=0,
    ceilings=CEILINGS,
    classes=tuple(sorted(CLASSES_KNOWN)),
    dispute_sovereigns=2,
    dispute_life_ms=90 * DAY_MS,
    dispute_day_max=BATCH_LISTINGS_MAX,
    fold_version=1,
)


@dataclass(frozen=True, slots=True)
class AgencyPlan:
    """An agency to be: who it is and where it may make rules."""

    member: MemberId
    title: str
    sovereign: JurisdictionId
    jurisdictions: tuple[JurisdictionId, ...]


def make_keys(staff: Sequence[tuple[Role, str]]) -> tuple[PrivateKey, ...]:
    """Fresh keys for the roles and operators named."""
    return tuple(new_key(role, OperatorId(operator)) for role, operator in staff)


def agency_application(chain: ChainId, plan: AgencyPlan, keys: Sequence[PrivateKey]) -> AdmitAgency:
    """The public part that an agency hands to the others."""
    return AdmitAgency(
        agency=plan.member,
        title=plan.title,
        sovereign=plan.sovereign,
        jurisdictions=tuple(sorted(plan.jurisdictions)),
        keys=role_keys(chain, plan.member, keys),
    )


def platform_application(
    chain: ChainId,
    member: MemberId,
    title: str,
    jurisdictions: Sequence[JurisdictionId],
    keys: Sequence[PrivateKey],
) -> AdmitPlatform:
    """The public part that a platform hands to an agency, which proposes it."""
    return AdmitPlatform(
        platform=member,
        title=title,
        jurisdictions=tuple(sorted(jurisdictions)),
        groups=(PLATFORMS_GROUP,),
        keys=role_keys(chain, member, keys),
    )


def make_genesis(
    chain: ChainId, time_ms: TimeMs, parameters: Parameters, agencies: Sequence[AdmitAgency]
) -> bytes:
    """The genesis file. Raises: Malformed if it could not found a consortium."""
    genesis = Genesis(
        version=1,
        chain=chain,
        time_ms=time_ms,
        groups=(AGENCIES, PLATFORMS_GROUP),
        parameters=parameters,
        agencies=tuple(agencies),
    )
    raw = encode_genesis(genesis)
    parse_genesis(raw)
    return raw


def continue_genesis(  # Each argument is a field of the file.
    previous: Founding,
    size: int,
    root: bytes,
    chain: ChainId,
    time_ms: TimeMs,
    parameters: Parameters,
    agencies: Sequence[AdmitAgency],
) -> bytes:
    """The genesis file by which these agencies go on with the first `size` entries of an earlier
    consortium's log. Raises: Malformed, for what no log could make right.
    """
    before = previous.genesis
    genesis = Genesis(
        version=2,
        chain=chain,
        time_ms=time_ms,
        groups=before.groups,
        parameters=parameters,
        agencies=tuple(sorted(agencies, key=lambda agency: agency.agency)),
        continues=Continues(previous.digest, before.chain, size, root),
    )
    raw = encode_genesis(genesis)
    parse_genesis(raw, [encode_genesis(founding.genesis) for founding in previous.line()])
    return raw


def found_trial(
    directory: Path,
    chain: ChainId,
    plans: Sequence[AgencyPlan],
    time_ms: TimeMs,
    nodes: Sequence[str],
    parameters: Parameters = TRIAL_PARAMETERS,
) -> dict[MemberId, Home]:
    """A trial consortium on one machine: every agency's home under `directory`, by agency.

    Raises: Malformed for a chain that does not call itself a trial.
    """
    if not chain.startswith(TRIAL_PREFIX):
        raise Malformed("founding.not_a_trial", chain=chain, wanted=f"{TRIAL_PREFIX}...")
    addresses = {plan.member: nodes for plan in plans}
    return found_homes(directory, chain, plans, time_ms, addresses, parameters)


def found_homes(  # A consortium's founding facts, and where the homes go.
    directory: Path,
    chain: ChainId,
    plans: Sequence[AgencyPlan],
    time_ms: TimeMs,
    nodes: Mapping[MemberId, Sequence[str]],
    parameters: Parameters = TRIAL_PARAMETERS,
) -> dict[MemberId, Home]:
    """All agencies' homes under `directory`, by agency: for trials and test networks, where one
    person holds everybody's keys. `nodes` are each home's own node and the others'.
    """
    keys = {plan.member: make_keys(AGENCY_STAFF) for plan in plans}
    applications = [agency_application(chain, plan, keys[plan.member]) for plan in plans]
    genesis = make_genesis(chain, time_ms, parameters, applications)
    return {
        plan.member: create_home(
            directory / plan.member,
            "agency",
            plan.member,
            genesis,
            nodes[plan.member],
            keys[plan.member],
        )
        for plan in plans
    }
