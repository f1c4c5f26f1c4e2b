"""Blocks: transactions in the order consensus gave them, and what the log becomes.

One core, two drivers (solo and CometBFT): `check` before a transaction is taken in, `finalize`
once it is ordered. A driver persists what `finalize` returns before it answers anybody.
Source: docs/spec/ledger.md, section Blocks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accord.ledger.apply import FOLDS, Accepted, apply, check_blob, require_fold
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import Founding, Genesis, found
from accord.ledger.membership import consortium
from accord.ledger.past import begin
from accord.ledger.state import Draft, Reader, State, Write
from accord.statements.entries import Entry
from accord.statements.envelope import Transaction, parse_transaction
from accord.tlog.merkle import Frontier, leaf_hash
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Broken, Malformed
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import MEMBER_BLOCK_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Logged:
    """An accepted transaction: its place in the log, its leaf, and its blob if it has one."""

    index: int
    leaf: bytes
    transaction: Transaction
    accepted: Accepted


@dataclass(frozen=True, slots=True)
class BlockResult:
    """All that a block did. `verdicts` has one item a transaction, in order."""

    time_ms: TimeMs
    verdicts: tuple[int | RejectCode, ...]  # The entry's index, or why not.
    logged: tuple[Logged, ...]
    writes: tuple[Write, ...]
    frontier: Frontier
    app_hash: bytes


class Ledger:
    """State and log of one node, in memory. One writer."""

    def __init__(
        self,
        chain: ChainId,
        state: State,
        frontier: Frontier,
        folds: frozenset[int] = FOLDS,
    ) -> None:
        """Raises: Unavailable, where the rules in force are not among `folds`."""
        require_fold(state, folds)
        if consortium(state).size != frontier.size:
            raise Broken("ledger.size", state=consortium(state).size, log=frontier.size)
        self.chain = chain
        self.state = state
        self.frontier = frontier
        self._folds = folds

    @classmethod
    def founded(cls, genesis: Genesis) -> "Ledger":
        """The ledger before its first entry. Raises: Malformed."""
        return cls(genesis.chain, found(genesis), Frontier())

    @classmethod
    def begun(
        cls, founding: Founding, leaves: Iterable[bytes] = (), folds: frozenset[int] = FOLDS
    ) -> "Ledger":
        """The same, of a genesis that may continue another log. Raises: as `past.begin`."""
        start = begin(founding, leaves, folds)
        return cls(founding.genesis.chain, start.state, start.frontier, folds)

    def check(self, raw: bytes, now: TimeMs) -> RejectCode | None:
        """Whether a transaction would be accepted as things stand. Promises nothing."""
        verdict = _judge(self.state, self.chain, raw, self.at_least(now), self._folds)
        return verdict if isinstance(verdict, RejectCode) else None

    def at_least(self, now: TimeMs) -> TimeMs:
        """Block time never runs backwards, whatever a proposer's clock says."""
        return TimeMs(max(now, consortium(self.state).time_ms))

    def foresee(self, transactions: Iterable[bytes], now: TimeMs) -> Iterator[RejectCode | None]:
        """What `finalize` would say to each transaction of a block; nothing changes."""
        for judged in self._judge_all(Draft(self.state), transactions, self.at_least(now)):
            yield judged if isinstance(judged, RejectCode) else None

    def finalize(self, transactions: Sequence[bytes], now: TimeMs) -> BlockResult:
        """Apply a block. The state is changed when this returns; persist the result or halt."""
        now = self.at_least(now)
        draft = Draft(self.state)
        verdicts: list[int | RejectCode] = []
        logged: list[Logged] = []
        for judged in self._judge_all(draft, transactions, now):
            if isinstance(judged, RejectCode):
                verdicts.append(judged)
                continue
            transaction, accepted = judged
            index = self.frontier.size + len(logged)
            leaf = Entry(now, transaction.envelope).encode()
            logged.append(Logged(index, leaf, transaction, accepted))
            verdicts.append(index)
        writes = draft.writes()
        self.state.commit(writes)
        self.frontier = self.frontier.extend([leaf_hash(item.leaf) for item in logged])
        return BlockResult(
            now, tuple(verdicts), tuple(logged), writes, self.frontier, self.app_hash()
        )

    def _judge_all(
        self, draft: Draft, transactions: Iterable[bytes], now: TimeMs
    ) -> Iterator[tuple[Transaction, Accepted] | RejectCode]:
        """Judge in order, each against what those before it left in the draft."""
        used: Counter[MemberId] = Counter()
        for raw in transactions:
            judged = _judge(draft, self.chain, raw, now, self._folds, used)
            if not isinstance(judged, RejectCode):
                for write in judged[1].writes:
                    draft.absorb(write)
            yield judged

    def app_hash(self) -> bytes:
        """What consensus agrees on. The height is not in it, or empty blocks would never stop."""
        size = self.frontier.size.to_bytes(8, "big")
        return labelled_sha256("app", size, self.frontier.root(), self.state.digest())


def _judge(
    state: Reader,
    chain: ChainId,
    raw: bytes,
    now: TimeMs,
    folds: frozenset[int],
    used: Counter[MemberId] | None = None,
) -> tuple[Transaction, Accepted] | RejectCode:
    """One transaction against the state and its author's share of the block."""
    try:
        transaction = parse_transaction(raw)
    except Malformed:
        return RejectCode.MALFORMED
    code = check_blob(transaction)
    if code is not None:
        return code
    accepted = apply(state, chain, transaction.envelope, now, folds)
    if isinstance(accepted, RejectCode):
        return accepted
    if used is not None:
        member = accepted.body.header.member
        if used[member] + len(raw) > MEMBER_BLOCK_BYTES_MAX:
            return RejectCode.OVER_QUOTA
        used[member] += len(raw)
    return transaction, accepted
