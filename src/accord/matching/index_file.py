"""What the files of one family have in common: a header with checksums, sections, a kind.

Not here: what lies in the sections (index_layout for PDQs, index_column for equal values,
vector_layout for vectors), reading and writing files (scan.index_file).
Invariants: where sections lie is a function of the kind, the count and one more number; every
section begins at a page and has 64 bytes beyond its end; a header that parses fits its file.
Source: docs/spec/index-file.md.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from accord.native import allocate
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unproven

PAGE: Final = 4096
SLACK: Final = 64  # The kernel reads whole vectors beyond an array's end.
COUNT_MAX: Final = 2**32 - 2  # Rows and places are 32-bit.
DIGEST: Final = 32
_HEAD: Final = struct.Struct("<8sIIQQ32s")  # Magic, version, detail, count, size, agreed.
Sections = tuple[tuple[int, int], ...]  # Start and size of each; a size is whole pages.


class Layout(Protocol):
    """Where everything lies. `detail` is what a kind needs to know besides the count."""

    @property
    def count(self) -> int: ...

    @property
    def detail(self) -> int: ...

    @property
    def sections(self) -> Sections: ...


L = TypeVar("L", bound=Layout)


@dataclass(frozen=True, slots=True)
class Kind(Generic[L]):
    """One kind of file. `agreed`: 32 bytes for what whoever reads it must know already, such as an
    order of bits. `layout(count, detail)`: None for a detail that cannot be."""

    magic: bytes
    version: int
    agreed: bytes
    layout: Callable[[int, int], L | None]


@dataclass(frozen=True, slots=True)
class Header(Generic[L]):
    """What a file says of itself. `digests`: SHA-256 of each section, padding included."""

    layout: L
    digests: tuple[bytes, ...]


def size_of(layout: Layout) -> int:
    start, size = layout.sections[-1]
    return start + size


def encode_header(kind: Kind[L], header: Header[L]) -> bytes:
    """Shape: one page: head, digests, SHA-256 of both; zeros behind."""
    layout = header.layout
    size = size_of(layout)
    head = _HEAD.pack(kind.magic, kind.version, layout.detail, layout.count, size, kind.agreed)
    body = head + b"".join(header.digests)
    return (body + sha256(body)).ljust(PAGE, b"\0")


def parse_header(kind: Kind[L], data: bytes, file_size: int) -> Header[L]:
    """`data` is the first page. Raises: Malformed, naming what is wrong."""
    if len(data) < PAGE:
        raise Malformed("index.truncated", got=file_size)
    magic, version, detail, count, size, agreed = _HEAD.unpack_from(data)
    if magic != kind.magic:
        raise Malformed("index.foreign")
    if version != kind.version:
        raise Malformed("index.version", got=version)
    layout = kind.layout(count, detail) if count <= COUNT_MAX else None
    if layout is None:
        raise Malformed("index.header")
    parts = len(layout.sections)
    end = _HEAD.size + parts * DIGEST
    body = data[:end]
    if data != (body + sha256(body)).ljust(PAGE, b"\0") or size != size_of(layout):
        raise Malformed("index.header")
    if agreed != kind.agreed:
        raise Malformed("index.order")
    if file_size != size:
        raise Malformed("index.truncated", got=file_size, wanted=size)
    digests = [body[_HEAD.size + i * DIGEST :][:DIGEST] for i in range(parts)]
    return Header(layout, tuple(digests))


def check_sections(memory: memoryview, header: Header[L]) -> None:
    """Raises: Unproven, naming the section that is not what was written."""
    spans = spans_of(memory, header.layout)
    for number, (part, digest) in enumerate(zip(spans, header.digests, strict=True)):
        if hashlib.sha256(part).digest() != digest:
            raise Unproven("index.corrupt", section=number)


def spans_of(memory: memoryview, layout: Layout) -> Iterator[memoryview]:
    """The sections of an index in memory, in order."""
    for start, size in layout.sections:
        yield memory[start : start + size]


def sections_of(*sizes: int) -> Sections:
    """Sections of these sizes, padded, one behind the other."""
    padded = [padded_size(size) for size in sizes]
    return tuple(zip(accumulate([PAGE, *padded[:-1]]), padded, strict=True))


def padded_size(size: int) -> int:
    return -(-(size + SLACK) // PAGE) * PAGE


def view(memory: memoryview, start: int, count: int, dtype: str) -> NDArray[Any]:
    return np.frombuffer(memory, dtype=np.dtype(dtype), count=count, offset=start)


def section_of(array: NDArray[Any], size: int) -> memoryview:
    """The bytes of an array as a section."""
    part = allocate(size)
    np.frombuffer(part, dtype=array.dtype, count=array.size)[:] = array.reshape(-1)
    return part
