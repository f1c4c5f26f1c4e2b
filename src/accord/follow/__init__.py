"""Sans-I/O client of a remote log: asks for bytes, checks proofs, hands out verified deltas.

Refuses: a checkpoint without the quorum, a smaller or forked log, entries that do not hash to
the signed root, statements that the ledger fold rejects, blobs that are not what was signed.
Entry points: `follower.Follower`, `delta.VerifiedDelta`.
"""
