"""What a platform must screen in each jurisdiction, and the Merkle root that says so.

Not here: what a match leads to (matching).
Invariants: a pure function of (log, the platform's groups, block time); only batches released to
the platform's groups count, for certification too, so that the platform and every agency that
checks it get the same rows; fewer agencies than the rule and the floors ask activate nothing.
Source: docs/spec/registry.md, sections Certification and Obligation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from accord.ledger.state import PLATFORMS, RULES, PlatformRow, Reader, RuleRow, Standing
from accord.registry.columns import Bytes, Flags, Masks, Rows
from accord.registry.listings import (
    FOLD_VERSION,
    NOT_APPROVED,
    SCHEMES,
    Kind,
    Snapshot,
)
from accord.registry.standing import Bench, bench_of, block_time_ms, parameters_of
from accord.statements.bodies import Parameters, ceiling_of
from accord.statements.rules import Certification, Clause, Modality, rules_sha256
from accord.tlog.merkle import leaf_hash, tree_root
from accord.wire.digests import sha256
from accord.wire.errors import Unavailable
from accord.wire.ids import REF_BYTES, GroupId, JurisdictionId, MemberId, TimeMs

INACTIVE: Final = 0
ACTIVE: Final = 1
REVIEW_ONLY: Final = 2  # Active but disputed here: no automatic action.
_BLOCK_LEAVES: Final = 4096  # Leaves of a memoised subtree; a power of two.
_ONE: Final = np.uint64(1)


class Coverage(StrEnum):
    """Whether a jurisdiction's rule set asks anything at a block time."""

    ACTIVE = "active"
    NO_RULES = "no-rules"
    NOT_VALID = "not-valid"
    PROHIBITED = "prohibited"


@dataclass(frozen=True, slots=True, eq=False)
class ActiveClause:
    """A clause as it is in force, within the floors, ceilings and classes of governance, and the
    status of each row."""

    clause: Clause
    live: Flags  # Rows that can be active or vouch under this rule set.
    status: Bytes  # INACTIVE, ACTIVE or REVIEW_ONLY.


@dataclass(frozen=True, slots=True, eq=False)
class Obligation:
    """One jurisdiction's share. Without an ACTIVE coverage nothing is screened."""

    jurisdiction: JurisdictionId
    coverage: Coverage
    rule: RuleRow | None
    clauses: tuple[ActiveClause, ...]

    def active_rows(self) -> Rows:
        return _union(self.clauses)


@dataclass(frozen=True, slots=True, eq=False)
class PlatformObligations:
    """Everything a platform must screen at a block time. `active_*` span all jurisdictions."""

    platform: MemberId
    standing: Standing
    now_ms: TimeMs
    snapshot: Snapshot
    bench: Bench
    live: Flags  # Released to the platform's groups, approved, not withdrawn.
    by_jurisdiction: Mapping[JurisdictionId, Obligation]
    rules_sha256: bytes
    active_rows: Rows
    active_root: bytes

    @property
    def active_count(self) -> int:
        return len(self.active_rows)


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

    snapshot: Snapshot
    bench: Bench
    parameters: Parameters
    groups: Collection[GroupId]
    live: Flags
    now_ms: TimeMs


def platform_obligations(
    snapshot: Snapshot,
    state: Reader,
    platform: MemberId,
    now_ms: TimeMs | None = None,
    memo: dict[bytes, bytes] | None = None,
) -> PlatformObligations:
    """The obligations of a platform in all its jurisdictions.

    `now_ms` is the block time of the newest entry unless told; whatever is attested uses that.
    `memo` keeps subtree roots from one call to the next: it changes the cost, not the answer.
    Raises: Unavailable, while the platform is not admitted or the fold version is not ours.
    """
    row = _platform_row(state, platform)
    bearings = _bearings(snapshot, state, row, now_ms)
    found = {name: _obligation(bearings, state, name) for name in row.jurisdictions}
    rules = [
        (name, item.rule.version, item.rule.rule_set) for name, item in found.items() if item.rule
    ]
    active = _union(tuple(clause for item in found.values() for clause in item.clauses))
    return PlatformObligations(
        platform=platform,
        standing=row.standing,
        now_ms=bearings.now_ms,
        snapshot=snapshot,
        bench=bearings.bench,
        live=bearings.live,
        by_jurisdiction=found,
        rules_sha256=rules_sha256([(str(name), version, rule) for name, version, rule in rules]),
        active_rows=active,
        active_root=refs_root(snapshot.encode_refs(active), {} if memo is None else memo),
    )


