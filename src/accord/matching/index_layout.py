"""A PDQ index as bytes: where everything lies, the same in memory and in a file.

Not here: what the arrays are for (index_plan), the header (index_file), reading and writing files
(scan.index_file).
Invariants: the layout is a function of the count and of whether there are bands.
Source: docs/spec/index-file.md.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_file import Kind, Sections, padded_size, sections_of, size_of, view
from accord.matching.index_plan import BANDS, BUCKETS, PDQ_BITS
from accord.wire.digests import labelled_sha256, sha256

PDQ_BYTES: Final = PDQ_BITS // 8
MAGIC: Final = b"ACCRDPDQ"
VERSION: Final = 1
BANDED_MIN: Final = 2048  # Fewer rows are compared one by one, and need no bands.


@dataclass(frozen=True)
class Layout:
    """Where the sections of an index of `count` rows lie. Units: bytes."""

    count: int
    bands: int

    @property
    def detail(self) -> int:
        return self.bands

    @property
    def size(self) -> int:
        return size_of(self)

    @property
    def sections(self) -> Sections:
        """Rows, hashes, then each band."""
        band = padded_size(4 * (BUCKETS + 1)) + sum(self._beside)
        rows, hashes, *_ = sections_of(4 * self.count, PDQ_BYTES * self.count)
        bands = [(sum(hashes) + number * band, band) for number in range(self.bands)]
        return (rows, hashes, *bands)

    @property
    def _beside(self) -> tuple[int, int]:
        """Sizes of a band's filter and ids, behind its offsets."""
        return padded_size(2 * self.count), padded_size(4 * self.count)

    def parts(self, band: int) -> tuple[int, int, int]:
        """Where offsets, filter and ids of a band begin."""
        return self._parts_from(self.sections[2 + band][0])

    def _parts_from(self, start: int) -> tuple[int, int, int]:
        filters = start + padded_size(4 * (BUCKETS + 1))
        return start, filters, filters + self._beside[0]

    def rows(self, memory: memoryview) -> NDArray[np.uint32]:
        return view(memory, self.sections[0][0], self.count, "<u4")

    def hashes(self, memory: memoryview) -> NDArray[np.uint8]:
        flat = view(memory, self.sections[1][0], self.count * PDQ_BYTES, "u1")
        return flat.reshape(self.count, PDQ_BYTES)

    def band(self, memory: memoryview, band: int, start: int | None = None) -> "Band":
        """The arrays of a band. `start`: where it lies, if not at its place in an index."""
        at, filters, ids = self.parts(band) if start is None else self._parts_from(start)
        return Band(
            view(memory, at, BUCKETS + 1, "<u4"),
            view(memory, filters, self.count, "<u2"),
            view(memory, ids, self.count, "<u4"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The rows by one band. `ids[offsets[k]:offsets[k + 1]]` are those whose band is k, ascending;
    `filter`, aligned, is their next band."""

    offsets: NDArray[np.uint32]
    filter: NDArray[np.uint16]
    ids: NDArray[np.uint32]


def layout_for(count: int) -> Layout:
    return Layout(count, BANDS if count >= BANDED_MIN else 0)


@lru_cache(maxsize=1)
def pdq_kind() -> Kind[Layout]:
    """The kind of a PDQ index' file: both sides agree on the order of bits."""

    def layout(count: int, detail: int) -> Layout | None:
        return Layout(count, detail) if detail in (0, BANDS) else None

    return Kind(MAGIC, VERSION, order_sha256(), layout)


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
