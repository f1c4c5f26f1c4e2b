"""Measures a picture's patches against listings of 24 each: all its look-ups and the votes.

The patches are uniform, which real ones are not; a query has as many as a photograph (250, and as
many mirrored), three of them near those of one listing.
"""

import time
from typing import Final

import numpy as np

from accord.cli.bench.figures import Row, quantile, rounded
from accord.matching.index_ring import Ring
from accord.matching.meetings import Meetings, nearest, reached
from accord.registry.columns import Bytes
from accord.wire.errors import Broken
from accord.wire.limits import LISTING_PATCHES

ASKED: Final = 250  # Patches of a query, of each hand.
VOTES: Final = 3
THRESHOLDS: Final = (31, 36, 40, 44)
_QUERIES: Final = 24
_BIT: Final = np.uint8(1)


def patch_rows(listings: int) -> list[Row]:
    """Raises: Broken, if a listing is not found."""
    random = np.random.default_rng(21)
    patches: Bytes = random.integers(0, 256, (listings * LISTING_PATCHES, 32), dtype=np.uint8)
    rows = np.repeat(np.arange(listings, dtype=np.uint32), LISTING_PATCHES)
    began = time.perf_counter()
    ring = Ring.build(rows, patches)
    build_s = time.perf_counter() - began
    found: list[Row] = []
    for threshold in THRESHOLDS:
        took: list[float] = []
        for _ in range(_QUERIES):
            listing = int(random.integers(listings))
            query = _query(patches, listing, random)
            start = time.process_time_ns()
            met = _voted(ring, query, threshold)
            took.append((time.process_time_ns() - start) / 1e6)
            if met != [listing]:
                raise Broken("bench.answers", index="patches")
        found.append(
            {
                "listings": listings,
                "threshold_bits": threshold,
                "ms_p50": rounded(quantile(took, 0.5)),
                "ms_p99": rounded(quantile(took, 0.99)),
                "bytes_per_listing": rounded(ring.layout.size / listings),
                "build_s": rounded(build_s),
            }
        )
    return found


def _query(patches: Bytes, listing: int, random: np.random.Generator) -> tuple[bytes, bytes]:
    """Both hands; three upright patches lie 20 bits from one listing's."""
    query = random.integers(0, 256, (ASKED, 32), dtype=np.uint8)
    for place in range(VOTES):
        near = patches[listing * LISTING_PATCHES + place].copy()
        for bit in random.choice(256, 20, replace=False):
            near[bit // 8] ^= _BIT << np.uint8(bit % 8)
        query[place * 7] = near
    return query.tobytes(), random.integers(0, 256, (ASKED, 32), dtype=np.uint8).tobytes()


def _voted(ring: Ring, hands: tuple[bytes, bytes], threshold: int) -> list[int]:
    """As `matching.asking` does it for listings of 24, which count once."""
    found = []
    for bits in hands:
        matches = ring.search(bits, threshold)
        rows = ring.rows[matches["place"]]
        asked, listed = matches["query"].astype(np.int64), matches["place"].astype(np.int64)
        meetings = Meetings(rows, asked, listed, matches["distance"])
        needs = np.full(len(rows), VOTES, dtype=np.int64)
        found.append(reached(meetings, needs, needs))
    rows, _ = nearest(found)
    return [int(row) for row in rows]
