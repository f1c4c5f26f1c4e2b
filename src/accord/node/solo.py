"""The solo engine: one process orders statements, all agencies' cosigners sign beside it.

For trying Accord, for tests, for simulation: its chain id begins with `trial-`, because one
process that orders for everybody is nobody's consortium.
Invariants: an index is answered after its block is durable and its head has its quorum; one
block at a time; a member waits in its own line, so a flood delays its sender first.
After a write that failed nothing more is taken in; a restart reads what is stored and goes on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from accord.ledger.block import BlockResult, Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.state import AGENCIES_TABLE, KEYS, State
from accord.ledger.views import policy_of
from accord.node.cosigning import Cosigned, Cosigning
from accord.node.engine import Head, Verdict
from accord.node.store import LogReader, Store
from accord.statements.envelope import Envelope, parse_envelope, parse_transaction
from accord.tlog.checkpoint import Checkpoint
from accord.tlog.policy import parse_policy
from accord.wire.errors import AccordError, Malformed, Unavailable
from accord.wire.ids import TRIAL_PREFIX, ChainId, MemberId, TimeMs
from accord.wire.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_TRANSACTIONS_MAX,
    COSIGN_AGAIN_MS,
    MEMBER_BLOCK_BYTES_MAX,
    MEMBER_QUEUE_BYTES_MAX,
    MEMBER_QUEUE_MAX,
    SUBMIT_QUEUE_BYTES_MAX,
)

POLICY_TABLES = frozenset({AGENCIES_TABLE.name, KEYS.name})
QUORUM_RETRY_S = 1.0  # A cosigner's disk that is full is asked again this often.

Clock = Callable[[], TimeMs]
T = TypeVar("T")
diagnostics = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A transaction between submission and answer."""

    raw: bytes
    envelope: Envelope
    answer: "asyncio.Future[Verdict]"


@dataclass(slots=True)
class _Lines:
    """Transactions that wait, one line a member; blocks are cut round robin."""

    by_member: dict[MemberId, deque[_Waiting]] = field(default_factory=dict)
    total_bytes: int = 0

    def add(self, item: _Waiting) -> None:
        """Raises: Unavailable, where the line or the house is full."""
        line = self.by_member.get(item.envelope.body.header.member, deque())
        size = sum(len(other.raw) for other in line) + len(item.raw)
        if len(line) >= MEMBER_QUEUE_MAX or size > MEMBER_QUEUE_BYTES_MAX:
            raise Unavailable("node.member_busy", waiting=len(line))
        if self.total_bytes + len(item.raw) > SUBMIT_QUEUE_BYTES_MAX:
            raise Unavailable("node.busy", bytes=self.total_bytes)
        line.append(item)
        self.by_member[item.envelope.body.header.member] = line
        self.total_bytes += len(item.raw)

    def cut(self) -> list[_Waiting]:
        """The next block: in turn one of each member, each up to its share, in its own order."""
        block: list[_Waiting] = []
        room = BLOCK_BYTES_MAX
        used = dict.fromkeys(self.by_member, 0)
        turn = deque(sorted(self.by_member))
        while turn and len(block) < BLOCK_TRANSACTIONS_MAX:
            member = turn.popleft()
            line = self.by_member[member]
            size = len(line[0].raw)
            if used[member] + size > MEMBER_BLOCK_BYTES_MAX or size > room:
                continue  # The rest of this line waits for the next block.
            block.append(line.popleft())
            used[member] += size
            room -= size
            if line:
                turn.append(member)
            else:
                del self.by_member[member]
        self.total_bytes -= sum(len(item.raw) for item in block)
        return block

    def count(self) -> int:
        return sum(len(line) for line in self.by_member.values())


