"""An agency's node: order statements, keep the log, have it cosigned, serve it.

Refuses: what the ledger rejects, requests that no member in good standing signed, to answer
before what it answers is durable and under a head that the quorum signed. Blind: no key that
opens a blob is ever here.
Entry points: `process.run_node`, `engine.Engine` (solo now, CometBFT behind the same face),
`api.make_app`, `store.Store`.
"""
