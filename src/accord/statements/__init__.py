"""What members say: bodies, their envelopes, and the blobs that only members open.

Job: parse and encode bodies and batches, verify envelopes, open sealed blobs.
Refuses: bytes that are not canonical, bodies over a limit, signatures that do not verify,
blobs whose key commitment, padding or counts do not hold.
Sealing needs randomness and lives in `agency`; here are its exact inverses.
Entry points: `bodies.parse_body`, `envelope.parse_envelope`, `batch.parse_batch`,
`confidential.open_batch`, `rules.RuleSet`.
"""
