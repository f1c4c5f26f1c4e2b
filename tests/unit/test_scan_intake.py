"""The gateway opens a case before it answers, with the facts of the decision and no more."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from accord.matching.local import Allowed, LocalLayer
from accord.scan.cases.intake import taking_in
from accord.scan.gateway import Gateway, create_app
from accord.scan.local_file import Local
from cases_kit import IDENTITY, Crashed, Desk, open_sealed
from scan_kit import Scene, jpeg, looked_at


@dataclass
class Client:
    """One request at a time."""

    gateway: Gateway

    def post(self, path: str, content: bytes | None = None, json: object = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(create_app(self.gateway))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
                return await http.post(path, content=content, json=json)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    opened = Scene(tmp_path_factory.mktemp("intake"))
    opened.list_pictures(1)
    opened.sync()
    yield opened
    opened.close()


@pytest.fixture
def world(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


@pytest.fixture
def client(scene: Scene, world: Desk) -> Client:
    return Client(Gateway(scene.screener, cases=taking_in(world.desk)))


def test_a_match_is_a_case_with_all_facts_and_its_file(client: Client, world: Desk) -> None:
    answer = client.post("/v1/screen?upload=u-1", content=jpeg(1)).json()
    assert answer["action"] == "block"
    (case,) = world.store.cases()
    assert case.effective_ms == answer["receipt"]["time_ms"]
    assert case.record["checkpoint"] == answer["checkpoint"]
    matches = case.record["matches"]
    assert isinstance(matches, list)
    exact = next(match for match in matches if match["algorithm"] == "sha256")
    assert (exact["kind"], exact["distance"], exact["threshold"]) == ("exact", 0, 0)
    assert exact["value"] == answer["fingerprints"]["sha256"]
    near = next(match for match in matches if match["algorithm"] == "pdq")
    assert (near["kind"], near["threshold"], near["quality"]) == ("near", 31, 100)
    assert near["value"] == looked_at(1).main.bits.hex()
    assert near["rule"].keys() == {"title", "entry", "version", "clause"}
    raw = (world.directory / f"quarantine/{case.id}.age").read_bytes()
    assert open_sealed(raw, str(IDENTITY)) == jpeg(1)
    assert b"u-1" not in (world.directory / "cases.sqlite-wal").read_bytes()


def test_what_does_not_match_opens_no_case(client: Client, world: Desk) -> None:
    assert client.post("/v1/screen", content=jpeg(3)).json()["decision"] == "no_match"
    assert world.store.cases() == []
    assert world.files() == []


def test_an_upload_that_comes_again_is_the_same_case(client: Client, world: Desk) -> None:
    for _ in range(3):
        client.post("/v1/screen?upload=u-1", content=jpeg(1))
    client.post("/v1/screen?upload=u-2", content=jpeg(1))
    client.post("/v1/screen", content=jpeg(1))
    assert sorted(case.sightings for case in world.store.cases()) == [1, 1, 3]


def test_fingerprints_alone_open_a_case_without_a_file(client: Client, world: Desk) -> None:
    digest = looked_at(1).digests.sha256.hex()
    asked = {"fingerprints": {"sha256": digest}, "upload": "u-3"}
    assert client.post("/v1/screen", json=asked).json()["decision"] == "match"
    (case,) = world.store.cases()
    assert case.quarantined == ""


@pytest.mark.parametrize("step", ["after case", "before open", "after open", "after file"])
def test_no_match_is_answered_before_its_case_is_kept(
    client: Client, world: Desk, step: str
) -> None:
    world.crash_at = step
    with pytest.raises(Crashed):
        client.post("/v1/screen?upload=u-1", content=jpeg(1))
    world.crash_at = ""
    assert client.post("/v1/screen?upload=u-1", content=jpeg(1)).status_code == 200
    (case,) = world.store.cases()
    assert case.quarantined


def test_the_answer_says_what_the_platform_changed_and_a_required_rule_stands(
    client: Client, scene: Scene, world: Desk
) -> None:
    listed = looked_at(1).digests.sha256
    layer = LocalLayer({listed: Allowed("ada", "our logo")})
    scene.screener.local = Local(layer, held=world.store.held)
    try:
        answer = client.post("/v1/screen?upload=u-1", content=jpeg(1)).json()
    finally:
        scene.screener.local = None
    assert answer["action"] == "block", "the rule requires it"
    assert {(note["step"], note["refused"]) for note in answer["local"]} == {("allowed", True)}
    (case,) = world.store.cases()
    assert case.record["local"]
