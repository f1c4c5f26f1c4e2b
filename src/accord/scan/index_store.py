"""The PDQ index as a file that every process of a platform maps, replaced while they search.

Not here: what is in it (matching.index_layout), what to do while there is none (screener).
Invariants: at its name there is a whole index or none, whatever crashes when; a file is never
changed, only replaced, so whoever has mapped one keeps it; it is a cache of the registry: one that
is damaged, or does not fit, is refused by name and made again.
Source: docs/spec/index-file.md.
"""

import fcntl
import hashlib
import logging
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from accord.matching import MatchIndex
from accord.matching.index import fits
from accord.matching.index_layout import (
    PAGE,
    Header,
    Layout,
    encode_header,
    layout_for,
    parse_header,
    spans_of,
)
from accord.matching.index_ring import Ring, sections
from accord.native import allocate
from accord.registry.columns import Bytes, Rows
from accord.registry.listings import Snapshot
from accord.wire.errors import Malformed, Unavailable, Unproven

FILE: Final = "pdq.index"
ROWS_MIN: Final = 100_000  # Fewer are built in 40 ms: not worth a file.
CHANGED_SHARE: Final = 32  # Merged when one row in so many was gained or lost; at least ...
CHANGED_MIN: Final = 20_000  # ... so many: a delta of this size costs 3 us a query.
_MODE: Final = 0o600  # It holds the fingerprints of the list.
_Mark = tuple[int, int, int]

diagnostics = logging.getLogger("accord.index")


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


class IndexStore:
    """One directory with one index. Any number of processes read; one at a time writes."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.path = directory / FILE
        self._disk = disk or Disk()
        self._seen: _Mark | None = None  # The file that `newest` looked at last.
        self._writing: threading.Thread | None = None

    def load(self, whole: bool = True) -> Ring:
        """Map the file. `whole`: read it all and hold it to its checksums, which also brings it
        into memory; without that only the header is read, and the rest when it is first needed.

        Raises: Unavailable, where there is none; Malformed, Unproven.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as err:
            raise Unavailable("index.missing", why=type(err).__name__) from err
        try:
            size = os.fstat(descriptor).st_size
            header = parse_header(os.pread(descriptor, PAGE, 0), size)
            memory = memoryview(mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ))
        finally:
            os.close(descriptor)
        if whole:
            _check(memory, header)
        return Ring.open(header.layout, memory)

    def write(self, rows: Rows, bits: Bytes) -> None:
        """Make an index of `rows`, ascending, and their PDQs, and put it at its name.

        Memory: 100 bytes a row for a moment, beside what is given; none of it stays.
        Raises: Unavailable, if the disk refuses or another process writes; the old file stands.
        """
        layout = layout_for(len(rows))
        self._replace(layout, sections(layout, rows, bits, lambda _, size: allocate(size)))

    def write_ring(self, ring: Ring) -> None:
        """Put an index from memory at its name: the same bytes. Raises: Unavailable."""
        self._replace(ring.layout, spans_of(ring.memory, ring.layout))

    def _replace(self, layout: Layout, parts: Iterable[memoryview]) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock():
                for left in self.path.parent.glob(f"{FILE}.*.new"):
                    left.unlink(missing_ok=True)  # Of a process that ended while it wrote.
                fresh = self.path.with_name(f"{FILE}.{os.getpid()}.new")
                self._put(fresh, layout, parts)
                self._disk.replace(fresh, self.path)
                # POINT OF NO RETURN. Crash from here: the old or the new file stands, both whole.
                self._disk.sync_directory(self.path.parent)
        except OSError as err:
            raise Unavailable("index.store", why=type(err).__name__) from err

    def _put(self, fresh: Path, layout: Layout, parts: Iterable[memoryview]) -> None:
        descriptor = self._disk.create(fresh)
        try:
            digests: list[bytes] = []
            for (start, _), part in zip(layout.sections, parts, strict=True):
                self._disk.write(descriptor, part, start)
                digests.append(hashlib.sha256(part).digest())
            # The header comes last: a file without it is no index.
            header = encode_header(Header(layout, tuple(digests)))
            self._disk.write(descriptor, memoryview(header), 0)
            self._disk.sync(descriptor)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_name(f"{FILE}.lock"), os.O_RDWR | os.O_CREAT, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError is an OSError.
            yield
        finally:
            os.close(descriptor)  # The lock goes with it, also when the process dies.

    def newest(self, snapshot: Snapshot) -> Ring | None:
        """The index at its name, if it was not looked at before and fits this registry."""
        mark = self._mark()
        if mark is None or mark == self._seen:
            return None
        self._seen = mark
        try:
            ring = self.load()
        except (Malformed, Unproven, Unavailable) as err:
            diagnostics.warning("the index file is not used, and will be made again: %s", err)
            return None
        if not fits(ring, snapshot):
            diagnostics.warning("the index file is of another registry, and will be made again")
            return None
        return ring

    def offer(self, index: MatchIndex) -> bool:
        """Begin to write `index` in the background if that is worth it and nothing else is being
        written. Whether it began. Searching goes on with what there is meanwhile."""
        rows = len(index.base) + len(index.delta)
        is_new = self._mark() is None or not _is_mapped(index.base)
        is_changed = index.changed > max(CHANGED_MIN, rows // CHANGED_SHARE)
        if rows < ROWS_MIN or not (is_new or is_changed) or self.is_writing:
            return False
        self._writing = threading.Thread(
            target=self._write_quietly, args=(index,), name="accord-index", daemon=True
        )
        self._writing.start()
        return True

    @property
    def is_writing(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def wait(self) -> None:
        """Until what is being written is written."""
        if self._writing is not None:
            self._writing.join()

    def _write_quietly(self, index: MatchIndex) -> None:
        try:
            if index.changed:
                self.write(*index.merged())
            else:
                self.write_ring(index.base)
        except Unavailable as err:
            diagnostics.warning("the index file is not written: %s", err)

    def _mark(self) -> _Mark | None:
        """What changes when the file is replaced."""
        try:
            facts = os.stat(self.path)
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _is_mapped(ring: Ring) -> bool:
    return ring.memory.readonly


def _check(memory: memoryview, header: Header) -> None:
    """Raises: Unproven, naming the section that is not what was written."""
    spans = spans_of(memory, header.layout)
    for number, (part, digest) in enumerate(zip(spans, header.digests, strict=True)):
        if hashlib.sha256(part).digest() != digest:
            raise Unproven("index.corrupt", section=number)
