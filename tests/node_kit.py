"""A solo node for tests, real down to the socket and the file; statements by the test consortium.

`Mirrored` submits every block to the node too, one transaction at a time and at the same block
time, so that the node's log and the consortium's must be the same bytes.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import uvicorn

from accord.agency.founding import AGENCY_STAFF
from accord.client.home import GENESIS_FILE, Home, PrivateKey, create_home
from accord.client.http import NodeClient
from accord.ledger.block import BlockResult
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import encode_genesis
from accord.node.api import Node, make_app
from accord.node.auth import Gate
from accord.node.cosigning import Cosigning, homes_beside
from accord.node.process import listen
from accord.node.settings import STORE_FILE
from accord.node.solo import SoloEngine
from accord.node.store import Connect, Store, connect_sqlite
from accord.statements.bodies import Role
from accord.wire.errors import Broken, Rejected
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CHAIN, Consortium, keys_for

T = TypeVar("T")


def make_homes(directory: Path, consortium: Consortium) -> dict[MemberId, Home]:
    """The agencies' homes and `directory/node`, with the keys that the consortium signs with."""
    genesis = encode_genesis(consortium.founding.genesis)
    (directory / "node").mkdir(parents=True)
    (directory / "node" / GENESIS_FILE).write_bytes(genesis)
    return {
        member: create_home(directory / member, "agency", member, genesis, [], keys)
        for member, keys in consortium.keys.items()
    }


def add_home(directory: Path, consortium: Consortium, member: str) -> Home:
    genesis = encode_genesis(consortium.founding.genesis)
    keys = keys_for(member, AGENCY_STAFF)
    return create_home(directory / member, "agency", MemberId(member), genesis, [], keys)


def open_store(directory: Path, consortium: Consortium, connect: Connect = connect_sqlite) -> Store:
    return Store(directory / "node" / STORE_FILE, consortium.founding, connect)


def engine_over(directory: Path, store: Store, clock: Callable[[], TimeMs]) -> SoloEngine:
    cosigning = Cosigning(CHAIN, lambda: homes_beside(directory / "node", CHAIN), store)
    return SoloEngine(store.ledger(), store, cosigning, clock)


def with_engine(
    directory: Path,
    consortium: Consortium,
    work: Callable[[SoloEngine], Awaitable[T]],
    connect: Connect = connect_sqlite,
) -> T:
    """What `work` gives over an engine that runs for as long as it takes; raises what ended it."""

    async def main() -> T:
        store = open_store(directory, consortium, connect)
        engine = engine_over(directory, store, lambda: consortium.now)
        running = asyncio.create_task(engine.run())
        try:
            return await work(engine)
        finally:
            engine.stop()
            await asyncio.wait([running])
            store.close()
            if running.exception() is not None and not running.cancelled():
                raise running.exception() or AssertionError

    return asyncio.run(main())


class NodeThread:
    """The whole node on a free port of loopback, in a thread of its own."""

    def __init__(self, directory: Path, consortium: Consortium) -> None:
        self.directory = directory
        self.consortium = consortium
        self.skew_s = 0
        self.broken: list[Broken] = []
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def clock_s(self) -> int:
        return int(time.time()) + self.skew_s

    def client(self, key: PrivateKey | None = None) -> NodeClient:
        return NodeClient(self.url, CHAIN, key, sleep=lambda _: None)

    def close(self) -> None:
        self._stop()
        self._thread.join(20)

    async def _serve(self) -> None:
        store = open_store(self.directory, self.consortium)
        engine = engine_over(self.directory, store, lambda: self.consortium.now)
        genesis = (self.directory / "node" / GENESIS_FILE).read_bytes()
        log = store.reader()
        self.gate = Gate(self.clock_s)
        node = Node(engine, log, genesis, self.gate, self.clock_s, self.broken.append)
        sock = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(node), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            engine.stop()
            server.should_exit = True

        self._stop = lambda: loop.call_soon_threadsafe(stop) and None
        running = asyncio.create_task(engine.run())
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        while not (server.started and engine.head) and not running.done():
            await asyncio.sleep(0.005)
        self._ready.set()
        await asyncio.wait([running, serving])
        log.close()
        store.close()
        sock.close()


@dataclass
class Mirrored(Consortium):
    """A consortium whose every block goes to a node as well."""

    node: NodeClient | None = None
    verdicts: list[int | RejectCode] = field(default_factory=list)

    def block(self, *transactions: bytes) -> BlockResult:
        result = super().block(*transactions)
        for raw, verdict in zip(transactions, result.verdicts, strict=True):
            if self.node is not None:
                assert submit(self.node, raw) == verdict
        return result


def submit(client: NodeClient, raw: bytes) -> int | RejectCode:
    try:
        return client.submit(raw)
    except Rejected as err:
        return next(code for code in RejectCode if code.code == err.code)


def caller(consortium: Consortium, member: str, role: Role) -> PrivateKey:
    return consortium.key(member, role)


class Faulty(sqlite3.Connection):
    """Fails at the `fail_at`-th write, before it (`lost`) or after it (`stored`)."""

    fail_at: int | None = None
    kind = "lost"
    writes = 0

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]  # One shape is enough here.
        if self.fail_at is not None and not sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
            self.writes += 1
            if self.writes == self.fail_at:
                if self.kind == "stored":
                    super().execute(sql, parameters)  # type: ignore[arg-type]  # As it was given.
                raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]  # As it was given.


def connect_faulty(path: Path) -> Faulty:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, factory=Faulty
    )
    connection.execute("PRAGMA journal_mode = WAL")
    return connection