def obligation(
    snapshot: Snapshot,
    state: Reader,
    platform: MemberId,
    jurisdiction: JurisdictionId,
    now_ms: TimeMs | None = None,
) -> Obligation:
    """One jurisdiction of `platform_obligations`, admitted there or not. Raises: Unavailable."""
    row = _platform_row(state, platform)
    return _obligation(_bearings(snapshot, state, row, now_ms), state, jurisdiction)


def _platform_row(state: Reader, platform: MemberId) -> PlatformRow:
    row = state.get(PLATFORMS, platform.encode())
    if row is None:
        raise Unavailable("registry.platform_unknown")
    return row


def _bearings(
    snapshot: Snapshot, state: Reader, row: PlatformRow, now_ms: TimeMs | None
) -> _Bearings:
    parameters = parameters_of(state)
    if parameters.fold_version != FOLD_VERSION:  # Another fold would be taken for cheating.
        raise Unavailable("registry.fold_version", voted=parameters.fold_version, here=FOLD_VERSION)
    return _Bearings(
        snapshot=snapshot,
        bench=bench_of(snapshot, state),
        parameters=parameters,
        groups=row.groups,
        live=_live(snapshot, row.groups),
        now_ms=block_time_ms(state) if now_ms is None else now_ms,
    )


def _live(snapshot: Snapshot, groups: Collection[GroupId]) -> Flags:
    """Released to one of the groups, approved, not withdrawn."""
    ours = sum(1 << bit for bit, group in enumerate(snapshot.groups) if group in groups)
    batches = snapshot.batches
    usable = (batches.groups & np.uint64(ours)) != 0
    usable &= batches.approved != NOT_APPROVED
    live: Flags = np.repeat(usable, batches.count)
    live &= ~snapshot.withdrawn
    return live


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
    if rules.groups:
        within = _live(bearings.snapshot, set(bearings.groups) & set(rules.groups))
        bearings = replace(bearings, live=within)
    clauses = tuple(_activate(bearings, clause, jurisdiction) for clause in rules.clauses)
    return Obligation(jurisdiction, Coverage.ACTIVE, rule, clauses)


def _activate(bearings: _Bearings, clause: Clause, jurisdiction: JurisdictionId) -> ActiveClause:
    clause = clause_in_force(clause, bearings.parameters)
    asked = clause.certification
    rows = np.flatnonzero(bearings.live & _in_classes(bearings.snapshot, clause))
    words = _words_for(bearings.snapshot, rows.astype(np.uint32), clause)
    certified = rows[bearings.bench.certifies(words, asked.agencies, asked.sovereigns)]
    status = np.zeros(bearings.snapshot.count, dtype=np.uint8)
    status[certified] = np.where(
        _is_disputed(bearings, certified, jurisdiction), REVIEW_ONLY, ACTIVE
    )
    return ActiveClause(clause=clause, live=bearings.live, status=status)


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


def _in_classes(snapshot: Snapshot, clause: Clause) -> Flags:
    wanted = np.array([code in clause.classes for code in snapshot.classes], dtype=np.bool_)
    flags: Flags = wanted[snapshot.class_of] if len(wanted) else np.empty(0, dtype=np.bool_)
    return flags


