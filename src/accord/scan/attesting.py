"""Sync attestations: telling the ledger which list and rules a platform runs.

An attestation is due when the list or the rules differ from what the ledger last heard from us,
when receipts have come in that no attestation anchors for an hour, and when three quarters of the
interval are over in which the rules ask for the next one. An attestation changes neither list nor
receipts, so it can never cause the next one.
Invariants: at most one in ATTEST_GAP_MS; nothing is assumed to have arrived until it is read
back from the log.
Source: docs/spec/receipts.md, section Attestations.
"""

import os
from dataclasses import dataclass
from typing import Protocol

from accord.client.home import PrivateKey
from accord.scan.receipts import LogHead, ReceiptLog
from accord.scan.screener import BUILD, Running, Screener
from accord.statements.bodies import Attest, Header
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.wire.errors import Unavailable
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import ATTEST_ANCHOR_MS, ATTEST_GAP_MS, ATTEST_LIFE_MS

RETRY_MS = 30_000  # One that was taken in shows in the log by then, or is said again.


class Submitter(Protocol):
    """A node that takes statements."""

    def submit(self, transaction: bytes) -> int:
        """The entry's index. Raises: Rejected; Unavailable, and then nobody knows yet."""
        ...


@dataclass(frozen=True, slots=True)
class _Said:
    """What was last sent, and when, until it is read back."""

    rules_sha256: bytes
    active_root: bytes
    at_ms: TimeMs
    arrived: bool


class Attester:
    """For the thread that keeps the list."""

    def __init__(
        self, chain: ChainId, platform: MemberId, key: PrivateKey, receipts: ReceiptLog
    ) -> None:
        self._chain = chain
        self._platform = platform
        self._key = key
        self._receipts = receipts
        self._said: _Said | None = None
        self.sent = 0

    def wait_ms(self, screener: Screener, now_ms: TimeMs) -> int | None:
        """How long until an attestation is due; None if there is nothing to say.

        Raises: Unavailable, while there is no list.
        """
        running = screener.running
        if not self._has_news(screener, running, now_ms):
            return None
        said = self._said
        if said is None:
            return 0
        is_on_its_way = said.arrived and _is_same(running, said.rules_sha256, said.active_root)
        gap_ms = RETRY_MS if is_on_its_way else ATTEST_GAP_MS
        return max(0, said.at_ms + gap_ms - now_ms)

    def _has_news(self, screener: Screener, running: Running, now_ms: TimeMs) -> bool:
        entry = screener.last_attest
        if entry is None or not isinstance(entry.body, Attest):
            return True
        body = entry.body
        if not _is_same(running, body.rules_sha256, body.active_root):
            return True
        age_ms = now_ms - entry.time_ms
        within_ms = running.obligations.attest_within_ms
        if within_ms is not None and age_ms >= within_ms * 3 // 4:
            return True
        return age_ms > ATTEST_ANCHOR_MS and self._receipts.head().size > body.receipts_size

    def attest(self, screener: Screener, node: Submitter, now_ms: TimeMs) -> int:
        """Say it once. The entry's index. Raises: Rejected, Unavailable, and whatever else a
        node answers; then it stays due."""
        running = screener.running
        statement = self.statement(running, self._receipts.head(), now_ms)
        self._note(running, now_ms, arrived=False)
        # Crash from here: the ledger may hold it; a restart reads the log and sees.
        index = node.submit(statement)
        self._note(running, now_ms, arrived=True)
        self.sent += 1
        return index

    def statement(self, running: Running, head: LogHead, now_ms: TimeMs) -> bytes:
        """The signed attestation. Raises: Unavailable, for a list with holes: agencies fold another
        one, and to say that it is theirs would convict us."""
        holes = running.obligations.snapshot.unopened
        if holes:
            raise Unavailable(
                "attest.holes", batches=holes, mend="ask an agency's keeper for a wrap"
            )
        body = Attest(
            header=Header(self._platform, os.urandom(16), TimeMs(now_ms + ATTEST_LIFE_MS)),
            size=running.screen.checkpoint.size,
            root=running.screen.checkpoint.root,
            rules_sha256=running.obligations.rules_sha256,
            active_root=running.obligations.active_root,
            applied_at_ms=running.applied_at_ms,
            receipts_size=head.size,
            receipts_root=head.root,
            build=BUILD,
        )
        sealed = seal_envelope(self._chain, self._key.key_id, body, self._key.sign)
        return encode_transaction(Transaction(sealed, None))

    def _note(self, running: Running, now_ms: TimeMs, *, arrived: bool) -> None:
        obligations = running.obligations
        self._said = _Said(
            rules_sha256=obligations.rules_sha256,
            active_root=obligations.active_root,
            at_ms=now_ms,
            arrived=arrived,
        )


def _is_same(running: Running, rules_sha256: bytes, active_root: bytes) -> bool:
    obligations = running.obligations
    return (obligations.rules_sha256, obligations.active_root) == (rules_sha256, active_root)
