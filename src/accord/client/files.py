"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file; on return it survives power loss.

    Raises: OSError, with the old file intact.
    """
    with written_durably(path, mode) as file:
        file.write(data)


@contextmanager
def written_durably(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """`write_durably` for what comes in parts: the file takes its place at the end of the block.

    Raises: OSError, and what the block raises, with the old file intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)  # Of a process that died, or prepared by somebody else.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Told on: an interrupt, too, leaves no half a file.
        temporary.unlink(missing_ok=True)
        raise
    # POINT OF NO RETURN. Crash from here: the new file stands once its directory is synced.
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """What was renamed or removed in a directory is so after power loss. Raises: OSError."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
