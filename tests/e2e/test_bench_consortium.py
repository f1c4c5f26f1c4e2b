"""`accord bench consortium`, tiny: what it reports has the promised shape. No time is judged."""

import json
from pathlib import Path

from testnet_kit import accord, require_cometbft

LISTINGS = 400


def test_a_tiny_consortium_reports_every_figure(tmp_path: Path) -> None:
    require_cometbft()
    place = tmp_path / "bench"
    argv = ["bench", "consortium", "--listings", str(LISTINGS), "--tries", "1", "--seconds", "1"]
    done = accord(*argv, "--block-ms", "200", "--json", "--directory", str(place))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {"machine", "parameters", "figures"}
    assert (report["parameters"]["listings"], report["parameters"]["validators"]) == (LISTINGS, 4)
    figures = report["figures"]
    assert [row["listings"] for row in figures["publish"]] == [LISTINGS] * 3
    assert all(row["listings_per_s"] > 0 for row in figures["publish"])
    assert len(figures["latency"]) == 4
    assert all(0 < row["p50_s"] <= row["p99_s"] <= row["max_s"] for row in figures["latency"])
    assert figures["follower"][0]["listings"] == LISTINGS + 1  # One more for each try.
    assert len(figures["recovery"]) == 6
    assert [row["listings_per_s"] > 0 for row in figures["joining"]] == [True, True]
    assert all(row["seconds"] > 0 for row in figures["recovery"])
    assert all(row["bytes_each"] > 0 for row in figures["disk"])
    (idle,) = figures["idle"]
    assert idle["seconds"] >= 1
    assert idle["cpu_percent"] >= 0
    assert idle["mb_a_day"] >= 0
    assert {row["what"].partition(",")[0] for row in figures["memory"]} == {
        "all nodes",
        "all engines",
        "follower",
    }
