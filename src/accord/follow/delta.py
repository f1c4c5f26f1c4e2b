"""What a follower hands on: verified entries, opened batches, and the checkpoint they end at."""

from dataclasses import dataclass

from accord.statements.batch import Batch
from accord.statements.bodies import Body
from accord.statements.confidential import Fault
from accord.statements.feedback import Word
from accord.wire.ids import GroupId, KeyId, TimeMs

__all__ = ["Fault", "FoldedEntry", "VerifiedDelta"]


@dataclass(frozen=True, slots=True)
class FoldedEntry:
    """An entry that verified and that the ledger fold accepted.

    `batch` is the opened batch of a publish entry that was released to our groups, else None;
    `unopened` then says why: `not_released`, `no_key` (released to a group of ours under an
    epoch whose key we do not hold), or the code of an Unproven or Malformed blob. `faults` are the
    groups of ours that the batch did not reach though its publisher signed that it would, and
    `lacking` the groups of ours whose wrap could not be looked at for want of a key. `words` are
    what a feedback entry says, where we are an agency that was told; else `unopened` says why not.
    """

    index: int
    time_ms: TimeMs
    key_id: KeyId
    body: Body
    batch: Batch | None = None
    unopened: str | None = None
    faults: tuple[Fault, ...] = ()
    lacking: tuple[GroupId, ...] = ()
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedDelta:
    """Entries `[old size, size)` in order. Persist them, then the checkpoint, then hand on."""

    entries: tuple[FoldedEntry, ...]
    size: int
    root: bytes
    checkpoint: bytes  # The signed note that proves `size` and `root`.
    cosigned_ms: TimeMs  # Newest time at which a quorum had signed; freshness only.
