"""A disk that is full when a test says so: a small tmpfs, which needs root."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096
DISK_KB = 4096
BALLAST = "ballast"


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Until nothing more fits, not one page."""
        with (self.path / BALLAST).open("ab", buffering=0) as file:
            for size in (64 * PAGE, PAGE):
                while True:
                    try:
                        file.write(bytes(size))
                    except OSError:
                        break

    def free(self, pages: int | None = None) -> None:
        """So many pages, or all that the ballast took."""
        ballast = self.path / BALLAST
        if pages is None:
            ballast.unlink()
            return
        with ballast.open("r+b") as file:
            file.truncate(max(0, ballast.stat().st_size - pages * PAGE))


@contextmanager
def mounted(path: Path, size_kb: int = DISK_KB) -> Iterator[Disk]:
    path.mkdir(parents=True, exist_ok=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    options = ["-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(path)]
    if mount is None or umount is None:
        pytest.skip("a full disk: mount is not installed")
    done = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a full disk: a tmpfs cannot be mounted here ({done.stderr.strip()[:80]})")
    try:
        yield Disk(path)
    finally:
        subprocess.run([umount, "-l", str(path)], check=True, timeout=20)
