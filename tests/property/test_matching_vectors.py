"""The index of byte vectors against a scan, on every path of this machine. Rows are seeded."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.matching.vector_index import (
    VectorIndex,
    _bound_l1_of,
    _bound_of,
    vector_distances,
)
from accord.matching.vector_layout import AXES, VECTOR_BYTES, ZONE
from accord.native import LIBRARY, Path, best_path
from accord.registry.columns import Bytes
from accord.statements.rules import Metric
from accord.wire.errors import Malformed

PATHS = [path for path in Path if path <= best_path(LIBRARY)]
ANY_PATH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.lower())
Family = Callable[[np.random.Generator, int], Bytes]


def uniform(random: np.random.Generator, count: int) -> Bytes:
    return random.integers(0, 256, (count, VECTOR_BYTES), dtype=np.uint8)


def alike(random: np.random.Generator, count: int) -> Bytes:
    """Few directions hold most of the differences, and each picture has variants."""
    weights = random.normal(size=(6, VECTOR_BYTES)) * 18
    originals = random.normal(size=(max(1, count // 8), 6)) @ weights + 90
    rows = originals[random.integers(0, len(originals), count)]
    noisy = rows + random.normal(0, 5, (count, VECTOR_BYTES))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def extreme(random: np.random.Generator, count: int) -> Bytes:
    """Nothing but 0 and 255, so that cells are as wide as they can be."""
    return random.integers(0, 2, (count, VECTOR_BYTES), dtype=np.uint8) * np.uint8(255)


def identical(random: np.random.Generator, count: int) -> Bytes:
    return np.repeat(uniform(random, 1), count, axis=0)


def check(index: VectorIndex, vectors: Bytes, query: Bytes, distance: int, metric: Metric) -> None:
    all_of_them = vector_distances(vectors, query, metric)
    limit = distance if metric is Metric.L1 else distance * distance
    rows = np.flatnonzero(all_of_them <= limit)
    rows = rows[np.lexsort((rows, all_of_them[rows]))]
    found = index.ask(query.tobytes(), distance, metric)
    assert index.rows[found["place"]].tolist() == rows.tolist()
    assert found["distance"].tolist() == all_of_them[rows].tolist()


def queries_for(random: np.random.Generator, vectors: Bytes) -> Bytes:
    """Of the rows, near them, in none of their cells, and outside of all boxes."""
    near = vectors[random.integers(0, len(vectors), 12)].astype(np.int16)
    near[4:8] += random.integers(-8, 9, near[4:8].shape, dtype=np.int16)
    near[8:] += random.integers(-40, 41, near[8:].shape, dtype=np.int16)
    ends = np.repeat(np.array([[0], [255]], np.uint8), VECTOR_BYTES, axis=1)
    return np.concatenate([np.clip(near, 0, 255).astype(np.uint8), uniform(random, 2), ends])


@ANY_PATH
@pytest.mark.parametrize("family", [uniform, alike, extreme, identical])
@pytest.mark.parametrize("metric", [Metric.L1, Metric.L2])
def test_it_finds_what_a_scan_finds(path: Path, family: Family, metric: Metric) -> None:
    random = np.random.default_rng(91)
    vectors = family(random, 9000)
    index = VectorIndex.build(np.arange(len(vectors), dtype=np.uint32), vectors, path)
    for query in queries_for(random, vectors):
        for distance in (0, 1, 60, 100, 300, 900, 2500, 40_000):
            check(index, vectors, query, distance, metric)


@ANY_PATH
@pytest.mark.parametrize("count", [1, 2, 3, ZONE - 1, ZONE, ZONE + 1, ZONE**2, ZONE**2 + 1])
@pytest.mark.parametrize("family", [alike, identical])
def test_every_size(path: Path, count: int, family: Family) -> None:
    random = np.random.default_rng(count)
    vectors = family(random, count)
    index = VectorIndex.build(np.arange(count, dtype=np.uint32), vectors, path)
    for query in queries_for(random, vectors):
        for metric, distance in (
            (Metric.L2, 0),
            (Metric.L2, 100),
            (Metric.L1, 300),
            (Metric.L1, 800),
        ):
            check(index, vectors, query, distance, metric)


@ANY_PATH
@pytest.mark.parametrize("family", [uniform, alike, extreme])
def test_a_step_over_the_edge_of_a_cell_is_no_distance(path: Path, family: Family) -> None:
    """Rows beside the query whose cells are others than its own on some axis."""
    random = np.random.default_rng(94)
    vectors = family(random, 1000)
    index = VectorIndex.build(np.arange(len(vectors), dtype=np.uint32), vectors, path)
    for row in range(0, 1000, 5):
        query = vectors[row].copy()
        some = random.choice(VECTOR_BYTES, 4, replace=False)
        query[some] = np.where(query[some] < 128, query[some] + 1, query[some] - 1)
        check(index, vectors, query, 2, Metric.L2)
        check(index, vectors, query, 4, Metric.L1)


def test_an_empty_index_and_wrong_lengths() -> None:
    empty = np.empty((0, VECTOR_BYTES), dtype=np.uint8)
    index = VectorIndex.build(np.empty(0, dtype=np.uint32), empty)
    assert len(index.ask(bytes(VECTOR_BYTES), 10**6)) == 0
    with pytest.raises(Malformed, match=r"matching\.vector_length"):
        index.ask(bytes(143), 10)
    with pytest.raises(Malformed, match=r"matching\.vector_length"):
        VectorIndex.build(np.empty(0, dtype=np.uint32), np.empty((0, 100), dtype=np.uint8))


def test_most_rows_are_passed_over() -> None:
    """The point of it all: the bound rejects what is far away."""
    random = np.random.default_rng(92)
    vectors = alike(random, 20_000)
    index = VectorIndex.build(np.arange(len(vectors), dtype=np.uint32), vectors)
    cells, query = index.cells, vectors[7]
    place = (cells.axes.astype(np.int64) @ query.astype(np.int64) - cells.origin) >> cells.shift
    at = np.clip(place, 0, 255)[None, :, None]
    gaps = np.maximum(np.abs(cells.codes.astype(np.int64) - at) - 1, 0)
    left = (gaps**2).sum(axis=1) <= cells.budget(100 * 100, Metric.L2)
    assert left.sum() < 200


@given(st.integers(0, 2**32 - 1))
def test_no_eigenvalue_exceeds_the_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    axes = random.integers(-1024, 1025, (AXES, VECTOR_BYTES)).astype(np.int16)
    largest = np.linalg.eigvalsh(axes.astype(np.float64) @ axes.T.astype(np.float64)).max()
    assert _bound_of(axes) >= largest * (1 - 1e-9)


@given(st.integers(0, 2**32 - 1))
def test_no_difference_within_an_l1_distance_is_stretched_beyond_the_bound(seed: int) -> None:
    """The bound is reached by a difference in one place, and by no other of the same sum."""
    random = np.random.default_rng(seed)
    axes = random.integers(-1024, 1025, (AXES, VECTOR_BYTES)).astype(np.int16)
    bound, wide = _bound_l1_of(axes), axes.astype(np.int64)
    apart = random.integers(-255, 256, (50, VECTOR_BYTES))
    apart[random.random(apart.shape) < random.random()] = 0
    stretched = ((apart @ wide.T) ** 2).sum(axis=1)
    assert (stretched <= bound * np.abs(apart).sum(axis=1) ** 2).all()
    alone = np.eye(VECTOR_BYTES, dtype=np.int64) * 7
    assert ((alone @ wide.T) ** 2).sum(axis=1).max() == bound * 49


def test_threads_search_at_once() -> None:
    import threading

    random = np.random.default_rng(93)
    vectors = alike(random, 5000)
    index = VectorIndex.build(np.arange(len(vectors), dtype=np.uint32), vectors)
    expected = [index.ask(row.tobytes(), 120)["place"].tolist() for row in vectors[:40]]
    seen: list[list[list[int]]] = []

    def ask() -> None:
        seen.append([index.ask(row.tobytes(), 120)["place"].tolist() for row in vectors[:40]])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4
