"""The follower: from signed notes and leaves to a state that nobody had to be trusted for.

The order of verification is fixed: the note parses; a quorum signed its exact bytes; size and
root come from the signed note only; the leaves we hold and the new ones together hash to that
root, which is the consistency proof; every statement passes the same ledger fold that the
validators ran; the quorum of the policy that the new entries lead to signed it too.
Sans-I/O: `offer` a checkpoint, fetch what it asks for, `stage` it, make it durable, `advance`.
Invariants: whatever fails leaves the follower as it was; it never moves to a smaller or another
log; it never runs ahead of what the caller made durable.
Source: docs/spec/log.md, section Order of verification.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from accord.follow.delta import FoldedEntry
from accord.ledger.apply import FOLDS
from accord.ledger.genesis import Founding, found
from accord.ledger.past import Start, begin, fold_leaf
from accord.ledger.state import Draft, State, Write
from accord.ledger.views import policy_of
from accord.tlog.merkle import Frontier, leaf_hash
from accord.tlog.policy import Policy, VerifiedCheckpoint, freshness_ms, verify_checkpoint
from accord.tlog.tiles import Tile, bundles_for
from accord.wire.errors import Broken, Unproven
from accord.wire.ids import TimeMs
from accord.wire.limits import FRESH_MS_MAX, STALE_MS_MAX


@dataclass(frozen=True, slots=True)
class Pull:
    """A checkpoint worth following, and the entry bundles it takes to get there."""

    checkpoint: VerifiedCheckpoint
    first: int
    bundles: tuple[Tile, ...]

    def leaves(self, bundles: Sequence[tuple[bytes, ...]]) -> list[bytes]:
        """The new leaves out of the fetched bundles, which begin at a multiple of 256."""
        skip = self.first % 256
        return list(islice((leaf for bundle in bundles for leaf in bundle), skip, None))


@dataclass(frozen=True, slots=True)
class Staged:
    """Verified, not yet taken over. Make `leaves` and `checkpoint` durable, then `advance`."""

    checkpoint: VerifiedCheckpoint
    first: int
    leaves: tuple[bytes, ...]
    entries: tuple[FoldedEntry, ...]
    writes: tuple[Write, ...]
    frontier: Frontier


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the newest quorum is. A stale list keeps matching; answers say so."""

    age_ms: int
    alarm: bool
    stale: bool


