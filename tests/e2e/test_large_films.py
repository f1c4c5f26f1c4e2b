"""Films of hundreds of megabytes over HTTP to a real gateway: bounded memory, and nothing stays."""

import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from command_kit import House, Running, founded, is_ready, run, running, told, until
from video_kit import film, walk, write_large

BY_FILM = """    near:
      - {within: 31, action: review}
      - {algorithm: vpdq, query_percent: 60, listed_percent: 20, action: review}
"""
LARGE = 300_000_000
GROWTH_KB_MAX = 60_000  # A few parts of each of two films, and what a first request loads.
WORDS = ("--processes", "1", "--workers", "1", "--film-mb", "400", "--spool-mb", "800")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("large") / "trial") as made:
        yield made


@pytest.fixture(scope="module")
def home(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform's, for which a film is listed."""
    directory = tmp_path_factory.mktemp("listed")
    template = run("rules", "template", "eu-member-state").stdout
    before, _ = template.replace("interpol/baseline", "test/T1").split("    near:")
    (directory / "nl.yaml").write_text(before + BY_FILM)
    nl, ie = house.home("nl-one"), house.home("ie-two")
    run("rules", "set", directory / "nl.yaml", "--jurisdiction", "NL", "--home", nl)
    (directory / "film.mp4").write_bytes(film(walk(11, 12.0)))
    words = ("publish", directory / "film.mp4", "--class", "test/T1", "--home", nl)
    entry = str(told(*words)["entries"][0])
    run("approve", entry, "--home", nl)
    run("endorse", entry, "--level", "one-person", "--home", ie)
    made = house.found_platform("large")
    house.admit(made)
    return made


def upload(url: str, path: Path, *, says_size: bool = True) -> Any:  # noqa: ANN401  (JSON)
    def parts() -> Iterator[bytes]:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                yield part

    length = {"content-length": str(path.stat().st_size)} if says_size else {}
    return httpx.post(f"{url}/v1/screen", content=parts(), headers=length, timeout=120).json()


def peak_kb(gateway: Running) -> int:
    """The most memory that the gateway's own process ever had."""
    text = Path(f"/proc/{gateway.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


def spooled(url: str) -> int:
    found = re.search(r"^accord_spool_bytes (\d+)", httpx.get(f"{url}/metrics").text, re.M)
    assert found is not None
    return int(found[1])


def half_sent(url: str) -> socket.socket:
    """A connection on which a film of 300 MB stops after 40."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = f"POST /v1/screen HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGE}\r\n\r\n"
    connection.sendall(head.encode() + b"\0\0\0\x18ftypisom" + bytes(40_000_000))
    return connection


def test_a_large_film_is_screened_and_leaves_no_trace(home: Path, tmp_path: Path) -> None:
    raw, grown = tmp_path / "raw.avi", tmp_path / "grown.mp4"
    raw.write_bytes(film(walk(11, 12.0), "avi raw"))
    assert raw.stat().st_size > 50_000_000
    write_large(grown, film(walk(11, 12.0), quality=30), LARGE)
    with running(tmp_path, "gateway", "--home", home, "--trial", "--port", "0", *WORDS) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        before_kb = peak_kb(gateway)
        for path, says_size in ((raw, True), (grown, True), (grown, False)):
            answer = upload(url, path, says_size=says_size)
            assert (answer["decision"], answer["action"]) == ("match", "review"), answer
            assert {reason["algorithm"] for reason in answer["reasons"]} == {"vpdq"}
            if says_size:  # Else 50 MB are in memory before it is known that more comes.
                assert peak_kb(gateway) - before_kb < GROWTH_KB_MAX
        with ThreadPoolExecutor(2) as threads:
            both = list(threads.map(lambda _: upload(url, grown), range(2)))
        assert [answer["decision"] for answer in both] == ["match", "match"]
        assert spooled(url) == 0
        assert os.listdir(home / "spool") == ["shares.lock"]
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said()


def test_whoever_stops_halfway_and_a_killed_gateway_leave_nothing(
    home: Path, tmp_path: Path
) -> None:
    words = ("gateway", "--home", home, "--trial", "--port", "0", *WORDS)
    with running(tmp_path, *words) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        with half_sent(url):
            until(lambda: spooled(url) > 0)
        until(lambda: spooled(url) == 0)
        with half_sent(url):
            until(lambda: spooled(url) > 0)
            gateway.process.kill()
            gateway.process.wait()
        assert os.listdir(home / "spool") == ["shares.lock"]
        assert "Traceback" not in gateway.said()
    (home / "spool/film-left").write_bytes(b"")
    with running(tmp_path, *words) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        assert os.listdir(home / "spool") == ["shares.lock"]
        assert spooled(url) == 0
        assert gateway.stop() == 0


def test_processes_share_the_disk_that_films_may_take(home: Path, tmp_path: Path) -> None:
    few = ("--processes", "2", "--workers", "2", "--film-mb", "400", "--spool-mb", "700")
    grown = tmp_path / "grown.mp4"
    write_large(grown, film(walk(11, 12.0), quality=30), LARGE)
    with running(tmp_path, "gateway", "--home", home, "--trial", "--port", "0", *few) as gateway:
        url = str(gateway.line()["listening"])
        until(
            lambda: is_ready(url) and httpx.get(f"{url}/healthz").json()["processes"]["ready"] == 2
        )
        with half_sent(url), half_sent(url):  # 300 MB each, of one process or of both.

            def is_full() -> bool:
                return bool(upload(url, grown).get("error", {}).get("code") == "gateway.spool_busy")

            until(is_full)
        until(lambda: upload(url, grown).get("decision") == "match")
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said()
        assert os.listdir(home / "spool") == ["shares.lock"]
