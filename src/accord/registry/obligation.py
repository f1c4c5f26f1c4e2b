"""What a platform must screen in each jurisdiction, and the Merkle root that says so.

Not here: what a match leads to (matching).
Invariants: a pure function of (log, the platform's groups, block time); only batches released to
the platform's groups count, for certification too, so that the platform and every agency that
checks it get the same rows; fewer agencies than the rule and the floors ask activate nothing.
Source: docs/spec/registry.md, sections Certification and Obligation.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np

from accord.ledger.state import PLATFORMS, RULES, PlatformRow, Reader, RuleRow, Standing
from accord.registry.activity import Activity, activity_of
from accord.registry.certification import Active, Counting, is_in
from accord.registry.columns import Bytes, Rows
from accord.registry.disputes import Disputes, disputes_of
from accord.registry.listings import (
    FOLD_VERSION,
    SCHEMES,
    Kind,
    Snapshot,
)
from accord.registry.pages import Paged
from accord.registry.roots import ActiveTree, active_tree
from accord.registry.standing import Bench, bench_of, block_time_ms, parameters_of
from accord.statements.bodies import Parameters, ceiling_of
from accord.statements.rules import (
    Algorithm,
    Certification,
    Clause,
    Modality,
    Near,
    Step,
    rules_sha256,
)
from accord.wire.errors import Unavailable
from accord.wire.ids import GroupId, JurisdictionId, MemberId, TimeMs

INACTIVE: Final = 0
ACTIVE: Final = 1
REVIEW_ONLY: Final = 2  # Active but disputed here: no automatic action.


class Coverage(StrEnum):
    """Whether a jurisdiction's rule set asks anything at a block time."""

    ACTIVE = "active"
    NO_RULES = "no-rules"
    NOT_VALID = "not-valid"
    PROHIBITED = "prohibited"


@dataclass(frozen=True, eq=False)
class ActiveClause:
    """A clause as it is in force, within the floors, ceilings and classes of governance, and which
    rows are active in it. Arrays are shared with clauses that ask the same."""

    clause: Clause
    live: Paged[np.bool_]  # Rows that can be active or vouch under this rule set.
    active: Active
    review_only: Rows  # Of the jurisdiction, ascending; those active here are REVIEW_ONLY.

    def status_of(self, rows: Rows) -> Bytes:
        """INACTIVE, ACTIVE or REVIEW_ONLY."""
        status = self.active.at(rows).astype(np.uint8)
        if len(self.review_only) and len(rows):
            places = np.searchsorted(self.review_only, rows)
            disputed = self.review_only[np.minimum(places, len(self.review_only) - 1)] == rows
            status[disputed & (status != INACTIVE)] = REVIEW_ONLY
        return status

    def is_review_only(self, row: int) -> bool:
        """Whether `status_of` a row is REVIEW_ONLY."""
        return is_in(self.review_only, row) and self.active.holds(row)

    @cached_property
    def near(self) -> Mapping[Algorithm, Near]:
        """The clause's terms by algorithm, as `Clause.near_by`."""
        return {near.algorithm: near for near in reversed(self.clause.near)}

    @property
    def status(self) -> Bytes:
        """Of every row. Cost: an array as long as the list."""
        return self.status_of(np.arange(len(self.live), dtype=np.uint32))


@dataclass(frozen=True, eq=False)
class Obligation:
    """One jurisdiction's share. Without an ACTIVE coverage nothing is screened."""

    jurisdiction: JurisdictionId
    coverage: Coverage
    rule: RuleRow | None
    clauses: tuple[ActiveClause, ...]

    @cached_property
    def steps(self) -> frozenset[Step]:
        """What of a picture the rules look at, beside its upright fingerprint: the steps that some
        clause has a term for."""
        if self.rule is None:
            return frozenset()
        asked = {near.algorithm for active in self.clauses for near in active.clause.near}
        useful = {Step.PATCHES} if Algorithm.PATCHES in asked else set[Step]()
        if Algorithm.PDQ in asked:
            useful |= {Step.FRAME}
        return frozenset(useful & set(self.rule.rule_set.screen))

    def active_rows(self) -> Rows:
        if not self.clauses:
            return np.empty(0, dtype=np.uint32)
        return activity_of([item.active for item in self.clauses], self.clauses[0].live).rows


@dataclass(frozen=True, slots=True, eq=False)
class PlatformObligations:
    """Everything a platform must screen at a block time. `active_*` span all jurisdictions."""

    platform: MemberId
    standing: Standing
    now_ms: TimeMs
    snapshot: Snapshot
    bench: Bench
    parameters: Parameters
    disputes: Disputes
    live: Paged[np.bool_]  # Released to the platform's groups, approved, not withdrawn.
    by_jurisdiction: Mapping[JurisdictionId, Obligation]
    rules_sha256: bytes
    counting: Counting
    activity: Activity
    tree: ActiveTree

    @property
    def active_rows(self) -> Rows:
        """Ascending. Cost: the first time, a pass over all rows."""
        return self.activity.rows

    @property
    def active_count(self) -> int:
        return self.activity.count

    @property
    def active_root(self) -> bytes:
        return self.tree.root

    @property
    def attest_within_ms(self) -> int | None:
        """How long after one attestation the next is due, by the strictest rule set in force that
        asks for any; None where none does."""
        minutes = [
            share.rule.rule_set.attest_within_minutes
            for share in self.by_jurisdiction.values()
            if share.rule is not None and share.coverage in (Coverage.ACTIVE, Coverage.PROHIBITED)
        ]
        asked = [each for each in minutes if each]
        return min(asked) * 60_000 if asked else None


