"""One decoder worker process as the parent sees it: start, exchange, stop.

Not here: sharing workers between callers (`pool`). Not thread-safe: one caller at a time.
Whatever happens the process is reaped and its pipes are closed.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from accord.fingerprint import Decoding, Source
from accord.fingerprint.ladder import Step
from accord.fingerprint.looking import NO_STEPS
from accord.media.films import BLOCK_BYTES, Progress, Wanted, parse_question
from accord.media.lock import USER_VARIABLE
from accord.media.worker import (
    ANSWER_BYTES_MAX,
    INSECURE,
    LENGTH_BYTES,
    NO_FINGERPRINTER,
    READY,
    REFUSED,
    film_head_of,
    head_of,
)
from accord.wire.errors import Broken, Unavailable
from accord.wire.limits import DECODER_START_MS

# -P: the working directory never shadows a codec. -s: nor do a person's own packages.
WORKER_ARGV: Final = (sys.executable, "-P", "-s", "-m", "accord.media.worker")
INSECURE_ARGV: Final = (*WORKER_ARGV, INSECURE)
_KEPT_VARIABLES: Final = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "ACCORD_KERNEL",
    USER_VARIABLE,
)
_REPORT_CHARACTERS_MAX: Final = 200
_CHUNK_BYTES: Final = 1 << 20
_STOP_WAIT_S: Final = 1.0  # An idle worker ends within milliseconds of its pipe closing.


def _nothing() -> None:
    """What there is to do while a worker works, as a rule."""


class TookTooLong(Exception):  # Told to the pool, which turns it into a code.
    """No whole answer by the deadline, or within its CPU time. The worker is of no more use."""


class Died(Exception):  # As above.
    """The pipe closed, or carried what no worker says. The worker is of no more use."""


class WorkerProcess:
    """A started worker. `files_done` counts what it answered; `report` says how it is locked."""

    def __init__(self, argv: Sequence[str] = WORKER_ARGV) -> None:
        """Raises: Unavailable `media.start`, when the worker does not get ready in
        DECODER_START_MS; `media.sandbox`, when it cannot be locked; `media.fingerprinter`, when
        the one that was named does not load or work.
        """
        self.files_done = 0
        try:
            self._process = subprocess.Popen(  # noqa: S603  # Our own interpreter and module.
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # A terminal's Ctrl-C reaches the parent, which stops us.
            )
        except OSError as err:
            raise Unavailable("media.start") from err
        if self._process.stdin is None or self._process.stdout is None:
            raise Broken("media.pipe")  # Both were asked for.
        self._to = self._process.stdin.fileno()
        self._from = self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        _widen(self._to)
        try:
            self.report = self._greeting()
        except BaseException:  # Told on: an interrupt, too, leaves no child behind.
            self.kill()
            raise

    def _greeting(self) -> str:
        """What the worker says of its lock before it has seen a file, so it can be believed."""
        try:
            said = self._exchange(b"", b"", DECODER_START_MS, _nothing)
        except (TookTooLong, Died) as err:
            raise Unavailable("media.start") from err
        word, _, rest = said.partition(b" ")
        words = rest.decode(errors="replace")[:_REPORT_CHARACTERS_MAX]
        if word == REFUSED and words.startswith(NO_FINGERPRINTER):
            raise Unavailable("media.fingerprinter", why=words, mend="fingerprinter.toml")
        if word == REFUSED:
            raise Unavailable("media.sandbox", why=words, mend="`Decoders` in docs/operate.md")
        if word != READY:
            raise Unavailable("media.start")
        return words

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self,
        data: bytes,
        wait_ms: int,
        decoding: Decoding = Decoding.EXACT,
        meanwhile: Callable[[], None] = _nothing,
        steps: frozenset[Step] = NO_STEPS,
    ) -> bytes:
        """The raw answer for one file; `meanwhile` is called while the worker is at it.

        Raises: TookTooLong, Died, and then perhaps before `meanwhile` was called.
        """
        head = head_of(data, decoding, steps)
        try:
            answer = self._exchange(head, data, wait_ms, meanwhile)
        except Died as err:
            if self._ended_by(signal.SIGPROF):
                raise TookTooLong from err
            raise
        self.files_done += 1
        return answer

    def watch(self, source: Source, wait_ms: int, silence_ms: int, progress: Progress) -> bytes:
        """The raw answer for a film, whose parts the worker asks for; it says how far it is.

        Units: `silence_ms` is the longest between two of its questions.

        Raises: TookTooLong, Died; SourceFailed; Malformed. The worker is then of no more use.
        """
        deadline = time.monotonic() + wait_ms / 1000
        said = self._told(film_head_of(source.size), b"", silence_ms)
        while (question := parse_question(said)) is not None:
            if time.monotonic() > deadline:
                raise TookTooLong
            part = b""
            if isinstance(question, Wanted):
                part = source.read(question.number * BLOCK_BYTES, BLOCK_BYTES)
            else:
                progress(question.done_ms, question.of_ms)
            said = self._told(len(part).to_bytes(LENGTH_BYTES, "big"), part, silence_ms)
        self.files_done += 1
        return said

    def _told(self, head: bytes, data: bytes, silence_ms: int) -> bytes:
        try:
            return self._exchange(head, data, silence_ms, _nothing)
        except Died as err:
            if self._ended_by(signal.SIGPROF):
                raise TookTooLong from err
            raise

    def _ended_by(self, number: signal.Signals) -> bool:
        """Whether a signal ended the worker whose pipe has closed."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_STOP_WAIT_S) == -number
        return False

    def stop(self) -> None:
        """Lets an idle worker end by closing its pipe; kills it where it does not."""
        self._close_pipes()
        try:
            self._process.wait(_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _exchange(
        self, head: bytes, data: bytes, wait_ms: int, meanwhile: Callable[[], None]
    ) -> bytes:
        """Writes and reads at once, so that neither side ever waits on a full pipe for good."""
        deadline = time.monotonic() + wait_ms / 1000
        unsent = deque(memoryview(part) for part in (head, data) if part)
        received = bytearray()
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        if unsent:
            poller.register(self._to, select.POLLOUT)
        while True:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0:
                raise TookTooLong
            for file, _ in poller.poll(left_ms):
                if file == self._from:
                    received += self._read()
                    continue
                self._write(unsent)
                if not unsent:
                    poller.unregister(self._to)
                    meanwhile()
            if len(received) < LENGTH_BYTES:
                continue
            size = int.from_bytes(received[:LENGTH_BYTES], "big")
            if size > ANSWER_BYTES_MAX or len(received) > LENGTH_BYTES + size:
                raise Died
            if len(received) == LENGTH_BYTES + size:
                if unsent:  # It answered a file that it has not read.
                    raise Died
                return bytes(received[LENGTH_BYTES:])

    def _write(self, unsent: deque[memoryview]) -> None:
        """One write of what is left, which then is less."""
        try:
            written = os.writev(self._to, [part[:_CHUNK_BYTES] for part in unsent])
        except BlockingIOError:
            return
        except OSError as err:
            raise Died from err
        while unsent and written >= len(unsent[0]):
            written -= len(unsent.popleft())
        if unsent:
            unsent[0] = unsent[0][written:]

    def _read(self) -> bytes:
        try:
            received = os.read(self._from, ANSWER_BYTES_MAX)
        except BlockingIOError:
            return b""
        except OSError as err:
            raise Died from err
        if not received:
            raise Died
        return received


def _widen(pipe: int) -> None:
    """Room for most files at once: each time a pipe is full costs both sides a change of task."""
    with suppress(AttributeError, OSError):  # Elsewhere it stays narrow: slower, no less right.
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)


def _environment() -> dict[str, str]:
    """What a decoder needs and no more: no credential of the parent's is ever in its memory."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "PILLOW_BLOCK_SIZE": "256m",  # A picture in one piece of memory is looked at in place.
    }
