"""Rules that contradict, end, or name nobody's place; rules that change while uploads come in; two
reviewers at one case; a kill between a report and its record. Real processes throughout."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from command_kit import ACCORD, House, founded, is_ready, refused, run, running, told, until
from pictures_kit import encoded, picture
from tipline_kit import running_desk

MATCHED, KILLED = 3, -signal.SIGKILL


@dataclass
class Places:
    """A platform in two countries, one listed picture, and rule files."""

    house: House
    directory: Path
    home: Path
    listed: Path
    versions: dict[str, int] = field(default_factory=dict[str, int])

    def set_rules(self, where: str, who: str, *changes: tuple[str, str]) -> dict[str, Any]:
        """The EU template for the tests' class, changed."""
        text = run("rules", "template", "eu-member-state").stdout
        for old, new in (("interpol/baseline", "test/T1"), *changes):
            assert old in text, old
            text = text.replace(old, new)
        file = self.directory / f"{where}.yaml"
        file.write_text(text)
        home = ("--home", self.house.home(who))
        said = run("rules", "set", file, "--jurisdiction", where, *home, "--json")
        self.versions[where] = self.versions.get(where, 0) + 1
        return {**said.last, "stderr": said.stderr}

    def screen(self, *words: str, status: int) -> dict[str, Any]:
        home = ("--home", self.home, "--trial", "--json")
        return run("screen", self.listed, *words, *home, status=status).last


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    directory = tmp_path_factory.mktemp("places")
    listed = directory / "listed.jpg"
    listed.write_bytes(encoded(picture(1), "JPEG"))
    with founded(directory / "house") as house:
        home = house.directory / "cloud"
        pinned = ("--sha256", house.genesis_sha256, "--node", house.url)
        where = ("--jurisdiction", "NL", "--jurisdiction", "IE", "--member", "cloud")
        genesis = ("--genesis", house.node_directory / "genesis.json", "--title", "Cloud")
        run("platform", "init", home, *genesis, *where, *pinned)
        house.admit(home)
        house.certify(listed)
        yield Places(house, directory, home, listed)


def test_required_here_and_forbidden_there_is_for_a_person(places: Places) -> None:
    places.set_rules("NL", "nl-one", ("modality: permitted", "modality: required"))
    places.set_rules("IE", "ie-two", ("modality: permitted", "modality: prohibited"))
    both = places.screen(status=MATCHED)
    assert both["conflict_between"] == {"required_in": ["NL"], "prohibited_in": ["IE"]}
    assert (both["decision"], both["action"]) == ("match", "review")
    here = places.screen("--jurisdiction", "NL", status=MATCHED)
    assert (here["action"], here["conflict"]) == ("block", False)
    there = places.screen("--jurisdiction", "IE", status=0)
    assert there["jurisdictions"][0]["applied"] == "prohibited"
    assert there["decision"] == "no_match"


def test_two_clauses_that_disagree_are_combined_to_the_strictest(places: Places) -> None:
    milder = (
        "  - name: milder\n    classes: [test/T1]\n    certified_by:\n      agencies: 1\n"
        "      sovereigns: 1\n      review: digest\n    exact:\n      action: tag\n"
    )
    places.set_rules("NL", "nl-one", ("clauses:\n", f"clauses:\n{milder}"))
    found = places.screen("--jurisdiction", "NL", status=MATCHED)
    assert found["action"] == "block"
    exact = [reason for reason in found["reasons"] if reason["algorithm"] != "pdq"]
    acts = {reason["rule"]["clause"]: reason["action"] for reason in exact}
    assert acts == {"known": "block", "milder": "tag"}
    assert {reason["rule"]["version"] for reason in found["reasons"]} == {places.versions["NL"]}


