"""Disks that are full: a documented code, nothing half done, and all goes on once there is room.

The disk is real: a small tmpfs, mounted for the test, which needs root. Where that is not given,
a limit on file sizes stands in for what a process of its own writes.
"""

import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from command_kit import (
    ACCORD,
    House,
    Running,
    founded,
    is_ready,
    refused,
    run,
    running,
    screened,
    told,
    until,
)
from disk_kit import PAGE, Disk, mounted
from pictures_kit import encoded, picture


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("full") / "trial") as made:
        made.set_rules(tmp_path_factory.mktemp("rules"))
        yield made


def listed(directory: Path, seed: int) -> Path:
    file = directory / f"{seed}.png"
    file.write_bytes(encoded(picture(seed), "PNG"))
    return file


def size_of(house: House) -> int:
    return int(told("members", "--home", house.home("nl-one"))["size"])


def test_a_node_stops_and_a_restart_goes_on(tmp_path: Path) -> None:
    trial = tmp_path / "trial"
    with mounted(trial / "node") as disk, founded(trial) as house:
        nl = house.home("nl-one")
        words = ("--class", "test/T1", "--home", nl)
        first = told("publish", listed(tmp_path, 1), *words)["entries"]
        size = size_of(house)
        disk.fill()
        publish = ("publish", listed(tmp_path, 2), *words)
        # SQLite may have a page or two left in its files; soon it has not.
        codes = [run(*publish, status=1).code]
        assert codes[0] in {"store.commit", "node.stopping", "node.halted", "http.no_answer"}
        until(house.has_ended)
        assert house.stop() == 1
        errors = (trial / "node.err").read_text()
        assert "accord: store.commit: " in errors or '"code": "store.commit"' in errors
        assert "Traceback" not in errors

        disk.free()
        house.start()
        assert size_of(house) == size
        second = told(*publish)["entries"]
        assert second == [size]
        assert told("publish", tmp_path / "1.png", *words)["entries"] == first
        digest = ("--sha256", house.genesis_sha256)
        report = told("log", "verify", house.url, "--trial", *digest)
        assert report["size"] == size + 1


def test_a_follower_keeps_what_it_had(house: House, tmp_path: Path) -> None:
    home = house.directory / "follower"
    with mounted(home) as disk:
        house.found_platform("follower")
        house.admit(home)
        house.certify(listed(tmp_path, 10))
        follow = ("follow", "--home", home, "--trial", "--once", "--json")
        before = run(*follow).last["size"]
        for seed in range(11, 14):
            house.certify(listed(tmp_path, seed))
        disk.fill()
        assert refused(*follow) == "replica.store"
        screen = ("screen", "--home", home, "--trial", "--no-sync", tmp_path / "10.png")
        assert refused(*screen) in {"receipts.store", "replica.store"}  # No answer unreceipted.
        disk.free()
        after = run(*follow).last
        assert (after["size"], after["gained"]) == (size_of(house), size_of(house) - before)
        for seed in (10, 13):
            found = run("screen", "--home", home, "--trial", listed(tmp_path, seed), status=3)
            assert "1 matched" in found.stdout


def test_a_gateway_answers_not_now_and_goes_on(house: House, tmp_path: Path) -> None:
    home = house.directory / "gateway"
    with mounted(home) as disk:
        house.found_platform("gateway")
        house.admit(home)
        house.certify(listed(tmp_path, 20))
        words = ("gateway", "--home", home, "--trial", "--port", "0", "--workers", "1")
        with running(tmp_path, *words) as gateway:
            _through_a_full_disk(gateway, disk, house, tmp_path)
        again = ("screen", "--home", home, "--trial", "--json", tmp_path / "21.png")
        assert run(*again, status=3).last["receipt"]["index"] >= 3


def _through_a_full_disk(gateway: Running, disk: Disk, house: House, tmp_path: Path) -> None:
    url = str(gateway.line()["listening"])
    until(lambda: is_ready(url))
    data = (tmp_path / "20.png").read_bytes()
    indexes = [screened(url, data)["receipt"]["index"]]
    disk.fill()
    refusals = 0
    for _ in range(200):  # Until what SQLite had in store is used up.
        answer = httpx.post(f"{url}/v1/screen", content=data)
        if answer.status_code == 200:
            indexes.append(answer.json()["receipt"]["index"])
            continue
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "receipts.store")
        assert int(answer.headers["retry-after"]) >= 1
        refusals += 1
        if refusals == 3:
            break
    assert refusals == 3
    house.certify(listed(tmp_path, 21))  # What it cannot follow now.
    until(lambda: "replica.store" in gateway.said())
    disk.free()
    answer = screened(url, data)
    indexes.append(answer["receipt"]["index"])
    assert indexes == list(range(len(indexes)))  # Nobody was promised what is not there.
    head = httpx.get(f"{url}/log/checkpoint").text.splitlines()[1]
    assert int(head) == len(indexes)
    late = (tmp_path / "21.png").read_bytes()
    until(lambda: screened(url, late)["decision"] == "match")
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.said()


