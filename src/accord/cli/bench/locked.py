"""Measures what a decoder worker's lock costs a file: the same files through a locked worker and
through one with limits alone, in turns.

Units: ms. Wall time as the parent sees it, both pipes included; CPU time of the worker's own
thread, from the kernel's account of it. Linux only, as the lock.
Not here: hashing in this process (hash), the gateway around workers (loop).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from accord.cli.bench.figures import Row, rounded
from accord.fingerprint import Decoding
from accord.media.process import INSECURE_ARGV, WORKER_ARGV, WorkerProcess
from accord.wire.limits import DECODE_WAIT_MS

_WAYS: Final = {"locked": WORKER_ARGV, "unlocked": INSECURE_ARGV}


def lock_rows(
    files: Sequence[tuple[str, bytes]], rounds: int, progress: Callable[[str, int, int], None]
) -> tuple[Row, ...]:
    """One row for each start and each named file."""
    rows = [_start_row(max(2, rounds // 10))]
    workers = {way: WorkerProcess(argv) for way, argv in _WAYS.items()}
    try:
        for place, (name, data) in enumerate(files):
            progress("locked decoders", place + 1, len(files))
            rows.append(_row(name, *_took(workers, data, rounds)))
    finally:
        for worker in workers.values():
            worker.stop()
    return tuple(rows)


def _start_row(rounds: int) -> Row:
    walls: dict[str, list[float]] = {way: [] for way in _WAYS}
    cpus: dict[str, list[float]] = {way: [] for way in _WAYS}
    for _ in range(rounds):
        for way, argv in _WAYS.items():
            began = time.perf_counter()
            worker = WorkerProcess(argv)
            walls[way].append((time.perf_counter() - began) * 1000)
            cpus[way].append(_cpu_ms(worker.pid))
            worker.stop()
    return _row("start of a worker", walls, cpus)


def _took(
    workers: dict[str, WorkerProcess], data: bytes, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and CPU times of each way; one unmeasured turn warms both."""
    walls: dict[str, list[float]] = {way: [] for way in workers}
    cpus: dict[str, list[float]] = {way: [] for way in workers}
    ways = list(workers.items())
    for turn in range(rounds + 1):
        ways.reverse()  # Neither always finds the caches as the other left them.
        for way, worker in ways:
            before_ms, began = _cpu_ms(worker.pid), time.perf_counter()
            worker.ask(data, DECODE_WAIT_MS, Decoding.EXACT)
            wall_ms = (time.perf_counter() - began) * 1000
            if turn:
                walls[way].append(wall_ms)
                cpus[way].append(_cpu_ms(worker.pid) - before_ms)
    return walls, cpus


def _cpu_ms(pid: int) -> float:
    spent_ns = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]
    return int(spent_ns) / 1e6


def _row(name: str, walls: dict[str, list[float]], cpus: dict[str, list[float]]) -> Row:
    return {
        "file": name,
        "locked_cpu_ms": rounded(median(cpus["locked"])),
        "unlocked_cpu_ms": rounded(median(cpus["unlocked"])),
        "locked_wall_ms": rounded(median(walls["locked"])),
        "unlocked_wall_ms": rounded(median(walls["unlocked"])),
    }
