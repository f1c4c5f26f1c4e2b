"""The files under some paths, in one stable order, and their bytes within the limit.

Nothing here raises for a file: what cannot be read is a result, so that a scan of a million
files reports the bad one and goes on. A name given by the caller is followed wherever it points;
inside a directory a symlink to a file is read and a symlink to a directory is not entered, so
loops cannot happen.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accord.fingerprint import Unhashable, UnhashableCode
from accord.fingerprint.video_formats import HEAD_BYTES, video_format_of
from accord.media.films import StoredFilm
from accord.wire.limits import IMAGE_BYTES_MAX

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A directory that could not be listed."""

    path: Path


def walk(paths: Iterable[Path]) -> Iterator[Path | Unlisted]:
    """Every file at or under each path: arguments in their order, entries by name's bytes."""
    for start in paths:
        pending: list[Path | Unlisted] = [start]
        descend_into_link = start  # Only what the caller named may be a link to a directory.
        while pending:
            path = pending.pop()
            if isinstance(path, Unlisted) or not _is_directory(path, path is descend_into_link):
                yield path
                continue
            pending.extend(reversed(_entries(path)))


def _is_directory(path: Path, follow: bool) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path, follow_symlinks=follow).st_mode)
    except OSError:
        return False  # `read_file` says so.


def _entries(directory: Path) -> list[Path | Unlisted]:
    """Files and directories to visit. A symlink to a directory is left out, silently."""
    try:
        with os.scandir(directory) as listing:
            found = [entry for entry in listing if not _is_link_to_directory(entry)]
    except OSError:
        return [Unlisted(directory)]
    return [directory / entry.name for entry in sorted(found, key=lambda e: os.fsencode(e.name))]


def _is_link_to_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False


def read_file(path: Path, bytes_max: int = IMAGE_BYTES_MAX) -> bytes | StoredFilm | Unhashable:
    """A regular file's bytes; never waits for a FIFO and never reads more than `bytes_max`.

    A larger one that begins as a film is that film, which is read a part at a time.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a name with a zero byte.
        return Unhashable(UnhashableCode.UNREADABLE, None)
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            return Unhashable(UnhashableCode.UNREADABLE, None)
        if about.st_size > bytes_max:
            if video_format_of(os.pread(file, HEAD_BYTES, 0)) is not None:
                return StoredFilm(path)
            return Unhashable(UnhashableCode.TOO_LARGE, None)
        received = bytearray()
        while chunk := os.read(file, _CHUNK_BYTES):
            received += chunk
            if len(received) > bytes_max:  # It grew meanwhile, or its size is not told.
                return Unhashable(UnhashableCode.TOO_LARGE, None)
        return bytes(received)
    except OSError:
        return Unhashable(UnhashableCode.UNREADABLE, None)
    finally:
        os.close(file)
