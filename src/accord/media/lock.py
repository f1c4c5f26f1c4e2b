"""What a decoder worker gives up, for good, before it sees the first byte from outside.

In this order, since each step needs what later ones take away: descriptors, root, capabilities,
the right to gain any, files and ports (Landlock), resources, system calls (seccomp), and with
them the network.
A worker that cannot give up what must be given up does not start.
Source: docs/spec/fingerprint.md, section 9; docs/adr/0009-own-filter.md.
"""

import ctypes
import gc
import os
import pwd
import resource
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from accord.media import landlock, seccomp
from accord.wire.limits import DECODER_CPU_S, DECODER_MEMORY_BYTES

USER_VARIABLE: Final = "ACCORD_DECODER_USER"
_USER: Final = "nobody"
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION: Final = 0x2008_0522
_CAPABILITIES: Final = 64
_FILES_OPEN_MAX: Final = 3  # The standard pipes; nothing is ever opened after the start.
_LIMITS_ONLY: Final = "no sandbox, memory and file limits only"
_NO_LANDLOCK: Final = "landlock absent"
_Given = TypeVar("_Given")
_THREADS_WAIT_S: Final = 2.0  # A codec's threads end with its picture, though not at once.


class Refused(Exception):
    """The lock cannot be had; says which part. The worker ends."""


def is_weak(report: str) -> bool:
    """Whether an operator should hear of what a worker reports: it lacks a wall."""
    return report == _LIMITS_ONLY or _NO_LANDLOCK in report


def limits_only() -> str:
    """Resources and no new rights, for systems without the rest. What it is, in words."""
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)
    _limit_resources()
    return _LIMITS_ONLY


def lock_down() -> str:
    """Everything; what the process runs under from here on, in words. Raises: Refused."""
    if sys.platform != "linux":
        raise Refused(f"system calls cannot be filtered on {sys.platform}")
    os.closerange(_FILES_OPEN_MAX, os.sysconf("SC_OPEN_MAX"))
    words = ["seccomp", f"user {_part('user', _leave_root)}"]
    _part("capabilities", _drop_capabilities)
    _wait_for_threads()
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1) or not _prctl(_PR_SET_DUMPABLE, 0):
        raise Refused("no_new_privs")
    abi = _part("landlock", landlock.restrict)
    words.append(f"landlock {abi}" if abi else _NO_LANDLOCK)
    _part("limits", _limit_resources)
    _part("seccomp", seccomp.install)
    return ", ".join(words)


def _part(name: str, give_up: Callable[[], _Given]) -> _Given:
    try:
        return give_up()
    except (OSError, ValueError) as err:
        raise Refused(f"{name}: {err}") from err


def _leave_root() -> int:
    """An unprivileged user's rights where we have root's; the user's id. Raises: OSError."""
    if 0 not in os.getresuid():
        return os.getuid()
    name = os.environ.get(USER_VARIABLE, _USER)
    try:
        about = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as err:
        raise OSError(f"no such user, see {USER_VARIABLE}") from err
    if about.pw_uid == 0:
        raise OSError("root is no unprivileged user")
    for capability in range(_CAPABILITIES):  # Those that the kernel does not know: no harm.
        _prctl(_PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(about.pw_gid, about.pw_gid, about.pw_gid)
    os.setresuid(about.pw_uid, about.pw_uid, about.pw_uid)
    return about.pw_uid


def _drop_capabilities() -> None:
    """Those that came without root, too. Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(operation: int, value: int) -> bool:
    """Whether it was done. The words that no operation here uses must be 0, and whole."""
    words = [ctypes.c_ulong(word) for word in (value, 0, 0, 0)]
    return bool(ctypes.CDLL(None).prctl(ctypes.c_int(operation), *words) == 0)


def _wait_for_threads() -> None:
    """Landlock and capabilities bind the calling thread alone. Raises: Refused."""
    gc.collect()
    deadline = time.monotonic() + _THREADS_WAIT_S
    while _threads() > 1:
        if time.monotonic() > deadline:
            raise Refused("a codec's threads did not end")
        time.sleep(0.001)


def _threads() -> int:
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()  # No /proc: threads of C alone are then not seen.


def _limit_resources() -> None:
    for what, most in (
        (resource.RLIMIT_AS, DECODER_MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, DECODER_CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES_OPEN_MAX),
    ):
        resource.setrlimit(what, (most, most))
