"""Measures look-ups in the index, beside the indexes that others use: same rows, same queries,
one run, one thread, in turns, so that a busy moment of the machine falls on all of them.

Rows and queries come from a seed; one query in a thousand is near a row.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from accord.cli.bench.figures import Report, Row, Section, quantile, rounded
from accord.cli.bench.machine import describe_machine
from accord.cli.bench.match_patches import ASKED, patch_rows
from accord.cli.bench.match_peers import TUNED, Peer, peers
from accord.cli.bench.match_rows import make_queries, make_rows, near_rows
from accord.cli.bench.match_vectors import RADIUS, vector_rows
from accord.matching.index_kernel import Matches
from accord.matching.index_layout import PDQ_BYTES
from accord.matching.index_native import kernel_of
from accord.matching.index_ring import Ring
from accord.registry.columns import Bytes
from accord.scan.index_store import IndexStore
from accord.wire.errors import Broken

OURS: Final = "Accord"
MAPPED: Final = "Accord, mapped file"
ROUNDS: Final = 7  # Each index gets its turn so often; a figure is the median over them.
_TURN_S: Final = 0.4  # One index' single queries of one round, at most.
_BULK_S: Final = 1.0  # And its queries at once about so long.
_MEMORY_ROWS_MAX: Final = 20_000_000  # More are measured in a file alone: memory would not do.
_MERGE_ROWS_MAX: Final = 40_000_000  # As many rows again are held, and 100 bytes each, for that.
_CHECKED: Final = 40  # Queries near a row whose answers must be those of a scan.
_BLOCK: Final = 1 << 18
_DELTAS: Final = (1_000, 10_000, 100_000)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scale:
    listings: int
    queries: int
    threshold: int
    kinds: tuple[str, ...]
    peers: str  # `none`, `faiss`, `all`
    vectors: int = 0
    patched: int = 0


@dataclass(slots=True)
class Timing:
    """Of one index. Units: seconds, and microseconds a query."""

    build_s: float
    bytes_each: float | None
    single_us: list[float]
    cpu_us: list[float]
    bulk_us: list[float]
    matches: float = 0.0  # Of one query among those asked at once.


class OurPeer:
    """Ours behind the peers' interface."""

    name = OURS

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.build(np.empty((0, PDQ_BYTES), dtype=np.uint8))

    def build(self, bits: Bytes) -> None:
        self.ring = Ring.build(np.arange(len(bits), dtype=np.uint32), bits)

    def ask(self, query: Bytes) -> object:
        return self.ring.ask(query.tobytes(), self._threshold)

    def search(self, queries: Bytes) -> Matches:
        return self.ring.search(queries.tobytes(), self._threshold)


class MappedPeer(OurPeer):
    """Ours in a file, as a gateway has it."""

    name = MAPPED

    def __init__(self, threshold: int, store: IndexStore) -> None:
        self._store = store
        super().__init__(threshold)

    def build(self, bits: Bytes) -> None:
        self._store.write(np.arange(len(bits), dtype=np.uint32), bits)
        self.ring = self._store.load()


def run(scale: Scale, directory: Path, progress: Progress) -> Report:
    """Raises: Malformed, where peers are wanted and not installed; Broken, if answers differ."""
    machine = describe_machine(directory)
    looked: list[Row] = []
    changed: list[Row] = []
    for number, kind in enumerate(scale.kinds):
        progress(f"{kind}: making rows", 0, 0)
        rows = make_rows(kind, scale.listings, 2 * number + 1)
        store = IndexStore(directory / kind)
        indexes: list[Peer] = [MappedPeer(scale.threshold, store)]
        if scale.listings <= _MEMORY_ROWS_MAX:
            indexes.insert(0, OurPeer(scale.threshold))
        if scale.peers != "none":
            indexes += peers(scale.threshold, with_python=scale.peers == "all")
        queries = make_queries(kind, rows, scale.queries, 2 * number + 2)
        timings = _measure(kind, indexes, rows, queries, progress, first=number == 0)
        _check_answers(indexes, rows, scale.threshold)
        looked += _looked(kind, scale, timings)
        del indexes
        progress(f"{kind}: changes", 0, 0)
        changed.append(_changes(kind, rows, queries, store, scale.threshold))
    parameters: Row = {
        "listings": scale.listings,
        "threshold_bits": scale.threshold,
        "bulk_queries": scale.queries,
        "kernel": kernel_of().name,
        "rounds": ROUNDS,
        "threads": 1,
    }
    return Report(
        machine,
        parameters,
        (
            Section("match", "Look-ups", tuple(looked)),
            Section("changes", "Opening, deltas and merging (Accord)", tuple(changed)),
            *_vectors(scale, progress),
            *_patches(scale, progress),
        ),
    )


def _patches(scale: Scale, progress: Progress) -> tuple[Section, ...]:
    if not scale.patched:
        return ()
    progress("patches", 0, 0)
    title = f"A picture's {2 * ASKED} patches and their votes, processor time"
    return (Section("patches", title, tuple(patch_rows(scale.patched))),)


def _vectors(scale: Scale, progress: Progress) -> tuple[Section, ...]:
    if not scale.vectors:
        return ()
    progress("vectors", 0, 0)
    rows = vector_rows(scale.vectors, with_peers=scale.peers != "none")
    return (Section("vectors", f"Byte vectors within {RADIUS} by L2", tuple(rows)),)


