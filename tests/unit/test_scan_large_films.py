"""A film of more than 50 MB through the gateway's handlers, with real decoders."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.client.signing import signed_headers
from accord.fingerprint import digests_of
from accord.scan.bodies import Bodies
from accord.scan.cases.intake import taking_in
from accord.scan.cases.quarantine import Held, Lying
from accord.scan.clients import DAY_MS, Client, Clients, Terms
from accord.scan.gateway import FILMS_HELD_AT_ONCE, Gateway, create_app
from accord.scan.lookups import Lookups
from accord.scan.screener import Screened
from accord.scan.spool import Spool, SpoolSettings
from accord.statements.batch import Listing
from accord.statements.bodies import Role
from accord.statements.rules import Service
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from accord.wire.limits import IMAGE_BYTES_MAX
from cases_kit import IDENTITY, Desk, open_sealed
from consortium_kit import CLASS, derived_key
from scan_kit import Scene
from video_kit import film, walk, write_large

pytestmark = pytest.mark.slow

SIZE = IMAGE_BYTES_MAX + 2_000_001
KEY = derived_key("small", Role.SCANNER, "scanner")
URL = "http://gateway/v1/screen"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_large(path, film(walk(3, 2.0)), SIZE)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, large: Path) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("home"))
    rows = [Listing(CLASS, sha256=hashlib.sha256(large.read_bytes()).digest())]
    for agency in ("nl-one", "ie-two"):
        made.consortium.publish(agency, rows)
    made.sync()
    yield made
    made.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(SpoolSettings(tmp_path / "spool"))) as made:
        yield made


def post(
    gateway: Gateway, content: bytes, headers: dict[str, str] | None = None, pause_s: float = 0
) -> httpx.Response:
    async def parts() -> AsyncIterator[bytes]:
        await asyncio.sleep(pause_s)
        for at in range(0, len(content), 1 << 20):
            yield content[at : at + (1 << 20)]

    async def ask() -> httpx.Response:
        length = {"content-length": str(len(content))}
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.post(URL, content=parts(), headers=length | (headers or {}))

    return asyncio.run(ask())


def test_a_large_film_is_decided_and_held_as_any_file_is(
    scene: Scene, spool: Spool, large: Path, tmp_path: Path
) -> None:
    world = Desk(tmp_path / "desk")
    gateway = Gateway(scene.screener, bodies=Bodies(spool=spool), cases=taking_in(world.desk))
    data = large.read_bytes()
    answer = post(gateway, data).json()
    assert (answer["decision"], answer["action"]) == ("match", "block")
    assert answer["fingerprints"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert answer["fingerprints"]["md5"] == digests_of(data).md5.hex()
    (case,) = world.store.cases()
    raw = (world.directory / f"quarantine/{case.id}.age").read_bytes()
    assert open_sealed(raw, str(IDENTITY)) == data
    assert spool.held_bytes == 0
    world.store.close()
    text = gateway.meter.text(gateway._gauges(), ())
    assert "accord_spool_bytes 0" in text


def test_films_on_their_way_into_quarantine_leave_threads_to_others(
    scene: Scene, spool: Spool, large: Path
) -> None:
    held: list[str | None] = []
    done = threading.Event()

    def take_in(_: Screened, upload: str | None, data: Held | None) -> None:
        if isinstance(data, Lying):
            held.append(upload)
            done.wait(60)

    async def ask(client: httpx.AsyncClient, number: int) -> int:
        answer = await client.post(f"{URL}?upload=u{number}", content=large.read_bytes())
        return answer.status_code

    async def all_at_once() -> list[int]:
        threads = ThreadPoolExecutor(FILMS_HELD_AT_ONCE + 1)
        asyncio.get_running_loop().set_default_executor(threads)
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport) as client:
            films = [asyncio.create_task(ask(client, number)) for number in range(3)]
            try:
                while len(held) < FILMS_HELD_AT_ONCE:
                    await asyncio.sleep(0.01)
                async with asyncio.timeout(20):
                    for _ in range(20):
                        await client.post(URL, content=b"no picture")
                assert len(held) == FILMS_HELD_AT_ONCE
            finally:
                done.set()
            return await asyncio.gather(*films)

    gateway = Gateway(scene.screener, bodies=Bodies(spool=spool), cases=take_in)
    assert asyncio.run(all_at_once()) == [200, 200, 200]
    assert sorted(str(upload) for upload in held) == ["u0", "u1", "u2"]


def test_what_only_begins_as_a_film_is_undetermined(scene: Scene, spool: Spool) -> None:
    gateway = Gateway(scene.screener, bodies=Bodies(spool=spool))
    for head in (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", b"RIFF\0\0\0\x04AVI LIST"):
        answer = post(gateway, head + bytes(SIZE - len(head))).json()
        assert (answer["decision"], answer["action"]) == ("undetermined", "review"), head
        assert answer["code"].startswith("video."), head
    refused = post(gateway, bytes(SIZE))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "image.too_large")
    assert post(Gateway(scene.screener), bytes(SIZE)).status_code == 413


def test_the_codes_of_bodies_have_their_statuses(scene: Scene, tmp_path: Path) -> None:
    settings = SpoolSettings(tmp_path / "small", IMAGE_BYTES_MAX, 4 * IMAGE_BYTES_MAX)
    with closing(Spool(settings, lambda _: 0)) as full:
        gateway = Gateway(scene.screener, bodies=Bodies(spool=full))
        full.film_bytes_max = 2 * IMAGE_BYTES_MAX
        answer = post(gateway, b"\0\0\0\x18ftypisom" + bytes(SIZE))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "gateway.spool")
        assert int(answer.headers["retry-after"]) == 30
        slow = Gateway(scene.screener, bodies=replace(gateway.bodies, silence_s=0.05))
        answer = post(slow, b"x", pause_s=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "gateway.slow")


def test_a_clients_film_is_the_one_that_it_signed(
    scene: Scene, spool: Spool, large: Path, tmp_path: Path
) -> None:
    with closing(Clients(tmp_path / "clients.sqlite")) as clients:
        now = scene.clock()
        terms = Terms((JurisdictionId("NL"),), (Service.HOSTING,), 1_000, 1_000, 50)
        clients.add(Client(MemberId("small"), KEY.public, terms, now, TimeMs(now + DAY_MS)))
        gateway = Gateway(
            scene.screener, bodies=Bodies(spool=spool), lookups=Lookups(clients, scene.clock)
        )
        data = large.read_bytes()

        def asked(sent: bytes) -> Any:  # noqa: ANN401  (an answer's JSON)
            headers = signed_headers(KEY, "POST", URL, data, now_s=scene.clock() // 1000)
            return post(gateway, sent, headers).json()

        answer = asked(data)
        assert (answer["decision"], answer["action"]) == ("match", "block")
        assert "listings" not in answer
        assert asked(data[:-1] + b"x")["error"]["code"] == "http.body_digest"
    assert spool.held_bytes == 0