class Follower:
    """One log, followed from its genesis. One caller."""

    def __init__(
        self, founding: Founding, *, allow_trial: bool = False, folds: frozenset[int] = FOLDS
    ) -> None:
        """Raises: Unproven, for a trial that was not asked for; Malformed, where an earlier genesis
        is missing."""
        chain = founding.genesis.chain
        if founding.is_trial and not allow_trial:
            raise Unproven("follow.trial", chain=chain, mend="--trial, if a trial is meant")
        self.chain = chain
        self.has_begun = founding.genesis.continues is None  # Else it first needs the old leaves.
        self.state: State = found(founding.line()[0].genesis)
        self.frontier = Frontier()
        self.checkpoint: VerifiedCheckpoint | None = None
        self._founding = founding
        self._folds = folds

    @property
    def size(self) -> int:
        return self.frontier.size

    def plan(self, leaves: Iterable[bytes]) -> Start:
        """Where a log that continues another begins, out of the leaves that its genesis pins.
        Nothing changes yet. Raises: as `ledger.past.begin`."""
        return begin(self._founding, leaves, self._folds)

    def begin(self, start: Start) -> None:
        """Take over what was planned, once the leaves are durable."""
        self.state, self.frontier, self.has_begun = start.state, start.frontier, True

    def offer(self, note: bytes, now_ms: TimeMs | None = None) -> Pull | None:
        """What to fetch to reach this checkpoint; None if we are there (its times are taken over,
        where they are later than those we have).

        `now_ms` asks for fresh cosignatures too; a stored checkpoint is read back without.
        Raises: Malformed; Unproven with `tlog.*` (not signed as the policy asks),
        `follow.rollback`, `follow.split_view`, `follow.stale`.
        """
        if not self.has_begun:
            raise Broken("follow.not_begun")
        policy = policy_of(self.state, self.chain)
        checkpoint = verify_checkpoint(note, policy, origin=self.chain)
        if checkpoint.size < self.size:
            raise Unproven("follow.rollback", have=self.size, got=checkpoint.size)
        if checkpoint.size == self.size and checkpoint.root != self.frontier.root():
            raise Unproven("follow.split_view", size=self.size)
        if now_ms is not None:
            age_ms = freshness_ms(checkpoint, policy, now_ms)
            if age_ms > STALE_MS_MAX:
                raise Unproven("follow.stale", age_ms=age_ms)
        if checkpoint.size == self.size:
            if self._is_fresher(checkpoint, policy):
                self.checkpoint = checkpoint
            return None
        bundles = tuple(bundles_for(checkpoint.size, self.size - self.size % 256))
        return Pull(checkpoint, self.size, bundles)

    def _is_fresher(self, checkpoint: VerifiedCheckpoint, policy: Policy) -> bool:
        """Or whoever replays an old head of the same log would make it look stale."""
        known = self.checkpoint
        return known is None or freshness_ms(checkpoint, policy, 0) < freshness_ms(known, policy, 0)

    def stage(self, pull: Pull, leaves: Sequence[bytes]) -> Staged:
        """Verify and fold new leaves; nothing changes yet.

        Raises: Unproven with `follow.leaf_count`, `follow.root` (the leaves are not what was
        signed), `follow.rejected` (a quorum signed a statement that our fold refuses), or
        `tlog.quorum` (the policy these entries lead to is not satisfied); Unavailable, with
        `ledger.fold_version`, for entries by rules that this software has not got.
        """
        if pull.first != self.size or len(leaves) != pull.checkpoint.size - self.size:
            raise Unproven("follow.leaf_count", wanted=pull.checkpoint.size - self.size)
        frontier = self.frontier.extend(leaf_hash(leaf) for leaf in leaves)
        if frontier.root() != pull.checkpoint.root:
            raise Unproven("follow.root", size=pull.checkpoint.size)
        draft = Draft(self.state)
        entries: list[FoldedEntry] = []
        for index, leaf in enumerate(leaves, self.size):
            entries.append(self._fold(draft, index, leaf))
        # Kept as the new policy reads it: the age of a head is that of the quorum it leads to.
        after = policy_of(draft, self.chain)
        checkpoint = verify_checkpoint(pull.checkpoint.raw, after, origin=self.chain)
        return Staged(
            checkpoint, self.size, tuple(leaves), tuple(entries), draft.writes(), frontier
        )

    def _fold(self, draft: Draft, index: int, leaf: bytes) -> FoldedEntry:
        folded = fold_leaf(draft, self.chain, leaf, self._folds)
        if isinstance(folded, str):
            raise Unproven("follow.rejected", index=index, why=folded)
        time_ms, accepted = folded
        return FoldedEntry(index, time_ms, accepted.envelope.key_id, accepted.body)

    def advance(self, staged: Staged) -> None:
        """Take over what was staged, once it is durable."""
        if staged.first != self.size:
            raise Unproven("follow.leaf_count", wanted=self.size)
        self.state.commit(staged.writes)
        self.frontier = staged.frontier
        self.checkpoint = staged.checkpoint

    def freshness(self, now_ms: TimeMs) -> Freshness:
        """How fresh the followed log is by our clock; before the first checkpoint it is stale."""
        if self.checkpoint is None:
            return Freshness(STALE_MS_MAX + 1, alarm=True, stale=True)
        policy = policy_of(self.state, self.chain)
        age_ms = freshness_ms(self.checkpoint, policy, now_ms)
        return Freshness(age_ms, age_ms > FRESH_MS_MAX, age_ms > STALE_MS_MAX)