def _measure(
    kind: str,
    indexes: Sequence[Peer],
    rows: Bytes,
    queries: Bytes,
    progress: Progress,
    *,
    first: bool,
) -> dict[str, Timing]:
    timings: dict[str, Timing] = {}
    for index in indexes:
        progress(f"{kind}: building {index.name}", 0, 0)
        before = _held_bytes()
        began = time.perf_counter()
        index.build(rows)
        took = time.perf_counter() - began
        timings[index.name] = Timing(took, None, [], [], [])
        if isinstance(index, OurPeer):
            timings[index.name].bytes_each = index.ring.layout.size / len(rows)
        elif first:  # Later on it is the memory of the one before that is used again.
            timings[index.name].bytes_each = (_held_bytes() - before) / len(rows)
    for turn in range(ROUNDS):
        for index in indexes:
            progress(f"{kind}: asking {index.name}", turn + 1, ROUNDS)
            timing = timings[index.name]
            took_cpu = time.thread_time()
            asked = _ask_singly(index, queries, turn)
            timing.cpu_us.append((time.thread_time() - took_cpu) / len(asked) * 1e6)
            timing.single_us += asked
            # A slow index gets fewer queries at once: the figure is one a query.
            affordable = int(_BULK_S * 1e6 / quantile(timing.single_us, 0.5))
            part = queries[: max(256, affordable)]
            began = time.perf_counter()
            found = index.search(part)
            timing.matches = len(found) / len(part)
            timing.bulk_us.append((time.perf_counter() - began) / len(part) * 1e6)
    return timings


def _ask_singly(index: Peer, queries: Bytes, turn: int) -> list[float]:
    took: list[float] = []
    end = time.perf_counter() + _TURN_S
    for number in range(turn * 1009, turn * 1009 + len(queries)):
        query = queries[number % len(queries)][None]
        began = time.perf_counter_ns()
        index.ask(query)
        took.append((time.perf_counter_ns() - began) / 1e3)
        if time.perf_counter() > end:
            break
    return took


def _check_answers(indexes: Sequence[Peer], rows: Bytes, threshold: int) -> None:
    """Every index gives the answers of a scan. Raises: Broken."""
    random = np.random.default_rng(99)
    queries = near_rows(random, rows, _CHECKED)
    expected: set[tuple[int, int, int]] = set()
    for start in range(0, len(rows), _BLOCK):
        words = rows[start : start + _BLOCK].view(np.uint64)
        for number, query in enumerate(queries.view(np.uint64)):
            distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint16)
            for place in np.flatnonzero(distances <= threshold):
                expected.add((number, int(place) + start, int(distances[place])))
    for index in indexes:
        if {tuple(match) for match in index.search(queries).tolist()} != expected:
            raise Broken("bench.answers", index=index.name)


def _looked(kind: str, scale: Scale, timings: dict[str, Timing]) -> list[Row]:
    ours = timings.get(OURS) or timings[MAPPED]
    tuned = timings.get(TUNED)
    found: list[Row] = []
    for name, timing in timings.items():
        p50, bulk = quantile(timing.single_us, 0.5), quantile(timing.bulk_us, 0.5)
        found.append(
            {
                "index": name,
                "kind": kind,
                "listings": scale.listings,
                "us_p50": rounded(p50),
                "us_p99": rounded(quantile(timing.single_us, 0.99)),
                "us_cpu": rounded(quantile(timing.cpu_us, 0.5)),
                "bulk_us": rounded(bulk),
                "matches_per_query": rounded(timing.matches),
                "build_s": rounded(timing.build_s),
                "bytes_per_fingerprint": None
                if timing.bytes_each is None
                else rounded(timing.bytes_each),
                "times_ours": rounded(p50 / quantile(ours.single_us, 0.5)),
                "ratio_to_tuned_faiss": None
                if tuned is None
                else rounded(quantile(tuned.single_us, 0.5) / p50),
                "bulk_ratio_to_tuned_faiss": None
                if tuned is None
                else rounded(quantile(tuned.bulk_us, 0.5) / bulk),
            }
        )
    return found


def _changes(kind: str, rows: Bytes, queries: Bytes, store: IndexStore, threshold: int) -> Row:
    """What it costs to open a file, to have and make a delta, and to merge it."""
    opened: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        store.load(whole=False)
        opened.append((time.perf_counter() - began) * 1e3)
    began = time.perf_counter()
    base = store.load()
    whole_ms = (time.perf_counter() - began) * 1e3
    row: dict[str, str | int | float | None] = {
        "kind": kind,
        "listings": len(rows),
        "open_ms": rounded(quantile(opened, 0.5)),
        "open_and_check_ms": rounded(whole_ms),
    }
    some = [query.tobytes() for query in queries[:2000]]
    for size in _DELTAS:
        fresh = make_rows(kind, size, 7)
        began = time.perf_counter()
        delta = Ring.build(np.arange(size, dtype=np.uint32), fresh)
        row[f"delta_{size}_build_ms"] = rounded((time.perf_counter() - began) * 1e3)
        row[f"delta_{size}_adds_us"] = rounded(_added_us(base, delta, some, threshold))
    row["merge_s"] = None
    if len(rows) <= _MERGE_ROWS_MAX:
        merged = np.concatenate([rows, make_rows(kind, _DELTAS[1], 8)])
        began = time.perf_counter()
        store.write(np.arange(len(merged), dtype=np.uint32), merged)
        row["merge_s"] = rounded(time.perf_counter() - began)
    return row


def _added_us(base: Ring, delta: Ring, queries: Sequence[bytes], threshold: int) -> float:
    """What a delta adds to a query that has just gone through the base."""
    took: list[float] = []
    for query in queries:
        base.ask(query, threshold)
        began = time.perf_counter_ns()
        delta.ask(query, threshold)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return quantile(took, 0.5)


def _held_bytes() -> int:
    """Resident memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0
