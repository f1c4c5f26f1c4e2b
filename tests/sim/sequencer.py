"""The consensus engine, modelled by what it promises and by nothing else.

Promised: one sequence of blocks. The validators take turns to propose; a block counts if more
than two thirds of them accept it and have the application state that it builds on. Each node gets
every block, in order, sooner or later, and again from the last one it committed if its process
died. Not modelled: how that is agreed on.
What it asks of the application goes through the real ABCI server, as bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.node.abci_app import App, chain_for_engine
from accord.node.abci_proto import ACCEPT, Request, Response
from accord.node.abci_server import AbciServer
from accord.node.comet_process import EngineProcess, EngineRpc
from accord.node.store import Misbehaviour
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Unavailable
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX
from consortium_kit import CHAIN

if TYPE_CHECKING:
    from sim.world import World

ROUND_S = 1.2  # The longest between two rounds.
ROUND_LOST_S = 3.0  # What a round without a decision costs.
HEARTBEAT_S = 30.0
ANSWER_S = 5.0  # How long the engine waits for an application.
LOOK_S = 0.4  # The longest until a node's engine notices the next block.


class EngineDied(Exception):
    """The engine's process ended; the node's did not."""


@dataclass(frozen=True, slots=True)
class Block:
    """A decided block, and whose engines had it when it was."""

    height: int
    time_ms: TimeMs
    raws: tuple[bytes, ...]
    app_hash: bytes  # Of the state that it builds on.
    voters: tuple[str, ...]
    evidence: tuple[Misbehaviour, ...] = ()


class Door(AbciServer):
    """The application's server, asked without a socket."""

    def __init__(
        self,
        app: Callable[[], App],
        commit: Callable[[], Awaitable[None]],
        halt: Callable[[BaseException], None],
    ) -> None:
        super().__init__(app, commit, lambda _: True, halt)

    async def start(self, path: Path) -> None:
        del path

    async def close(self) -> None:
        return

    async def ask(self, kind: str, time_ms: int = 0, **fields: object) -> Any:  # noqa: ANN401 - protobuf.
        """One request, as bytes, and its answer. What goes wrong halts the node, as there."""
        request = Request()
        message = getattr(request, kind)
        message.SetInParent()
        if time_ms:
            message.time.seconds, message.time.nanos = time_ms // 1000, time_ms % 1000 * 1_000_000
        evidence = fields.pop("misbehavior", ())
        for name, value in fields.items():
            if isinstance(value, tuple):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        if isinstance(evidence, tuple):
            for seen in evidence:
                item = message.misbehavior.add(type=1, height=seen.height)
                item.validator.address = seen.address
                item.time.seconds = seen.time_ms // 1000
        try:
            raw = await self._answer(request.SerializeToString())
        except asyncio.CancelledError:
            raise
        except BaseException as err:
            self._halt(err)
            raise EngineDied from err
        while raw[0] & 0x80:  # The length.
            raw = raw[1:]
        return getattr(Response.FromString(raw[1:]), kind)


