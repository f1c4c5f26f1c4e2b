"""Whole days with the real commands: a platform joins and blocks, a node is away, anybody checks.

Each command alone is tested in test_agency_commands and test_platform_commands.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from command_kit import (
    READY_S,
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
from pictures_kit import encoded, picture

FIRST_MATCH_S = 2.0  # From certification to the first match, the project's promise.


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("journeys") / "trial") as made:
        yield made


def jpeg(seed: int) -> bytes:
    return encoded(picture(seed), "JPEG")


def listed(directory: Path, seed: int) -> Path:
    file = directory / f"{seed}.jpg"
    file.write_bytes(jpeg(seed))
    return file


def decided(url: str, seed: int) -> str:
    return str(screened(url, jpeg(seed))["decision"])


def started(directory: Path, home: Path) -> "_Gateway":
    return _Gateway(directory, home)


class _Gateway:
    """`accord gateway` on a free port, however far it is."""

    def __init__(self, directory: Path, home: Path) -> None:
        words = ("gateway", "--home", home, "--trial", "--port", "0", "--workers", "1")
        self._running = running(directory, *words)

    def __enter__(self) -> tuple[str, Running]:
        opened = self._running.__enter__()
        return str(opened.line()["listening"]), opened

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)


def test_from_an_application_to_an_audited_block(house: House, tmp_path: Path) -> None:
    """A platform applies, is admitted, screens, and is judged; nothing is restarted on the way."""
    house.set_rules(tmp_path)
    home = house.found_platform("drive")
    with started(tmp_path, home) as (url, gateway):
        until(lambda: "waiting: registry.platform_unknown" in gateway.said())
        early = httpx.get(f"{url}/healthz")
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "registry.platform_unknown"
        assert httpx.post(f"{url}/v1/screen", content=jpeg(1)).status_code == 503

        house.admit(home)
        until(lambda: is_ready(url))
        assert "screening now" in gateway.said()
        assert decided(url, 1) == "no_match"

        nl, ie = house.home("nl-one"), house.home("ie-two")
        publish = ("publish", listed(tmp_path, 1), "--class", "test/T1", "--home", nl)
        entry = str(told(*publish)["entries"][0])
        run("approve", entry, "--home", nl)
        time.sleep(0.5)  # Long enough for the gateway to have it.
        assert decided(url, 1) == "no_match"  # One agency alone.
        run("endorse", entry, "--level", "one-person", "--home", ie)
        assert until(lambda: decided(url, 1) == "match") < FIRST_MATCH_S

        answer = screened(url, jpeg(1))
        assert answer["action"] == "block"
        assert answer["reasons"][0]["listing"] == f"{entry}/0"
        smaller = picture(1).resize((160, 104))
        near = screened(url, encoded(smaller, "JPEG"))
        assert (near["decision"], near["action"]) == ("match", "review")
        report = answer["duties"]["report"][0]
        assert (report["jurisdiction"], report["within_hours"]) == ("NL", 24)

        _judged(house, tmp_path, url, answer)
        run("withdraw", entry, "--reason", "other", "--home", nl)
        assert until(lambda: decided(url, 1) == "no_match") < FIRST_MATCH_S
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said()


def _entries(verdict: str) -> int:
    """How long a log it judges."""
    (facts,) = (row["facts"] for row in json.loads(verdict)["findings"] if row["check"] == "ledger")
    return int(facts["entries"])


def _judged(house: House, tmp_path: Path, url: str, answer: dict[str, object]) -> None:
    """Two agencies get the same bytes; the gateway attested by itself."""
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(answer))
    now = str(time.time_ns() // 1_000_000 // 60_000 * 60_000)
    words = ("--trial", "--log", url, "--receipt", receipt, "--at", now, "--json")
    for _ in range(5):  # The gateway may attest between the two: then they judge another log.
        verdicts = [
            run("audit", "drive", "--home", house.home(agency), *words).stdout
            for agency in ("ie-two", "ca-three")
        ]
        if len({_entries(verdict) for verdict in verdicts}) == 1:
            break
    assert verdicts[0] == verdicts[1]
    found = json.loads(verdicts[0])
    assert found["outcome"] == "ok"
    of = {row["check"]: row for row in found["findings"]}
    assert of["attestations"]["facts"]["attestations"] >= 1
    assert of["scan-receipts"]["facts"]["presented"] == 1
    unseen = run(
        "audit", "drive", "--home", house.home("ie-two"), "--trial", "--log", house.url, status=4
    )
    assert "audit.platform_log" in unseen.stderr  # A node is no gateway, and it is said.


def test_a_platform_joins_step_by_step(house: House, tmp_path: Path) -> None:
    home = house.found_platform("newcomer")
    join = ("platform", "join", "--home", home, "--trial", "--json")
    assert run(*join, "--no-wait", status=1).last["stage"] == "applied"
    assert refused("platform", "join", "--home", home) == "follow.trial"
    agency = ("platform", "join", "--home", house.home("nl-one"), "--trial")
    assert refused(*agency) == "cli.not_a_platform"
    with running(tmp_path, *join[:-1]) as waiting:
        assert waiting.line()["stage"] == "applied"
        application = home / "application.json"
        made = told("propose", "admit", application, "--home", house.home("nl-one"))
        house.carry(made["proposal"], "ie-two", "ca-three")
        assert waiting.line()["stage"] == "admitted"
        house.keep()
        assert waiting.line()["stage"] == "ready"
        assert waiting.process.wait(READY_S) == 0
    made = told("propose", "suspend-platform", "newcomer", "--home", house.home("nl-one"))
    house.carry(made["proposal"], "ie-two", "ca-three")
    assert run(*join, status=1).last["stage"] == "suspended"


def test_a_suspended_platform_gets_nothing_new(house: House, tmp_path: Path) -> None:
    house.set_rules(tmp_path)
    home = house.found_platform("gone")
    house.admit(home)
    house.certify(listed(tmp_path, 10))
    file = listed(tmp_path, 10)
    assert run("screen", file, "--home", home, "--trial", status=3).stdout

    made = told("propose", "suspend-platform", "gone", "--home", house.home("nl-one"))
    house.carry(made["proposal"], "ie-two", "ca-three")
    view = told("members", "--home", house.home("nl-one"))
    standing = {row["id"]: row["standing"] for row in view["platforms"]}
    assert standing["gone"] == "suspended"
    assert refused("attest", "--home", home, "--trial") == "http.signature"
    audit = ("audit", "gone", "--home", house.home("ie-two"), "--trial", "--json")
    assert json.loads(run(*audit, status=4).stdout)["outcome"] == "cannot-judge"


def test_a_node_that_is_away_stops_nobody_who_screens(house: House, tmp_path: Path) -> None:
    house.set_rules(tmp_path)
    home = house.found_platform("steady")
    house.admit(home)
    nl = house.home("nl-one")
    house.certify(listed(tmp_path, 20))
    follow = ("follow", "--home", house.home("ca-three"), "--trial")
    with started(tmp_path, home) as (url, gateway), running(tmp_path, *follow) as following:
        until(lambda: is_ready(url) and decided(url, 20) == "match")
        assert following.line()["gained"] >= 0
        house.kill()
        publish = ("publish", listed(tmp_path, 21), "--class", "test/T1", "--home", nl)
        assert refused(*publish) == "http.no_answer"
        assert refused("members", "--home", nl) == "http.no_answer"
        assert decided(url, 20) == "match"
        alone = run("screen", tmp_path / "20.jpg", "--home", home, "--trial", status=3)
        assert "the list is as it was" in alone.stderr
        until(lambda: "http.no_answer" in gateway.said())

        house.start()
        entry = str(told(*publish)["entries"][0])
        run("approve", entry, "--home", nl)
        run("endorse", entry, "--level", "one-person", "--home", house.home("ie-two"))
        until(lambda: decided(url, 21) == "match")  # After a backoff.
        assert "following again" in gateway.said()
        line = following.line()
        assert line["code"] == "http.no_answer"
        while "code" in line:  # Said again for each try, while the node is away.
            line = following.line()
        assert line["gained"] > 0
    again = told(*publish)
    assert (again["entries"], again["sent"]) == ([int(entry)], 0)
    assert "nothing was sent" in run(*publish).stdout


def test_two_hands_that_publish_the_same_publish_once(house: House, tmp_path: Path) -> None:
    before = told("members", "--home", house.home("nl-one"))["size"]
    words = ("publish", listed(tmp_path, 40), "--class", "test/T1")
    home = ("--home", house.home("nl-one"))
    with ExitStack() as stack:
        hands = [stack.enter_context(running(tmp_path, *words, *home)) for _ in range(3)]
        said = [hand.line() for hand in hands]
    assert sorted(line["sent"] for line in said) == [0, 0, 1]
    assert {tuple(line["entries"]) for line in said} == {(before,)}
    assert told("members", "--home", house.home("nl-one"))["size"] == before + 1


def test_anybody_checks_the_log(house: House, tmp_path: Path) -> None:
    words = ("log", "verify", house.url, "--trial", "--json")
    report = told(*words[:-1], "--sha256", house.genesis_sha256)
    assert (report["verified"], report["genesis_pinned"]) == (True, True)
    assert len(report["signers"]) >= 3
    assert report["genesis_sha256"] == house.genesis_sha256
    unpinned = run("log", "verify", house.url, "--trial")
    assert "compare its SHA-256 with a member's" in unpinned.stdout
    assert refused("log", "verify", house.url) == "follow.trial"
    assert refused(*words, "--sha256", "00" * 32) == "cli.genesis_differs"
    other = tmp_path / "genesis.json"
    other.write_text("{}")
    assert refused(*words, "--genesis", other).startswith(("genesis.", "record."))
    assert refused("log", "verify", f"{house.url}/nowhere", "--trial") == "http.not_found"


def test_who_may_not_is_told_why(house: House, tmp_path: Path) -> None:
    """Each refusal changes nothing and says a code, its meaning and the mend."""
    nl, ie = house.home("nl-one"), house.home("ie-two")
    before = told("members", "--home", nl)["size"]
    file = listed(tmp_path, 30)
    publish = ("publish", file, "--home", nl, "--class")
    assert refused(*publish, "no-slash") == "cli.class"
    assert refused(*publish, "test/T1", "--group", "nobody") == "desk.group"
    assert refused("publish", tmp_path / "gone.jpg", "--class", "test/T1", "--home", nl) == (
        "cli.refused_files"
    )
    assert refused("approve", "999999", "--home", nl) == "reject.unknown_entry"
    assert refused("endorse", "x", "--level", "digest", "--home", ie) == "desk.ref"
    assert refused("endorse", "0", "--level", "digest", "--home", ie) == "desk.unknown_batch"
    assert refused("endorse", "0", "--level", "deep", "--home", ie) == "cli.level"
    assert refused("vote", "999999", "yes", "--home", ie) == "reject.unknown_proposal"
    assert refused("propose", "accredit", "nobody", "EU", "--home", nl) == "reject.invalid_action"
    rules = tmp_path / "r.yaml"
    rules.write_text(run("rules", "template", "uk").stdout)
    ca = house.home("ca-three")
    assert refused("rules", "set", rules, "--jurisdiction", "GB", "--home", ca) == (
        "reject.not_accredited"
    )
    bad = ("platform", "init", tmp_path / "p", "--genesis", house.node_directory / "genesis.json")
    words = ("--member", "some", "--title", "S", "--jurisdiction", "NL", "--node")
    assert refused(*bad, *words, "not-a-url") == "http.url"
    assert not (tmp_path / "p").exists()
    said = run("approve", "999999", "--home", nl, status=1)
    assert "no publish statement at that entry" in said.stderr
    assert "; mend: check the entry" in said.stderr
    assert told("members", "--home", nl)["size"] == before
