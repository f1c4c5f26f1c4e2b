"""The gateway as a process: a socket, signals, and the hourly chores.

SIGTERM and SIGINT let requests under way finish, make queued receipts durable and stop the
decoders. A halted follower ends the process: what broke must not go on answering.
"""

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from accord.scan.gateway import Gateway, create_app
from accord.wire.errors import Malformed, Unavailable

diagnostics = logging.getLogger("accord.gateway")
GRACE_S: Final = 15  # A decoder gives up on a file after 10 s.
CHORE_EVERY_S: Final = 3600
WATCH_EVERY_S: Final = 0.5
TOKEN_CHARS_MIN: Final = 16
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


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
    listener = _listen(host, port)
    config = uvicorn.Config(
        create_app(gateway),
        log_level="warning",
        access_log=False,  # It would hold upload ids.
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    server = _Server(config, gateway)
    bound_host, bound_port = listener.getsockname()[:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    announce(f"http://{shown}:{bound_port}")
    # Uvicorn raises a signal again once it has stopped, which by default would kill the process
    # before receipts and decoders are closed.
    before = {number: signal.signal(number, _stopped) for number in STOP_SIGNALS}
    try:
        server.run(sockets=[listener])
    finally:
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
            if due_s <= 0:
                due_s = CHORE_EVERY_S
                await asyncio.to_thread(self._forget)
            due_s -= WATCH_EVERY_S
            await asyncio.sleep(WATCH_EVERY_S)

    def _forget(self) -> None:
        screener = self._gateway.screener
        try:
            screener.receipts.forget(screener.clock())
        except Unavailable as err:
            diagnostics.warning("old salts are not deleted yet: %s", err)


def _listen(host: str, port: int) -> socket.socket:
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
    except OSError as err:
        listener.close()
        raise Unavailable("gateway.address", host=host, port=port, why=str(err)) from err
    return listener
