"""`accord demo --once --json`, as a stranger's script runs it: one report, one exit status."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from world_kit import ACCORD, refusal, run_accord

# What the first issue of this project asks the story to cover, in the story's own words.
ASKED = (
    "publish",
    "approve",
    "endorse",
    "read by the others",
    "not active before certification",
    "sync and verify",
    "benign upload allowed",
    "listed picture blocked",
    "altered copies blocked",
    "tagged, not blocked, elsewhere",
    "stored scan",
    "dispute ends the automatic action",
    "tampered replica refused",
    "audit verdict",
)
ALTERATIONS = ("resized to 50 %", "JPEG quality 50", "brightened", "small text on it")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An account that has nothing: its home and its temporary directory are empty."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}


def test_the_story_is_told_whole_and_leaves_nothing_behind(
    bare: dict[str, str], tmp_path: Path
) -> None:
    done = run_accord("demo", "--once", "--json", environment=bare, cwd=tmp_path, wait_s=280)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), (report, done.stderr)
    assert set(report) == {"ok", "steps"}
    for step in report["steps"]:
        assert set(step) == {"name", "ok", "seconds", "detail"}
        assert step["ok"], step
        assert step["detail"], step
    details = {step["name"]: step["detail"] for step in report["steps"]}
    assert set(ASKED) <= set(details)
    assert "drive" in details, "the tree's own platform was not found"
    for what in ALTERATIONS:
        assert details["altered copies blocked"].count(what) == 2
    assert "replica.tampered" in details["tampered replica refused"]
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert left == [], "a story that went well keeps no files"


def test_a_step_that_fails_is_reported_and_ends_the_story(
    bare: dict[str, str], tmp_path: Path
) -> None:
    """Another package of the photographs' name, without photographs, comes first on the path."""
    shadow = tmp_path / "shadow" / "skimage"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()
    bare["PYTHONPATH"] = str(shadow.parent)
    done = run_accord("demo", "--once", "--json", environment=bare, cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [step["ok"] for step in report["steps"]] == [False]
    assert "demo.no_photographs" in report["steps"][0]["detail"]
    assert "make setup" in report["steps"][0]["detail"]


def test_a_directory_that_is_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("not the demo's")
    done = run_accord("demo", "--once", "--json", "--directory", tmp_path)
    assert done.stdout == ""
    assert refusal(done)["code"] == "demo.directory"
    assert "processes" not in done.stderr, "there are no files of a demo to look at"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    plain = run_accord("demo", "--once", "--directory", tmp_path / "letter.txt")
    assert plain.returncode == 1
    assert "accord: demo.directory" in plain.stderr


def test_every_photograph_is_credited() -> None:
    done = run_accord("demo", "--credits")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert all("CC0" in line or "public domain" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_ended_in_the_middle_it_ends_what_it_started(
    number: signal.Signals, bare: dict[str, str], tmp_path: Path
) -> None:
    command = [*ACCORD, "demo", "--once", "--json"]
    demo = subprocess.Popen(
        command, env=os.environ | bare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    nodes = tmp_path / "temporary"
    running: list[Path] = []
    deadline = time.monotonic() + 60
    while not running and time.monotonic() < deadline:
        running = list(nodes.glob("*/consortium/node/node.json"))
        time.sleep(0.05)
    node = int(json.loads(running[0].read_bytes())["pid"])
    demo.send_signal(number)
    assert demo.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(node, 0)
    assert list(nodes.iterdir()) == []
