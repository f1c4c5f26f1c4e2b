"""An index as bytes: where everything lies, the same in memory and in a file.

Not here: what the arrays are for (index_plan), reading and writing files (scan.index_store).
Invariants: the layout is a function of the count and of whether there are bands; every section
begins at a page and has 64 bytes beyond its end; a header that parses fits its file.
Source: docs/spec/index-file.md.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_plan import BANDS, BUCKETS, PDQ_BITS
from accord.wire.digests import labelled_sha256, sha256
from accord.wire.errors import Malformed

PAGE: Final = 4096
SLACK: Final = 64  # The kernel reads whole vectors beyond an array's end.
PDQ_BYTES: Final = PDQ_BITS // 8
MAGIC: Final = b"ACCRDPDQ"
VERSION: Final = 1
COUNT_MAX: Final = 2**32 - 2  # Rows and places are 32-bit.
BANDED_MIN: Final = 2048  # Fewer rows are compared one by one, and need no bands.
DIGEST: Final = 32
_HEAD: Final = struct.Struct("<8sIIQQ32s")  # Magic, version, bands, count, size, order.


@dataclass(frozen=True)
class Layout:
    """Where the sections of an index of `count` rows lie. Units: bytes."""

    count: int
    bands: int

    @cached_property
    def sections(self) -> tuple[tuple[int, int], ...]:
        """Start and size of rows, hashes, then each band; a size is a whole number of pages."""
        sizes = [_padded(4 * self.count), _padded(PDQ_BYTES * self.count)]
        sizes += [_padded(4 * (BUCKETS + 1)) + sum(self._beside)] * self.bands
        return tuple(zip(accumulate([PAGE, *sizes[:-1]]), sizes, strict=True))

    @property
    def size(self) -> int:
        start, size = self.sections[-1]
        return start + size

    @property
    def _beside(self) -> tuple[int, int]:
        """Sizes of a band's filter and ids, behind its offsets."""
        return _padded(2 * self.count), _padded(4 * self.count)

    def parts(self, band: int) -> tuple[int, int, int]:
        """Where offsets, filter and ids of a band begin."""
        return self._parts_from(self.sections[2 + band][0])

    def _parts_from(self, start: int) -> tuple[int, int, int]:
        filters = start + _padded(4 * (BUCKETS + 1))
        return start, filters, filters + self._beside[0]

    def rows(self, memory: memoryview) -> NDArray[np.uint32]:
        return _view(memory, self.sections[0][0], self.count, np.dtype("<u4"))

    def hashes(self, memory: memoryview) -> NDArray[np.uint8]:
        flat = _view(memory, self.sections[1][0], self.count * PDQ_BYTES, np.dtype("u1"))
        return flat.reshape(self.count, PDQ_BYTES)

    def band(self, memory: memoryview, band: int, start: int | None = None) -> "Band":
        """The arrays of a band. `start`: where it lies, if not at its place in an index."""
        at, filters, ids = self.parts(band) if start is None else self._parts_from(start)
        return Band(
            _view(memory, at, BUCKETS + 1, np.dtype("<u4")),
            _view(memory, filters, self.count, np.dtype("<u2")),
            _view(memory, ids, self.count, np.dtype("<u4")),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The rows by one band. `ids[offsets[k]:offsets[k + 1]]` are those whose band is k, ascending;
    `filter`, aligned, is their next band."""

    offsets: NDArray[np.uint32]
    filter: NDArray[np.uint16]
    ids: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. `digests`: SHA-256 of each section, padding included."""

    layout: Layout
    digests: tuple[bytes, ...]


def layout_for(count: int) -> Layout:
    return Layout(count, BANDS if count >= BANDED_MIN else 0)


def encode_header(header: Header) -> bytes:
    """Shape: one page: head, digests, SHA-256 of both; zeros behind."""
    layout = header.layout
    head = _HEAD.pack(MAGIC, VERSION, layout.bands, layout.count, layout.size, order_sha256())
    body = head + b"".join(header.digests)
    return (body + sha256(body)).ljust(PAGE, b"\0")


def parse_header(data: bytes, file_size: int) -> Header:
    """`data` is the first page. Raises: Malformed, naming what is wrong."""
    if len(data) < PAGE:
        raise Malformed("index.truncated", got=file_size)
    magic, version, bands, count, size, order = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise Malformed("index.foreign")
    if version != VERSION:
        raise Malformed("index.version", got=version)
    if bands not in (0, BANDS) or count > COUNT_MAX:
        raise Malformed("index.header")
    layout = Layout(count, bands)
    parts = len(layout.sections)
    end = _HEAD.size + parts * DIGEST
    body = data[:end]
    if data != (body + sha256(body)).ljust(PAGE, b"\0") or size != layout.size:
        raise Malformed("index.header")
    if order != order_sha256():
        raise Malformed("index.order")
    if file_size != size:
        raise Malformed("index.truncated", got=file_size, wanted=size)
    digests = [body[_HEAD.size + i * DIGEST :][:DIGEST] for i in range(parts)]
    return Header(layout, tuple(digests))


def _padded(size: int) -> int:
    return -(-(size + SLACK) // PAGE) * PAGE


def _view(memory: memoryview, start: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(memory, dtype=dtype, count=count, offset=start)


@lru_cache(maxsize=1)
def bit_order() -> tuple[int, ...]:
    """Which bit of a PDQ stands at each place of an index: fixed, and without any pattern, since
    neighbouring bits of real pictures go together and would crowd few buckets. The bits are
    ordered by the labelled SHA-256 of their number."""
    return tuple(
        sorted(range(PDQ_BITS), key=lambda bit: labelled_sha256("index-bit", bytes([bit])))
    )


@lru_cache(maxsize=1)
def order_sha256() -> bytes:
    return sha256(bytes(bit_order()))


def permuted(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PDQs as an index keeps them. Shape: (count, 32), both."""
    ordered = np.unpackbits(bits, axis=1)[:, np.array(bit_order())]
    return np.ascontiguousarray(np.packbits(ordered, axis=1))


@lru_cache(maxsize=1)
def nibble_table() -> NDArray[np.uint8]:
    """The image of every nibble at every place. Shape: (64, 16, 32), the high nibble first."""
    nibbles = np.arange(16, dtype=np.uint8)
    table = np.zeros((64, 16, PDQ_BYTES), dtype=np.uint8)
    for place in range(64):
        plain = np.zeros((16, PDQ_BYTES), dtype=np.uint8)
        plain[:, place // 2] = nibbles if place % 2 else nibbles << 4
        table[place] = permuted(plain)
    return table


def spans_of(memory: memoryview, layout: Layout) -> Iterator[memoryview]:
    """The sections of an index in memory, in order."""
    for start, size in layout.sections:
        yield memory[start : start + size]
