"""Measures range search in byte vectors of PhotoDNA's kind, beside faiss FlatL2.

PhotoDNA itself is licensed and not here; the vectors are made: 36 cells of four gradient sums each,
normalised as a whole, cells of a picture that go together. Variants lie about 70 from a row,
unrelated pictures 600 and more: the gap of real ones (variants up to 87, others from 415).
"""

import time
from typing import Final

import numpy as np

from accord.cli.bench.figures import Row, quantile, rounded
from accord.cli.bench.match_peers import FlatVectors
from accord.matching.vector_index import VectorIndex, vector_distances
from accord.matching.vector_layout import VECTOR_BYTES
from accord.registry.columns import Bytes
from accord.statements.rules import Metric
from accord.wire.errors import Broken

RADIUS: Final = 100
_BLOCK: Final = 1 << 16
_CELLS: Final = 36
_ROUNDS: Final = 5
_TURN_S: Final = 0.4
_CHECKED: Final = 10


def make_vectors(count: int, seed: int) -> Bytes:
    random, shared = np.random.default_rng(seed), np.random.default_rng(7)
    patterns = shared.normal(size=(40, _CELLS)) * np.linspace(2, 0.3, 40)[:, None] / 8
    vectors = np.empty((count, VECTOR_BYTES), dtype=np.uint8)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        cells = np.exp(random.normal(size=(size, 40)) @ patterns)
        sums = random.gamma(1.5, 1, (size, _CELLS, 4)) * cells[:, :, None]
        flat = sums.reshape(size, VECTOR_BYTES)
        flat *= 1100 / np.linalg.norm(flat, axis=1, keepdims=True)
        vectors[start : start + size] = np.clip(np.rint(flat), 0, 255)
    return vectors


def vector_rows(count: int, *, with_peers: bool) -> list[Row]:
    """Raises: Malformed, where peers are wanted and not installed; Broken, if answers differ."""
    vectors = make_vectors(count, 11)
    queries = make_vectors(1000, 12)
    random = np.random.default_rng(13)
    near = vectors[random.integers(0, count, 2)] + random.normal(0, 6, (2, VECTOR_BYTES))
    queries[::500] = np.clip(np.rint(near), 0, 255).astype(np.uint8)
    began = time.perf_counter()
    ours = VectorIndex.build(np.arange(count, dtype=np.uint32), vectors)
    build_s = time.perf_counter() - began
    for query in queries[:: len(queries) // _CHECKED]:
        expected = int((vector_distances(vectors, query, Metric.L2) <= RADIUS**2).sum())
        if len(ours.ask(query.tobytes(), RADIUS)) != expected:
            raise Broken("bench.answers", index="vectors")
    theirs = FlatVectors(vectors) if with_peers else None
    mine_us: list[float] = []
    their_us: list[float] = []
    for turn in range(_ROUNDS):
        for query in queries:
            start = time.perf_counter_ns()
            ours.ask(query.tobytes(), RADIUS)
            mine_us.append((time.perf_counter_ns() - start) / 1e3)
        end = time.perf_counter() + _TURN_S
        for query in queries[turn * 100 :]:
            if theirs is None or time.perf_counter() > end:
                break
            start = time.perf_counter_ns()
            theirs.ask(query[None], RADIUS)
            their_us.append((time.perf_counter_ns() - start) / 1e3)
    p50 = quantile(mine_us, 0.5)
    found: list[Row] = [_row("Accord", count, mine_us, build_s, p50)]
    if theirs is not None:
        found.append(_row(theirs.name, count, their_us, None, p50))
    return found


def _row(name: str, count: int, took: list[float], build_s: float | None, ours: float) -> Row:
    return {
        "index": name,
        "vectors": count,
        "us_p50": rounded(quantile(took, 0.5)),
        "us_p99": rounded(quantile(took, 0.99)),
        "build_s": None if build_s is None else rounded(build_s),
        "times_ours": rounded(quantile(took, 0.5) / ours),
    }
