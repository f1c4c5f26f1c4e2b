"""The quarantine: files encrypted to a named age key, which is not on this machine.

Who runs the gateway can put files in and can destroy them, and cannot read one: only the holder of
the identity does.
Invariant: films leave a disk SPOOL_FREE_BYTES_MIN, since answers need receipts and these the disk.
Not here: which case a file belongs to, and whether it may go (desk).
Source: docs/spec/cases.md, section 3; the age format, https://age-encryption.org/v1.
"""

import errno
import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyrage

from accord.client.files import sync_directory
from accord.media.films import LargeFilm, OpenFilm, SourceFailed
from accord.scan.spool import FreeBytes, free_bytes
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.limits import SPOOL_FREE_BYTES_MIN

_age: Any = pyrage  # A compiled module without type hints.
QUARANTINE_FOLDER: Final = "quarantine"
_BUFFER_BYTES: Final = 1 << 20
_HALF_DONE: Final = ".*.new"


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An age recipient and what people call it."""

    name: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Lying:
    """A film to be held, which lies on a disk, and the content that it must still have."""

    film: LargeFilm
    sha256: bytes


Held = bytes | Lying  # What goes into quarantine.


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted file beside its place, durable. `digest`: SHA-256 of the ciphertext, in hex."""

    temporary: Path
    place: Path
    digest: str