class Process(EngineProcess):
    """One node's engine: follows the chain, votes, keeps a mempool."""

    def __init__(self, world: "World", name: MemberId) -> None:
        self.world = world
        self.name = name
        self.starts = 0
        self.height = 0
        self.app_hash = b""
        self.is_running = False
        self.is_catching_up = True
        self.dies_at: str | None = None  # It dies before it asks this.
        self.mempool: list[bytes] = []
        self._cache: set[bytes] = set()
        self._stopped = asyncio.Event()
        self.door: Door

    async def run(self, before_start: Callable[[], Any]) -> None:
        while not self._stopped.is_set():
            await before_start()
            self.starts += 1
            life = asyncio.ensure_future(self._live())
            stopped = asyncio.ensure_future(self._stopped.wait())
            try:
                await asyncio.wait((life, stopped), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.is_running, self.is_catching_up = False, True
                stopped.cancel()
                life.cancel()
                ended = (await asyncio.gather(life, return_exceptions=True))[0]
            if isinstance(ended, Exception) and not isinstance(ended, EngineDied):
                raise ended
            await asyncio.sleep(self.world.rng.random())

    async def stop(self) -> None:
        self._stopped.set()

    async def _live(self) -> None:
        self.mempool, self._cache = [], set()
        info = await self._ask("info")
        self.height, self.app_hash = info.last_block_height, info.last_block_app_hash
        if self.height == 0:
            first = await self._ask("init_chain", chain_id=chain_for_engine(CHAIN))
            self.app_hash = first.app_hash
        self.is_running = True
        while True:
            await asyncio.sleep(self.world.rng.random() * LOOK_S)
            block = self.world.chain.fetch(self.name, self.height + 1)
            if block is not None:
                await self._apply(block)
            elif self.is_catching_up:
                self.is_catching_up = not self.world.chain.is_level(self.name, self.height)

    async def _apply(self, block: Block) -> None:
        if self.app_hash != block.app_hash:
            raise Broken("comet.consensus_failure", log="engine.log")
        done = await self._ask(
            "finalize_block",
            block.time_ms,
            txs=block.raws,
            height=block.height,
            misbehavior=block.evidence,
        )
        await asyncio.sleep(self.world.rng.random() * 0.02)
        await self._ask("commit")
        # From here on the engine may forget the block.
        self.height, self.app_hash = block.height, done.app_hash
        updates = [(item.pub_key.ed25519, item.power) for item in done.validator_updates]
        self.world.oracle.see_commit(self.name, block.height, done.app_hash, updates)
        waiting = [raw for raw in self.mempool if raw not in block.raws]
        self._cache.update(block.raws)
        self.mempool = []
        for raw in waiting:
            await self._admit(raw, again=True)

    async def _ask(self, kind: str, time_ms: int = 0, **fields: object) -> Any:  # noqa: ANN401 - protobuf.
        if self.dies_at == kind:
            self.dies_at = None
            self.world.count("engine died")
            raise EngineDied
        return await self.door.ask(kind, time_ms, **fields)

    async def _admit(self, raw: bytes, *, again: bool = False) -> int:
        """Into the mempool, if the application would have it: its code."""
        answer = await self.door.ask("check_tx", tx=raw, type=int(again))
        if answer.code == 0:
            self.mempool.append(raw)
            self._cache.add(raw)
        else:
            self._cache.discard(raw)
        return int(answer.code)

    async def receive(self, raw: bytes) -> int:
        """A transaction from a peer or from our own node. Raises: Unavailable."""
        if not self.is_running:
            raise Unavailable("comet.no_answer", method="broadcast_tx_sync", why="stopped")
        if raw in self._cache:
            return 0
        self._cache.add(raw)
        return await self._admit(raw)

    async def vote(self, block: Block) -> bool:
        if not self.is_running or (self.height, self.app_hash) != (
            block.height - 1,
            block.app_hash,
        ):
            return False
        answer = await self.door.ask("process_proposal", block.time_ms, txs=block.raws)
        return bool(answer.result == ACCEPT)


class Rpc(EngineRpc):
    """The engine's RPC, without its socket."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def close(self) -> None:
        return

    async def broadcast(self, raw: bytes) -> int:
        process = self._process
        await asyncio.sleep(process.world.rng.random() * 0.02)
        try:
            code = await process.receive(raw)
        except EngineDied as err:
            raise Unavailable("comet.no_answer", method="broadcast_tx_sync", why="gone") from err
        if code == 0:
            process.world.chain.gossip(process.name, raw)
        return code

    async def is_catching_up(self) -> bool:
        if not self._process.is_running:
            raise Unavailable("comet.no_answer", method="status", why="stopped")
        return self._process.is_catching_up

    async def count_peers(self) -> int:
        return len(self._process.world.nodes) - 1


class Chain:
    """What everybody agrees on, and the rounds that extend it."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.blocks: list[Block] = []
        self._round = 0
        self._decided_s = 0.0

    @property
    def height(self) -> int:
        return len(self.blocks)

    def decide(self, block: Block) -> None:
        self.blocks.append(block)
        self._decided_s = self.world.loop.now_s
        self.world.oracle.see_decision(block)

    def fetch(self, name: str, height: int) -> Block | None:
        """The block of this height, if somebody within reach has it."""
        if height > self.height:
            return None
        block, network = self.blocks[height - 1], self.world.network
        for process in self.world.processes():
            has = process.height >= height or process.name in block.voters
            if has and network.is_open(name, process.name):
                return block
        return None

    def is_level(self, name: str, height: int) -> bool:
        """Whether nobody within reach has more, and somebody is."""
        others = [
            process.height
            for process in self.world.processes()
            if process.name != name and self.world.network.is_open(name, process.name)
        ]
        return bool(others) and height >= max(others)

    def gossip(self, name: str, raw: bytes) -> None:
        """To every other mempool, as far as messages get through."""
        for process in self.world.processes():
            if process.name != name and self.world.network.passes(name, process.name):
                self.world.spawn(self._hand_over(process, raw))

    async def _hand_over(self, process: Process, raw: bytes) -> None:
        await self.world.network.delay()
        try:
            await asyncio.wait_for(process.receive(raw), ANSWER_S)
        except (Unavailable, EngineDied, TimeoutError):
            return

    async def run(self) -> None:
        rng = self.world.rng
        while True:
            await asyncio.sleep(rng.random() * ROUND_S)
            self._round += 1
            try:
                decided = await asyncio.wait_for(self._one_round(), 2 * ANSWER_S)
            except (EngineDied, TimeoutError):
                decided = False
            if not decided:
                await asyncio.sleep(rng.random() * ROUND_LOST_S)

    async def _one_round(self) -> bool:
        """Whether there was nothing to decide, or it was decided."""
        world = self.world
        validators = world.oracle.validators_at(self.height + 1)
        proposer = validators[self._round % len(validators)]
        liar = world.liars.get(proposer)
        if liar is not None:
            proposal = liar.propose(self.height + 1)
        else:
            proposal = await self._honest_proposal(proposer)
        if proposal is None:
            return liar is None and world.process_of(proposer) is not None
        votes = await asyncio.gather(*(self._vote(proposer, name, proposal) for name in validators))
        voters = tuple(name for name, yes in zip(validators, votes, strict=True) if yes)
        if 3 * len(voters) <= 2 * len(validators):
            world.count("refused block" if liar is not None else "lost round")
            return False
        self.decide(
            Block(
                proposal.height,
                proposal.time_ms,
                proposal.raws,
                proposal.app_hash,
                voters,
                proposal.evidence,
            )
        )
        self._round += 1
        return True

    async def _honest_proposal(self, proposer: MemberId) -> Block | None:
        """None where it is not there, lags, or has nothing to say."""
        process = self.world.process_of(proposer)
        if process is None or process.height != self.height:
            return None
        before = self.blocks[-1].app_hash if self.blocks else b""
        is_due = self.world.loop.now_s - self._decided_s >= HEARTBEAT_S
        if not process.mempool and process.app_hash == before and not is_due:
            return None
        time_ms = self.block_time()
        answer = await asyncio.wait_for(
            process.door.ask(
                "prepare_proposal",
                time_ms,
                max_tx_bytes=BLOCK_BYTES_MAX,
                txs=tuple(process.mempool),
                height=self.height + 1,
            ),
            ANSWER_S,
        )
        seen = tuple(item for liar in self.world.liars.values() for item in liar.confess())
        return Block(self.height + 1, time_ms, tuple(answer.txs), process.app_hash, (), seen)

    def block_time(self) -> TimeMs:
        """Of the next block: the median of the honest clocks, and never backwards."""
        clocks = sorted(node.clock() for node in self.world.nodes.values())
        last = self.blocks[-1].time_ms if self.blocks else 0
        return TimeMs(max(clocks[len(clocks) // 2], last + 1))

    async def _vote(self, proposer: MemberId, name: MemberId, block: Block) -> bool:
        world = self.world
        if name in world.liars:
            return world.rng.random() < 0.9
        process = world.process_of(name)
        if process is None or not world.network.passes(proposer, name):
            return False
        await world.network.delay()
        try:
            yes = await asyncio.wait_for(process.vote(block), ANSWER_S)
        except (EngineDied, TimeoutError):
            return False
        return yes and world.network.passes(name, proposer)


def address_of(public: bytes) -> bytes:
    return sha256(public)[:20]