def test_rules_end_with_the_first_entry_at_their_end(places: Places) -> None:
    end = datetime.fromtimestamp(time.time() + 6, UTC)
    until_then = (
        "valid_from: 2026-04-04",
        f"valid_from: 2026-04-04\nvalid_to: {end:%Y-%m-%dT%H:%M:%SZ}",
    )
    assert "ended" not in places.set_rules("NL", "nl-one", until_then)["stderr"]
    assert places.screen("--jurisdiction", "NL", status=MATCHED)["action"] == "block"
    time.sleep(max(0.0, end.timestamp() - time.time()) + 1)
    home = ("--home", places.house.home("nl-one"))
    run("propose", "accredit", "nl-one", "XA", *home)  # Some entry: validity is of block time.
    ended = places.screen("--jurisdiction", "NL", status=0)
    assert ended["jurisdictions"][0]["applied"] == "not-valid"
    assert (ended["decision"], ended["reasons"]) == ("no_match", [])
    again = places.set_rules("NL", "nl-one", until_then)
    assert "have ended already" in again["stderr"]
    backwards = ("valid_from: 2026-04-04", "valid_from: 2026-04-04\nvalid_to: 2026-04-03")
    with pytest.raises(AssertionError, match="rules"):
        places.set_rules("NL", "nl-one", backwards)
    later = ("valid_from: 2026-04-04", "valid_from: 2999-01-01")
    places.set_rules("NL", "nl-one", later)
    early = places.screen("--jurisdiction", "NL", status=0)
    assert early["jurisdictions"][0]["applied"] == "not-valid"


def test_a_place_that_is_nobodys_is_refused_by_name(places: Places) -> None:
    file = places.directory / "other.yaml"
    text = run("rules", "template", "eu-member-state").stdout
    file.write_text(text.replace("interpol/baseline", "test/T1"))
    home = ("--home", places.house.home("nl-one"))
    before = told("members", *home)["size"]
    for where, code in (("DE", "reject.not_accredited"), ("nl", "cli.jurisdiction")):
        assert refused("rules", "set", file, "--jurisdiction", where, *home) == code
    assert refused("rules", "set", file, "--jurisdiction", "IE", *home) == "reject.not_accredited"
    assert told("members", *home)["size"] == before
    at = ("--home", places.home, "--trial")
    for where, code in (("DE", "decision.jurisdiction"), ("n/a", "screen.jurisdictions")):
        assert refused("screen", places.listed, "--jurisdiction", where, *at) == code


