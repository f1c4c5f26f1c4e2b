"""`accord bench loop`, tiny: what it reports has the promised shape. No time is judged."""

import json
import subprocess
import sys
from pathlib import Path

LISTINGS = 120


def test_a_tiny_loop_reports_every_figure(tmp_path: Path) -> None:
    place = tmp_path / "bench"
    argv = ["bench", "loop", "--listings", str(LISTINGS), "--tries", "1", "--seconds", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "accord.cli.main", *argv, "--json", "--directory", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert set(report) == {"machine", "parameters", "figures"}
    assert {"cpu", "cores", "memory_mb", "os", "python", "build"} <= set(report["machine"])
    assert report["parameters"]["listings"] == LISTINGS
    figures = report["figures"]
    published = [row["listings"] for row in figures["publish"] if row["approvals"]]
    assert sum(published) == LISTINGS
    assert [row["after"] for row in figures["latency"]] == ["approve", "endorse"]
    followed = figures["follower"][0]
    assert followed["listings"] == LISTINGS + 1  # One more for each try.
    cores = report["machine"]["cores"]
    assert {row["clients"] for row in figures["screens"]} == {1, cores, 2 * cores}
    screens = [*figures["screens"], *figures["cores"]]
    assert all(row["refused"] == 0 for row in screens)
    # A single small screen may take less processor time than can be told.
    assert all(
        row["screens_per_core_s"] is None or row["screens_per_core_s"] > 0 for row in screens
    )
    assert any(row["screens_per_core_s"] for row in screens)
    assert len(figures["cores"]) == 4
    assert {row["what"].partition(",")[0] for row in figures["memory"]} == {
        "node",
        "gateway",
        "decoders",
        "follower",
    }
    assert all(row["mb"] > 0 for row in figures["disk"])
    rates = [row["listings_per_s"] for name in ("publish", "follower") for row in figures[name]]
    assert all(rate > 0 for rate in rates)