def _words_for(snapshot: Snapshot, rows: Rows, clause: Clause) -> Masks:
    """For each of `rows` (live, of the clause's classes), the agencies that vouch for it at the
    clause's review level."""
    own = _ONE << snapshot.publisher[rows].astype(np.uint64)
    words = own.copy()
    for endorsed in snapshot.endorsed[clause.certification.review_level :]:
        words |= endorsed[rows]
    if clause.certification.review_level > 0 or not len(rows):
        return words
    # Level 0: another agency that lists the very same value as one of these classes vouches too;
    # not so where it has disputed its own listing.
    every = np.zeros(snapshot.count, dtype=np.uint64)
    every[rows] = np.where(snapshot.disputed[rows] & own, np.uint64(0), own)
    shared = np.zeros(snapshot.count, dtype=np.uint64)
    for scheme in SCHEMES:
        members, starts = snapshot.values[scheme].equal_groups
        if len(members):
            lengths = np.diff(starts, append=len(members))
            shared[members] |= np.repeat(np.bitwise_or.reduceat(every[members], starts), lengths)
    return words | shared[rows]


def _is_disputed(
    bearings: _Bearings,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    jurisdiction: JurisdictionId,
) -> Flags:
    """Disputed here, by the publisher itself, or by agencies of enough sovereigns."""
    snapshot, bench = bearings.snapshot, bearings.bench
    disputed = snapshot.disputed[rows] & np.uint64(bench.admitted)
    flags: Flags = (disputed & np.uint64(bench.home.get(jurisdiction, 0))) != 0
    flags |= (disputed & (_ONE << snapshot.publisher[rows].astype(np.uint64))) != 0
    flags |= bench.sovereigns_in(disputed) >= bearings.parameters.dispute_sovereigns
    return flags


def _union(clauses: tuple[ActiveClause, ...]) -> Rows:
    if not clauses:
        return np.empty(0, dtype=np.uint32)
    some = clauses[0].status != INACTIVE
    for clause in clauses[1:]:
        some |= clause.status != INACTIVE
    return np.flatnonzero(some).astype(np.uint32)


def refs_root(refs: Bytes, memo: dict[bytes, bytes]) -> bytes:
    """The RFC 6962 root over encoded refs. Shape: (count, 12), ascending.

    A block of 4,096 refs is hashed once in the life of `memo`; blocks are full subtrees, so the
    tree over their roots is the tree over the leaves. Units: 2 s a million leaves at first.
    """
    raw, used, roots = refs.tobytes(), dict[bytes, bytes](), list[bytes]()
    for at in range(0, len(raw), _BLOCK_LEAVES * REF_BYTES):
        block = raw[at : at + _BLOCK_LEAVES * REF_BYTES]
        name = sha256(block)
        root = memo.get(name)
        if root is None:
            leaves = range(0, len(block), REF_BYTES)
            root = tree_root([leaf_hash(block[i : i + REF_BYTES]) for i in leaves])
        used[name] = root
        roots.append(root)
    memo.clear()
    memo.update(used)
    return tree_root(roots)


def certifiers(
    obligations: PlatformObligations, active: ActiveClause, row: int
) -> tuple[Certifier, ...]:
    """The agencies in good standing on whose word a row is active in a clause, by agency name."""
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
        if opinions.kind[place] == Kind.ENDORSE and opinions.detail[place] >= level:
            reviewed = int(opinions.detail[place])
            note(int(opinions.agency[place]), int(opinions.entry[place]), "endorsed", reviewed)
    if level == 0:
        for twin in equal_rows(snapshot, row):
            bit = int(snapshot.publisher[twin])
            wanted = snapshot.classes[snapshot.class_of[twin]] in clause.classes
            if wanted and active.live[twin] and not int(snapshot.disputed[twin]) >> bit & 1:
                note(bit, snapshot.ref_of(int(twin)).entry, "equal-listing")
    first: dict[int, Certifier] = {}
    for bit, certifier in spoken:  # The publisher, then endorsements, then equal listings.
        first.setdefault(bit, certifier)
    return tuple(sorted(first.values()))


def equal_rows(snapshot: Snapshot, row: int) -> Rows:
    """The other rows that have a value of this row, in any scheme, ascending."""
    found = [np.empty(0, dtype=np.uint32)]
    for scheme in SCHEMES:
        value = snapshot.values[scheme].value_of(row)
        if value is not None:
            found.append(snapshot.values[scheme].equal_to(value))
    rows = np.unique(np.concatenate(found))
    twins: Rows = rows[rows != row]
    return twins
