"""How often a platform attests, and how long what was withdrawn stays on its list."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from accord.audit.evidence import Evidence, Interval
from accord.audit.verdict import Outcome, Verdict, verdict
from accord.statements.bodies import Keyset, Propose, Role, SuspendPlatform
from accord.wire.ids import TimeMs
from accord.wire.limits import SYNC_SLACK_MS
from audit_kit import HOUR_MS, evidence_on, judged
from consortium_kit import CHAIN, derived_key
from scan_kit import CLOUD, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path, attest_within_minutes=120)
    opened.following().once()
    yield opened
    opened.close()


def later(scene: Scene, ms: int) -> None:
    scene.consortium.now = TimeMs(scene.consortium.now + ms)


def facts(found: Verdict, check: str) -> dict[str, int | str]:
    (finding,) = (item for item in found.findings if item.check == check)
    return finding.facts


def test_a_platform_that_falls_silent_is_named(scene: Scene) -> None:
    judged(evidence_on(scene, later_ms=2 * HOUR_MS), Outcome.OK)
    late_ms = 2 * HOUR_MS + SYNC_SLACK_MS + 1
    found = judged(evidence_on(scene, later_ms=late_ms), Outcome.VIOLATION, "attest.missing")
    named = facts(found, "interval")
    assert int(named["deadline_ms"]) - int(named["since_ms"]) == 2 * HOUR_MS + SYNC_SLACK_MS


def test_one_that_attests_again_too_late_is_named_with_the_lateness(scene: Scene) -> None:
    later(scene, 5 * HOUR_MS)
    entry = scene.attester.attest(scene.screener, scene.source, scene.clock())
    found = judged(evidence_on(scene), Outcome.VIOLATION, "attest.late")
    named = facts(found, "interval")
    assert named["attested_in"] == entry
    assert 2 * HOUR_MS < int(named["late_ms"]) < 3 * HOUR_MS


def test_our_own_software_attests_in_time_though_nothing_changes(scene: Scene) -> None:
    following, before = scene.following(), scene.attester.sent
    following.once()
    assert scene.attester.sent == before, "it has just been said"
    for _ in range(20):
        later(scene, HOUR_MS // 2)
        following.once()
    assert 5 <= scene.attester.sent - before <= 8
    found = judged(evidence_on(scene), Outcome.OK)
    assert int(facts(found, "interval")["in_time"]) >= 5


def test_a_rule_that_asks_for_no_interval_binds_nobody(tmp_path: Path) -> None:
    scene = Scene(tmp_path, attest_within_minutes=0)
    try:
        scene.following().once()
        judged(evidence_on(scene, later_ms=10**10), Outcome.OK)
    finally:
        scene.close()


def test_a_shorter_interval_counts_from_its_own_start(scene: Scene) -> None:
    scene.sync_within_minutes = 100_000
    later(scene, HOUR_MS)
    scene.attest_within_minutes = 10
    scene.rule(2)
    evidence = evidence_on(scene, later_ms=600_000)
    assert [item.within_ms for item in evidence.intervals] == [None, 2 * HOUR_MS, 600_000]
    judged(evidence, Outcome.OK)
    judged(evidence_on(scene, later_ms=700_000), Outcome.VIOLATION, "attest.missing")


def test_a_suspended_platform_owes_nothing_and_a_changed_key_stops_no_clock(scene: Scene) -> None:
    fresh = derived_key(CLOUD, Role.DECRYPTOR, "late")
    kept = [key for key in scene.consortium.keys[CLOUD] if key.role is not Role.DECRYPTOR]
    rows = tuple(sorted(key.role_key(CHAIN, CLOUD) for key in [*kept, fresh]))
    scene.consortium.must(Keyset(scene.consortium.header(CLOUD), 2, rows), Role.ROOT)
    judged(evidence_on(scene, later_ms=3 * HOUR_MS), Outcome.VIOLATION, "attest.missing")
    suspend = SuspendPlatform(CLOUD)
    scene.consortium.decide(Propose(scene.consortium.header("nl-one"), suspend))
    judged(evidence_on(scene, later_ms=30 * HOUR_MS), Outcome.OK)


def test_what_was_withdrawn_is_measured_until_the_platform_attests_without_it(scene: Scene) -> None:
    entry = scene.list_pictures(1)
    following = scene.following()
    following.once()
    assert facts(verdict(evidence_on(scene)), "removals") == {"followed": 0, "open": 0}
    scene.withdraw(entry)
    found = judged(evidence_on(scene, later_ms=60_000), Outcome.OK)
    assert facts(found, "removals") == {"followed": 0, "open": 1, "oldest_open_ms": 60_000}
    later(scene, 600_000)
    following.once()
    found = judged(evidence_on(scene), Outcome.OK)
    named = facts(found, "removals")
    assert (named["followed"], named["open"]) == (1, 0)
    assert named["longest_ms"] == named["median_ms"]
    assert 600_000 < int(named["longest_ms"]) < 660_000


def test_both_checks_are_functions_of_their_evidence(scene: Scene) -> None:
    evidence: Evidence = evidence_on(scene)
    start = evidence.intervals[-1].time_ms
    never = replace(evidence, intervals=(Interval(start, 1),), now_ms=TimeMs(start + 10**9))
    found = verdict(never)
    assert {item.code for item in found.findings if item.check == "interval"} >= {"attest.missing"}
    ended = (Interval(start, 10**9), Interval(TimeMs(start + 5), None))
    assert facts(verdict(replace(evidence, intervals=ended)), "interval")["in_time"] == 0
