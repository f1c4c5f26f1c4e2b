"""A scan opens cases of stored files: once for a content, a place and a listing; none is lost."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accord.matching import Context
from accord.media import walk
from accord.scan.bulk import FileAnswer, How, Scan
from accord.scan.bulk_state import BulkState
from accord.scan.cases.intake import taking_in_stored
from accord.scan.cases.model import Case
from accord.scan.cases.quarantine import Held
from accord.scan.screener import Screened
from accord.statements.rules import Action, Scope
from accord.wire.errors import Unavailable
from cases_kit import IDENTITY, Crashed, Desk, open_sealed
from scan_kit import Scene, jpeg

STORED = Context(scope=Scope.STORED)
STEPS = [
    "after case",
    "after trail",
    "before open",
    "after open",
    "after sealing",
    "after file",
    "before quarantined",
    "after quarantined",
]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path / "home")
    opened.list_pictures(1)
    opened.sync()
    yield opened
    opened.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "desk")
    yield desk
    desk.store.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    for seed in (1, 2):
        (directory / f"{seed}.jpg").write_bytes(jpeg(seed))
    (directory / "notes.txt").write_text("no picture")
    return directory


def scan(scene: Scene, files: Path, world: Desk | None) -> dict[str, FileAnswer]:
    state = BulkState(scene.directory / "scan.sqlite")
    cases = None if world is None else taking_in_stored(world.desk)
    try:
        answers = list(Scan(scene.screener, STORED, state, cases).run(walk([files])))
    finally:
        state.close()
    return {answer.path.name: answer for answer in answers}


def listings(case: Case) -> set[str]:
    rows = case.record["matches"]
    assert isinstance(rows, list)
    return {str(row["listing"]) for row in rows}


def test_a_stored_file_that_matches_is_a_case_once(scene: Scene, files: Path, world: Desk) -> None:
    first = scan(scene, files, world)
    (case,) = world.store.cases()
    assert first["1.jpg"].answer["case"] == case.id
    assert [name for name, answer in first.items() if "case" in answer.answer] == ["1.jpg"]
    assert (case.action, len(listings(case))) == ("block", 2)
    raw = (world.directory / f"quarantine/{case.id}.age").read_bytes()
    assert open_sealed(raw, str(IDENTITY)) == jpeg(1)
    assert b"1.jpg" not in (world.directory / "cases.sqlite-wal").read_bytes()
    again = scan(scene, files, world)
    assert {answer.how for answer in again.values()} == {How.UNCHANGED}
    assert again["1.jpg"].answer["case"] == case.id
    assert world.store.cases() == [case]


def test_another_list_opens_a_case_of_what_is_new_in_it_only(
    scene: Scene, files: Path, world: Desk
) -> None:
    scan(scene, files, world)
    (before,) = world.store.cases()
    scene.rule(2, Action.QUARANTINE)
    scene.sync()
    assert scan(scene, files, world)["1.jpg"].how is not How.UNCHANGED
    assert world.store.cases() == [before], "the same listings, by another rule"
    scene.list_pictures(1)
    scene.sync()
    answer = scan(scene, files, world)["1.jpg"]
    (after,) = (case for case in world.store.cases() if case.id != before.id)
    assert answer.answer["case"] == after.id
    assert len(listings(after)) == 2
    assert not listings(after) & listings(before)
    counts = world.store.matched(world.clock())
    assert set(counts.values()) == {1}, "each listing once, however often it is scanned"


def test_a_content_and_a_place_are_a_case(scene: Scene, files: Path, world: Desk) -> None:
    scan(scene, files, world)
    (files / "copy.jpg").write_bytes(jpeg(1))
    scan(scene, files, world)
    assert len(world.store.cases()) == 2
    (files / "copy.jpg").write_bytes(jpeg(1) + b"\0")  # Another content, the same picture.
    scan(scene, files, world)
    assert len(world.store.cases()) == 3
    (files / "copy.jpg").touch()
    scan(scene, files, world)
    assert len(world.store.cases()) == 3, "looked at again, and nothing new in it"


def test_what_was_found_before_cases_were_kept_becomes_one(
    scene: Scene, files: Path, world: Desk
) -> None:
    assert "case" not in scan(scene, files, None)["1.jpg"].answer
    assert scan(scene, files, world)["1.jpg"].answer["case"]
    assert len(world.store.cases()) == 1
    assert {answer.how for answer in scan(scene, files, world).values()} == {How.UNCHANGED}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_case_and_state_loses_and_doubles_nothing(
    scene: Scene, files: Path, world: Desk, step: str
) -> None:
    world.crash_at = step
    with pytest.raises(Crashed):
        scan(scene, files, world)
    world.store.close()
    world.again()
    answer = scan(scene, files, world)["1.jpg"]
    (case,) = world.store.cases()
    assert answer.answer["case"] == case.id
    assert case.quarantined
    assert world.files() == [f"{case.id}.age"]
    assert case.sightings == 1


def test_a_file_that_was_replaced_since_it_matched_is_not_held(
    scene: Scene, files: Path, world: Desk
) -> None:
    keep = taking_in_stored(world.desk)

    def replaced(screened: Screened, place: bytes, read: Callable[[], Held | None]) -> str | None:
        (files / "1.jpg").write_bytes(jpeg(2))
        return keep(screened, place, read)

    list(Scan(scene.screener, STORED, None, replaced).run(walk([files])))
    (case,) = world.store.cases()
    assert (case.quarantined, world.files()) == ("", [])
    (files / "1.jpg").write_bytes(jpeg(1))
    scan(scene, files, world)
    (case,) = world.store.cases()
    assert case.quarantined, "the file that matched is there again"
    assert world.files() == [f"{case.id}.age"]


def test_without_a_place_for_its_case_no_match_is_remembered(
    scene: Scene, files: Path, world: Desk
) -> None:
    world.store.close()
    with pytest.raises(Unavailable, match=r"cases\.store"):
        scan(scene, files, world)
    world.again()
    assert scan(scene, files, world)["1.jpg"].how is How.READ
    assert len(world.store.cases()) == 1


def test_two_scans_at_once_open_one_case(scene: Scene, files: Path, world: Desk) -> None:
    def one() -> None:
        cases = taking_in_stored(world.desk)
        list(Scan(scene.screener, STORED, None, cases).run(walk([files])))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (case,) = world.store.cases()
    assert case.quarantined


def test_what_needs_no_person_opens_none(scene: Scene, files: Path, world: Desk) -> None:
    scene.rule(2, Action.TAG)
    scene.sync()
    answer = scan(scene, files, world)["1.jpg"].answer
    if answer["action"] == "tag" and not answer.get("reports"):
        assert answer["case"] in (None, *(case.id for case in world.store.cases()))
    assert scan(scene, files, world)["1.jpg"].how is How.UNCHANGED
