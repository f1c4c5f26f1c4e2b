"""A platform's day with the real commands against a real node: follow, gateway, scan, audit."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from accord.agency.founding import (
    AGENCY_STAFF,
    PLATFORM_STAFF,
    TRIAL_PARAMETERS,
    agency_application,
    make_genesis,
)
from accord.agency.ruletext import dump_rule_file
from accord.cli import failures
from accord.cli.bench.load import Client, ask_picture
from accord.cli.bench.machine import children_of
from accord.cli.main import app
from accord.client.home import create_home, write_home_file
from accord.ledger.genesis import encode_genesis, parse_genesis
from accord.statements.bodies import Role, Rule
from accord.statements.rules import Action, Algorithm, Near
from accord.wire.errors import AccordError, Unavailable
from accord.wire.ids import TimeMs
from consortium_kit import CHAIN, FOUR, Consortium, keys_for
from node_kit import Mirrored, NodeThread, caller, make_homes
from registry_kit import clause, rule_set
from scan_kit import CLOUD, NL, jpeg, listing_of

BEGAN_AGO_MS = 300_000  # Each block of the kit is a second; the commands' clock is the real one.


@dataclass
class World:
    directory: Path
    consortium: Mirrored
    node: NodeThread

    @property
    def cloud(self) -> Path:
        return self.directory / CLOUD

    def accord(self, *arguments: str | Path, status: int = 0) -> str:
        """A command in this process: starting one for each would double the time."""
        argv = [str(argument) for argument in arguments]
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, argv)
        if isinstance(done.exception, AccordError):
            assert status == failures.EXIT_FAILED, done.exception
            return done.exception.code
        assert done.exit_code == status, done.output
        return done.stdout

    def list_picture(self, seed: int) -> None:
        for agency in ("nl-one", "ie-two"):
            self.consortium.publish(agency, [listing_of(seed)])


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "COLUMNS": "200"}


def _founded() -> Mirrored:
    began = TimeMs(time.time_ns() // 1_000_000 - BEGAN_AGO_MS)
    staff = [(p, keys_for(p.member, AGENCY_STAFF)) for p in FOUR]
    applications = [agency_application(CHAIN, p, keys) for p, keys in staff]
    genesis = make_genesis(CHAIN, began, TRIAL_PARAMETERS, applications)
    return Mirrored(founding=parse_genesis(genesis), now=began)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    consortium = _founded()
    homes = make_homes(directory, consortium)
    node = NodeThread(directory, consortium)
    consortium.node = node.client(caller(consortium, "nl-one", Role.KEEPER))
    for member, home in homes.items():
        write_home_file(home.path, "agency", member, consortium.founding, [node.url])
    consortium.admit_platform(CLOUD)
    genesis = encode_genesis(consortium.founding.genesis)
    keys = keys_for(CLOUD, PLATFORM_STAFF)
    create_home(directory / CLOUD, "platform", CLOUD, genesis, [node.url], keys)
    Consortium.open_epochs(consortium)
    near = Near(Algorithm.PDQ, 31, 50, Action.BLOCK, alone=True)
    rules = rule_set(clause(agencies=2, sovereigns=2, classes=(_class(),), near=near))
    consortium.must(Rule(consortium.header("nl-one"), NL, 1, rules), Role.GOVERNOR)
    opened = World(directory, consortium, node)
    opened.list_picture(1)
    yield opened
    consortium.node.close()
    node.close()


def _class() -> object:
    return listing_of(1).class_code


def test_a_trial_is_refused_unless_told(world: World) -> None:
    refused = world.accord("follow", "--home", world.cloud, "--once", status=1)
    assert refused == "follow.trial"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be refused its decoders' user")
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_gateway_whose_decoders_cannot_be_locked_does_not_start(
    world: World, processes: str
) -> None:
    argv = (
        "accord",
        "gateway",
        "--home",
        str(world.cloud),
        "--trial",
        "--no-attest",
        "--port",
        "0",
    )
    done = subprocess.run(
        (*argv, "--processes", processes),
        env=_environment() | {"ACCORD_DECODER_USER": "root"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == failures.EXIT_FAILED
    assert "media.sandbox" in done.stderr
    assert not done.stdout  # It never said where it listens.


def test_processes_share_the_work_and_outlive_one_another(world: World) -> None:
    """Three processes behind one address; one is killed while requests are under way."""
    options = ("--home", world.cloud, "--trial", "--no-attest", "--processes", "3")
    with _gateway(world, (*options, "--workers", "3")) as (url, process):
        _until(lambda: _health(url)["processes"] == {"ready": 3, "wanted": 3})
        before = _counted(url), _receipts(url)
        crew = children_of(process.pid)
        assert len(crew) == 3
        callers = [Caller(url) for _ in range(6)]  # Two connections for each process.
        _until(lambda: all(caller.answers > 2 for caller in callers))
        assert all(len(children_of(pid)) == 1 for pid in crew)  # Each has its decoder at work.
        os.kill(crew[0], signal.SIGKILL)
        _until(lambda: crew[0] not in children_of(process.pid))
        _until(lambda: _health(url)["processes"]["ready"] == 3)
        answers = [caller.answers for caller in callers]
        _until(lambda: all(c.answers > n for c, n in zip(callers, answers, strict=True)))
        failed = [caller.stop() for caller in callers]
        # Its own two connections at most, nobody else's; one between two requests opens anew.
        assert sum(failed) <= 2
        assert max(failed) <= 1
        assert len(children_of(process.pid)) == 3
        told, receipts = sum(caller.answers for caller in callers), _receipts(url) - before[1]
        assert told <= receipts <= told + 2
        # What the killed one counted in its last half second is lost.
        _until(lambda: told - 200 <= _counted(url) - before[0] <= told + 2)
        world.list_picture(6)
        heard = time.monotonic()
        while httpx.post(f"{url}/v1/screen", content=jpeg(6)).json()["decision"] != "match":
            assert time.monotonic() - heard < 3
        everybody = [pid for one in children_of(process.pid) for pid in (one, *children_of(one))]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not [pid for pid in everybody if Path(f"/proc/{pid}").exists()]


def test_no_process_outlives_the_one_that_started_it(world: World) -> None:
    options = ("--home", world.cloud, "--trial", "--no-attest", "--processes", "2")
    with _gateway(world, options) as (url, process):
        assert httpx.post(f"{url}/v1/screen", content=jpeg(1)).json()["decision"] == "match"
        everybody = [pid for one in children_of(process.pid) for pid in (one, *children_of(one))]
        assert len(everybody) >= 3
        process.kill()
        _until(lambda: not [pid for pid in everybody if Path(f"/proc/{pid}").exists()])


class Caller:
    """One connection that screens again and again, in a thread, and opens anew if it breaks."""

    def __init__(self, url: str) -> None:
        self.answers = self.failures = 0
        self._client = Client(url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        """How many requests failed."""
        self._stopping.set()
        self._thread.join()
        self._client.close()
        return self.failures

    def _run(self) -> None:
        ask = ask_picture(jpeg(1), NL)
        while not self._stopping.is_set():
            try:
                assert self._client.decision(ask) == "match"
                self.answers += 1
            except Unavailable:
                self._client.close()
                self.failures += 1


def _health(url: str) -> dict[str, Any]:
    value = httpx.get(f"{url}/healthz").json()
    assert isinstance(value, dict)
    return value


def _receipts(url: str) -> int:
    return int(httpx.get(f"{url}/v1/status").json()["receipts"]["size"])


def _counted(url: str) -> int:
    """Screens that /metrics tells of, in all processes."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("accord_screens_total{"))


def _until(truth: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not truth():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_follow_screen_scan_serve_attest_audit(world: World, tmp_path: Path) -> None:
    home = ("--home", world.cloud, "--trial")
    followed = json.loads(world.accord("follow", *home, "--once", "--json"))
    assert followed["size"] == len(world.consortium.leaves)
    assert followed["group_keys"] == 1

    files = tmp_path / "files"
    files.mkdir()
    for seed in (1, 2):
        (files / f"{seed}.jpg").write_bytes(jpeg(seed))
    line = world.accord("screen", *home, files / "1.jpg", "--json", status=3)
    assert json.loads(line)["action"] == "block"
    assert "0 matched" in world.accord("screen", *home, files / "2.jpg")
    scanned = world.accord("scan", *home, files, "--json", status=3).splitlines()
    assert [json.loads(row)["how"] for row in scanned] == ["read", "read"]
    again = world.accord("scan", *home, files, status=3)
    assert "2 unchanged since" in again

    receipt = _serve_a_while(world, home)
    attested = json.loads(world.accord("attest", *home, "--json"))
    assert attested["active_count"] == 6

    auditor = ("--home", world.directory / "ie-two", "--trial", "--receipt", receipt)
    with _gateway(world, (*home, "--no-attest")) as (url, _):
        verdicts = [
            world.accord("audit", CLOUD, *auditor, "--log", url, "--at", at, "--json")
            for at in (str(time.time_ns() // 1_000_000 // 60_000 * 60_000),) * 2
        ]
        table = world.accord("audit", CLOUD, *auditor, "--log", url)
    assert verdicts[0] == verdicts[1]
    assert json.loads(verdicts[0])["outcome"] == "ok"
    assert "This cannot prove" in table
    unseen = world.accord("audit", CLOUD, *auditor, status=4)
    assert "audit.no_receipts_log" in unseen


def _serve_a_while(world: World, home: tuple[str | Path, ...]) -> Path:
    """Upload, list meanwhile, upload again, stop. A scan receipt that was handed out."""
    with _gateway(world, (*home, "--no-attest")) as (url, process):
        hit = httpx.post(f"{url}/v1/screen", content=jpeg(1)).json()
        assert hit["decision"] == "match"
        assert httpx.post(f"{url}/v1/screen", content=jpeg(5)).json()["decision"] == "no_match"
        world.list_picture(5)
        listed = time.monotonic()
        while httpx.post(f"{url}/v1/screen", content=jpeg(5)).json()["decision"] != "match":
            assert time.monotonic() - listed < 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    file = world.directory / "receipt.json"
    file.write_text(json.dumps(hit["receipt"]))
    return file


class _gateway:
    """A gateway process on a free port, ready to screen."""

    def __init__(self, world: World, options: tuple[str | Path, ...]) -> None:
        argv = ["accord", "gateway", *map(str, options), "--port", "0", "--json"]
        if "--workers" not in argv:
            argv += ["--workers", "1"]
        self._process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env=_environment()
        )

    def __enter__(self) -> tuple[str, subprocess.Popen[str]]:
        assert self._process.stdout is not None
        url = json.loads(self._process.stdout.readline())["listening"]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return url, self._process
            time.sleep(0.05)
        raise AssertionError("the gateway did not get ready")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        if self._process.stdout is not None:
            self._process.stdout.close()


def test_an_agencys_home_is_no_platform(world: World) -> None:
    agency = world.directory / "nl-one"
    refused = world.accord("scan", "--home", agency, "--trial", world.directory, status=1)
    assert refused == "scan.not_a_platform"
    exposed = ("--host", "0.0.0.0")  # noqa: S104  (the very case)
    refused = world.accord("gateway", "--home", world.cloud, "--trial", *exposed, status=1)
    assert refused == "gateway.exposed"
    refused = world.accord("audit", "nobody", "--home", agency, "--trial", status=1)
    assert refused == "audit.no_such_platform"


def test_rules_explain_and_diff_out_of_the_platforms_own_copy(world: World, tmp_path: Path) -> None:
    """At the size before the first listing there is no match; today there is, with its chain."""
    world.accord("follow", "--home", world.cloud, "--trial", "--once")
    photo, file = tmp_path / "photo.jpg", tmp_path / "nl.yaml"
    photo.write_bytes(jpeg(1))
    ask = ("rules", "explain", photo, "--platform", CLOUD, "--home", world.cloud, "--trial")
    found = json.loads(world.accord(*ask, "--json", status=3))
    reason = found["decision"]["reasons"][0]
    assert (reason["action"], reason["distance"]) == ("block", 0)
    assert {who["agency"] for who in reason["certifiers"]} == {"nl-one", "ie-two"}
    entry = int(reason["listing"].split("/")[0])
    assert json.loads(world.accord(*ask, "--at", str(entry), "--json"))["decision"]["answer"] == (
        "no-match"
    )
    assert "clause main" in world.accord(*ask, status=3)
    file.write_text(dump_rule_file(rule_set(clause(agencies=3, sovereigns=2, classes=(_class(),)))))
    told = ("rules", "diff", file, "--jurisdiction", "NL", "--home", world.cloud, "--trial")
    change = json.loads(world.accord(*told, "--json"))
    assert change["listings"]["kept"] == 0
    assert change["listings"]["lost"] >= 2
    assert "clauses[main].certified_by.agencies" in {item["path"] for item in change["fields"]}
