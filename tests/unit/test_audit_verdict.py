"""The verdict: honest platforms pass, each cheat is named, the bytes are everybody's."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.auditing import NOTHING_SHOWN, Shown
from accord.audit.verdict import CANNOT_PROVE, Outcome, verdict
from accord.matching import Context
from accord.scan.screener import Screened, Screener
from accord.statements.bodies import Attest, Propose, SuspendPlatform
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.statements.rules import Action
from accord.wire.ids import TimeMs
from audit_kit import HOUR_MS, evidence_on, judged, receipt_log, shown_by
from consortium_kit import CHAIN
from scan_kit import CLOUD, Scene, looked_at


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path)
    yield opened
    opened.close()


def honest(scene: Scene) -> list[Screened]:
    """A platform at work: it follows, attests, screens; the list and the rules change."""
    following = scene.following()
    screened = list[Screened]()
    following.once()
    for step in range(3):
        if step == 1:
            scene.list_pictures(1)
        if step == 2:
            scene.rule(2, Action.QUARANTINE)
        scene.consortium.now = TimeMs(scene.consortium.now + 600_000)
        following.once()
        screened += [scene.screener.screen_found(looked_at(n), Context()) for n in (1, 2)]
    following.once()
    return screened


def test_an_honest_platform_is_fine_and_all_auditors_say_so_in_the_same_bytes(scene: Scene) -> None:
    presented = honest(scene)
    answers = set[bytes]()
    for auditor in ("nl-one", "ie-two", "ca-three"):
        evidence = evidence_on(scene, presented=presented, later_ms=HOUR_MS, auditor=auditor)
        answers.add(judged(evidence, Outcome.OK).encode())
    assert len(answers) == 1
    view = json.loads(answers.pop())
    assert view["cannot_prove"] == list(CANNOT_PROVE)
    assert {finding["check"] for finding in view["findings"]} == {
        "ledger",
        "sync",
        "attestations",
        "interval",
        "removals",
        "receipts-log",
        "receipts",
        "scan-receipts",
    }
    assert Outcome.OK.exit_code == 0


def test_silence_is_pending_until_the_deadline_and_a_violation_after_it(scene: Scene) -> None:
    entry = scene.list_pictures(1)
    judged(evidence_on(scene, later_ms=HOUR_MS // 2), Outcome.OK)
    found = judged(evidence_on(scene, later_ms=2 * HOUR_MS), Outcome.VIOLATION, "sync.missing")
    named = [f.facts["entry"] for f in found.findings if f.code == "sync.missing"]
    assert max(int(n) for n in named) > entry
    assert found.outcome.exit_code == 3


def test_an_attestation_after_the_deadline_is_late_by_so_much(scene: Scene) -> None:
    following = scene.following()
    following.once()
    scene.list_pictures(1)
    scene.consortium.now = TimeMs(scene.consortium.now + 3 * HOUR_MS)
    following.once()
    found = judged(evidence_on(scene), Outcome.VIOLATION, "sync.late")
    late = next(f for f in found.findings if f.code == "sync.late").facts
    assert HOUR_MS < int(late["late_ms"]) < 3 * HOUR_MS


def test_a_change_that_was_undone_in_time_needs_no_attestation(scene: Scene) -> None:
    following = scene.following()
    following.once()
    said = scene.screener.running
    entry = scene.list_pictures(1)
    scene.withdraw(entry)
    scene.withdraw(entry + 2, "ie-two")
    scene.sync()
    assert scene.screener.running.obligations.active_root == said.obligations.active_root
    judged(evidence_on(scene, later_ms=2 * HOUR_MS), Outcome.OK)


def test_a_platform_that_was_suspended_is_not_held_to_what_it_could_not_say(scene: Scene) -> None:
    scene.following().once()
    scene.list_pictures(1)
    suspend = SuspendPlatform(CLOUD)
    scene.consortium.decide(Propose(scene.consortium.header("nl-one"), suspend))
    judged(evidence_on(scene, later_ms=5 * HOUR_MS), Outcome.OK)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("root", "attest.root"),
        ("rules_sha256", "attest.rules"),
        ("active_root", "attest.active_root"),
    ],
)
def test_an_attestation_of_something_else_is_a_violation(
    scene: Scene, field: str, code: str
) -> None:
    scene.list_pictures(1)
    scene.sync()
    lie(scene, **{field: bytes(32)})
    found = judged(evidence_on(scene), Outcome.VIOLATION, code)
    assert next(f for f in found.findings if f.code == code).facts["size"]


def test_two_roots_of_one_receipts_log_convict_without_seeing_it(scene: Scene) -> None:
    scene.sync()
    lie(scene, receipts_size=5, receipts_root=bytes(32))
    lie(scene, receipts_size=5, receipts_root=b"\x01" * 32)
    evidence = evidence_on(scene, shown=NOTHING_SHOWN)
    judged(evidence, Outcome.VIOLATION, "attest.receipts_split", "audit.no_receipts_log")


def test_a_rewritten_receipts_log_is_found(scene: Scene, tmp_path: Path) -> None:
    presented = honest(scene)
    other = receipt_log(tmp_path, scene)
    fake = Screener(scene.replica, CLOUD, other, scene.pool, scene.clock)
    fake.refresh()
    for _ in range(7):
        fake.screen_found(looked_at(2), Context())
    evidence = evidence_on(scene, shown=shown_by(other), presented=presented)
    other.close()
    found = judged(evidence, Outcome.VIOLATION, "receipts.rewritten", "promise.broken")
    broken = [f for f in found.findings if f.code == "promise.broken"]
    assert len(broken) == len(presented)


def test_an_older_head_convicts_nobody(scene: Scene) -> None:
    scene.sync()
    scene.screener.screen_found(looked_at(1), Context())
    old = shown_by(scene.receipts)
    late = scene.screener.screen_found(looked_at(2), Context())
    scene.following().once()
    evidence = evidence_on(scene, shown=old, presented=[late])
    judged(evidence, Outcome.CANNOT_JUDGE, "receipts.short", "promise.not_yet")


def test_a_log_that_is_not_shown_leaves_the_check_open(scene: Scene) -> None:
    honest(scene)
    found = judged(
        evidence_on(scene, shown=NOTHING_SHOWN), Outcome.CANNOT_JUDGE, "audit.no_receipts_log"
    )
    assert found.outcome.exit_code == 4


def test_screening_with_a_list_past_its_deadline_is_found_even_if_attested(scene: Scene) -> None:
    """The gateway attests the new list while a forgotten one still screens with the old."""
    following = scene.following()
    following.once()
    old_replica = scene.open_replica()
    forgotten = Screener(old_replica, CLOUD, scene.receipts, scene.pool, scene.clock)
    forgotten.refresh()
    scene.list_pictures(1)
    following.once()
    forgotten.screen_found(looked_at(1), Context())
    judged(evidence_on(scene), Outcome.OK)
    scene.consortium.now = TimeMs(scene.consortium.now + 2 * HOUR_MS)
    forgotten.screen_found(looked_at(1), Context())
    found = judged(evidence_on(scene), Outcome.VIOLATION, "receipt.stale_list")
    assert next(f for f in found.findings if f.code).facts["receipt"] == 1
    old_replica.close()


def test_a_receipt_with_another_list_than_its_size_says_is_found(scene: Scene) -> None:
    scene.list_pictures(1)
    scene.sync()
    screened = scene.screener.screen_found(looked_at(1), Context())
    running, _, meta, now_ms = scene.screener._decide(screened.query, Context())
    scene.receipts.record(replace(meta, active_root=bytes(32)), screened.query, None, now_ms)
    assert running is scene.screener.running
    judged(evidence_on(scene), Outcome.VIOLATION, "receipt.list")


def test_receipts_made_after_an_anchor_cannot_be_dated_before_it(scene: Scene) -> None:
    scene.list_pictures(1)
    following = scene.following()
    following.once()
    screened = scene.screener.screen_found(looked_at(1), Context())
    _, _, meta, now_ms = scene.screener._decide(screened.query, Context())
    long_ago = TimeMs(meta.bucket_ms - 5 * HOUR_MS)
    scene.receipts.record(replace(meta, bucket_ms=long_ago), screened.query, None, now_ms)
    judged(evidence_on(scene), Outcome.VIOLATION, "receipt.backdated")


def test_a_platform_ahead_of_the_auditor_is_not_judged(scene: Scene) -> None:
    scene.following().once()
    scene.source.stuck_at = len(scene.consortium.leaves)
    shown_at = scene.source.stuck_at
    scene.source.stuck_at = None
    scene.list_pictures(1)
    scene.sync()
    scene.screener.screen_found(looked_at(1), Context())
    scene.source.stuck_at = shown_at
    judged(evidence_on(scene), Outcome.CANNOT_JUDGE, "receipt.ahead")


def test_an_auditor_that_cannot_open_a_batch_convicts_nobody_of_another_list(scene: Scene) -> None:
    scene.list_pictures(1)
    scene.sync()
    lie(scene, active_root=bytes(32))
    evidence = replace(evidence_on(scene), is_complete=False)
    judged(evidence, Outcome.CANNOT_JUDGE, "audit.keys_missing")


def test_promises_of_others_say_nothing(scene: Scene) -> None:
    presented = honest(scene)
    evidence = evidence_on(scene, presented=presented[:1])
    for raw in (
        b"",
        evidence.scan_receipts[0][:-1],
        evidence.scan_receipts[0].replace(b"cloud", b"clown"),
    ):
        judged(replace(evidence, scan_receipts=[raw]), Outcome.CANNOT_JUDGE, "promise.unproven")


def test_violations_beyond_the_limit_are_counted(scene: Scene) -> None:
    presented = honest(scene)
    evidence = evidence_on(scene, presented=presented[:1] * 25)
    shorter = Shown(evidence.receipts_note, tuple(reversed(evidence.receipts_leaves)))
    found = verdict(replace(evidence, receipts_leaves=shorter.leaves))
    assert found.outcome is Outcome.CANNOT_JUDGE
    named = [f for f in found.findings if f.code == "promise.not_yet"]
    assert [f.facts.get("more") for f in named][-1] == 5


def lie(scene: Scene, **changes: object) -> None:
    """An attestation that says something else, signed and logged."""
    head = scene.receipts.head()
    running = scene.screener.running
    body = Attest(
        header=scene.consortium.header(CLOUD),
        size=running.screen.checkpoint.size,
        root=running.screen.checkpoint.root,
        rules_sha256=running.obligations.rules_sha256,
        active_root=running.obligations.active_root,
        applied_at_ms=running.applied_at_ms,
        receipts_size=head.size,
        receipts_root=head.root,
        build="liar",
    )
    said = replace(body, **changes)  # type: ignore[arg-type]  # Test data by name.
    sealed = seal_envelope(CHAIN, scene.key.key_id, said, scene.key.sign)
    scene.source.submit(encode_transaction(Transaction(sealed, None)))