@dataclass(frozen=True, slots=True, order=True)
class Certifier:
    """An agency whose word activates a listing, and the entry in which it gave it."""

    agency: MemberId
    entry: int
    how: str  # `published`, `endorsed` or `equal-listing`.
    level: int | None  # Review level of an endorsement.


@dataclass(frozen=True, slots=True, eq=False)
class _Bearings:
    """What all clauses of a platform share."""

    bench: Bench
    parameters: Parameters
    groups: Collection[GroupId]
    counting: Counting
    disputes: Disputes
    now_ms: TimeMs
    before: PlatformObligations | None

    def clauses_in_force(self, jurisdiction: JurisdictionId, rule: RuleRow) -> Iterable[Clause]:
        """As `clause_in_force`, of each clause of a rule."""
        before = self.before
        if before is not None and before.parameters == self.parameters:
            known = before.by_jurisdiction.get(jurisdiction)
            if known is not None and known.coverage is Coverage.ACTIVE and known.rule == rule:
                return [item.clause for item in known.clauses]
        return [clause_in_force(clause, self.parameters) for clause in rule.rule_set.clauses]


def platform_obligations(
    snapshot: Snapshot,
    state: Reader,
    platform: MemberId,
    now_ms: TimeMs | None = None,
    before: PlatformObligations | None = None,
) -> PlatformObligations:
    """The obligations of a platform in all its jurisdictions.

    `now_ms` is the block time of the newest entry unless told; whatever is attested uses that.
    `before` is an earlier answer for the platform: what stands in it and nothing touched since is
    taken over. It changes the cost, not the answer.
    Raises: Unavailable, while the platform is not admitted or the fold version is not ours.
    """
    row = _platform_row(state, platform)
    if before is not None and not snapshot.goes_on_from(before.snapshot):
        before = None
    bearings = _bearings(snapshot, state, row, now_ms, before)
    found = {name: _obligation(bearings, state, name) for name in row.jurisdictions}
    answers = [clause.active for item in found.values() for clause in item.clauses]
    activity = activity_of(answers, snapshot.withdrawn, None if before is None else before.activity)
    live = bearings.counting.live(row.groups)
    bearings.counting.settle()
    return PlatformObligations(
        platform=platform,
        standing=row.standing,
        now_ms=bearings.now_ms,
        snapshot=snapshot,
        bench=bearings.bench,
        parameters=bearings.parameters,
        disputes=bearings.disputes,
        live=live,
        by_jurisdiction=found,
        rules_sha256=_rules_sha256(found, before),
        counting=bearings.counting,
        activity=activity,
        tree=active_tree(snapshot.batches, activity.flags, None if before is None else before.tree),
    )


def _rules_sha256(
    found: Mapping[JurisdictionId, Obligation], before: PlatformObligations | None
) -> bytes:
    rules = [(name, item.rule) for name, item in found.items()]
    if before is not None and rules == [
        (name, item.rule) for name, item in before.by_jurisdiction.items()
    ]:
        return before.rules_sha256
    return rules_sha256([(str(name), rule.version, rule.rule_set) for name, rule in rules if rule])


def obligation(
    snapshot: Snapshot,
    state: Reader,
    platform: MemberId,
    jurisdiction: JurisdictionId,
    now_ms: TimeMs | None = None,
) -> Obligation:
    """One jurisdiction of `platform_obligations`, admitted there or not. Raises: Unavailable."""
    row = _platform_row(state, platform)
    return _obligation(_bearings(snapshot, state, row, now_ms, None), state, jurisdiction)


def _platform_row(state: Reader, platform: MemberId) -> PlatformRow:
    row = state.get(PLATFORMS, platform.encode())
    if row is None:
        raise Unavailable("registry.platform_unknown")
    return row


def _bearings(
    snapshot: Snapshot,
    state: Reader,
    row: PlatformRow,
    now_ms: TimeMs | None,
    before: PlatformObligations | None,
) -> _Bearings:
    parameters = parameters_of(state)
    if parameters.fold_version != FOLD_VERSION:  # Another fold would be taken for cheating.
        raise Unavailable("registry.fold_version", voted=parameters.fold_version, here=FOLD_VERSION)
    bench = bench_of(snapshot, state)
    now_ms = block_time_ms(state) if now_ms is None else now_ms
    disputes = disputes_of(snapshot, bench, parameters, now_ms)
    return _Bearings(
        bench=bench,
        parameters=parameters,
        groups=row.groups,
        counting=Counting(
            snapshot, bench, disputes.own, None if before is None else before.counting
        ),
        disputes=disputes,
        now_ms=now_ms,
        before=before,
    )


