"""The network between nodes, members and followers: slow, lossy, reordering, repeating, parted."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from accord.wire.errors import Unavailable

T = TypeVar("T")
DELAY_S = 0.15  # The longest that a message takes; two of them overtake each other.
DEAF_S = 4.0  # How long a caller waits for what was lost.


class Network:
    """Who can reach whom, and what gets through. Places are members' names."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._sides: dict[str, int] = {}
        self.loss = 0.0
        self.repeats = 0.0

    def part(self, sides: dict[str, int]) -> None:
        """Places on different sides do not hear each other."""
        self._sides = sides

    def heal(self) -> None:
        self._sides, self.loss, self.repeats = {}, 0.0, 0.0

    def is_open(self, one: str, other: str) -> bool:
        return self._sides.get(one, 0) == self._sides.get(other, 0)

    def passes(self, one: str, other: str) -> bool:
        """Whether a message that is sent now arrives."""
        return self.is_open(one, other) and (one == other or self._rng.random() >= self.loss)

    async def delay(self) -> None:
        await asyncio.sleep(self._rng.random() * DELAY_S)

    async def call(self, caller: str, place: str, answer: Callable[[], Awaitable[T]]) -> T:
        """Ask, and bring the answer back. Raises: Unavailable, if either way nothing arrives (the
        question may have been heard), and whatever `answer` raises.
        """
        if self.passes(caller, place):
            await self.delay()
            if self._rng.random() < self.repeats:
                await answer()
            said = await answer()
            if self.passes(place, caller):
                await self.delay()
                return said
        await asyncio.sleep(DEAF_S)
        raise Unavailable("peer.no_answer", url=place, why="lost")
