"""Tile paths, tiles and bundles, and proofs made from tiles alone."""

import pytest

from accord.tlog import (
    ENTRIES,
    Tile,
    TileReader,
    bundle_path,
    bundles_for,
    encode_bundle,
    encode_tile,
    node_hash,
    parse_bundle,
    parse_tile,
    parse_tile_path,
    prove_consistency,
    prove_inclusion,
    root_at,
    tile_at,
    tile_path,
    tiles_for,
)
from accord.wire.errors import Malformed
from tlog_kit import NodeStore, leaves, store_of

PATHS = {
    "tile/0/000": Tile(0, 0),
    "tile/0/x001/x234/067": Tile(0, 1234067),
    "tile/1/999.p/1": Tile(1, 999, 1),
    "tile/63/x001/000.p/255": Tile(63, 1000, 255),
    "tile/entries/007.p/12": Tile(ENTRIES, 7, 12),
    "tile/entries/x001/234": Tile(ENTRIES, 1234),
}


@pytest.mark.parametrize(("path", "tile"), PATHS.items())
def test_paths_have_one_spelling(path: str, tile: Tile) -> None:
    assert tile.path == path == tile_path(tile.level, tile.index, tile.width)
    assert parse_tile_path(path) == tile


def test_a_bundle_has_the_path_of_its_level() -> None:
    assert bundle_path(7, 12) == "tile/entries/007.p/12"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x000/001",
        "tile/0/001/234",
        "tile/0/x001/x234",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/data/000",
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    with pytest.raises(Malformed):
        parse_tile_path(path)


def test_the_tiles_of_the_specification_s_example() -> None:
    tiles = list(tiles_for(70_000))
    assert len(tiles) == 273 + 1 + 1 + 1 + 1
    partial = [tile for tile in tiles if tile.width < 256]
    assert partial == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_for(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_for(0)) == list(bundles_for(0)) == []


@pytest.mark.parametrize("have", [0, 1, 255, 256, 257, 511, 512, 69_999, 70_000])
def test_a_reader_asks_only_for_what_grew(have: int) -> None:
    held = set(tiles_for(have))
    assert set(tiles_for(70_000, have)) == set(tiles_for(70_000)) - held
    grown = set(bundles_for(70_000)) - set(bundles_for(have))
    assert set(bundles_for(70_000, have)) == grown


def test_proofs_from_tiles_equal_proofs_from_nodes() -> None:
    size = 1_000
    store = store_of(size)
    files = {tile: encode_tile(store, tile) for tile in tiles_for(size)}
    reader = TileReader(size, files.__getitem__)
    assert root_at(reader, size) == store.frontier.root()
    for index in (0, 1, 255, 256, 511, 767, 768, 999):
        assert prove_inclusion(reader, index, size) == prove_inclusion(store, index, size)
        assert prove_consistency(reader, index, size) == prove_consistency(store, index, size)
    with pytest.raises(Malformed, match=r"^tlog\.range\b"):
        reader.node(3, 125)
    with pytest.raises(Malformed, match=r"^tlog\.tile\b"):
        reader.node(0, 1024)


class TopNodes:
    """A store of 2**17 leaves that knows only the nodes of level 8: 512 made-up hashes."""

    def __init__(self) -> None:
        self.tops = leaves(512)

    def node(self, level: int, index: int) -> bytes:
        assert level == 8
        return self.tops[index]


def test_a_tile_above_the_leaves() -> None:
    store = TopNodes()
    reader = TileReader(2**17, lambda tile: encode_tile(store, tile))
    assert reader.node(8, 300) == store.tops[300]
    assert reader.node(9, 150) == node_hash(store.tops[300], store.tops[301])
    assert root_at(TileReader(2**16, lambda tile: bytes(32)), 2**16) == bytes(32)
    assert tile_at(1, 1, 2**17) == Tile(1, 1)


def test_tiles_and_bundles_hold_exactly_their_width() -> None:
    entries = [b"", b"a", b"x" * 65_535]
    raw = encode_bundle(entries)
    assert list(parse_bundle(raw, 3)) == entries
    for bad, width in ((raw, 2), (raw, 4), (raw[:-1], 3), (raw + b"\0", 3), (raw, 0), (raw, 257)):
        with pytest.raises(Malformed, match=r"^tlog\.bundle\b"):
            parse_bundle(bad, width)
    for bad, width in ((bytes(63), 2), (bytes(64), 1), (b"", 0), (bytes(257 * 32), 257)):
        with pytest.raises(Malformed, match=r"^tlog\.tile_bytes\b"):
            parse_tile(bad, width)
    assert parse_tile(bytes(64), 2) == (bytes(32), bytes(32))


def test_a_bundle_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(Malformed, match=r"^tlog\.entry_size\b"):
        encode_bundle([bytes(65_536)])
    for entries in ([], [b""] * 257):
        with pytest.raises(Malformed, match=r"^tlog\.bundle\b"):
            encode_bundle(entries)
    with pytest.raises(Malformed, match=r"^tlog\.tile\b"):
        encode_tile(NodeStore(), Tile(ENTRIES, 0, 1))
