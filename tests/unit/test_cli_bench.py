"""The benchmark's arithmetic, material, clients and tables. No test here depends on a time."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from accord.cli.bench.figures import Report, Section, quantile, rounded, table
from accord.cli.bench.hash import PEER, _drift, _share_row, _speed_row, _take_turns, _works
from accord.cli.bench.load import Ask, Gateway, ask_fingerprints, screen_for
from accord.cli.bench.loop import Scale
from accord.cli.bench.machine import children_of, memory_row
from accord.cli.bench.material import SIZES, Material
from accord.fingerprint import Fingerprinted, fingerprint_bytes
from accord.scan.contract import parse_json_request
from accord.statements.gates import check_listing
from accord.wire.errors import Broken, Unavailable
from accord.wire.limits import PDQ_DRIFT_MAX
from pictures_kit import encoded, picture


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), ([7], 0.99, 7), (list(range(1, 101)), 0.99, 99)],
)
def test_quantile_is_a_value_that_was_seen(
    values: list[float], share: float, expected: float
) -> None:
    assert quantile(values, share) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (0.0012345, 0.00123), (1234.5, 1230.0), (99.96, 100.0)]
)
def test_a_figure_has_three_digits(value: float, expected: float) -> None:
    assert rounded(value) == expected


@pytest.mark.parametrize("listings", [20, 200, 400, 2_025, 20_000, 20_001, 1_000_000])
def test_batches_add_up_to_the_listings_asked_for(listings: int) -> None:
    batches = Scale(listings, 1, 0).batches()
    assert sum(size * times for size, times in batches) == listings
    assert batches[0][0] == 1


def test_every_row_of_a_table_is_as_wide_as_its_head() -> None:
    lines = table(
        [{"what": "a", "per_s": 12345.6}, {"what": "much longer", "per_s": None}]
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "12,346" in lines[2]
    assert "not measured" in lines[3]


def test_a_report_says_the_same_as_json_and_as_text() -> None:
    report = Report({"cores": 2}, {"listings": 20}, (Section("x", "A title", ({"n": 5},)),))
    assert report.as_json()["figures"] == {"x": [{"n": 5}]}
    assert "- cores: 2" in report.as_text()
    assert "### A title" in report.as_text()


def test_material_is_listable_and_the_same_for_a_seed() -> None:
    ours, again = Material(1), Material(1)
    listings = ours.listings(3)
    for listing in listings:
        check_listing(listing)
    assert listings == again.listings(3) != Material(2).listings(3)
    picture = ours.picture(SIZES[0])
    assert picture == again.picture(SIZES[0])
    found = fingerprint_bytes(picture)
    assert isinstance(found, Fingerprinted)
    assert found.main.quality >= 50
    assert (found.facts.width, found.facts.height) == (SIZES[0].width, SIZES[0].height)


def test_what_a_client_asks_is_what_a_gateway_reads() -> None:
    (listing,) = Material(1).listings(1)
    query, asked = parse_json_request(ask_fingerprints(listing, "NL").body)
    assert [frame.bits for frame in query.frames] == [listing.pdq]
    assert {digest for _, digest in query.digests} == {listing.md5, listing.sha1, listing.sha256}
    assert asked.context.jurisdictions == ("NL",)


def test_memory_of_a_process_that_is_not_there_is_not_measured() -> None:
    assert memory_row("gone", [2**30])["rss_mb"] is None
    if children_of(os.getppid()):  # Where /proc tells.
        assert os.getpid() in children_of(os.getppid())
        assert float(memory_row("us", [os.getpid()])["rss_mb"] or 0) > 1


class _Answers(http.server.BaseHTTPRequestHandler):
    """Says each of `script` once, then the last for ever."""

    protocol_version = "HTTP/1.1"
    script: tuple[tuple[int, str], ...] = ()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, decision = self.script[0]
        type(self).script = self.script[1:] or self.script
        body = json.dumps({"decision": decision}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def answering(*script: tuple[int, str]) -> Iterator[str]:
    handler = type("Scripted", (_Answers,), {"script": script})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


ASK = Ask(b"{}", "application/json", "/v1/screen")


def test_busy_answers_are_counted_and_are_no_screens() -> None:
    with answering((503, ""), (503, ""), (200, "no_match")) as base:
        row = screen_for(Gateway(base), [ASK], 1, 0, lambda: None)
    assert (row["refused"], row["screens"]) == (2, 5)


@pytest.mark.parametrize("answer", [(200, "undetermined"), (200, "match"), (400, "no_match")])
def test_an_answer_that_is_not_no_match_ends_the_benchmark(answer: tuple[int, str]) -> None:
    with answering((200, "no_match"), answer) as base, pytest.raises(Unavailable) as caught:
        screen_for(Gateway(base), [ASK], 2, 0, lambda: None)
    assert caught.value.code == "bench.answer"


def test_hashing_is_measured_on_files_that_the_scaled_path_takes() -> None:
    data = Material(3).picture(SIZES[0])
    took: dict[str, list[float]] = {}
    for _ in range(2):
        _take_turns(_works(data, len), took)
    assert {len(times) for times in took.values()} == {2}
    speed, share = _speed_row("a picture", took), _share_row("a picture", took)
    assert speed["pillow_pdqhash_p50_ms"] is not None
    assert speed["scaled_decode_alone_ms"] == share["scaled_decode_ms"]
    del took[PEER]
    assert _speed_row("a picture", took)["ratio_scaled"] is None
    with pytest.raises(Broken):
        _works(encoded(picture(1, (64, 64)), "JPEG"), None)


def test_drift_is_counted_over_sizes_and_qualities() -> None:
    rows = _drift([picture(1, (640, 240))], lambda *_: None)  # Low: up to 4000 px wide.
    assert sum(int(row["files"] or 0) + int(row["left_to_exact"] or 0) for row in rows) == 26
    assert all(float(row["max_bits"] or 0) <= PDQ_DRIFT_MAX for row in rows)
