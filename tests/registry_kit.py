"""A small consortium to fold: state rows put directly, entries said one by one."""

from dataclasses import dataclass, field, replace

import numpy as np

from accord.agency.founding import CEILINGS, TRIAL_PARAMETERS
from accord.follow.delta import FoldedEntry
from accord.ledger.state import (
    AGENCIES_TABLE,
    CONSORTIUM,
    ONLY,
    PARAMETERS,
    PLATFORMS,
    RULES,
    AgencyRow,
    ConsortiumRow,
    Draft,
    PlatformRow,
    RuleRow,
    Standing,
    State,
)
from accord.registry import PlatformObligations, Registry, certifiers, platform_obligations
from accord.registry.feedback import FeedbackFold, Weighed, weigh
from accord.statements.batch import Listing, batch_of
from accord.statements.bodies import (
    Approve,
    Body,
    Dispute,
    DisputeReason,
    Endorse,
    Feedback,
    Header,
    Publish,
    RefRange,
    Withdraw,
)
from accord.statements.feedback import Word
from accord.statements.rules import (
    Action,
    Algorithm,
    Certification,
    ClassCode,
    Clause,
    Exact,
    LegalBasis,
    Modality,
    Near,
    Report,
    RuleSet,
    Scope,
    Service,
)
from accord.wire.digests import sha256
from accord.wire.ids import GroupId, JurisdictionId, KeyId, MemberId, TimeMs

A1 = ClassCode("test", "", "A1")
B2 = ClassCode("test", "", "B2")
PLATFORM = MemberId("cloud")
GROUP = GroupId("clouds")
NOW = 1_700_000_000_000
# Four agencies, two of them of one sovereign.
AGENCIES = {"ada": "AT", "bea": "BE", "ben": "BE", "cyd": "CY"}


def pdq_of(seed: int) -> bytes:
    return sha256(b"pdq%d" % seed)


def flip(bits: bytes, count: int) -> bytes:
    """The same fingerprint with its first `count` bits turned over."""
    mask = (1 << 256) - (1 << 256 - count)
    return (int.from_bytes(bits, "big") ^ mask).to_bytes(32, "big")


def listing(seed: int, class_code: ClassCode = A1, quality: int = 100) -> Listing:
    return Listing(class_code, pdq=pdq_of(seed), pdq_quality=quality)


def clause(
    agencies: int = 1,
    sovereigns: int = 1,
    level: int = 0,
    name: str = "main",
    classes: tuple[ClassCode, ...] = (A1,),
    exact: Action | None = Action.BLOCK,
    near: Near | None = None,
) -> Clause:
    return Clause(
        name=name,
        classes=classes,
        certification=Certification(agencies, sovereigns, level),
        exact=None if exact is None else Exact((Algorithm.MD5, Algorithm.SHA256), exact),
        near=(near or Near(Algorithm.PDQ, 31, 50, Action.QUARANTINE, alone=False),),
    )


def rule_set(*clauses: Clause, **changes: object) -> RuleSet:
    base = RuleSet(
        title="Test",
        modality=Modality.REQUIRED,
        legal_basis=LegalBasis("Test Act 1", ""),
        valid_from_ms=0,
        valid_to_ms=None,
        services=(Service.HOSTING,),
        scope=(Scope.STORED, Scope.UPLOADS),
        clauses=clauses or (clause(),),
        undetermined=Action.REVIEW,
        stale=Action.ALLOW,
        report=Report("Hotline", 24),
        preserve_days=90,
        sync_within_minutes=1440,
        rescan_within_hours=720,
        user_notice="",
    )
    return replace(base, **changes)


