"""A file whose bytes are read a part at a time, wherever they are.

Not here: who reads them (`video`), who has them on a disk or behind a pipe (`accord.media`).
"""

from dataclasses import dataclass
from typing import Protocol


class Source(Protocol):
    """One caller at a time."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes, or what there is of them."""
        ...


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A file in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]
