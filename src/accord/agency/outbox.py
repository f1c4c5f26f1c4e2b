"""The outbox: publish statements are kept here before they are sent, and until all arrived.

    outbox/JOB/0000.tx      a signed transaction, stored before it is first sent
    outbox/JOB/0000.entry   the log entry it became

JOB is a digest of what is published and to whom, so the same command finds its own job again:
after a crash it sends the same bytes, and once all arrived it sends nothing. Nothing here is
plaintext: a transaction holds a sealed batch. Files are private to the owner all the same.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accord.client.files import write_durably
from accord.statements.batch import Batch, encode_batch
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import ChainId, GroupId, MemberId

OUTBOX = "outbox"


@dataclass(frozen=True, slots=True)
class Job:
    """One publish command's statements, by part."""

    path: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone with the job: another process that publishes the same waits, then finds it done.

        Raises: Unavailable.
        """
        directory = self._locked()
        try:
            yield
        finally:
            os.close(directory)

    def _locked(self) -> int:
        """The directory that stands at the job's path, alone."""
        while True:
            try:
                self.path.mkdir(exist_ok=True, mode=0o700)
                directory = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:  # Put aside just now.
                continue
            except OSError as err:
                raise Unavailable("outbox.store", why=err.strerror or "") from err
            fcntl.flock(directory, fcntl.LOCK_EX)
            if self.path.exists() and os.path.samestat(os.fstat(directory), self.path.stat()):
                return directory
            os.close(directory)  # Put aside while we waited.

    def put_aside(self) -> None:
        """A finished job makes room for another of the same listings. Raises: Unavailable.

        Crash on either side of it: the old job is there, or a new one can begin.
        """
        try:
            self.path.rename(self.path.with_name(f"{self.path.name}.{os.urandom(4).hex()}.done"))
        except OSError as err:
            raise Unavailable("outbox.store", why=err.strerror or "") from err

    def transaction(self, part: int) -> bytes | None:
        file = self.path / f"{part:04d}.tx"
        return file.read_bytes() if file.exists() else None

    def entry(self, part: int) -> int | None:
        """Raises: Malformed if somebody changed the file."""
        file = self.path / f"{part:04d}.entry"
        if not file.exists():
            return None
        text = file.read_text().strip()
        if not text.isascii() or not text.isdigit():
            raise Malformed("outbox.entry", mend="remove the job from the outbox by hand")
        return int(text)

    def store(self, part: int, transaction: bytes) -> None:
        """Durable on return; replaces what stood there. Raises: Unavailable."""
        self._write(f"{part:04d}.tx", transaction)

    def finish(self, part: int, entry: int) -> None:
        """The part is in the log: its bytes are no longer needed. Raises: Unavailable, and then
        the same bytes are sent once more, which gives the same entry."""
        self._write(f"{part:04d}.entry", f"{entry}\n".encode())
        # POINT OF NO RETURN. Crash from here leaves a .tx beside its .entry, which wins.
        (self.path / f"{part:04d}.tx").unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_durably(self.path / name, data, mode=0o600)
        except OSError as err:
            raise Unavailable("outbox.store", why=err.strerror or "") from err


def open_job(
    home: Path,
    chain: ChainId,
    member: MemberId,
    groups: Sequence[GroupId],
    batches: Sequence[Batch],
) -> Job:
    """The job that publishes these batches to these groups, begun or not. Raises: Unavailable."""
    parts = [chain.encode(), member.encode(), *(group.encode() for group in groups)]
    parts += [encode_batch(batch) for batch in batches]
    path = home / OUTBOX / labelled_sha256("publish-job", *parts)[:16].hex()
    try:
        (home / OUTBOX).mkdir(exist_ok=True, mode=0o700)
        path.mkdir(exist_ok=True, mode=0o700)
    except OSError as err:
        raise Unavailable("outbox.store", why=err.strerror or "") from err
    return Job(path)
