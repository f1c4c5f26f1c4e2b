"""The platform's side: screening uploads and stored files, its receipts, its attestations.

Job: the gateway service, bulk scans, the platform's own log, following the ledger meanwhile.
Refuses: to answer without a durable receipt; to call "could not look" a no match; to queue more
than it can do soon; to answer a network without a token.
Entry points: `platform.open_platform`, `screener.Screener`, `gateway.create_app`, `bulk.Scan`.
Rules: docs/spec/gateway.md, docs/spec/receipts.md.
"""
