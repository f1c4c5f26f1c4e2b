"""The node as a process: one directory, one port, a clean stop.

    genesis.json   the consortium it serves
    node.db        the log and the fold
    node.json      while it runs: its address and process id
    lock           held while it runs, so that no two sequencers write one log

A trial's node: the agencies' homes stand beside the directory; their cosigner keys sign here.
An agency's node: the directory is `node` in its home, with node.toml and the engine's files.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import uvicorn

from accord.client.files import write_durably
from accord.client.home import CONTINUED_FILE, GENESIS_FILE, Home, load_earlier, open_home
from accord.ledger.apply import FOLDS
from accord.ledger.genesis import Founding, encode_genesis, parse_genesis
from accord.node.api import Node, make_app
from accord.node.auth import Gate
from accord.node.comet_engine import CometEngine, Keeping, end_tasks
from accord.node.comet_files import Sockets, write_engine_files
from accord.node.comet_process import EngineProcess, find_cometbft
from accord.node.cosigning import Cosigning, homes_beside
from accord.node.engine import Engine
from accord.node.joining import DOORS, JOINING_FILE, Joining, serve_light
from accord.node.light_api import LightReads
from accord.node.peers import PeerNode, Signed
from accord.node.recalling import recall_votes
from accord.node.settings import (
    NODE_DIRECTORY,
    RUNNING_FILE,
    STORE_FILE,
    Settings,
    load_settings,
    peer_key,
    split_address,
)
from accord.node.solo import SoloEngine
from accord.node.store import LogReader, Store
from accord.statements.bodies import Role
from accord.wire.errors import Broken, Malformed, Unavailable
from accord.wire.ids import TimeMs

LOCK_FILE = "lock"
ENGINE_LOG_FILE = "engine.log"
STOP_WAIT_S = 3
SOCKET_CHARS_MAX = 100  # The kernel's limit for a unix socket's path is 107.

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
    return raw, parse_genesis(raw, load_earlier(directory))


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process at a time writes a node's directory. Raises: Unavailable."""
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
    """Serve a trial until SIGTERM or SIGINT. `tell` gets the base URL once it answers.

    Raises: Malformed, Unproven, Unavailable, Broken; after each a restart is safe.
    """
    genesis, founding = load_genesis(directory)
    chain = founding.genesis.chain
    with locked(directory):
        store = Store(directory / STORE_FILE, founding)
        cosigning = Cosigning(chain, lambda: homes_beside(directory, chain), store)

        async def main() -> None:
            engine = SoloEngine(store.ledger(), store, cosigning, wall_clock)
            served = Served(directory, genesis, founding, store.reader(), listen(host, port))
            await serve(engine, served, tell)

        _run(main, directory, store)


def run_agency_node(
    home: Home,
    tell: Callable[[str], None],
    port: int | None = None,
    folds: frozenset[int] = FOLDS,
) -> None:
    """Serve as one agency's node of a consortium, over CometBFT, until SIGTERM or SIGINT.

    `folds` are the versions of the ledger's rules that this software has.
    Raises: as `run_node`.
    """
    directory = home.path / NODE_DIRECTORY
    settings = load_settings(directory)
    _require_signers(home)
    binary = find_cometbft()
    with locked(directory), socket_directory(directory) as doors:
        light = tuple(doors / f"light-{place}.sock" for place in range(DOORS))
        sockets = Sockets(doors / "application.sock", doors / "rpc.sock", light)
        store = Store(directory / STORE_FILE, home.founding, folds=folds)
        recall_votes(home, settings.peers)
        joining = _joining(directory, home, settings, store)
        trust = None if joining is None else joining.prove(settings.trust)
        key = peer_key(directory)
        renew = partial(write_engine_files, directory, home, settings, key, sockets, trust)
        files = renew()
        cosigning = Cosigning(home.chain, lambda: (open_home(home.path),), store)
        known = {peer.peer_id for peer in settings.peers}
        host, configured = split_address(settings.api)

        async def main() -> None:
            process = EngineProcess(binary, files, sockets, directory / ENGINE_LOG_FILE, renew)
            peers = [PeerNode(peer.api) for peer in settings.peers]
            engine = CometEngine(
                store, cosigning, wall_clock, process, sockets, peers, known.__contains__
            )
            engine.keep(Keeping(settings.snapshot_blocks, settings.keep_blocks, joining))
            sock = listen(host, configured if port is None else port)
            genesis = (home.path / GENESIS_FILE).read_bytes()
            served = Served(
                directory,
                genesis,
                home.founding,
                store.reader(),
                sock,
                engine.signed,
                (settings.tls_certificate, settings.tls_key),
                engine,
            )
            doorman = asyncio.create_task(_serve_light(light, joining))
            try:
                await serve(engine, served, tell)
            finally:
                await end_tasks([doorman])
                if joining is not None:
                    joining.close()

        _run(main, directory, store)


