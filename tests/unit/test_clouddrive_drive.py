"""Where a verdict puts a file, and what a crash at every step leaves behind."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import drive_kit  # noqa: F401  # isort: skip - makes `clouddrive` importable.
import pytest
from clouddrive.drive import (
    DOWNLOAD,
    Drive,
    clean_name,
    new_reference,
    sniff_media_type,
    state_after,
)
from clouddrive.gateway import CannotScreen, Gateway, NotAccepted, Verdict, parse_verdict
from clouddrive.store import State, Store, StoredFile
from clouddrive.vault import Vault

from drive_kit import png_bytes
from gateway_kit import StandInGateway, sha256_hex

PICTURE = png_bytes(1)
DIGEST = sha256_hex(PICTURE)


class LocalGateway(Gateway):
    """The stand-in's verdicts without a socket."""

    def __init__(self, stand_in: StandInGateway) -> None:
        self.stand_in = stand_in
        self.refuses = False

    async def screen_bytes(
        self, content: bytes, jurisdiction: str, scope: str, upload: str
    ) -> Verdict:
        if self.refuses:
            raise NotAccepted("image.too_large")
        if not self.stand_in.available:
            raise CannotScreen("gateway.unreachable")
        verdict = self.stand_in.verdict(sha256_hex(content), jurisdiction)
        self.stand_in.calls.append({"scope": scope, "form": "bytes"})
        return parse_verdict(json.dumps(verdict))

    async def screen_fingerprints(
        self, fingerprints: str, jurisdiction: str, scope: str, upload: str
    ) -> Verdict:
        if not self.stand_in.available:
            raise CannotScreen("gateway.unreachable")
        self.stand_in.calls.append({"scope": scope, "form": "fingerprints"})
        digest = json.loads(fingerprints)["sha256"]
        return parse_verdict(json.dumps(self.stand_in.verdict(digest, jurisdiction)))


class Crash(Exception):
    """The machine stops here."""


class CrashingVault(Vault):
    """A vault on a machine that stops after the named step."""

    crash_after = ""

    def _maybe(self, step: str) -> None:
        if self.crash_after == step:
            raise Crash(step)

    def receive(self, file_id: str, source: io.BytesIO) -> int:  # type: ignore[override] - narrower is enough here.
        size = super().receive(file_id, source)
        self._maybe("receive")
        return size

    def read_incoming(self, file_id: str) -> bytes:
        self._maybe("recorded")
        return super().read_incoming(file_id)

    def show(self, file_id: str) -> None:
        super().show(file_id)
        self._maybe("show")

    def lock_away(self, file_id: str) -> None:
        super().lock_away(file_id)
        self._maybe("lock_away")

    def drop_plain(self, file_id: str) -> None:
        self._maybe("settled")
        super().drop_plain(file_id)


def verdict_of(action: str, decision: str = "match") -> Verdict:
    listed = {DIGEST: action}
    gateway = StandInGateway(**{"listed" if decision == "match" else "unreadable": listed})
    return parse_verdict(json.dumps(gateway.verdict(DIGEST, "NL")))


@pytest.mark.parametrize(
    ("action", "upload", "stored"),
    [
        ("allow", State.STORED, State.STORED),
        ("tag", State.STORED, State.STORED),
        ("review", State.HELD, State.STORED),
        ("quarantine", State.HELD, State.QUARANTINED),
        ("block", State.REFUSED, State.QUARANTINED),
    ],
)
@pytest.mark.parametrize("decision", ["match", "undetermined"])
def test_where_an_action_puts_a_file(
    action: str, upload: State, stored: State, decision: str
) -> None:
    verdict = verdict_of(action, decision)
    assert state_after(verdict, "upload") is upload
    assert state_after(verdict, "stored scan") is stored


