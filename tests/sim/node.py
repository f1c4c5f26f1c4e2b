"""An agency's node as it is deployed, but for the engine's process, the sockets and the clock: the
real engine driver, application, store, cosigner and gathering; lives, dies and starts again.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree
from typing import TYPE_CHECKING

from accord.client.home import Home, PrivateKey
from accord.ledger.block import BlockResult, Ledger
from accord.ledger.state import ONLY, PARAMETERS, Write
from accord.ledger.views import cosigner_key
from accord.node.abci_app import App
from accord.node.comet_engine import CometEngine
from accord.node.comet_files import Sockets
from accord.node.cosigning import STATE_FILE, Cosigning
from accord.node.engine import Verdict
from accord.node.peers import PeerNode, Place
from accord.node.store import LogReader, Store
from accord.statements.bodies import Role
from accord.tlog.cosigner import Cosigner
from accord.tlog.note import NoteKey
from accord.tlog.tiles import parse_tile_path
from accord.wire.errors import AccordError, Broken, Unavailable
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CHAIN
from sim.clock import Disk
from sim.faults import Crash, FaultyState, Power, connect
from sim.oracle import spied
from sim.sequencer import Door, Process, Rpc

if TYPE_CHECKING:
    from sim.world import World

RESTART_S = 8.0  # The longest until a node is started again.
STORE_FILE = "node.db"
BUGS = ("a bit of state", "a statement left out")
# What a node may halt with, once it is not what the others are, or its memory came from a backup.
HALTS = frozenset(
    {
        "comet.consensus_failure",
        "node.diverged",
        "store.app_hash",
        "store.state_row",
        "cosigner.state_older",
    }
)


class SimPeer(PeerNode):
    """Another agency's node over the simulated network."""

    def __init__(self, world: "World", caller: MemberId, name: MemberId) -> None:
        self.url = name
        self._world = world
        self._caller = caller
        self._at = Place()

    async def close(self) -> None:
        return

    async def _get(self, path: str, params: dict[str, int], limit: int) -> bytes:
        del limit
        member = self._world.member(self.url)
        return await self._world.network.call(
            self._caller, self.url, partial(member.serve, self._caller, path, params)
        )


class SimCosigning(Cosigning):
    """One agency's cosigner over a disk that fails."""

    def __init__(self, node: "SimNode", log: LogReader, power: Power) -> None:
        super().__init__(CHAIN, lambda: (node.home,), log)
        self._node = node
        self._power = power

    def _open(self) -> Mapping[NoteKey, tuple[Cosigner, PrivateKey]]:
        found: dict[NoteKey, tuple[Cosigner, PrivateKey]] = {}
        for private in self._node.home.keys:
            if private.role is not Role.COSIGNER:
                continue
            key = cosigner_key(CHAIN, self._node.name, private.public)
            if key not in self._local:
                signed = self._log.cosigned(private.public)
                state = FaultyState(self._node.state_file, CHAIN, signed, self._power)
                found[key] = (Cosigner(CHAIN, key, state), private)
        return found


class SimEngine(CometEngine):
    """The engine driver with a simulated engine's process and writer's thread."""

    def __init__(self, node: "SimNode", store: Store, power: Power) -> None:
        world = node.world
        process = Process(world, node.name)
        nowhere = Sockets(Path("application.sock"), Path("rpc.sock"))
        peers = [SimPeer(world, node.name, name) for name in world.peers_of(node.name)]
        cosigning = SimCosigning(node, store, power)
        super().__init__(store, cosigning, node.clock, process, nowhere, peers, lambda _: True)
        process.door = Door(lambda: self._app, self._commit, self._halt)
        self.process = process
        self._server = process.door
        self._rpc = Rpc(process)
        self._writer = Disk(world.rng, power)  # type: ignore[assignment]  # All it takes is work.

    @property
    def app(self) -> App:
        return self._app


