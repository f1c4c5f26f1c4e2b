"""What an audit judges: the auditor's own verified ledger, and what the platform shows.

Two kinds, never mixed up. *Facts* the auditor computed itself (the ledger it followed, the
obligations it folded); *claims* came from outside as bytes, and count only as far as a signature
or a hash in the facts bears them out.
Source: docs/spec/audit.md.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from accord.wire.ids import ChainId, MemberId, TimeMs


@dataclass(frozen=True, slots=True)
class Change:
    """What the platform had to run from `size` entries on, as the auditor folded it.

    `time_ms` is the block time of entry `size - 1`, from which the deadline counts.
    `sync_within_ms` is the strictest of its rule sets; None where no rule set asks for anything,
    or where the platform was suspended before the deadline and could not speak.
    """

    size: int
    time_ms: TimeMs
    rules_sha256: bytes
    active_root: bytes
    sync_within_ms: int | None

    @property
    def facts(self) -> tuple[bytes, bytes]:
        return (self.rules_sha256, self.active_root)


@dataclass(frozen=True, slots=True)
class Interval:
    """From this block time on the platform had to attest at least so often; None: it had not, or
    could not speak."""

    time_ms: TimeMs
    within_ms: int | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Listings that the platform had been given, and their withdrawal."""

    entry: int
    time_ms: TimeMs


@dataclass(frozen=True, slots=True)
class ScannerKey:
    """A key the platform has, or had, for its attestations, receipts and promises."""

    public: bytes
    since_ms: TimeMs
    revoked_ms: TimeMs | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts: all but the claims. Claims: `receipts_*` and `scan_receipts`.

    `leaves` are the ledger's first `size` leaves; they are hashed up to `root` again, so that a
    verdict can be checked by anybody who has the checkpoint. `is_complete` says that the auditor
    could open every batch that was released to the platform. `receipts_note` is None where the
    platform's log was not asked or did not answer.
    """

    chain: ChainId
    platform: MemberId
    size: int
    root: bytes
    leaves: Sequence[bytes]
    keys: tuple[ScannerKey, ...]
    changes: tuple[Change, ...]
    fold_version: int
    is_complete: bool
    receipts_note: bytes | None
    receipts_leaves: Sequence[bytes]
    scan_receipts: Sequence[bytes]
    now_ms: TimeMs
    # Of a log that goes on under new geneses: each chain and its first entry, oldest first.
    chains: tuple[tuple[int, ChainId], ...] = ()
    intervals: tuple[Interval, ...] = ()  # Facts, ascending.
    withdrawals: tuple[Withdrawal, ...] = ()  # Facts, in log order.

    def chain_at(self, index: int) -> ChainId:
        """The chain that an entry was said on."""
        before = [chain for first, chain in self.chains if first <= index]
        return before[-1] if before else self.chain

    @property
    def names(self) -> frozenset[ChainId]:
        """Every chain id the log has had: what the platform signed names one of them."""
        return frozenset({self.chain, *(chain for _, chain in self.chains)})

    def change_at(self, size: int) -> Change | None:
        """What the platform had to run after `size` entries; None before its admission."""
        place = bisect_right(self.changes, size, key=lambda change: change.size)
        return self.changes[place - 1] if place else None
