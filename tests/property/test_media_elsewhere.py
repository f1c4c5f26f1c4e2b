"""The lock of decoder workers on ARM: the filter and the ruleset loaded into a kernel of aarch64.

A Debian kernel for arm64 starts in qemu with one program, tests/native/locked.c, that tries every
system call in processes of their own behind the bytes that `media.seccomp` and `media.landlock`
make. It needs `aarch64-linux-gnu-gcc`, `qemu-system-aarch64` and that kernel (scripts/arm.sh finds
or fetches all three); where one is missing the tests are skipped by name. The processor is
emulated, the kernel is the real one; Python does not run there.
"""

import errno
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from accord.media import landlock
from accord.media.seccomp import ALLOWED, ANSWERED, ARCHITECTURES, program

SOURCE: Final = Path(__file__).parents[1] / "native" / "locked.c"
COMPILER: Final = "aarch64-linux-gnu-gcc"
EMULATOR: Final = "qemu-system-aarch64"
CACHE: Final = Path(os.environ.get("ACCORD_CACHE") or Path.home() / ".cache" / "accord")
KERNEL: Final = Path(os.environ.get("ACCORD_ARM_KERNEL") or CACHE / "arm64" / "vmlinuz")
MACHINE: Final = ("-M", "virt", "-cpu", "cortex-a57", "-m", "512", "-nographic", "-nic", "none")
BOOT_S: Final = 120
ABI: Final = 2  # Of Landlock in the kernel of Debian 12, and what newer ones know as well.

BARE, SECCOMP, LANDLOCK, WORK = 0, 1, 2, 4
ALL: Final = SECCOMP | LANDLOCK
PAGE, PATH, INSIDE = 1 << 62, 1 << 61, 1 << 60  # Stand for addresses that the program knows.
ARM: Final = ARCHITECTURES["aarch64"]
NAMES: Final = {number: name for name, number in ARM.numbers.items()}
KILLED: Final = f"signal {int(signal.SIGSYS)}"
NUMBERS_END: Final = 512
THROUGH: Final = "answer 0"
THREAD: Final = 0x3D_0F00
OPENAT, GETPPID, EXECVE, MKDIRAT = 56, 173, 221, 34


@dataclass(frozen=True)
class Trial:
    """One call, and the walls that it is tried behind."""

    number: int
    arguments: tuple[int, ...] = ()
    what: int = SECCOMP

    def encoded(self) -> bytes:
        words = [word % 2**64 for word in (*self.arguments, *[0] * 6)[:6]]
        return struct.pack("<q7Q", self.number, self.what, *words)


def called(name: str, *arguments: int) -> Trial:
    return Trial(ARM.numbers[name], arguments)


EVERY: Final = [Trial(number) for number in range(NUMBERS_END)]
REFUSED: Final = {
    "read another file": called("read", 3, PAGE, 1),
    "read the answers' pipe": called("read", 1, PAGE, 1),
    "write another file": called("write", 3, PAGE, 1),
    "write to the questions' pipe": called("write", 0, PAGE, 1),
    "memory to run": called("mmap", 0, 4096, 7, 0x22, -1, 0),
    "memory of a file": called("mmap", 0, 4096, 1, 2, 0, 0),
    "make memory runnable": called("mprotect", PAGE, 4096, 7),
    "fork": called("clone", 17),
    "vfork": called("clone", 0x4111),
    "a process that shares memory": called("clone", 0x111),
    "a thread in a user namespace": called("clone", THREAD | 0x1000_0000),
    "a thread that is no thread": called("clone", THREAD & ~0x1_0000),
    "prctl: dumpable": called("prctl", 4, 1),
    "prctl: capabilities": called("prctl", 47, 2, 21),
    "prctl: high bits": called("prctl", (15 << 32) | 4, 1),
    "another filter": Trial(ARM.seccomp, (1, 0, PAGE)),
    "open": Trial(OPENAT, (-100, PATH, 0o101, 0o600)),
    "a program": Trial(EXECVE, (PATH, 0, 0)),
    "a call beyond all": Trial(1_000_000),
    "a call below zero": Trial(-1),
    "x32's bit": Trial(0x4000_0000 | ARM.numbers["read"]),
}
PASSES: Final = {
    "read": called("read", 0, PAGE, 0),
    "write": called("write", 1, PAGE, 0),
    "a complaint": called("write", 2, PAGE, 0),
    "memory": called("mmap", 0, 4096, 3, 0x22, -1, 0),
    "protect memory": called("mprotect", PAGE, 4096, 1),
    "a thread's name": called("prctl", 15, PAGE),
    "a codec's work": Trial(0, what=ALL | WORK),
    "bare: name the parent": Trial(GETPPID, what=BARE),
    "bare: make a directory": Trial(MKDIRAT, (-100, PATH, 0o700), BARE),
}
WALLED: Final = {  # The directory is there by now.
    "list": (OPENAT, (-100, PATH, 0)),
    "make": (OPENAT, (-100, INSIDE, 0o101, 0o600)),
    "make a directory": (MKDIRAT, (-100, INSIDE, 0o700)),
}
BEHIND: Final = {name: Trial(*words, LANDLOCK) for name, words in WALLED.items()}


