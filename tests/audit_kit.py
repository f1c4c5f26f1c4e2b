"""An auditor's eyes on a scene: gather the evidence as an agency would, and shape cheats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.agency.auditing import Shown, fetch_shown, gather
from accord.audit.evidence import Evidence
from accord.audit.receipts import encode_scan_receipt
from accord.audit.verdict import Outcome, Verdict, verdict
from accord.replica.replica import Replica
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screened
from accord.wire.ids import TimeMs
from consortium_kit import CHAIN
from scan_kit import CLOUD, Scene
from source_kit import identity_of

HOUR_MS = 3_600_000


@dataclass
class LogOf:
    """A platform's log, straight from its store."""

    receipts: ReceiptLog

    def fetch_checkpoint(self) -> bytes:
        return self.receipts.checkpoint()

    def fetch_tile(self, path: str) -> bytes:
        return self.receipts.tile(path)


def shown_by(receipts: ReceiptLog) -> Shown:
    return fetch_shown(LogOf(receipts))


def evidence_on(
    scene: Scene,
    shown: Shown | None = None,
    presented: Sequence[Screened] = (),
    later_ms: int = 0,
    auditor: str = "ie-two",
) -> Evidence:
    """What an auditor gathers with a replica of its own, made afresh."""
    path = scene.directory / f"auditor-{auditor}.sqlite"
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    founding = scene.consortium.founding
    identity = identity_of(scene.consortium, auditor)
    replica = Replica(path, founding, identity, allow_trial=True)
    try:
        replica.sync(scene.source, scene.clock())
        return gather(
            replica,
            founding,
            CLOUD,
            shown_by(scene.receipts) if shown is None else shown,
            [encode_scan_receipt(screened.receipt) for screened in presented],
            TimeMs(scene.consortium.now + later_ms),
        )
    finally:
        replica.close()


def codes(found: Verdict) -> set[str]:
    return {finding.code for finding in found.findings if finding.code is not None}


def judged(evidence: Evidence, outcome: Outcome, *wanted: str) -> Verdict:
    found = verdict(evidence)
    assert found.outcome is outcome, found.encode().decode()
    assert codes(found) == set(wanted), found.encode().decode()
    return found


def receipt_log(directory: Path, scene: Scene) -> ReceiptLog:
    """A second log under the same key: what a platform that rewrites would keep."""
    return ReceiptLog(directory / "other.sqlite", CHAIN, CLOUD, scene.key)
