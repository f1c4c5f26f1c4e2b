"""The node as a process: one directory, one port, a clean stop.

    genesis.json   the consortium it serves
    node.db        the log and the fold
    node.json      while it runs: its address and process id
    lock           held while it runs, so that no two sequencers write one log

Agencies' homes stand beside the directory; their cosigner keys sign here.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from accord.client.files import write_durably
from accord.client.home import GENESIS_FILE
from accord.ledger.genesis import Founding, parse_genesis
from accord.node.api import Node, make_app
from accord.node.auth import Gate
from accord.node.cosigning import Cosigning, homes_beside
from accord.node.solo import SoloEngine
from accord.node.store import Store
from accord.wire.errors import Broken, Malformed, Unavailable
from accord.wire.ids import TimeMs

STORE_FILE = "node.db"
RUNNING_FILE = "node.json"
LOCK_FILE = "lock"
STOP_WAIT_S = 3

diagnostics = logging.getLogger(__name__)


def wall_clock() -> TimeMs:
    """Units: ms since 1970 UTC."""
    return TimeMs(time.time_ns() // 1_000_000)


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to `run_node`."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def load_genesis(directory: Path) -> tuple[bytes, Founding]:
    """The genesis a node's directory holds. Raises: Malformed, naming the mend."""
    try:
        raw = (directory / GENESIS_FILE).read_bytes()
    except OSError as err:
        mend = "accord init --trial, or --dir"
        raise Malformed("node.directory", path=str(directory), mend=mend) from err
    return raw, parse_genesis(raw)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            mend = "stop the node that runs there"
            raise Unavailable("node.in_use", path=str(directory), mend=mend) from err
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises: Unavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The event loop sends small answers at once only where the protocol is named: 40 ms of each.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as err:
        sock.close()
        raise Unavailable("node.port", host=host, port=port, why=err.strerror or "") from err
    return sock


def run_node(directory: Path, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `tell` gets the base URL once it answers.

    Raises: Malformed, Unproven, Unavailable, Broken; after each a restart is safe.
    """
    genesis, founding = load_genesis(directory)
    with _locked(directory):
        store = Store(directory / STORE_FILE, founding)
        try:
            asyncio.run(_serve(directory, genesis, founding, store, listen(host, port), tell))
        finally:
            store.close()
            (directory / RUNNING_FILE).unlink(missing_ok=True)


async def _serve(
    directory: Path,
    genesis: bytes,
    founding: Founding,
    store: Store,
    sock: socket.socket,
    tell: Callable[[str], None],
) -> None:
    chain = founding.genesis.chain
    cosigning = Cosigning(chain, lambda: homes_beside(directory, chain), store)
    engine = SoloEngine(store.ledger(), store, cosigning, wall_clock)
    log = store.reader()
    stop = asyncio.Event()
    broken: list[Broken] = []

    def halt(err: Broken) -> None:
        broken.append(err)
        stop.set()

    node = Node(engine, log, genesis, Gate(_seconds), _seconds, halt)
    config = uvicorn.Config(
        make_app(node),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=STOP_WAIT_S,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sequencer = asyncio.create_task(engine.run())
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopped = asyncio.create_task(stop.wait())
    try:
        await _announce(directory, sock, server, (sequencer, serving), tell)
        await asyncio.wait((sequencer, serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        engine.stop()
        server.should_exit = True
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        log.close()
        await sequencer  # Raises what ended it.
    if broken:
        raise broken[0]


async def _announce(
    directory: Path,
    sock: socket.socket,
    server: _Server,
    tasks: tuple["asyncio.Task[None]", "asyncio.Task[None]"],
    tell: Callable[[str], None],
) -> None:
    while not server.started and not any(task.done() for task in tasks):
        await asyncio.sleep(0.005)
    if not server.started:
        return
    name = sock.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    address = f"http://{host}:{name[1]}"
    running = {"address": address, "pid": os.getpid()}
    write_durably(directory / RUNNING_FILE, json.dumps(running).encode() + b"\n")
    tell(address)


def _seconds() -> int:
    return wall_clock() // 1000