def _joining(directory: Path, home: Home, settings: Settings, store: Store) -> Joining | None:
    """What a node needs that begins with a snapshot; None where it goes on with what it has."""
    if settings.state_sync and store.is_fresh:
        return Joining(directory, home, settings.peers, wall_clock)
    for file in directory.glob(f"{JOINING_FILE}*"):
        file.unlink(missing_ok=True)
    return None


async def _serve_light(paths: Sequence[Path], joining: Joining | None) -> None:
    if joining is not None:
        await serve_light(paths, joining.nodes)


def _require_signers(home: Home) -> None:
    """A restored home has neither key: what they signed since the backup nobody here remembers. A
    home that went on elsewhere has both and must not use them: two logs would grow.

    Raises: Malformed.
    """
    if (home.path / CONTINUED_FILE).exists():
        mend = "run the node of the new home; operate.md, Quorum lost"
        raise Malformed("node.continued", home=str(home.path), mend=mend)
    for role in (Role.CONSENSUS, Role.COSIGNER):
        if all(key.role is not role for key in home.keys):
            mend = f"with the root key here: accord keys rotate {role} node --home {home.path}"
            raise Malformed("node.no_signer", role=role.value, mend=mend)


def _run(main: Callable[[], Coroutine[None, None, None]], directory: Path, store: Store) -> None:
    try:
        asyncio.run(main())
    finally:
        store.close()
        (directory / RUNNING_FILE).unlink(missing_ok=True)


@contextmanager
def socket_directory(directory: Path) -> Iterator[Path]:
    """A private place for unix sockets: in the node's directory, or, where that path is too long
    for a socket's name, a temporary one.
    """
    near = (directory / "run").resolve()
    if len(str(near)) <= SOCKET_CHARS_MAX - len("/application.sock"):
        near.mkdir(mode=0o700, exist_ok=True)
        yield near
        return
    with tempfile.TemporaryDirectory(prefix="accord-") as far:
        yield Path(far)


@dataclass(frozen=True, slots=True)
class Served:
    """What is served beside the engine. `tls` are PEM files, both empty for plain HTTP."""

    directory: Path
    genesis: bytes
    founding: Founding
    log: LogReader
    sock: socket.socket
    signed: Signed | None = None
    tls: tuple[str, str] = ("", "")
    light: LightReads | None = None


def _earlier(founding: Founding) -> dict[str, bytes]:
    """The geneses before this one, by SHA-256 in hex."""
    before = founding.line()[:-1]
    return {item.digest.hex(): encode_genesis(item.genesis) for item in before}


class RunningEngine(Engine, Protocol):
    """An engine with the task that drives it."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


async def serve(engine: RunningEngine, served: Served, tell: Callable[[str], None]) -> None:
    """Run the engine and the API over it until a signal, or until one of them ends."""
    stop = asyncio.Event()
    broken: list[Broken] = []

    def halt(err: Broken) -> None:
        broken.append(err)
        stop.set()

    node = Node(
        engine,
        served.log,
        served.genesis,
        Gate(_seconds),
        _seconds,
        halt,
        served.signed,
        served.light,
        begins_at=served.founding.begins_at,
        earlier=_earlier(served.founding),
    )
    certificate, key = served.tls
    config = uvicorn.Config(
        make_app(node),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=STOP_WAIT_S,
        ssl_certfile=certificate or None,
        ssl_keyfile=key or None,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sequencer = asyncio.create_task(engine.run())
    serving = asyncio.create_task(server.serve(sockets=[served.sock]))
    stopped = asyncio.create_task(stop.wait())
    try:
        await _announce(served, server, (sequencer, serving), tell)
        await asyncio.wait((sequencer, serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        engine.stop()
        server.should_exit = True
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        served.log.close()
        await sequencer  # Raises what ended it.
    if broken:
        raise broken[0]


async def _announce(
    served: Served,
    server: _Server,
    tasks: tuple["asyncio.Task[None]", "asyncio.Task[None]"],
    tell: Callable[[str], None],
) -> None:
    while not server.started and not any(task.done() for task in tasks):
        await asyncio.sleep(0.005)
    if not server.started:
        return
    name = served.sock.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    address = f"{'https' if served.tls[0] else 'http'}://{host}:{name[1]}"
    running = {"address": address, "pid": os.getpid()}
    write_durably(served.directory / RUNNING_FILE, json.dumps(running).encode() + b"\n")
    tell(address)


def _seconds() -> int:
    return wall_clock() // 1000
