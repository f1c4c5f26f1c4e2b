"""`accord fingerprint` as a person at a shell sees it, over real decoder workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli.main import app
from accord.fingerprint import Fingerprinted, fingerprint_bytes
from archives_kit import zipped
from pictures_kit import animation, encoded, picture

pytestmark = pytest.mark.slow


def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
    outcome = CliRunner().invoke(app, ["fingerprint", *arguments])
    return (
        outcome.exit_code,
        [json.loads(line) for line in outcome.stdout.splitlines()],
        (outcome.stderr),
    )


def folder(root: Path) -> Path:
    (root / "sub").mkdir()
    (root / "sub" / "b.dat").write_bytes(encoded(picture(2, (96, 64)), "PNG"))
    (root / "a.jpg").write_bytes(encoded(picture(1, (96, 64)), "JPEG"))
    (root / "c.gif").write_bytes(animation([1, 2], "GIF"))
    return root


def test_a_line_says_all_there_is(tmp_path: Path) -> None:
    file = folder(tmp_path) / "a.jpg"
    status, (line,), errors = run(str(file))
    answer = fingerprint_bytes(file.read_bytes())
    assert isinstance(answer, Fingerprinted)
    assert (status, errors) == (0, "")
    assert line == {
        "path": str(file),
        "ok": True,
        "pdq": answer.main.bits.hex(),
        "quality": answer.main.quality,
        "md5": answer.digests.md5.hex(),
        "sha1": answer.digests.sha1.hex(),
        "sha256": answer.digests.sha256.hex(),
        "format": "jpeg",
        "width": 96,
        "height": 64,
        "frame_count": 1,
        "frames": [
            {
                "index": 0,
                "time_ms": 0,
                "pdq": answer.main.bits.hex(),
                "quality": answer.main.quality,
            }
        ],
    }


def test_directories_are_walked_in_one_order_with_any_number_of_jobs(tmp_path: Path) -> None:
    folder(tmp_path)
    for jobs in ("1", "3"):
        status, lines, _ = run(str(tmp_path), "--jobs", jobs)
        assert status == 0
        assert [Path(str(line["path"])).name for line in lines] == ["a.jpg", "c.gif", "b.dat"]
        assert lines[1]["frame_count"] == 2


def test_what_has_no_fingerprint_is_a_line_and_a_status(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    status, lines, _ = run(str(tmp_path))
    assert status == 1
    failed = {Path(str(line["path"])).name: line for line in lines if not line["ok"]}
    assert {name: line["code"] for name, line in failed.items()} == {
        "notes.txt": "image.unknown_format",
        "dangling": "file.unreadable",
        "pipe": "file.unreadable",
    }
    assert all(line["reason"] for line in failed.values())
    assert "sha256" in failed["notes.txt"]
    assert "sha256" not in failed["pipe"]
    assert len(lines) == 6


def test_an_archive_says_its_members_and_what_was_not_seen(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    picture_ = encoded(picture(2, (96, 64)), "PNG")
    file.write_bytes(zipped([picture_, b"no picture", picture_]))
    status, (line,), _ = run(str(file))
    assert (status, line["ok"], line["format"]) == (1, True, "archive")
    assert line["unseen"] == {"code": "image.unknown_format", "member": 2}
    assert isinstance(line["frames"], list)
    assert [frame["member"] for frame in line["frames"]] == [1, 3]


def test_wrong_usage_has_its_own_status() -> None:
    assert run()[0] == 2
    assert run("x", "--jobs", "0")[0] == 2


def test_help_shows_examples() -> None:
    outcome = CliRunner().invoke(app, ["fingerprint", "--help"])
    assert outcome.exit_code == 0
    assert "accord fingerprint photo.jpg" in outcome.stdout


def test_the_installed_command_leaves_nothing_behind(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("accord")
    outcome = subprocess.run(
        [command, "fingerprint", folder(tmp_path)], capture_output=True, check=False, timeout=60
    )
    assert (outcome.returncode, outcome.stderr) == (0, b"")
    assert len(outcome.stdout.splitlines()) == 3
