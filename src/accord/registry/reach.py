"""Which listings lie within reach of a value, whatever their status, and how far they have come.

Not here: what matches an upload (matching: active listings only, by the rules), who is told what
of the answer (audit.listed).
Invariants: every row is compared, so that "none" means none.
Source: docs/spec/non-membership.md, section What counts.
"""

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Bytes, Flags, Rows
from accord.registry.listings import Snapshot
from accord.registry.views import Status, statuses
from accord.statements.batch import WIDTHS
from accord.statements.rules import METRICS, Algorithm, Metric
from accord.wire.errors import Malformed

_STATUS: Final = tuple(Status)
_BLOCK_ROWS: Final = 1 << 16  # Compared at a time: 38 MB of PhotoDNA differences.


class Listed(StrEnum):
    """What is said of a value. Of several listings the one that has come furthest counts."""

    NO = "not-listed"  # No listing in any batch, approved or not, now or before.
    PROPOSED = "proposed"  # Published, and not approved by a second person.
    YES = "listed"  # Approved and not withdrawn, whether disputed or not.
    WITHDRAWN = "listed-withdrawn"  # All that there were are withdrawn.


def check_reach(scheme: Algorithm, metric: Metric | None, distance: int) -> None:
    """Raises: Malformed, for a distance that cannot be: a metric stands where it is above 0."""
    most = 0 if metric is None else METRICS.get(scheme, {}).get(metric, 0)
    if not (metric is not None) <= distance <= most:
        raise Malformed("registry.distance", scheme=scheme.value, limit=most)


def rows_within(
    snapshot: Snapshot, scheme: Algorithm, value: bytes, metric: Metric | None, distance: int
) -> Rows:
    """The rows within a distance of a value, ascending. Units: of `metric`; without one, equal.

    Of a PDQ also the rows of which a patch or a frame is. Raises: Malformed, for a value or a
    distance that cannot be.
    """
    if len(value) != WIDTHS.get(scheme.value):
        raise Malformed("registry.value", scheme=scheme.value, size=len(value))
    check_reach(scheme, metric, distance)
    column = snapshot.values[scheme.value]
    query = np.frombuffer(value, dtype=np.uint8)
    if metric is None:
        found = [column.equal_to(value)]
    else:
        found = [_near(run.rows, run.values, query, metric, distance) for run in column.runs()]
    if scheme is Algorithm.PDQ:
        found += [
            _near(views.rows, views.values, query, Metric.HAMMING, distance)
            for views in snapshot.views.values()
        ]
    rows: Rows = np.unique(np.concatenate(found))
    return rows


def _near(rows: Rows, values: Bytes, query: Bytes, metric: Metric, distance: int) -> Rows:
    blocks = [
        rows[start : start + _BLOCK_ROWS][
            _are_within(values[start : start + _BLOCK_ROWS], query, metric, distance)
        ]
        for start in range(0, len(rows), _BLOCK_ROWS)
    ]
    near: Rows = np.concatenate([np.empty(0, dtype=np.uint32), *blocks])
    return near


def _are_within(values: Bytes, query: Bytes, metric: Metric, distance: int) -> Flags:
    sums: NDArray[np.int64]
    limit = distance
    if metric is Metric.HAMMING:
        sums = np.bitwise_count(values ^ query).sum(axis=1, dtype=np.int64)
    else:
        apart = values.astype(np.int32) - query.astype(np.int32)
        if metric is Metric.L1:
            sums = np.abs(apart).sum(axis=1, dtype=np.int64)
        else:
            sums, limit = (apart * apart).sum(axis=1, dtype=np.int64), distance**2
    flags: Flags = sums <= limit
    return flags


def standing_of(snapshot: Snapshot, rows: Rows) -> Listed:
    """How far the furthest of some listings has come."""
    if not len(rows):
        return Listed.NO
    there = {_STATUS[place] for place in statuses(snapshot)[rows]}
    if there & {Status.LISTED, Status.DISPUTED}:
        return Listed.YES
    return Listed.PROPOSED if Status.PROPOSED in there else Listed.WITHDRAWN
