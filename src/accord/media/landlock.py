"""Landlock: no file, no TCP port, no abstract socket and no signal to others, whatever is asked.

The second wall behind the system calls' filter (`seccomp`): it holds for whatever call reaches
the same object. Kernels before 5.13, and some containers, have none.
Source: landlock(7), linux/landlock.h.
"""

import ctypes
import errno
import os
import struct
from typing import Final

_CREATE_RULESET: Final = 444  # The same numbers on every architecture.
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_ABSENT: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL})

# By the version that brought them: all ways to a file, to a port, out of the domain.
_FILES: Final = {1: 0x1FFF, 2: 0x2000, 3: 0x4000, 5: 0x8000}  # 13 ways; refer; truncate; ioctl.
_PORTS: Final = {4: 0x3}  # To bind and to connect TCP.
_SCOPES: Final = {6: 0x3}  # Abstract UNIX sockets; signals.


def version() -> int:
    """What the kernel can do, 0 where it has no Landlock or does not let us. Raises: OSError."""
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError as err:
        if err.errno in _ABSENT:
            return 0
        raise


def ruleset(abi: int) -> bytes:
    """struct landlock_ruleset_attr for version `abi` that handles everything, so denies it."""
    words = [_sum(table, abi) for table in (_FILES, _PORTS, _SCOPES)]
    known = 3 if abi >= min(_SCOPES) else 2 if abi >= min(_PORTS) else 1
    return struct.pack(f"={known}Q", *words[:known])


def restrict() -> int:
    """Locks the calling thread for good; the version used, 0 for none. Needs no_new_privs.

    Raises: OSError, where the kernel has Landlock and the lock failed all the same.
    """
    abi = version()
    if abi == 0:
        return 0
    raw = ruleset(abi)
    rules = _call(_CREATE_RULESET, ctypes.create_string_buffer(raw, len(raw)), len(raw), 0)
    try:
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return abi


def _sum(table: dict[int, int], abi: int) -> int:
    return sum(bits for since, bits in table.items() if since <= abi)


def _call(number: int, *arguments: object) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    words = [ctypes.c_long(given) if isinstance(given, int) else given for given in arguments]
    answer = int(call(ctypes.c_long(number), *words))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"landlock: {errno.errorcode.get(error, error)}")
    return answer
