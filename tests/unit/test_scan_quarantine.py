"""Films too large for memory go into quarantine as other files do: whole, or not at all."""

import fcntl
import hashlib
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from accord.matching import Context
from accord.media import StoredFilm, walk
from accord.media.films import OpenFilm, SourceFailed
from accord.scan.bulk import FileAnswer, Scan
from accord.scan.cases.intake import taking_in_stored
from accord.scan.cases.quarantine import Held, Lying, Quarantine
from accord.statements.batch import Listing
from accord.statements.rules import Scope
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.limits import IMAGE_BYTES_MAX, SPOOL_FREE_BYTES_MIN
from cases_kit import IDENTITY, KEY, Crashed, Desk, case_of, full_disk, open_sealed, platform_home
from command_kit import told
from consortium_kit import CLASS
from scan_kit import Scene
from video_kit import film, write_large
from video_kit import walk as walked

pytestmark = pytest.mark.slow

SIZE = IMAGE_BYTES_MAX + 3_000_001
STORED = Context(scope=Scope.STORED)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "desk")
    yield desk
    desk.store.close()


@pytest.fixture
def lying(tmp_path: Path) -> Lying:
    path = tmp_path / "film"
    digest = write_large(path, b"not looked at", SIZE)
    return Lying(StoredFilm(path), bytes.fromhex(digest))


def keep(world: Desk, held: Held) -> str:
    world.desk.take_in(case_of(), ["12/3"], held)
    return world.store.case("c1").quarantined


def test_a_film_is_encrypted_without_ever_being_in_memory(world: Desk, lying: Lying) -> None:
    tracemalloc.start()
    try:
        digest = keep(world, lying)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert world.files() == ["c1.age"]
    raw = (world.directory / "quarantine/c1.age").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == digest
    assert hashlib.sha256(open_sealed(raw, str(IDENTITY))).digest() == lying.sha256
    assert (world.directory / "quarantine/c1.age").stat().st_mode & 0o077 == 0


@dataclass(frozen=True, slots=True)
class Changing:
    """A film of which something changes once it was opened."""

    path: Path
    cut: int | None

    @contextmanager
    def opened(self) -> Iterator[OpenFilm]:
        with StoredFilm(self.path).opened() as film:
            with self.path.open("r+b") as file:
                if self.cut is not None:
                    file.truncate(self.cut)
                else:
                    file.seek(SIZE - 1)
                    file.write(b"x")
            yield film


@pytest.mark.parametrize("cut", [None, 0, SIZE - 1])
def test_a_film_that_changes_meanwhile_is_not_held(
    world: Desk, lying: Lying, tmp_path: Path, cut: int | None
) -> None:
    changing = Lying(Changing(tmp_path / "film", cut), lying.sha256)
    assert keep(world, changing) == ""
    assert world.files() == []
    (tmp_path / "film").unlink()
    with pytest.raises(SourceFailed), lying.film.opened():
        pass
    assert keep(world, lying) == ""
    assert world.files() == []


def test_a_full_disk_leaves_nothing_behind(world: Desk, lying: Lying) -> None:
    with full_disk(1_000_000), pytest.raises(Unavailable, match=r"cases\.quarantine.*large"):
        keep(world, lying)
    assert world.files() == []
    assert world.store.case("c1").quarantined == ""
    assert keep(world, lying)
    assert world.files() == ["c1.age"]


@pytest.mark.parametrize("writes", [0, 20])
def test_a_film_leaves_a_disk_what_receipts_need(
    world: Desk, lying: Lying, tmp_path: Path, writes: int
) -> None:
    def free(_: Path) -> int:
        nonlocal asked
        asked += 1
        return SPOOL_FREE_BYTES_MIN + (SIZE if asked <= writes else 0)

    asked = 0
    folder = tmp_path / "held"
    quarantine = Quarantine(folder, KEY, free)
    refused = pytest.raises(Unavailable, match=r"cases\.quarantine .*space")
    with refused, quarantine.sealing("c1", lying):
        pass
    assert asked == writes + 1, "others fill the disk meanwhile"
    assert list(folder.iterdir()) == []
    with quarantine.sealing("c1", b"a picture") as sealed:
        assert sealed is not None


@pytest.mark.parametrize("step", ["after sealing", "after file", "before quarantined"])
def test_a_crash_at_each_write_leaves_the_film_or_its_copy(
    world: Desk, lying: Lying, tmp_path: Path, step: str
) -> None:
    world.crash_at = step
    with pytest.raises(Crashed):
        keep(world, lying)
    assert (tmp_path / "film").stat().st_size == SIZE
    world.store.close()
    world.again()
    assert keep(world, lying)
    assert world.files() == ["c1.age"]


def test_what_a_process_that_ended_left_half_done_is_removed(world: Desk) -> None:
    folder = world.directory / "quarantine"
    folder.mkdir()
    left, written = folder / ".c2.abc.new", folder / ".c3.abc.new"
    left.write_bytes(b"half")
    with written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        keep(world, b"a benign file")
        assert world.files() == [".c3.abc.new", "c1.age"]
    with Quarantine(folder, KEY).sealing("c4", b"another") as sealed:
        assert sealed is not None
        assert not written.exists()
    assert world.files() == ["c1.age"], "what is not kept is gone"


def test_a_scan_holds_a_large_film_that_a_rule_says_to_quarantine(
    world: Desk, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    digest = write_large(files / "film.mp4", film(walked(3, 1.0)), SIZE)
    scene = Scene(tmp_path / "home")
    try:
        rows = [Listing(CLASS, sha256=bytes.fromhex(digest))]
        for agency in ("nl-one", "ie-two"):
            scene.consortium.publish(agency, rows)
        scene.sync()

        def scanned() -> FileAnswer:
            cases = taking_in_stored(world.desk)
            (answer,) = Scan(scene.screener, STORED, None, cases).run(walk([files]))
            return answer

        assert scanned().decision == "match"
        (case,) = world.store.cases()
        assert case.quarantined
        raw = (world.directory / f"quarantine/{case.id}.age").read_bytes()
        assert hashlib.sha256(open_sealed(raw, str(IDENTITY))).hexdigest() == digest
        assert (files / "film.mp4").stat().st_size == SIZE
    finally:
        scene.close()


def test_a_large_film_is_extracted_in_parts(tmp_path: Path, lying: Lying) -> None:
    home = platform_home(tmp_path)
    world = Desk(home)
    keep(world, lying)
    world.now = world.clock()
    (home / "cases.toml").write_text(
        f'[quarantine]\nname = "{KEY.name}"\nrecipient = "{KEY.recipient}"\n'
    )
    (home / "id.txt").write_text(str(IDENTITY))
    me = ("--as", "rev-1", "--home", home)
    told("cases", "claim", "c1", *me)
    out = tmp_path / "out"
    said = told("cases", "extract", "c1", "--identity", home / "id.txt", "--out", out, *me)
    assert said["bytes"] == SIZE
    assert hashlib.sha256(out.read_bytes()).digest() == lying.sha256


def test_what_does_not_open_says_why(world: Desk) -> None:
    keep(world, bytes(300_000))
    raw = (world.directory / "quarantine/c1.age").read_bytes()
    other = str(type(IDENTITY).generate())
    for sealed, identity in ((raw, other), (raw[:-9], str(IDENTITY)), (b"", str(IDENTITY))):
        with pytest.raises(Unproven, match=r"cases\.not_opened"):
            open_sealed(sealed, identity)
    with pytest.raises(Malformed, match=r"cases\.identity"):
        open_sealed(raw, "no key")
