"""The quarantine: files encrypted to a named age key, which is not on this machine.

Who runs the gateway can put files in and can destroy them, and cannot read one: only the holder of
the identity does.
Not here: which case a file belongs to, and whether it may go (desk).
Source: docs/spec/cases.md, section 3; the age format, https://age-encryption.org/v1.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyrage

from accord.client.files import write_durably
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven

_age: Any = pyrage  # A compiled module without type hints.
QUARANTINE_FOLDER: Final = "quarantine"


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An age recipient and what people call it."""

    name: str
    recipient: str


class Quarantine:
    """A directory of encrypted files, one a case."""

    def __init__(self, directory: Path, key: NamedKey) -> None:
        """Raises: Malformed, for a recipient that is none."""
        self.key = key
        self._directory = directory
        try:
            self._recipient = _age.x25519.Recipient.from_str(key.recipient)
        except _age.RecipientError as err:
            raise Malformed("cases.recipient", key=key.name, wanted="age1..") from err

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

    def put(self, case_id: str, data: bytes) -> str:
        """Keep a file durably; the SHA-256 of what was written, in hex. Raises: Unavailable."""
        sealed: bytes = _age.encrypt(data, [self._recipient])
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(self._path(case_id), sealed, mode=0o600)
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        return sha256(sealed).hex()

    def sealed(self, case_id: str, digest: str) -> bytes:
        """The encrypted file. Raises: Unavailable; Unproven, if it is not what was put there."""
        try:
            raw = self._path(case_id).read_bytes()
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err
        if sha256(raw).hex() != digest:
            raise Unproven("cases.quarantine_changed")
        return raw

    def destroy(self, case_id: str) -> None:
        """The file is gone, durably; it may be gone before. Raises: Unavailable.

        The bytes were never here in the clear: what a disk may keep of them is ciphertext.
        """
        try:
            self._path(case_id).unlink(missing_ok=True)
            if self._directory.is_dir():
                descriptor = os.open(self._directory, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as err:
            raise Unavailable("cases.quarantine", why=err.strerror or "") from err

    def _path(self, case_id: str) -> Path:
        return self._directory / f"{case_id}.age"


def open_sealed(sealed: bytes, identity: str) -> bytes:
    """What was put in. `identity` is the private key that an age identity file holds.

    Raises: Malformed, for no identity; Unproven, where it does not open.
    """
    keys = [line for line in identity.split() if line.startswith("AGE-SECRET-KEY-1")]
    try:
        opened: bytes = _age.decrypt(sealed, [_age.x25519.Identity.from_str(key) for key in keys])
    except _age.IdentityError as err:
        raise Malformed("cases.identity", wanted="AGE-SECRET-KEY-1..") from err
    except _age.DecryptError as err:
        if not keys:
            raise Malformed("cases.identity", wanted="AGE-SECRET-KEY-1..") from err
        raise Unproven("cases.not_opened", mend="the identity that the case names") from err
    return opened
