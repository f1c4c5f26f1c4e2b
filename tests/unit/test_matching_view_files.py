"""Patches in a file that processes share: the same answers, for the registry they are of alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accord.matching.index import MatchIndex, views_fit
from accord.matching.meetings import Meetings
from accord.registry.listings import Snapshot
from accord.scan import index_store
from accord.scan.index_store import IndexStore
from accord.statements.batch import Listing
from registry_kit import A1, World, flip, pdq_of

LISTINGS = 200  # Of 12 patches each: more than an index without bands.


def patched(seed: int, count: int = 12) -> Listing:
    patches = tuple(pdq_of(1_000 * seed + number) for number in range(count))
    return Listing(A1, md5=seed.to_bytes(16, "big"), patches=patches)


def world_of(*seeds: int) -> Snapshot:
    world = World()
    for start in range(0, len(seeds), 50):
        world.publish("ada", *[patched(seed) for seed in seeds[start : start + 50]])
    return world.registry().snapshot()


def met(index: MatchIndex) -> list[tuple[int, int, int, int]]:
    """What some near misses of patches meet."""
    query = b"".join(flip(pdq_of(1_000 * seed + 3), seed % 46) for seed in range(1, LISTINGS))
    found: Meetings = index.meetings("patches", query, 44)
    rows = zip(found.rows, found.asked, found.listed, found.bits, strict=True)
    return sorted((int(a), int(b), int(c), int(d)) for a, b, c, d in rows)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_store, "ROWS_MIN", 1_000)
    monkeypatch.setattr(index_store, "CHANGED_MIN", 200)


@pytest.mark.usefixtures("small_files")
def test_an_index_of_patches_is_written_found_and_shared(tmp_path: Path) -> None:
    snapshot = world_of(*range(LISTINGS))
    rows = np.arange(snapshot.count, dtype=np.uint32)
    made = MatchIndex.build(snapshot, rows)
    store = IndexStore(tmp_path)
    assert store.offer(made)
    store.wait()
    bases = IndexStore(tmp_path).newest(snapshot)
    assert bases.is_any
    mapped = made.rebased(bases)
    assert mapped.views["patches"].base.memory.readonly
    assert met(mapped) == met(made) != []
    # A later snapshot goes on from the file, and the file is not made again for a little more.
    more = world_of(*range(LISTINGS + 4))
    every = np.arange(more.count, dtype=np.uint32)
    grown, fresh = mapped.extended(more, every), MatchIndex.build(more, every)
    assert grown.views["patches"].base.memory.readonly
    assert len(grown.views["patches"].delta) == 4 * 12

    def by_value(index: MatchIndex) -> list[tuple[int, int, int]]:
        return [(row, asked, bits) for row, asked, _, bits in met(index)]

    assert by_value(grown) == by_value(fresh)


def test_an_index_of_other_patches_does_not_fit() -> None:
    snapshot = world_of(*range(LISTINGS))
    rows = np.arange(snapshot.count, dtype=np.uint32)
    ring = MatchIndex.build(snapshot, rows).views["patches"].base
    assert views_fit(ring, snapshot, "patches")
    assert views_fit(ring, world_of(*range(LISTINGS + 1)), "patches")
    assert not views_fit(ring, world_of(*range(1, LISTINGS)), "patches")  # Too short.
    assert not views_fit(ring, world_of(*range(1, LISTINGS + 1)), "patches")  # Other values.
    column = snapshot.views["patches"]
    fewer = replace(column, rows=column.rows[1:], values=column.values[1:])
    lacking = replace(snapshot, views={**snapshot.views, "patches": fewer})
    assert not views_fit(ring, lacking, "patches")


def test_a_row_that_is_not_wanted_is_met_by_none_of_its_patches() -> None:
    snapshot = world_of(*range(LISTINGS))
    every = np.arange(snapshot.count, dtype=np.uint32)
    index = MatchIndex.build(snapshot, every)
    odd = index.extended(snapshot, every[1::2])
    assert {row % 2 for row, *_ in met(odd)} == {1}
