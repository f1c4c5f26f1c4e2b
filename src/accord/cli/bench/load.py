"""Clients that ask a gateway as fast as it answers, each on one connection of its own."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from accord.cli.bench.figures import Row, per_second, quantile, rounded
from accord.statements.batch import Listing
from accord.wire.errors import AccordError, Unavailable

SCREENS_MIN: Final = 5  # Of one client, however little time there is.
ANSWER_S: Final = 60.0
_BUSY: Final = 503


@dataclass(frozen=True, slots=True)
class Ask:
    """One request's body, and what it says it is."""

    body: bytes
    content_type: str
    path: str


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
    """One connection, kept. One caller."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_S)

    def close(self) -> None:
        self._http.close()

    def decision(self, ask: Ask) -> str | None:
        """The decision, or None if the gateway was too busy. Raises: Unavailable."""
        try:
            self._http.request("POST", ask.path, ask.body, {"Content-Type": ask.content_type})
            answer = self._http.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as err:
            raise Unavailable("bench.answer", why=type(err).__name__) from err
        if answer.status == _BUSY:
            return None
        if answer.status != http.client.OK:
            raise Unavailable("bench.answer", status=answer.status)
        return str(json.loads(raw)["decision"])


@dataclass
class _Tally:
    """What one client saw. Units: seconds."""

    took: list[float] = field(default_factory=list[float])
    refused: int = 0
    failure: AccordError | None = None


def screen_for(
    base: str, asks: Sequence[Ask], clients: int, seconds: float, progress: Callable[[], None]
) -> dict[str, int | float]:
    """Ask for `seconds`; every answer must be "no match". Raises: Unavailable."""
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
    return {
        "clients": clients,
        "screens": len(took),
        "screens_per_s": per_second(len(took), lasted),
        "p50_ms": rounded(quantile(took, 0.5) * 1000),
        "p99_ms": rounded(quantile(took, 0.99) * 1000),
        "max_ms": rounded(max(took) * 1000),
        "refused": sum(tally.refused for tally in tallies),
    }


def load_rows(
    base: str,
    what: str,
    asks: Sequence[Ask],
    clients: Sequence[int],
    seconds: float,
    progress: Callable[[], None],
) -> list[Row]:
    """One row for each number of clients, after a round that starts the decoders."""
    screen_for(base, asks, max(clients), 0, progress)
    size = sum(len(ask.body) for ask in asks) // len(asks)
    return [
        {"what": what, "bytes": size, **screen_for(base, asks, count, seconds, progress)}
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
