"""Figures for the public: by agency, class and status; disputes upheld; false positives.

Invariants: no fingerprint, no digest, no listing and no platform in them; a number that would say
what one platform found stands only in a sum over all of an agency's listings.
Source: docs/spec/registry.md, section Figures.
"""

from dataclasses import dataclass

import numpy as np

from accord.ledger.state import Reader
from accord.registry.columns import Rows
from accord.registry.disputes import disputes_of
from accord.registry.feedback import By, Weighed, count_feedback
from accord.registry.listings import Snapshot
from accord.registry.standing import bench_of, block_time_ms, parameters_of
from accord.registry.views import Count, counts, disputed_rows
from accord.wire.ids import MemberId, TimeMs


@dataclass(frozen=True, slots=True)
class AgencyFigures:
    """One agency's listings, what became of them, and what platforms found.

    `disputed`: listings that another agency, or it itself, ever disputed; `upheld`: those whose
    dispute holds everywhere. `affirmative`, `false_positives`: words of platforms, see
    `feedback.FeedbackCount`.
    """

    agency: MemberId
    listings: int
    withdrawn: int
    disputed: int
    upheld: int
    affirmative: int
    negative: int
    false_positives: int

    @property
    def judged(self) -> int:
        """Words by which a false-positive rate is measured: a person looked at a file."""
        return self.affirmative + self.false_positives


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it, at a size of the log."""

    size: int
    time_ms: TimeMs
    counts: tuple[Count, ...]
    agencies: tuple[AgencyFigures, ...]


def figures(snapshot: Snapshot, weighed: Weighed, state: Reader) -> Figures:
    """As of the newest entry. Agencies that listed anything, in the order of their ids."""
    now_ms = block_time_ms(state)
    disputes = disputes_of(snapshot, bench_of(snapshot, state), parameters_of(state), now_ms)
    said = {item.agency: item for item in count_feedback(weighed, [By.AGENCY])}
    upheld = _by_publisher(snapshot, disputes.rows[disputes.upheld])
    disputed = _by_publisher(snapshot, disputed_rows(snapshot))
    withdrawn = _by_publisher(
        snapshot, np.flatnonzero(snapshot.withdrawn.whole()).astype(np.uint32)
    )
    listings = _by_publisher(snapshot, np.arange(snapshot.count, dtype=np.uint32))
    rows = [
        AgencyFigures(
            agency=name,
            listings=listings[bit],
            withdrawn=withdrawn[bit],
            disputed=disputed[bit],
            upheld=upheld[bit],
            affirmative=item.affirmative if (item := said.get(name)) else 0,
            negative=item.negative if item else 0,
            false_positives=item.false_positives if item else 0,
        )
        for bit, name in enumerate(snapshot.agencies)
        if listings[bit]
    ]
    rows.sort(key=lambda row: row.agency)
    return Figures(snapshot.size, now_ms, counts(snapshot), tuple(rows))


def _by_publisher(snapshot: Snapshot, rows: Rows) -> list[int]:
    """How many of the rows each agency published, by its bit."""
    found = np.bincount(snapshot.publisher[rows], minlength=len(snapshot.agencies))
    return [int(count) for count in found]
