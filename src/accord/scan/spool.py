"""Films on their way in: an upload too large for memory lies on a disk until it is answered.

A file here has no name from the moment it is made, so that it is gone with its request, or with its
process, however either ends. Its digests are made while it is written; a decoder then gets its
blocks one by one, as of any film.
Invariants: all processes of one directory together hold so many bytes at most; the disk keeps
SPOOL_FREE_BYTES_MIN, since answers need receipts and these need the disk.
Not here: bodies and their limits (bodies), what is decoded (media).
Source: docs/spec/gateway.md, section Films.
"""

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accord.fingerprint import Digests
from accord.media.films import OpenFilm, SourceFailed
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import (
    IMAGE_BYTES_MAX,
    SPOOL_BYTES_MAX,
    SPOOL_FREE_BYTES_MIN,
    UPLOAD_FILM_BYTES_MAX,
)

UNIT_BYTES: Final = 16_000_000  # What is taken of the disk at a time.
_PREFIX: Final = "film-"
_SHARES_FILE: Final = "shares.lock"
_TAKEN: Final = frozenset({errno.EACCES, errno.EAGAIN})
FreeBytes = Callable[[Path], int]


def free_bytes(directory: Path) -> int:
    """What a disk still takes of us. Raises: OSError."""
    about = os.statvfs(directory)
    return about.f_bavail * about.f_frsize


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Units: bytes."""

    directory: Path
    film_bytes_max: int = UPLOAD_FILM_BYTES_MAX
    total_bytes_max: int = SPOOL_BYTES_MAX

    @property
    def limits(self) -> tuple[int, int]:
        return self.film_bytes_max, self.total_bytes_max

    def check(self) -> None:
        """Raises: Malformed, where no film of the largest size would fit."""
        if self.film_bytes_max > self.total_bytes_max // UNIT_BYTES * UNIT_BYTES:
            raise Malformed("gateway.spool_settings", mend="--spool-mb larger than --film-mb")


class Spool:
    """A directory of nameless files. Safe to share between threads; one a process and directory,
    since closing another's locks would end ours."""

    def __init__(self, settings: SpoolSettings, free: FreeBytes = free_bytes) -> None:
        """Raises: Malformed, as `SpoolSettings.check`; Unavailable, where the disk refuses."""
        settings.check()
        self.film_bytes_max = max(settings.film_bytes_max, IMAGE_BYTES_MAX)  # As any file.
        self._directory = settings.directory
        self._free = free
        self._units_max = settings.total_bytes_max // UNIT_BYTES
        self._mine: set[int] = set()
        self._taking = threading.Lock()
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._shares = os.open(self._directory / _SHARES_FILE, flags, 0o600)
        except OSError as err:
            raise _refused(err) from err

    @property
    def held_bytes(self) -> int:
        """What this process has taken of the disk."""
        return len(self._mine) * UNIT_BYTES

    @contextmanager
    def film(self, size: int = 0) -> "Iterator[SpooledFilm]":
        """A film to be written, gone at the end of the block and when nobody reads it any more.

        Units: `size` is how many bytes are sure to come.

        Raises: Unavailable.
        """
        film = SpooledFilm(self)
        try:
            film.reserve(size)
            yield film
        finally:
            film.close()

    def close(self) -> None:
        os.close(self._shares)

    def _sweep(self) -> None:
        """Removes what a process left that ended between making a file and taking its name: an
        empty file. What has content is none of ours, whatever its name. Raises: OSError."""
        for left in self._directory.glob(f"{_PREFIX}*"):
            with suppress(FileNotFoundError):
                about = left.lstat()
                if stat.S_ISREG(about.st_mode) and not about.st_size:
                    left.unlink()

    def made(self) -> int:
        """A new file without a name. Raises: Unavailable."""
        try:
            file, name = tempfile.mkstemp(prefix=_PREFIX, dir=self._directory)  # Mode 0600.
        except OSError as err:
            raise _refused(err) from err
        # Crash up to here: an empty file, which the next process removes.
        try:
            with suppress(FileNotFoundError):  # One that begins just now removed it.
                os.unlink(name)
        except OSError as err:
            os.close(file)
            raise _refused(err) from err
        return file

    def take(self, count: int) -> list[int]:
        """So many units of the disk, among all processes; a process that dies gives back its own.

        Raises: Unavailable, when too much is held already or the disk would be left too little.
        """
        with self._taking:
            self.check_space(count * UNIT_BYTES)
            try:
                found = self._locked(count)
            except OSError as err:
                raise _refused(err) from err
            if len(found) < count:
                self._unlock(found)
                raise Unavailable("gateway.spool_busy")
            return found

    def check_space(self, size: int) -> None:
        """Asked again at each write: others fill a disk, too. Raises: Unavailable."""
        try:
            left = self._free(self._directory) - size
        except OSError as err:
            raise _refused(err) from err
        if left < SPOOL_FREE_BYTES_MIN:
            raise Unavailable("gateway.spool", why="too little space would be left")

    def give_back(self, units: list[int]) -> None:
        with self._taking:
            self._unlock(units)

    def _locked(self, count: int) -> list[int]:
        found: list[int] = []
        for unit in range(self._units_max):
            if len(found) == count:
                break
            if unit in self._mine:
                continue
            try:
                fcntl.lockf(self._shares, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, unit)
            except OSError as err:
                if err.errno in _TAKEN:  # By another process.
                    continue
                self._unlock(found)
                raise
            self._mine.add(unit)
            found.append(unit)
        return found

    def _unlock(self, units: list[int]) -> None:
        for unit in units:
            self._mine.discard(unit)
            fcntl.lockf(self._shares, fcntl.LOCK_UN, 1, unit)


