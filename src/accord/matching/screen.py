"""One frozen object a gateway asks: the list, the rules and the checkpoint of one moment.

A gateway builds the next screen from the last one after each delta and swaps the reference;
requests under way finish on the screen they began with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from accord.ledger.state import Reader
from accord.matching.asking import Asked, look_up
from accord.matching.decide import applicable, decide
from accord.matching.decision import Applied, Context, Decision, Place, Query
from accord.matching.index import Bases, Candidates, MatchIndex
from accord.matching.members import parts_of, strictest
from accord.registry.columns import Values
from accord.registry.listings import Registry, Snapshot
from accord.registry.obligation import PlatformObligations, platform_obligations
from accord.statements.rules import Algorithm, Step
from accord.wire.ids import MemberId
from accord.wire.limits import PDQ_DRIFT_MAX, PDQ_QUALITY_DRIFT_MAX


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """Decides on files as of one checkpoint."""

    obligations: PlatformObligations
    index: MatchIndex
    checkpoint: Place

    def decide(self, query: Query, context: Context) -> Decision:
        """Look up and decide. Where no rule applies, or all prohibit, nothing is looked up.

        Raises: Malformed, for a jurisdiction that the platform is not admitted in.
        """
        parts = parts_of(query)
        joint, *each = self.decide_many([query, *(part for _, part in parts)], context)
        return strictest(joint, [number for number, _ in parts], each) if parts else joint

    def decide_many(self, queries: Sequence[Query], context: Context) -> tuple[Decision, ...]:
        """`decide` for files of one context, their frames looked up together."""
        found = self._look_up(queries, context)
        return tuple(
            decide(query, candidates, self.obligations, context, self.checkpoint)
            for query, candidates in zip(queries, found, strict=True)
        )

    def may_match(self, query: Query, context: Context) -> bool:
        """Whether the exact fingerprints of a file could be decided otherwise than as no match,
        when the query's are off by the drift of a scaled decoding at most.

        Raises: Malformed, see `decide`.
        """
        if any(len(found.rows) for found in self._look_up([query], context, PDQ_DRIFT_MAX)[0]):
            return True
        best = max((frame.quality for frame in query.frames), default=0)
        floors = [
            near.quality_min
            for item in applicable(self.obligations, context)
            for active in item.obligation.clauses
            if (near := active.clause.near_by(Algorithm.PDQ)) is not None
        ]
        return best < max(floors, default=0) + PDQ_QUALITY_DRIFT_MAX

    def steps(self, context: Context) -> frozenset[Step]:
        """What of a picture the rules that apply look at. Raises: Malformed, see `decide`."""
        scoped = applicable(self.obligations, context)
        applied = [item.obligation for item in scoped if item.applied is Applied.APPLIED]
        return frozenset({Step.FULL}).union(*(share.steps for share in applied))

    def _look_up(
        self, queries: Sequence[Query], context: Context, drift_bits: int = 0
    ) -> list[list[Candidates]]:
        clauses = [
            Asked(active, item.obligation.rule.rule_set.screen)
            for item in applicable(self.obligations, context)
            if item.applied is Applied.APPLIED and item.obligation.rule is not None
            for active in item.obligation.clauses
        ]
        return look_up(self.index, queries, clauses, drift_bits)

    def relocated(self, values: Mapping[str, Values], bases: Bases) -> "Screen":
        """The same screen, its columns and indexes held elsewhere, such as in files. `values` are
        the very same, and `bases` fit. No answer changes."""
        snapshot = replace(self.obligations.snapshot, values=values)
        obligations = replace(self.obligations, snapshot=snapshot)
        return replace(self, obligations=obligations, index=self.index.rebased(bases, snapshot))


def build_screen(
    registry: Registry,
    state: Reader,
    platform: MemberId,
    checkpoint: Place,
    previous: Screen | None = None,
    bases_for: Callable[[Snapshot], Bases] | None = None,
) -> Screen:
    """The screen of what `registry` and `state` have folded, which must end at `checkpoint`.

    `bases_for` may know bases for the index, such as files: they fit the snapshot.
    Cost: 10,000 listings on top of a million, three jurisdictions: see docs/spec/decisions.md.
    Raises: Unavailable, as `platform_obligations`; the previous screen goes on meanwhile.
    """
    snapshot = registry.snapshot()
    before = None if previous is None else previous.obligations
    obligations = platform_obligations(snapshot, state, platform, before=before)
    bases = None if bases_for is None else bases_for(snapshot)
    wanted = obligations.activity.flags.whole()
    if previous is None:
        index = MatchIndex.build(snapshot, wanted, bases)
    else:
        index = previous.index.extended(snapshot, wanted, bases)
    return Screen(obligations, index, checkpoint)
