"""Several request processes behind one address, and the one that follows the ledger for them.

This process listens, follows, writes the replica and the index file, and attests; it answers no
request. Each request process has the listening socket, its own decoders, and reads what this one
writes. One that ends is replaced; requests that others hold go on.
Invariants: a request process never outlives this one, however this one ends; connections wait in
the socket's queue while nobody accepts, and are not refused; an invariant that failed in any of
them (Broken) ends them all.
Not here: answering (serve, gateway), what they know of one another (siblings).
Source: docs/adr/0010-request-processes.md.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, Final

from accord.scan.following import Following
from accord.scan.siblings import Table
from accord.wire.errors import Broken

EXIT_BROKEN: Final = 70  # A request process' invariant failed.
NEWS: Final = b"n"
STOP_WAIT_S: Final = 25.0  # Longer than a request may take to finish (serve.GRACE_S).
WATCH_EVERY_S: Final = 0.1
CHORE_EVERY_S: Final = 3600.0
RESPAWN_S: Final = (0.0, 0.5, 2.0, 10.0)  # Waits before the first, second ... try in a row.
STEADY_S: Final = 30.0  # One that lived so long did not fail at its start.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
Brief = Mapping[str, Any]

diagnostics = logging.getLogger("accord.gateway")


@dataclass
class _Place:
    """One request process at a time. Units: seconds of `time.monotonic`."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    failures: int = 0  # In a row.
    due_s: float = 0.0


class Crew:
    """The request processes. One caller, but for `tell_news`."""

    def __init__(
        self, argv: Sequence[str], places: int, listener: socket.socket, table: Table, brief: Brief
    ) -> None:
        """`brief` is what a process is told on its standard input, as JSON, beside its place."""
        self._argv = tuple(argv)
        self._places = [_Place(number) for number in range(places)]
        self._listener = listener
        self._table = table
        self._brief = dict(brief)

    def pids(self) -> list[int]:
        return [place.process.pid for place in self._places if place.process is not None]

    def start(self) -> None:
        for place in self._places:
            self._start(place)

    def watch(self) -> None:
        """Replace those that have ended. Raises: Broken, if one of them met such a failure."""
        now_s = time.monotonic()
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                self._reap(place, place.process, now_s)
            if place.process is None and now_s >= place.due_s:
                self._start(place)

    def tell_news(self) -> None:
        """There is more in the replica. From any thread."""
        for place in self._places:
            process = place.process
            if process is not None:
                _write(process.stdin, NEWS)

    def stop(self) -> None:
        """Let requests under way finish, then end them all."""
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.terminate()
        end_s = time.monotonic() + STOP_WAIT_S
        for process in running:
            try:
                process.wait(max(0.0, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        for place in self._places:
            place.process = None

    def _start(self, place: _Place) -> None:
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            self._argv,
            stdin=subprocess.PIPE,
            pass_fds=(self._listener.fileno(),),
            bufsize=0,
            start_new_session=True,  # A terminal's Ctrl-C reaches this process, which stops it.
        )
        brief = {**self._brief, "place": place.number}
        _write(process.stdin, json.dumps(brief).encode() + b"\n")
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        place.process, place.started_s = process, time.monotonic()

    def _reap(self, place: _Place, process: subprocess.Popen[bytes], now_s: float) -> None:
        if process.stdin is not None:
            process.stdin.close()
        place.process = None
        self._table.clear(place.number, process.pid)
        if process.returncode == EXIT_BROKEN:
            raise Broken("gateway.process", status=process.returncode)
        is_steady = now_s - place.started_s > STEADY_S
        place.failures = 0 if is_steady else min(place.failures + 1, len(RESPAWN_S) - 1)
        place.due_s = now_s + RESPAWN_S[max(0, place.failures - 1)]
        diagnostics.warning("a request process ended (%d): replaced", process.returncode)


def serve_crew(
    crew: Crew,
    table: Table,
    following: Following,
    announce: Callable[[], None],
    hourly: Callable[[], None],
) -> None:
    """Watch over a crew that was started, until a signal; then stop it. `announce` is called once
    somebody answers. `following.on_news` is to be the crew's `tell_news`.

    Raises: Broken, when following halted here or in a request process.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        following.start()
        due_s = time.monotonic() + CHORE_EVERY_S
        is_announced = False
        while not stopping.wait(WATCH_EVERY_S) and following.halted is None:
            crew.watch()
            table.tell_follower(following.trouble)
            if not is_announced and table.ready():
                is_announced = True
                announce()
            if time.monotonic() > due_s:
                due_s += CHORE_EVERY_S
                hourly()
    finally:
        crew.stop()
        following.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    if following.halted is not None:
        raise following.halted


def _write(pipe: IO[bytes] | None, words: bytes) -> None:
    """A process that has ended, or has not read what it was told before, needs no word."""
    if pipe is not None:
        with suppress(OSError, ValueError):
            pipe.write(words)
