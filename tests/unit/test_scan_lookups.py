"""What a client learns and what it does not, through the gateway's own handlers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.audit.receipts import LookupReceipt, parse_receipt
from accord.client.lookup import Facts, LookupClient, load_client_key, store_client_key, titles
from accord.client.signing import signed_headers
from accord.fingerprint import Decoding
from accord.matching import Decision, Query
from accord.matching.local import LocalLayer
from accord.registry import PlatformObligations
from accord.scan.clients import DAY_MS, Client, Clients, Terms
from accord.scan.gateway import Gateway, create_app
from accord.scan.local_file import Local
from accord.scan.lookups import Lookups
from accord.scan.screener import Screened
from accord.statements.bodies import Role
from accord.statements.rules import Service
from accord.tlog import parse_bundle
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from consortium_kit import derived_key
from scan_kit import Scene, jpeg

KEY = derived_key("small", Role.SCANNER, "scanner")
URL = "http://gateway/v1/screen"
HIDDEN = {"listings", "truncated", "local"}
HIDDEN_OF_REASON = {"listing", "distance", "certified_by"}
Talk = Callable[[httpx.AsyncClient], Awaitable[None]]


@dataclass(frozen=True)
class Watching(Local):
    """A local layer that says when it was asked."""

    asked: list[Decision] = field(default_factory=list[Decision])

    def carried_out(
        self, decision: Decision, query: Query, obligations: PlatformObligations
    ) -> Decision:
        self.asked.append(decision)
        return super().carried_out(decision, query, obligations)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("lookups"))
    made.list_pictures(1, 2)
    made.sync()
    yield made
    made.close()


@pytest.fixture
def clients(tmp_path: Path, scene: Scene) -> Iterator[Clients]:
    with closing(Clients(tmp_path / "clients.sqlite")) as opened:
        terms = Terms((JurisdictionId("NL"),), (Service.HOSTING,), 1_000, 1_000, 50)
        now = scene.clock()
        opened.add(Client(MemberId("small"), KEY.public, terms, now, TimeMs(now + DAY_MS)))
        yield opened


def talk(scene: Scene, clients: Clients, what: Talk, **options: Any) -> None:  # noqa: ANN401
    lookups = Lookups(clients, scene.clock)
    gateway = Gateway(scene.screener, token="t" * 16, lookups=lookups, **options)

    async def run() -> None:
        transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await what(client)

    asyncio.run(run())


async def look(client: httpx.AsyncClient, scene: Scene, body: bytes, query: str = "") -> Any:  # noqa: ANN401
    kind = {"Content-Type": "application/json"} if body[:1] == b"{" else {}
    headers = signed_headers(KEY, "POST", URL + query, body, now_s=scene.clock() // 1000)
    return await client.post(URL + query, content=body, headers=headers | kind)


def test_a_client_is_told_the_decision_and_nothing_that_leads_to_the_list(
    scene: Scene, clients: Clients
) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        by_bytes = await look(client, scene, jpeg(1), "?upload=u-1")
        assert by_bytes.status_code == 200, by_bytes.text
        hit = by_bytes.json()
        assert (hit["decision"], hit["action"]) == ("match", "block")
        asked = json.dumps({"fingerprints": hit["fingerprints"]}).encode()
        again = (await look(client, scene, asked)).json()
        assert again["reasons"] == hit["reasons"]
        for answer in (hit, again):
            assert not HIDDEN & answer.keys()
            assert answer["reasons"]
            assert not any(HIDDEN_OF_REASON & reason.keys() for reason in answer["reasons"])
            same = [json.dumps(reason) for reason in answer["reasons"]]
            assert len(set(same)) == len(same)
            assert answer["duties"]["report"]
        own = await client.post(
            "/v1/screen", content=jpeg(1), headers={"Authorization": "Bearer " + "t" * 16}
        )
        assert {reason["listing"] for reason in own.json()["reasons"]}
        assert len(own.json()["reasons"]) > len(hit["reasons"])  # Two agencies listed it.

    talk(scene, clients, what)


def test_the_receipt_names_the_client_and_counts_nothing_else(
    scene: Scene, clients: Clients
) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        receipt = (await look(client, scene, jpeg(3), "?upload=u-1")).json()["receipt"]
        size = scene.receipts.head().size
        tile = scene.receipts.tile(f"tile/entries/000.p/{size}")
        leaf = parse_bundle(tile, size)[receipt["index"]]
        found = parse_receipt(leaf)
        assert isinstance(found, LookupReceipt)
        assert (found.client, found.meta.jurisdictions) == ("small", ("NL",))
        assert b"u-1" not in leaf

    talk(scene, clients, what)


def test_neither_case_nor_local_layer_follows_from_a_clients_match(
    scene: Scene, clients: Clients
) -> None:
    opened: list[Screened] = []

    async def what(client: httpx.AsyncClient) -> None:
        assert (await look(client, scene, jpeg(1))).json()["decision"] == "match"
        assert (len(opened), watching.asked) == (0, [])
        own = {"Authorization": "Bearer " + "t" * 16}
        assert (await client.post("/v1/screen", content=jpeg(1), headers=own)).status_code == 200
        assert (len(opened), len(watching.asked)) == (1, 1)

    scene.screener.local = watching = Watching(LocalLayer({}))
    try:
        talk(scene, clients, what, cases=lambda screened, *_: opened.append(screened))
    finally:
        scene.screener.local = None


def test_the_time_of_an_answer_does_not_tell_that_a_listing_is_near(
    scene: Scene, clients: Clients
) -> None:
    """A scaled decoding is looked at again, whole, where a listing is near: not for a client."""
    asked: list[Decoding] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return getattr(scene.pool, name)

        async def fingerprint_async(
            self, data: bytes, decoding: Decoding, *more: object, **how: object
        ) -> object:
            asked.append(decoding)
            return await scene.pool.fingerprint_async(data, decoding, *more, **how)

    async def what(client: httpx.AsyncClient) -> None:
        for seed in (1, 3):
            assert (await look(client, scene, jpeg(seed))).status_code == 200
        assert asked == [Decoding.EXACT] * 2
        own = {"Authorization": "Bearer " + "t" * 16}
        assert (await client.post("/v1/screen", content=jpeg(3), headers=own)).status_code == 200
        assert asked[2] is Decoding.SCALED

    scene.screener.pool = Watched()  # type: ignore[assignment]
    try:
        talk(scene, clients, what)
    finally:
        scene.screener.pool = scene.pool


def test_an_archive_costs_as_many_fingerprints_as_it_holds(scene: Scene, clients: Clients) -> None:
    frame = {"bits": "5a" * 32, "quality": 100}

    async def what(client: httpx.AsyncClient) -> None:
        asked = json.dumps({"fingerprints": {"pdq": [frame] * 7, "md5": "00" * 16}}).encode()
        assert (await look(client, scene, asked)).status_code == 200
        assert (await look(client, scene, jpeg(3))).status_code == 200

    talk(scene, clients, what)
    (used,) = clients.usage()
    assert (used.lookups, used.fingerprints) == (2, 8)


def test_each_fingerprint_that_matches_is_a_probe_and_what_trips_is_not_told(
    scene: Scene, clients: Clients
) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        hit = (await look(client, scene, jpeg(1))).json()
        bits = int(hit["fingerprints"]["pdq"][0]["bits"], 16)
        far = (1 << 256) - 1
        for mask, status in ((far, 200), (0, 403)):  # Only the first of the one is near.
            values = [bits, *(bits ^ mask ^ (1 << n) for n in range(55))]
            frames = [{"bits": f"{value:064x}", "quality": 100} for value in values]
            asked = json.dumps({"fingerprints": {"pdq": frames}}).encode()
            answer = await look(client, scene, asked)
            assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == "clients.held"
        assert "decision" not in answer.text

    talk(scene, clients, what)


def test_what_the_client_asks_is_signed_and_its_answers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "small.key"
    made = store_client_key(file)
    assert load_client_key(file) == made
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(Malformed, match=r"lookup\.key_exists"):
        store_client_key(file)
    answers: list[httpx.Response] = []
    waits: list[float] = []
    nonces: set[str] = set()

    def serve(request: httpx.Request) -> httpx.Response:
        nonces.add(request.headers["signature-input"])
        return answers.pop(0)

    def error(status: int, code: str, after: str | None = None) -> httpx.Response:
        headers = {} if after is None else {"Retry-After": after}
        return httpx.Response(status, json={"error": {"code": code}}, headers=headers)

    rule = {"rule": {"title": "NL"}, "algorithm": "md5"}
    good = {"decision": "match", "action": "block", "reasons": [rule]}
    with LookupClient("http://g", made, waits.append, httpx.MockTransport(serve)) as gateway:
        answers += [error(429, "clients.rate", "3"), httpx.Response(200, json=good)]
        assert titles(gateway.ask({"md5": "00" * 16}, Facts())) == ["NL (md5)"]
        assert waits == [3.0]
        assert len(nonces) == 2  # Each try is signed anew.
        answers += [error(429, "clients.quota", "40000")]
        with pytest.raises(Unavailable, match=r"clients\.quota") as refused:
            gateway.send(b"x", Facts(("NL",)))
        assert refused.value.detail["retry_after_s"] == 40_000
        answers += [error(503, "gateway.busy", "1")] * 3
        with pytest.raises(Unavailable, match=r"gateway\.busy"):
            gateway.send(b"x", Facts())
        answers += [error(403, "clients.revoked")]
        with pytest.raises(Unproven, match=r"clients\.revoked"):
            gateway.send(b"x", Facts())
        bad = ({"decision": "maybe", "action": "allow", "reasons": []}, {}, [], "no")
        for value in bad:
            answers += [httpx.Response(200, json=value)]
            with pytest.raises(Malformed, match=r"http\.answer"):
                gateway.send(b"x", Facts())
        answers += [httpx.Response(200, content=b" " * 1_000_001)]
        with pytest.raises(Malformed, match=r"http\.answer_size"):
            gateway.send(b"x", Facts())
    assert waits == [3.0, 1.0, 1.0]
