"""The machine and the build that figures hold for, and what processes hold in memory.

Readings come from /proc; where there is none, they are None: not measured.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from accord.cli.bench.figures import Row, rounded

_MB: Final = 1_000_000
_FSYNCS: Final = 40


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(directory: Path) -> Row:
    """What a reader needs to compare: hardware, software, build, and how busy it was."""
    memory_kb = _proc_field(Path("/proc/meminfo"), "MemTotal")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": core_count(),
        "memory_mb": None if memory_kb is None else round(memory_kb * 1024 / _MB),
        "fsync_p50_ms": _fsync_ms(directory),
        "os": _os_name(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": f"accord {version('accord')}, commit {_commit()}",
        "load_1_min_before": rounded(os.getloadavg()[0]),
    }


def memory_row(what: str, pids: Iterable[int]) -> Row:
    """The sum over processes. Units: RSS counts shared pages in each, PSS once among all."""
    found = list(pids)
    fields: dict[str, float | None] = {}
    for name, file, field in (
        ("rss_mb", "status", "VmRSS"),
        ("peak_rss_mb", "status", "VmHWM"),
        ("pss_mb", "smaps_rollup", "Pss"),
    ):
        read = [_proc_field(Path(f"/proc/{pid}/{file}"), field) for pid in found]
        known = [value for value in read if value is not None]
        whole = len(known) == len(found) and known
        fields[name] = round(sum(known) * 1024 / _MB, 1) if whole else None
    return {"what": what, "processes": len(found), **fields}


def children_of(pid: int) -> list[int]:
    """Process ids of direct children, where /proc tells."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = entry.read_text().splitlines()
        except OSError:  # It ended meanwhile.
            continue
        if f"PPid:\t{pid}" in lines:
            found.append(int(entry.parent.name))
    return sorted(found)


def _proc_field(path: Path, field: str) -> int | None:
    """A `Field:  123 kB` line."""
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0])
    except OSError:
        return None
    return None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return f"{value.strip()} ({platform.machine()})"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _os_name() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (OSError, KeyError):
        return kernel


def _commit() -> str:
    """Of the source tree, with a `+` where it was changed; unknown outside of one."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603  (fixed words)
                ["git", *words],  # noqa: S607  (the developer's own git)
                cwd=here,
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    head = git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    return head + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")


def _fsync_ms(directory: Path) -> float:
    """Half of all durable small writes take at most so long here: what a statement waits for."""
    file = directory / "fsync-probe"
    took: list[float] = []
    with file.open("wb", buffering=0) as out:
        for _ in range(_FSYNCS):
            out.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(out.fileno())
            took.append((time.perf_counter() - began) * 1000)
    file.unlink()
    return rounded(statistics.median(took))
