"""A log's public files, as any static host or CDN can serve them, out of a verified replica.

    checkpoint, policy, transitions      replaced as the log grows
    genesis, earlier/<sha256>            for ever: the latter those that it continues
    transition/<size>                    for ever
    tile/...                             for ever; partial tiles until they have grown

Job: which files, in which order, with which bytes. Files are written before the checkpoint that
needs them, so a reader never finds a head whose tiles are missing.
Not here: disks (the caller writes), verification (the replica did it), blobs (members only).
Source: https://c2sp.org/tlog-tiles; docs/spec/http.md, section Mirrors.
"""

import json
from collections.abc import Callable, Iterator

from accord.ledger.genesis import encode_genesis
from accord.ledger.views import policy_of
from accord.replica.replica import Replica
from accord.tlog import leaf_hash, tree_root
from accord.tlog.tiles import (
    ENTRIES,
    TILE_WIDTH,
    Tile,
    bundles_for,
    encode_bundle,
    parse_tile,
    tile_path,
    tiles_for,
)
from accord.wire.errors import Unavailable

CHECKPOINT_FILE = "checkpoint"
Read = Callable[[str], bytes]


def public_files(
    replica: Replica, genesis: bytes, have: int, read: Read
) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file that a mirror of the first `have` entries lacks, in order.

    `read` gives back a file that was written before. Raises: Unavailable, before the first head;
    what `read` raises; Malformed, where such a file was changed.
    """
    checkpoint = replica.checkpoint
    if checkpoint is None:
        raise Unavailable("mirror.no_checkpoint")
    yield "genesis", genesis
    for founding in replica.founding.line()[:-1]:
        yield f"earlier/{founding.digest.hex()}", encode_genesis(founding.genesis)
    for tile in (*bundles_for(checkpoint.size, have), *tiles_for(checkpoint.size, have)):
        yield tile.path, _bytes_of(replica, tile, read)
    for size in _pins(replica):  # Where a log that goes on begins, a follower asks for all before.
        if size > have:
            for tile in sorted(_edge(size)):
                yield tile.path, _bytes_of(replica, tile, read)
    steps = replica.transitions()
    for size, note in steps:
        if size >= have:  # Else it stands there: a head becomes a step when another follows it.
            for tile in sorted(_edge(size)):
                yield tile.path, _bytes_of(replica, tile, read)
            yield f"transition/{size}", note
    yield "transitions", json.dumps([size for size, _ in steps]).encode()
    yield "policy", policy_of(replica.state, replica.chain).encode()
    yield CHECKPOINT_FILE, checkpoint.raw


def outgrown(replica: Replica, have: int, before: int) -> Iterator[str]:
    """Partial tiles of a mirror of `before` entries that no reader of its head at `have` needs.

    Remove them one head later: somebody may still read by the old one.
    """
    kept = [*_pins(replica), *(size for size, _ in replica.transitions())]
    needed = _edge(have).union(*(_edge(size) for size in kept))
    return (tile.path for tile in sorted(_edge(before) - needed))


def _pins(replica: Replica) -> list[int]:
    return [founding.begins_at for founding in replica.founding.line()[1:]]


def _edge(size: int) -> set[Tile]:
    """The partial tiles of a tree."""
    tiles = (*bundles_for(size), *tiles_for(size))
    return {tile for tile in tiles if tile.width < TILE_WIDTH}


def _bytes_of(replica: Replica, tile: Tile, read: Read) -> bytes:
    """Entries, level 0 out of entries, or a higher level out of the full tiles below it."""
    first = tile.index * TILE_WIDTH
    if tile.level == ENTRIES:
        return encode_bundle(replica.leaves(first, first + tile.width))
    if tile.level == 0:
        return b"".join(leaf_hash(leaf) for leaf in replica.leaves(first, first + tile.width))
    below = (tile_path(tile.level - 1, first + at) for at in range(tile.width))
    return b"".join(tree_root(parse_tile(read(path), TILE_WIDTH)) for path in below)
