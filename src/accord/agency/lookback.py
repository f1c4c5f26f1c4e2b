"""What held at an earlier size of the log: both folds, up to there, out of a verified copy.

Not here: what follows from it (registry, matching). Whoever holds the same log and the same group
keys gets the same answer for the same size, at any later time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from accord.follow.delta import FoldedEntry
from accord.ledger.apply import apply
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import Founding, found
from accord.ledger.state import (
    PLATFORMS,
    RULES,
    Draft,
    PlatformRow,
    Reader,
    RuleRow,
    Standing,
    State,
)
from accord.matching import Place, Screen, build_screen
from accord.registry import Obligation, Registry, Snapshot, obligation
from accord.statements.entries import parse_entry
from accord.statements.rules import RuleSet
from accord.wire.errors import Broken, Malformed
from accord.wire.ids import GroupId, JurisdictionId, MemberId, TimeMs

ANY_PLATFORM = MemberId("rules-preview")  # Stands for a platform that was given everything.


@dataclass(frozen=True, slots=True)
class Lookback:
    """Both folds after `size` entries. `time_ms` is the block time of the last of them."""

    size: int
    time_ms: TimeMs
    registry: Registry
    state: State

    def screen(self, platform: MemberId, root: bytes) -> Screen:
        """As a gateway of the platform had it. Raises: Unavailable."""
        return build_screen(self.registry, self.state, platform, Place(self.size, root))


@dataclass(frozen=True, slots=True)
class ClauseCount:
    """Listings active in a clause, of those that a platform with every group would be given."""

    clause: str
    active: int
    review_only: int


@dataclass(frozen=True, slots=True)
class RuleDiff:
    """What a rule set would change. Counts are of listings; `gained` and `lost` of the union."""

    coverage: tuple[str, str]
    before: tuple[ClauseCount, ...]
    after: tuple[ClauseCount, ...]
    gained: int
    lost: int
    kept: int


def look_back(
    founding: Founding,
    folded: Iterator[FoldedEntry],
    leaves: Callable[[int, int], list[bytes]],
    until: Callable[[int, TimeMs], bool],
) -> Lookback:
    """Both folds up to the last entry for which `until(index, block time)` holds.

    Raises: Malformed, where that is none; Broken, for a log that its holder had accepted and that
    does not fold.
    """
    first, *later = founding.line()
    if later:
        raise Malformed("rules.continued", mend="ask a home of the first genesis: not built yet")
    state, registry, size, time_ms = found(first.genesis), Registry(), 0, TimeMs(0)
    for entry in folded:
        if not until(entry.index, entry.time_ms):
            break
        statement = parse_entry(leaves(entry.index, entry.index + 1)[0]).statement
        accepted = apply(state, founding.chain_at(entry.index), statement, entry.time_ms)
        if isinstance(accepted, RejectCode):
            raise Broken("rules.rejected", entry=entry.index)
        state.commit(accepted.writes)
        registry.fold(entry)
        size, time_ms = entry.index + 1, entry.time_ms
    if not size:
        raise Malformed("rules.before_the_log", mend="name a size or a time after the first entry")
    return Lookback(size, time_ms, registry, state)


def rule_diff(
    snapshot: Snapshot,
    state: Reader,
    jurisdiction: JurisdictionId,
    rules: RuleSet,
    groups: tuple[GroupId, ...],
) -> RuleDiff:
    """What setting `rules` would change for how many listings, as things stand.

    Both sides are asked at the newest block time, the new one as if it held already.
    Raises: Unavailable.
    """
    draft = Draft(state)
    draft.put(
        PLATFORMS,
        ANY_PLATFORM.encode(),
        PlatformRow("Preview", (jurisdiction,), groups, Standing.ADMITTED, TimeMs(0)),
    )
    before = obligation(snapshot, draft, ANY_PLATFORM, jurisdiction)
    known = draft.get(RULES, jurisdiction.encode())
    version = 1 if known is None else known.version + 1
    row = RuleRow(version, snapshot.size, ANY_PLATFORM, TimeMs(0), replace(rules, valid_from_ms=0))
    draft.put(RULES, jurisdiction.encode(), row)
    after = obligation(snapshot, draft, ANY_PLATFORM, jurisdiction)
    old, new = before.active_rows(), after.active_rows()
    return RuleDiff(
        coverage=(before.coverage.value, after.coverage.value),
        before=_counts(before),
        after=_counts(after),
        gained=len(np.setdiff1d(new, old)),
        lost=len(np.setdiff1d(old, new)),
        kept=len(np.intersect1d(old, new)),
    )


def _counts(share: Obligation) -> tuple[ClauseCount, ...]:
    return tuple(
        ClauseCount(
            clause=active.clause.name,
            active=int(active.active.whole.sum()),
            review_only=int(active.active.at(active.review_only).sum()),
        )
        for active in share.clauses
    )