class SimNode:
    """An agency's node, up or down. `log` is what its disk holds, read past the node itself."""

    def __init__(self, world: "World", name: MemberId) -> None:
        self.world = world
        self.name = name
        path = world.directory / name
        path.mkdir()
        keys = tuple(
            spied(key, world.oracle.hears(name)) if key.role is Role.COSIGNER else key
            for key in world.keys[name]
        )
        self.home = Home(path, CHAIN, name, "agency", (), world.founding, keys)
        self.state_file = path / STATE_FILE
        self.skew_ms = world.rng.randint(-1_500, 1_500)
        self.durable = 0
        self.is_faulty = False  # By a fault that no honest node has; nothing is promised of it.
        self.halted: Broken | None = None
        self.power = Power()
        self.power.cut()
        self.engine: SimEngine | None = None
        self.log: LogReader | None = None
        self.is_held_down = False
        self._bug: str | None = None

    @property
    def is_up(self) -> bool:
        return self.power.is_on and self.engine is not None

    def clock(self) -> TimeMs:
        return TimeMs(self.world.now_ms() + self.skew_ms)

    async def keep(self) -> None:
        """Start it whenever it is down, until it halts. Power comes back sooner or later."""
        rng = self.world.rng
        while self.halted is None:
            self.power = Power()
            life = asyncio.ensure_future(self._live(self.power))
            off = asyncio.ensure_future(self.power.off.wait())
            await asyncio.wait((life, off), return_when=asyncio.FIRST_COMPLETED)
            self.world.trace("down", self.name)
            self.power.cut()
            for task in (life, off):
                task.cancel()
            ended = (await asyncio.gather(life, off, return_exceptions=True))[0]
            self.engine = self.log = None
            self._judge_end(ended)
            await asyncio.sleep(rng.random() * RESTART_S)
            while self.is_held_down:
                await asyncio.sleep(1.0)

    def _judge_end(self, ended: object) -> None:
        if isinstance(ended, Broken):
            self.halted = ended
            self.world.count(f"halted: {ended.code}")
            expected = (self.is_faulty or self.world.is_beyond) and ended.code in HALTS
            self.world.oracle.must(expected, "an honest node halted", self.name, str(ended))
        elif isinstance(ended, Unavailable):
            self.world.count("disk failed")
        elif isinstance(ended, Exception):
            self.world.violate(f"a node died of {ended!r}", self.name)

    async def _live(self, power: Power) -> None:
        path = self.home.path / STORE_FILE
        store = None
        try:
            store = Store(path, self.home.founding, lambda where: connect(where, power))
            log = store.reader()
            engine = SimEngine(self, store, power)
            self.world.trace("up", self.name, store.height)
            self.log, self.engine = log, engine
            self.world.oracle.see_store(self.name, log)
            if self._bug is not None:
                _infect(engine.app, self._bug)
            await engine.run()
        except Crash:
            self.world.count("crash")
            power.cut()
        finally:
            for opened in (self.log, store):
                if opened is not None:
                    opened.close()

    # What others ask.

    async def submit(self, raw: bytes) -> Verdict:
        """As `POST /submit`. Raises: Malformed, Unavailable."""
        engine, power = self.engine, self.power
        if engine is None or not power.is_on:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        verdict = await engine.submit(raw)
        if not power.is_on:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        return verdict

    async def serve(self, caller: str, path: str, params: dict[str, int]) -> bytes:
        """As the public half of a node's API."""
        del caller
        engine, power = self.engine, self.power
        if path != "/cosignatures":
            return self.read(path)
        if engine is None or not power.is_on:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        place = Place(params["size"], params["time_s"])
        notes = await engine.signed.beyond(place, params["wait_ms"] / 1000)
        if not power.is_on:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        return json.dumps({"notes": [raw.decode() for raw in notes]}).encode()

    def read(self, path: str) -> bytes:
        """What is served at once. Raises: Unavailable."""
        if self.engine is None or self.log is None or not self.power.is_on:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        found: bytes | None = None
        match path.split("/", 2)[1:]:
            case ["checkpoint"]:
                found = None if self.engine.head is None else self.engine.head.note
            case ["transitions"]:
                found = json.dumps(self.log.transitions()).encode()
            case ["transition", size]:
                change = self.log.transition(int(size))
                found = None if change is None else change[1]
            case ["tile", _]:
                found = self.log.tile(parse_tile_path(path[1:]))
            case ["blob", digest]:
                found = self.log.blob(bytes.fromhex(digest))
        if found is None:
            raise Unavailable("peer.status", url=self.name, status=404)
        return found

    # What may happen to it.

    def add_key(self, key: PrivateKey) -> None:
        key = spied(key, self.world.oracle.hears(self.name))
        self.home = replace(self.home, keys=(*self.home.keys, key))

    def back_up(self) -> Path:
        """A copy of the whole home, as somebody makes who should not."""
        copy = self.world.directory / f"{self.name}.backup"
        rmtree(copy, ignore_errors=True)
        copytree(self.home.path, copy)
        return copy

    def restore(self, copy: Path) -> None:
        """The home as it was. Only while it is down."""
        rmtree(self.home.path)
        copytree(copy, self.home.path)

    def tamper(self) -> None:
        """Turn a bit of what it stored. Only while it is down."""
        database = sqlite3.connect(self.home.path / STORE_FILE, isolation_level=None)
        table, column = self.world.rng.choice(
            [("state", "row"), ("entries", "leaf"), ("nodes", "hash"), ("blobs", "bytes")]
        )
        rows = database.execute(f"SELECT {column} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        if rows:
            old = self.world.rng.choice(rows)[0]
            new = old[:-1] + bytes([old[-1] ^ 1])
            sql = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608
            database.execute(sql, (new, old))
        database.close()

    def fall_ill(self, bug: str) -> None:
        """From now on its software differs from the others'."""
        self._bug = bug
        if self.engine is not None:
            _infect(self.engine.app, bug)


def _infect(app: App, bug: str) -> None:
    ledger = app.ledger
    if bug == BUGS[0]:
        row = ledger.state.get(PARAMETERS, ONLY)
        assert row is not None
        other = replace(row, fold_version=row.fold_version + 1)
        ledger.state.commit((Write(PARAMETERS.name, ONLY, other),))
        return
    app.ledger = _Forgetful(ledger)


class _Forgetful(Ledger):
    """Leaves out the last statement of each block, and so logs something else than the others."""

    def __init__(self, honest: Ledger) -> None:
        super().__init__(honest.chain, honest.state, honest.frontier)

    def finalize(self, transactions: "list[bytes]", now: TimeMs) -> BlockResult:  # type: ignore[override]
        with suppress(AccordError):
            return super().finalize(transactions[:-1], now)
        raise Broken("sim.forgetful")
