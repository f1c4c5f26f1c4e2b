"""The index files of a platform's home: which there are, when they are made and taken up.

For each scheme a column, in which equal values are found and which a registry may hold its own in;
for PDQ, for views of each kind and for PhotoDNA an index of all that lies within a distance.
Not here: one file on disk (index_file), what is in it (matching), what to do while there is none
(screener).
Invariants: files are a cache of the registry: one that is damaged, or does not fit, is refused by
name and made again; whatever of it is used was held against the registry row by row.
Source: docs/spec/index-file.md.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

from accord.matching.index import Bases, MatchIndex, fits, vectors_fit, views_fit
from accord.matching.index_column import column_kind, column_sections, open_column
from accord.matching.index_file import L, check_sections, spans_of
from accord.matching.index_layout import Layout, layout_for, pdq_kind
from accord.matching.index_ring import Ring, sections
from accord.matching.vector_index import VectorIndex
from accord.matching.vector_layout import vector_kind
from accord.native import allocate
from accord.registry.columns import Bytes, Rows, Run, Values
from accord.registry.listings import SCHEMES, Registry, Snapshot
from accord.scan.index_file import Disk, IndexFile, Mark
from accord.statements.batch import VIEW_WIDTHS, WIDTHS
from accord.wire.errors import Malformed, Unavailable, Unproven

FILE: Final = "pdq.index"
VECTOR_FILE: Final = "photodna.index"
VIEW_FILE: Final = "{}.index"
COLUMN_FILE: Final = "{}.column"
ROWS_MIN: Final = 100_000  # Fewer are built in 40 ms: not worth a file.
CHANGED_SHARE: Final = 32  # Merged when one row in so many was gained or lost; at least ...
CHANGED_MIN: Final = 20_000  # ... so many: a delta of this size costs 3 us a query.
X = TypeVar("X", bound=Ring | VectorIndex | Run)
Write = Callable[[], None]

diagnostics = logging.getLogger("accord.index")


class _Watched(Generic[L, X]):
    """A file, and which one was looked at last."""

    def __init__(self, file: IndexFile[L], open_: Callable[[L, memoryview], X]) -> None:
        self.file = file
        self._open = open_
        self._seen: Mark | None = None

    def newest(self, count: int, fits_: Callable[[X], bool]) -> X | None:
        """What lies at the name, if it was not looked at before and fits a registry of `count`
        rows. One with rows that are still to come is looked at again."""
        mark = self.file.mark()
        if mark is None or mark == self._seen:
            return None
        try:
            header, memory = self.file.map()
            found = self._open(header.layout, memory)
            if len(found) and int(found.rows.max()) >= count:
                return None
            self._seen = mark
            check_sections(memory, header)
        except (Malformed, Unproven, Unavailable) as err:
            self._seen = mark
            self._warn("it is not used, and will be made again: %s", err)
            return None
        if not fits_(found):
            self._warn("it is of another registry, and will be made again")
            return None
        return found

    def _warn(self, text: str, *facts: object) -> None:
        diagnostics.warning("index file %s: " + text, self.file.path.name, *facts)


class IndexStore:
    """One directory. Any number of processes read; one at a time writes a file."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.path = directory / FILE
        rings = IndexFile(self.path, pdq_kind(), disk)
        vectors = IndexFile(directory / VECTOR_FILE, vector_kind("photodna"), disk)
        self._rings = _Watched(rings, Ring.open)
        self._vectors = _Watched(vectors, VectorIndex.open)
        self._columns = {
            scheme: _Watched(
                IndexFile(
                    directory / COLUMN_FILE.format(scheme),
                    column_kind(scheme, WIDTHS[scheme]),
                    disk,
                ),
                open_column,
            )
            for scheme in SCHEMES
        }
        self._views = {
            scheme: _Watched(
                IndexFile(directory / VIEW_FILE.format(scheme), pdq_kind(), disk), Ring.open
            )
            for scheme in VIEW_WIDTHS
        }
        self._writing: threading.Thread | None = None

    def load(self, whole: bool = True) -> Ring:
        """The PDQ index, mapped; see `IndexFile.load`. Raises: Unavailable, Malformed, Unproven."""
        return Ring.open(*self._rings.file.load(whole))

    def load_vectors(self, whole: bool = True) -> VectorIndex:
        return VectorIndex.open(*self._vectors.file.load(whole))

    def load_column(self, scheme: str, whole: bool = True) -> Run:
        return open_column(*self._columns[scheme].file.load(whole))

    def write(self, rows: Rows, bits: Bytes) -> None:
        """Make a PDQ index of `rows`, ascending, and put it at its name.

        Memory: 100 bytes a row for a moment, beside what is given; none of it stays.
        Raises: Unavailable, if the disk refuses or another process writes; the old file stands.
        """
        self._write_made(self._rings, rows, bits)

    def write_views(self, scheme: str, rows: Rows, bits: Bytes) -> None:
        """As `write`, of views, a row as often as it has them. Raises: Unavailable."""
        self._write_made(self._views[scheme], rows, bits)

    @staticmethod
    def _write_made(watched: "_Watched[Layout, Ring]", rows: Rows, bits: Bytes) -> None:
        layout = layout_for(len(rows))
        made = sections(layout, rows, bits, lambda _, size: allocate(size))
        watched.file.replace(layout, made)

    def write_ring(self, ring: Ring) -> None:
        """Put a PDQ index from memory at its name: the same bytes. Raises: Unavailable."""
        self._rings.file.replace(ring.layout, spans_of(ring.memory, ring.layout))

    def write_vectors(self, index: VectorIndex) -> None:
        """Raises: Unavailable."""
        self._vectors.file.replace(*index.sections())

    def write_column(self, scheme: str, run: Run) -> None:
        """Raises: Unavailable."""
        self._columns[scheme].file.replace(*column_sections(run))

    def newest(self, snapshot: Snapshot) -> Bases:
        """The indexes at their names, where they were not looked at before and fit this
        registry."""
        count = snapshot.count
        return Bases(
            self._rings.newest(count, lambda ring: fits(ring, snapshot)),
            self._vectors.newest(count, lambda index: vectors_fit(index, snapshot)),
            self._newest_views(snapshot),
        )

    def _newest_views(self, snapshot: Snapshot) -> dict[str, Ring]:
        found: dict[str, Ring] = {}
        for scheme, watched in self._views.items():

            def is_right(ring: Ring, scheme: str = scheme) -> bool:
                return views_fit(ring, snapshot, scheme)

            ring = watched.newest(snapshot.count, is_right)
            if ring is not None:
                found[scheme] = ring
        return found

    def adopt(self, registry: Registry) -> bool:
        """Hold what the columns at their names have in them and no longer in the registry's own
        memory, where they were not looked at before and fit. Whether there was any."""
        found = [
            watched.newest(registry.count, partial(registry.adopt, scheme))
            for scheme, watched in self._columns.items()
        ]
        return any(run is not None for run in found)

    def offer(self, index: MatchIndex) -> bool:
        """Begin to write in the background what is worth it, if nothing else is being written.
        Whether it began. Searching goes on with what there is meanwhile."""
        if self.is_writing:
            return False
        writes = list(self._wanted(index))
        if not writes:
            return False
        self._writing = threading.Thread(
            target=self._write_quietly, args=(writes,), name="accord-index", daemon=True
        )
        self._writing.start()
        return True

    def _wanted(self, index: MatchIndex) -> Iterator[Write]:
        rows = len(index.base) + len(index.delta)
        if self._is_due(self._rings, rows, index.changed, index.base.memory.readonly):
            yield partial(self._write_pdq, index)
        rows = len(index.vectors) + len(index.vector_delta)
        if self._is_due(self._vectors, rows, index.vectors_changed, index.vectors.is_mapped):
            yield partial(self._write_photodna, index)
        for scheme, views in index.views.items():
            rows, changed = len(views.base) + len(views.delta), index.views_changed(scheme)
            if self._is_due(self._views[scheme], rows, changed, views.base.memory.readonly):
                yield partial(self._write_viewed, scheme, index)
        for scheme, values in index.snapshot.values.items():
            is_mapped = len(values.base) > 0
            changed = len(values) - len(values.base)
            if self._is_due(self._columns[scheme], len(values), changed, is_mapped):
                yield partial(self._write_values, scheme, values)

    @staticmethod
    def _is_due(watched: "_Watched[L, X]", rows: int, changed: int, is_mapped: bool) -> bool:
        if rows < ROWS_MIN:
            return False
        is_new = watched.file.mark() is None or not is_mapped
        return is_new or changed > max(CHANGED_MIN, rows // CHANGED_SHARE)

    def _write_pdq(self, index: MatchIndex) -> None:
        if index.changed:
            self.write(*index.merged())
        else:
            self.write_ring(index.base)

    def _write_photodna(self, index: MatchIndex) -> None:
        is_new = index.vectors_changed > 0
        self.write_vectors(
            VectorIndex.build(*index.merged("photodna")) if is_new else index.vectors
        )

    def _write_viewed(self, scheme: str, index: MatchIndex) -> None:
        base = index.views[scheme].base
        if index.views_changed(scheme):
            self.write_views(scheme, *index.merged_views(scheme))
        else:
            self._views[scheme].file.replace(base.layout, spans_of(base.memory, base.layout))

    def _write_values(self, scheme: str, values: Values) -> None:
        self.write_column(scheme, values.whole())

    @property
    def is_writing(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def wait(self) -> None:
        """Until what is being written is written."""
        if self._writing is not None:
            self._writing.join()

    @staticmethod
    def _write_quietly(writes: list[Write]) -> None:
        for write in writes:
            try:
                write()
            except Unavailable as err:
                diagnostics.warning("an index file is not written: %s", err)
