"""The first fold: who may say what, in which order it counts, what the log becomes.

Job: apply statements to state, deterministically, on every validator and every follower.
Refuses: whatever breaks a rule, with a stable `RejectCode` and no trace in the state.
Blind: it never sees a fingerprint and holds no key that opens one.
Entry points: `genesis.parse_genesis`, `apply.apply`, `block.Ledger`, `state.State`, `views`.
"""
