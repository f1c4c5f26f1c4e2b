"""Escapes that a taken-over decoder would try, run under the real lock or under one wall of it.

As a script: `serve` is a decoder worker for a pool, whose files name a probe each. `table WALLS`
tries every probe in a forked copy that locks itself first, and prints as JSON what became of each:
"killed" by the filter, the name of the error it was answered with, or "through". `capabilities`
prints those that a locked process has left.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from accord.fingerprint import Decoding, UnhashableCode
from accord.fingerprint.ladder import Step
from accord.media import landlock, lock, seccomp, worker

SERVE_ARGV: Final = (sys.executable, "-s", __file__, "serve")
TABLE_ARGV: Final = (sys.executable, "-s", __file__, "table")
CAPABILITIES_ARGV: Final = (sys.executable, "-s", __file__, "capabilities")
THROUGH: Final = UnhashableCode.TOO_FLAT  # How a worker that goes on tells what became of a probe.
ANSWERED: Final = UnhashableCode.NOT_DECODABLE

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PARENT: Final = os.getpid() if sys.argv[1:2] == ["table"] else os.getppid()
_MEMORY: Final = ctypes.create_string_buffer(4096)
_ADDRESS: Final = ctypes.addressof(_MEMORY)
_FRESH: Final = f"/tmp/accord-escaped-{_PARENT}".encode()  # Nothing of that name is there.
_X32_BIT: Final = 0x4000_0000
# Calls by number (x86-64; aarch64), for those that no library function makes.
_NUMBERS: Final[dict[str, tuple[int, int]]] = {
    "accept4": (288, 242),
    "bpf": (321, 280),
    "chdir": (80, 49),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "connect": (42, 203),
    "dup": (32, 23),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fcntl": (72, 25),
    "getppid": (110, 173),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "landlock_create_ruleset": (444, 444),
    "memfd_create": (319, 279),
    "mmap": (9, 222),
    "mount": (165, 40),
    "mprotect": (10, 226),
    "openat": (257, 56),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_open": (434, 434),
    "pkey_mprotect": (329, 288),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "read": (0, 63),
    "rt_sigaction": (13, 134),
    "seccomp": (317, 277),
    "sendmsg": (46, 211),
    "setns": (308, 268),
    "setuid": (105, 146),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "tgkill": (234, 131),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "write": (1, 64),
}
_X86: Final = os.uname().machine == "x86_64"


def call(name: str, *arguments: int | bytes | None) -> int:
    number = _NUMBERS[name][0 if _X86 else 1]
    return raw(number, *arguments)


def raw(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    _LIBC.syscall.restype = ctypes.c_long
    return int(_LIBC.syscall(ctypes.c_long(number), *words))


def _machine_code(code: bytes) -> Callable[[], int]:
    """Made before the lock: under it no memory can be run that was ever written."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    first = ctypes.c_char.from_buffer(page)
    function = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(first))
    return lambda: int(function()) if first else 0  # `first` holds the page.


# mov eax, 20 (getpid of the 32-bit table; writev of the other); int 0x80; ret
_INT80: Final = (
    _machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3") if _X86 and __name__ == "__main__" else None
)


def _fork() -> int:
    return call("clone", 17, 0, 0, 0, 0)  # SIGCHLD and nothing shared.


def _run_from_memory() -> int:
    file = call("memfd_create", b"", 0)
    return call("execveat", file, b"", None, None, 0x1000)


