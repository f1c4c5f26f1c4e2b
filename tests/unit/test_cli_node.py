"""Founding a trial, and how commands say what went wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli.main import app
from accord.cli.node import chain_of, parse_plan
from accord.client.home import open_home
from accord.ledger.genesis import parse_genesis
from accord.wire.errors import Malformed
from accord.wire.ids import CHAIN_RE

RUNNER = CliRunner()


def test_init_founds_homes_and_a_nodes_directory(tmp_path: Path) -> None:
    named = ["--agency", "nl-kp:Police: north:NL", "--agency", "ie-gs:Garda:IE"]
    command = ["init", "--trial", str(tmp_path / "My Trial"), "--port", "8123", "--json", *named]
    found = RUNNER.invoke(app, command)
    assert found.exit_code == 0, found.output
    report = json.loads(found.output)
    founding = parse_genesis((Path(report["node"]) / "genesis.json").read_bytes())
    assert report["genesis_sha256"] == founding.digest.hex()
    assert report["chain"] == founding.genesis.chain == "trial-my-trial"
    for member, path in report["homes"].items():
        home = open_home(Path(path))
        assert (home.member, home.nodes) == (member, ("http://127.0.0.1:8123",))
        assert home.founding == founding
    assert [a.title for a in founding.genesis.agencies] == ["Police: north", "Garda"]


def test_init_refuses_a_directory_that_has_a_trial(tmp_path: Path) -> None:
    command = ["init", "--trial", str(tmp_path), "--agency", "nl-kp:Police:NL"]
    assert RUNNER.invoke(app, command).exit_code == 0
    before = sorted(tmp_path.rglob("*"))
    again = RUNNER.invoke(app, command)
    assert isinstance(again.exception, Malformed)
    assert again.exception.code == "cli.founded"
    assert sorted(tmp_path.rglob("*")) == before


def test_without_names_there_are_four_agencies_in_three_countries(tmp_path: Path) -> None:
    report = json.loads(RUNNER.invoke(app, ["init", "--trial", str(tmp_path), "--json"]).output)
    genesis = parse_genesis((Path(report["node"]) / "genesis.json").read_bytes()).genesis
    assert len(genesis.agencies) == 4
    assert len({agency.sovereign for agency in genesis.agencies}) == 3


@pytest.mark.parametrize(
    "text", ["", "nl", "nl-kp:Police", "NL:Police:NL", "nl-kp::NL", "node:X:NL"]
)
def test_an_agency_is_id_title_sovereign(text: str) -> None:
    with pytest.raises(Malformed, match=r"cli\.agency"):
        parse_plan(text)


@pytest.mark.parametrize("name", ["", "x", "Ünïcode", "trial-a", "a" * 200, "-.-"])
def test_any_directory_gives_a_chain_id(name: str) -> None:
    chain = chain_of(name)
    assert chain.startswith("trial-")
    assert not chain.startswith("trial-trial-")
    assert CHAIN_RE.fullmatch(chain)


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["node", "run", "--dir", "nowhere"], 1, "accord: node.directory: "),
        (["members", "--home", "nowhere", "--json"], 1, '"code": "home.missing"'),
        (["log", "verify", "nonsense"], 1, "accord: http.url: "),
        (["init"], 2, "Missing option"),
    ],
)
def test_exit_status_and_standard_error(
    tmp_path: Path, command: list[str], status: int, said: str
) -> None:
    script = "from accord.cli.main import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == status, found.stderr
    assert said in found.stderr
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