class SoloEngine:
    """The sequencer; see `accord.node.engine.Engine`. Run `run` as the one task that writes."""

    def __init__(self, ledger: Ledger, store: Store, cosigning: Cosigning, clock: Clock) -> None:
        if not ledger.chain.startswith(TRIAL_PREFIX):
            raise Malformed("node.not_a_trial", chain=ledger.chain, wanted=f"{TRIAL_PREFIX}...")
        self._ledger = ledger
        self._store = store
        self._reader: LogReader = store.reader()
        self._cosigning = cosigning
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="node-writer")
        self._lines = _Lines()
        self._flying: dict[bytes, _Waiting] = {}
        self._policy = policy_of(ledger.state, ledger.chain)
        self._head: Head | None = None
        self._work = asyncio.Event()
        self._moved = asyncio.Event()
        self._stopping = False
        self._halted = False
        self._quorum = False
        self._blocks = 0
        self._rejected = 0

    @property
    def chain(self) -> ChainId:
        return self._ledger.chain

    @property
    def state(self) -> State:
        return self._ledger.state

    @property
    def head(self) -> Head | None:
        return self._head

    def gauges(self) -> dict[str, float]:
        return {
            "accord_node_log_size": self._ledger.frontier.size,
            "accord_node_queue_transactions": self._lines.count(),
            "accord_node_queue_bytes": self._lines.total_bytes,
            "accord_node_blocks_total": self._blocks,
            "accord_node_rejected_total": self._rejected,
            "accord_node_halted": int(self._halted),
            "accord_node_quorum": int(self._quorum),
        }

    async def submit(self, raw: bytes) -> Verdict:
        envelope = parse_envelope(parse_transaction(raw).envelope)
        self._check_running()
        flying = self._flying.get(envelope.digest)
        if flying is not None and flying.raw == raw:
            return await asyncio.shield(flying.answer)
        known = self._reader.find(envelope.raw, envelope.digest)
        if known is not None:
            head = await self.wait_beyond(known, 2 * QUORUM_RETRY_S)
            if head is None or known >= head.size:
                raise Unavailable("node.no_quorum")  # Durable, but nobody has signed it yet.
            return known
        code = self._ledger.check(raw, self._clock())
        if code is not None:
            self._rejected += 1
            return code
        item = _Waiting(raw, envelope, asyncio.get_running_loop().create_future())
        self._lines.add(item)
        self._flying[envelope.digest] = item
        self._work.set()
        # A caller that goes away does not take its statement back.
        return await asyncio.shield(item.answer)

    async def wait_beyond(self, size: int, wait_s: float) -> Head | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while not self._stopping and (self._head is None or self._head.size <= size):
            left = until - loop.time()
            if left <= 0:
                break
            try:
                await asyncio.wait_for(self._moved.wait(), left)
            except TimeoutError:
                break
        return self._head

    def stop(self) -> None:
        """Finish the block at hand, answer those that wait with Unavailable, and return."""
        self._stopping = True
        self._work.set()
        self._moved.set()

    async def run(self) -> None:
        """Seal blocks until `stop`. Raises: Unavailable, when the store failed; Broken."""
        try:
            while not self._stopping:
                await self._step()
        except BaseException:  # Told on: whatever it is, nothing more is sealed.
            self._halted = True
            raise
        finally:
            self._stopping = True
            self._moved.set()
            for item in list(self._flying.values()):
                self._fail(item, Unavailable("node.stopping"))
            self._writer.shutdown()
            self._reader.close()

    async def _step(self) -> None:
        """Bring the head up to the log, then one block, or a signature to show that we live."""
        signed = self._head is not None and self._head.size == self._ledger.frontier.size
        if not signed and not await self._publish():
            for item in list(self._flying.values()):
                self._fail(item, Unavailable("node.no_quorum"))
            self._lines = _Lines()
            await asyncio.sleep(QUORUM_RETRY_S)
            return
        block = self._lines.cut()
        if block:
            await self._seal(block)
            return
        self._work.clear()
        if self._stopping:  # Said before the line above, and to be heard all the same.
            return
        if not await self._rest(COSIGN_AGAIN_MS / 1000):
            await self._publish()

    async def _rest(self, wait_s: float) -> bool:
        """Whether there is work before the time is over."""
        try:
            await asyncio.wait_for(self._work.wait(), wait_s)
        except TimeoutError:
            return False
        return True

    async def _seal(self, block: list[_Waiting]) -> None:
        """Order, persist, sign, answer: in this order and no other."""
        before = self._policy
        result = self._ledger.finalize([item.raw for item in block], self._clock())
        if any(write.table in POLICY_TABLES for write in result.writes):
            self._policy = policy_of(self._ledger.state, self._ledger.chain)
        changed = None if self._policy == before else before.encode()
        # Crash up to here: nothing was promised and nothing is stored.
        try:
            await self._persist(result, changed)
        except Unavailable as err:
            for item in block:
                self._fail(item, err)
            raise
        # POINT OF NO RETURN. Crash from here: a restart finds the block and has it signed; who
        # asks again gets the index.
        signed = not result.logged or await self._publish()
        for item, verdict in zip(block, result.verdicts, strict=True):
            if isinstance(verdict, RejectCode):
                self._rejected += 1
            elif not signed:
                self._fail(item, Unavailable("node.no_quorum"))
                continue
            self._answer(item, verdict)

    async def _persist(self, result: BlockResult, changed: bytes | None) -> None:
        if not result.logged:
            return  # A rejected statement changes nothing, the disk included.
        await self._write(lambda: self._store.commit(result, changed))
        self._blocks += 1

    async def _publish(self) -> bool:
        """Have the log's head signed and kept; whether a quorum did."""
        checkpoint = Checkpoint(
            self.chain, self._ledger.frontier.size, self._ledger.frontier.root()
        )
        now_s = self._clock() // 1000
        try:
            cosigned = await self._write(lambda: self._sign(checkpoint, now_s))
        except Unavailable as err:
            if err.code != "node.no_quorum":
                raise
            diagnostics.error("no quorum for the head: %s", err)
            self._quorum = False
            return False
        self._quorum = True
        self._head = Head(checkpoint.size, cosigned.note, self._policy.encode(), now_s)
        self._moved.set()
        self._moved = asyncio.Event()
        return True

    def _sign(self, checkpoint: Checkpoint, now_s: int) -> Cosigned:
        """Runs on the writer's thread. A head at which the policy changed needs both quorums."""
        asked = required = [self._policy]
        change = self._store.transition(checkpoint.size)
        if change is not None:
            before, note = change
            asked = [parse_policy(before), self._policy]
            required = asked if note is None else required
        cosigned = self._cosigning.cosign(checkpoint, required, asked, now_s)
        self._store.publish(checkpoint.size, cosigned.note, cosigned.signers)
        return cosigned

    async def _write(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _check_running(self) -> None:
        if self._stopping:
            raise Unavailable("node.halted" if self._halted else "node.stopping")

    def _answer(self, item: _Waiting, verdict: Verdict) -> None:
        self._flying.pop(item.envelope.digest, None)
        if not item.answer.done():
            item.answer.set_result(verdict)

    def _fail(self, item: _Waiting, err: AccordError) -> None:
        self._flying.pop(item.envelope.digest, None)
        if not item.answer.done():
            item.answer.set_exception(err)
            item.answer.exception()  # Read here, for the caller may be gone.
