"""Bytes to what they prove: the platform's attestations out of the ledger, its log out of a note.

Everything here either verifies or raises Unproven.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from accord.audit.evidence import Evidence
from accord.audit.receipts import receipts_key, receipts_origin
from accord.statements.bodies import Attest
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.merkle import Frontier, leaf_hash
from accord.tlog.note import parse_note, verify_line
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import KeyId, TimeMs
from accord.wire.keys import VerifyKey, key_id_of


@dataclass(frozen=True, slots=True)
class Attested:
    """An attestation at its place in the ledger, its signature verified."""

    entry: int
    time_ms: TimeMs
    body: Attest


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The platform's attestations in log order, and the ledger's roots at the sizes they name."""

    attested: tuple[Attested, ...]
    roots: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class ReceiptsReading:
    """The platform's log as it signed it."""

    size: int
    root: bytes
    leaves: Sequence[bytes]
    hashes: tuple[bytes, ...]


def read_ledger(evidence: Evidence) -> LedgerReading:
    """Raises: Unproven with `audit.ledger`, if the leaves are not those of the checkpoint."""
    hashes = [leaf_hash(leaf) for leaf in evidence.leaves]
    if len(hashes) != evidence.size or Frontier().extend(hashes).root() != evidence.root:
        raise Unproven("audit.ledger", size=evidence.size)
    keys = {key_id_of(key.public): key.public for key in evidence.keys}
    attested: list[Attested] = []
    for index, leaf in enumerate(evidence.leaves):
        if b"attest" not in leaf:  # The kind stands in the clear: most leaves are not parsed.
            continue
        found = _attested(evidence, index, leaf, keys)
        if found is not None:
            attested.append(found)
    sizes = {found.body.size for found in attested}
    return LedgerReading(tuple(attested), roots_at(hashes, sizes))


def _attested(
    evidence: Evidence, index: int, leaf: bytes, keys: Mapping[KeyId, bytes]
) -> Attested | None:
    try:
        entry = parse_entry(leaf)
        envelope = parse_envelope(entry.statement)
    except Malformed as err:
        raise Unproven("audit.ledger", entry=index, why=err.code) from err
    body = envelope.body
    if not isinstance(body, Attest) or body.header.member != evidence.platform:
        return None
    public = keys.get(envelope.key_id)
    if public is None:  # The ledger fold let it pass, so the evidence's keys are not all.
        raise Unproven("audit.scanner_key", entry=index)
    envelope.verify(evidence.chain_at(index), VerifyKey(public))
    return Attested(index, entry.time_ms, body)


def read_receipts(evidence: Evidence, note: bytes) -> ReceiptsReading:
    """Raises: Unproven with `audit.receipts_note` (another log's, or no scanner key in force signed
    it) or `audit.receipts_leaves` (the leaves are not those it signed)."""
    try:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
    except Malformed as err:
        raise Unproven("audit.receipts_note", why=err.code) from err
    origins = {receipts_origin(chain, evidence.platform): chain for chain in evidence.names}
    if checkpoint.origin not in origins:
        raise Unproven("audit.receipts_note", why="another log")
    # The platform can always sign its head anew; a key that it revoked may be a thief's by now.
    in_force = [key for key in evidence.keys if key.revoked_ms is None]
    chain = origins[checkpoint.origin]
    keys = [receipts_key(chain, evidence.platform, k.public) for k in in_force]
    signed = [(line, key) for line in parsed.lines for key in keys if line.is_by(key)]
    if not signed:
        raise Unproven("audit.receipts_note", why="not signed by the platform")
    for line, key in signed:
        verify_line(line, parsed.text, key)
    hashes = tuple(leaf_hash(leaf) for leaf in evidence.receipts_leaves)
    frontier = Frontier().extend(hashes)
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise Unproven("audit.receipts_leaves", size=checkpoint.size)
    return ReceiptsReading(checkpoint.size, checkpoint.root, evidence.receipts_leaves, hashes)


def roots_at(hashes: Sequence[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots at these sizes, those beyond the end left out, in one pass."""
    wanted = sorted({size for size in sizes if 0 <= size <= len(hashes)})
    frontier, roots = Frontier(), dict[int, bytes]()
    for size in wanted:
        frontier = frontier.extend(hashes[frontier.size : size])
        roots[size] = frontier.root()
    return roots
