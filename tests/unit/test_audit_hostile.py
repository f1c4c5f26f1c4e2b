"""Stolen keys convict nobody; a log that shrinks or stays short of its promises is found."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.auditing import NOTHING_SHOWN, Shown
from accord.agency.founding import PLATFORM_STAFF
from accord.audit.evidence import Evidence
from accord.audit.receipts import (
    encode_scan_receipt,
    parse_scan_receipt,
    receipts_key,
    receipts_origin,
    scan_receipt_bytes,
)
from accord.audit.verdict import Outcome
from accord.client.home import role_keys
from accord.matching import Context
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screened, Screener
from accord.statements.bodies import Attest, Keyset, Role
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.tlog import Checkpoint, Note, leaf_hash, sign_text, tree_root
from accord.wire.ids import TimeMs
from accord.wire.limits import BACKDATED_SLACK_MS
from audit_kit import HOUR_MS, evidence_on, judged, receipt_log, shown_by
from consortium_kit import CHAIN, derived_key, keys_for
from scan_kit import CLOUD, Scene, looked_at


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path)
    yield opened
    opened.close()


def screened(scene: Scene, *seeds: int) -> list[Screened]:
    return [scene.screener.screen_found(looked_at(seed), Context()) for seed in seeds]


def attest(scene: Scene, size: int, root: bytes) -> None:
    """What the platform runs, with this head of its receipts log."""
    running = scene.screener.running
    body = Attest(
        header=scene.consortium.header(CLOUD),
        size=running.screen.checkpoint.size,
        root=running.screen.checkpoint.root,
        rules_sha256=running.obligations.rules_sha256,
        active_root=running.obligations.active_root,
        applied_at_ms=running.applied_at_ms,
        receipts_size=size,
        receipts_root=root,
        build="liar",
    )
    sealed = seal_envelope(CHAIN, scene.key.key_id, body, scene.key.sign)
    scene.source.submit(encode_transaction(Transaction(sealed, None)))


def later(scene: Scene, ms: int) -> None:
    scene.consortium.now = TimeMs(scene.consortium.now + ms)


def revoke_scanner(scene: Scene) -> None:
    """The platform learns of the theft and changes its scanner key."""
    world = scene.consortium
    staff = [key for key in keys_for(CLOUD, PLATFORM_STAFF) if key.role is not Role.SCANNER]
    fresh = derived_key(CLOUD, Role.SCANNER, "scanner-new")
    keys = role_keys(CHAIN, CLOUD, [*staff, fresh])
    world.must(Keyset(world.header(CLOUD), 2, keys), Role.ROOT)
    world.keys[CLOUD] = (*staff, fresh)


def forged_log(scene: Scene, directory: Path) -> Shown:
    """What a thief of the scanner key signs as the platform's log."""
    other = receipt_log(directory, scene)
    fake = Screener(scene.replica, CLOUD, other, scene.pool, scene.clock)
    fake.refresh()
    for _ in range(3):
        fake.screen_found(looked_at(2), Context())
    shown = shown_by(other)
    other.close()
    return shown


def with_promise(evidence: Evidence, scene: Scene, time_ms: int, leaf: bytes) -> Evidence:
    signed = scan_receipt_bytes(CHAIN, CLOUD, 0, leaf, TimeMs(time_ms))
    known = parse_scan_receipt(evidence.scan_receipts[0])
    forged = replace(known, index=0, leaf=leaf, time_ms=time_ms, signature=scene.key.sign(signed))
    return replace(evidence, scan_receipts=[encode_scan_receipt(forged)])


def test_a_log_signed_with_a_revoked_key_convicts_nobody(scene: Scene, tmp_path: Path) -> None:
    scene.following().once()
    screened(scene, 1, 1)
    later(scene, 2 * HOUR_MS)
    scene.following().once()
    forged = forged_log(scene, tmp_path)
    judged(evidence_on(scene, shown=forged), Outcome.VIOLATION, "receipts.rewritten")
    revoke_scanner(scene)
    judged(evidence_on(scene, shown=forged), Outcome.CANNOT_JUDGE, "audit.receipts_note")


def test_a_promise_of_a_revoked_key_is_no_proof_against_the_platform(scene: Scene) -> None:
    scene.following().once()
    presented = screened(scene, 1)
    at_ms = presented[0].receipt.time_ms
    honest = evidence_on(scene, presented=presented)
    judged(with_promise(honest, scene, at_ms, bytes(32)), Outcome.VIOLATION, "promise.broken")
    revoke_scanner(scene)
    fresh = scene.consortium.key(CLOUD, Role.SCANNER)
    renewed = ReceiptLog(scene.directory / "receipts.sqlite", CHAIN, CLOUD, fresh)
    evidence = evidence_on(scene, shown=shown_by(renewed), presented=presented)
    renewed.close()
    judged(evidence, Outcome.OK)  # A promise that was kept stays good.
    forged = with_promise(evidence, scene, at_ms, bytes(32))
    judged(forged, Outcome.CANNOT_JUDGE, "promise.key_revoked")


def test_a_promise_beyond_a_log_attested_much_later_is_dropped(scene: Scene) -> None:
    scene.following().once()
    presented = screened(scene, 1, 1)
    later(scene, BACKDATED_SLACK_MS // 2)
    attest(scene, 1, shown_root(scene, 1))
    judged(short(scene, presented), Outcome.CANNOT_JUDGE, "promise.not_yet")
    later(scene, BACKDATED_SLACK_MS)
    attest(scene, 1, shown_root(scene, 1))
    judged(short(scene, presented), Outcome.VIOLATION, "promise.dropped")
    unseen = evidence_on(scene, shown=NOTHING_SHOWN, presented=presented)
    judged(unseen, Outcome.VIOLATION, "audit.no_receipts_log", "promise.dropped", "promise.not_yet")


def test_a_log_that_shrinks_between_attestations_is_found_unseen(scene: Scene) -> None:
    scene.following().once()
    screened(scene, 1, 1, 1)
    attest(scene, 3, scene.receipts.head().root)
    later(scene, HOUR_MS)
    attest(scene, 2, shown_root(scene, 2))  # One may overtake another on its way to the ledger.
    judged(evidence_on(scene, shown=NOTHING_SHOWN), Outcome.CANNOT_JUDGE, "audit.no_receipts_log")
    later(scene, 2 * BACKDATED_SLACK_MS)
    attest(scene, 2, shown_root(scene, 2))
    judged(
        evidence_on(scene, shown=NOTHING_SHOWN),
        Outcome.VIOLATION,
        "attest.receipts_shrunk",
        "audit.no_receipts_log",
    )


def shown_root(scene: Scene, size: int) -> bytes:
    return tree_root(leaf_hash(leaf) for leaf in shown_by(scene.receipts).leaves[:size])


def short(scene: Scene, presented: Sequence[Screened]) -> Evidence:
    """The platform shows a log of one receipt, truly signed."""
    text = Checkpoint(receipts_origin(CHAIN, CLOUD), 1, shown_root(scene, 1)).encode()
    line = sign_text(text, receipts_key(CHAIN, CLOUD, scene.key.public), scene.key.sign)
    shown = Shown(Note(text, (line,)).encode(), shown_by(scene.receipts).leaves[:1])
    return evidence_on(scene, shown=shown, presented=presented)
