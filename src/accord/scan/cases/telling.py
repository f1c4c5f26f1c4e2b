"""Telling the agencies what reviewers found: each word once, whatever crashes.

    owed -> telling (signed bytes, kept) -> told (the entry)

A word is what reviewers said of a listing, by algorithm and reason, however many files it was said
of. What is owed becomes one statement, whose bytes are stored with the words it carries before it
is sent, and sent again, the very same, until the ledger has answered. What the ledger can never
take any more is looked for in the log; where it is not, its words are owed again.
Not here: what reviewers found (model), the bytes (statements.feedback), whether a word counts
(registry).
Source: docs/spec/cases.md, section 5.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from accord.client.home import PrivateKey
from accord.ledger.epochs import recipients_of
from accord.ledger.state import Reader
from accord.replica.replica import Replica, sync_any
from accord.scan.cases.model import TaskKind
from accord.scan.cases.sealed import hearers, seal_feedback
from accord.scan.cases.store import CaseStore, Fault, no_fault
from accord.scan.following import LedgerPort
from accord.statements.bodies import Feedback, Header
from accord.statements.entries import parse_entry
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_envelope,
    parse_transaction,
    seal_envelope,
)
from accord.statements.feedback import Reason, Word, recipients_sha256
from accord.statements.rules import EXACT_ALGORITHMS
from accord.wire.digests import sha256
from accord.wire.errors import AccordError, Broken, Rejected, Unavailable
from accord.wire.ids import AGENCIES, ChainId, MemberId, TimeMs, parse_ref_text
from accord.wire.limits import FEEDBACK_WORDS_MAX, STATEMENT_LIFE_MS, STATEMENT_LIFE_MS_MAX

diagnostics = logging.getLogger("accord.feedback")
LOCK_FILE: Final = "feedback.lock"
# After these the very same bytes can never be taken in any more: a fresh statement can.
NEVER_AGAIN: Final = frozenset(
    {"reject.expired", "reject.wrong_recipients", "reject.unknown_key", "reject.replayed"}
)
_FRESH_TRIES: Final = 3  # A keyset may come between following the log and submitting.
_SETTLE: Final = """
UPDATE tasks SET done_ms = ?, outcome = (
    SELECT json_object('entry', entry) FROM told JOIN telling USING (job)
    WHERE told.subject = tasks.subject AND told.reason = json_extract(tasks.facts, '$.reason')
) WHERE kind = ? AND done_ms IS NULL AND EXISTS (
    SELECT 1 FROM told JOIN telling USING (job)
    WHERE told.subject = tasks.subject AND told.reason = json_extract(tasks.facts, '$.reason')
    AND entry IS NOT NULL
)
"""
Pair = tuple[str, str]  # Subject (listing and algorithm) and reason, as in the table of feedback.


class LedgerSide(Protocol):
    """The platform's view of the ledger, and a node that takes statements."""

    @property
    def state(self) -> Reader: ...

    def sync(self) -> None:
        """Follow the log. Raises: Unavailable, Unproven."""
        ...

    def submit(self, transaction: bytes) -> int:
        """The entry's index; the very same bytes get the very same index.

        Raises: Rejected; Unavailable, and then nobody knows yet whether it counts.
        """
        ...

    def entry_of(self, header: Header, since_ms: TimeMs) -> int | None:
        """Where a statement said since then stands in what was followed, if it does."""
        ...


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who tells. `key` is the platform's reporter key."""

    chain: ChainId
    platform: MemberId
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Told:
    """What one call came to: entries, words in them, and words that are still owed."""

    entries: tuple[int, ...]
    words: int
    left: int

    def view(self) -> dict[str, object]:
        return {"entries": list(self.entries), "words": self.words, "left": self.left}


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    time_ms: TimeMs
    words: int
    sent: bytes


