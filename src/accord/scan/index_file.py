"""One index file that every process of a platform maps, replaced while they search.

Not here: what is in it (matching.index_file and the layouts), which files there are and when they
are made (index_store).
Invariants: at its name there is a whole file or none, whatever crashes when; a file is never
changed, only replaced, so whoever has mapped one keeps it.
Source: docs/spec/index-file.md.
"""

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic

from accord.matching.index_file import (
    PAGE,
    Header,
    Kind,
    L,
    check_sections,
    encode_header,
    parse_header,
)
from accord.wire.errors import Unavailable

_MODE: Final = 0o600  # It holds the fingerprints of the list.
Mark = tuple[int, int, int]


class Disk:
    """What is done to the file system, one method a write. Raises: OSError."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE)

    def write(self, descriptor: int, data: memoryview, at: int) -> None:
        while len(data):
            done = os.pwrite(descriptor, data, at)
            data, at = data[done:], at + done

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class IndexFile(Generic[L]):
    """A name that an index of one kind may be found at. Any number of processes read; one at a
    time writes."""

    def __init__(self, path: Path, kind: Kind[L], disk: Disk | None = None) -> None:
        self.path = path
        self._kind = kind
        self._disk = disk or Disk()

    def load(self, whole: bool = True) -> tuple[L, memoryview]:
        """Map the file. `whole`: read it all and hold it to its checksums, which also brings it
        into memory; without that only the header is read, and the rest when it is first needed.

        Raises: Unavailable, where there is none; Malformed, Unproven.
        """
        header, memory = self.map()
        if whole:
            check_sections(memory, header)
        return header.layout, memory

    def map(self) -> tuple[Header[L], memoryview]:
        """`load` by its header alone."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as err:
            raise Unavailable("index.missing", why=type(err).__name__) from err
        try:
            size = os.fstat(descriptor).st_size
            header = parse_header(self._kind, os.pread(descriptor, PAGE, 0), size)
            memory = memoryview(mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ))
        finally:
            os.close(descriptor)
        return header, memory

    def replace(self, layout: L, parts: Iterable[memoryview]) -> None:
        """Put these sections at the name. Raises: Unavailable, if the disk refuses or another
        process writes; the old file stands."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.lock():
                for left in self.path.parent.glob(f"{self.path.name}.*.new"):
                    left.unlink(missing_ok=True)  # Of a process that ended while it wrote.
                fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
                self._put(fresh, layout, parts)
                self._disk.replace(fresh, self.path)
                # POINT OF NO RETURN. Crash from here: the old or the new file stands, both whole.
                self._disk.sync_directory(self.path.parent)
        except OSError as err:
            raise Unavailable("index.store", why=type(err).__name__) from err

    def _put(self, fresh: Path, layout: L, parts: Iterable[memoryview]) -> None:
        descriptor = self._disk.create(fresh)
        try:
            digests: list[bytes] = []
            for (start, _), part in zip(layout.sections, parts, strict=True):
                self._disk.write(descriptor, part, start)
                digests.append(hashlib.sha256(part).digest())
            # The header comes last: a file without it is no index.
            header = encode_header(self._kind, Header(layout, tuple(digests)))
            self._disk.write(descriptor, memoryview(header), 0)
            self._disk.sync(descriptor)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def lock(self) -> Iterator[None]:
        name = self.path.with_name(f"{self.path.name}.lock")
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError is an OSError.
            yield
        finally:
            os.close(descriptor)  # The lock goes with it, also when the process dies.

    def mark(self) -> Mark | None:
        """What changes when the file is replaced. None: there is no file."""
        try:
            facts = os.stat(self.path)
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size
