"""The cloud drive as a process, against a gateway that speaks the HTTP contract."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from drive_kit import RunningDrive, png_bytes, running_drive, start_drive, wait_until
from gateway_kit import NOTICE, StandInGateway, running_gateway, sha256_hex

SECRETS = ("nl-police", "ie-garda", "12/3", "5a5a5a", "pdq")


@pytest.fixture(scope="module")
def gateway() -> Iterator[StandInGateway]:
    with running_gateway(StandInGateway()) as running:
        yield running


@pytest.fixture(scope="module")
def drive(
    gateway: StandInGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDrive]:
    with running_drive(gateway.url, tmp_path_factory.mktemp("drive")) as running:
        yield running


def page(drive: RunningDrive, path: str = "/") -> httpx.Response:
    return httpx.get(drive.url + path, trust_env=False)


def plain_files(data: Path) -> list[bytes]:
    return [p.read_bytes() for p in data.rglob("*") if p.is_file()]


def test_a_benign_file_is_shown_with_strict_headers(drive: RunningDrive) -> None:
    assert drive.upload(png_bytes(1), "hills.png")["state"] == "stored"
    answer = page(drive)
    assert "hills.png" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    source = answer.text.split('src="/files/')[1].split('"')[0]
    file = page(drive, f"/files/{source}")
    assert file.content == png_bytes(1)
    assert file.headers["content-type"] == "image/png"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in file.headers["content-security-policy"]


def test_what_is_no_picture_is_only_downloaded(drive: RunningDrive) -> None:
    drive.upload(b"<html><script>alert(1)</script>", "page.html")
    source = page(drive).text.split("page.html")[0].rsplit('href="/files/', 1)[1].split('"')[0]
    file = page(drive, f"/files/{source}")
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"].startswith("attachment")


def test_a_listed_file_is_refused_and_the_uploader_learns_no_more_than_the_rule_says(
    drive: RunningDrive, gateway: StandInGateway
) -> None:
    gateway.listed[sha256_hex(png_bytes(2))] = "block"
    answer = drive.upload(png_bytes(2), "second.png")
    assert answer["state"] == "refused"
    assert NOTICE in answer["lines"]
    seen = str(answer) + page(drive).text + page(drive, answer["appeal"]).text
    assert not any(secret in seen for secret in SECRETS)
    assert not any(png_bytes(2) in content for content in plain_files(drive.data))

    platform = drive.platform()
    (match,) = [m for m in platform["matches"] if m["reference"] == answer["reference"]]
    assert (match["how"], match["decision"], match["action"]) == ("upload", "match", "block")
    assert match["reasons"][0]["certified_by"][0] == {"agency": "nl-police", "entry": 12}
    (task,) = [t for t in platform["tasks"] if t["reference"] == answer["reference"]]
    assert (task["recipient"], task["state"]) == ("National report desk", "open")
    staff = page(drive, "/platform").text
    assert answer["reference"] in staff
    assert "nl-police (entry 12)" in staff
    assert "/files/" not in staff
    assert "second.png" not in staff


def test_an_appeal_is_kept_and_a_task_is_done(drive: RunningDrive, gateway: StandInGateway) -> None:
    gateway.listed[sha256_hex(png_bytes(3))] = "block"
    reference = drive.upload(png_bytes(3))["reference"]
    httpx.post(
        f"{drive.url}/notice/{reference}/appeal",
        data={"message": "It is <b>mine</b>."},
        trust_env=False,
    )
    assert "It is &lt;b&gt;mine&lt;/b&gt;." in page(drive, f"/notice/{reference}").text
    assert reference in [appeal["reference"] for appeal in drive.platform()["appeals"]]
    (task,) = [t for t in drive.platform()["tasks"] if t["reference"] == reference]
    httpx.post(f"{drive.url}/platform/tasks/{task['id']}/done", trust_env=False)
    (task,) = [t for t in drive.platform()["tasks"] if t["reference"] == reference]
    assert task["state"] == "done"
    assert page(drive, "/notice/CD-0000-0000").status_code == 404


@pytest.mark.parametrize(
    ("seed", "action", "state", "on_the_drive"),
    [(4, "tag", "stored", True), (5, "review", "held", False), (6, "quarantine", "held", False)],
)
def test_actions_short_of_a_refusal(
    drive: RunningDrive,
    gateway: StandInGateway,
    seed: int,
    action: str,
    state: str,
    on_the_drive: bool,
) -> None:
    gateway.listed[sha256_hex(png_bytes(seed))] = action
    answer = drive.upload(png_bytes(seed), f"picture {seed}.png")
    assert answer["state"] == state
    assert (f"Open picture {seed}.png" in page(drive).text) is on_the_drive
    tile = page(drive).text.partition(f"Open picture {seed}.png")[2].partition("</li>")[0]
    assert action not in tile
    assert action in [match["action"] for match in drive.platform()["matches"]]


@pytest.mark.parametrize(
    ("seed", "action", "state"),
    [(7, "allow", "stored"), (8, "review", "held"), (9, "block", "refused")],
)
def test_a_file_nobody_could_look_at_follows_the_rule_and_says_so(
    drive: RunningDrive, gateway: StandInGateway, seed: int, action: str, state: str
) -> None:
    gateway.unreadable[sha256_hex(png_bytes(seed))] = action
    answer = drive.upload(png_bytes(seed))
    assert answer["state"] == state
    assert "too little detail" in answer["lines"][0]


def test_a_stored_file_vanishes_when_the_list_changes(
    drive: RunningDrive, gateway: StandInGateway
) -> None:
    drive.upload(png_bytes(10), "tenth.png", place="IE")
    source = page(drive).text.split("tenth.png")[0].rsplit('href="/files/', 1)[1].split('"')[0]
    assert page(drive, f"/files/{source}").status_code == 200
    before = drive.platform()["counts"]["quarantined"]
    gateway.calls.clear()
    gateway.listed[sha256_hex(png_bytes(10))] = "quarantine"
    wait_until(lambda: drive.platform()["counts"]["quarantined"] == before + 1)
    assert page(drive, f"/files/{source}").status_code == 404
    assert f"/files/{source}" not in page(drive).text
    assert "A file was taken out of your drive" in page(drive).text
    assert not any(png_bytes(10) in content for content in plain_files(drive.data))
    assert {"scope": "stored", "form": "fingerprints", "jurisdictions": ["IE"]} in gateway.calls
    match = drive.platform()["matches"][0]
    assert (match["how"], match["action"]) == ("stored scan", "quarantine")
    wait_until(lambda: not drive.platform()["rescan"]["running"])


def test_stored_fingerprints_that_are_not_taken_any_more_give_way_to_the_file(
    drive: RunningDrive, gateway: StandInGateway
) -> None:
    drive.upload(png_bytes(11))
    gateway.refuse_fingerprints = True
    try:
        before = drive.platform()["counts"]["quarantined"]
        gateway.listed[sha256_hex(png_bytes(11))] = "block"
        wait_until(lambda: drive.platform()["counts"]["quarantined"] == before + 1)
    finally:
        gateway.refuse_fingerprints = False


@pytest.mark.parametrize("fault", ["away", "nonsense"])
def test_without_an_answer_an_upload_waits_unseen_and_is_screened_later(
    drive: RunningDrive, gateway: StandInGateway, fault: str
) -> None:
    content = png_bytes({"away": 12, "nonsense": 13}[fault])
    gateway.available = fault != "away"
    gateway.answer_override = '{"decision": "no_match"}' if fault == "nonsense" else None
    try:
        answer = drive.upload(content, f"{fault}.png")
        assert answer["state"] == "waiting"
        assert "not checked yet" in answer["lines"][0]
        assert f"Open {fault}.png" not in page(drive).text
        assert drive.platform()["counts"]["waiting"] == 1
    finally:
        gateway.available, gateway.answer_override = True, None
    wait_until(lambda: f"Open {fault}.png" in page(drive).text)


def test_only_its_own_pages_and_names_reach_it(drive: RunningDrive) -> None:
    foreign = {"origin": "http://elsewhere.example", "sec-fetch-site": "cross-site"}
    files = {"file": ("a.png", png_bytes(1))}
    post = httpx.post(f"{drive.url}/upload", files=files, headers=foreign, trust_env=False)
    assert post.status_code == 403
    rebound = httpx.get(drive.url, headers={"host": "elsewhere.example"}, trust_env=False)
    assert rebound.status_code == 400


def test_a_file_over_the_limit_gets_a_clear_answer(drive: RunningDrive) -> None:
    answer = drive.upload(bytes(32_000_001), "big.png")
    assert answer["state"] == "too_large"
    assert "32 MB" in answer["lines"][0]


def test_without_scripts_several_files_are_answered_on_the_page(
    drive: RunningDrive, gateway: StandInGateway
) -> None:
    gateway.listed[sha256_hex(png_bytes(15))] = "block"
    parts = [("file", ("p14.png", png_bytes(14))), ("file", ("p15.png", png_bytes(15)))]
    answer = httpx.post(f"{drive.url}/upload", files=parts, trust_env=False)
    assert "Open p14.png" in answer.text
    assert "Open p15.png" not in answer.text


def test_it_survives_a_kill_and_stops_cleanly(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    with running_gateway(StandInGateway(token="a-token", available=False)) as gateway:
        drive = start_drive(gateway.url, tmp_path / "data", token_file=token)
        assert drive.upload(png_bytes(1), "kept.png")["state"] == "waiting"
        (drive.data / "incoming" / "torn.part").write_bytes(b"half")
        drive.process.kill()
        drive.process.wait(10)
        gateway.available = True
        drive = start_drive(gateway.url, tmp_path / "data", token_file=token)
        wait_until(lambda: "Open kept.png" in page(drive).text)
        assert not (drive.data / "incoming" / "torn.part").exists()
        wait_until(lambda: not drive.platform()["rescan"]["running"])
        assert drive.stop() == 0

        gateway.calls.clear()
        drive = start_drive(gateway.url, tmp_path / "data", token_file=token)
        wait_until(lambda: drive.platform()["list"]["answering"])
        wait_until(lambda: not drive.platform()["rescan"]["running"])
        assert gateway.calls == []  # An unchanged list: nothing is looked at twice.
        assert drive.stop() == 0


def test_a_wrong_token_or_no_gateway_at_all_shows_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with (
        running_gateway(StandInGateway(token="right")) as gateway,
        running_drive(gateway.url, tmp_path / "a") as wrong,
        running_drive(nobody, tmp_path / "b") as alone,
    ):
        for drive in (wrong, alone):
            assert drive.upload(png_bytes(1), "a.png")["state"] == "waiting"
            assert "Open a.png" not in page(drive).text
            assert not drive.platform()["list"]["answering"]
