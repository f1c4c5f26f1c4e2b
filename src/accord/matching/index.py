"""Every active listing that equals a digest or lies within a distance of a PDQ, exactly.

Not here: which of them matter (decide).
Invariants: an index never changes; its answers are those of a scan of every row, ties included.
Units: measured on one core of a 2 GHz server, a PDQ query costs about 6 ms a million rows, and in
a batch of 100 about 4 ms: it compares the first half of every fingerprint, then the few left whole.
This is the plain form behind a small interface; a faster kernel must give the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Flags, Rows
from accord.registry.listings import Snapshot
from accord.statements.rules import Algorithm
from accord.wire.errors import Malformed

_WORDS: Final = 4  # 64-bit words of a PDQ.
_BLOCK_ROWS: Final = 16_384  # Two words and a mask of so many rows stay in a core's cache.
_DEAD_SHARE: Final = 4  # Rebuilt when more than one row in so many is no longer wanted.
Distances = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one look-up found. Shape: aligned, by distance and then row; digests have distance 0.

    `quality` is the query's, 100 for a digest.
    """

    algorithm: Algorithm
    rows: Rows
    distances: Distances
    quality: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class MatchIndex:
    """An immutable index over some rows of a snapshot.

    Shape: `rows` of those with a PDQ, in any order; `words` (4, count), aligned; `wanted` a flag
    for each row of the snapshot. Rows that are no longer wanted may stay in `rows`.
    """

    snapshot: Snapshot
    wanted: Flags
    rows: Rows
    words: NDArray[np.uint64]

    @classmethod
    def build(cls, snapshot: Snapshot, rows: Rows) -> "MatchIndex":
        """Cost: about 240 ms a million rows."""
        wanted = np.zeros(snapshot.count, dtype=np.bool_)
        wanted[rows] = True
        return cls(snapshot, wanted, *_pdq_words(snapshot, rows))

    def extended(self, snapshot: Snapshot, rows: Rows) -> "MatchIndex":
        """The index of a later snapshot with `rows` wanted in all; same answers as `build`.

        Cost: one copy of the old words, about 40 ms a million rows.
        """
        wanted = np.zeros(snapshot.count, dtype=np.bool_)
        wanted[rows] = True
        dead = len(self.rows) - np.count_nonzero(wanted[self.rows])
        if dead * _DEAD_SHARE > len(self.rows):
            return MatchIndex.build(snapshot, rows)
        known = np.zeros(snapshot.count, dtype=np.bool_)
        known[self.rows] = True
        fresh, words = _pdq_words(snapshot, rows[~known[rows]])
        return MatchIndex(
            snapshot,
            wanted,
            np.concatenate([self.rows, fresh]),
            np.concatenate([self.words, words], axis=1),
        )

    def exact(self, algorithm: Algorithm, digest: bytes) -> Candidates:
        """Rows with this very digest."""
        rows = self.snapshot.values[algorithm.value].equal_to(digest)
        rows = rows[self.wanted[rows]]
        return Candidates(algorithm, rows, np.zeros(len(rows), dtype=np.uint16))

    def near(self, bits: bytes, threshold_bits: int, quality: int = 100) -> Candidates:
        """Rows within `threshold_bits` of a PDQ. Raises: Malformed."""
        return self.near_many([(bits, quality)], threshold_bits)[0]

    def near_many(
        self, queries: Sequence[tuple[bytes, int]], threshold_bits: int
    ) -> tuple[Candidates, ...]:
        """`near` for many (bits, quality) at once, each block of rows fetched once. Raises:
        Malformed."""
        if any(len(bits) != 8 * _WORDS for bits, _ in queries):
            raise Malformed("matching.pdq_length")
        asked = [np.frombuffer(bits, dtype=np.uint64) for bits, _ in queries]
        places: list[list[NDArray[np.intp]]] = [[] for _ in queries]
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            high, low = self.words[0:2, start : start + _BLOCK_ROWS]
            for query, found in zip(asked, places, strict=True):
                half = np.bitwise_count(high ^ query[0])
                half += np.bitwise_count(low ^ query[1])
                survivors = np.flatnonzero(half <= threshold_bits)
                if len(survivors):
                    found.append(survivors + start)
        return tuple(
            self._finish(query, found, threshold_bits, quality)
            for query, found, (_, quality) in zip(asked, places, queries, strict=True)
        )

    def _finish(
        self,
        query: NDArray[np.uint64],
        found: list[NDArray[np.intp]],
        threshold_bits: int,
        quality: int,
    ) -> Candidates:
        """Compare survivors whole, drop what is not wanted, put in order."""
        places = np.concatenate(found) if found else np.empty(0, dtype=np.intp)
        places = places[self.wanted[self.rows[places]]]
        differing = self.words[:, places] ^ query[:, None]
        distances = np.bitwise_count(differing).sum(axis=0, dtype=np.uint16)
        close = distances <= threshold_bits
        rows, distances = self.rows[places[close]], distances[close]
        ranked = np.lexsort((rows, distances))
        return Candidates(Algorithm.PDQ, rows[ranked], distances[ranked], quality)


def _pdq_words(snapshot: Snapshot, rows: Rows) -> tuple[Rows, NDArray[np.uint64]]:
    """Those of `rows` that have a PDQ, and its words, one array a word."""
    column = snapshot.values["pdq"]
    there, places = column.places_of(rows)
    values = np.ascontiguousarray(column.values[places[there]])
    words = np.ascontiguousarray(values.view(np.uint64).reshape(-1, _WORDS).T)
    return rows[there], words
