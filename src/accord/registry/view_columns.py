"""Columns of which a row has any number of values: patches of pictures, frames of films.

Not here: columns of one value a row (columns), what the rows mean (listings).
Invariants: as of `columns`: what was handed out never changes, and how a column was filled cannot
be told from what it answers. Values of a row stand together, in the order of their batch.
Source: docs/spec/registry.md, section Fold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Bytes, Flags, Growing, Rows


@dataclass(frozen=True, slots=True, eq=False)
class ViewColumn:
    """Shape: `rows` ascending, a row as often as it has values; `values` (count, width)."""

    rows: Rows
    values: Bytes

    def __len__(self) -> int:
        return len(self.rows)

    def counts_of(self, rows: Rows) -> NDArray[np.int64]:
        """How many values each of `rows` has."""
        first, end = (self.rows.searchsorted(rows, side) for side in ("left", "right"))
        return (end - first).astype(np.int64)

    def values_of(self, row: int) -> Bytes:
        """Shape: (count, width)."""
        first, end = (int(self.rows.searchsorted(row, side)) for side in ("left", "right"))
        return self.values[first:end]

    def of(self, wanted: Flags) -> tuple[Rows, Bytes]:
        """The values of the rows that are wanted. Shape: `wanted` a flag for each row there is."""
        keep = wanted[self.rows]
        return self.rows[keep], self.values[keep]


class GrowingViews:
    """A `ViewColumn` that grows at its end."""

    def __init__(self, width: int) -> None:
        self._rows = Growing(np.uint32)
        self._values = Growing(np.uint8, width)

    def extend(self, start: int, counts: Bytes, values: Bytes) -> None:
        """The values of rows from `start` on, which lie behind all earlier ones."""
        rows = np.arange(start, start + len(counts), dtype=np.uint32)
        self._rows.extend(np.repeat(rows, counts))
        self._values.extend(values)

    def freeze(self) -> ViewColumn:
        return ViewColumn(self._rows.view(), self._values.view())