def archived(files: dict[str, bytes]) -> bytes:
    """An initial file system, in the form `newc` of cpio."""
    parts = []
    for place, (name, data) in enumerate({**files, "TRAILER!!!": b""}.items()):
        path = name.encode() + b"\0"
        words = (place, 0o100755, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % word for word in words) + path
        parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return b"".join(parts)


def missing() -> str:
    names = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
    return ", ".join([*names, *([] if KERNEL.is_file() else ["a kernel for arm64"])])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[Trial, str]:
    """What became of every trial."""
    if missing():
        pytest.skip(f"{missing()}: not there, see scripts/arm.sh")
    place = tmp_path_factory.mktemp("arm64")
    built = [COMPILER, "-O1", "-Wall", "-Werror", "-static", "-pthread", "-o", str(place / "init")]
    subprocess.run([*built, str(SOURCE)], check=True)
    trials = [*PASSES.values(), *BEHIND.values(), *REFUSED.values(), *EVERY]
    files = {
        "init": (place / "init").read_bytes(),
        "filter": b"".join(struct.pack("<HBBI", *step) for step in program(ARM)),
        "ruleset": landlock.ruleset(ABI),
        "trials": b"".join(trial.encoded() for trial in trials),
    }
    (place / "initrd").write_bytes(archived(files))
    words = ["-kernel", str(KERNEL), "-initrd", str(place / "initrd")]
    words += ["-append", "console=ttyAMA0 quiet loglevel=1 panic=-1"]
    done = subprocess.run(
        [EMULATOR, *MACHINE, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOOT_S,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "done" in lines, done.stdout[-2000:]
    return dict(answers(lines, trials))


def answers(lines: list[str], trials: list[Trial]) -> Iterator[tuple[Trial, str]]:
    said = dict(line.split(" ", 1) for line in lines if line[:1].isdigit())
    for at, trial in enumerate(trials):
        yield trial, said[str(at)]


def test_what_a_decoder_does_goes_through(told: dict[Trial, str]) -> None:
    assert {name: told[trial] for name, trial in PASSES.items()} == dict.fromkeys(PASSES, THROUGH)


def test_an_argument_that_is_not_allowed_ends_the_process(told: dict[Trial, str]) -> None:
    found = {name: told[trial] for name, trial in REFUSED.items()}
    assert found == dict.fromkeys(REFUSED, KILLED)


def test_every_number_is_ended_or_not_as_its_name_is_listed(told: dict[Trial, str]) -> None:
    """All arguments are 0: a listed call that then fails its check is ended as well."""
    ended = {trial.number for trial in EVERY if told[trial] == KILLED}
    passing = {
        number
        for number, name in NAMES.items()
        if name in ANSWERED or all(0 in check.values for check in ALLOWED[name])
    }
    assert ended == set(range(NUMBERS_END)) - passing
    for name, error in ANSWERED.items():
        assert told[Trial(ARM.numbers[name])] == f"answer {error}"


def test_landlock_holds_where_a_call_gets_through(told: dict[Trial, str]) -> None:
    refused = f"answer {errno.EACCES}"
    assert {name: told[trial] for name, trial in BEHIND.items()} == dict.fromkeys(BEHIND, refused)
