"""The whole story of the demo, with a CometBFT validator for each agency."""

import json
from pathlib import Path

from accord.cli.testnet_nodes import Testnet as Network  # Not a test, whatever its name.
from testnet_kit import accord, require_cometbft


def test_the_whole_story_on_four_validators(tmp_path: Path) -> None:
    require_cometbft()
    place = tmp_path / "demo"
    done = accord("demo", "--engine", "cometbft", "--once", "--json", "--directory", str(place))
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["ok"], report
    nodes = Network((place / "consortium").resolve()).status()
    assert [node.running for node in nodes] == [False] * 4, "the demo ends what it started"
    assert len({node.log_root for node in nodes}) == 1 or min(n.log_size for n in nodes) > 30
