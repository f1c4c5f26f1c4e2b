"""The bottom of everything: bytes and the values they stand for.

Job: canonical CBOR, typed records over it, digests, ids, Ed25519 public keys, limits, errors.
Refuses: bytes that do not re-encode to themselves, keys with a low order, anything over a limit.
Entry points: `cbor.parse` and `cbor.encode`, `record.parse_record` and `record.encode_record`,
`keys.VerifyKey`, the names of `ids`, `limits` and `errors`.
"""
