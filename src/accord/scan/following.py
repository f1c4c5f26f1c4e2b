"""Keeping the list current: one thread that follows the ledger, folds, swaps and attests.

Or, with `reads_only`, a thread that takes over what `accord follow` writes to the same replica.
Whatever a node says wrong is refused by the replica and remembered here; the list goes on.
Not here: verification (follow), folding (screener).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from accord.replica.replica import Replica, sync_any
from accord.replica.source import LogSource
from accord.scan.attesting import Attester
from accord.scan.screener import Screener
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable, Unproven
from accord.wire.limits import FOLLOW_BACKOFF_MS_MAX, FOLLOW_WAIT_MS, REPLICA_POLL_MS

diagnostics = logging.getLogger("accord.follow")
FIRST_BACKOFF_S = 0.25
STOP_WAIT_S = 3.0


class LedgerPort(LogSource, Protocol):
    """A node, as one that follows and speaks needs it."""

    def wait(self, size: int, timeout_ms: int) -> int:
        """The log's size, once it is larger than `size` or the time is up."""
        ...

    def submit(self, transaction: bytes) -> int: ...


class Following:
    """The thread. It owns the replica from `start` to `stop`."""

    def __init__(  # noqa: PLR0913  (what it works with)
        self,
        replica: Replica,
        screener: Screener,
        attester: Attester | None,
        nodes: Sequence[LedgerPort],
        *,
        reads_only: bool = False,
        wait_ms: int = FOLLOW_WAIT_MS,
        on_news: Callable[[], None] | None = None,
        chore: Callable[[], bool] | None = None,
    ) -> None:
        """`on_news` is called when the replica has gained something, before it is folded here.
        `chore` is called in each round, and says whether it followed the log meanwhile."""
        self._chore = chore
        self._replica = replica
        self._screener = screener
        self._attester = attester
        self._nodes = tuple(nodes)
        self._reads_only = reads_only or not nodes
        self._wait_ms = wait_ms
        self._on_news = on_news
        self._stopping = threading.Event()
        self._news = threading.Event()  # Somebody says there is some, or that we stop.
        self._is_idle = threading.Event()  # Between rounds, or ended.
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self.refused: list[tuple[str, str]] = []  # The latest lies: node, error.
        self._unready: str | None = None
        self.trouble: str | None = None  # Why the last round failed, None when it did not.
        self.halted: Broken | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a round under way, a few seconds at most. A long poll is left to the daemon
        thread, which holds nothing then that a crash could harm."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._is_idle.wait(STOP_WAIT_S)

    def poke(self) -> None:
        """There is more in the replica: one that only reads looks at once. From any thread."""
        self._news.set()

    def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            self._is_idle.clear()
            try:
                self.once()
                if self.trouble is not None:
                    diagnostics.warning("following again")
                self.trouble = None
                backoff_s = FIRST_BACKOFF_S
                self._is_idle.set()
                self._pause()
            except Broken as err:
                self.halted = err  # The process's top loop ends on it.
                break
            except AccordError as err:
                if self.trouble != err.code:  # Once, not at each of a thousand tries.
                    diagnostics.warning("following: %s", err)
                self.trouble = err.code
                self._is_idle.set()
                self._stopping.wait(backoff_s)
                backoff_s = min(2 * backoff_s, FOLLOW_BACKOFF_MS_MAX / 1000)
        self._is_idle.set()

    def once(self) -> bool:
        """One round: sync, fold, attest. Whether the list changed. Raises: AccordError."""
        failure: AccordError | None = None
        if not self._reads_only:
            try:
                self._sync()
            except Broken:
                raise
            except AccordError as err:
                failure = err  # Another process may still have brought something.
        changed = self._screener.refresh()
        self._tell_readiness()
        self._attest()
        if self._chore is not None and self._chore():
            changed = self._screener.refresh() or changed
            if self._on_news is not None:
                self._on_news()
        if failure is not None:
            raise failure
        return changed

    def _sync(self) -> None:
        now_ms = self._screener.clock()
        try:
            gained, lies = sync_any(self._replica, self._nodes, now_ms)
        except (Malformed, Unproven) as err:
            self._refuse(err.detail.get("source", "all nodes"), err)
            raise
        if gained and self._on_news is not None:
            self._on_news()
        for name, lie in lies:
            self._refuse(name, lie)

    def _refuse(self, name: int | str, lie: AccordError) -> None:
        fresh = (str(name), str(lie))
        if fresh not in self.refused:
            diagnostics.error("refused %s: %s", *fresh)
            self.refused = [*self.refused[-15:], fresh]

    def _tell_readiness(self) -> None:
        """An operator learns why there is nothing to screen with, once, and when there is."""
        try:
            self._screener.running  # noqa: B018  (it raises)
            unready = None
        except Unavailable as err:
            unready = err
        code = None if unready is None else unready.code
        if code != self._unready:
            diagnostics.warning("%s", "screening now" if unready is None else f"waiting: {unready}")
            self._unready = code

    def _attest_wait_ms(self) -> int | None:
        if self._attester is None:
            return None
        try:
            return self._attester.wait_ms(self._screener, self._screener.clock())
        except Unavailable:
            return None  # No list yet: nothing to attest.

    def _attest(self) -> None:
        if self._attester is None or self._attest_wait_ms() != 0:
            return
        failure: AccordError | None = None
        for node in self._nodes:
            try:
                self._attester.attest(self._screener, node, self._screener.clock())
                return
            except Broken:
                raise
            except AccordError as err:
                failure = err
        if failure is not None:
            diagnostics.warning("attestation not taken, tried again later: %s", failure)

    def _pause(self) -> None:
        """Until there may be news."""
        if self._reads_only:
            self._news.wait(REPLICA_POLL_MS / 1000)
            self._news.clear()
            return
        wait_ms = self._wait_ms
        attest_ms = self._attest_wait_ms()
        if attest_ms is not None:  # Something waits for its gap: come back in time.
            wait_ms = min(wait_ms, attest_ms + REPLICA_POLL_MS)
        for node in self._nodes:
            try:
                node.wait(self._replica.size, wait_ms)
                return
            except Unavailable:
                continue
        self._stopping.wait(FIRST_BACKOFF_S)
