"""An audit judges what was said before and after a log went on under a new genesis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.audit.verdict import Outcome
from accord.matching import Context
from accord.scan.attesting import Attester
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screened, Screener
from accord.wire.ids import TimeMs
from audit_kit import HOUR_MS, evidence_on, judged
from consortium_kit import GROUPS
from continuing_kit import SECOND, go_on
from scan_kit import CLOUD, Scene, looked_at
from source_kit import ConsortiumSource


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path)
    yield opened
    opened.close()


def work(scene: Scene) -> Screened:
    following = scene.following()
    following.once()
    screened = scene.screener.screen_found(looked_at(1), Context())
    scene.consortium.now = TimeMs(scene.consortium.now + 600_000)
    following.once()
    return screened


def go_over(scene: Scene) -> None:
    """The consortium goes on, and the platform with it: the same replica, receipts and keys."""
    after = go_on(scene.consortium)
    scene.replica.close()
    scene.receipts.close()
    scene.consortium = after
    for group in GROUPS:
        after.open_epoch(group)
    scene.source = ConsortiumSource(after, clock=scene.clock)
    scene.replica = scene.open_replica()
    scene.receipts = ReceiptLog(scene.directory / "receipts.sqlite", SECOND, CLOUD, scene.key)
    scene.replica.sync(scene.source, scene.clock())
    scene.screener = Screener(scene.replica, CLOUD, scene.receipts, scene.pool, scene.clock)
    scene.attester = Attester(SECOND, CLOUD, scene.key, scene.receipts)


def test_an_honest_platform_is_fine_on_both_sides(scene: Scene) -> None:
    scene.list_pictures(1)
    presented = [work(scene)]
    go_over(scene)
    presented.append(work(scene))
    scene.list_pictures(2)
    presented.append(work(scene))
    evidence = evidence_on(scene, presented=presented, later_ms=HOUR_MS)
    assert {item.receipt.chain for item in presented} == {scene.consortium.old.chain, SECOND}  # type: ignore[attr-defined]  # It went over.
    verdict = judged(evidence, Outcome.OK)
    (attested,) = (item for item in verdict.findings if item.check == "attestations")
    assert int(attested.facts["attestations"]) >= 2


def test_what_was_late_before_is_late_after(scene: Scene) -> None:
    following = scene.following()
    following.once()
    scene.list_pictures(1)
    scene.consortium.now = TimeMs(scene.consortium.now + 3 * HOUR_MS)
    following.once()
    go_over(scene)
    work(scene)
    judged(evidence_on(scene), Outcome.VIOLATION, "sync.late")