def test_a_reference_is_random_and_reads_well() -> None:
    references = {new_reference() for _ in range(200)}
    assert len(references) == 200
    assert all(len(r) == 12 and not set(r[3:]) & set("ILOU") for r in references)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\dir\\b.jpg", "b.jpg"),
        ('x"<script>.png', "xscript.png"),
        ("\u202egnp.exe\n", "gnp.exe"),
        ("..", "file"),
        ("", "file"),
    ],
)
def test_a_file_name_is_fit_to_be_shown(given: str, shown: str) -> None:
    assert clean_name(given) == shown


def test_the_type_is_read_from_the_bytes() -> None:
    assert sniff_media_type(PICTURE[:16]) == "image/png"
    assert sniff_media_type(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    assert sniff_media_type(b"<svg onload=1>") == DOWNLOAD
    assert sniff_media_type(b"") == DOWNLOAD


def in_drive(
    folder: Path, gateway: LocalGateway, crash_after: str, do: Callable[[Drive], object]
) -> None:
    """One life of a drive process: start, do, stop (or crash)."""
    store = Store(folder / "drive.sqlite3")
    vault = CrashingVault(folder)
    drive = Drive(store, vault, gateway)
    drive.recover()
    drive.version = "v1"
    vault.crash_after = crash_after
    try:
        do(drive)
    except Crash:
        pass
    finally:
        store.close()


def contents(folder: Path, *places: str) -> list[bytes]:
    return [p.read_bytes() for place in places for p in (folder / place).iterdir()]


@pytest.mark.parametrize("crash_after", ["receive", "recorded", "show", "lock_away", "settled", ""])
@pytest.mark.parametrize("action", ["allow", "review", "block"])
def test_a_crash_at_any_step_of_an_upload_shows_nothing_unscreened(
    tmp_path: Path, crash_after: str, action: str
) -> None:
    gateway = LocalGateway(StandInGateway(listed={DIGEST: action}))

    def upload(drive: Drive) -> None:
        asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))

    def retry(drive: Drive) -> None:
        assert all(f.state is State.WAITING or gateway.stand_in.calls for f in files(drive))
        asyncio.run(drive.retry_waiting())
        found.extend(f.state for f in files(drive))

    def files(drive: Drive) -> list[object]:
        return list(drive.store.files_in(*State))  # type: ignore[arg-type]

    found: list[State] = []
    in_drive(tmp_path, gateway, crash_after, upload)
    in_drive(tmp_path, gateway, "", retry)
    expected = {"allow": State.STORED, "review": State.HELD, "block": State.REFUSED}[action]
    assert found == ([] if crash_after == "receive" else [expected])
    plain = contents(tmp_path, "incoming", "files")
    assert plain == ([PICTURE] if found == [State.STORED] else [])
    locked = contents(tmp_path, "quarantine")
    assert len(locked) == (1 if found and action != "allow" else 0)
    assert not any(PICTURE in sealed for sealed in locked)


@pytest.mark.parametrize("crash_after", ["lock_away", "settled", ""])
def test_a_crash_in_a_rescan_ends_in_quarantine_all_the_same(
    tmp_path: Path, crash_after: str
) -> None:
    gateway = LocalGateway(StandInGateway())

    def upload(drive: Drive) -> None:
        asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))

    def rescan(drive: Drive) -> None:
        for file in drive.store.stale_files("v2", 10):
            asyncio.run(drive.rescan_one(file, "v2"))

    def look(drive: Drive) -> None:
        rescan(drive)
        (file,) = drive.store.files_in(State.QUARANTINED)
        assert drive.vault.open_quarantined(file.id) == PICTURE
        assert len(drive.store.matches()) == 1
        assert len(drive.store.tasks()) == 1

    in_drive(tmp_path, gateway, "", upload)
    gateway.stand_in.listed[DIGEST] = "quarantine"
    in_drive(tmp_path, gateway, crash_after, rescan)
    in_drive(tmp_path, gateway, "", look)
    assert contents(tmp_path, "incoming", "files") == []
    assert {"scope": "stored", "form": "fingerprints"} in gateway.stand_in.calls


