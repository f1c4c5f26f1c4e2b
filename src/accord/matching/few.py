"""Matching under clauses and naming reasons row by row: for the few candidates that files have.

Not here: what follows from it (decide), any number of candidates (many, which defines the answer).
Invariants: pure; what `many` answers, to the byte. An array of one row costs more than the row:
here each question about a row is answered once, whatever number of clauses asks it.
Source: docs/spec/decisions.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accord.matching.decision import Cap, Reason
from accord.matching.index import Candidates
from accord.matching.many import ACTIONS, REVIEW, Named, rank_of, shown
from accord.registry.obligation import ActiveClause, Obligation, PlatformObligations
from accord.registry.vouching import Vouching, vouched_by
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    QUALITY_ALGORITHMS,
    Algorithm,
    ClassCode,
    Near,
)
from accord.wire.errors import Broken
from accord.wire.ids import ListingRef, MemberId
from accord.wire.limits import REASONS_MAX

FEW_ROWS_MAX: Final = 16  # Candidates of a file up to which this is faster.


@dataclass(slots=True, eq=False)
class _Found:
    """One look-up, as Python numbers: row, distance."""

    of: Candidates
    pairs: list[tuple[int, int]]
    is_exact: bool
    has_quality: bool
    rank: int
    active: dict[int, list[tuple[int, int]]]  # Those active for a question, by its identity.


@dataclass(slots=True, eq=False)
class _Hit:
    obligation: Obligation
    active: ActiveClause
    found: _Found
    row: int
    distance: int
    severity: int
    cap: Cap | None
    disputed: bool


@dataclass(slots=True, eq=False)
class _Facts:
    """What every reason says about a row."""

    ref: ListingRef
    publisher: MemberId
    class_code: ClassCode


class Few:
    """What candidates match, jurisdiction by jurisdiction, and the reasons of all asked so far."""

    def __init__(self, candidates: Sequence[Candidates], obligations: PlatformObligations) -> None:
        self._obligations = obligations
        self._finds = [
            _Found(
                found,
                list(zip(found.rows.tolist(), found.distances.tolist(), strict=True)),
                found.algorithm in EXACT_ALGORITHMS,
                found.algorithm in QUALITY_ALGORITHMS,
                rank_of(found.algorithm),
                {},
            )
            for found in candidates
            if len(found.rows)
        ]
        self._vouching = Vouching(obligations)
        self._hits: list[_Hit] = []
        self._disputed: dict[tuple[int, int], bool] = {}
        self._quality: dict[int, int] = {}
        self._facts: dict[int, _Facts] = {}

    def strictest_in(self, share: Obligation) -> int | None:
        """The severity of what matches in a jurisdiction; None where nothing does."""
        if not self._finds:
            return None
        before = len(self._hits)
        screen = share.rule.rule_set.screen if share.rule is not None else ()
        finds = [item for item in self._finds if item.of.step is None or item.of.step in screen]
        for active in share.clauses:
            kept = [(found, pairs) for found in finds if (pairs := self._kept(active, found))]
            for found, pairs in kept:
                self._note(share, active, found, pairs, kept)
        found_here = self._hits[before:]
        return max([hit.severity for hit in found_here]) if found_here else None

    def _kept(self, active: ActiveClause, found: _Found) -> list[tuple[int, int]]:
        """Which of the rows found match under a clause."""
        if found.is_exact:
            exact = active.clause.exact
            if exact is None or found.of.algorithm not in exact.algorithms:
                return []
            return self._among(active, found)
        near = active.near.get(found.of.algorithm)
        if (
            near is None
            or near.metric is not found.of.metric
            or near.demand != found.of.demand
            or min(found.of.quality, 100) < near.quality_min
        ):
            return []
        limit = near.limit
        return [
            (row, distance)
            for row, distance in self._among(active, found)
            if distance <= limit
            and (not found.has_quality or self._quality_of(row) >= near.quality_min)
        ]

    def _among(self, active: ActiveClause, found: _Found) -> list[tuple[int, int]]:
        """The pairs whose row is active by what was found; clauses that ask the same share it."""
        known = found.active.get(id(active.active))
        if known is None:
            known = [
                pair
                for pair in found.pairs
                if active.active.holds(pair[0])
                and self._is_vouched_for(active, pair[0], found.of.algorithm)
            ]
            found.active[id(active.active)] = known
        return known

    def _is_vouched_for(self, active: ActiveClause, row: int, algorithm: Algorithm) -> bool:
        """Whether a row that is active is so by this algorithm's value."""
        if active.active.is_spoken(row):
            return True
        one = np.array([row], dtype=np.uint32)
        return bool(vouched_by(self._obligations, active, one, algorithm.value)[0])

    def _is_disputed(self, active: ActiveClause, row: int) -> bool:
        if not len(active.review_only):  # Most often.
            return False
        key = (id(active.review_only), row)
        known = self._disputed.get(key)
        if known is None:
            known = self._disputed[key] = active.is_review_only(row)
        return known

    def _quality_of(self, row: int) -> int:
        """The PDQ quality of a row, -1 where it has no PDQ."""
        known = self._quality.get(row)
        if known is None:
            snapshot = self._obligations.snapshot
            place = snapshot.values["pdq"].place_of(row)
            known = -1 if place is None else int(snapshot.pdq_quality[place])
            self._quality[row] = known
        return known

    def _note(
        self,
        share: Obligation,
        active: ActiveClause,
        found: _Found,
        pairs: list[tuple[int, int]],
        kept: list[tuple[_Found, list[tuple[int, int]]]],
    ) -> None:
        """The actions of what one look-up matched under a clause."""
        near = active.near.get(found.of.algorithm)
        exact = active.clause.exact
        action = near.action if near is not None else exact.action if exact is not None else None
        if action is None:  # `_kept` gives nothing without one of them.
            raise Broken("decision.no_term")
        severity = action.severity
        for row, distance in pairs:
            cap: Cap | None = None
            disputed = self._is_disputed(active, row)
            if severity > REVIEW:
                if disputed:
                    cap = Cap.DISPUTED
                elif (
                    near is not None
                    and not near.alone
                    and not self._agrees(active, near, row, kept)
                ):
                    cap = Cap.NEAR_ALONE
            mild = REVIEW if cap is not None else severity
            self._hits.append(_Hit(share, active, found, row, distance, mild, cap, disputed))

    def _agrees(
        self,
        active: ActiveClause,
        near: Near,
        row: int,
        kept: list[tuple[_Found, list[tuple[int, int]]]],
    ) -> bool:
        """Whether a second algorithm agrees: an equal digest that is vouched for, named by the
        clause or not, or a perceptual match of the same clause."""
        agreeing = [(f, self._among(active, f)) for f in self._finds if f.is_exact]
        agreeing += [item for item in kept if not item[0].is_exact]
        return any(
            found.of.algorithm in near.confirmed_by and any(row == other for other, _ in pairs)
            for found, pairs in agreeing
        )

    def reasons(self) -> Named:
        """The strictest reasons, the count of listings matched, and whether some were left out."""
        hits = self._hits
        if not hits:
            return (), 0, False
        order = sorted(
            (-hit.severity, hit.found.rank, hit.distance, hit.row, place)
            for place, hit in enumerate(hits)
        )
        reasons: list[Reason] = []
        named: set[tuple[str, str, str, int]] = set()
        truncated = False
        for *_, place in order:
            hit = hits[place]
            name = hit.obligation.jurisdiction
            key = (name, hit.active.clause.name, hit.found.of.algorithm, hit.row)
            if key in named:
                continue
            if len(reasons) == REASONS_MAX:
                truncated = True
                break
            named.add(key)
            reasons.append(self._reason(hit))
        return tuple(reasons), len({hit.row for hit in hits}), truncated

    def _facts_of(self, row: int) -> _Facts:
        known = self._facts.get(row)
        if known is None:
            snapshot = self._obligations.snapshot
            known = self._facts[row] = _Facts(
                snapshot.ref_of(row),
                snapshot.agencies[snapshot.publisher[row]],
                snapshot.classes[snapshot.class_of[row]],
            )
        return known

    def _reason(self, hit: _Hit) -> Reason:
        rule, found, row = hit.obligation.rule, hit.found, hit.row
        if rule is None:  # A hit comes from a clause, and a clause from a rule set.
            raise Broken("decision.rule_missing")
        facts = self._facts_of(row)
        return Reason(
            hit.obligation.jurisdiction,
            rule.rule_set.title,
            rule.version,
            rule.entry,
            hit.active.clause.name,
            facts.ref,
            facts.publisher,
            facts.class_code,
            found.of.algorithm,
            shown(hit.distance, found.of.metric),
            found.of.metric,
            found.of.quality if found.has_quality else None,
            self._quality_of(row) if found.has_quality else None,
            ACTIONS[hit.severity],
            hit.cap,
            hit.disputed,
            self._vouching.of(hit.active, row, found.of.algorithm.value),
        )