def test_an_outbox_publishes_once_however_often_it_was_full(house: House, tmp_path: Path) -> None:
    home = house.home("nl-four")
    with mounted(home / "outbox", 256) as disk:
        publish = ("publish", listed(tmp_path, 30), "--class", "test/T1", "--home", home)
        before = size_of(house)
        disk.fill()
        codes: list[str] = []
        for _ in range(12):  # One page more each time: for the bytes, then for the entry.
            said = run(*publish, status=None)
            if said.status == 0:
                break
            codes.append(said.code)
            disk.free(1)
        assert set(codes) == {"outbox.store"}
        sizes = size_of(house)
        assert sizes == before + 1
        again = told(*publish)
        assert (again["entries"], again["sent"]) == ([before], 0)
        assert size_of(house) == sizes


def test_a_home_is_made_whole_or_not_at_all(house: House, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 64) as disk:
        disk.fill()
        home = disk.path / "home"
        genesis = ("--genesis", house.node_directory / "genesis.json", "--member", "late")
        words = ("--title", "Late", "--jurisdiction", "NL", "--node", house.url)
        init = ("platform", "init", home, *genesis, *words)
        for _ in range(6):
            assert refused(*init) == "home.store"
            assert not (home / "home.toml").exists()
            assert refused("members", "--home", home) == "home.missing"
            disk.free(1)
        disk.free()
        run(*init)
        assert (home / "application.json").exists()


def test_a_scan_and_its_report_go_on(house: House, tmp_path: Path) -> None:
    home = house.found_platform("scanner")
    house.admit(home)
    house.certify(listed(tmp_path, 40))
    files = tmp_path / "files"
    files.mkdir()
    for seed in (40, 41, 42):
        listed(files, seed)
    with mounted(tmp_path / "small", 128) as disk:
        scan = ("scan", files, "--home", home, "--trial", "--state", disk.path / "state.sqlite")
        disk.fill()
        assert refused(*scan) == "scan.state"
        disk.free()
        assert "1 matched" in run(*scan, status=3).stdout
        report = disk.path / "report.jsonl"
        disk.fill()
        with report.open("w") as out:
            ended = _to(out.fileno(), "fingerprint", files)
        assert (ended.returncode, "accord: cli.io: " in ended.stderr) == (1, True)
        assert "Traceback" not in ended.stderr
        disk.free()
        with report.open("w") as out:
            assert _to(out.fileno(), "fingerprint", files).returncode == 0
        assert len(report.read_text().splitlines()) == 3


def _to(
    out: int, *words: str | Path, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ACCORD, *map(str, words)],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=preexec,
    )


def _no_file_grows() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))


def test_a_limit_on_files_is_a_full_disk_too(house: House, tmp_path: Path) -> None:
    """What anybody may run: no root, no mount."""
    ca = house.home("ca-three")
    cases = {
        "cli.io": ("fingerprint", *[listed(tmp_path, seed) for seed in range(50, 60)]),
        "replica.store": ("follow", "--home", ca, "--trial", "--once"),
    }
    (ca / "replica.sqlite").unlink()
    for code, words in cases.items():
        report = tmp_path / "report"
        with report.open("w") as out:
            ended = _to(out.fileno(), *words, preexec=_no_file_grows)
        assert (ended.returncode, f"accord: {code}: " in ended.stderr) == (1, True), ended.stderr
        assert "Traceback" not in ended.stderr
        with report.open("w") as out:
            assert _to(out.fileno(), *words).returncode == 0
    rows = [json.loads(line) for line in _fingerprints(tmp_path)]
    assert all(row["ok"] for row in rows)
    assert told("follow", "--home", ca, "--trial", "--once")["size"] == size_of(house)


def _fingerprints(directory: Path) -> list[str]:
    return run("fingerprint", directory / "50.png").stdout.splitlines()
