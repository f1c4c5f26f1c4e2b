"""Going over to a log that continues the one we followed, or beginning with it from nothing.

The new genesis was taken by its digest, as the first one was: who may replace a quorum may replace
the log, so people decide that. What this replica proved of the old log it holds against it: a
continuation that lacks entries that a quorum had signed, or has others, is refused, with both
digests and the signed head as evidence.
Source: docs/spec/log.md, section Continuation; ADR 0008.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from accord.ledger.genesis import Continues, Founding
from accord.replica.source import LogSource, Progress
from accord.replica.store import ReplicaStore
from accord.tlog import leaf_hash, parse_bundle, tree_root
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.tlog.tiles import bundles_for
from accord.wire.errors import Broken, Malformed, Unproven


class Known(Protocol):
    """A replica of the old log."""

    @property
    def size(self) -> int: ...

    def root_at(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class Past:
    """The leaves that a genesis pins, as far as they are here. One caller."""

    def __init__(self, founding: Founding, store: ReplicaStore) -> None:
        pinned, previous = founding.genesis.continues, founding.previous
        if pinned is None or previous is None:
            raise Broken("genesis.line")
        self._founding = founding
        self._pinned: Continues = pinned
        self._previous: Founding = previous
        self._store = store

    @property
    def is_over(self) -> bool:
        """Whether all that was pinned is here, and the checkpoints are those of the new chain."""
        return not self._old_heads() and self._store.count() >= self._pinned.size

    def check_known(self, reopen: Callable[[Founding], Known]) -> None:
        """Hold what was proved of the old log against the pin. `reopen` proves the old replica.

        Raises: Unproven with `follow.rollback` (entries that a quorum signed were left out),
        `follow.split_view` (they are others).
        """
        if not self._old_heads():
            return
        with closing(reopen(self._previous)) as known:
            if known.size >= self._pinned.size:
                if known.root_at(self._pinned.size) != self._pinned.root:
                    raise self._refusal("follow.split_view", known.size)
                if known.size > self._pinned.size:
                    raise self._refusal("follow.rollback", known.size)

    def leaves(self) -> list[bytes]:
        return self._store.leaves(0, self._pinned.size)

    def fetch(self, source: LogSource, progress: Progress) -> list[bytes]:
        """All leaves that are pinned. Raises: as `Replica.fetch_past`."""
        own = self.leaves()
        leaves = own + self._from(source, len(own), progress)
        if self._are_pinned(leaves):
            return leaves
        if own and self._are_pinned(self._from(source, 0, progress)):
            self._must_be_ours(own)
            raise self._refusal("follow.split_view", len(own))
        raise Unproven("follow.past", source=source.name, size=self._pinned.size)

    def go_over(self, leaves: Sequence[bytes]) -> None:
        """Keep them, and put the old heads aside."""
        have = min(self._store.count(), self._pinned.size)
        self._store.go_over(have, leaves[have:])

    def _old_heads(self) -> list[tuple[int, bytes]]:
        """What the old chain's quorum signed, the newest last."""
        heads = self._store.checkpoints()
        try:
            origins = {parse_checkpoint(parse_note(note).text).origin for _, note in heads}
        except Malformed as err:
            mend = "move the file away and follow again"
            raise Unproven("replica.tampered", why=err.code, mend=mend) from err
        return [] if origins == {self._founding.genesis.chain} else heads

    def _from(self, source: LogSource, first: int, progress: Progress) -> list[bytes]:
        size = self._pinned.size
        tiles = list(bundles_for(size, first - first % 256)) if first < size else []
        leaves: list[bytes] = []
        for done, tile in enumerate(tiles):
            progress("entries", done, len(tiles))
            leaves += parse_bundle(source.fetch_tile(tile.path), tile.width)
        return leaves[first % 256 :]

    def _are_pinned(self, leaves: Sequence[bytes]) -> bool:
        if len(leaves) != self._pinned.size:
            return False
        return tree_root(map(leaf_hash, leaves)) == self._pinned.root

    def _must_be_ours(self, own: Sequence[bytes]) -> None:
        """Before we accuse: are these the leaves that our newest old head was signed over?"""
        heads = self._old_heads()
        signed = parse_checkpoint(parse_note(heads[-1][1]).text) if heads else None
        if signed is None or tree_root(map(leaf_hash, own[: signed.size])) != signed.root:
            mend = "move the file away and follow again"
            raise Unproven("replica.tampered", why="old leaves", mend=mend)

    def _refusal(self, code: str, have: int) -> Unproven:
        """The signed head that contradicts the genesis is in the file that was not gone over."""
        return Unproven(
            code,
            have=have,
            pinned=self._pinned.size,
            genesis_sha256=self._founding.digest.hex(),
            continues=self._previous.digest.hex(),
            mend="do not take this genesis; tell all agencies",
        )
