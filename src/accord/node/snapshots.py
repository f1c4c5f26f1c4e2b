"""A snapshot: the log up to a block, cut into chunks that are the same bytes at every node.

Nothing is copied to make one: the log only grows, so the entries of a height are a view of what the
store holds, and where a chunk ends follows from the entries before it alone.
Job: the bytes of the metadata and of the chunks, where chunks end, which heights are offered and
which of the engine's blocks must stay for that.
Not here: disks (store), what a joining node believes of it (restoring).
Source: docs/spec/consensus.md section 9.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from accord.wire.digests import labelled_sha256
from accord.wire.errors import Malformed
from accord.wire.limits import (
    BLOB_BYTES_MAX,
    LOG_ENTRY_BYTES_MAX,
    LOG_SIZE_MAX,
    SNAPSHOT_CHUNK_BYTES_MAX,
    SNAPSHOT_CHUNKS_MAX,
)

FORMAT: Final = 1
OFFERED: Final = 4  # Heights offered at once: who joins slowly finds its snapshot again.
LIGHT_BLOCKS: Final = 2  # Whoever takes a snapshot of H needs the headers of H + 1 and H + 2.
ROOT_BYTES: Final = 32
_HEAD_BYTES: Final = 8 + ROOT_BYTES
_LENGTH_BYTES: Final = 4

Carried = tuple[bytes, bytes | None]  # A leaf, and the blob that it is the first to name.


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node offers: after block `height` the log has `size` entries and this root.

    `ends` are the indexes where the chunks end; the last one is `size`.
    """

    height: int
    size: int
    root: bytes
    ends: tuple[int, ...]

    def metadata(self) -> bytes:
        """Shape: size (8 bytes big-endian), root (32), then 8 bytes for each chunk's end."""
        ends = b"".join(end.to_bytes(8, "big") for end in self.ends)
        return self.size.to_bytes(8, "big") + self.root + ends

    def digest(self) -> bytes:
        """What tells two snapshots of one height apart."""
        return labelled_sha256("snapshot", self.height.to_bytes(8, "big"), self.metadata())

    def first(self, index: int) -> int:
        """The first entry of a chunk."""
        return self.ends[index - 1] if index else 0


def parse_snapshot(height: int, chunks: int, digest: bytes, metadata: bytes) -> Snapshot:
    """A snapshot as a stranger offers it. Raises: Malformed."""
    count, odd = divmod(len(metadata) - _HEAD_BYTES, 8)
    if odd or not 0 < count <= SNAPSHOT_CHUNKS_MAX or count != chunks or height < 1:
        raise Malformed("snapshot.metadata", bytes=len(metadata), chunks=chunks)
    numbers = [int.from_bytes(metadata[at : at + 8], "big") for at in range(40, len(metadata), 8)]
    size, root = int.from_bytes(metadata[:8], "big"), metadata[8:_HEAD_BYTES]
    is_rising = all(low < high for low, high in zip([0, *numbers], numbers, strict=False))
    if not is_rising or numbers[-1] != size or size > LOG_SIZE_MAX:
        raise Malformed("snapshot.metadata", size=size)
    snapshot = Snapshot(height, size, root, tuple(numbers))
    if snapshot.digest() != digest:
        raise Malformed("snapshot.digest", height=height)
    return snapshot


def grow_ends(ends: Sequence[int], sizes: Iterable[int]) -> tuple[int, ...]:
    """Where chunks end, the last one unfinished.

    `ends` is an earlier answer, or empty; `sizes` are the bytes of the entries from the start of
    its last chunk on. A chunk ends before the entry that would make it too long.
    """
    done = list(ends[:-1])
    at, filled = (done[-1] if done else 0), 0
    for size in sizes:
        if filled and filled + size > SNAPSHOT_CHUNK_BYTES_MAX:
            done.append(at)
            filled = 0
        at, filled = at + 1, filled + size
    return (*done, at) if filled else tuple(done)


def carried_bytes(leaf: int, blob: int) -> int:
    """What an entry takes in a chunk, by the lengths of its leaf and of its blob, 0 for none."""
    return 2 * _LENGTH_BYTES + leaf + blob


def encode_chunk(entries: Iterable[Carried]) -> bytes:
    """Shape: for each entry its leaf and its blob, each behind its length (4 bytes big-endian); a
    blob travels with the first entry that names it, else its length is 0.
    """
    out = bytearray()
    for leaf, blob in entries:
        for item in (leaf, blob or b""):
            out += len(item).to_bytes(_LENGTH_BYTES, "big") + item
    return bytes(out)


def parse_chunk(raw: bytes) -> list[Carried]:
    """Shape: as `encode_chunk`. Raises: Malformed."""
    entries: list[Carried] = []
    at = 0
    while at < len(raw):
        leaf, at = _take(raw, at, LOG_ENTRY_BYTES_MAX)
        blob, at = _take(raw, at, BLOB_BYTES_MAX)
        if not leaf:
            raise Malformed("snapshot.chunk_shape", at=at)
        entries.append((leaf, blob or None))
    return entries


def _take(raw: bytes, at: int, limit: int) -> tuple[bytes, int]:
    start = at + _LENGTH_BYTES
    end = start + int.from_bytes(raw[at:start], "big")
    if start > len(raw) or end > len(raw) or end - start > limit:
        raise Malformed("snapshot.chunk_shape", at=at)
    return raw[start:end], end


def offered_heights(height: int, interval: int) -> range:
    """The heights whose snapshots a node at `height` offers, newest first; none for interval 0."""
    newest = (height - LIGHT_BLOCKS) // interval * interval if interval else 0
    return range(newest, max(0, newest - OFFERED * interval), -interval) if newest > 0 else range(0)


def retain_height(height: int, keep_blocks: int, interval: int) -> int:
    """From which block on the engine must keep all, 0 for ever.

    Never beyond the oldest snapshot that is offered: who restores it fetches the blocks after it.
    """
    if not keep_blocks:
        return 0
    offered = offered_heights(height, interval)
    return max(0, min(height - keep_blocks, offered[-1] if offered else 0))
