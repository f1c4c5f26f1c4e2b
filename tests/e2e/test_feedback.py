"""From a reviewer's finding to the agencies, and back to the platform: with real processes."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyrage
import pytest

from command_kit import House, founded, is_ready, refused, run, running, told, until
from scan_kit import jpeg


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("feedback")) as made:
        yield made


def test_what_reviewers_find_reaches_agencies_once_and_a_withdrawal_reaches_the_platform(
    house: House, tmp_path: Path
) -> None:
    cloud, nl, ca = house.found_platform("cloud"), house.home("nl-one"), house.home("ca-three")
    house.admit(cloud)
    house.set_rules(tmp_path)
    for seed in (1, 2):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(seed))
    entry = house.certify(tmp_path / "1.jpg", tmp_path / "2.jpg")
    (cloud / "cases.toml").write_text("[feedback]\nsend = true\n")
    at, me = ("--home", cloud), ("--as", "rev-1", "--home", cloud)
    with running(tmp_path, "gateway", *at, "--port", "0", "--processes", "1", "--trial") as gateway:
        url = gateway.line()["listening"]
        until(lambda: is_ready(url))
        for upload, seed in (("u-1", 1), ("u-2", 1), ("u-3", 2)):
            answer = httpx.post(
                f"{url}/v1/screen?upload={upload}", content=jpeg(seed), timeout=30
            ).json()
            assert answer["decision"] == "match"
        cases = {row["case"]: row for row in told("cases", "list", *at)["cases"]}
        assert len(cases) == 3
        for number, case in enumerate(cases):
            told("cases", "claim", case, *me)
            words = ("not-csam", "--reason", "a drawing") if number == 2 else ("confirmed",)
            told("cases", "dispose", case, *words, "--viewed", *me)
        waiting = told("cases", "feedback", *at)
        assert waiting["waiting"], "within five minutes of the first statement nothing more is sent"
        sent = told("cases", "feedback", "--send", *at)
        assert (sent["waiting"], sent["sent"]["left"], len(sent["sent"]["entries"])) == (0, 0, 1)
        assert told("cases", "feedback", "--send", *at)["sent"]["entries"] == []
        kinds = {task["kind"] for task in told("cases", "tasks", *at)["tasks"]}
        assert "feedback" not in kinds

        said = told("feedback", "--home", ca, "--trial")
        listings = {row["listing"] for row in said["rows"]}
        assert listings <= {f"{entry}/0", f"{entry}/1"}
        assert sum(row["affirmative"] for row in said["rows"]) > 0
        assert sum(row["false_positives"] for row in said["rows"]) > 0
        assert (said["uncounted"], said["unopened"]) == ([], [])
        assert refused("feedback", *at, "--trial") == "cli.not_an_agency"
        (row,) = told("counts", "--home", ca, "--trial")["agencies"]
        assert 0 < row["false_positive_rate"] < 1

        run("withdraw", f"{entry}/0", "--reason", "not-csam", "--home", nl)
        open_then = told("withdrawals", "--home", nl, "--trial")
        assert len(open_then["withdrawals"]) == 1

        def followed() -> bool:
            return not told("withdrawals", "--home", nl, "--trial")["open"]

        until(followed)
        (done,) = told("withdrawals", "--home", nl, "--trial")["withdrawals"]
        assert [it["platform"] for it in done["platforms"]] == ["cloud"]
        assert 0 <= done["took_ms"] < 60_000
        verdict = run("audit", "cloud", "--home", nl, "--log", url, "--trial", "--json", status=0)
        assert verdict.last["outcome"] == "ok"


def test_a_scan_that_is_killed_again_and_again_opens_each_case_once(
    house: House, tmp_path: Path
) -> None:
    """The power goes several times; every stored copy is one case in the end, with its file."""
    drive = house.found_platform("drive")
    house.admit(drive)
    house.set_rules(tmp_path)
    (tmp_path / "listed.jpg").write_bytes(jpeg(7))
    house.certify(tmp_path / "listed.jpg")
    key = pyrage.x25519.Identity.generate().to_public()
    (drive / "cases.toml").write_text(f'[quarantine]\nname = "k"\nrecipient = "{key}"\n')
    files = tmp_path / "files"
    files.mkdir()
    for number in range(24):
        (files / f"{number:02d}.jpg").write_bytes(jpeg(7))
    told("follow", "--once", "--home", drive, "--trial")
    words = ("scan", files, "--home", drive, "--trial", "--jobs", "1", "--no-sync")
    for lines in (1, 4, 7):
        with running(tmp_path, *words) as scan:
            for _ in range(lines):
                scan.line()
            scan.process.kill()
    answers = [json.loads(line) for line in run(*words, "--json", status=3).stdout.splitlines()]
    named = {answer["case"] for answer in answers}
    assert len(answers) == len(named) == 24
    listed = told("cases", "list", "--limit", "1000", "--home", drive)["cases"]
    assert {row["case"] for row in listed} == named
    assert all(row["quarantined"] and row["sightings"] == 1 for row in listed)
    again = [json.loads(line) for line in run(*words, "--json", status=3).stdout.splitlines()]
    assert {answer["how"] for answer in again} == {"unchanged"}
    assert {answer["case"] for answer in again} == named
