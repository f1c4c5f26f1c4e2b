"""The ledger as CometBFT sees it: propose, judge, order and commit blocks, as plain values.

Job: drive `ledger.block.Ledger` in the order that ABCI 2.0 prescribes.
Not here: sockets and protobuf (abci_server), disks (comet_engine), clocks, randomness, networks.
Invariants: what is answered depends on the block and on the state before it, and on nothing else;
a block that an honest node proposes is one that every honest node accepts; validators change only
as governance says, and never in a way that would stop the engine.
Source: docs/spec/consensus.md, ADR 0005.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from accord.ledger.block import BlockResult, Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.state import AGENCIES_TABLE, KEYS, Reader
from accord.ledger.views import policy_of, validators
from accord.node.store import Misbehaviour
from accord.statements.bodies import Role
from accord.statements.envelope import parse_envelope, parse_transaction
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Malformed
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_TRANSACTIONS_MAX,
    MEMBER_POOL_BYTES_MAX,
    MEMBER_POOL_MAX,
)

ADDRESS_BYTES: Final = 20  # The engine names a validator by so much of SHA-256 of its key.
TX_OVERHEAD_BYTES: Final = 8  # Tag and length of a transaction in a block, at most.
POOL_BUSY: Final = 1_000  # CheckTx alone says it: no verdict, only not now.
ENGINE_CHAIN_CHARS_MAX: Final = 50  # CometBFT, types.MaxChainIDLen.
POLICY_TABLES: Final = frozenset({AGENCIES_TABLE.name, KEYS.name})


@dataclass(frozen=True, slots=True)
class Update:
    """A consensus key that comes (power 1) or goes (power 0)."""

    public: bytes
    power: int


@dataclass(frozen=True, slots=True)
class Finalized:
    """A decided block, applied in memory; the next step is to persist it."""

    height: int
    transactions: tuple[bytes, ...]
    result: BlockResult
    updates: tuple[Update, ...]
    policy_before: bytes | None  # Where the block changed who must cosign.
    misbehaviour: tuple[Misbehaviour, ...]


class App:
    """One node's application. One caller at a time."""

    def __init__(self, ledger: Ledger, height: int, time_ms: TimeMs) -> None:
        self.ledger = ledger
        self.height = height  # Of the last block that was committed.
        self.time_ms = time_ms  # Its time.
        self._app_hash = ledger.app_hash()
        self._pending: Finalized | None = None
        self._pool: dict[MemberId, tuple[int, int]] = {}  # Kept for each: how many, their bytes.

    @property
    def is_between(self) -> bool:
        """A block was applied and not committed: memory is ahead of the disk."""
        return self._pending is not None

    def info(self) -> tuple[int, bytes]:
        """The height and app hash of the last committed block."""
        return self.height, self._app_hash

    def init_chain(self, chain: str) -> tuple[tuple[Update, ...], bytes]:
        """The first validators and the first app hash. Raises: Broken, for another chain."""
        if chain != chain_for_engine(self.ledger.chain) or self.height != 0:
            raise Broken("node.chain", got=chain, height=self.height)
        first = validators(self.ledger.state)
        return _updates({}, first), self._app_hash

    def check(self, raw: bytes) -> RejectCode | None:
        """Whether to keep a transaction for a block to come, as of the last block's time."""
        return self.ledger.check(raw, self.time_ms)

    def admit(self, raw: bytes, *, again: bool) -> int:
        """Whether the engine's pool is to keep a transaction: 0, the reject code, or `POOL_BUSY`
        where its member has its share there. `again`: it is there, and a block came since.

        Who signs good statements by the thousand fills its own share, and nobody else's.
        """
        member = _member_of(raw)
        if member is None:
            return RejectCode.MALFORMED.value
        count, size = self._pool.get(member, (0, 0))
        is_full = count >= MEMBER_POOL_MAX or size + len(raw) > MEMBER_POOL_BYTES_MAX
        if is_full and not again:
            return POOL_BUSY  # Before the dear part; only what proves to be a member's own counts.
        code = self.check(raw)
        if code is not None:
            return code.value
        self._pool[member] = (count + 1, size + len(raw))
        return 0

    def prepare(self, candidates: Sequence[bytes], now: TimeMs, room_bytes: int) -> list[bytes]:
        """Of the candidates those that the block can carry and the rules accept: one of each
        member in turn, each member's in their order.
        """
        room = min(room_bytes, BLOCK_BYTES_MAX)
        fitting: list[bytes] = []
        for raw in _in_turn(candidates):
            if len(raw) + TX_OVERHEAD_BYTES <= room and len(fitting) < BLOCK_TRANSACTIONS_MAX:
                fitting.append(raw)
                room -= len(raw) + TX_OVERHEAD_BYTES
        verdicts = self.ledger.foresee(fitting, now)
        return [raw for raw, code in zip(fitting, verdicts, strict=True) if code is None]

    def process(self, transactions: Sequence[bytes], now: TimeMs) -> RejectCode | None:
        """Why a proposed block is refused: the first thing in it that the rules do not accept.

        Every honest proposer asked the same rules over the same state, so a block with a malformed
        statement, a foreign blob, a replay or more than a member's share comes from a liar.
        """
        size = sum(len(raw) + TX_OVERHEAD_BYTES for raw in transactions)
        if size > BLOCK_BYTES_MAX or len(transactions) > BLOCK_TRANSACTIONS_MAX:
            return RejectCode.OVER_QUOTA
        for code in self.ledger.foresee(transactions, now):
            if code is not None:
                return code
        return None

    def finalize(
        self,
        height: int,
        transactions: Sequence[bytes],
        now: TimeMs,
        misbehaviour: Sequence[Misbehaviour] = (),
    ) -> Finalized:
        """Apply a decided block. Raises: Broken, for one that is not the next."""
        if self._pending is not None or height != self.height + 1:
            raise Broken("node.block_order", have=self.height, got=height)
        ledger = self.ledger
        keys, policy = validators(ledger.state), policy_of(ledger.state, ledger.chain)
        result = ledger.finalize(transactions, now)
        changed = False
        if any(write.table in POLICY_TABLES for write in result.writes):
            changed = policy_of(ledger.state, ledger.chain) != policy
        self._pending = Finalized(
            height=height,
            transactions=tuple(transactions),
            result=result,
            updates=_updates(keys, validators(ledger.state)),
            policy_before=policy.encode() if changed else None,
            misbehaviour=tuple(misbehaviour),
        )
        return self._pending

    def pending(self) -> Finalized:
        """The block to persist. Raises: Broken, where none was finalized."""
        if self._pending is None:
            raise Broken("node.block_order", have=self.height, got=0)
        return self._pending

    def committed(self) -> None:
        """Its block is durable: answer from it."""
        done = self.pending()
        self.height, self.time_ms = done.height, done.result.time_ms
        self._app_hash = done.result.app_hash
        self._pending = None
        self._pool.clear()  # The engine asks again about all that it still has.


