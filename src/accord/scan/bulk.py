"""Scanning stored files: every file under some paths, decided by the newest list.

A file that has not changed under a list that has not changed is not looked at again; under a
changed list it is decided again from its stored fingerprints, without being read. A scan may be
interrupted at any time: the next one goes on.
Not here: walking and reading (media), screening (screener).
"""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from accord.fingerprint import Unhashable, UnhashableCode
from accord.matching import Context, Query, query_of
from accord.matching.decision import Answer
from accord.media import StoredFilm, Unlisted, read_file
from accord.scan.bulk_state import BulkState, Remembered, identity_of, name_of, version_of
from accord.scan.cases.intake import TakeInStored
from accord.scan.cases.quarantine import Held, Lying
from accord.scan.contract import Json, decision_fields
from accord.scan.screener import Running, Screened, Screener
from accord.statements.rules import Algorithm
from accord.wire.digests import sha256
from accord.wire.errors import Unavailable
from accord.wire.limits import BULK_AHEAD_PER_WORKER, BULK_FLUSH_FILES, BULK_REFRESH_MS

# What a second look could mend: such an answer is given, but not remembered.
PASSING: Final = frozenset(
    {
        UnhashableCode.TIMEOUT,
        UnhashableCode.CRASHED,
        UnhashableCode.VIDEO_TIMEOUT,
        UnhashableCode.VIDEO_CRASHED,
        UnhashableCode.UNREADABLE,
    }
)


class How(StrEnum):
    """How a file's answer was come by."""

    READ = "read"
    FINGERPRINTS = "fingerprints"  # Decided again from what was stored.
    UNCHANGED = "unchanged"  # Same file, same list: the answer of an earlier scan.


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """One file's answer. `answer` is that of the gateway without fingerprints."""

    path: Path
    how: How
    answer: Json

    @property
    def decision(self) -> str:
        return str(self.answer["decision"])

    def line(self) -> Json:
        """One JSON line. Its keys are part of the public interface."""
        return {"path": str(self.path), "how": self.how.value, **self.answer}


@dataclass
class Tally:
    """What a scan came to."""

    decisions: Counter[str] = field(default_factory=Counter[str])
    how: Counter[str] = field(default_factory=Counter[str])

    def add(self, found: FileAnswer) -> None:
        self.decisions[found.decision] += 1
        self.how[found.how.value] += 1

    @property
    def exit_code(self) -> int:
        """3 something matched, 1 something could not be looked at, 0 neither."""
        if self.decisions["match"]:
            return 3
        return 1 if self.decisions["undetermined"] else 0


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    is_listed: bool
    identity: bytes | None
    known: Remembered | None


@dataclass(frozen=True, slots=True)
class _Done:
    job: _Job
    query: Query
    how: How
    answer: Json
    version: bytes
    is_lasting: bool


