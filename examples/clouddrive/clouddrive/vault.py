"""The drive's files on disk: incoming, visible, and quarantined (encrypted).

Invariants: a name here is a random id, never the uploader's; a file appears under its final name
only when it is complete and on disk; quarantined bytes are readable only with the key file (0600).
The store says which of the places counts: this module never decides what is visible.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_ID: Final = re.compile(r"[0-9a-f]{32}")
_NONCE_BYTES: Final = 12


def new_file_id() -> str:
    """128 random bits as hex: nobody guesses another file's address."""
    return secrets.token_hex(16)


def is_file_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


class Vault:
    """All file bytes of one drive, under one folder. Raises: OSError when the disk does."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self.files = folder / "files"
        self.quarantine = folder / "quarantine"
        for place in (self.incoming, self.files, self.quarantine):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._cipher = ChaCha20Poly1305(_load_key(folder / "quarantine.key"))

    def receive(self, file_id: str, source: BinaryIO) -> int:
        """Keeps an upload, unseen; its size in bytes."""

        def copy(target: BinaryIO) -> None:
            while chunk := source.read(1 << 20):
                target.write(chunk)

        return _write_whole(self.incoming / file_id, copy)

    def read_incoming(self, file_id: str) -> bytes:
        return (self.incoming / file_id).read_bytes()

    def read_visible(self, file_id: str) -> bytes:
        return (self.files / file_id).read_bytes()

    def show(self, file_id: str) -> None:
        """Moves an upload among the visible files; a crash leaves it in one of both places."""
        os.replace(self.incoming / file_id, self.files / file_id)
        _sync_folder(self.files)
        _sync_folder(self.incoming)

    def lock_away(self, file_id: str) -> None:
        """Adds an encrypted copy; the caller drops the plain one after it recorded the move."""
        plain = self.incoming / file_id
        content = (plain if plain.exists() else self.files / file_id).read_bytes()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, content, file_id.encode())

        def write(target: BinaryIO) -> None:
            target.write(sealed)

        _write_whole(self.quarantine / f"{file_id}.enc", write)

    def open_quarantined(self, file_id: str) -> bytes:
        """The bytes kept for a lawful request. Raises: InvalidTag when they were changed."""
        sealed = (self.quarantine / f"{file_id}.enc").read_bytes()
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], file_id.encode())

    def drop_plain(self, file_id: str) -> None:
        for place in (self.incoming, self.files):
            with suppress(FileNotFoundError):
                (place / file_id).unlink()

    def drop_locked(self, file_id: str) -> None:
        (self.quarantine / f"{file_id}.enc").unlink(missing_ok=True)

    def sweep(self, *, waiting: set[str], visible: set[str], locked: set[str]) -> set[str]:
        """After a crash: keeps what the store knows, drops the rest; the waiting ids it still has.

        A file that was moved but not recorded goes back to `incoming` and is screened again.
        """
        for file_id in waiting:
            if (self.files / file_id).exists():
                os.replace(self.files / file_id, self.incoming / file_id)
        for place, known in (
            (self.incoming, waiting),
            (self.files, visible),
            (self.quarantine, {f"{file_id}.enc" for file_id in locked}),
        ):
            for path in _plain_files(place):
                if path.name not in known:
                    path.unlink()
            _sync_folder(place)
        return {file_id for file_id in waiting if (self.incoming / file_id).exists()}


def _plain_files(place: Path) -> Iterator[Path]:
    yield from [path for path in place.iterdir() if path.is_file()]


def _write_whole(path: Path, write: Callable[[BinaryIO], None]) -> int:
    part = path.with_name(path.name + ".part")  # `sweep` drops it: no id ends like this.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        write(target)
        target.flush()
        os.fsync(target.fileno())
        size = target.tell()
    os.replace(part, path)
    _sync_folder(path.parent)
    return size


def _sync_folder(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_key(path: Path) -> bytes:
    """The quarantine key, made on first use. A torn key file would lose evidence: it stops us."""
    if not path.exists():
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(ChaCha20Poly1305.generate_key())
            target.flush()
            os.fsync(target.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    key = path.read_bytes()
    if len(key) != 32:
        raise ValueError("the quarantine key file is damaged; restore it before starting the drive")
    return key
