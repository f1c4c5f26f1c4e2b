"""What may still be taken out of one upload, and what is taken: shared by all that open containers.

Not here: any container's format (`containers`, `pdf`).
Source: docs/spec/fingerprint.md, section 15.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from accord.fingerprint.types import UnhashableCode
from accord.wire.limits import ARCHIVE_BYTES_MAX, ARCHIVE_MEMBERS_MAX, IMAGE_BYTES_MAX

Found: TypeAlias = bytes | Image.Image | UnhashableCode  # A file, a drawn picture, or why not.
Nothing: TypeAlias = frozenset[UnhashableCode]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that lies in a container. `excused`: answers that leave nothing unseen, since
    the same is seen otherwise, or a viewer shows nothing either.
    """

    found: Found
    excused: Nothing = frozenset()


class OverLimit(Exception):
    """More members or bytes than one upload may hold."""


@dataclass(slots=True)
class Allowance:
    """Of one upload, archives within it included. `number`: of the part that is looked at."""

    left_bytes: int = ARCHIVE_BYTES_MAX
    number: int = 0

    def count(self) -> None:
        """One part more. Raises: OverLimit."""
        self.number += 1
        if self.number > ARCHIVE_MEMBERS_MAX:
            raise OverLimit

    @property
    def most(self) -> int:
        """Bytes that one part may have."""
        return min(self.left_bytes, IMAGE_BYTES_MAX)

    def take(self, read: Callable[[int], bytes]) -> bytes:
        """One part whole, if that much may still be taken. Raises: OverLimit, what `read` does."""
        found = read(self.most + 1)
        self.spend(len(found))
        return found

    def spend(self, size: int) -> None:
        """One part of so many bytes. Raises: OverLimit."""
        if size > self.most:
            raise OverLimit
        self.left_bytes -= size
