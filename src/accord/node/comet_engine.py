"""The engine of a consortium: CometBFT orders, this node applies, agencies' cosigners sign.

One agency, one node, one CometBFT beside it. Statements go to its mempool; decided blocks come back
through the application socket and are persisted in Commit; heads are signed by our own cosigner
and gathered from the others' nodes.
Invariants: an index is answered after its block is durable and its head has its quorum; a block
is applied in memory before it is on disk, and thrown away with the engine's process if that dies
in between; whatever goes wrong in the application ends the node.
Source: docs/spec/consensus.md.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from accord.ledger.codes import RejectCode
from accord.ledger.state import State
from accord.node.abci_app import POOL_BUSY, App, Finalized
from accord.node.abci_server import AbciServer
from accord.node.comet_files import Sockets
from accord.node.comet_process import EngineProcess, EngineRpc
from accord.node.cosigning import Cosigning
from accord.node.engine import Head, Verdict
from accord.node.gathering import Ahead
from accord.node.heads import Heads
from accord.node.peers import PeerNode, Signed
from accord.node.restoring import Proven, Restoring
from accord.node.snapshots import retain_height
from accord.node.state_sync import Shelf, StateSync
from accord.node.store import LogReader, Store
from accord.statements.envelope import Envelope, parse_envelope, parse_transaction
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import (
    MEMBER_QUEUE_BYTES_MAX,
    MEMBER_QUEUE_MAX,
    STALL_MS_MAX,
    SUBMIT_QUEUE_BYTES_MAX,
    SUBMIT_WAIT_MS,
)

TICK_S: Final = 1.0  # Signs again what is due, stores late lines, asks the engine how it is.
CATCH_UP_LOOK_S: Final = 0.1  # How often a submission looks whether the engine has caught up.
CANCEL_AGAIN_S: Final = 0.1
AHEAD_WAIT_S: Final = 10.0  # How long a head beyond our log may wait for us to get there.
LAG_MS_MAX: Final = 15_000  # Statements without a block or a quorum for so long: trouble.

Clock = Callable[[], TimeMs]
T = TypeVar("T")
diagnostics = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A transaction between submission and answer."""

    raw: bytes
    envelope: Envelope
    answer: "asyncio.Future[Verdict]"
    since_ms: TimeMs
    entry: int | None = None

    @property
    def member(self) -> MemberId:
        return self.envelope.body.header.member


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept for joining nodes, and what this one may join by. Units: blocks, 0 for none of
    the snapshots and for all of the engine's blocks.
    """

    snapshot_blocks: int = 0
    keep_blocks: int = 0
    proven: Proven | None = None


@dataclass(slots=True)
class _Figures:
    """What operators see."""

    blocks: int = 0
    rejected: int = 0
    peers: int = 0
    is_catching_up: bool = True
    committed_ms: int = 0
    lagging_since_ms: int | None = None
    splits: int = 0


class CometEngine:
    """See `accord.node.engine.Engine`. Run `run` as the one task that drives everything."""

    def __init__(  # Each is a part that tests exchange.
        self,
        store: Store,
        cosigning: Cosigning,
        clock: Clock,
        process: EngineProcess,
        sockets: Sockets,
        peers: Sequence[PeerNode],
        is_peer: Callable[[str], bool],
    ) -> None:
        ledger = store.ledger()
        self._store = store
        self._reader: LogReader = store.reader()
        self._app = App(ledger, store.height, store.time_ms)
        self._cosigning = cosigning
        self._heads = Heads(ledger.chain, store, cosigning, ledger.state)
        self._clock = clock
        self._process = process
        self._sockets = sockets
        self._rpc = EngineRpc(sockets)
        self._peers = peers
        self._server = AbciServer(
            lambda: self._app, self._commit_and_prune, is_peer, self._halt, self._answer_snapshots
        )
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="node-writer")
        self._flying: dict[bytes, _Waiting] = {}
        self._decided: dict[int, _Waiting] = {}
        self._head = self._heads.stored(clock() // 1000)
        self._figures = _Figures(committed_ms=clock())
        self._moved = asyncio.Event()
        self._grown = asyncio.Event()
        self._sign = asyncio.Event()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self.signed = Signed()
        self.keep(Keeping())

    def keep(self, keeping: Keeping) -> None:
        """What is kept for joining nodes, and what this one may join by. Before `run`."""
        self._keeping = keeping
        self._shelf = Shelf(self._store, keeping.snapshot_blocks)
        proven = keeping.proven if self._store.is_fresh else None
        restoring = None if proven is None else Restoring(self._store, proven)
        self._sync = StateSync(self._shelf, restoring, self._write, self._begin_anew)

    @property
    def chain(self) -> ChainId:
        return self._app.ledger.chain

    @property
    def state(self) -> State:
        return self._app.ledger.state

    @property
    def _size(self) -> int:
        return self._app.ledger.frontier.size

    @property
    def head(self) -> Head | None:
        return self._head

    def gauges(self) -> dict[str, float]:
        now, seen = self._clock(), self._figures
        waits = [now - item.since_ms for item in self._flying.values()]
        if seen.lagging_since_ms is not None:
            waits.append(now - seen.lagging_since_ms)
        lag = max(waits, default=0)
        block_age = now - seen.committed_ms
        is_live = lag < LAG_MS_MAX and block_age < STALL_MS_MAX and not seen.is_catching_up
        return {
            "accord_node_log_size": self._size,
            "accord_node_height": self._app.height,
            "accord_node_block_age_seconds": block_age / 1000,
            "accord_node_queue_transactions": len(self._flying),
            "accord_node_queue_bytes": sum(len(item.raw) for item in self._flying.values()),
            "accord_node_blocks_total": seen.blocks,
            "accord_node_rejected_total": seen.rejected,
            "accord_node_peers": seen.peers,
            "accord_node_catching_up": int(seen.is_catching_up),
            "accord_node_engine_starts_total": self._process.starts,
            "accord_node_splits_total": seen.splits,
            "accord_node_halted": int(self._stop.is_set()),
            "accord_node_quorum": int(self._head is not None and is_live),
        }

    async def submit(self, raw: bytes) -> Verdict:
        envelope = parse_envelope(parse_transaction(raw).envelope)
        await self._until_ready()
        # From here to the registration nothing else runs, so no block comes in between.
        item = self._flying.get(envelope.digest)
        if item is None or item.raw != raw:
            known = self._reader.find(envelope.raw, envelope.digest)
            if known is not None:
                return await self._once_signed(known)
            if self._figures.is_catching_up:  # Its state is of the past: no verdict on it.
                raise Unavailable("node.catching_up")
            code = self._app.check(raw)
            if code is not None:
                self._figures.rejected += 1
                return code
            item = self._admit(raw, envelope)
            await self._broadcast(item)
        try:
            # A caller that goes away does not take its statement back.
            return await asyncio.wait_for(asyncio.shield(item.answer), SUBMIT_WAIT_MS / 1000)
        except TimeoutError as err:
            raise Unavailable("node.no_quorum") from err

    async def wait_beyond(self, size: int, wait_s: float) -> Head | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while not self._stop.is_set() and (self._head is None or self._head.size <= size):
            left = until - loop.time()
            if left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left)
        return self._head

    def stop(self) -> None:
        """End the engine's process, answer those that wait with Unavailable, and return."""
        self._stop.set()
        self._moved.set()
        self._grown.set()
        self.signed.wake()

    async def run(self) -> None:
        """Drive the node until `stop`. Raises: Unavailable, when the store or the engine failed;
        Broken.
        """
        await self._server.start(self._sockets.application)
        tasks = [
            asyncio.create_task(self._process.run(self._before_start)),
            asyncio.create_task(self._sign_heads()),
            asyncio.create_task(self._look_after()),
            *(asyncio.create_task(peer.watch(self._take)) for peer in self._peers),
        ]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._failure = self._failure or _failure_of(tasks)
            self.stop()
            await self._process.stop()  # While its application still answers: it ends cleanly.
            stopping.cancel()
            await end_tasks(tasks)
            await self._server.close()
            for item in [*self._flying.values(), *self._decided.values()]:
                self._fail(item, Unavailable("node.stopping"))
            for closing in (self._rpc.close(), *(peer.close() for peer in self._peers)):
                await closing
            self._writer.shutdown()
            self._reader.close()
        if self._failure is not None:
            raise self._failure

    # Consensus: what the engine decides.

    async def _before_start(self) -> None:
        """The engine's process is (again) about to start and will ask for the last block."""
        await self._server.hang_up()
        if self._app.is_between:
            # It died between FinalizeBlock and Commit, and hands the block over again.
            ledger = await self._write(self._store.ledger)
            self._app = App(ledger, self._store.height, self._store.time_ms)
        for item in list(self._flying.values()):
            self._fail(item, Unavailable("node.engine_restarted"))

    async def _begin_anew(self) -> None:
        """The store was emptied for a snapshot, or restored from one: answer from what it holds."""

        def load() -> tuple[App, Heads]:
            ledger = self._store.ledger()
            app = App(ledger, self._store.height, self._store.time_ms)
            return app, Heads(ledger.chain, self._store, self._cosigning, ledger.state)

        self._app, self._heads = await self._write(load)
        self._grow()
        self._sign.set()

    async def _answer_snapshots(self, kind: str, ask: Any, answer: Any) -> None:  # noqa: ANN401
        await self._sync.answer(kind, ask, answer)

    async def _commit_and_prune(self) -> int:
        """Commit; the answer is the block from which on the engine must keep all."""
        await self._commit()
        keeping = self._keeping
        return retain_height(self._app.height, keeping.keep_blocks, keeping.snapshot_blocks)

    async def snapshots(self) -> tuple[int, ...]:
        """The heights whose snapshots are offered, newest first."""
        return await self._write(self._shelf.heights)

    async def read_engine(self, method: str, params: dict[str, str]) -> dict[str, Any]:
        """What the engine answers to a read, its refusal too. Raises: Unavailable."""
        return await self._rpc.read(method, params)

    async def _commit(self) -> None:
        done = self._app.pending()
        now = self._clock()
        await self._write(lambda: self._persist(done))
        # POINT OF NO RETURN. The engine may forget the block once this returns.
        self._app.committed()
        self._figures.blocks += 1
        self._figures.committed_ms = now
        if done.result.logged and self._figures.lagging_since_ms is None:
            self._figures.lagging_since_ms = now
        self._settle(done)
        self._grow()
        self._sign.set()

    def _persist(self, done: Finalized) -> None:
        """On the writer's thread."""
        self._store.commit(done.result, done.policy_before, done.misbehaviour)
        if done.result.logged:
            size = done.result.frontier.size
            self._heads.grew(size, self._app.ledger.state, done.policy_before)

    def _settle(self, done: Finalized) -> None:
        """Match a block with those that wait for it."""
        for item in done.result.logged:
            waiting = self._flying.pop(item.accepted.envelope.digest, None)
            if waiting is not None:
                waiting.entry = item.index
                self._decided[item.index] = waiting
        if not done.transactions:
            return
        for waiting in list(self._flying.values()):
            code = self._app.check(waiting.raw)  # The engine has just dropped it for this, too.
            if code is not None:
                self._figures.rejected += 1
                self._answer(waiting, code)

    def _halt(self, err: BaseException) -> None:
        self._failure = self._failure or err
        self.stop()

    # Submissions.

    async def _until_ready(self) -> None:
        """Until the engine has caught up, or the patience of a submission is over; and until the
        state is not a block ahead of the disk. Raises: Unavailable.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + SUBMIT_WAIT_MS / 1000
        while self._figures.is_catching_up and loop.time() < until:
            self._check_running()
            await asyncio.sleep(CATCH_UP_LOOK_S)
        self._check_running()
        await self._until_committed()

    async def _until_committed(self) -> None:
        """Until the state is not a block ahead of the disk. Raises: Unavailable."""
        while self._app.is_between:
            await self._grown.wait()
            self._check_running()

    def _admit(self, raw: bytes, envelope: Envelope) -> _Waiting:
        """Raises: Unavailable, where the member or the house has too much waiting."""
        own = envelope.body.header.member
        line = [len(item.raw) for item in self._flying.values() if item.member == own]
        if len(line) >= MEMBER_QUEUE_MAX or sum(line) + len(raw) > MEMBER_QUEUE_BYTES_MAX:
            raise Unavailable("node.member_busy", waiting=len(line))
        total = sum(len(item.raw) for item in self._flying.values())
        if total + len(raw) > SUBMIT_QUEUE_BYTES_MAX:
            raise Unavailable("node.busy", bytes=total)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        item = _Waiting(raw, envelope, answer, self._clock())
        self._flying[envelope.digest] = item
        return item

    async def _broadcast(self, item: _Waiting) -> None:
        try:
            code = await self._rpc.broadcast(item.raw)
        except Unavailable as err:
            self._fail(item, err)
            return
        known = next((known for known in RejectCode if known.value == code), None)
        if code == POOL_BUSY:
            self._fail(item, Unavailable("node.member_busy"))
        elif code != 0 and known is None:
            self._fail(item, Unavailable("comet.answer", method="broadcast_tx_sync"))
        elif known is not None:
            # Judged by a block, perhaps, that is not on the disk yet and that holds this very one.
            await self._until_committed()
            if item.entry is None:
                self._figures.rejected += 1
                self._answer(item, known)

    async def _once_signed(self, entry: int) -> Verdict:
        head = await self.wait_beyond(entry, SUBMIT_WAIT_MS / 1000)
        if head is None or head.size <= entry:
            raise Unavailable("node.no_quorum")  # Durable, but no quorum has signed it yet.
        return entry

    def _check_running(self) -> None:
        if self._stop.is_set():
            raise Unavailable("node.stopping" if self._failure is None else "node.halted")

    def _answer(self, item: _Waiting, verdict: Verdict) -> None:
        self._forget(item)
        if not item.answer.done():
            item.answer.set_result(verdict)

    def _fail(self, item: _Waiting, err: AccordError) -> None:
        self._forget(item)
        if not item.answer.done():
            item.answer.set_exception(err)
            item.answer.exception()  # Read here, for the caller may be gone.

    def _forget(self, item: _Waiting) -> None:
        if self._flying.get(item.envelope.digest) is item:
            del self._flying[item.envelope.digest]
        if item.entry is not None:
            self._decided.pop(item.entry, None)

    # Heads: what agencies sign.

    async def _sign_heads(self) -> None:
        """Sign what is committed, in order, and store what gets its quorum."""
        loop = asyncio.get_running_loop()
        tick, is_recalled = loop.time(), False
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sign.wait(), TICK_S)
            self._sign.clear()
            if not is_recalled and not self._figures.is_catching_up:
                await self._recall()
                is_recalled = True
            while not self._figures.is_catching_up:
                raw = await self._write(lambda: self._heads.sign_next(self._seconds()))
                if raw is None:
                    break
                self.signed.add(raw)
                await self._publish()
            if loop.time() >= tick + TICK_S:
                tick = loop.time()
                await self._publish(improve=True)
                await self._pass_change()

    async def _take(self, source: str, raw: bytes) -> None:
        """A note from a peer. Raises: Malformed, Unproven, where the peer lies."""
        taken = await self._write(lambda: self._heads.take(raw))
        if isinstance(taken, Ahead):
            size = taken.size
            with suppress(TimeoutError):
                await asyncio.wait_for(self._until_size(size), AHEAD_WAIT_S)
            taken = await self._write(lambda: self._heads.take(raw))
        if isinstance(taken, Ahead):
            return
        if taken.splits:
            self._figures.splits += len(taken.splits)
            diagnostics.error("%s handed over a head that contradicts ours", source)
        if taken.size is not None:
            await self._publish()

    async def _publish(self, *, improve: bool = False) -> None:
        head = await self._write(lambda: self._heads.publish(self._seconds(), improve=improve))
        if head is None:
            return
        self._head = head
        self._figures.lagging_since_ms = None if head.size >= self._size else self._clock()
        self._moved.set()
        self._moved = asyncio.Event()
        for entry in sorted(entry for entry in self._decided if entry < head.size):
            self._answer(self._decided[entry], entry)

    async def _recall(self) -> None:
        """Before our first signature: do others hold one of ours that our disk knows nothing of?"""
        heads = await asyncio.gather(
            *(peer.fetch_checkpoint() for peer in self._peers), return_exceptions=True
        )
        for raw in heads:
            if isinstance(raw, bytes):
                with suppress(Malformed, Unproven):
                    await self._write(partial(self._heads.recall, raw))
            elif not isinstance(raw, Unavailable | Malformed):
                raise raw

    async def _pass_change(self) -> None:
        """Others may have the signed head of a policy change that we came to late."""
        size = self._heads.blocked_at()
        if size is None:
            return
        for peer in self._peers:
            with suppress(Unavailable, Malformed, Unproven):
                raw = await peer.fetch_checkpoint_at(size)
                await self._take(peer.url, raw)

    async def _look_after(self) -> None:
        """Ask the engine how it is."""
        while True:
            try:
                self._figures.is_catching_up = await self._rpc.is_catching_up()
                self._figures.peers = await self._rpc.count_peers()
            except Unavailable:
                self._figures.is_catching_up, self._figures.peers = True, 0
            await asyncio.sleep(TICK_S)

    async def _until_size(self, size: int) -> None:
        while not self._stop.is_set() and (self._app.is_between or self._size < size):
            await self._grown.wait()

    def _grow(self) -> None:
        self._grown.set()
        if not self._stop.is_set():
            self._grown = asyncio.Event()

    def _seconds(self) -> int:
        return self._clock() // 1000

    async def _write(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


async def end_tasks(tasks: "Sequence[asyncio.Task[None]]") -> None:
    """Cancel, and again until all have ended: Python 3.11's `wait_for` forgets that it was
    cancelled where its answer came at the same moment, and a node that halts would hang instead.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # What they ended with was looked at.


def _failure_of(tasks: "Sequence[asyncio.Task[None]]") -> BaseException | None:
    """What ended the first task that ended by itself."""
    for task in tasks:
        if task.done() and not task.cancelled():
            return task.exception() or Broken("node.task_ended")
    return None
