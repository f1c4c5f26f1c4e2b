"""Evidence in, verdict out: the same bytes for every auditor.

Invariants: only what two things signed by the platform, or one and the ledger, cannot both be is
a violation; whatever does not verify convicts nobody, it leaves the check unproven; what was not
looked at is said.
Not here: gathering evidence (agency.auditing), each check (checks).
Source: docs/spec/audit.md.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from accord.audit.checks import (
    Finding,
    Result,
    check_attested,
    check_log,
    check_promises,
    check_receipts,
    check_sync,
)
from accord.audit.evidence import Evidence
from accord.audit.readings import read_ledger, read_receipts
from accord.audit.timing import check_interval, check_removals
from accord.wire.errors import Unproven

FORMAT: Final = "accord/v1/verdict"
CANNOT_PROVE: Final = (
    "that an upload which got no scan receipt was screened",
    "that the bytes screened are the bytes stored",
    "what was done with a file after its match",
    "anything about end-to-end encrypted content",
    "that no further list is used",
    "that a scanner which lies in its receipts looked at all: only canaries show that",
)


class Outcome(StrEnum):
    OK = "ok"
    VIOLATION = "violation"
    CANNOT_JUDGE = "cannot-judge"

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "violation": 3, "cannot-judge": 4}[self.value]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found, each finding with its evidence."""

    evidence: Evidence
    receipts_size: int | None
    receipts_root: bytes | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        results = {finding.result for finding in self.findings}
        if Result.VIOLATED in results:
            return Outcome.VIOLATION
        return Outcome.CANNOT_JUDGE if Result.UNPROVEN in results else Outcome.OK

    def view(self) -> dict[str, object]:
        """For JSON: names and numbers."""
        root = self.receipts_root
        return {
            "format": FORMAT,
            "chain": self.evidence.chain,
            "platform": self.evidence.platform,
            "judged_at_ms": self.evidence.now_ms,
            "fold_version": self.evidence.fold_version,
            "ledger": {"size": self.evidence.size, "root": self.evidence.root.hex()},
            "receipts": None if root is None else {"size": self.receipts_size, "root": root.hex()},
            "outcome": self.outcome.value,
            "findings": [finding.view() for finding in self.findings],
            "cannot_prove": list(CANNOT_PROVE),
        }

    def encode(self) -> bytes:
        """Shape: JSON in UTF-8, keys sorted, no blanks, a final newline: equal evidence, equal
        bytes."""
        text = json.dumps(self.view(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode() + b"\n"


def verdict(evidence: Evidence) -> Verdict:
    """Judge. Total: evidence that does not verify gives unproven findings, never an error."""
    try:
        ledger = read_ledger(evidence)
    except Unproven as err:
        finding = Finding("ledger", Result.UNPROVEN, err.code, _facts(err))
        return Verdict(evidence, None, None, (finding,))
    findings = [
        Finding("ledger", Result.OK, None, {"entries": evidence.size}),
        *check_sync(evidence, ledger),
        *check_attested(evidence, ledger),
        *check_interval(evidence, ledger),
        *check_removals(evidence, ledger),
    ]
    if evidence.receipts_note is None:
        findings.append(Finding("receipts-log", Result.UNPROVEN, "audit.no_receipts_log"))
        findings += check_promises(evidence, ledger, None)
        return Verdict(evidence, None, None, tuple(findings))
    try:
        receipts = read_receipts(evidence, evidence.receipts_note)
    except Unproven as err:
        findings.append(Finding("receipts-log", Result.UNPROVEN, err.code, _facts(err)))
        findings += check_promises(evidence, ledger, None)
        return Verdict(evidence, None, None, tuple(findings))
    findings += check_log(ledger, receipts)
    findings += check_receipts(evidence, ledger, receipts)
    findings += check_promises(evidence, ledger, receipts)
    return Verdict(evidence, receipts.size, receipts.root, tuple(findings))


def _facts(err: Unproven) -> dict[str, int | str]:
    return dict(err.detail)
