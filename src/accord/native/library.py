"""Find the kernel beside this file and choose a path of it.

`ACCORD_KERNEL` names a path: `auto` (the default), `avx512`, `avx2`, `portable`, `numpy`. Only
`auto` makes do with less where there is less.
"""

import ctypes
import logging
import os
import pathlib
from enum import IntEnum
from typing import Final

from accord.wire.errors import Broken, Malformed

FILE: Final = pathlib.Path(__file__).with_name("kernel.so")
ABI: Final = 3  # As in native/accord.h.
VARIABLE: Final = "ACCORD_KERNEL"
_NO_MEMORY: Final = -1

diagnostics = logging.getLogger("accord.native")


class Path(IntEnum):
    """What runs a function; the numbers are those of native/accord.h."""

    NUMPY = -1
    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2


def _load(file: pathlib.Path) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(file))
        return library if library.accord_abi() == ABI and library.accord_best_path() >= 0 else None
    except (OSError, AttributeError):
        return None


def best_path(library: ctypes.CDLL | None) -> Path:
    """The fastest path that library, processor and system have together."""
    return Path.NUMPY if library is None else Path(library.accord_best_path())


def choose_path(name: str, best: Path) -> Path:
    """Raises: Malformed, for a path that is not there."""
    if name == "auto":
        return best
    try:
        path = Path[name.upper()]
    except KeyError:
        raise Malformed("kernel.path", wanted=name) from None
    if path > best:
        raise Malformed("kernel.path", wanted=name, best=best.name.lower())
    return path


def fault_of(number: int) -> Exception:
    """What a kernel answer below zero means, other than an answer of its own."""
    return MemoryError() if number == _NO_MEMORY else Broken("kernel.answer", number=number)


def _choose() -> tuple[ctypes.CDLL | None, Path]:
    name = os.environ.get(VARIABLE, "auto")
    library = _load(FILE)
    if name == "auto" and best_path(library) is Path.NUMPY:
        diagnostics.warning("the compiled kernel is not there: answers are right but slow")
    elif name == "auto" and best_path(library) is Path.PORTABLE:
        diagnostics.warning("this processor lacks AVX2: the portable kernel runs")
    return library, choose_path(name, best_path(library))


LIBRARY, PATH = _choose()
