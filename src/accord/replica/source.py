"""What a replica reads from: a node, or a mirror with blobs."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[str, int, int], None]  # What is being fetched, how many are done, of how many.


class LogSource(Protocol):
    """A node, or a mirror with blobs. Nothing it says is believed. Raises: Unavailable."""

    @property
    def name(self) -> str: ...

    def fetch_checkpoint(self) -> bytes: ...

    def fetch_transitions(self) -> list[int]:
        """Sizes at which the policy changed, ascending."""
        ...

    def fetch_checkpoint_at(self, size: int) -> bytes:
        """A transition's checkpoint, signed as the policies before and after it ask."""
        ...

    def fetch_tile(self, path: str) -> bytes: ...

    def fetch_blob(self, digest: bytes) -> bytes: ...


def no_progress(_what: str, _done: int, _total: int) -> None:
    """For callers that do not watch."""
