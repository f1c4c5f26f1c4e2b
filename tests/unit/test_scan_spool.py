"""The disk that large films lie on: bounded, shared fairly, and empty when nobody is at it."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.cli.gateway import Settings, run
from accord.fingerprint import Decoding, digests_of
from accord.media.films import SourceFailed
from accord.scan.spool import UNIT_BYTES, Spool, SpoolSettings, free_bytes
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import IMAGE_BYTES_MAX, SPOOL_FREE_BYTES_MIN
from cases_kit import full_disk

UNITS = 5
ANOTHER_PROCESS = """
import sys
from pathlib import Path
from accord.scan.spool import Spool, SpoolSettings
spool = Spool(SpoolSettings(Path(sys.argv[1]), 0, int(sys.argv[2])))
held = spool.take(int(sys.argv[3]))
print("holds", flush=True)
sys.stdin.read()
"""


def plenty(_: Path) -> int:
    return 10**12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    made = Spool(SpoolSettings(folder, UNITS * UNIT_BYTES, UNITS * UNIT_BYTES), plenty)
    yield made
    made.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_film_has_no_name_and_is_gone_with_its_block(spool: Spool, folder: Path) -> None:
    data = os.urandom(100_000)
    with spool.film() as film:
        film.write(data[:60_000])
        film.write(data[60_000:])
        assert film.digests == digests_of(data)
        assert film.digests.sha256 == hashlib.sha256(data).digest()
        with film.opened() as opened:
            assert opened.read(0, opened.size) == data
            about = os.fstat(opened.file)
            assert (about.st_mode & 0o777, about.st_nlink, about.st_uid) == (0o600, 0, os.getuid())
        assert folder.stat().st_mode & 0o777 == 0o700
        assert names(folder) == ["shares.lock"]
        assert spool.held_bytes == UNIT_BYTES
    assert spool.held_bytes == 0


def test_whoever_reads_a_film_keeps_it(spool: Spool) -> None:
    with spool.film() as film:
        film.write(b"a part")
        reading = film.opened()
        opened = reading.__enter__()
    assert opened.read(0, 6) == b"a part", "its request has ended, and its decoder has not"
    assert spool.held_bytes == UNIT_BYTES
    reading.__exit__(None, None, None)
    assert spool.held_bytes == 0
    with pytest.raises(SourceFailed), film.opened():
        pass
    with pytest.raises(
        SourceFailed
    ):  # A thread that was late: the number is another file's by now.
        film.write(b"another")
    film.close()


def test_films_together_stay_within_the_budget(spool: Spool) -> None:
    with spool.film(3 * UNIT_BYTES) as first, spool.film(2 * UNIT_BYTES - 1):
        with pytest.raises(Unavailable, match=r"gateway\.spool_busy"), spool.film(1):
            pass
        first.write(b"x")
        assert spool.held_bytes == UNITS * UNIT_BYTES
        with pytest.raises(Unavailable, match=r"gateway\.spool_busy"):
            first.reserve(3 * UNIT_BYTES + 1)
    assert spool.held_bytes == 0
    with spool.film(UNITS * UNIT_BYTES):
        pass


def test_the_budget_is_that_of_all_processes_and_a_dead_one_holds_nothing(
    spool: Spool, folder: Path
) -> None:
    words = [sys.executable, "-c", ANOTHER_PROCESS, folder, str(UNITS * UNIT_BYTES), "4"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as another:
        assert another.stdout is not None
        assert another.stdout.readline() == b"holds\n"
        with spool.film(UNIT_BYTES):
            pass
        with pytest.raises(Unavailable, match=r"gateway\.spool_busy"), spool.film(UNIT_BYTES + 1):
            pass
        assert spool.held_bytes == 0
        another.kill()
        another.wait()
        with spool.film(UNITS * UNIT_BYTES):
            pass


def test_a_disk_keeps_what_receipts_need(folder: Path) -> None:
    left = SPOOL_FREE_BYTES_MIN + UNIT_BYTES
    spool = Spool(SpoolSettings(folder, 2 * UNIT_BYTES, 9 * UNIT_BYTES), lambda _: left)
    with pytest.raises(Unavailable, match=r"gateway\.spool .*space"), spool.film(UNIT_BYTES + 1):
        pass
    with spool.film(UNIT_BYTES) as film:
        film.write(b"fits")
        left -= UNIT_BYTES  # Others write, too.
        with pytest.raises(Unavailable, match=r"gateway\.spool .*space"):
            film.write(b"does not")
        assert film.digests == digests_of(b"fits")
    assert spool.held_bytes == 0
    spool.close()
    assert free_bytes(folder) > 0


def test_a_full_disk_is_told_and_leaves_nothing(spool: Spool, folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    refused = pytest.raises(Unavailable, match=r"gateway\.spool .*large")
    with refused, spool.film() as film, full_disk(100_000):
        film.write(bytes(200_000))
    assert spool.held_bytes == 0
    assert names(folder) == ["shares.lock"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_a_process_left_that_ended_at_once_is_removed(folder: Path) -> None:
    folder.mkdir()
    (folder / "film-abc").write_bytes(b"")
    (folder / "of the operator").write_bytes(b"")
    Spool(SpoolSettings(folder), plenty).close()
    assert names(folder) == ["of the operator", "shares.lock"]


def test_what_has_content_is_none_of_ours_whatever_its_name(folder: Path) -> None:
    (folder / "film-directory").mkdir(parents=True)
    (folder / "film-of-a-walk.mp4").write_bytes(b"the operator's own")
    (folder / "film-link").symlink_to("film-of-a-walk.mp4")
    Spool(SpoolSettings(folder), plenty).close()
    assert names(folder) == ["film-directory", "film-link", "film-of-a-walk.mp4", "shares.lock"]


def test_one_that_begins_while_another_makes_a_file_does_no_harm(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_meanwhile(prefix: str, dir: Path) -> tuple[int, str]:
        found = mkstemp(prefix=prefix, dir=dir)
        begun.append(Spool(SpoolSettings(folder), plenty))
        return found

    begun: list[Spool] = []
    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", made_meanwhile)
    with spool.film() as film:
        film.write(b"a part")
        assert film.digests == digests_of(b"a part")
    (another,) = begun
    another.close()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"gateway\.spool"):
        Spool(SpoolSettings(tmp_path / "file/spool"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_gateway_of_any_number_of_processes_refuses_it_at_its_start(
    tmp_path: Path, processes: int
) -> None:
    (tmp_path / "file").write_bytes(b"")
    spool = SpoolSettings(tmp_path / "file/spool")
    exact = Decoding.EXACT
    settings = Settings(
        tmp_path / "home", None, 2, processes, False, False, exact, False, spool=spool
    )
    with pytest.raises(Unavailable, match=r"gateway\.spool"):
        run(settings, "127.0.0.1", 0, print)


def test_a_budget_smaller_than_a_film_is_refused(folder: Path) -> None:
    with pytest.raises(Malformed, match=r"gateway\.spool_settings"):
        Spool(SpoolSettings(folder, 3 * UNIT_BYTES, 3 * UNIT_BYTES - 1))
    assert not folder.exists()
    least = Spool(SpoolSettings(folder, 1, UNIT_BYTES))
    assert least.film_bytes_max == IMAGE_BYTES_MAX
    least.close()
