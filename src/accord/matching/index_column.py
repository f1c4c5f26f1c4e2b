"""A column of fingerprints or digests as bytes: equal values are found in it where it lies.

A registry may hold the first rows of a column in such a file instead of in its own memory
(`registry.columns`), so that all processes of a machine hold them once.
Not here: the header (index_file), reading and writing files (scan.index_file).
Units: 16 bytes a row besides the value.
Source: docs/spec/index-file.md, section 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from accord.matching.index_file import Kind, Sections, section_of, sections_of, view
from accord.registry.columns import Run
from accord.wire.digests import labelled_sha256

MAGIC: Final = b"ACCRDCOL"
VERSION: Final = 1


@dataclass(frozen=True)
class ColumnLayout:
    """Rows, values, keys and order of a `Run`, in this order."""

    count: int
    detail: int  # Bytes of a value.

    @property
    def sections(self) -> Sections:
        return sections_of(4 * self.count, self.detail * self.count, 8 * self.count, 4 * self.count)


def column_kind(scheme: str, width: int) -> Kind[ColumnLayout]:
    """The kind of a scheme's file. No other scheme's opens as it."""

    def layout(count: int, detail: int) -> ColumnLayout | None:
        return ColumnLayout(count, detail) if detail == width else None

    return Kind(MAGIC, VERSION, labelled_sha256("index-column", scheme.encode()), layout)


def open_column(layout: ColumnLayout, memory: memoryview) -> Run:
    """Nothing is read. Whether keys and order are right: `Run.is_sorted`."""
    count = layout.count
    rows, values, keys, order = (start for start, _ in layout.sections)
    return Run(
        view(memory, rows, count, "<u4"),
        view(memory, values, count * layout.detail, "u1").reshape(count, layout.detail),
        view(memory, keys, count, "<u8"),
        view(memory, order, count, "<u4"),
    )


def column_sections(run: Run) -> tuple[ColumnLayout, Iterator[memoryview]]:
    """The bytes of a run, section by section. Cost: a copy of one section at a time."""
    layout = ColumnLayout(len(run), int(run.values.shape[1]))
    arrays: tuple[NDArray[Any], ...] = (run.rows, run.values, run.keys, run.order)

    def parts() -> Iterator[memoryview]:
        for (_, size), array in zip(layout.sections, arrays, strict=True):
            yield section_of(array, size)

    return layout, parts()