def _in_turn(raws: Sequence[bytes]) -> list[bytes]:
    """The first of each member, then the second of each; what does not parse goes."""
    lines: dict[MemberId, list[bytes]] = {}
    for raw in raws:
        member = _member_of(raw)
        if member is not None:
            lines.setdefault(member, []).append(raw)
    turns = zip_longest(*lines.values())
    return [raw for turn in turns for raw in turn if raw is not None]


def _member_of(raw: bytes) -> MemberId | None:
    """Whose statement it says it is; None where it is none."""
    try:
        return parse_envelope(parse_transaction(raw).envelope).body.header.member
    except Malformed:
        return None


def _updates(old: dict[MemberId, bytes], new: dict[MemberId, bytes]) -> tuple[Update, ...]:
    """What takes the engine from one set of validators to the other: first who goes.

    Raises: Broken, for a change that would stop every node: a key twice, or nobody left.
    """
    before, after = set(old.values()), set(new.values())
    if not after or len(after) != len(new) or len(before) != len(old):
        raise Broken("node.validators", before=len(old), after=len(new))
    gone = [Update(key, 0) for key in sorted(before - after)]
    return (*gone, *(Update(key, 1) for key in sorted(after - before)))


def address_of(public: bytes) -> bytes:
    """How the engine names the holder of a consensus key."""
    return sha256(public)[:ADDRESS_BYTES]


def holder_of(state: Reader, address: bytes) -> MemberId | None:
    """The agency whose consensus key, past or present, has this address."""
    for _, row in state.rows(KEYS):
        if row.role is Role.CONSENSUS and address_of(row.public) == address:
            return row.member
    return None


def chain_for_engine(chain: ChainId) -> str:
    """The engine's own chain id, where ours is too long for it a digest of ours."""
    if len(chain) <= ENGINE_CHAIN_CHARS_MAX:
        return chain
    return sha256(chain.encode()).hex()[:ENGINE_CHAIN_CHARS_MAX]