class FeedbackQueue:
    """The words of a platform's cases on their way to the agencies. Any number of processes."""

    def __init__(self, store: CaseStore, home: Path, fault: Fault = no_fault) -> None:
        self._store = store
        self._home = home
        self._fault = fault

    def owed(self) -> list[Pair]:
        """What reviewers found and no statement carries yet, in order."""
        rows = self._store.query(
            "SELECT subject, reason FROM feedback WHERE files > 0 AND NOT EXISTS "
            "(SELECT 1 FROM told WHERE told.subject = feedback.subject "
            "AND told.reason = feedback.reason) ORDER BY subject, reason"
        )
        return [(str(subject), str(reason)) for subject, reason in rows]

    def waiting(self) -> int:
        """Words that the ledger is not known to have: owed, or in a statement that was sent."""
        rows = self._store.query("SELECT SUM(words) FROM telling WHERE entry IS NULL")
        return len(self.owed()) + int(rows[0][0] or 0)

    def is_due(self, now: TimeMs, every_ms: int) -> bool:
        """Whether there is anything to tell, and the newest statement was made so long ago."""
        ((last_ms,),) = self._store.query("SELECT MAX(time_ms) FROM telling")
        is_early = last_ms is not None and now < last_ms + every_ms
        return not is_early and self.waiting() > 0

    def tell(
        self,
        speaker: Speaker,
        ledger: LedgerSide,
        clock: Callable[[], TimeMs],
        *,
        is_patient: bool = True,
    ) -> Told:
        """Everything that is owed, in as many statements as it takes. Waits for another process
        that is at it, unless it is not patient.

        Raises: Rejected, such as for the quota: what is owed stays owed; Unavailable: the same call
        again; Unproven.
        """
        entries: list[int] = []
        words = tries = 0
        with self._alone(is_patient):
            ledger.sync()
            while (
                job := self._pending() or self._make(speaker, ledger.state, clock())
            ) is not None:
                try:
                    entry = self._send(job, ledger)
                except Rejected as err:
                    tries += 1
                    self._give_back(job)
                    if err.code not in NEVER_AGAIN or tries == _FRESH_TRIES:
                        raise
                    continue
                self._finish(job, entry)
                entries.append(entry)
                words += job.words
            self._settle(clock())
        return Told(tuple(entries), words, len(self.owed()))

    @contextmanager
    def _alone(self, is_patient: bool) -> Iterator[None]:
        """Nobody else tells meanwhile; a process that dies lets go. Raises: Unavailable."""
        try:
            descriptor = os.open(self._home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as err:
            raise Unavailable("cases.store", why=err.strerror or "") from err
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
            except BlockingIOError as err:
                raise Unavailable("cases.telling", mend="let the other process finish") from err
            yield
        finally:
            os.close(descriptor)

    def _pending(self) -> _Job | None:
        rows = self._store.query(
            "SELECT job, time_ms, words, sent FROM telling WHERE entry IS NULL ORDER BY job LIMIT 1"
        )
        return _Job(*rows[0]) if rows else None

    def _make(self, speaker: Speaker, state: Reader, now: TimeMs) -> _Job | None:
        """A statement of what is owed, kept before it is sent; None where nothing is."""
        pairs = self.owed()[:FEEDBACK_WORDS_MAX]
        if not pairs:
            return None
        sent = _statement(speaker, state, [word_of(*pair) for pair in pairs], now)
        with self._store.transaction("telling") as db:
            made = db.execute(
                "INSERT INTO telling (time_ms, words, sent) VALUES (?, ?, ?)",
                (now, len(pairs), sent),
            )
            number = int(made.lastrowid or 0)
            db.executemany("INSERT INTO told VALUES (?, ?, ?)", [(*p, number) for p in pairs])
        # Crash up to here: nothing was sent, and nothing or all of it is kept.
        return _Job(number, now, len(pairs), sent)

    def _send(self, job: _Job, ledger: LedgerSide) -> int:
        self._fault("before submit")
        # POINT OF NO RETURN. Crash from here: the same bytes are sent again, for the same entry.
        try:
            entry = ledger.submit(job.sent)
        except Rejected:
            ledger.sync()
            header = parse_envelope(parse_transaction(job.sent).envelope).body.header
            found = ledger.entry_of(header, job.time_ms)
            if found is None:
                raise
            entry = found
        self._fault("after submit")
        return entry

    def _give_back(self, job: _Job) -> None:
        """The statement never was: its words are owed again."""
        with self._store.transaction("giving back") as db:
            db.execute("DELETE FROM told WHERE job = ?", (job.number,))
            db.execute("DELETE FROM telling WHERE job = ?", (job.number,))

    def _finish(self, job: _Job, entry: int) -> None:
        """The ledger has it. Crash before: the same bytes are sent again, for the same entry."""
        with self._store.transaction("told") as db:
            sql = "UPDATE telling SET entry = ?, sent = NULL WHERE job = ?"
            db.execute(sql, (entry, job.number))

    def _settle(self, now: TimeMs) -> None:
        """Whatever the ledger has been told of is done, whichever case it is a task of."""
        with self._store.transaction("settling") as db:
            db.execute(_SETTLE, (now, TaskKind.FEEDBACK))


@dataclass(frozen=True, slots=True)
class ReplicaLedger:
    """A `LedgerSide` over a platform's own replica and nodes."""

    replica: Replica
    nodes: Sequence[LedgerPort]
    clock: Callable[[], TimeMs]

    @property
    def state(self) -> Reader:
        return self.replica.state

    def sync(self) -> None:
        sync_any(self.replica, self.nodes, self.clock())

    def submit(self, transaction: bytes) -> int:
        for node in self.nodes[:-1]:
            with suppress(Unavailable):
                return node.submit(transaction)
        return self.nodes[-1].submit(transaction)

    def entry_of(self, header: Header, since_ms: TimeMs) -> int | None:
        for index in range(self.replica.size - 1, -1, -1):
            entry = parse_entry(self.replica.leaves(index, index + 1)[0])
            if entry.time_ms < since_ms - STATEMENT_LIFE_MS_MAX:  # Clocks may be apart.
                return None
            if parse_envelope(entry.statement).body.header == header:
                return index
        return None


@dataclass
class TellingChore:
    """Tells by itself, from the thread that follows. What does not go through waits `every_ms`."""

    queue: FeedbackQueue
    speaker: Speaker
    ledger: LedgerSide
    clock: Callable[[], TimeMs]
    every_ms: int
    told: int = 0  # Words.
    _again_ms: int = 0

    def __call__(self) -> bool:
        """Whether the log was followed meanwhile. Raises: Broken."""
        now = self.clock()
        if now < self._again_ms or not self.queue.is_due(now, self.every_ms):
            return False
        try:
            told = self.queue.tell(self.speaker, self.ledger, self.clock, is_patient=False)
            self.told += told.words
        except Broken:
            raise
        except AccordError as err:
            diagnostics.warning("feedback waits: %s", err)
            self._again_ms = now + self.every_ms
        return True


def word_of(subject: str, reason: str) -> Word:
    """A word as the table of feedback has it: `entry/ordinal` and, as a rule, the algorithm.

    Raises: Malformed.
    """
    ref, _, algorithm = subject.partition(" ")
    is_near = bool(algorithm) and algorithm not in EXACT_ALGORITHMS
    return Word(parse_ref_text(ref), algorithm, is_near, Reason(reason))


def _statement(speaker: Speaker, state: Reader, words: list[Word], now: TimeMs) -> bytes:
    blob = seal_feedback(speaker.chain, speaker.platform, words, hearers(state))
    body = Feedback(
        header=Header(speaker.platform, os.urandom(16), TimeMs(now + STATEMENT_LIFE_MS)),
        count=len(words),
        recipients_sha256=recipients_sha256(recipients_of(state, AGENCIES)),
        blob_sha256=sha256(blob),
    )
    sealed = seal_envelope(speaker.chain, speaker.key.key_id, body, speaker.key.sign)
    return encode_transaction(Transaction(sealed, blob))