def test_a_rescan_looks_at_each_file_once_per_list_and_tells_the_same_match_once(
    tmp_path: Path,
) -> None:
    gateway = LocalGateway(StandInGateway(listed={DIGEST: "tag"}))

    def journey(drive: Drive) -> None:
        asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))
        assert drive.store.stale_files("v1", 10) == []
        for version in ("v2", "v3"):
            (file,) = drive.store.stale_files(version, 10)
            asyncio.run(drive.rescan_one(file, version))
            assert drive.store.stale_files(version, 10) == []
        assert len(drive.store.matches()) == 1

    in_drive(tmp_path, gateway, "", journey)


def test_no_gateway_means_it_waits_and_a_refusal_means_it_is_gone(tmp_path: Path) -> None:
    gateway = LocalGateway(StandInGateway(available=False))

    def journey(drive: Drive) -> None:
        outcome = asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))
        assert outcome.state is State.WAITING
        with pytest.raises(CannotScreen):
            asyncio.run(drive.retry_waiting())
        assert drive.store.count(State.STORED) == 0
        gateway.refuses = True
        asyncio.run(drive.retry_waiting())
        assert drive.store.file(outcome.file_id) is None

    in_drive(tmp_path, gateway, "", journey)
    assert contents(tmp_path, "incoming", "files", "quarantine") == []


def test_a_file_its_owner_deletes_during_a_rescan_stays_deleted(tmp_path: Path) -> None:
    gateway = LocalGateway(StandInGateway())

    def journey(drive: Drive) -> None:
        asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))
        (file,) = drive.store.files_in(State.STORED)
        gateway.stand_in.listed[DIGEST] = "block"
        assert asyncio.run(drive.delete(file.id))
        asyncio.run(drive.rescan_one(file, "v2"))
        assert not asyncio.run(drive.delete(file.id))
        assert drive.store.matches() == []

    in_drive(tmp_path, gateway, "", journey)
    assert contents(tmp_path, "incoming", "files", "quarantine") == []


class DeletingStore(Store):
    """A store in which the owner's deletion wins the race against the record of a verdict."""

    racing = False

    def settle(self, file: StoredFile, *rest: Any, **named: Any) -> bool:  # noqa: ANN401 - handed on as they come.
        if self.racing:
            self.forget(file.id, State.STORED)
        return super().settle(file, *rest, **named)


def test_a_file_deleted_between_verdict_and_record_leaves_no_copy(tmp_path: Path) -> None:
    gateway = LocalGateway(StandInGateway())
    store = DeletingStore(tmp_path / "drive.sqlite3")
    drive = Drive(store, Vault(tmp_path), gateway)
    asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))
    (file,) = store.files_in(State.STORED)
    gateway.stand_in.listed[DIGEST] = "block"
    store.racing = True
    asyncio.run(drive.rescan_one(file, "v2"))
    assert store.matches() == []
    store.close()
    assert contents(tmp_path, "quarantine") == []


def test_deleting_a_file_that_must_be_preserved_keeps_it_encrypted(tmp_path: Path) -> None:
    gateway = LocalGateway(StandInGateway(listed={DIGEST: "tag"}, preserve_always=True))

    def journey(drive: Drive) -> None:
        asyncio.run(drive.upload(io.BytesIO(PICTURE), "a.png", "NL"))
        (file,) = drive.store.files_in(State.STORED)
        assert asyncio.run(drive.delete(file.id))
        drive.recover()
        assert drive.vault.open_quarantined(file.id) == PICTURE

    in_drive(tmp_path, gateway, "", journey)
    assert contents(tmp_path, "incoming", "files") == []


def test_the_key_file_is_private_and_a_torn_one_stops_the_drive(tmp_path: Path) -> None:
    Vault(tmp_path)
    key = tmp_path / "quarantine.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(b"short")
    with pytest.raises(ValueError, match="key file"):
        Vault(tmp_path)
