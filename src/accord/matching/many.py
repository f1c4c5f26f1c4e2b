"""Matching under clauses and naming reasons with arrays: for any number of candidates.

Not here: what follows from it (decide), the same row by row for a few candidates (few).
Invariants: pure; this is what `few` must answer too, to the byte.
Source: docs/spec/decisions.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.matching.decision import Cap, Reason
from accord.matching.index import Candidates
from accord.matching.meetings import Distances
from accord.registry.columns import Bytes, Flags, Rows
from accord.registry.listings import Snapshot
from accord.registry.obligation import (
    REVIEW_ONLY,
    ActiveClause,
    Certifier,
    Obligation,
    PlatformObligations,
    certifiers,
)
from accord.registry.vouching import vouched_by
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    QUALITY_ALGORITHMS,
    Action,
    Algorithm,
    Metric,
    Near,
)
from accord.wire.errors import Broken
from accord.wire.limits import REASONS_MAX

ACTIONS: Final = tuple(Action)
REVIEW: Final = Action.REVIEW.severity
_CAPS: Final = (None, Cap.NEAR_ALONE, Cap.DISPUTED)
_RANKS: Final = {
    name: 0 if name in EXACT_ALGORITHMS else place for place, name in enumerate(Algorithm, 1)
}
Named = tuple[tuple[Reason, ...], int, bool]


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """What one look-up matched under one clause. Arrays are aligned; `cap` is a place in _CAPS."""

    obligation: Obligation
    active: ActiveClause
    found: Candidates
    rows: Rows
    distances: Distances
    severity: Bytes
    cap: Bytes


class Many:
    """What candidates match, jurisdiction by jurisdiction, and the reasons of all asked so far."""

    def __init__(self, candidates: Sequence[Candidates], obligations: PlatformObligations) -> None:
        self._candidates = candidates
        self._obligations = obligations
        self._hits: list[_Hits] = []

    def strictest_in(self, share: Obligation) -> int | None:
        """The severity of what matches in a jurisdiction; None where nothing does."""
        hits = _hits_in(share, self._candidates, self._obligations)
        self._hits += hits
        return max((int(hit.severity.max()) for hit in hits), default=None)

    def reasons(self) -> Named:
        """The strictest reasons, the count of listings matched, and whether some were left out."""
        return _name_reasons(self._hits, self._obligations)


def _hits_in(
    share: Obligation, candidates: Sequence[Candidates], obligations: PlatformObligations
) -> list[_Hits]:
    """What each clause of a jurisdiction matched, with the action it leads to there."""
    hits: list[_Hits] = []
    screen = share.rule.rule_set.screen if share.rule is not None else ()
    candidates = [found for found in candidates if found.step is None or found.step in screen]
    for active in share.clauses:
        kept: list[tuple[Candidates, Flags]] = []
        for found in candidates:
            keep = _kept(active, found, obligations) if len(found.rows) else None
            if keep is not None and keep.any():
                kept.append((found, keep))
        hits += [_hits_of(share, active, item, candidates, kept, obligations) for item in kept]
    return hits


def _kept(
    active: ActiveClause, found: Candidates, obligations: PlatformObligations
) -> Flags | None:
    """Which of the rows found match under a clause; None if it does not ask by this."""
    if found.algorithm in EXACT_ALGORITHMS:
        exact = active.clause.exact
        if exact is None or found.algorithm not in exact.algorithms:
            return None
        return _vouched_for(active, found, obligations)
    near = active.clause.near_by(found.algorithm)
    if (
        near is None
        or near.metric is not found.metric
        or near.demand != found.demand
        or min(found.quality, 100) < near.quality_min
    ):
        return None
    keep = _vouched_for(active, found, obligations)
    keep &= found.distances <= near.limit
    if found.algorithm in QUALITY_ALGORITHMS and keep.any():
        keep &= _qualities(obligations.snapshot, found.rows) >= near.quality_min
    return keep


def _vouched_for(
    active: ActiveClause, found: Candidates, obligations: PlatformObligations
) -> Flags:
    """Which rows are active by the very value that was found: see `vouched_by`."""
    keep: Flags = active.active.at(found.rows)
    tied = np.flatnonzero(keep & ~active.active.spoken(found.rows))
    if len(tied):
        keep[tied] = vouched_by(obligations, active, found.rows[tied], found.algorithm.value)
    return keep


def _hits_of(
    share: Obligation,
    active: ActiveClause,
    item: tuple[Candidates, Flags],
    candidates: Sequence[Candidates],
    kept: Sequence[tuple[Candidates, Flags]],
    obligations: PlatformObligations,
) -> _Hits:
    """The actions of what one look-up matched under a clause."""
    found, keep = item
    rows = found.rows[keep]
    near = active.clause.near_by(found.algorithm)
    exact = active.clause.exact
    action = near.action if near is not None else exact.action if exact is not None else None
    if action is None:  # `_kept` gives neither without one of them.
        raise Broken("decision.no_term")
    cap = np.zeros(len(rows), dtype=np.uint8)
    severity = np.full(len(rows), action.severity, dtype=np.uint8)
    if action.severity > REVIEW:
        if near is not None and not near.alone:
            confirmed = _confirmed(active, near, candidates, kept, obligations)
            cap[~np.isin(rows, confirmed)] = _CAPS.index(Cap.NEAR_ALONE)
        cap[active.status_of(rows) == REVIEW_ONLY] = _CAPS.index(Cap.DISPUTED)
        severity[cap > 0] = REVIEW
    return _Hits(share, active, found, rows, found.distances[keep], severity, cap)


def _confirmed(
    active: ActiveClause,
    near: Near,
    candidates: Sequence[Candidates],
    kept: Sequence[tuple[Candidates, Flags]],
    obligations: PlatformObligations,
) -> Rows:
    """The rows on which a second algorithm agrees: an equal digest that is vouched for, named by
    the clause or not, or a perceptual match of the same clause."""
    agreeing = [
        found.rows[_vouched_for(active, found, obligations)]
        for found in candidates
        if found.algorithm in EXACT_ALGORITHMS and found.algorithm in near.confirmed_by
    ]
    agreeing += [
        found.rows[keep]
        for found, keep in kept
        if found.algorithm not in EXACT_ALGORITHMS and found.algorithm in near.confirmed_by
    ]
    return np.concatenate(agreeing) if agreeing else np.empty(0, dtype=np.uint32)


def _qualities(snapshot: Snapshot, rows: Rows) -> NDArray[np.int64]:
    """The PDQ quality of each row, -1 where it has no PDQ."""
    there, places = snapshot.values["pdq"].places_of(rows)
    if not len(snapshot.pdq_quality):
        return np.full(len(rows), -1, dtype=np.int64)
    return np.where(there, snapshot.pdq_quality[places].astype(np.int64), -1)


def _quality_of(snapshot: Snapshot, row: Rows) -> int:
    return int(_qualities(snapshot, row)[0])


def _name_reasons(
    hits: Sequence[_Hits], obligations: PlatformObligations
) -> tuple[tuple[Reason, ...], int, bool]:
    """The strictest reasons, the count of listings matched, and whether some were left out.

    Order: strictest first, then exact, then by algorithm, distance, listing and rule. A listing
    that several frames match under one clause is one reason, at its smallest distance.
    """
    if not hits:
        return (), 0, False
    which = np.repeat(np.arange(len(hits)), [len(hit.rows) for hit in hits])
    within = np.concatenate([np.arange(len(hit.rows)) for hit in hits])
    rows = np.concatenate([hit.rows for hit in hits])
    distances = np.concatenate([hit.distances for hit in hits])
    severity = np.concatenate([hit.severity for hit in hits]).astype(np.int64)
    by = np.array([rank_of(hit.found.algorithm) for hit in hits])[which]
    reasons: list[Reason] = []
    vouching: dict[object, tuple[Certifier, ...]] = {}  # Clauses that ask the same share it.
    named: set[tuple[str, str, str, int]] = set()
    truncated = False
    for place in np.lexsort((which, rows, distances, by, -severity)):
        hit = hits[int(which[place])]
        algorithm = hit.found.algorithm.value
        key = (hit.obligation.jurisdiction, hit.active.clause.name, algorithm, int(rows[place]))
        if key in named:
            continue
        if len(reasons) == REASONS_MAX:
            truncated = True
            break
        named.add(key)
        asked = (key[3], hit.active.clause.certification.review_level, hit.active.clause.classes)
        shared = (*asked, id(hit.active.live), algorithm)
        if shared not in vouching:
            vouching[shared] = certifiers(obligations, hit.active, key[3], (algorithm,))
        reasons.append(_reason(hit, int(within[place]), obligations, vouching[shared]))
    return tuple(reasons), len(np.unique(rows)), truncated


def rank_of(algorithm: Algorithm) -> int:
    """Digests alike and first; distances of two algorithms do not compare."""
    return _RANKS[algorithm]


def shown(distance: int, metric: Metric) -> int:
    """A distance in the unit of thresholds; a root that is no whole number is rounded up."""
    if metric is not Metric.L2 or distance == 0:
        return distance
    return math.isqrt(distance - 1) + 1


def _reason(
    hit: _Hits, place: int, obligations: PlatformObligations, vouching: tuple[Certifier, ...]
) -> Reason:
    snapshot, row, rule = obligations.snapshot, int(hit.rows[place]), hit.obligation.rule
    if rule is None:  # A hit comes from a clause, and a clause from a rule set.
        raise Broken("decision.rule_missing")
    has_quality = hit.found.algorithm in QUALITY_ALGORITHMS
    return Reason(
        jurisdiction=hit.obligation.jurisdiction,
        rule_title=rule.rule_set.title,
        rule_version=rule.version,
        rule_entry=rule.entry,
        clause=hit.active.clause.name,
        ref=snapshot.ref_of(row),
        publisher=snapshot.agencies[snapshot.publisher[row]],
        class_code=snapshot.classes[snapshot.class_of[row]],
        algorithm=hit.found.algorithm,
        distance=shown(int(hit.distances[place]), hit.found.metric),
        metric=hit.found.metric,
        query_quality=hit.found.quality if has_quality else None,
        listing_quality=_quality_of(snapshot, hit.rows[place : place + 1]) if has_quality else None,
        action=ACTIONS[int(hit.severity[place])],
        cap=_CAPS[int(hit.cap[place])],
        disputed=int(hit.active.status_of(hit.rows[place : place + 1])[0]) == REVIEW_ONLY,
        certifiers=vouching,
    )
