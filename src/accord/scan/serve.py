"""The gateway as a process: a socket, signals, and the hourly chores.

SIGTERM and SIGINT let requests under way finish, make queued receipts durable and stop the
decoders. A halted follower ends the process: what broke must not go on answering.
Alone (`serve`), or as one of several behind one socket (`serve_beside`).
"""

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final, Protocol, cast

import uvicorn

from accord.scan.gateway import Gateway, create_app
from accord.scan.screener import Screener
from accord.scan.siblings import NOBODY, TELL_EVERY_S, Siblings
from accord.wire.errors import Malformed, Unavailable

diagnostics = logging.getLogger("accord.gateway")
GRACE_S: Final = 15  # A decoder gives up on a file after 10 s.
CHORE_EVERY_S: Final = 3600
WATCH_EVERY_S: Final = 0.5
TOKEN_CHARS_MIN: Final = 16
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
YIELD_S: Final = 0.005  # How long a new connection is left to a process that holds fewer.
ACCEPT_AGAIN_S: Final = 1.0  # After the system refused one, for want of descriptors for example.


class Factory(Protocol):
    """Makes what speaks HTTP on one connection."""

    def __call__(
        self, *, config: uvicorn.Config, server_state: object, app_state: dict[str, object]
    ) -> asyncio.Protocol: ...


def load_token(path: Path) -> str:
    """The bearer token in a file. Raises: Malformed."""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise Malformed("gateway.token_file", why=type(err).__name__) from err
    if len(token) < TOKEN_CHARS_MIN or not token.isprintable() or " " in token:
        raise Malformed("gateway.token_file", wanted=f"{TOKEN_CHARS_MIN} characters or more")
    return token


def check_exposure(host: str, token: str | None) -> None:
    """Refuse to answer a network without a token. Raises: Malformed."""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if not is_local and token is None:
        raise Malformed("gateway.exposed", host=host, mend="--token-file, or --host 127.0.0.1")


def serve(gateway: Gateway, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Run until a signal. `announce` gets the base URL once the socket listens.

    Raises: Malformed, for an address that answers a network without a token; Unavailable, for
    one that is taken; Broken, when following halted.
    """
    check_exposure(host, gateway.token)
    listener = listen(host, port)
    announce(url_of(listener))
    _run(_Server(_config(gateway), gateway), gateway, [listener])


def serve_beside(
    gateway: Gateway, listener: socket.socket, siblings: Siblings, words: IO[bytes]
) -> None:
    """Run as one of several until a signal, or until whoever started us closes `words`.

    A byte of `words` says that there is more in the replica. Raises: Broken, as `serve`.
    """
    server = _Sharing(_config(gateway), gateway, listener, siblings)

    def heed() -> None:
        while words.read(1):
            if gateway.following is not None:
                gateway.following.poke()
        server.should_exit = True

    threading.Thread(target=heed, name="words", daemon=True).start()
    _run(server, gateway, [])


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(gateway),
        log_level="warning",
        access_log=False,  # It would hold upload ids.
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )


def _run(server: uvicorn.Server, gateway: Gateway, listeners: list[socket.socket]) -> None:
    # Uvicorn raises a signal again once it has stopped, which by default would kill the process
    # before receipts and decoders are closed.
    before = {number: signal.signal(number, _stopped) for number in STOP_SIGNALS}
    try:
        server.run(sockets=listeners)
    finally:
        for listener in listeners:
            listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if gateway.following is not None and gateway.following.halted is not None:
        raise gateway.following.halted


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    """The server has seen to it already."""


class _Server(uvicorn.Server):
    """Uvicorn with the chores beside its loop."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self.forgets = True  # Whether old salts are ours to delete.

    async def main_loop(self) -> None:
        chores = asyncio.create_task(self._chores())
        try:
            await super().main_loop()
        finally:
            chores.cancel()

    async def _chores(self) -> None:
        due_s = 0.0
        while True:
            following = self._gateway.following
            if following is not None and following.halted is not None:
                self.should_exit = True
            if due_s <= 0 and self.forgets:
                due_s = CHORE_EVERY_S
                await asyncio.to_thread(self._forget)
            due_s -= WATCH_EVERY_S
            await asyncio.sleep(WATCH_EVERY_S)

    def _forget(self) -> None:
        forget_salts(self._gateway.screener)


class _Held(set[Any]):
    """The server's connections, which tells the others whenever their number changes."""

    def __init__(self, siblings: Siblings) -> None:
        super().__init__()
        self._siblings = siblings

    def add(self, one: Any) -> None:  # noqa: ANN401  (whatever the server keeps)
        super().add(one)
        self._siblings.hold(len(self))

    def discard(self, one: Any) -> None:  # noqa: ANN401
        super().discard(one)
        self._siblings.hold(len(self))


class _Sharing(_Server):
    """One of several that accept from one socket. A new connection goes to one that holds the
    fewest: left to chance, two of three processes would often idle beside a busy one."""

    def __init__(
        self,
        config: uvicorn.Config,
        gateway: Gateway,
        listener: socket.socket,
        siblings: Siblings,
    ) -> None:
        super().__init__(config, gateway)
        self.forgets = False
        self._listener = listener
        self._siblings = siblings
        self._handing_over: set[asyncio.Task[object]] = set()
        self.server_state.connections = _Held(siblings)
        self._has_yielded = False

    async def main_loop(self) -> None:
        loop = asyncio.get_running_loop()
        telling = asyncio.create_task(self._tell())
        self._siblings.hold(0)
        loop.add_reader(self._listener, self._on_waiting)
        try:
            await super().main_loop()
        finally:
            # Crash from here: whoever waits in the socket's queue is for the others.
            self._siblings.hold(NOBODY)
            loop.remove_reader(self._listener)
            self._listener.close()
            telling.cancel()

    def _on_waiting(self) -> None:
        """Somebody connects: ours to accept, unless another process holds fewer and is not too
        busy to come for it."""
        held = len(self.server_state.connections) + len(self._handing_over)
        if not self._has_yielded and self._siblings.holds_more(held):
            self._has_yielded = True
            self._pause_accepting(YIELD_S)
            return
        self._has_yielded = False
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # Another process was faster, or the caller has gone.
        except OSError as err:
            diagnostics.warning("a connection cannot be accepted: %s", type(err).__name__)
            self._pause_accepting(ACCEPT_AGAIN_S)
            return
        connection.setblocking(False)
        self._siblings.hold(held + 1)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    def _pause_accepting(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        loop.call_later(seconds, self._accept_again)

    def _accept_again(self) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._listener, self._on_waiting)

    def _protocol(self) -> asyncio.Protocol:
        factory = cast(Factory, self.config.http_protocol_class)
        return factory(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _tell(self) -> None:
        """What the others' /healthz and /metrics say of us."""
        while True:
            gateway = self._gateway
            try:
                self._siblings.tell(gateway.trouble(), gateway.meter.counts())
            except OSError as err:
                diagnostics.warning("the other processes are not told: %s", type(err).__name__)
            await asyncio.sleep(TELL_EVERY_S)


def forget_salts(screener: Screener) -> None:
    """Delete what opens old receipts; tried again an hour later, where the disk refuses."""
    try:
        screener.receipts.forget(screener.clock())
    except Unavailable as err:
        diagnostics.warning("old salts are not deleted yet: %s", err)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises: Unavailable, for an address that is taken."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as err:
        raise Unavailable("gateway.address", host=host, port=port, why=str(err)) from err
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
        listener.setblocking(False)
    except OSError as err:
        listener.close()
        raise Unavailable("gateway.address", host=host, port=port, why=str(err)) from err
    return listener
