"""The system calls that a locked decoder may make, as a BPF program, and the call that loads it.

Everything not listed ends the whole process with SIGSYS: a decoder that asks for a file, a socket
or another process is taken over, and its parent then says `image.crashed`. One call is answered
instead: `clone3`, whose flags lie in memory where no filter sees them, is "not implemented", and
the C library starts its thread by `clone`, whose flags are checked.
Invariants: the architecture is checked before the number is looked at, and a number counts whole,
so a 32-bit call (int 0x80) or an x32 one is never taken for another; memory is never both
written and run.
Source: seccomp(2); linux/filter.h, linux/seccomp.h, linux/audit.h; the numbers: asm/unistd_64.h
(x86-64) and asm-generic/unistd.h (aarch64).
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_KILL: Final = 0x8000_0000  # SECCOMP_RET_KILL_PROCESS: all threads, by a signal nobody can catch.
_ALLOW: Final = 0x7FFF_0000
_ERRNO: Final = 0x0005_0000  # Plus the number in the low 16 bits.

_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_AT_NUMBER: Final = 0  # Offsets in struct seccomp_data.
_AT_ARCHITECTURE: Final = 4
_AT_ARGUMENTS: Final = 16  # Six of 8 bytes, the low word first on both architectures.

_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAIL: Final = 2
_FLAG_TSYNC: Final = 1  # Threads that a codec left behind are locked as well.

_MAP_ANONYMOUS: Final = 0x20
_PROT_EXEC: Final = 0x4
_PR_SET_NAME: Final = 15
# What pthread_create asks for: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID and
# CHILD_CLEARTID. musl adds DETACHED (0x400000), which means nothing any more.
_THREAD_FLAGS: Final = 0x3D_0F00
_ALL_BUT_DETACHED: Final = 0xFFBF_FFFF
_WORD: Final = 0xFFFF_FFFF

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


@dataclass(frozen=True, slots=True)
class Check:
    """The low word of one argument, masked, is one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = _WORD


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture calls itself (AUDIT_ARCH_*), `seccomp` and the calls of `ALLOWED`."""

    audit: int
    seccomp: int
    numbers: dict[str, int]


_NOT_RUNNABLE: Final = Check(2, (0,), _PROT_EXEC)

# In the order of the checks: what a decoder calls most comes first.
ALLOWED: Final[dict[str, tuple[Check, ...]]] = {
    "read": (Check(0, (0,)),),  # The pipe from the parent,
    "write": (Check(0, (1, 2)),),  # the one to it, and /dev/null for a codec's complaints.
    "futex": (),
    "madvise": (),
    "munmap": (),
    "mmap": (_NOT_RUNNABLE, Check(3, (_MAP_ANONYMOUS,), _MAP_ANONYMOUS)),
    "mremap": (),
    "brk": (),
    "mprotect": (_NOT_RUNNABLE,),
    "setitimer": (),
    "clock_gettime": (),
    "gettimeofday": (),
    "clock_nanosleep": (),
    "nanosleep": (),
    "restart_syscall": (),
    "sched_yield": (),
    "sched_getaffinity": (),  # How many threads a codec starts.
    "sysinfo": (),  # The C library's qsort asks how much memory there is.
    "getrandom": (),
    "clone": (Check(0, (_THREAD_FLAGS,), _ALL_BUT_DETACHED),),
    "set_robust_list": (),
    "rseq": (),
    "rt_sigprocmask": (),
    "sigaltstack": (),
    "prctl": (Check(0, (_PR_SET_NAME,)),),
    "rt_sigreturn": (),
    "exit": (),
    "exit_group": (),
}
ANSWERED: Final = {"clone3": errno.ENOSYS}

_X86_64: Final = Architecture(
    audit=0xC000_003E,
    seccomp=317,
    numbers={
        "read": 0,
        "write": 1,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "setitimer": 38,
        "clone": 56,
        "exit": 60,
        "gettimeofday": 96,
        "sysinfo": 99,
        "sigaltstack": 131,
        "prctl": 157,
        "futex": 202,
        "sched_getaffinity": 204,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "set_robust_list": 273,
        "getrandom": 318,
        "rseq": 334,
        "clone3": 435,
    },
)
_AARCH64: Final = Architecture(
    audit=0xC000_00B7,
    seccomp=277,
    numbers={
        "read": 63,
        "write": 64,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "set_robust_list": 99,
        "nanosleep": 101,
        "setitimer": 103,
        "clock_gettime": 113,
        "clock_nanosleep": 115,
        "sched_getaffinity": 123,
        "sched_yield": 124,
        "restart_syscall": 128,
        "sigaltstack": 132,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "prctl": 167,
        "gettimeofday": 169,
        "sysinfo": 179,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "clone": 220,
        "mmap": 222,
        "mprotect": 226,
        "madvise": 233,
        "getrandom": 278,
        "rseq": 293,
        "clone3": 435,
    },
)
ARCHITECTURES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}


def program(architecture: Architecture) -> tuple[Instruction, ...]:
    """The whole filter for one architecture. Every path through it ends in a return."""
    return (
        (_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _AT_NUMBER),
        *(step for name in ALLOWED for step in _allow(architecture.numbers[name], ALLOWED[name])),
        *(
            step
            for name, error in ANSWERED.items()
            for step in _if_number(architecture.numbers[name], ((_RETURN, 0, 0, _ERRNO | error),))
        ),
        (_RETURN, 0, 0, _KILL),
    )


def install() -> None:
    """Locks this process for good. Needs no_new_privs. Raises: OSError; not on other systems."""
    architecture = ARCHITECTURES.get(platform.machine())
    # A 32-bit Python on a 64-bit kernel calls by other numbers than the machine's name says.
    if architecture is None or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, "no filter for this architecture")
    action = ctypes.c_uint32(_KILL)
    _seccomp(architecture, _GET_ACTION_AVAIL, 0, ctypes.byref(action))
    steps = program(architecture)
    raw = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    described = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps), ctypes.addressof(buffer))  # struct sock_fprog
    )
    _seccomp(architecture, _SET_MODE_FILTER, _FLAG_TSYNC, described)


def _allow(number: int, checks: tuple[Check, ...]) -> Iterator[Instruction]:
    body: list[Instruction] = []
    for check in checks:
        body.append((_LOAD_WORD, 0, 0, _AT_ARGUMENTS + 8 * check.argument))
        if check.mask != _WORD:
            body.append((_AND, 0, 0, check.mask))
        left = len(check.values)
        for value in check.values:  # A hit jumps over the other values and the end.
            body.append((_JUMP_EQUAL, left, 0, value))
            left -= 1
        body.append((_RETURN, 0, 0, _KILL))
    body.append((_RETURN, 0, 0, _ALLOW))
    return _if_number(number, tuple(body))


def _if_number(number: int, body: tuple[Instruction, ...]) -> Iterator[Instruction]:
    """`body`, which ends in a return, for one number; else on to what follows."""
    yield (_JUMP_EQUAL, 0, len(body), number)
    yield from body


def _seccomp(architecture: Architecture, operation: int, flags: int, argument: object) -> None:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    number = ctypes.c_long(architecture.seccomp)
    answer = call(number, ctypes.c_long(operation), ctypes.c_long(flags), argument)
    if answer != 0:  # Above 0: the id of a thread that could not be locked along.
        error = ctypes.get_errno() or errno.EBUSY
        raise OSError(error, f"seccomp: {errno.errorcode.get(error, error)}")
