"""Which path of the kernel runs, and what is said when the best is missing."""

import subprocess
import sys
from pathlib import Path as File

import pytest

from accord.native import LIBRARY, Path, allocate, best_path, fault_of
from accord.native.library import VARIABLE, _load, choose_path
from accord.native.memory import HUGE_BYTES
from accord.wire.errors import Broken, Malformed

ASK = "import accord.native.library as l; print(l.PATH.name)"


def start(path: str, code: str = ASK) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_set_up_has_compiled_the_kernel() -> None:
    assert LIBRARY is not None, "make setup compiles it"
    assert best_path(LIBRARY) >= Path.PORTABLE


@pytest.mark.parametrize("path", [path for path in Path if path <= best_path(LIBRARY)])
def test_a_path_can_be_named(path: Path) -> None:
    done = start(path.name.lower())
    assert (done.stdout.strip(), done.stderr) == (path.name, "")


def test_auto_takes_the_best() -> None:
    done = start("auto")
    assert done.stdout.strip() == best_path(LIBRARY).name


def test_without_a_library_one_line_says_so() -> None:
    hidden = "import accord.native.library as l; l.FILE = l.FILE.with_name('none.so'); l._choose()"
    done = start("auto", hidden)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "the compiled kernel is not there: answers are right but slow"
    ]


def test_a_path_that_is_not_there_is_refused() -> None:
    for name, best in (("avx2", Path.PORTABLE), ("portable", Path.NUMPY), ("sse9", Path.AVX512)):
        with pytest.raises(Malformed, match=r"kernel\.path"):
            choose_path(name, best)
    assert choose_path("numpy", Path.AVX512) is Path.NUMPY
    assert choose_path("auto", Path.PORTABLE) is Path.PORTABLE


def test_a_file_that_is_no_kernel_is_passed_over(tmp_path: File) -> None:
    bad = tmp_path / "kernel.so"
    bad.write_bytes(b"no library")
    assert _load(bad) is None
    assert best_path(None) is Path.NUMPY


def test_memory_is_zeroed_and_writable() -> None:
    for size in (10, HUGE_BYTES + 4096):
        memory = allocate(size)
        assert (len(memory), memory[0], memory[-1]) == (size, 0, 0)
        memory[-1] = 7


def test_faults_have_names() -> None:
    assert isinstance(fault_of(-1), MemoryError)
    fault = fault_of(-9)
    assert isinstance(fault, Broken)
    assert fault.code == "kernel.answer"
