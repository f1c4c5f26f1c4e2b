"""Receipts of several processes, written by one: what all of them hand in while one commit runs
shares the next. Writers of their own would wait for each other's disk.

A unix socket in a private directory. A batch goes there, the index of its first leaf comes back
once it is durable, or the code of what went wrong.
Invariants: no index before the batch is durable; a batch keeps its order and stands together; a
caller that goes away in between leaves receipts that nobody was told of, as after any crash.
Shape: request: 4 bytes of length, then a CBOR array of [leaf, salt, upload MAC, time]; answer:
4 bytes of length, then the index, or the code as text.
Not here: what a receipt says, the file (receipts, receipt_store).
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, cast

from accord.scan.receipt_store import Pending, ReceiptStore
from accord.wire import cbor
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable
from accord.wire.ids import TimeMs

SOCKET_FILE: Final = "receipts.sock"
FRAME_BYTES_MAX: Final = 16_000_000  # RECEIPT_BATCH_MAX receipts are about 1 MB.
ANSWER_S: Final = 30.0  # A disk that takes longer has failed.
_LENGTH_BYTES: Final = 4
Append = Callable[[Sequence[Pending]], "Future[int]"]

diagnostics = logging.getLogger("accord.gateway")


class RelayedStore(ReceiptStore):
    """The file, read here and written by whoever listens in `directory`. As `ReceiptStore`."""

    def __init__(self, path: Path, directory: Path) -> None:
        super().__init__(path)
        self._directory = directory
        self._line = threading.Lock()
        self._socket: socket.socket | None = None

    def append(self, batch: Sequence[Pending]) -> int:
        rows: list[cbor.Value] = [[p.leaf, p.salt, p.upload_mac, p.time_ms] for p in batch]
        with self._line:
            try:
                answer = cbor.parse(self._exchange(cbor.encode(rows)))
            except (OSError, EOFError, Malformed) as err:
                self._hang_up()  # What comes next would be out of step.
                raise Unavailable("receipts.store", why=type(err).__name__) from err
        if isinstance(answer, int):
            return answer
        raise Unavailable(str(answer))

    def close(self) -> None:
        with self._line:
            self._hang_up()
        super().close()

    def _exchange(self, frame: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(ANSWER_S)
            with _short(self._directory) as directory:
                self._socket.connect(f"{directory}/{SOCKET_FILE}")
        _send(self._socket, frame)
        return _receive(self._socket)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Relay:
    """Takes batches until it is closed. One thread for each process that hands some in."""

    def __init__(self, directory: Path, append: Append) -> None:
        """Raises: Unavailable."""
        self._append = append
        self._lines: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(directory) as near:
                self._listener.bind(f"{near}/{SOCKET_FILE}")
            self._listener.listen(64)
        except OSError as err:
            self._listener.close()
            raise Unavailable("receipts.store", why=str(err)) from err
        threading.Thread(target=self._accept, name="receipt-relay", daemon=True).start()

    def close(self) -> None:
        """Whoever waits for an answer gets none."""
        for line in (self._listener, *self._lines):
            _shut(line)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            self._lines.add(line)
            threading.Thread(
                target=self._serve, args=(line,), name="receipt-line", daemon=True
            ).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            while True:
                rows = cbor.parse(_receive(line))
                _send(line, cbor.encode(self._written(rows)))
        except (OSError, EOFError):
            pass  # It has ended, or we have.
        except Malformed as err:
            diagnostics.error("a process handed in what is no batch: %s", err)
        finally:
            self._lines.discard(line)
            line.close()

    def _written(self, rows: cbor.Value) -> int | str:
        """Where the batch stands, or why it does not. Raises: Malformed."""
        try:
            return self._append(_batch_of(rows)).result()
        except (Malformed, Broken):
            raise
        except AccordError as err:
            return err.code


def _batch_of(rows: cbor.Value) -> list[Pending]:
    """Raises: Malformed."""
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 4 for row in rows
    ):
        raise Malformed("receipts.relay")
    batch: list[Pending] = []
    for leaf, salt, mac, time_ms in cast("list[list[cbor.Value]]", rows):
        if not (
            isinstance(leaf, bytes)
            and isinstance(salt, bytes)
            and isinstance(mac, bytes)
            and isinstance(time_ms, int)
        ):
            raise Malformed("receipts.relay")
        batch.append(Pending(leaf, salt, mac, TimeMs(time_ms)))
    return batch


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name of `directory` of a few characters: a socket's path has room for a hundred or so, and
    people put their temporary files where they like. Raises: OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        near = f"/proc/self/fd/{descriptor}"
        yield near if Path(near).exists() else str(directory)
    finally:
        os.close(descriptor)


def _send(line: socket.socket, frame: bytes) -> None:
    line.sendall(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)


def _receive(line: socket.socket) -> bytes:
    """One frame. Raises: EOFError, OSError; Malformed, for one too long."""
    size = int.from_bytes(_exactly(line, _LENGTH_BYTES), "big")
    if size > FRAME_BYTES_MAX:
        raise Malformed("receipts.relay", size=size)
    return _exactly(line, size)


def _exactly(line: socket.socket, size: int) -> bytes:
    parts = list[bytes]()
    while size:
        part = line.recv(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _shut(line: socket.socket) -> None:
    """Wakes whoever reads from it, which closing alone would not."""
    with suppress(OSError):  # It was not connected.
        line.shutdown(socket.SHUT_RDWR)
    line.close()
