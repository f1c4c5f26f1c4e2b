"""Snapshots are views of the log: the same bytes everywhere, and cut where the log says."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.node import snapshots
from accord.node.settings import Settings
from accord.node.snapshots import (
    Snapshot,
    encode_chunk,
    grow_ends,
    offered_heights,
    parse_chunk,
    parse_snapshot,
    retain_height,
)
from accord.wire.errors import Malformed
from snapshot_kit import History

SMALL = 2_000  # Bytes of a chunk here, so that a short log has several.


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_CHUNK_BYTES_MAX", SMALL)


def offered(snapshot: Snapshot) -> Snapshot:
    """As it comes back from a stranger."""
    metadata = snapshot.metadata()
    return parse_snapshot(snapshot.height, len(snapshot.ends), snapshot.digest(), metadata)


def test_two_nodes_offer_the_same_bytes_however_they_got_there(tmp_path: Path) -> None:
    one = History(tmp_path / "one.db").open_epochs().publish(20, "a").publish(30, "b")
    two = History(tmp_path / "two.db", world=one.world)
    two._done = 0
    two.keep()
    asked_often, asked_once = one.shelf(), two.shelf()
    for height in range(1, one.store.height + 1):
        asked_often.find(height)  # Grows the ends step by step.
    height = one.store.height
    first, second = asked_often.find(height), asked_once.find(height)
    assert first == second
    assert first is not None
    assert len(first.ends) > 2
    assert first.ends[-1] == first.size == len(one.world.leaves)
    for index in range(len(first.ends)):
        raw = asked_often.chunk(height, index)
        assert raw is not None
        assert raw == asked_once.chunk(height, index)
        entries = parse_chunk(raw)
        assert len(raw) <= SMALL or len(entries) == 1
    assert asked_once.chunk(height, len(first.ends)) is None
    assert asked_once.chunk(height + 1, 0) is None


def test_a_chunk_carries_each_blob_with_the_first_that_names_it(tmp_path: Path) -> None:
    history = History(tmp_path / "one.db").open_epochs().publish(3, "a")
    snapshot, shelf = history.snapshot(), history.shelf()
    raws = [shelf.chunk(snapshot.height, index) or b"" for index in range(len(snapshot.ends))]
    carried = [item for raw in raws for item in parse_chunk(raw)]
    assert [leaf for leaf, _ in carried] == history.world.leaves
    assert {blob for _, blob in carried if blob} == set(history.world.blobs.values())


def test_metadata_comes_back_and_bent_metadata_does_not(tmp_path: Path) -> None:
    history = History(tmp_path / "one.db").open_epochs().publish(30, "a")
    snapshot = history.snapshot()
    assert offered(snapshot) == snapshot
    size, root, ends = snapshot.size, snapshot.root, snapshot.ends
    bent = [
        replace(snapshot, size=size + 1),
        replace(snapshot, ends=ends[:-1]),
        replace(snapshot, ends=(*ends, size)),
        replace(snapshot, ends=(0, *ends)),
        replace(snapshot, ends=(ends[-1], *ends[:-1])),
        replace(snapshot, ends=()),
        replace(snapshot, root=root[:-1]),
        replace(snapshot, height=0),
    ]
    for lie in bent:
        with pytest.raises(Malformed, match=r"snapshot\.metadata"):
            offered(lie)
    with pytest.raises(Malformed, match=r"snapshot\.digest"):
        parse_snapshot(snapshot.height + 1, len(ends), snapshot.digest(), snapshot.metadata())
    with pytest.raises(Malformed):
        parse_snapshot(snapshot.height, len(ends) + 1, snapshot.digest(), snapshot.metadata())


ENTRY = st.tuples(st.binary(min_size=1, max_size=40), st.none() | st.binary(min_size=1, max_size=9))


@given(st.lists(ENTRY, max_size=5), st.binary(max_size=4))
def test_chunks_parse_exactly(entries: list[tuple[bytes, bytes | None]], noise: bytes) -> None:
    raw = encode_chunk(entries)
    assert parse_chunk(raw) == entries
    for bent in (raw[:-1], raw + b"\x01", noise):
        with suppress(Malformed):
            assert encode_chunk(parse_chunk(bent)) == bent


@given(st.lists(st.integers(1, 3 * SMALL), min_size=1, max_size=40), st.integers(0, 40))
def test_ends_do_not_depend_on_when_they_were_looked_at(sizes: list[int], early: int) -> None:
    whole = grow_ends((), sizes)
    before = grow_ends((), sizes[:early])
    first = before[-2] if len(before) > 1 else 0
    assert grow_ends(before, sizes[first:]) == whole
    assert whole[-1] == len(sizes)
    for low, high in zip((0, *whole), whole, strict=False):
        assert high - low == 1 or sum(sizes[low:high]) <= SMALL


def test_no_snapshot_of_an_empty_log_nor_between_the_heights(tmp_path: Path) -> None:
    history = History(tmp_path / "one.db").idle(10)
    assert history.shelf(2).heights() == ()
    history.open_epochs().idle(20)
    heights = history.shelf(4).heights()
    assert len(heights) == 4
    assert all(height % 4 == 0 and height <= history.store.height - 2 for height in heights)
    assert history.shelf(4).find(heights[0] + 1) is None
    assert history.shelf(0).heights() == ()
    assert history.shelf(0).find(4) is None
    assert [item.height for item in history.shelf(4).offered()] == list(heights)


@given(st.integers(0, 10_000), st.integers(0, 3_000), st.integers(0, 500))
def test_what_is_kept_covers_every_snapshot_that_is_offered(
    height: int, keep: int, interval: int
) -> None:
    retained = retain_height(height, keep, interval)
    offers = offered_heights(height, interval)
    assert all(retained <= offer <= height - 2 for offer in offers)
    assert 0 <= retained <= max(0, height - keep)
    assert retained == 0 or (keep and offers)


def test_nothing_is_pruned_unless_somebody_says_so() -> None:
    assert Settings("a:1", "b:2", ()).keep_blocks == 0
    assert retain_height(1_000_000, 0, 1_000) == 0
    assert retain_height(1_000_000, 10, 0) == 0
    assert retain_height(10_000, 100, 1_000) == 6_000
    assert retain_height(10_000, 8_000, 1_000) == 2_000