class SpooledFilm:
    """A film of an upload. Written by one caller at a time, then read by any number."""

    def __init__(self, spool: Spool) -> None:
        """Raises: Unavailable."""
        self.size = 0
        self._spool = spool
        self._units: list[int] = []
        self._hashes = (hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False))
        self._sha256 = hashlib.sha256()
        self._users = 1  # Whoever is to close it is one.
        self._is_closed = False
        self._counting = threading.Lock()
        self._file = spool.made()

    @property
    def digests(self) -> Digests:
        """Of what was written."""
        md5, sha1 = (one.digest() for one in self._hashes)
        return Digests(md5, sha1, self._sha256.digest())

    def reserve(self, size: int) -> None:
        """Room for a film of that size. Raises: Unavailable."""
        wanted = -(-size // UNIT_BYTES) - len(self._units)
        if wanted > 0:
            self._units += self._spool.take(wanted)

    def write(self, part: bytes) -> None:
        """Raises: Unavailable, SourceFailed; the film is then to be closed."""
        with self._used():
            self.reserve(self.size + len(part))
            self._spool.check_space(len(part))
            left = memoryview(part)
            try:
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError as err:
                raise _refused(err) from err
            for one in (*self._hashes, self._sha256):
                one.update(part)
            self.size += len(part)

    @contextmanager
    def opened(self) -> Iterator[OpenFilm]:
        """Raises: SourceFailed."""
        with self._used():
            yield OpenFilm(self._file, self.size)

    @contextmanager
    def _used(self) -> Iterator[None]:
        """The file stays as long as a thread is at it, though the request may have ended: else
        its number could be another file's by then. Raises: SourceFailed."""
        with self._counting:
            if self._is_closed:
                raise SourceFailed
            self._users += 1
        try:
            yield
        finally:
            self._let_go()

    def close(self) -> None:
        """Nobody begins to read it any more. Repeating it changes nothing."""
        with self._counting:
            if self._is_closed:
                return
            self._is_closed = True
        self._let_go()

    def _let_go(self) -> None:
        with self._counting:
            self._users -= 1
            if self._users:
                return
        os.close(self._file)  # The last one: it is gone from the disk.
        self._spool.give_back(self._units)


def _refused(err: OSError) -> Unavailable:
    return Unavailable("gateway.spool", why=err.strerror or type(err).__name__)
