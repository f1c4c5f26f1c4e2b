"""A disk that dies while an index file is written."""

import os
from collections.abc import Callable
from pathlib import Path

from accord.scan.index_file import Disk


class Killed(BaseException):
    """The process is gone: nothing after it runs but what the system itself does."""


class DyingDisk(Disk):
    """Dies at its write number `at`: before it, half-way through, or just after."""

    def __init__(self, at: int, how: str) -> None:
        self.left, self.how = at, how

    def _do(self, half: Callable[[], None], whole: Callable[[], None]) -> None:
        self.left -= 1
        if self.left >= 0:
            whole()
            return
        if self.how == "full":
            raise OSError(28, "No space left on device")
        if self.how == "torn":
            half()
        if self.how == "after":
            whole()
        raise Killed

    def create(self, path: Path) -> int:
        made: list[int] = []
        try:
            self._do(lambda: None, lambda: made.append(super(DyingDisk, self).create(path)))
        except Killed:
            for descriptor in made:
                os.close(descriptor)
            raise
        return made[0]

    def write(self, descriptor: int, data: memoryview, at: int) -> None:
        parent = super()
        self._do(
            lambda: parent.write(descriptor, data[: len(data) // 2], at),
            lambda: parent.write(descriptor, data, at),
        )

    def sync(self, descriptor: int) -> None:
        parent = super()
        self._do(lambda: None, lambda: parent.sync(descriptor))

    def replace(self, old: Path, new: Path) -> None:
        parent = super()
        self._do(lambda: None, lambda: parent.replace(old, new))

    def sync_directory(self, path: Path) -> None:
        parent = super()
        self._do(lambda: None, lambda: parent.sync_directory(path))
