"""From an upload to its place: keep it unseen, have it screened, act on the verdict.

Order that makes a crash harmless: bytes on disk, row `waiting`, verdict, bytes to their new place,
row to its new state, plain copy dropped. `recover` repairs every point in between.
Invariants: nothing is visible without a verdict; no verdict (gateway away) means it waits.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Final

from clouddrive.gateway import CannotScreen, Gateway, NotAccepted, Verdict
from clouddrive.limits import NAME_CHARS_MAX
from clouddrive.store import State, Store, StoredFile
from clouddrive.vault import Vault, new_file_id

# Crockford's base 32: no I, L, O, U, so a reference survives a telephone call.
_REFERENCE_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# First bytes of the picture formats a browser shows; anything else is only downloaded.
_MAGIC: Final = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"ftypavif", 4, "image/avif"),
)
DOWNLOAD: Final = "application/octet-stream"


def new_reference() -> str:
    """Such as CD-7F3K-92QM: random (40 bits), so it tells nothing and is not guessed."""
    letters = "".join(secrets.choice(_REFERENCE_LETTERS) for _ in range(8))
    return f"CD-{letters[:4]}-{letters[4:]}"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def sniff_media_type(head: bytes) -> str:
    """The type a file is served with: by its first bytes, never by what the uploader says."""
    for magic, offset, media_type in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return media_type
    return DOWNLOAD


def clean_name(name: str) -> str:
    """A file name fit to be shown and offered for download."""
    last = PurePath(name.replace("\\", "/")).name
    shown = "".join(c for c in last if c.isprintable() and c not in '"<>|*?:').strip(". ")
    return shown[:NAME_CHARS_MAX] or "file"


def state_after(verdict: Verdict, how: str) -> State:
    """Where a verdict puts a file. A stored file is taken away by quarantine and block only."""
    if verdict.action in ("allow", "tag"):
        return State.STORED
    if how == "stored scan":
        return State.STORED if verdict.action == "review" else State.QUARANTINED
    return State.REFUSED if verdict.action == "block" else State.HELD


def is_kept(verdict: Verdict, state: State) -> bool:
    """Whether the bytes stay, encrypted: always while a person looks, else where a duty says so."""
    if state is State.REFUSED:
        return bool(verdict.preserve_days or verdict.reports)
    return state in (State.HELD, State.QUARANTINED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one upload: its state, and a code where nobody could look."""

    file_id: str
    state: State
    code: str | None = None


