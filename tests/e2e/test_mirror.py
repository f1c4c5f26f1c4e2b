"""A log on a plain web server: anybody verifies it there, members need nodes for blobs alone."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from command_kit import House, founded, run, running, told, until
from pictures_kit import encoded, picture


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def static_host(directory: Path) -> Iterator[str]:
    """Python's own file server: it knows nothing of logs."""
    handler = partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with founded(tmp_path / "trial") as made:
        yield made


def test_a_log_on_a_plain_web_server(house: House, tmp_path: Path) -> None:
    public = tmp_path / "public"
    genesis = house.node_directory / "genesis.json"
    words = ("log", "mirror", public, "--node", house.url, "--genesis", genesis, "--trial")
    with running(tmp_path, *words, "--every", "0.1") as mirror, static_host(public) as url:
        first = mirror.line()
        checked = told("log", "verify", url, "--trial", "--sha256", house.genesis_sha256)
        assert (checked["verified"], checked["size"]) == (True, first["size"])

        home = house.found_platform("reader")
        house.admit(home)
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(encoded(picture(3), "JPEG"))
        entry = house.certify(photo)
        until(lambda: int((public / "checkpoint").read_text().splitlines()[1]) > entry + 2)
        follow = ("follow", "--home", home, "--mirror", url, "--trial", "--once", "--json")
        followed = run(*follow).last
        assert followed["size"] > entry + 2
        assert followed["group_keys"] >= 1

        bundle = next(public.glob("tile/entries/*.p/*"))
        raw = bytearray(bundle.read_bytes())
        for file in public.glob("tile/entries/*.p/*"):
            file.write_bytes(bytes([raw[0]]) + bytes(len(raw) - 1))
        (home / "replica.sqlite").unlink()
        lines = [json.loads(line) for line in run(*follow).stdout.splitlines()]
        assert lines[0]["refused"].startswith(url)
        assert lines[-1]["size"] >= followed["size"], "the node told the truth"
        assert mirror.stop() == 0


def test_a_mirror_goes_on_when_its_node_is_back(house: House, tmp_path: Path) -> None:
    genesis = house.node_directory / "genesis.json"
    words = ("log", "mirror", tmp_path / "p", "--node", house.url, "--genesis", genesis, "--trial")
    with running(tmp_path, *words, "--every", "0.1") as mirror:
        first = mirror.line()
        house.kill()
        until(lambda: "http.no_answer" in mirror.said())
        house.start()
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(encoded(picture(4), "JPEG"))
        told("publish", photo, "--class", "test/T1", "--home", house.home("nl-one"))
        sizes = iter(lambda: mirror.line()["size"], None)  # The same head signed again comes too.
        assert next(size for size in sizes if size > first["size"])
        assert mirror.stop() == 0
        assert "Traceback" not in mirror.said()