# Some code in a decoder that was taken over, and what it would like to do next.
PROBES: dict[str, Callable[[], int]] = {
    "open to read": lambda: call("openat", -100, b"/etc/passwd", os.O_RDONLY, 0),
    "open to write": lambda: call("openat", -100, _FRESH, os.O_CREAT | os.O_WRONLY, 0o600),
    "open to make a file without name": lambda: call("openat", -100, b"/tmp", 0o20200001, 0o600),
    "openat2": lambda: call("openat2", -100, b"/etc/passwd", _ADDRESS, 24),
    "connect by TCP": lambda: call("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
    "connect by TCP over IPv6": lambda: call("socket", socket.AF_INET6, socket.SOCK_STREAM, 0),
    "send by UDP": lambda: call("socket", socket.AF_INET, socket.SOCK_DGRAM, 0),
    "connect to a local socket": lambda: call("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "netlink": lambda: call("socket", 16, socket.SOCK_RAW, 0),
    "socketpair": lambda: call("socketpair", socket.AF_UNIX, socket.SOCK_STREAM, 0, _ADDRESS),
    "connect": lambda: call("connect", 0, _ADDRESS, 16),
    "accept": lambda: call("accept4", 0, None, None, 0),
    "sendmsg": lambda: call("sendmsg", 1, _ADDRESS, 0),
    "execve": lambda: call("execve", b"/bin/true", None, None),
    "execveat": lambda: call("execveat", -100, b"/bin/true", None, None, 0),
    "a program from memory": _run_from_memory,
    "memfd_create": lambda: call("memfd_create", b"", 0),
    "fork": _fork,
    "vfork": lambda: call("clone", 0x4111, 0, 0, 0, 0),
    "a process that shares memory": lambda: call("clone", 0x111, 0, 0, 0, 0),
    "a thread in a user namespace": lambda: call("clone", 0x103D_0F00, 0, 0, 0, 0),
    "clone3": lambda: call("clone3", _ADDRESS, 88),
    "ptrace the parent": lambda: call("ptrace", 0x4206, _PARENT, 0, 0),
    "be traced": lambda: call("ptrace", 0, 0, 0, 0),
    "read the parent's memory": lambda: call(
        "process_vm_readv", _PARENT, _ADDRESS, 1, _ADDRESS, 1, 0
    ),
    "write the parent's memory": lambda: call(
        "process_vm_writev", _PARENT, _ADDRESS, 1, _ADDRESS, 1, 0
    ),
    "compare with the parent": lambda: call("kcmp", _PARENT, _PARENT, 0, 0, 0),
    "kill the parent": lambda: call("kill", _PARENT, 9),
    "stop a thread of the parent": lambda: call("tgkill", _PARENT, _PARENT, 19),
    "name the parent": lambda: call("getppid"),
    "hold the parent": lambda: call("pidfd_open", _PARENT, 0),
    "limit the parent": lambda: call("prlimit64", _PARENT, 7, _ADDRESS, None),
    "io_uring": lambda: call("io_uring_setup", 8, _ADDRESS),
    "bpf": lambda: call("bpf", 0, _ADDRESS, 72),
    "perf": lambda: call("perf_event_open", _ADDRESS, 0, -1, -1, 0),
    "userfaultfd": lambda: call("userfaultfd", 0),
    "keys": lambda: call("keyctl", 0, -3, 0, 0, 0),
    "a kernel module": lambda: call("init_module", _ADDRESS, 0, b""),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "unmount": lambda: call("umount2", b"/proc", 2),
    "chroot": lambda: call("chroot", b"/tmp"),
    "chdir": lambda: call("chdir", b"/tmp"),
    "setns": lambda: call("setns", 0, 0),
    "unshare": lambda: call("unshare", 0x1000_0000),
    "setuid": lambda: call("setuid", 0),
    "shared memory": lambda: call("shmget", 0, 4096, 0o1600),
    "personality": lambda: call("personality", 0x40_0000),  # READ_IMPLIES_EXEC
    "memory to run": lambda: call("mmap", 0, 4096, 7, 0x22, -1, 0),
    "memory of a file": lambda: call("mmap", 0, 4096, 1, 2, 0, 0),
    "make memory runnable": lambda: call("mprotect", _ADDRESS & ~4095, 4096, 7),
    "make memory runnable by key": lambda: call("pkey_mprotect", _ADDRESS & ~4095, 4096, 7, -1),
    "another filter": lambda: call("seccomp", 1, 0, _ADDRESS),
    "another landlock": lambda: call("landlock_create_ruleset", None, 0, 1),
    "prctl: dumpable": lambda: call("prctl", 4, 1, 0, 0, 0),
    "prctl: any tracer": lambda: call("prctl", 0x5961_6D61, -1, 0, 0, 0),
    "prctl: capabilities": lambda: call("prctl", 47, 2, 21, 0, 0),
    "prctl: speculation": lambda: call("prctl", 53, 0, 2, 0, 0),
    "prctl: high bits": lambda: call("prctl", (15 << 32) | 4, 1, 0, 0, 0),
    "catch the filter's signal": lambda: call("rt_sigaction", 31, _ADDRESS, None, 8),
    "read another file": lambda: call("read", 3, _ADDRESS, 1),
    "read the answers' pipe": lambda: call("read", 1, _ADDRESS, 1),
    "write another file": lambda: call("write", 3, b"x", 1),
    "ioctl: type for a terminal": lambda: call("ioctl", 0, 0x5412, b"x"),
    "fcntl": lambda: call("fcntl", 0, 1033, 0),
    "dup": lambda: call("dup", 0),
    "close": lambda: call("close", 0),
    "no such call": lambda: raw(1_000_000),
    "a call below zero": lambda: raw(-1),
}
if _X86:
    PROBES |= {
        "x32: getpid": lambda: raw(_X32_BIT | 39),
        "x32: read": lambda: raw(_X32_BIT | 0, 0, _ADDRESS, 1),
        "x32: execve": lambda: raw(_X32_BIT | 520, b"/bin/true", None, None),
        "open of old": lambda: raw(2, b"/etc/passwd", 0),
        "fork of old": lambda: raw(57),
        "vfork of old": lambda: raw(58),
        "vsyscall's arch_prctl": lambda: raw(158, 0x1002, 0),
    }
if _INT80 is not None:
    PROBES["a 32-bit call"] = _INT80

# What a decoder may do: none of it ends the worker.
ALLOWED: Final[dict[str, Callable[[], int]]] = {
    "memory": lambda: call("mmap", 0, 4096, 3, 0x22, -1, 0),
    "a thread's name": lambda: call("prctl", 15, b"codec", 0, 0, 0),
    "a complaint": lambda: call("write", 2, b"x", 1),
}


# What only real objects show: for one wall at a time.
REAL: Final[dict[str, Callable[[], int]]] = {
    "connect": lambda: _LIBC.connect(_tcp(), _address(9), 16),
    "bind": lambda: _LIBC.bind(_tcp(), _address(0), 16),
    "signal": lambda: call("kill", _PARENT, signal.SIGCONT),
    "open": PROBES["open to read"],
    "make": PROBES["open to write"],
    "run": PROBES["execve"],
}


def _tcp() -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()


def _address(port: int) -> bytes:
    return (
        socket.AF_INET.to_bytes(2, sys.byteorder)
        + port.to_bytes(2, "big")
        + b"\x7f\0\0\1"
        + bytes(8)
    )


def only_seccomp() -> str:
    _LIBC.prctl(38, 1, 0, 0, 0)
    seccomp.install()
    return "seccomp"


def only_landlock() -> str:
    _LIBC.prctl(38, 1, 0, 0, 0)
    return f"landlock {landlock.restrict()}"


WALLS: Final = {"all": lock.lock_down, "seccomp": only_seccomp, "landlock": only_landlock}


def fate(probe: Callable[[], int], walls: str) -> str:
    child = os.fork()
    if child == 0:
        try:
            WALLS[walls]()
            answer = probe()
            os._exit(ctypes.get_errno() if answer == -1 else 0)
        finally:  # The probe made a process, or our own code failed.
            os._exit(255)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "killed" if number == signal.SIGSYS else signal.Signals(number).name
    code = os.WEXITSTATUS(status)
    return errno.errorcode.get(code, str(code)) if code else "through"


def capabilities_left() -> dict[str, str]:
    """Of a locked process that was no root but had a capability, every way one can be had."""
    child = os.fork()
    if child == 0:
        try:
            _LIBC.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
            os.setresuid(65534, 65534, 65534)
            header, raw_sockets = (ctypes.c_uint32 * 2)(0x2008_0522, 0), 1 << 13
            held = (ctypes.c_uint32 * 6)(raw_sockets, raw_sockets, raw_sockets)
            assert _LIBC.capset(header, held) == 0
            assert _LIBC.prctl(47, 2, 13, 0, 0) == 0  # To be kept by any program that it runs.
            lock.lock_down()
            time.sleep(60)
        finally:
            os._exit(255)
    status: dict[str, str] = {}
    while status.get("Seccomp") != "2":
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return {}
        lines = Path(f"/proc/{child}/status").read_text(encoding="ascii").splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {name: value for name, value in status.items() if name.startswith("Cap")}


def attempt(data: bytes, _: Decoding, _steps: frozenset[Step]) -> UnhashableCode:
    return ANSWERED if (PROBES | ALLOWED)[data.decode()]() == -1 else THROUGH


def main() -> None:
    worker.warm_up()
    match sys.argv[1:]:
        case ["serve"]:
            os._exit(worker.run(attempt, lock.lock_down))
        case ["capabilities"]:
            json.dump(capabilities_left(), sys.stdout)
        case ["table", walls]:
            probes = REAL if walls == "landlock" else PROBES | ALLOWED
            json.dump({name: fate(probe, walls) for name, probe in probes.items()}, sys.stdout)


if __name__ == "__main__":
    main()