def _obligation(bearings: _Bearings, state: Reader, jurisdiction: JurisdictionId) -> Obligation:
    rule = state.get(RULES, jurisdiction.encode())
    if rule is None:
        return Obligation(jurisdiction, Coverage.NO_RULES, None, ())
    rules, now_ms = rule.rule_set, bearings.now_ms
    if now_ms < rules.valid_from_ms or (
        rules.valid_to_ms is not None and now_ms >= rules.valid_to_ms
    ):
        return Obligation(jurisdiction, Coverage.NOT_VALID, rule, ())
    if rules.modality is Modality.PROHIBITED:
        return Obligation(jurisdiction, Coverage.PROHIBITED, rule, ())
    groups = [name for name in bearings.groups if not rules.groups or name in rules.groups]
    in_force = bearings.clauses_in_force(jurisdiction, rule)
    clauses = tuple(_activate(bearings, clause, jurisdiction, groups) for clause in in_force)
    return Obligation(jurisdiction, Coverage.ACTIVE, rule, clauses)


def _activate(
    bearings: _Bearings, clause: Clause, jurisdiction: JurisdictionId, groups: Collection[GroupId]
) -> ActiveClause:
    asked, counting, disputes = clause.certification, bearings.counting, bearings.disputes
    return ActiveClause(
        clause=clause,
        live=counting.live(groups),
        active=counting.active(clause.classes, asked, groups),
        review_only=disputes.review_only(jurisdiction),
    )


def clause_in_force(clause: Clause, parameters: Parameters) -> Clause:
    """A clause within what governance says today, though it was set under other parameters: no
    fewer agencies, sovereigns or eyes, no class that is not admitted, nothing wider."""
    asked = clause.certification
    near = tuple(
        replace(near, threshold=min(near.threshold, ceiling))
        for near in clause.near
        if (ceiling := ceiling_of(parameters, near)) is not None
    )
    return replace(
        clause,
        classes=tuple(code for code in clause.classes if code in parameters.classes),
        certification=Certification(
            max(asked.agencies, parameters.agencies_min),
            max(asked.sovereigns, parameters.sovereigns_min),
            max(asked.review_level, parameters.review_level_min),
        ),
        near=near,
    )


def certifiers(
    obligations: PlatformObligations,
    active: ActiveClause,
    row: int,
    schemes: Collection[str] = SCHEMES,
) -> tuple[Certifier, ...]:
    """The agencies in good standing on whose word a row is active in a clause, by agency name.
    `schemes`: those in which an equal value of another listing counts."""
    snapshot, clause = obligations.snapshot, active.clause
    batches, opinions = snapshot.batches, snapshot.opinions
    level = clause.certification.review_level
    spoken: list[tuple[int, Certifier]] = []

    def note(bit: int, entry: int, how: str, reviewed: int | None = None) -> None:
        if obligations.bench.admitted >> bit & 1:
            spoken.append((bit, Certifier(snapshot.agencies[bit], entry, how, reviewed)))

    batch = int(snapshot.batch_of(np.array([row], dtype=np.uint32))[0])
    note(int(snapshot.publisher[row]), int(batches.entry[batch]), "published")
    for place in opinions.about(row):
        void = obligations.bench.void.opinions[place]
        if opinions.kind[place] == Kind.ENDORSE and opinions.detail[place] >= level and not void:
            reviewed = int(opinions.detail[place])
            note(int(opinions.agency[place]), int(opinions.entry[place]), "endorsed", reviewed)
    if level == 0:
        for twin in equal_rows(snapshot, row, schemes):
            bit = int(snapshot.publisher[twin])
            wanted = snapshot.classes[snapshot.class_of[twin]] in clause.classes
            if wanted and active.live[twin] and twin not in obligations.disputes.own:
                note(bit, snapshot.ref_of(int(twin)).entry, "equal-listing")
    first: dict[int, Certifier] = {}
    for bit, certifier in spoken:  # The publisher, then endorsements, then equal listings.
        first.setdefault(bit, certifier)
    return tuple(sorted(first.values()))


def equal_rows(snapshot: Snapshot, row: int, schemes: Collection[str] = SCHEMES) -> Rows:
    """The other rows that have a value of this row, in any of some schemes, ascending."""
    found = [np.empty(0, dtype=np.uint32)]
    for scheme in SCHEMES:
        if scheme not in schemes:
            continue
        value = snapshot.values[scheme].value_of(row)
        if value is not None:
            equal = snapshot.values[scheme].equal_to(value)
            if len(equal) > 1:  # One is the row itself.
                found.append(equal)
    if len(found) == 1:
        return found[0]
    rows = np.unique(np.concatenate(found))
    twins: Rows = rows[rows != row]
    return twins
