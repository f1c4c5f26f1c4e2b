"""The index against a scan that anybody can read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accord.matching import MatchIndex
from accord.registry import Snapshot
from accord.registry.columns import Rows
from accord.statements.batch import Listing
from accord.statements.rules import Algorithm
from registry_kit import A1, World, flip

BASE = [bytes(32), b"\xff" * 32, bytes(range(32))]
ROW = st.builds(flip, st.sampled_from(BASE), st.integers(0, 70)) | st.binary(
    min_size=32, max_size=32
)


def snapshot_of(rows: list[bytes]) -> Snapshot:
    world = World()
    for start in range(0, len(rows), 5):
        part = rows[start : start + 5]
        listings = [Listing(A1, pdq=bits, pdq_quality=80, md5=bits[:16]) for bits in part]
        listings.append(Listing(A1, sha1=bytes(20)))  # A row without a PDQ in between.
        world.publish("ada", *listings)
    return world.registry().snapshot()


def near_twin(snapshot: Snapshot, rows: Rows, query: bytes, threshold: int) -> list[list[int]]:
    """Every wanted row within the threshold, closest first, then in log order."""
    found: list[tuple[int, int]] = []
    for row in rows:
        bits = snapshot.values["pdq"].value_of(int(row))
        if bits is not None:
            distance = sum((a ^ b).bit_count() for a, b in zip(bits, query, strict=True))
            if distance <= threshold:
                found.append((distance, int(row)))
    return [[row, distance] for distance, row in sorted(found)]


@given(
    st.data(), st.lists(ROW, max_size=12), st.lists(ROW, min_size=1, max_size=3), st.integers(0, 64)
)
def test_near_equals_the_scan(
    data: st.DataObject, rows: list[bytes], queries: list[bytes], threshold: int
) -> None:
    snapshot = snapshot_of(rows)
    every = range(snapshot.count)
    old, new = (
        np.array(sorted(data.draw(st.sets(st.sampled_from(every)))) if every else [], np.uint32)
        for _ in range(2)
    )
    built = MatchIndex.build(snapshot, new)
    for index in (built, MatchIndex.build(snapshot, old).extended(snapshot, new)):
        many = index.near_many([(query, 80) for query in queries], threshold)
        for query, found in zip(queries, many, strict=True):
            pairs = [[int(r), int(d)] for r, d in zip(found.rows, found.distances, strict=True)]
            assert pairs == near_twin(snapshot, new, query, threshold)
            again = index.near(query, threshold)
            assert list(again.rows) == list(found.rows)
        for row in rows:
            wanted = [int(r) for r in new if snapshot.values["md5"].value_of(int(r)) == row[:16]]
            assert list(index.exact(Algorithm.MD5, row[:16]).rows) == wanted


@given(st.integers(0, 64), st.sampled_from([0, 1, 2]))
def test_thresholds_are_inclusive_at_every_size(distance: int, others: int) -> None:
    rows = [flip(BASE[0], distance), *[b"\xaa" * 32] * others]
    snapshot = snapshot_of(rows)
    index = MatchIndex.build(snapshot, np.arange(snapshot.count, dtype=np.uint32))
    assert list(index.near(BASE[0], distance).rows) == [0]
    assert len(index.near(BASE[0], distance - 1).rows) == 0


def test_identical_rows_are_all_found_and_an_empty_index_finds_none() -> None:
    snapshot = snapshot_of([BASE[2]] * 40)
    index = MatchIndex.build(snapshot, np.arange(snapshot.count, dtype=np.uint32))
    assert len(index.near(BASE[2], 0).rows) == 40
    empty = MatchIndex.build(snapshot, np.empty(0, dtype=np.uint32))
    assert len(empty.near(BASE[2], 31).rows) == 0
    assert len(empty.exact(Algorithm.MD5, BASE[2][:16]).rows) == 0


def test_a_row_no_longer_wanted_is_not_found_though_still_there() -> None:
    snapshot = snapshot_of([BASE[2]] * 10)
    every = np.flatnonzero([snapshot.values["pdq"].value_of(row) for row in range(12)])
    index = MatchIndex.build(snapshot, every.astype(np.uint32))
    smaller = index.extended(snapshot, every[1:].astype(np.uint32))
    assert len(smaller.base) == 10, "one dead row in ten does not make it build anew"
    assert list(smaller.near(BASE[2], 31).rows) == list(every[1:])
    assert list(smaller.exact(Algorithm.MD5, BASE[2][:16]).rows) == list(every[1:])