class Quarantine:
    """A directory of encrypted files, one a case."""

    def __init__(self, directory: Path, key: NamedKey, free: FreeBytes = free_bytes) -> None:
        """Raises: Malformed, for a recipient that is none."""
        self.key = key
        self._directory = directory
        self._free = free
        try:
            self._recipient = _age.x25519.Recipient.from_str(key.recipient)
        except _age.RecipientError as err:
            raise Malformed("cases.recipient", key=key.name, wanted="age1..") from err
        self._is_swept = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else puts a file meanwhile, in any process; one that dies lets go.

        Raises: Unavailable.
        """
        lock = self._directory.with_name(f"{self._directory.name}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def sealing(self, case_id: str, held: Held) -> Iterator[Sealed | None]:
        """A file encrypted beside its place, gone at the end of the block unless `keep` was told;
        None, where it cannot be read any more or is not the one it was. Of a film no more than a
        buffer is in memory.

        Crash meanwhile: ciphertext beside its place, which the next process removes.

        Raises: Unavailable.
        """
        with ExitStack() as stack:
            try:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._sweep()
                beside, out = stack.enter_context(self._half_done(case_id))
                digest = _encrypted(out, held, self._recipient, self._check_space)
                place = self._path(case_id)
                sealed = None if digest is None else Sealed(beside, place, digest)
            except SourceFailed:
                sealed = None
            except OSError as err:
                raise Unavailable("cases.quarantine", why=err.strerror or "") from err
            yield sealed

    def _check_space(self, size: int) -> None:
        """Raises: OSError."""
        if self._free(self._directory) - size < SPOOL_FREE_BYTES_MIN:
            raise OSError(errno.ENOSPC, "too little space would be left")

    def keep(self, sealed: Sealed) -> str:
        """The file is in its place, durably; its digest. Raises: Unavailable."""
        try:
            os.replace(sealed.temporary, sealed.place)
            # POINT OF NO RETURN. Crash from here: the file stands once its directory is synced.
            sync_directory(self._directory)
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        return sealed.digest

    @contextmanager
    def _half_done(self, case_id: str) -> Iterator[tuple[Path, BinaryIO]]:
        """A file that is locked as long as somebody writes it, whose name is gone in the end."""
        while True:
            descriptor, name = tempfile.mkstemp(".new", f".{case_id}.", self._directory)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # It was taken for one of a process that has ended.
        out = os.fdopen(descriptor, "wb", _BUFFER_BYTES)
        try:
            yield Path(name), out
        finally:
            for undo in (out.close, partial(os.unlink, name)):
                with suppress(OSError):  # What a full disk did not take; what is in its place now.
                    undo()

    def _sweep(self) -> None:
        """Removes what processes that ended left half done; once a process. Raises: OSError."""
        if self._is_swept:
            return
        self._is_swept = True
        for left in self._directory.glob(_HALF_DONE):
            # Blocking: somebody writes it.
            with suppress(FileNotFoundError, BlockingIOError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()

    def sealed(self, case_id: str, digest: str) -> BinaryIO:
        """The encrypted file, open. Raises: Unavailable; Unproven, if it is not what was put."""
        try:
            file = self._path(case_id).open("rb")
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        try:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise Unproven("cases.quarantine_changed")
            file.seek(0)
        except OSError as err:
            file.close()
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        except BaseException:  # Told on: an interrupt, too, leaves no file open.
            file.close()
            raise
        return file

    def destroy(self, case_id: str) -> None:
        """The file is gone, durably; it may be gone before. Raises: Unavailable.

        The bytes were never here in the clear: what a disk may keep of them is ciphertext.
        """
        try:
            self._path(case_id).unlink(missing_ok=True)
            if self._directory.is_dir():
                sync_directory(self._directory)
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err

    def _path(self, case_id: str) -> Path:
        return self._directory / f"{case_id}.age"


def unseal(sealed: BinaryIO, out: BinaryIO, identity: str) -> None:
    """Writes what was put in. `identity` is the private key that an age identity file holds.

    Raises: Malformed, for no identity; Unproven, where it does not open, and then what was written
    is to be thrown away; OSError.
    """
    keys = [line for line in identity.split() if line.startswith("AGE-SECRET-KEY-1")]
    writing = _Writing(out)
    try:
        known = [_age.x25519.Identity.from_str(key) for key in keys]
        _age.decrypt_io(sealed, writing, known)
    except _age.IdentityError as err:
        raise Malformed("cases.identity", wanted="AGE-SECRET-KEY-1..") from err
    except (_age.DecryptError, OSError) as err:
        if writing.failed is not None:
            raise writing.failed from err
        if not keys:
            raise Malformed("cases.identity", wanted="AGE-SECRET-KEY-1..") from err
        raise Unproven("cases.not_opened", mend="the identity that the case names") from err


def _encrypted(
    out: BinaryIO, held: Held, recipient: object, check_space: Callable[[int], None]
) -> str | None:
    """The ciphertext's digest, in hex; None, for what is not the film it was. Space is asked for
    all of a film, and again at each write: others fill a disk, too.

    Raises: OSError, SourceFailed.
    """
    writing = _Writing(out, None if isinstance(held, bytes) else check_space)
    with ExitStack() as stack:
        if isinstance(held, bytes):
            _encrypt(io.BytesIO(held), writing, recipient)
        else:
            film = stack.enter_context(held.film.opened())
            check_space(film.size)
            reading = _Reading(film)
            _encrypt(io.BufferedReader(reading, _BUFFER_BYTES), writing, recipient)
            if reading.failed is not None:
                raise reading.failed
            if reading.sha256.digest() != held.sha256:
                return None
    out.flush()
    os.fsync(out.fileno())
    return writing.sha256.hexdigest()


def _encrypt(reading: BinaryIO | io.BufferedReader, writing: "_Writing", recipient: object) -> None:
    """Raises: OSError."""
    try:
        _age.encrypt_io(reading, writing, [recipient])
    except (_age.EncryptError, OSError) as err:
        raise writing.failed or OSError(str(err)) from err


class _Writing:
    """What the age library writes to. It tells of an error in its own words: ours are kept."""

    def __init__(self, out: BinaryIO, check_space: Callable[[int], None] | None = None) -> None:
        self.sha256 = hashlib.sha256()
        self.failed: OSError | None = None
        self._out = out
        self._check_space = check_space

    def write(self, data: bytes) -> int:
        try:
            if self._check_space is not None:
                self._check_space(len(data))
            self._out.write(data)
        except OSError as err:
            self.failed = err
            raise
        self.sha256.update(data)
        return len(data)

    def flush(self) -> None:
        """The file is flushed by whoever opened it."""


class _Reading(io.RawIOBase):
    """A film as the age library reads it; one that fails ends, and is told of afterwards."""

    def __init__(self, film: OpenFilm) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()
        self.failed: SourceFailed | None = None
        self._film = film
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  (a buffer, which has no type of its own)
        try:
            data = self._film.read(self._at, len(buffer))
        except SourceFailed as err:
            self.failed, data = err, b""
        self._at += len(data)
        self.sha256.update(data)
        buffer[: len(data)] = data
        return len(data)