@dataclass
class World:
    """State and entries together. Methods say a statement and return its entry index."""

    state: State = field(default_factory=State)
    entries: list[FoldedEntry] = field(default_factory=list)
    clock_ms: int = 0  # Added to the block time of what is said.
    key: KeyId = field(default=KeyId(bytes(16)))  # That says it.

    def __post_init__(self) -> None:
        for number, (name, sovereign) in enumerate(AGENCIES.items()):
            self.put_agency(name, sovereign, number)
        self.put_parameters()
        self.put_platform()

    def put(self, table: object, key: bytes, row: object) -> None:
        draft = Draft(self.state)
        draft.put(table, key, row)  # type: ignore[arg-type]  # Any table with its row.
        self.state.commit(draft.writes())

    def put_agency(
        self,
        name: str,
        sovereign: str,
        number: int,
        homes: tuple[str, ...] = (),
        standing: Standing = Standing.ADMITTED,
    ) -> None:
        jurisdictions = tuple(JurisdictionId(home) for home in homes or (sovereign,))
        row = AgencyRow(number, name, JurisdictionId(sovereign), jurisdictions, standing, TimeMs(0))
        self.put(AGENCIES_TABLE, name.encode(), row)

    def put_parameters(self, pdq_max: int = 31, **changes: object) -> None:
        row = replace(
            TRIAL_PARAMETERS,
            ceilings=tuple(
                replace(limit, threshold_max=pdq_max) if limit.algorithm is Algorithm.PDQ else limit
                for limit in CEILINGS
            ),
            classes=tuple(sorted({A1, B2, *TRIAL_PARAMETERS.classes})),
        )
        self.put(PARAMETERS, ONLY, replace(row, **changes))  # type: ignore[arg-type]  # By name.

    def put_platform(
        self,
        jurisdictions: tuple[str, ...] = ("AT", "BE", "CY"),
        groups: tuple[GroupId, ...] = (GROUP,),
        name: str = PLATFORM,
        standing: Standing = Standing.ADMITTED,
        since_ms: int = 0,
    ) -> None:
        names = tuple(JurisdictionId(name) for name in jurisdictions)
        row = PlatformRow("Cloud", names, groups, standing, TimeMs(since_ms))
        self.put(PLATFORMS, name.encode(), row)

    def put_rules(self, jurisdiction: str, rules: RuleSet, version: int = 1) -> None:
        row = RuleRow(version, 1000 + version, MemberId("ada"), TimeMs(0), rules)
        self.put(RULES, jurisdiction.encode(), row)

    def say(self, body: Body, **opened: object) -> int:
        index = len(self.entries)
        now = TimeMs(NOW + index + self.clock_ms)
        entry = FoldedEntry(index, now, self.key, body)
        self.entries.append(replace(entry, **opened))
        row = ConsortiumRow(now, index + 1, len(AGENCIES), (GroupId("agencies"), GROUP))
        self.put(CONSORTIUM, ONLY, row)
        return index

    def publish(
        self,
        agency: str,
        *listings: Listing,
        approved: bool = True,
        groups: tuple[GroupId, ...] = (GROUP,),
        unopened: str | None = None,
    ) -> int:
        batch = batch_of(listings)
        epochs = (1,) * len(groups)
        body = Publish(header(agency), batch.count, groups, epochs, False, bytes(32))
        index = self.say(body, batch=None if unopened else batch, unopened=unopened)
        if approved:
            self.approve(agency, index)
        return index

    def approve(self, agency: str, entry: int) -> int:
        return self.say(Approve(header(agency), entry))

    def endorse(
        self, agency: str, entry: int, level: int = 2, first: int = 0, count: int = 1
    ) -> int:
        return self.say(Endorse(header(agency), (RefRange(entry, first, count),), level))

    def dispute(self, agency: str, entry: int, first: int = 0, count: int = 1) -> int:
        refs = (RefRange(entry, first, count),)
        return self.say(Dispute(header(agency), refs, DisputeReason.NOT_CSAM))

    def withdraw(self, agency: str, entry: int, first: int = 0, count: int = 1) -> int:
        refs = (RefRange(entry, first, count),)
        return self.say(Withdraw(header(agency), refs, DisputeReason.NOT_CSAM))

    def feedback(self, *words: Word, platform: str = PLATFORM, unopened: str | None = None) -> int:
        """What a platform says of listings, or a statement of it that does not open."""
        body = Feedback(header(platform), max(1, len(words)), bytes(32), bytes(32))
        return self.say(body, words=words, unopened=unopened)

    def weighed(self) -> Weighed:
        fold = FeedbackFold()
        fold.fold_all(self.entries)
        return weigh(fold.said(), self.registry().snapshot(), self.state)

    def registry(self) -> Registry:
        registry = Registry()
        registry.fold_all(self.entries)
        return registry

    def obligations(self, now_ms: int | None = None) -> PlatformObligations:
        now = None if now_ms is None else TimeMs(now_ms)
        return platform_obligations(self.registry().snapshot(), self.state, PLATFORM, now)

    def active(self, jurisdiction: str = "AT") -> list[str]:
        """The refs active in a jurisdiction, with `?` behind those that only go to review."""
        found = self.obligations()
        shown: list[str] = []
        for row in found.by_jurisdiction[JurisdictionId(jurisdiction)].active_rows():
            clauses = found.by_jurisdiction[JurisdictionId(jurisdiction)].clauses
            status = max(int(item.status[row]) for item in clauses)
            shown.append(str(found.snapshot.ref_of(int(row))) + ("?" if status == 2 else ""))
        return shown


def header(agency: str) -> Header:
    return Header(MemberId(agency), bytes(16), TimeMs(NOW))


def everything(found: PlatformObligations) -> dict[str, object]:
    """All that an answer says, by what it means."""
    clauses: dict[str, object] = {}
    for name, share in found.by_jurisdiction.items():
        for number, active in enumerate(share.clauses):
            rows = np.flatnonzero(active.active.whole)
            clauses[f"{name} {number}"] = (
                active.clause,
                rows.tolist(),
                active.status.tolist(),
                active.live.whole().tolist(),
                active.review_only.tolist(),
                [certifiers(found, active, int(row)) for row in rows],
                [active.active.holds(row) for row in range(found.snapshot.count)],
            )
    return clauses | {
        "rows": found.active_rows.tolist(),
        "count": found.active_count,
        "live": found.live.whole().tolist(),
        "root": found.active_root,
        "rules": found.rules_sha256,
        "shares": [(i.jurisdiction, i.coverage, i.rule) for i in found.by_jurisdiction.values()],
        "tied": None if found.counting.ties is None else sorted(found.counting.ties.rows.tolist()),
    }
