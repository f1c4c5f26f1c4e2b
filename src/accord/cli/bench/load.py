"""Clients that ask a gateway as fast as it answers, each on one connection of its own."""

import http
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

from accord.cli.bench.figures import Row, per_second, quantile, rounded
from accord.cli.bench.machine import cpu_seconds
from accord.statements.batch import Listing
from accord.wire.errors import AccordError, Unavailable

SCREENS_MIN: Final = 5  # Of one client, however little time there is.
ANSWER_S: Final = 60.0
IDLE_S: Final = 2.0  # A gateway closes what is idle for 5 s.
_BUSY: Final = http.HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True)
class Ask:
    """One request's body, and what it says it is."""

    body: bytes
    content_type: str
    path: str

    @cached_property
    def request(self) -> bytes:
        """All of it, as sent."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def ask_picture(raw: bytes, jurisdiction: str) -> Ask:
    path = f"/v1/screen?jurisdiction={jurisdiction}&upload=bench"
    return Ask(raw, "application/octet-stream", path)


def ask_fingerprints(listing: Listing, jurisdiction: str) -> Ask:
    """What a platform sends that fingerprints by itself."""
    said = {
        "md5": (listing.md5 or b"").hex(),
        "sha1": (listing.sha1 or b"").hex(),
        "sha256": (listing.sha256 or b"").hex(),
        "pdq": [{"bits": (listing.pdq or b"").hex(), "quality": listing.pdq_quality}],
    }
    asked = {"fingerprints": said, "jurisdictions": [jurisdiction], "upload": "bench"}
    return Ask(json.dumps(asked).encode(), "application/json", "/v1/screen")


class Client:
    """One connection, kept. One caller. As little work as a request can be: what asks takes
    processor time from what answers."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._address = (parts.hostname or "", parts.port or 80)
        self._socket: socket.socket | None = None
        self._used_s = 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def decision(self, ask: Ask) -> str | None:
        """The decision, or None if the gateway was too busy. Raises: Unavailable."""
        if time.monotonic() - self._used_s > IDLE_S:
            self.close()
        try:
            status, raw = self._exchange(ask)
        except (OSError, EOFError, ValueError) as err:
            self.close()
            raise Unavailable("bench.answer", why=type(err).__name__) from err
        self._used_s = time.monotonic()
        if status == _BUSY:
            return None
        if status != http.HTTPStatus.OK:
            raise Unavailable("bench.answer", status=status)
        return str(json.loads(raw)["decision"])

    def _exchange(self, ask: Ask) -> tuple[int, bytes]:
        """Status and body of the answer. Raises: OSError, EOFError, ValueError."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, ANSWER_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(ask.request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head, body = received[:end].lower(), received[end + 4 :]
        size = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        while len(body) < size:
            body += self._receive()
        return int(head[9:12]), body

    def _receive(self) -> bytes:
        part = b"" if self._socket is None else self._socket.recv(65_536)
        if not part:
            raise EOFError
        return part


@dataclass
class _Tally:
    """What one client saw. Units: seconds."""

    took: list[float] = field(default_factory=list[float])
    refused: int = 0
    failure: AccordError | None = None


@dataclass(frozen=True)
class Gateway:
    """Whom to ask. `pid`: of the process that started all its others, where its time counts."""

    base: str
    pid: int | None = None


def screen_for(
    gateway: Gateway,
    asks: Sequence[Ask],
    clients: int,
    seconds: float,
    progress: Callable[[], None],
) -> dict[str, int | float | None]:
    """Ask for `seconds`; every answer must be "no match". Raises: Unavailable."""
    base = gateway.base
    used_s = cpu_seconds(gateway.pid)
    tallies = [_Tally() for _ in range(clients)]
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_run, args=(base, asks, number, tally, began + seconds))
        for number, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        progress()
        threads[0].join(0.2)
        for thread in threads[1:]:
            thread.join(0.01)
    lasted = time.perf_counter() - began
    for tally in tallies:
        if tally.failure is not None:
            raise tally.failure
    took = [one for tally in tallies for one in tally.took]
    after_s = cpu_seconds(gateway.pid)
    # Too little to be told in the machine's ticks of 10 ms is not measured, and not nothing.
    spent_s = None if used_s is None or after_s is None else (after_s - used_s) or None
    return {
        "clients": clients,
        "screens": len(took),
        "screens_per_s": per_second(len(took), lasted),
        "screens_per_core_s": None if spent_s is None else per_second(len(took), spent_s),
        "p50_ms": rounded(quantile(took, 0.5) * 1000),
        "p99_ms": rounded(quantile(took, 0.99) * 1000),
        "max_ms": rounded(max(took) * 1000),
        "refused": sum(tally.refused for tally in tallies),
    }


def load_rows(
    gateway: Gateway,
    what: str,
    asks: Sequence[Ask],
    clients: Sequence[int],
    seconds: float,
    progress: Callable[[], None],
) -> list[Row]:
    """One row for each number of clients, after a round that starts the decoders."""
    screen_for(gateway, asks, max(clients), 0, progress)
    size = sum(len(ask.body) for ask in asks) // len(asks)
    return [
        {"what": what, "bytes": size, **screen_for(gateway, asks, count, seconds, progress)}
        for count in clients
    ]


def _run(base: str, asks: Sequence[Ask], first: int, tally: _Tally, until: float) -> None:
    client = Client(base)
    number = first
    try:
        while len(tally.took) < SCREENS_MIN or time.perf_counter() < until:
            ask = asks[number % len(asks)]
            number += 1
            began = time.perf_counter()
            decision = client.decision(ask)
            if decision is None:
                tally.refused += 1
                time.sleep(0.01)
                continue
            tally.took.append(time.perf_counter() - began)
            if decision != "no_match":
                raise Unavailable("bench.answer", decision=decision)
    except AccordError as err:
        tally.failure = err
    finally:
        client.close()
