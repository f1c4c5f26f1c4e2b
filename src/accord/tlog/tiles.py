"""C2SP tlog-tiles: a log as immutable files any static host can serve.

Not here: fetching, storing, checkpoints. A tile proves nothing by itself: hash it up to a root
taken from a verified checkpoint.
Source: https://c2sp.org/tlog-tiles, docs/spec/log.md.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from accord.tlog.merkle import HASH_BYTES, HashReader, tree_root
from accord.wire.errors import Malformed
from accord.wire.limits import LOG_ENTRY_BYTES_MAX, LOG_SIZE_MAX

TILE_HEIGHT: Final = 8  # Tree levels in one tile.
TILE_WIDTH: Final = 1 << TILE_HEIGHT
LEVEL_MAX: Final = 63
ENTRIES: Final = -1  # The level of entry bundles, which have the shape of level 0.
_PATH_RE: Final = re.compile(
    r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One resource of a log: a tile of hashes, or at level `ENTRIES` a bundle of entries.

    Shape: `width` hashes or entries; below 256 it is the partial one at the right edge.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not (
            ENTRIES <= self.level <= LEVEL_MAX
            and 0 <= self.index <= LOG_SIZE_MAX >> TILE_HEIGHT
            and 1 <= self.width <= TILE_WIDTH
        ):
            raise Malformed("tlog.tile", level=self.level, index=self.index, width=self.width)

    @property
    def path(self) -> str:
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Shape: `tile/<level>/<index in groups of three digits>[.p/<width>]`, such as
    `tile/0/x001/234` and `tile/entries/007.p/12`.
    """
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{'entries' if level == ENTRIES else level}/{'/'.join(groups)}{partial}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    return tile_path(ENTRIES, index, width)


def parse_tile_path(path: str) -> Tile:
    """Accepts exactly what `tile_path` writes. Raises: Malformed."""
    match = _PATH_RE.fullmatch(path)
    if match is None or not path.isascii():
        raise Malformed("tlog.tile_path")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    index = int(match[2].replace("/", "").replace("x", ""))
    tile = Tile(level, index, int(match[3]) if match[3] is not None else TILE_WIDTH)
    if tile.path != path:
        raise Malformed("tlog.tile_path")
    return tile


def tile_at(level: int, index: int, size: int) -> Tile:
    """The tile at this place as a tree of `size` leaves has it. Raises: Malformed, where it is
    empty.
    """
    hashes = size >> (TILE_HEIGHT * max(level, 0))
    return Tile(level, index, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def tiles_for(size: int, have: int = 0) -> Iterator[Tile]:
    """Every tile of a tree of `size` leaves that a reader holding those of size `have` lacks, a
    partial tile that has grown included; lower levels first.
    """
    level = 0
    while (hashes := size >> (TILE_HEIGHT * level)) > 0:
        held = have >> (TILE_HEIGHT * level)
        yield from _row(level, hashes, held)
        level += 1


def bundles_for(size: int, have: int = 0) -> Iterator[Tile]:
    """The entry bundles that hold entries `have` to `size` - 1, in order."""
    return _row(ENTRIES, size, have)


def _row(level: int, count: int, held: int) -> Iterator[Tile]:
    if held >= count:
        return
    for index in range(held // TILE_WIDTH, -(-count // TILE_WIDTH)):
        yield Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))


def encode_tile(reader: HashReader, tile: Tile) -> bytes:
    """The bytes of a tile of hashes, from the nodes a store keeps. Raises: Malformed, for an
    entry bundle, and whatever `reader` raises.
    """
    if tile.level == ENTRIES:
        raise Malformed("tlog.tile", level=tile.level, index=tile.index, width=tile.width)
    first, level = tile.index * TILE_WIDTH, TILE_HEIGHT * tile.level
    return b"".join(reader.node(level, first + at) for at in range(tile.width))


def parse_tile(raw: bytes, width: int) -> tuple[bytes, ...]:
    """The hashes of a tile. Shape: `width` times 32 bytes, nothing else. Raises: Malformed."""
    if not 1 <= width <= TILE_WIDTH or len(raw) != width * HASH_BYTES:
        raise Malformed("tlog.tile_bytes", bytes=len(raw), width=width)
    return tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Shape: each entry behind its length, 2 bytes big-endian. Raises: Malformed, for an entry
    above 65,535 bytes or a count that no bundle has.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise Malformed("tlog.bundle", width=len(entries))
    if any(len(entry) > LOG_ENTRY_BYTES_MAX for entry in entries):
        raise Malformed("tlog.entry_size", limit=LOG_ENTRY_BYTES_MAX)
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(raw: bytes, width: int) -> tuple[bytes, ...]:
    """The entries of a bundle, exactly `width` of them, without a byte left. Raises: Malformed."""
    if not 1 <= width <= TILE_WIDTH:
        raise Malformed("tlog.bundle", width=width)
    entries, at = list[bytes](), 0
    for _ in range(width):
        start = at + 2
        at = start + int.from_bytes(raw[start - 2 : start], "big")
        if at > len(raw) or start > len(raw):
            raise Malformed("tlog.bundle", bytes=len(raw), width=width)
        entries.append(raw[start:at])
    if at != len(raw):
        raise Malformed("tlog.bundle", bytes=len(raw), width=width)
    return tuple(entries)


class TileReader:
    """A HashReader over the tiles of a log of `size` leaves.

    `fetch` gives the bytes of one tile and may answer a partial tile from its full successor's
    first hashes; each tile is asked for once. Keep one reader per checkpoint: it remembers all.
    """

    __slots__ = ("_fetch", "_size", "_tiles")

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._tiles: dict[Tile, tuple[bytes, ...]] = {}

    def node(self, level: int, index: int) -> bytes:
        """As `HashReader.node`. Raises: Malformed, for a tile of the wrong size; what `fetch`
        raises.
        """
        height = level % TILE_HEIGHT
        first = index << height  # In hashes of the tile's level.
        tile = tile_at(level // TILE_HEIGHT, first // TILE_WIDTH, self._size)
        if tile not in self._tiles:
            self._tiles[tile] = parse_tile(self._fetch(tile), tile.width)
        at = first % TILE_WIDTH
        hashes = self._tiles[tile][at : at + (1 << height)]
        if len(hashes) != 1 << height:
            raise Malformed("tlog.range", low=index, high=self._size)
        return tree_root(hashes)
