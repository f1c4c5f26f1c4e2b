"""Other agencies' nodes over HTTP: their cosigners' lines, and the heads they assembled.

Job: ask each peer again and again for what its cosigner signed, and hand it on in order.
Believes nothing: `Gathering` verifies every line over our own roots. A peer that lies is asked
less often and cannot hold up the others.
Source: docs/spec/http.md section 4.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx

from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_cosignature, parse_note
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable
from accord.wire.limits import CHECKPOINT_BYTES_MAX, COSIGNATURES_KEPT_MAX, LONG_POLL_MS_MAX

CONNECT_S: Final = 5.0
BACKOFF_S: Final = 0.5
BACKOFF_S_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 2 * COSIGNATURES_KEPT_MAX * 2_048  # A note with one line has 300 bytes.

Take = Callable[[str, bytes], Awaitable[None]]
diagnostics = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far a cosigner's signatures are known: its sizes and times only ever grow."""

    size: int = -1
    time_s: int = -1


class Signed:
    """What our own cosigner signed lately, for the other nodes to fetch."""

    def __init__(self) -> None:
        self._notes: deque[tuple[Place, bytes]] = deque(maxlen=COSIGNATURES_KEPT_MAX)
        self._moved = asyncio.Event()

    def add(self, raw: bytes) -> None:
        self._notes.append((place_of(raw), raw))
        self._moved.set()
        self._moved = asyncio.Event()

    async def beyond(self, place: Place, wait_s: float) -> list[bytes]:
        """The notes signed after `place`, oldest first, as soon as there is one."""
        if not any(at > place for at, _ in self._notes):
            try:
                await asyncio.wait_for(self._moved.wait(), wait_s)
            except TimeoutError:
                return []
        return [raw for at, raw in self._notes if at > place]

    def wake(self) -> None:
        """Let go whoever waits: the node is stopping."""
        self._moved.set()


def place_of(raw: bytes) -> Place:
    """Size, and the latest time of its lines. Raises: Malformed."""
    note = parse_note(raw)
    times = [parse_cosignature(line.signature).time_s for line in note.lines]
    return Place(parse_checkpoint(note.text).size, max(times))


class PeerNode:
    """One peer."""

    def __init__(self, url: str) -> None:
        self.url = url
        timeout = httpx.Timeout(LONG_POLL_MS_MAX / 1000 + CONNECT_S, connect=CONNECT_S)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False)
        self._at = Place()

    async def close(self) -> None:
        await self._http.aclose()

    async def watch(self, take: Take) -> None:
        """Hand over all that the peer's cosigner signs, for ever. Waits longer after each failure:
        no answer, nonsense, or what `take` refuses.
        """
        pause_s = BACKOFF_S
        while True:
            try:
                for raw in await self.fetch():
                    # Known to be nonsense or not, it is not asked for again.
                    self._at = max(self._at, place_of(raw))
                    await take(self.url, raw)
            except Broken:
                raise  # It is we who are wrong: too many contradict us.
            except AccordError as err:
                if not isinstance(err, Unavailable):
                    diagnostics.error("peer %s: %s", self.url, err)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, BACKOFF_S_MAX)
            else:
                pause_s = BACKOFF_S

    async def fetch(self) -> list[bytes]:
        """What the peer's cosigner signed since the last time. Raises: Unavailable, Malformed."""
        asked = {"size": self._at.size, "time_s": self._at.time_s, "wait_ms": LONG_POLL_MS_MAX}
        answer = await self._get("/cosignatures", asked, ANSWER_BYTES_MAX)
        try:
            value: Any = httpx.Response(200, content=answer).json()
        except ValueError as err:
            raise Malformed("peer.answer") from err
        match value:
            case {"notes": list(notes)} if len(notes) <= COSIGNATURES_KEPT_MAX:
                pass
            case _:
                raise Malformed("peer.answer")
        items = cast(list[object], notes)
        if not all(isinstance(note, str) for note in items):
            raise Malformed("peer.answer")
        return [str(note).encode() for note in items]

    async def fetch_checkpoint(self) -> bytes:
        """The peer's newest head. Raises: Unavailable, Malformed."""
        return await self._get("/checkpoint", {}, CHECKPOINT_BYTES_MAX)

    async def fetch_checkpoint_at(self, size: int) -> bytes:
        """The head of a policy change, as the peer assembled it. Raises: Unavailable, Malformed."""
        return await self._get(f"/transition/{size}", {}, CHECKPOINT_BYTES_MAX)

    async def _get(self, path: str, params: dict[str, int], limit: int) -> bytes:
        got = bytearray()
        try:
            async with self._http.stream("GET", path, params=params) as answer:
                async for chunk in answer.aiter_bytes():
                    got += chunk
                    if len(got) > limit:
                        raise Malformed("peer.answer_size", path=path, limit=limit)
        except httpx.HTTPError as err:
            raise Unavailable("peer.no_answer", url=self.url, why=type(err).__name__) from err
        if answer.status_code != 200:
            raise Unavailable("peer.status", url=self.url, status=answer.status_code)
        return bytes(got)