def test_rules_that_change_under_uploads_are_named_by_each_answer(places: Places) -> None:
    acts = ("block", "tag", "quarantine", "block")
    data, answers, done = places.listed.read_bytes(), list[dict[str, Any]](), threading.Event()

    def upload(url: str) -> None:
        while not done.is_set():
            params = {"jurisdiction": "NL"}
            answers.append(httpx.post(f"{url}/v1/screen", params=params, content=data).json())

    def is_told(version: int) -> bool:
        return any(version in versions_of(answer) for answer in answers[-4:])

    places.set_rules("NL", "nl-one")
    first = places.versions["NL"]
    words = ("gateway", "--home", places.home, "--trial", "--port", "0", "--workers", "1")
    with running(places.directory, *words, "--processes", "2") as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        threads = [threading.Thread(target=upload, args=(url,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: is_told(first))
            for number, action in enumerate(acts[1:], first + 1):
                change = ("    exact:\n      action: block", f"    exact:\n      action: {action}")
                places.set_rules("NL", "nl-one", change)
                until(lambda number=number: is_told(number))
        finally:
            done.set()
            for thread in threads:
                thread.join()
    named = {version for answer in answers for version in versions_of(answer)}
    assert named == set(range(first, first + len(acts)))
    for answer in answers:
        (version,) = versions_of(answer)
        exact = {r["action"] for r in answer["reasons"] if r["algorithm"] != "pdq"}
        assert exact == {acts[version - first]}
        entries = {reason["rule"]["entry"] for reason in answer["reasons"]}
        assert all(entry < answer["checkpoint"]["size"] for entry in entries)


def versions_of(answer: dict[str, Any]) -> set[int]:
    return {reason["rule"]["version"] for reason in answer["reasons"]}


def accord(*words: str | Path) -> subprocess.Popen[str]:
    argv = [*ACCORD, *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def opened_case(places: Places, upload: str) -> str:
    """A case that the gateway opened for an upload."""
    words = ("gateway", "--home", places.home, "--trial", "--port", "0", "--workers", "1")
    with running(places.directory, *words, "--processes", "1") as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        params = {"jurisdiction": "NL", "upload": upload}
        found = httpx.post(f"{url}/v1/screen", params=params, content=places.listed.read_bytes())
        assert found.json()["decision"] == "match"
    cases = told("cases", "list", "--home", places.home)["cases"]
    return str(next(row["case"] for row in cases if row["state"] == "open"))


def test_of_two_reviewers_at_once_one_has_the_case(places: Places) -> None:
    (places.home / "cases.toml").write_text("")
    places.set_rules("NL", "nl-one")
    case = opened_case(places, "u-1")
    at = ("--home", places.home, "--json")
    both = [accord("cases", "claim", case, "--as", f"rev-{n}", *at) for n in (1, 2)]
    said = [process.communicate(timeout=60) for process in both]
    won = [n for n, process in enumerate(both, 1) if process.returncode == 0]
    assert len(won) == 1, said
    lost = json.loads(said[2 - won[0]][1])
    assert lost["error"]["code"] == "cases.claimed"
    shown = told("cases", "show", case, "--home", places.home)
    assert shown["claimed_by"] == f"rev-{won[0]}"
    finding = ("--viewed", "--reason", "same")
    by = ("--as", f"rev-{won[0]}", *at)
    both = [
        accord("cases", "dispose", case, word, *finding, *by) for word in ("confirmed", "not-csam")
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    shown = told("cases", "show", case, "--home", places.home)
    decided = [n for n, process in enumerate(both) if process.returncode == 0]
    assert shown["disposition"] == ("confirmed", "not-csam")[decided[0]]


@pytest.mark.parametrize("step", ["submit", "finish"])
def test_a_report_that_was_cut_off_is_made_once(places: Places, step: str) -> None:
    """Killed when the desk has taken the step and nobody here knows yet. A report whose number was
    lost stays open, and the desk drops it in a day."""
    (places.home / "cases.toml").write_text("")
    places.set_rules("NL", "nl-one")
    case = opened_case(places, f"u-{step}")
    at = ("--as", "rev-1", "--home", places.home)
    told("cases", "claim", case, *at)
    told("cases", "dispose", case, "confirmed", "--viewed", *at)
    with running_desk() as desk:
        secret = places.home / "pw"
        secret.write_text("secret")
        duty = "The national police's unit for child sexual abuse"
        (places.home / "cases.toml").write_text(
            '[cybertipline]\nsend = true\nusername = "esp"\npassword_file = "pw"\n'
            'email = "a@b.example"\nfirst_name = "A"\nlast_name = "B"\nplatform = "C"\n'
            f'duties = ["{duty}"]\nurl = "{desk.url}"\n'
        )
        victims: list[subprocess.Popen[str]] = []
        taken = desk.answer

        def answer(asked: str, kind: str, body: bytes) -> str:
            text = taken(asked, kind, body)
            if asked == step and victims:
                os.kill(victims.pop().pid, signal.SIGKILL)
                time.sleep(0.2)  # The answer comes to nobody.
            return text

        desk.answer = answer  # type: ignore[method-assign]
        process = accord("report", "submit", case, *at)
        victims.append(process)
        said = process.communicate(timeout=60)
        assert process.returncode == KILLED, said
        made = told("report", "submit", case, *at)
        assert desk.finished() == [made["report_id"]]
        again = told("report", "submit", case, *at)
        assert (again["report_id"], again["was_filed"]) == (made["report_id"], True)
        assert desk.finished() == [made["report_id"]]
