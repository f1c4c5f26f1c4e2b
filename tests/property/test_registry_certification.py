"""A consortium that says anything, step by step, beside a slow twin made of sets.

Whatever is said, with however many keys, removed, stolen or late: a listing is active in AT only on
the word of k agencies in good standing from j sovereigns, and what is active is what the twin says.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accord.ledger.state import COMPROMISES, CompromiseRow, Standing
from accord.registry import (
    PlatformObligations,
    Registry,
    certifiers,
    platform_obligations,
    registry_digest,
)
from accord.statements.batch import Listing
from accord.statements.rules import ClassCode, Clause
from accord.wire.ids import GroupId, JurisdictionId, KeyId, MemberId, TimeMs
from registry_kit import (
    A1,
    AGENCIES,
    B2,
    GROUP,
    NOW,
    PLATFORM,
    World,
    clause,
    everything,
    pdq_of,
    rule_set,
)

AT = JurisdictionId("AT")
OTHERS = GroupId("others")
NAMES = sorted(AGENCIES)
LIFE_MS = 5_000
MD5S = (b"\1" * 16, b"\2" * 16)


@dataclass(eq=False)
class Said:
    """One statement about a listing."""

    agency: str
    key: KeyId
    at_ms: int
    level: int = 0


@dataclass(eq=False)
class Twin:
    published: Said
    listing: Listing
    approved: Said | None = None
    endorsed: list[Said] = field(default_factory=list)
    disputed: list[Said] = field(default_factory=list)
    withdrawn: list[Said] = field(default_factory=list)


class Consortium(RuleBasedStateMachine):
    @initialize(
        agencies=st.integers(1, 3), sovereigns=st.integers(1, 2), level=st.sampled_from([0, 0, 1])
    )
    def found(self, agencies: int, sovereigns: int, level: int) -> None:
        self.world = World()
        self.floor = 1
        self.asked = (max(agencies, sovereigns), sovereigns, level)
        self.world.put_parameters(dispute_life_ms=LIFE_MS)
        self.world.put_rules("AT", rule_set(clause(*self.asked)))
        self.batches: dict[int, list[Twin]] = {}
        self.removed: set[str] = set()
        self.keys = {name: KeyId(bytes([number]) * 16) for number, name in enumerate(NAMES)}
        self.stolen: dict[KeyId, int] = {}
        self.begin()

    def begin(self) -> None:
        """Something is active from the start, so that what follows has something to change."""
        for number in range(len(NAMES)):
            self.publish(number, [0, number], None, A1, at_once=True)
        for number in range(2):
            self.endorse(number, number + 1, 2)

    def speak(self, agency: str, level: int = 0) -> Said:
        self.world.key = self.keys[agency]
        index = len(self.world.entries)
        return Said(agency, self.world.key, NOW + index + self.world.clock_ms, level)

    def pick(self, number: int) -> tuple[int, list[Twin]]:
        entry = sorted(self.batches)[number % len(self.batches)]
        return entry, self.batches[entry]

    def speakers(self) -> list[str]:
        return [name for name in NAMES if name not in self.removed]

    @rule(
        who=st.integers(0, 9),
        seeds=st.lists(st.integers(0, 3), min_size=1, max_size=3),
        md5=st.sampled_from([None, *MD5S]),
        code=st.sampled_from([A1, A1, A1, B2]),
        at_once=st.sampled_from([True, True, False]),
    )
    def publish(
        self, who: int, seeds: list[int], md5: bytes | None, code: ClassCode, at_once: bool
    ) -> None:
        agency = self.speakers()[who % len(self.speakers())]
        rows = [Listing(code, pdq=pdq_of(seed), pdq_quality=80, md5=md5) for seed in seeds]
        said = self.speak(agency)
        entry = self.world.publish(agency, *rows, approved=False)
        self.batches[entry] = [Twin(said, row) for row in rows]
        if at_once:
            self.approve_entry(entry)

    def approve_entry(self, entry: int) -> None:
        agency = self.batches[entry][0].published.agency
        said = self.speak(agency)
        self.world.approve(agency, entry)
        for twin in self.batches[entry]:
            twin.approved = said

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9))
    def approve(self, number: int) -> None:
        entry, twins = self.pick(number)
        if twins[0].approved is None and twins[0].published.agency not in self.removed:
            self.approve_entry(entry)

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9), who=st.integers(0, 9), level=st.integers(0, 2))
    def endorse(self, number: int, who: int, level: int) -> None:
        entry, twins = self.pick(number)
        agency = self.speakers()[who % len(self.speakers())]
        if agency == twins[0].published.agency or twins[0].approved is None:
            return  # The ledger refuses these.
        said = self.speak(agency, level)
        self.world.endorse(agency, entry, level, 0, len(twins))
        for twin in twins:
            twin.endorsed.append(said)

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9), who=st.integers(0, 9))
    def dispute(self, number: int, who: int) -> None:
        entry, twins = self.pick(number)
        agency = self.speakers()[who % len(self.speakers())]
        said = self.speak(agency)
        self.world.dispute(agency, entry)
        twins[0].disputed.append(said)

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9))
    def withdraw(self, number: int) -> None:
        entry, twins = self.pick(number)
        agency = twins[0].published.agency
        if agency in self.removed:
            return
        said = self.speak(agency)
        self.world.withdraw(agency, entry)
        twins[0].withdrawn.append(said)

    @rule(late_ms=st.sampled_from([10, LIFE_MS // 2, LIFE_MS]))
    def wait(self, late_ms: int) -> None:
        self.world.clock_ms += late_ms

    @precondition(lambda self: len(self.removed) < 2)
    @rule(who=st.integers(0, 9))
    def remove(self, who: int) -> None:
        if who % 3:  # Seldom: of whom nobody is left, nothing is learnt.
            return
        name = self.speakers()[who % len(self.speakers())]
        self.removed.add(name)
        self.world.put_agency(name, AGENCIES[name], 0, standing=Standing.REMOVED)

    @rule(who=st.integers(0, 9), back_ms=st.sampled_from([0, 3, LIFE_MS]))
    def declare_stolen(self, who: int, back_ms: int) -> None:
        """The agency declares its key void as of then, and goes on with another."""
        name = NAMES[who % len(NAMES)]
        key, since = self.keys[name], NOW + self.world.clock_ms + len(self.world.entries) - back_ms
        self.stolen[key] = min(since, self.stolen.get(key, since))
        self.world.put(COMPROMISES, key, CompromiseRow(MemberId(name), TimeMs(self.stolen[key])))
        self.keys[name] = KeyId(bytes([key[0] + len(NAMES)]) * 16)

    @rule(floor=st.sampled_from([1, 1, 2]))
    def raise_floor(self, floor: int) -> None:
        self.floor = floor
        self.world.put_parameters(dispute_life_ms=LIFE_MS, agencies_min=floor)

    def counts(self, said: Said) -> bool:
        return self.is_sound(said) and said.agency not in self.removed

    def is_sound(self, said: Said) -> bool:
        return said.at_ms < self.stolen.get(said.key, 2**62)

    def live(self) -> dict[tuple[int, int], Twin]:
        return {
            (entry, ordinal): twin
            for entry, twins in self.batches.items()
            for ordinal, twin in enumerate(twins)
            if twin.listing.class_code == A1
            and twin.approved is not None
            and self.is_sound(twin.published)
            and self.is_sound(twin.approved)
            and not any(self.is_sound(said) for said in twin.withdrawn)
        }

    def vouching(self, twin: Twin, live: dict[tuple[int, int], Twin]) -> set[str]:
        level = self.asked[2]
        words = [twin.published, *(said for said in twin.endorsed if said.level >= level)]
        if level == 0:
            mine = {twin.listing.pdq, twin.listing.md5} - {None}
            for other in live.values():
                own = other.published.agency
                agrees = any(s.agency == own and self.counts(s) for s in other.disputed)
                if mine & {other.listing.pdq, other.listing.md5} and not agrees:
                    words.append(other.published)
        return {said.agency for said in words if self.counts(said)}

    def is_review_only(self, twin: Twin, now_ms: int) -> bool:
        said = [item for item in twin.disputed if self.counts(item)]
        if any(item.agency == twin.published.agency for item in said):
            return True
        for first in said:
            window = {
                AGENCIES[other.agency]
                for other in said
                if first.at_ms <= other.at_ms < first.at_ms + LIFE_MS
            }
            if len(window) >= 2:
                return True
        return any(AGENCIES[i.agency] == "AT" and now_ms < i.at_ms + LIFE_MS for i in said)

    @precondition(lambda self: self.batches)
    @invariant()
    def what_is_active_is_what_the_twin_says(self) -> None:
        now_ms = NOW + self.world.clock_ms + len(self.world.entries)
        agencies, sovereigns, _ = self.asked
        live, wanted = self.live(), dict[tuple[int, int], int]()
        for key, twin in live.items():
            names = self.vouching(twin, live)
            spans = {AGENCIES[name] for name in names}
            if len(names) >= max(agencies, self.floor) and len(spans) >= sovereigns:
                wanted[key] = 2 if self.is_review_only(twin, now_ms) else 1
        found = self.world.obligations(now_ms)
        active = found.by_jurisdiction[AT].clauses[0]
        shown: dict[tuple[int, int], int] = {}
        for row in found.active_rows:
            ref = found.snapshot.ref_of(int(row))
            key = (ref.entry, ref.ordinal)
            shown[key] = int(active.status_of(found.active_rows[found.active_rows == row])[0])
            named = {who.agency for who in certifiers(found, active, int(row))}
            assert named == self.vouching(self.batches[ref.entry][ref.ordinal], live)
            assert len(named) >= max(agencies, self.floor)
        assert shown == wanted


Consortium.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestConsortium = Consortium.TestCase


class TooFew(Consortium):
    """One agency fewer than the rule asks: nothing is ever active, whatever they say."""

    @initialize(agencies=st.integers(2, 4), sovereigns=st.just(1), level=st.integers(0, 2))
    def found(self, agencies: int, sovereigns: int, level: int) -> None:
        self.silent = set(NAMES[agencies - 1 :])
        super().found(agencies, sovereigns, level)

    def speakers(self) -> list[str]:
        return [name for name in NAMES if name not in self.silent]

    def remove(self, who: int) -> None:
        """Nobody leaves: each of the few goes on to say what it likes."""

    @precondition(lambda self: self.batches)
    @invariant()
    def nothing_is_active(self) -> None:
        assert self.world.active() == []


TooFew.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestTooFew = TooFew.TestCase


CLAUSES = (
    clause(1, 1, 0),
    clause(2, 1, 0, name="two", classes=(A1, B2)),
    clause(2, 2, 0, name="b", classes=(B2,)),
    clause(1, 1, 2, name="seen"),
    clause(2, 1, 1, name="seen by two", classes=(A1, B2)),
)
GROUPS = ((GROUP,), (OTHERS,), (GROUP, OTHERS))


class GoingOn(Consortium):
    """What goes on from an earlier answer, over any number of statements and whatever governance
    changed meanwhile, is what is computed from nothing: on pages of two rows."""

    @initialize(
        agencies=st.integers(1, 3), sovereigns=st.integers(1, 2), level=st.sampled_from([0, 0, 1])
    )
    def found(self, agencies: int, sovereigns: int, level: int) -> None:
        self.registry = Registry(page_bits=1)
        self.before: PlatformObligations | None = None
        self.skipped, self.earlier = 0, dict[str, object]()
        super().found(agencies, sovereigns, level)

    @rule(where=st.sampled_from(["BE", "CY"]), which=st.sets(st.sampled_from(CLAUSES), max_size=3))
    def legislate(self, where: str, which: set[Clause]) -> None:
        clauses = [item for item in CLAUSES if item in which] or [CLAUSES[0]]
        self.world.put_rules(where, rule_set(*clauses))

    @rule(
        where=st.sampled_from([("AT",), ("AT", "BE"), ("AT", "BE", "CY")]),
        groups=st.sampled_from(GROUPS),
    )
    def admit(self, where: tuple[str, ...], groups: tuple[GroupId, ...]) -> None:
        self.world.put_platform(where, groups)

    @rule(
        who=st.integers(0, 9),
        seeds=st.lists(st.integers(0, 3), min_size=1, max_size=5),
        groups=st.sampled_from(GROUPS),
    )
    def release(self, who: int, seeds: list[int], groups: tuple[GroupId, ...]) -> None:
        agency = self.speakers()[who % len(self.speakers())]
        rows = [Listing(B2, pdq=pdq_of(seed), pdq_quality=80, md5=MD5S[seed % 2]) for seed in seeds]
        self.speak(agency)
        self.world.publish(agency, *rows, groups=groups)

    def what_is_active_is_what_the_twin_says(self) -> None:
        """That is asked of the other consortium."""

    @rule(steps=st.integers(1, 3))
    def be_slow(self, steps: int) -> None:
        self.skipped = steps

    @invariant()
    def what_goes_on_is_what_is_computed_from_nothing(self) -> None:
        self.skipped -= 1
        if self.skipped < 0:
            self.go_on()

    def go_on(self) -> None:
        now_ms = TimeMs(NOW + self.world.clock_ms + len(self.world.entries))
        self.registry.fold_all(self.world.entries[self.registry.size :])
        snapshot = self.registry.snapshot()
        found = platform_obligations(snapshot, self.world.state, PLATFORM, now_ms, self.before)
        anew = self.world.obligations(now_ms)
        assert everything(found) == everything(anew)
        assert registry_digest(snapshot) == registry_digest(anew.snapshot)
        assert self.before is None or everything(self.before) == self.earlier, "an answer changed"
        self.before, self.earlier = found, everything(anew)


GoingOn.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestGoingOn = GoingOn.TestCase