class Scan:
    """One scan. The calling thread owns the replica, the state and the order of answers."""

    def __init__(
        self,
        screener: Screener,
        context: Context,
        state: BulkState | None,
        cases: TakeInStored | None = None,
    ) -> None:
        """`cases` opens a case of each match that needs one, before the file is remembered."""
        self._cases = cases
        self._screener = screener
        self._context = context
        self._state = state
        self._refreshed_ms = screener.clock()

    def run(self, found: Iterable[Path | Unlisted]) -> Iterator[FileAnswer]:
        """Each file's answer, in the order of `found`. Raises: Unavailable, when no receipt
        could be kept; what was answered before stands.
        """
        self._screener.check(self._context)
        workers = self._screener.pool.workers
        ahead: deque[FileAnswer | Future[_Done]] = deque()
        since_flush = 0
        with ThreadPoolExecutor(workers, thread_name_prefix="scan") as threads:
            try:
                for item in found:
                    ahead.append(self._begin(item, threads))
                    while len(ahead) > BULK_AHEAD_PER_WORKER * workers:
                        yield self._finish(ahead.popleft())
                        since_flush += 1
                    if since_flush >= BULK_FLUSH_FILES:
                        since_flush = 0
                        self._flush()
                    self._refresh()
                while ahead:
                    yield self._finish(ahead.popleft())
            finally:
                threads.shutdown(cancel_futures=True)
                self._flush()

    def _begin(
        self, item: Path | Unlisted, threads: ThreadPoolExecutor
    ) -> "FileAnswer | Future[_Done]":
        path = item.path if isinstance(item, Unlisted) else item
        identity = None if isinstance(item, Unlisted) else identity_of(path)
        known = None
        if identity is not None and self._state is not None:
            known = self._state.find(path)
        if known is not None and known.identity != identity:
            known = None
        version = self._version(self._screener.running)
        if known is not None and known.version == version and not self._lacks_case(known.answer):
            return FileAnswer(path, How.UNCHANGED, known.answer)
        return threads.submit(self._decide, _Job(path, item is path, identity, known))

    def _decide(self, job: _Job) -> _Done:
        running = self._screener.running
        if job.known is not None and self._is_enough(job.known.query, running):
            query, how = job.known.query, How.FINGERPRINTS
        else:
            query, how = self._look(job, running), How.READ
        # An archive's numbers are not stored: it is looked at again with each list.
        is_lasting = query.undetermined not in PASSING and not query.members
        screened = self._screener.screen_query(query, self._context, running=running)
        answer = decision_fields(screened.decision, screened.running)
        answer["receipt"] = {"index": screened.receipt.index}
        self._open_case(job, screened, answer)
        # Crash from here: the file is decided again, and its case is found.
        version = self._version(screened.running)
        # A file that changed while it was read is looked at again next time.
        is_lasting = is_lasting and job.identity is not None
        is_lasting = is_lasting and identity_of(job.path) == job.identity
        return _Done(job, query, how, answer, version, is_lasting)

    def _open_case(self, job: _Job, screened: Screened, answer: Json) -> None:
        """The case that the answer leads to stands in it; none, where it needs none."""
        if self._cases is not None and screened.decision.answer is Answer.MATCH:
            read = partial(_read, job.path, screened.query)
            answer["case"] = self._cases(screened, name_of(job.path), read)

    def _lacks_case(self, answer: Json) -> bool:
        """Whether a match was found before there was anybody to keep its case."""
        return self._cases is not None and answer["decision"] == "match" and "case" not in answer

    def _is_enough(self, query: Query, running: Running) -> bool:
        """Whether a file need not be read again: a scaled decoding only says what is no match, what
        rules look at further must have been, and what no fingerprinter saw is shown to one that is
        there now.
        """
        if self._screener.pool.fingerprinter is not None and query.frames and not query.vectors:
            return False
        if not running.screen.steps(self._context) <= query.steps:
            return False
        return query.is_exact or not running.screen.may_match(query, self._context)

    def _version(self, running: Running) -> bytes:
        return version_of(running.version, self._context, self._screener.pool.fingerprinter)

    def _look(self, job: _Job, running: Running) -> Query:
        if not job.is_listed:
            return query_of(Unhashable(UnhashableCode.UNREADABLE, None))
        data = read_file(job.path)
        if isinstance(data, Unhashable):
            return query_of(data)
        try:
            return self._screener.look(data, self._context, running)
        except Unavailable:  # No decoder would start; the file is looked at again next time.
            return query_of(Unhashable(UnhashableCode.CRASHED, None))

    def _finish(self, item: "FileAnswer | Future[_Done]") -> FileAnswer:
        if isinstance(item, FileAnswer):
            return item
        done = item.result()
        job = done.job
        if done.is_lasting and job.identity is not None and self._state is not None:
            row = Remembered(job.identity, done.query, done.version, done.answer)
            self._state.keep(job.path, row)
        return FileAnswer(job.path, done.how, done.answer)

    def _flush(self) -> None:
        if self._state is not None:
            self._state.flush()

    def _refresh(self) -> None:
        """A scan of hours goes on with the list of the moment."""
        now_ms = self._screener.clock()
        if now_ms - self._refreshed_ms >= BULK_REFRESH_MS:
            self._refreshed_ms = now_ms
            self._screener.refresh()


def _read(path: Path, query: Query) -> Held | None:
    """The file once more; None where it cannot be read any more, or is another one than matched:
    what a reviewer then said of it would be a word about listings that it never met. A film is
    compared while it is encrypted, since it is read only once.
    """
    data = read_file(path)
    seen = next((value for name, value in query.digests if name is Algorithm.SHA256), None)
    if seen is None or isinstance(data, Unhashable):
        return None
    if isinstance(data, StoredFilm):
        return Lying(data, seen)
    return data if sha256(data) == seen else None


def default_workers() -> int:
    return os.cpu_count() or 1
