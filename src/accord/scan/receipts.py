"""The platform's own log: a receipt for every screening, a signed promise for each.

One writer thread commits whatever has queued up in one transaction, so that any number of
screenings share one fsync and none waits for more than two of them.
Invariants: no scan receipt leaves before its leaf is durable; a promise that a crash swallowed
was never given.
Source: docs/spec/receipts.md.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accord.audit.receipts import (
    SALT_BYTES,
    ReceiptMeta,
    ScanReceipt,
    Subject,
    commit_to,
    receipt_leaf,
    receipts_key,
    receipts_origin,
    scan_receipt_bytes,
    upload_mac,
)
from accord.client.home import PrivateKey
from accord.matching.decision import Query
from accord.scan.receipt_store import Pending, ReceiptStore
from accord.statements.rules import Algorithm
from accord.tlog import (
    ENTRIES,
    Checkpoint,
    Frontier,
    Note,
    encode_bundle,
    encode_tile,
    leaf_hash,
    parse_tile_path,
    sign_text,
)
from accord.wire.errors import AccordError, Unavailable
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import RECEIPT_BATCH_MAX, RECEIPT_QUEUE_MAX, RECEIPT_SECRETS_MS

_SUBJECTS: Final = (
    (Algorithm.SHA256, Subject.SHA256),
    (Algorithm.SHA1, Subject.SHA1),
    (Algorithm.MD5, Subject.MD5),
)
_Job = tuple[Sequence[Pending], "Future[int]"]


@dataclass(frozen=True, slots=True)
class LogHead:
    """The receipts' log at one moment."""

    size: int
    root: bytes


class ReceiptLog:
    """Appends, signs and serves. Safe to share between threads; `close` waits for the queue."""

    def __init__(
        self,
        path: Path,
        chain: ChainId,
        platform: MemberId,
        key: PrivateKey,
        *,
        open_store: Callable[[Path], ReceiptStore] = ReceiptStore,
    ) -> None:
        """Raises: Unavailable."""
        self._chain = chain
        self._platform = platform
        self._key = key
        self._note_key = receipts_key(chain, platform, key.public)
        self._writing = open_store(path)
        self._reading = open_store(path)  # So that a reader never waits for an fsync.
        self._mac_key = self._writing.mac_key()
        self._jobs: queue.Queue[_Job | None] = queue.Queue(RECEIPT_QUEUE_MAX)
        self._closing = threading.Lock()
        self._is_closed = False
        self._note: tuple[Frontier, bytes] | None = None
        self._thread = threading.Thread(target=self._write, name="receipts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits until what was queued is durable. Repeating it changes nothing."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._jobs.put(None)
        self._thread.join()
        self._writing.close()
        self._reading.close()

    def record(
        self, meta: ReceiptMeta, query: Query, upload: str | None, time_ms: TimeMs
    ) -> ScanReceipt:
        """A durable receipt and the promise for it. Raises: Unavailable."""
        leaf, job = self.submit(meta, query, upload, time_ms)
        return self.promise(job.result(), leaf, time_ms)

    def submit(
        self,
        meta: ReceiptMeta,
        query: Query,
        upload: str | None,
        time_ms: TimeMs,
        client: MemberId | None = None,
    ) -> tuple[bytes, "Future[int]"]:
        """The leaf's hash, and its index once it is durable. `client`: whose look-up it is.

        Raises: Unavailable, if full.
        """
        subject, value = subject_of(query)
        salt, mac = os.urandom(SALT_BYTES), upload_mac(self._mac_key, upload)
        leaf = receipt_leaf(subject, meta, commit_to(salt, value, mac), client)
        return leaf_hash(leaf), self.append([Pending(leaf, salt, mac, time_ms)])

    def append(self, batch: Sequence[Pending]) -> "Future[int]":
        """Receipts that stand together, and the first one's index once they are durable.

        Raises: Unavailable, if too many wait.
        """
        job: Future[int] = Future()
        with self._closing:
            if self._is_closed:
                raise Unavailable("receipts.closed")
            try:
                self._jobs.put_nowait((batch, job))
            except queue.Full as err:
                raise Unavailable("receipts.busy") from err
        return job

    def promise(self, index: int, leaf: bytes, time_ms: TimeMs) -> ScanReceipt:
        """The signed scan receipt for a durable leaf."""
        signed = scan_receipt_bytes(self._chain, self._platform, index, leaf, time_ms)
        signature = self._key.sign(signed)
        return ScanReceipt(
            self._chain, self._platform, index, leaf, time_ms, self._key.key_id, signature
        )

    def head(self) -> LogHead:
        frontier = self._reading.head()
        return LogHead(frontier.size, frontier.root())

    def checkpoint(self) -> bytes:
        """The log's head as a note that the scanner key signed."""
        frontier = self._reading.head()
        if self._note is None or self._note[0] != frontier:
            origin = receipts_origin(self._chain, self._platform)
            text = Checkpoint(origin, frontier.size, frontier.root()).encode()
            line = sign_text(text, self._note_key, self._key.sign)
            self._note = (frontier, Note(text, (line,)).encode())
        return self._note[1]

    def tile(self, path: str) -> bytes:
        """A tile or an entry bundle. Raises: Malformed; Unavailable, for one not there yet."""
        tile = parse_tile_path(path)
        if tile.level != ENTRIES:
            return encode_tile(self._reading, tile)
        first = tile.index * 256
        found = self._reading.leaves(first, first + tile.width)
        if len(found) != tile.width:
            raise Unavailable("receipts.node", level=tile.level, index=tile.index)
        return encode_bundle(found)

    def opening(self, index: int) -> tuple[bytes, bytes] | None:
        """(salt, upload MAC) of a receipt, for a challenge; None once deleted."""
        return self._reading.secret(index)

    def forget(self, now_ms: TimeMs) -> int:
        """Delete salts and upload MACs older than 90 days; how many."""
        return self._reading.forget_secrets(TimeMs(now_ms - RECEIPT_SECRETS_MS))

    def _write(self) -> None:
        is_last = False
        while not is_last:
            batch: list[_Job] = []
            length = 0
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                length += len(job[0])
                if length >= RECEIPT_BATCH_MAX:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_last = job is None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        try:
            index = self._writing.append([one for pending, _ in batch for one in pending])
        except AccordError as err:
            for _, done in batch:
                done.set_exception(err)
            return
        for pending, done in batch:
            done.set_result(index)
            index += len(pending)


def subject_of(query: Query) -> tuple[Subject, bytes]:
    """What of a file its commitment is over: the strongest digest, else the first fingerprint."""
    digests = dict(query.digests)
    for algorithm, subject in _SUBJECTS:
        if algorithm in digests:
            return subject, digests[algorithm]
    if query.frames:
        return Subject.PDQ, query.frames[0].bits
    if query.vectors:
        return Subject.PHOTODNA, query.vectors[0][1]
    return Subject.NOTHING, b""
