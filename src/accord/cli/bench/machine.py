"""The machine and the build that figures hold for, and what processes hold in memory.

Readings come from /proc; where there is none, they are None: not measured.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
    return sorted(child for child, fields in _processes().items() if int(fields[1]) == pid)


def descendants_of(pid: int) -> list[int]:
    """Its children, their children, and so on."""
    found = children_of(pid)
    for child in list(found):
        found += descendants_of(child)
    return found


def cpu_seconds(pid: int | None) -> float | None:
    """Processor time of a process, of its children and theirs, the ended ones among them; None
    where it is not known."""
    processes = _processes()
    if pid is None or pid not in processes:
        return None
    ticks = 0
    for member in (pid, *descendants_of(pid)):
        fields = processes.get(member)
        if fields is not None:  # User, system, and the same two of children that were waited for.
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def runs_module(pid: int, name: str) -> bool:
    """Whether it was started as `python -m name`, where /proc tells."""
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """What this thread starts runs on so few cores; everywhere, where a system cannot do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _processes() -> dict[int, list[str]]:
    """What /proc says of each process, behind its name: state, parent, ..."""
    found: dict[int, list[str]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(entry.parent.name)] = entry.read_text().rpartition(")")[2].split()
        except OSError:  # It ended meanwhile.
            continue
    return found


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
