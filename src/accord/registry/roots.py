"""The Merkle root over what is active, which a platform attests and every auditor recomputes.

A leaf is a publish entry with a bit for each of its listings, so that a list of ten million is some
thousand leaves, and a batch more is one leaf more.
Source: docs/spec/registry.md, section Obligation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from accord.registry.listings import Batches
from accord.registry.pages import Paged
from accord.tlog.merkle import leaf_hash, tree_root

_BRANCH: Final = 256  # Leaves of a subtree that is kept: a power of two.


@dataclass(frozen=True, slots=True, eq=False)
class ActiveTree:
    """Shape: `leaves` by batch, a hash or, where nothing is active, nothing; `branches` the roots
    of whole subtrees by their leaves."""

    flags: Paged[np.bool_]
    leaves: tuple[bytes, ...]
    branches: Mapping[bytes, bytes]
    root: bytes


def active_tree(
    batches: Batches, flags: Paged[np.bool_], before: ActiveTree | None = None
) -> ActiveTree:
    """The RFC 6962 tree over the active rows. `before`: of an earlier list of the same registry;
    it changes the cost alone.

    Shape: a leaf for each publish entry with an active listing, in log order: entry (8 bytes
    big-endian), then a bit for each of its listings, bit i of byte i // 8, lowest first.
    """
    stale = np.ones(len(batches.entry), dtype=np.bool_)
    leaves = [b""] * len(stale)
    if before is not None:
        leaves[: len(before.leaves)] = before.leaves
        stale[: len(before.leaves)] = False
        starts = batches.start >> flags.bits
        ends = (batches.start + batches.count - 1) >> flags.bits
        for number, page in enumerate(flags.pages):
            known = before.flags.pages
            if number >= len(known) or page is not known[number]:
                first = np.searchsorted(ends, number)
                stale[first : np.searchsorted(starts, number, "right")] = True
    for at in np.flatnonzero(stale).tolist():
        leaves[at] = _leaf(batches, flags, at)
    branches: dict[bytes, bytes] = {}
    present = list(filter(None, leaves))
    tops: list[bytes] = []
    for start in range(0, len(present), _BRANCH):
        some = b"".join(branch := present[start : start + _BRANCH])
        known_top = None if before is None else before.branches.get(some)
        branches[some] = known_top or tree_root(branch)
        tops.append(branches[some])
    # Only the last may be no whole subtree, and there the tree is cut the same way.
    return ActiveTree(flags, tuple(leaves), branches, tree_root(tops))


def _leaf(batches: Batches, flags: Paged[np.bool_], at: int) -> bytes:
    start, count = int(batches.start[at]), int(batches.count[at])
    parts = [
        page[max(start - first, 0) : max(start + count - first, 0)]
        for number in range(start >> flags.bits, ((start + count - 1) >> flags.bits) + 1)
        for page, first in [(flags.pages[number], number << flags.bits)]
    ]
    active = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if not active.any():
        return b""
    bits = np.packbits(active, bitorder="little")
    return leaf_hash(int(batches.entry[at]).to_bytes(8, "big") + bits.tobytes())
