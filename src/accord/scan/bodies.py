"""Request bodies: within what may be held at once, in memory, or, of a large film, on a disk.

Invariants: nothing is read before its declared size is known to be welcome; no body is longer than
its limit, whatever it declares; of a film a few parts are in memory; whoever sends nothing for a
while, or takes for ever, is turned away, and nothing of the body stays.
Not here: what a body is for (gateway), the disk (spool).
Source: docs/spec/gateway.md, section Films.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request

from accord.fingerprint.video_formats import HEAD_BYTES, video_format_of
from accord.scan.spool import Spool, SpooledFilm
from accord.wire.errors import Broken, Malformed, Unavailable
from accord.wire.limits import (
    IMAGE_BYTES_MAX,
    SCREEN_BYTES_IN_FLIGHT_MAX,
    UPLOAD_SILENCE_S_MAX,
    UPLOAD_WAIT_S_MAX,
)

TOO_LARGE: Final = "image.too_large"
FILM_TOO_LARGE: Final = "video.too_large"
SLOW: Final = "gateway.slow"
_PART_BYTES: Final = 1 << 20  # What is written at once.
FILM_BYTES_HELD: Final = 4 * _PART_BYTES  # Of a film: a part twice, and what a socket holds.


class Budget:
    """Request bodies held at once, in bytes. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Raises: Unavailable, when too much is held already."""
        if size > self._left:
            raise Unavailable("gateway.busy")
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


@dataclass(frozen=True)
class Bodies:
    """How bodies are received. `spool` is None where no film is taken beyond other files' size."""

    budget: Budget = field(default_factory=lambda: Budget(SCREEN_BYTES_IN_FLIGHT_MAX))
    spool: Spool | None = None
    silence_s: float = UPLOAD_SILENCE_S_MAX
    wait_s: float = UPLOAD_WAIT_S_MAX

    @asynccontextmanager
    async def whole(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """A request's body until the end of the block. Raises: Malformed, Unavailable."""
        async with self._received(request, limit, None) as body:
            if not isinstance(body, bytes):
                raise Broken("gateway.body")  # There was no spool.
            yield body

    @asynccontextmanager
    async def file(self, request: Request) -> AsyncIterator[bytes | SpooledFilm]:
        """`whole` for a file, which may be a film that is larger than other files may be."""
        async with self._received(request, IMAGE_BYTES_MAX, self.spool) as body:
            yield body

    @asynccontextmanager
    async def _received(
        self, request: Request, limit: int, spool: Spool | None
    ) -> AsyncIterator[bytes | SpooledFilm]:
        size = _declared(request, limit if spool is None else spool.film_bytes_max)
        async with AsyncExitStack() as stack:
            taking = _Taking(self.budget, limit, size, spool, stack)
            stack.callback(taking.give_back)
            taking.begin()
            await self._take(request, taking)
            yield await taking.end()

    async def _take(self, request: Request, taking: "_Taking") -> None:
        clock = asyncio.get_running_loop().time
        latest_s = clock() + self.wait_s
        try:
            async with asyncio.timeout(self.silence_s) as patience:
                async for chunk in request.stream():
                    patience.reschedule(min(clock() + self.silence_s, latest_s))
                    await taking.take(chunk)
                    patience.reschedule(min(clock() + self.silence_s, latest_s))
        except TimeoutError:
            raise Malformed(SLOW, seconds=round(self.wait_s)) from None


class _Taking:
    """One body on its way in."""

    def __init__(
        self,
        budget: Budget,
        limit: int,
        size: int | None,
        spool: Spool | None,
        stack: AsyncExitStack,
    ) -> None:
        self._budget = budget
        self._limit = limit
        self._size = size  # As declared.
        self._spool = spool
        self._stack = stack
        self._held = 0  # Of the budget.
        self._parts: list[bytes] = []
        self._pending = 0  # Bytes of these.
        self._length = 0
        self._film: SpooledFilm | None = None

    def begin(self) -> None:
        """Raises: Unavailable."""
        size = self._limit if self._size is None else self._size
        held = size if size <= self._limit else FILM_BYTES_HELD
        self._budget.take(held)
        self._held = held

    def give_back(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0

    async def take(self, chunk: bytes) -> None:
        """Raises: Malformed, Unavailable."""
        self._length += len(chunk)
        if self._size is not None and self._length > self._size:
            raise Malformed(TOO_LARGE, limit=self._size)
        self._parts.append(chunk)
        self._pending += len(chunk)
        if self._film is None:
            if max(self._length, self._size or 0) <= self._limit:
                return
            if self._length < min(HEAD_BYTES, self._size or HEAD_BYTES):
                return
            self._become_film()
        if self._pending >= _PART_BYTES:
            await self._write()

    async def end(self) -> bytes | SpooledFilm:
        """Raises: Unavailable."""
        if self._film is None:
            return b"".join(self._parts)  # The only copy, and none of what came in one piece.
        await self._write()
        return self._film

    def _become_film(self) -> None:
        """What is larger than other files may be is a film by its first bytes, and else refused."""
        head = b"".join(part[:HEAD_BYTES] for part in self._parts[:HEAD_BYTES])[:HEAD_BYTES]
        if self._spool is None or video_format_of(head) is None:
            raise Malformed(TOO_LARGE, limit=self._limit)
        size = self._size or self._length
        film = self._spool.film(min(size, self._spool.film_bytes_max))
        self._film = self._stack.enter_context(film)  # Here, so that no cancelled thread makes it.

    async def _write(self) -> None:
        film, spool = self._film, self._spool
        if film is None or spool is None:
            return
        if self._length > spool.film_bytes_max:
            raise Malformed(FILM_TOO_LARGE, limit=spool.film_bytes_max)
        parts, self._parts, self._pending = self._parts, [], 0
        await asyncio.to_thread(_write_all, film, parts)
        if self._held > FILM_BYTES_HELD:  # It came without a size, and was in memory until now.
            self._budget.give_back(self._held - FILM_BYTES_HELD)
            self._held = FILM_BYTES_HELD


def _write_all(film: SpooledFilm, parts: list[bytes]) -> None:
    """Raises: Unavailable, SourceFailed."""
    for part in parts:
        film.write(part)


def _declared(request: Request, most: int) -> int | None:
    """How many bytes a body says that it has; None where it does not. Raises: Malformed."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise Malformed("gateway.length")
    if len(text) > 18 or int(text) > most:
        raise Malformed(TOO_LARGE, limit=most)
    return int(text)
