"""A trial of four agencies with a real node, and commands as their people type them."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli.failures import render
from accord.cli.main import app
from accord.wire.errors import AccordError

ACCORD = [sys.executable, "-m", "accord.cli.main"]
AGENCIES = ("nl-one", "ie-two", "ca-three", "nl-four")


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


def run(*words: str | Path, ok: bool = True, status: int | None = None) -> Said:
    """A command, in this process: starting Python forty times would take longer than the rest.
    `status` is another exit status that is well, such as that of a match."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    stderr = result.stderr
    if isinstance(result.exception, AccordError):
        stderr += render(result.exception, as_json=False)
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    is_well = result.exit_code in (0, status)
    assert is_well is ok, (words, result.exit_code, result.stdout, stderr)
    return Said(result.stdout, stderr)


def told(*words: str | Path) -> dict[str, object]:
    value = json.loads(run(*words, "--json").stdout.splitlines()[-1])
    assert isinstance(value, dict)
    return value


def entry_of(value: dict[str, object], name: str = "entry") -> str:
    assert isinstance(value[name], int)
    return str(value[name])


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("trial") / "house"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    named = [f"--agency={a}:{a.title()}:{a[:2].upper()}" for a in AGENCIES]
    run("init", "--trial", directory, "--port", str(port), *named)
    command = [*ACCORD, "node", "run", "--dir", str(directory / "node"), "--json"]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout is not None
        assert "listening" in json.loads(node.stdout.readline())
        yield directory
    finally:
        node.terminate()
        node.wait(20)
        if node.stdout is not None:
            node.stdout.close()


def keep(trial: Path) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for agency in AGENCIES:
        out = run("keeper", "--home", trial / agency, "--once", "--json").stdout
        lines += [json.loads(line) for line in out.splitlines()]
    return lines
