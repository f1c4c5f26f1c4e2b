"""Virtual time: an event loop whose clock jumps to whatever happens next, and a writer's thread
that is a queue in that time.

Nothing here waits, and nothing runs beside anything else: one seed, one order of events.
"""

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from sim.faults import Crash, Power

DISK_S = 0.03  # The longest that a piece of the writer's work takes, before and after it acts.


class _Selector(selectors.SelectSelector):
    """No file is ever ready: the next event is the next timer."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.loop.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without a wall clock, files or threads."""

    def __init__(self) -> None:
        self.now_s = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: object
    ) -> "asyncio.Future[Any]":
        if not isinstance(executor, Disk):
            raise TypeError("nothing but a simulated disk has a thread here")
        return executor.enqueue(partial(func, *args))


class Disk(Executor):
    """A node's one writer's thread: work in order, each piece at some moment between its request
    and its answer, so that whatever the event loop does meanwhile comes before or after it.

    When the power is cut no more is done and nobody is answered.
    """

    def __init__(self, rng: random.Random, power: Power) -> None:
        self._rng = rng
        self._power = power
        self._line: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._busy = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        del wait, cancel_futures

    def enqueue(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._line.append((work, answer))
        if not self._busy:
            self._busy = True
            self._later(self._act)
        return answer

    def _later(self, step: Callable[..., None], *args: object) -> None:
        asyncio.get_running_loop().call_later(self._rng.random() * DISK_S, step, *args)

    def _act(self) -> None:
        work, answer = self._line.popleft()
        if not self._power.is_on:
            return
        try:
            done, err = work(), None
        except Crash:
            return
        except Exception as failed:  # As a thread pool does.
            done, err = None, failed
        self._later(self._answer, answer, done, err)

    def _answer(self, answer: "asyncio.Future[Any]", done: object, err: Exception | None) -> None:
        if self._power.is_on and not answer.done():
            if err is None:
                answer.set_result(done)
            else:
                answer.set_exception(err)
        self._busy = bool(self._line)
        if self._busy:
            self._later(self._act)
