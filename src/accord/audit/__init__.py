"""Compliance: evidence in, verdict out. Pure; the same bytes for every auditor.

Job: what a receipt is, reading a platform's attestations and its log, the checks, the verdict.
Refuses: to convict on what does not verify; to call "not looked at" fine.
Entry points: `evidence.Evidence`, `verdict.verdict`, `receipts.ScanReceipt`.
Rules: docs/spec/audit.md, docs/spec/receipts.md.
"""
