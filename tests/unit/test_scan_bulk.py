"""Scanning stored files: what is looked at again, what is not, and what an interruption costs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.audit.receipts import LookupReceipt, Receipt, parse_receipt
from accord.fingerprint import Decoding
from accord.matching import Context
from accord.media import walk
from accord.scan.bulk import FileAnswer, How, Scan, Tally
from accord.scan.bulk_state import BulkState
from accord.statements.rules import Action, Scope
from accord.tlog import parse_bundle
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId
from scan_kit import Scene, jpeg

STORED = Context(scope=Scope.STORED)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path / "home")
    opened.list_pictures(1)
    opened.sync()
    yield opened
    opened.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    for seed in (1, 2, 3):
        (directory / f"{seed}.jpg").write_bytes(jpeg(seed))
    (directory / "notes.txt").write_text("no picture")
    return directory


def scan(scene: Scene, files: Path, context: Context = STORED) -> dict[str, FileAnswer]:
    state = BulkState(scene.directory / "scan.sqlite")
    try:
        answers = list(Scan(scene.screener, context, state).run(walk([files])))
    finally:
        state.close()
    assert [answer.path for answer in answers] == [Path(str(p)) for p in sorted(files.iterdir())]
    return {answer.path.name: answer for answer in answers}


def hows(answers: dict[str, FileAnswer]) -> set[How]:
    return {answer.how for answer in answers.values()}


def decisions(answers: dict[str, FileAnswer]) -> dict[str, str]:
    return {name: answer.decision for name, answer in answers.items()}


def test_an_unchanged_file_under_an_unchanged_list_is_not_looked_at_again(
    scene: Scene, files: Path
) -> None:
    first = scan(scene, files)
    assert hows(first) == {How.READ}
    assert decisions(first) == {
        "1.jpg": "match",
        "2.jpg": "no_match",
        "3.jpg": "no_match",
        "notes.txt": "undetermined",
    }
    receipts = scene.receipts.head().size
    again = scan(scene, files)
    assert hows(again) == {How.UNCHANGED}
    assert {n: a.answer for n, a in again.items()} == {n: a.answer for n, a in first.items()}
    assert scene.receipts.head().size == receipts == 4


def test_a_changed_list_is_asked_without_reading_a_file(scene: Scene, files: Path) -> None:
    scene.screener.decoding = Decoding.EXACT  # See test_scan_decoding for the other.
    scan(scene, files)
    scene.list_pictures(2)
    scene.sync()
    pids = scene.pool.worker_pids()
    scene.pool.close()  # Any attempt to read would fail loudly.
    again = scan(scene, files)
    assert pids
    assert hows(again) == {How.FINGERPRINTS}
    assert decisions(again)["2.jpg"] == "match"
    assert again["notes.txt"].answer["code"] == "image.unknown_format"


def test_another_rule_or_dispute_is_a_changed_list(scene: Scene, files: Path) -> None:
    assert scan(scene, files)["1.jpg"].answer["action"] == "block"
    scene.rule(2, Action.QUARANTINE)
    scene.sync()
    assert scan(scene, files)["1.jpg"].answer["action"] == "quarantine"
    assert hows(scan(scene, files)) == {How.UNCHANGED}


def test_a_changed_file_is_read_again(scene: Scene, files: Path) -> None:
    scan(scene, files)
    (files / "2.jpg").write_bytes(jpeg(1))
    again = scan(scene, files)
    assert {name: answer.how for name, answer in again.items()} == {
        "1.jpg": How.UNCHANGED,
        "2.jpg": How.READ,
        "3.jpg": How.UNCHANGED,
        "notes.txt": How.UNCHANGED,
    }
    assert decisions(again)["2.jpg"] == "match"


def test_a_file_exchanged_behind_its_date_is_read_again(scene: Scene, files: Path) -> None:
    scan(scene, files)
    about = (files / "2.jpg").stat()
    fresh = jpeg(1)
    (files / "new").write_bytes(fresh)
    os.utime(files / "new", ns=(about.st_atime_ns, about.st_mtime_ns))
    (files / "new").replace(files / "2.jpg")
    assert decisions(scan(scene, files))["2.jpg"] == "match"


def test_an_interrupted_scan_goes_on_where_it_was(scene: Scene, files: Path) -> None:
    state = BulkState(scene.directory / "scan.sqlite")
    run = Scan(scene.screener, STORED, state).run(walk([files]))
    assert next(run).path.name == "1.jpg"
    run.close()  # What Ctrl-C does to a generator.
    state.close()
    again = scan(scene, files)
    assert again["1.jpg"].how is How.UNCHANGED
    assert again["notes.txt"].how is How.READ
    assert decisions(again)["1.jpg"] == "match"


def test_each_answer_of_a_scan_names_the_rules_that_it_was_decided_by(
    scene: Scene, files: Path
) -> None:
    for number in range(20):
        (files / f"copy-{number:02}.jpg").write_bytes(jpeg(1))
    digests = {}
    acts = {1: "block", 2: "quarantine", 3: "block"}
    state = BulkState(scene.directory / "scan.sqlite")
    answers: list[FileAnswer] = []
    digests[1] = scene.screener.running.obligations.rules_sha256
    for answer in Scan(scene.screener, STORED, state).run(walk([files])):
        answers.append(answer)
        if len(answers) in (4, 12):
            version = 2 if len(answers) == 4 else 3
            scene.rule(version, Action.QUARANTINE if version == 2 else Action.BLOCK)
            scene.sync()
            digests[version] = scene.screener.running.obligations.rules_sha256
    state.close()
    versions: list[int] = []
    for answer in answers:
        if answer.decision != "match":
            continue
        receipt = answer.answer["receipt"]
        assert isinstance(receipt, dict)
        reasons = answer.answer["reasons"]
        assert isinstance(reasons, list)
        (version,) = {reason["rule"]["version"] for reason in reasons}
        assert answer.answer["action"] == acts[version]
        assert receipt_at(scene, receipt["index"]).meta.rules_sha256 == digests[version]
        versions.append(version)
    assert versions == sorted(versions)
    assert set(versions) == {1, 2, 3}
    again = scan(scene, files)
    stale = [name for name, answer in again.items() if answer.how is not How.UNCHANGED]
    assert len(stale) >= sum(version < 3 for version in versions)
    assert {answer.answer["action"] for answer in again.values() if answer.decision == "match"} == {
        "block"
    }


def receipt_at(scene: Scene, index: int) -> Receipt | LookupReceipt:
    size = scene.receipts.head().size
    tile = scene.receipts.tile(f"tile/entries/000.p/{size}")
    return parse_receipt(parse_bundle(tile, size)[index])


def test_what_cannot_be_read_is_undetermined_and_tried_again(scene: Scene, files: Path) -> None:
    (files / "gone.jpg").symlink_to(files / "nowhere")
    first = scan(scene, files)
    assert first["gone.jpg"].answer["code"] == "file.unreadable"
    (files / "nowhere").write_bytes(jpeg(1))
    again = scan(scene, files)
    assert (again["gone.jpg"].how, again["gone.jpg"].decision) == (How.READ, "match")


def test_other_facts_are_other_answers(scene: Scene, files: Path) -> None:
    scan(scene, files)
    here = Context(jurisdictions=(JurisdictionId("NL"),), scope=Scope.STORED)
    assert hows(scan(scene, files, here)) == {How.FINGERPRINTS}
    with pytest.raises(Malformed, match=r"decision\.jurisdiction"):
        scan(scene, files, Context(jurisdictions=(JurisdictionId("DE"),)))


def test_a_state_that_does_not_read_costs_a_look(scene: Scene, files: Path) -> None:
    scan(scene, files)
    state = BulkState(scene.directory / "scan.sqlite")
    state._run("UPDATE files SET looked = x'00'", ())
    state.close()
    assert hows(scan(scene, files)) == {How.READ}


def test_no_name_of_a_file_is_kept(scene: Scene, files: Path) -> None:
    scan(scene, files)
    for file in scene.directory.iterdir():
        raw = file.read_bytes()
        assert b"notes.txt" not in raw
        assert b"1.jpg" not in raw


def test_exit_codes_say_the_worst() -> None:
    def tally(*found: str) -> int:
        total = Tally()
        for decision in found:
            total.add(FileAnswer(Path("x"), How.READ, {"decision": decision}))
        return total.exit_code

    assert tally("no_match") == tally() == 0
    assert tally("no_match", "undetermined") == 1
    assert tally("undetermined", "match", "no_match") == 3