class Drive:
    """Files of one drive and what happens to them. `version` is the list last heard of."""

    def __init__(
        self, store: Store, vault: Vault, gateway: Gateway, clock: Callable[[], int] = now_ms
    ) -> None:
        self.store = store
        self.vault = vault
        self.gateway = gateway
        self.clock = clock
        self.version = ""
        self._busy: set[str] = set()

    def recover(self) -> None:
        """After a start: drops what no row knows; what was not settled is screened again."""
        waiting = {file.id for file in self.store.files_in(State.WAITING)}
        locked = self.store.files_in(State.HELD, State.QUARANTINED, State.REFUSED, State.DELETED)
        found = self.vault.sweep(
            waiting=waiting,
            visible={file.id for file in self.store.files_in(State.STORED)},
            locked={file.id for file in locked},
        )
        for file_id in waiting - found:
            self.store.forget(file_id, State.WAITING)

    async def upload(self, source: BinaryIO, name: str, jurisdiction: str) -> Outcome:
        """Takes one file in and has it screened at once; it waits when nobody can look."""
        file_id = new_file_id()
        self._busy.add(file_id)
        try:
            media_type = sniff_media_type(source.read(16))
            source.seek(0)
            size = await asyncio.to_thread(self.vault.receive, file_id, source)
            self.store.add_waiting(
                file_id,
                name=clean_name(name),
                media_type=media_type,
                size_bytes=size,
                jurisdiction=jurisdiction,
                created_ms=self.clock(),
            )
            return await self._screen_upload(file_id)
        except CannotScreen as exc:
            return Outcome(file_id, State.WAITING, exc.code)
        finally:
            self._busy.discard(file_id)

    async def retry_waiting(self) -> None:
        """Screens what waits, oldest first. Raises: CannotScreen at the first that still must."""
        for file in reversed(self.store.files_in(State.WAITING)):
            if file.id in self._busy:
                continue
            self._busy.add(file.id)
            try:
                await self._screen_upload(file.id)
            finally:
                self._busy.discard(file.id)

    async def _screen_upload(self, file_id: str) -> Outcome:
        file = self.store.file(file_id)
        if file is None or file.state is not State.WAITING:
            return Outcome(file_id, State.DELETED)
        # Noted before the call: a list that changes meanwhile makes the rescan look once more.
        version = self.version
        content = await asyncio.to_thread(self.vault.read_incoming, file_id)
        try:
            verdict = await self.gateway.screen_bytes(
                content, file.jurisdiction, "uploads", file_id
            )
        except NotAccepted as exc:
            self.store.forget(file_id, State.WAITING)
            await asyncio.to_thread(self.vault.drop_plain, file_id)
            return Outcome(file_id, State.DELETED, exc.code)
        state = state_after(verdict, "upload")
        return Outcome(file_id, await self._act(file, state, verdict, "upload", version))

    async def rescan_one(self, file: StoredFile, version: str) -> None:
        """Looks at a visible file again, for the list of that version. Raises: CannotScreen."""
        try:
            verdict = await self._screen_stored(file)
            state = state_after(verdict, "stored scan")
            await self._act(file, state, verdict, "stored scan", version)
        except (NotAccepted, FileNotFoundError):
            # Nothing new can be learnt with this list, or its owner deleted it while we looked.
            self.store.mark_seen(file.id, version)

    async def _screen_stored(self, file: StoredFile) -> Verdict:
        if file.fingerprints is not None:
            try:
                return await self.gateway.screen_fingerprints(
                    file.fingerprints, file.jurisdiction, "stored", file.id
                )
            except NotAccepted:
                pass  # The stored form is no longer taken: show the file itself.
        content = await asyncio.to_thread(self.vault.read_visible, file.id)
        return await self.gateway.screen_bytes(content, file.jurisdiction, "stored", file.id)

    async def _act(
        self, file: StoredFile, state: State, verdict: Verdict, how: str, version: str
    ) -> State:
        if state is State.STORED and file.state is State.WAITING:
            await asyncio.to_thread(self.vault.show, file.id)
        elif is_kept(verdict, state):
            await asyncio.to_thread(self.vault.lock_away, file.id)
        # Crash up to here: the row is as before, so the file is screened again.
        recorded = self.store.settle(
            file,
            state,
            verdict,
            how=how,
            version=version,
            reference=new_reference(),
            now_ms=self.clock(),
        )
        # POINT OF NO RETURN. Crash from here: `recover` drops the copy that no row knows.
        if not recorded:  # Its owner deleted it meanwhile.
            await asyncio.to_thread(self.vault.drop_locked, file.id)
            return State.DELETED
        if state is not State.STORED:
            await asyncio.to_thread(self.vault.drop_plain, file.id)
        return state

    async def delete(self, file_id: str) -> bool:
        """The owner's wish; False when there is no such visible file.

        A file that a duty says to preserve is kept, encrypted: deleting ends its showing only.
        """
        match = self.store.last_match(file_id)
        if match is not None and (match.preserve_until_ms or 0) > self.clock():
            with suppress(FileNotFoundError):  # It is gone already: the next line says so.
                await asyncio.to_thread(self.vault.lock_away, file_id)
        if not self.store.forget(file_id, State.STORED):
            return False
        await asyncio.to_thread(self.vault.drop_plain, file_id)
        return True
