"""One decoder worker process as the parent sees it: start, exchange, stop.

Not here: sharing workers between callers (`pool`). Not thread-safe: one caller at a time.
Whatever happens the process is reaped and its pipes are closed.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from accord.media.worker import ANSWER_BYTES_MAX, LENGTH_BYTES, READY
from accord.wire.errors import Broken, Unavailable
from accord.wire.limits import DECODER_START_MS

# -P: the working directory never shadows a codec. -s: nor do a person's own packages.
WORKER_ARGV: Final = (sys.executable, "-P", "-s", "-m", "accord.media.worker")
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
_CHUNK_BYTES: Final = 1 << 20
_STOP_WAIT_S: Final = 1.0  # An idle worker ends within milliseconds of its pipe closing.


class TookTooLong(Exception):  # Told to the pool, which turns it into a code.
    """No whole answer by the deadline. The worker is of no more use."""


class Died(Exception):  # As above.
    """The pipe closed, or carried what no worker says. The worker is of no more use."""


class WorkerProcess:
    """A started worker. `files_done` counts what it answered."""

    def __init__(self, argv: Sequence[str] = WORKER_ARGV) -> None:
        """Raises: Unavailable, when the worker does not get ready in DECODER_START_MS."""
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
        try:
            ready = self._exchange(b"", DECODER_START_MS) == READY
        except (TookTooLong, Died) as err:
            self.kill()
            raise Unavailable("media.start") from err
        if not ready:
            self.kill()
            raise Unavailable("media.start")

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, data: bytes, wait_ms: int) -> bytes:
        """The raw answer for one file. Raises: TookTooLong, Died."""
        answer = self._exchange(len(data).to_bytes(LENGTH_BYTES, "big") + data, wait_ms)
        self.files_done += 1
        return answer

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

    def _exchange(self, outgoing: bytes, wait_ms: int) -> bytes:
        """Writes and reads at once, so that neither side ever waits on a full pipe for good."""
        deadline = time.monotonic() + wait_ms / 1000
        unsent, received = memoryview(outgoing), bytearray()
        while True:
            poller = select.poll()
            poller.register(self._from, select.POLLIN)
            if unsent:
                poller.register(self._to, select.POLLOUT)
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0:
                raise TookTooLong
            for file, _ in poller.poll(left_ms):
                unsent = self._write(unsent) if file == self._to else unsent
                received += self._read() if file == self._from else b""
            if len(received) < LENGTH_BYTES:
                continue
            size = int.from_bytes(received[:LENGTH_BYTES], "big")
            if size > ANSWER_BYTES_MAX or len(received) > LENGTH_BYTES + size:
                raise Died
            if len(received) == LENGTH_BYTES + size:
                if unsent:  # It answered a file that it has not read.
                    raise Died
                return bytes(received[LENGTH_BYTES:])

    def _write(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(self._to, unsent[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return unsent
        except OSError as err:
            raise Died from err

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


def _environment() -> dict[str, str]:
    """What a decoder needs and no more: no credential of the parent's is ever in its memory."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
