"""The gateway's API through ASGI, with real decoders on benign pictures."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.audit.receipts import ScanReceipt, receipts_key
from accord.scan.bodies import Bodies, Budget
from accord.scan.gateway import Gateway, create_app
from accord.scan.serve import check_exposure, load_token
from accord.tlog import parse_bundle, parse_checkpoint, parse_note, verify_line
from accord.wire.errors import Malformed, Unavailable
from accord.wire.keys import VerifyKey
from accord.wire.limits import IMAGE_BYTES_MAX, SCREEN_JSON_BYTES_MAX
from consortium_kit import CHAIN
from scan_kit import CLOUD, Scene, jpeg, listing_of

Talk = Callable[[httpx.AsyncClient], Awaitable[None]]


@asynccontextmanager
async def client_of(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(gateway)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


def talk(scene: Scene, what: Talk, **options: object) -> Gateway:
    gateway = Gateway(scene.screener, **options)  # type: ignore[arg-type]  # By name, per test.

    async def run() -> None:
        async with client_of(gateway) as client:
            await what(client)

    asyncio.run(run())
    return gateway


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("gateway"))
    scene.list_pictures(1)
    scene.sync()
    yield scene
    scene.close()


def test_bytes_then_fingerprints_give_the_same_decision(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        params = {"jurisdiction": "NL", "scope": "uploads", "service": "hosting", "upload": "u-1"}
        answer = await client.post("/v1/screen", params=params, content=jpeg(1))
        assert answer.status_code == 200, answer.text
        hit = answer.json()
        assert (hit["decision"], hit["action"], hit["conflict"]) == ("match", "block", False)
        reason = hit["reasons"][0]
        assert reason["rule"]["title"] == "Test"
        assert {who["agency"] for who in reason["certified_by"]} == {"nl-one", "ie-two"}
        assert hit["duties"]["report"] == [
            {"jurisdiction": "NL", "to": "Hotline", "within_hours": 24}
        ]
        assert hit["checkpoint"]["stale"] is False
        body = {"fingerprints": hit["fingerprints"], "jurisdictions": ["NL"], "scope": "stored"}
        again = (await client.post("/v1/screen", json=body)).json()
        assert again["decision"] == "match"
        assert again["reasons"] == hit["reasons"]
        other = (await client.post("/v1/screen", content=jpeg(2))).json()
        assert (other["decision"], other["action"]) == ("no_match", "allow")

    talk(listed, what)


def test_the_receipt_stands_in_the_served_log(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        answer = (await client.post("/v1/screen", content=jpeg(3))).json()["receipt"]
        promise = ScanReceipt(
            CHAIN,
            CLOUD,
            answer["index"],
            bytes.fromhex(answer["leaf"]),
            answer["time_ms"],
            bytes.fromhex(answer["key_id"]),
            base64.b64decode(answer["signature"]),
        )
        promise.verify(VerifyKey(listed.key.public))
        note = parse_note((await client.get("/log/checkpoint")).content)
        verify_line(note.lines[0], note.text, receipts_key(CHAIN, CLOUD, listed.key.public))
        size = parse_checkpoint(note.text).size
        assert promise.index < size
        bundle = await client.get(f"/log/tile/entries/000.p/{size}")
        assert "immutable" in bundle.headers["cache-control"]
        assert promise.is_for(parse_bundle(bundle.content, size)[promise.index])
        assert (await client.get(f"/log/tile/entries/000.p/{size + 1}")).status_code == 404
        assert (await client.get("/log/tile/..%2Fsecrets")).status_code in (400, 404)

    talk(listed, what)


GARBAGE: dict[str, tuple[bytes, str, int, str]] = {
    "not json": (b"{", "application/json", 400, "screen.json"),
    "deep json": (b"[" * 100_000, "application/json", 400, "screen.json"),
    "not an object": (b"[1]", "application/json; charset=utf-8", 400, "screen.json"),
    "no fingerprints": (b"{}", "application/json", 400, "screen.fingerprints"),
    "empty fingerprints": (b'{"fingerprints": {}}', "application/json", 400, "screen.fingerprints"),
    "unknown field": (b'{"fingerprint": {}}', "application/json", 400, "screen.json"),
    "short digest": (
        b'{"fingerprints": {"md5": "00"}}',
        "application/json",
        400,
        "screen.fingerprints",
    ),
    "quality": (
        json.dumps({"fingerprints": {"pdq": [{"bits": "00" * 32, "quality": 101}]}}).encode(),
        "application/json",
        400,
        "fingerprint.quality",
    ),
    "jurisdiction": (
        json.dumps({"fingerprints": {"md5": "00" * 16}, "jurisdictions": ["DE"]}).encode(),
        "application/json",
        400,
        "decision.jurisdiction",
    ),
    "huge json": (b" " * (SCREEN_JSON_BYTES_MAX + 1), "application/json", 413, "image.too_large"),
    "huge": (bytes(IMAGE_BYTES_MAX + 1), "image/png", 413, "image.too_large"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_with_a_code(listed: Scene, name: str) -> None:
    body, kind, status, code = GARBAGE[name]

    async def what(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/screen", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)

    before = listed.receipts.head().size
    talk(listed, what)
    assert listed.receipts.head().size == before


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"jurisdiction": "Netherlands"}, "screen.jurisdictions"),
        ({"jurisdiction": "DE"}, "decision.jurisdiction"),
        ({"scope": "all"}, "screen.scope"),
        ({"service": "fax"}, "screen.service"),
        ({"upload": "x" * 65}, "screen.upload"),
        ({"upload": ""}, "screen.upload"),
        ({"jurisdictions": "NL"}, "screen.facts"),
        ({"scope": ["stored", "uploads"]}, "screen.facts"),
    ],
)
def test_facts_that_do_not_read_are_refused(
    listed: Scene, params: dict[str, str | list[str]], code: str
) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/screen", params=params, content=b"x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)

    talk(listed, what)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "image.empty"),
        (b"text, no picture", "image.unknown_format"),
        (jpeg(1)[:3000], "image.truncated"),
    ],
)
def test_files_that_are_no_pictures_are_undetermined(listed: Scene, body: bytes, code: str) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        answer = (await client.post("/v1/screen", content=body)).json()
        assert (answer["decision"], answer["code"]) == ("undetermined", code)
        assert (answer["action"], answer["fingerprints"]["pdq"]) == ("review", [])

    talk(listed, what)


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(listed: Scene) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(IMAGE_BYTES_MAX // 1_000_000 + 2):
            yield bytes(1_000_000)

    async def what(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/screen", content=chunks())
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image.too_large")

    gateway = talk(listed, what)
    gateway.bodies.budget.take(400_000_000)  # All was given back.


def test_too_much_at_once_is_turned_away_with_a_time(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        picture = jpeg(1)
        answers = await asyncio.gather(
            *(client.post("/v1/screen", content=picture) for _ in range(8))
        )
        kinds = {answer.status_code for answer in answers}
        assert kinds == {200, 503}
        busy = next(answer for answer in answers if answer.status_code == 503)
        assert busy.json()["error"]["code"] == "gateway.busy"
        assert int(busy.headers["retry-after"]) >= 1
        assert (await client.post("/v1/screen", content=picture)).status_code == 200

    talk(listed, what, bodies=Bodies(Budget(3 * len(jpeg(1)))))


def test_a_token_guards_all_but_health(listed: Scene, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-16-chars-or-more\n")
    token = load_token(file)

    async def what(client: httpx.AsyncClient) -> None:
        for path in ("/v1/status", "/log/checkpoint", "/metrics", "/log/tile/0/000.p/1"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "gateway.token")
            assert answer.headers["www-authenticate"] == "Bearer"
        wrong = {"authorization": "Bearer wrong"}
        refused = await client.post("/v1/screen", content=b"x", headers=wrong)
        assert refused.status_code == 401
        right = {"authorization": f"Bearer {token}"}
        assert (await client.get("/v1/status", headers=right)).status_code == 200
        assert (await client.get("/healthz")).status_code == 200

    talk(listed, what, token=token)


def test_a_network_is_not_answered_without_a_token(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_exposure(host, None)
    check_exposure("0.0.0.0", "token")  # noqa: S104 - the very case.
    with pytest.raises(Malformed, match=r"gateway\.exposed"):
        check_exposure("0.0.0.0", None)  # noqa: S104 - the very case.
    (tmp_path / "short").write_text("short")
    for name in ("short", "missing"):
        with pytest.raises(Malformed, match=r"gateway\.token_file"):
            load_token(tmp_path / name)


def test_status_names_list_and_rules(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        status = (await client.get("/v1/status")).json()
        assert status["platform"] == CLOUD
        assert status["list"]["active_count"] == 2
        assert status["list"]["size"] == len(listed.consortium.leaves)
        assert [rule["jurisdiction"] for rule in status["rules"]] == ["NL"]
        assert status["receipts"]["size"] == listed.receipts.head().size

    talk(listed, what)


def test_answers_are_what_openapi_says(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        described = document["paths"]["/v1/screen"]["post"]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]["anyOf"][0]
        answer = (await client.post("/v1/screen", content=jpeg(1))).json()
        conforms(answer, schema)
        described = document["paths"]["/v1/status"]["get"]["responses"]["200"]
        status = (await client.get("/v1/status")).json()
        conforms(status, described["content"]["application/json"]["schema"])

    talk(listed, what)


def conforms(value: object, schema: dict[str, Any]) -> None:
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None:
        assert "null" in wanted
        return
    assert any(isinstance(value, kinds[kind]) for kind in wanted if kind != "null")
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys()
        for name, inner in schema["properties"].items():
            if name in value:
                conforms(value[name], inner)
    if isinstance(value, list):
        for item in value:
            conforms(item, schema["items"])
    assert value in schema.get("enum", [value])


def test_metrics_count_by_decision_and_refusal(listed: Scene) -> None:
    async def what(client: httpx.AsyncClient) -> None:
        await client.post("/v1/screen", content=jpeg(1))
        await client.post("/v1/screen", content=b"")
        await client.post("/v1/screen", params={"scope": "x"}, content=b"")
        text = (await client.get("/metrics")).text
        assert 'accord_screens_total{decision="match",action="block"} 1' in text
        assert 'accord_screens_total{decision="undetermined",action="review"} 1' in text
        assert 'accord_refusals_total{code="screen.scope"} 1' in text
        assert "accord_screen_seconds_count 2" in text
        assert "accord_list_stale 0" in text

    talk(listed, what)


def test_without_a_list_it_says_when_to_come_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def what(client: httpx.AsyncClient) -> None:
        for answer in (
            await client.post("/v1/screen", content=jpeg(1)),
            await client.get("/v1/status"),
            await client.get("/healthz"),
        ):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
        assert (await client.get("/nowhere")).json()["error"]["code"] == "gateway.not_found"
        assert (await client.get("/v1/screen")).status_code == 405
        assert "accord_list_ready 0" in (await client.get("/metrics")).text

    talk(scene, what)
    scene.close()


def test_a_batch_approved_meanwhile_is_matched_within_two_seconds(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.list_pictures(1)
    listing = [listing_of(2)]

    async def until(client: httpx.AsyncClient, decision: str) -> None:
        async with asyncio.timeout(2):
            while True:
                answer = await client.post("/v1/screen", content=jpeg(2))
                if answer.status_code == 200 and answer.json()["decision"] == decision:
                    return
                await asyncio.sleep(0.02)

    async def what(client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(5):
            while (await client.get("/healthz")).status_code != 200:
                await asyncio.sleep(0.02)
        await until(client, "no_match")
        scene.consortium.publish("nl-one", listing)
        scene.consortium.publish("ie-two", listing)
        await until(client, "match")

    talk(scene, what, following=scene.following(attests=False))
    scene.close()


def test_a_follower_that_halts_is_not_healthy(listed: Scene) -> None:
    from accord.wire.errors import Broken

    following = listed.following(attests=False)
    following.halted = Broken("registry.order")

    async def what(client: httpx.AsyncClient) -> None:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()["why"]) == (503, "registry.order")

    talk(listed, what, following=following)


def test_a_budget_gives_back() -> None:
    budget = Budget(10)
    budget.take(10)
    with pytest.raises(Unavailable, match=r"gateway\.busy"):
        budget.take(1)
    budget.give_back(10)
    budget.take(10)
