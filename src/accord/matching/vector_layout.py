"""An index of vectors as bytes: where everything lies, the same in memory and in a file.

Not here: what the arrays mean (vector_index), the header (index_file).
Units: 173 bytes a row.
Source: docs/spec/index-file.md, section 6.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from accord.matching.index_file import Kind, Sections, sections_of
from accord.wire.digests import labelled_sha256

VECTOR_BYTES: Final = 144
AXES: Final = 24
ZONE: Final = 64  # Rows of a zone, zones of a field.
SHIFT_MAX: Final = 24  # Places on the axes are 32-bit, and cells 8-bit.
MAGIC: Final = b"ACCRDVEC"
VERSION: Final = 1
_BOX: Final = AXES * ZONE


@dataclass(frozen=True)
class VectorLayout:
    """Rows; vectors; cells; boxes of zones, low then high; boxes of fields; axes, then origin."""

    count: int
    detail: int  # The shift.

    @cached_property
    def zones(self) -> int:
        return _blocks(self.count)

    @cached_property
    def fields(self) -> int:
        return _blocks(self.zones)

    @cached_property
    def groups(self) -> int:
        return _blocks(self.fields)

    @property
    def sections(self) -> Sections:
        return sections_of(
            4 * self.count,
            VECTOR_BYTES * self.count,
            _BOX * self.zones,
            2 * _BOX * self.fields,
            2 * _BOX * self.groups,
            2 * AXES * VECTOR_BYTES + 4 * AXES,
        )


def vector_kind(scheme: str) -> Kind[VectorLayout]:
    def layout(count: int, detail: int) -> VectorLayout | None:
        return VectorLayout(count, detail) if detail <= SHIFT_MAX else None

    return Kind(MAGIC, VERSION, labelled_sha256("index-vectors", scheme.encode()), layout)


def _blocks(count: int) -> int:
    return max(1, -(-count // ZONE))
