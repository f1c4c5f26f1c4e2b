"""Fingerprints of outside bytes through a pool of decoder workers.

A file that hangs or kills its worker costs one worker start and gets its own code; the others
never notice. Digests are computed here, so that a worker cannot lie about them, and while it
decodes. There is no in-process mode, and no worker that is not locked unless the caller says so.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from accord.fingerprint import (
    BytesSource,
    Decoding,
    Digests,
    Examined,
    Fingerprinted,
    Source,
    Unhashable,
    UnhashableCode,
    answer_of,
    digests_in,
    digests_of,
)
from accord.fingerprint.ladder import Step
from accord.fingerprint.looking import NO_STEPS
from accord.media.films import LargeFilm, Progress, SourceFailed, is_film, nobody
from accord.media.fingerprinters import Named
from accord.media.lock import is_weak
from accord.media.process import (
    INSECURE_ARGV,
    WORKER_ARGV,
    Died,
    TookTooLong,
    WorkerProcess,
)
from accord.media.worker import FINGERPRINTER, parse_answer, times_of
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import (
    DECODE_WAIT_MS,
    DECODER_FILES_LIMIT,
    DECODER_FILES_MAX,
    DECODER_QUEUE_MAX,
    DECODER_QUEUE_WAIT_MS,
    IMAGE_BYTES_MAX,
    VIDEO_WAIT_MS,
)

_log: Final = logging.getLogger(__name__)


class DecoderPool:
    """`workers` decoder processes, started on first use. Safe to share between threads.

    `insecure`: workers with limits of memory and files alone, where a system has no more.
    `fingerprinter`: an installed one that looks at every picture, too.
    """

    def __init__(  # noqa: PLR0913  (what a pool may be told)
        self,
        workers: int,
        *,
        insecure: bool = False,
        fingerprinter: Named | None = None,
        argv: Sequence[str] | None = None,
        wait_ms: int = DECODE_WAIT_MS,
        film_wait_ms: int = VIDEO_WAIT_MS,
        files_max: int = DECODER_FILES_MAX,
        queue_max: int = DECODER_QUEUE_MAX,
        queue_wait_ms: int = DECODER_QUEUE_WAIT_MS,
    ) -> None:
        if workers < 1:
            raise ValueError("a pool has at least one worker")
        if not 1 <= files_max <= DECODER_FILES_LIMIT:
            raise ValueError("a worker is recycled after 1 to 2,000 files")
        self.workers = workers
        self.fingerprinter = fingerprinter
        self._argv = tuple(argv or (INSECURE_ARGV if insecure else WORKER_ARGV))
        if fingerprinter is not None:
            self._argv += (FINGERPRINTER + fingerprinter.as_argument(),)
        self._report = ""
        self._wait_ms = wait_ms
        self._film_wait_ms = film_wait_ms
        self._files_max = files_max
        self._queue_wait_s = queue_wait_ms / 1000
        # One slot a worker; None is a worker not started yet. Last in first out keeps few warm.
        self._slots: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(workers):
            self._slots.put(None)
        self._places = threading.BoundedSemaphore(workers + queue_max)
        self._films = threading.BoundedSemaphore(max(1, workers - 1))
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder-pool")
        # Films that wait for their turn wait beside the pictures, not before them.
        self._film_threads = ThreadPoolExecutor(
            workers + queue_max, thread_name_prefix="decoder-pool-films"
        )
        self._closing = threading.Lock()
        self._is_closed = False

    def check(self) -> str:
        """How workers are locked, in words; starts one to find out, which then waits for a file.

        Raises: Unavailable `media.sandbox`, `media.fingerprinter`, `media.start`, `media.busy`,
        `media.closed`.
        """
        slot, worker = self._slot(), None
        try:
            worker = self._ready(slot)
            return worker.report
        finally:
            self._slots.put(worker)

    def fingerprint(
        self,
        data: bytes | LargeFilm,
        decoding: Decoding = Decoding.EXACT,
        digests: Digests | None = None,
        steps: frozenset[Step] = NO_STEPS,
        progress: Progress = nobody,
    ) -> Fingerprinted | Unhashable:
        """All fingerprints of one file, or why there are none; `digests` if they are known.

        `progress` hears how much of a film is seen.

        Raises: Unavailable `media.busy` when too many wait already or no worker comes free in
        time, `media.start` when workers do not start, `media.sandbox` when they cannot be locked,
        `media.fingerprinter` when they cannot load the one that was named, `media.closed`.
        """
        self._enter()
        try:
            return self._fingerprint(data, decoding, digests, steps, progress)
        finally:
            self._places.release()

    async def fingerprint_async(
        self,
        data: bytes | LargeFilm,
        decoding: Decoding = Decoding.EXACT,
        digests: Digests | None = None,
        steps: frozenset[Step] = NO_STEPS,
    ) -> Fingerprinted | Unhashable:
        """`fingerprint` for an event loop. Raises: as `fingerprint`."""
        self._enter()
        threads = self._threads
        if not isinstance(data, bytes) or is_film(data):
            threads = self._film_threads
        try:
            work = threads.submit(self._fingerprint, data, decoding, digests, steps)
        except RuntimeError as err:  # Closed between the two lines.
            self._places.release()
            raise Unavailable("media.closed") from err
        # The place is given back when the work ends, even if the caller has gone by then.
        work.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(work)

    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the idle workers, for operators and tests."""
        with self._slots.mutex:
            return tuple(slot.pid for slot in self._slots.queue if slot is not None)

    def close(self) -> None:
        """Waits for files in work, then ends every worker. Repeating it changes nothing."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        for threads in (self._threads, self._film_threads):
            threads.shutdown(wait=True, cancel_futures=True)
        for _ in range(self.workers):
            # A file in work ends within its own time limit, so this wait is bounded too.
            slot = self._slots.get()
            if slot is not None:
                slot.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _enter(self) -> None:
        if self._is_closed:
            raise Unavailable("media.closed")
        if not self._places.acquire(blocking=False):
            raise Unavailable("media.busy")

    def _fingerprint(
        self,
        data: bytes | LargeFilm,
        decoding: Decoding,
        digests: Digests | None,
        steps: frozenset[Step] = NO_STEPS,
        progress: Progress = nobody,
    ) -> Fingerprinted | Unhashable:
        if not isinstance(data, bytes):
            try:
                with data.opened() as film:
                    answer = self._examine_film(film, progress)
                    return answer_of(digests or digests_in(film.blocks()), answer)
            except SourceFailed:
                return Unhashable(UnhashableCode.UNREADABLE, digests)
        if is_film(data):
            answer = self._examine_film(BytesSource(data), progress)
            return answer_of(digests or digests_of(data), answer)
        if len(data) > IMAGE_BYTES_MAX:
            return Unhashable(UnhashableCode.TOO_LARGE, None)

        def digest() -> None:
            nonlocal digests
            digests = digests or digests_of(data)

        answer = self._examine(data, decoding, digest, steps)
        return answer_of(digests or digests_of(data), answer)

    def _examine(
        self,
        data: bytes,
        decoding: Decoding,
        meanwhile: Callable[[], None],
        steps: frozenset[Step],
    ) -> Examined | UnhashableCode:
        wait_ms = self._wait_ms * times_of(decoding)
        return self._answered(
            lambda worker: worker.ask(data, wait_ms, decoding, meanwhile, steps),
            UnhashableCode.TIMEOUT,
            UnhashableCode.CRASHED,
        )

    def _examine_film(self, film: Source, progress: Progress) -> Examined | UnhashableCode:
        """A film takes long: of several workers one is always left to pictures."""
        if not self._films.acquire(timeout=self._queue_wait_s):
            raise Unavailable("media.busy")
        try:
            return self._answered(
                lambda worker: worker.watch(film, self._film_wait_ms, self._wait_ms, progress),
                UnhashableCode.VIDEO_TIMEOUT,
                UnhashableCode.VIDEO_CRASHED,
            )
        finally:
            self._films.release()

    def _answered(
        self,
        ask: Callable[[WorkerProcess], bytes],
        timeout: UnhashableCode,
        crashed: UnhashableCode,
    ) -> Examined | UnhashableCode:
        slot = self._slot()
        kept: WorkerProcess | None = None
        try:
            worker = self._ready(slot)
            try:
                answer = parse_answer(ask(worker))
            except TookTooLong:
                worker.kill()
                return timeout
            except (Died, Malformed):
                worker.kill()
                return crashed
            except BaseException:  # Told on: after an interrupt the next answer is out of step.
                worker.kill()
                raise
            kept = self._unless_spent(worker)
            return answer
        finally:
            self._slots.put(kept)

    def _slot(self) -> WorkerProcess | None:
        """The slot that was given back last; whoever takes it gives it back."""
        try:
            return self._slots.get(timeout=self._queue_wait_s)
        except queue.Empty:
            raise Unavailable("media.busy") from None

    def _ready(self, slot: WorkerProcess | None) -> WorkerProcess:
        """A living worker: one that died idle is replaced and no file is blamed for it."""
        if slot is not None and slot.is_alive():
            return slot
        if slot is not None:
            slot.kill()
        if self._is_closed:
            raise Unavailable("media.closed")
        worker = WorkerProcess(self._argv)
        if worker.report != self._report:  # Said once, as a rule.
            self._report = worker.report
            level = logging.WARNING if is_weak(worker.report) else logging.INFO
            _log.log(level, "decoder workers: %s", worker.report)
        return worker

    def _unless_spent(self, worker: WorkerProcess) -> WorkerProcess | None:
        if worker.files_done < self._files_max:
            return worker
        worker.stop()
        return None
