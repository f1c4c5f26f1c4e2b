"""The commands as people use them: in this process, or as processes of their own where they stay.

`House` is a trial consortium founded by `accord init`, with its node process.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from accord.cli.failures import EXIT_FAILED, of_system, render
from accord.cli.main import app
from accord.wire.errors import AccordError

ACCORD = [sys.executable, "-m", "accord.cli.main"]
AGENCIES = ("nl-one", "ie-two", "ca-three", "nl-four")
READY_S = 20.0


@dataclass(frozen=True)
class Said:
    """What a command printed. `code` is its refusal's, empty if it was none."""

    status: int
    stdout: str
    stderr: str
    code: str

    @property
    def last(self) -> dict[str, Any]:
        value = json.loads(self.stdout.splitlines()[-1])
        assert isinstance(value, dict)
        return value


def run(*words: str | Path, status: int | None = 0) -> Said:
    """A command, in this process: starting Python for each would take longer than the rest.

    It must end with `status`, if that is given.
    """
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])
    err = of_system(done.exception) if isinstance(done.exception, OSError) else done.exception
    if isinstance(err, AccordError):
        said = Said(EXIT_FAILED, done.stdout, done.stderr + render(err, as_json=False), err.code)
    elif err is not None and not isinstance(err, SystemExit):
        raise err
    else:
        said = Said(done.exit_code, done.stdout, done.stderr, "")
    assert status in (None, said.status), (words, said)
    return said


def told(*words: str | Path) -> dict[str, Any]:
    """The last JSON line of a command that succeeds."""
    return run(*words, "--json").last


def refused(*words: str | Path) -> str:
    """The code of a command that must be refused."""
    said = run(*words, status=EXIT_FAILED)
    assert said.code in said.stderr
    return said.code


def until(truth: Callable[[], bool], within_s: float = READY_S) -> float:
    """Waits; how long it took."""
    began = time.monotonic()
    while not truth():
        assert time.monotonic() - began < within_s, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Running:
    """A command that stays, and what it says; stopped at the end of its block."""

    process: subprocess.Popen[str]
    errors: Path

    def said(self) -> str:
        return self.errors.read_text()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        value = json.loads(self.process.stdout.readline())
        assert isinstance(value, dict)
        return value

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(READY_S)


@contextmanager
def running(
    directory: Path, *words: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A command as a process, with `--json`; its standard error goes to a file."""
    errors = directory / f"{words[0]}.{time.monotonic_ns()}.err"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [*ACCORD, *map(str, words), "--json"],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=os.environ | {"COLUMNS": "200"} | dict(env or {}),
        )
    try:
        yield Running(process, errors)
    finally:
        process.terminate()
        process.wait(READY_S)
        if process.stdout is not None:
            process.stdout.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert isinstance(port, int)
    return port


@dataclass
class House:
    """Homes of four agencies, and their node as a process that may be killed and started."""

    directory: Path
    port: int
    genesis_sha256: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    _node: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def node_directory(self) -> Path:
        return self.directory / "node"

    def home(self, member: str) -> Path:
        return self.directory / member

    def start(self) -> None:
        words = ["node", "run", "--dir", str(self.node_directory), "--json"]
        errors = (self.directory / "node.err").open("a")
        with errors:
            node = subprocess.Popen(
                [*ACCORD, *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | dict(self.env),
            )
        self._node = node
        assert node.stdout is not None
        assert "listening" in json.loads(node.stdout.readline())

    def kill(self) -> None:
        """As the power would."""
        assert self._node is not None
        self._node.kill()
        self._ended()

    def has_ended(self) -> bool:
        return self._node is None or self._node.poll() is not None

    def stop(self) -> int:
        if self._node is None:
            return 0
        self._node.terminate()
        return self._ended()

    def _ended(self) -> int:
        node, self._node = self._node, None
        assert node is not None
        status = node.wait(READY_S)
        if node.stdout is not None:
            node.stdout.close()
        return status

    def keep(self) -> list[dict[str, Any]]:
        """Every keeper does what it can, in turn."""
        lines: list[dict[str, Any]] = []
        for agency in AGENCIES:
            out = run("keeper", "--home", self.home(agency), "--once", "--json").stdout
            lines += [json.loads(line) for line in out.splitlines()]
        return lines

    def carry(self, proposal: int, *voters: str) -> None:
        for voter in voters:
            run("vote", str(proposal), "yes", "--home", self.home(voter))

    def certify(self, *files: Path) -> int:
        """Published by nl-one, approved there, endorsed by ie-two: the batch's entry."""
        nl, ie = self.home("nl-one"), self.home("ie-two")
        entry = str(told("publish", *files, "--class", "test/T1", "--home", nl)["entries"][0])
        run("approve", entry, "--home", nl)
        run("endorse", entry, "--level", "one-person", "--home", ie)
        return int(entry)

    def found_platform(self, name: str) -> Path:
        """A platform's home; it is not admitted yet."""
        home = self.directory / name
        genesis = ("--genesis", self.node_directory / "genesis.json")
        words = ("--member", name, "--title", name.title(), "--jurisdiction", "NL")
        pinned = ("--sha256", self.genesis_sha256, "--node", self.url)
        run("platform", "init", home, *genesis, *words, *pinned)
        return home

    def admit(self, home: Path) -> None:
        """By the votes of three of four; a keeper wraps the group key for it."""
        application = home / "application.json"
        made = told("propose", "admit", application, "--home", self.home("nl-one"))
        self.carry(made["proposal"], "ie-two", "ca-three")
        self.keep()

    def set_rules(self, directory: Path) -> None:
        """The EU template, for the class that tests may use."""
        file = directory / "nl.yaml"
        text = run("rules", "template", "eu-member-state").stdout
        file.write_text(text.replace("interpol/baseline", "test/T1"))
        run("rules", "set", file, "--jurisdiction", "NL", "--home", self.home("nl-one"))


@contextmanager
def founded(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[House]:
    """A trial with its node running and the first group keys in force."""
    port = free_port()
    named = [f"--agency={a}:{a.title()}:{a[:2].upper()}" for a in AGENCIES]
    made = told("init", "--trial", directory, "--port", str(port), *named)
    house = House(directory, port, made["genesis_sha256"], env or {})
    house.start()
    try:
        house.keep()
        yield house
    finally:
        house.stop()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def screened(url: str, data: bytes) -> dict[str, Any]:
    """A gateway's answer to an upload."""
    value = httpx.post(f"{url}/v1/screen", content=data).json()
    assert isinstance(value, dict)
    return value
