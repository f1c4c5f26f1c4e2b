"""Memory for large arrays that are read at random."""

import contextlib
import mmap
from typing import Final

HUGE_BYTES: Final = 4 << 20  # Below it there is nothing to gain.


def allocate(size: int) -> memoryview:
    """Zeroed memory of this process, in large pages where the system has them: a look-up at
    random then walks no page tables."""
    if size < HUGE_BYTES:
        return memoryview(bytearray(size))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        with contextlib.suppress(OSError):  # A system built without them.
            memory.madvise(advice)
    return memoryview(memory)
