"""The compiled kernel: found, checked, and which path of it this processor runs.

Job: hand out the library of `native/` as a ctypes handle, or say in one line that it is not there.
Refuses: a library of another build; a path that the processor does not have.
Entry points: `library.LIBRARY`, `library.PATH`, `memory.allocate`.
What the functions compute is defined by their callers' twins; only numbers go in and come out, so
the core may call them as it calls NumPy (docs/adr/0006-compiled-kernel.md).
"""

from accord.native.library import LIBRARY, PATH, Path, best_path, fault_of
from accord.native.memory import allocate

__all__ = ["LIBRARY", "PATH", "Path", "allocate", "best_path", "fault_of"]
