"""The Merkle root over what is active, which a platform attests and every auditor recomputes.

A leaf is a publish entry with a bit for each of its listings, so that a list of ten million is some
thousand leaves, and a batch more is one leaf more.
Source: docs/spec/registry.md, section Obligation.
"""

import numpy as np

from accord.registry.columns import Rows
from accord.registry.listings import Snapshot
from accord.tlog.merkle import leaf_hash, tree_root


def active_root(snapshot: Snapshot, rows: Rows, memo: dict[bytes, bytes]) -> bytes:
    """The RFC 6962 root over the active rows. `rows` ascend.

    Shape: a leaf for each publish entry with an active listing, in log order: entry (8 bytes
    big-endian), then a bit for each of its listings, bit i of byte i // 8, lowest first.
    `memo` keeps leaf hashes from one call to the next: it changes the cost, not the answer.
    """
    flags = np.zeros(snapshot.count, dtype=np.bool_)
    flags[rows] = True
    batches = snapshot.batches
    edges = np.searchsorted(rows, np.append(batches.start, snapshot.count))
    hashes: dict[bytes, bytes] = {}
    for at in np.flatnonzero(edges[1:] > edges[:-1]):
        start, count = int(batches.start[at]), int(batches.count[at])
        bits = np.packbits(flags[start : start + count], bitorder="little")
        leaf = int(batches.entry[at]).to_bytes(8, "big") + bits.tobytes()
        hashes[leaf] = memo.get(leaf) or leaf_hash(leaf)
    memo.clear()
    memo.update(hashes)
    return tree_root(list(hashes.values()))
