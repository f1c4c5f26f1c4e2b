"""A small platform that never holds the list: looks up at a gateway, limited and counted."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.cli.bench.machine import children_of
from accord.client.lookup import load_client_key
from accord.client.signing import signed_headers
from command_kit import House, Running, founded, is_ready, refused, run, running, told, until
from pictures_kit import encoded, picture

MATCHED, ALARM = 3, 3
TOKEN = "a-token-of-enough-characters"


@dataclass
class Tier:
    house: House
    directory: Path
    home: Path
    listed: Path
    other: Path

    @property
    def token(self) -> Path:
        return self.directory / "token"

    def gateway(self, *words: str) -> Any:  # noqa: ANN401  (a context manager)
        common = (
            "--token-file",
            self.token,
            "--clients",
            "--workers",
            "1",
            "--trial",
            "--port",
            "0",
        )
        return running(self.directory, "gateway", "--home", self.home, *common, *words)

    def client(self, name: str, *words: str) -> Path:
        """A registered client's key."""
        file = self.directory / f"{name}.key"
        made = told("clients", "key", file)
        terms = ("--jurisdiction", "NL", "--service", "hosting", "--trial", "--home", self.home)
        told("clients", "add", name, "--public", made["public"], *terms, *words)
        return file

    def used(self, name: str) -> dict[str, Any]:
        said = run("clients", "usage", "--home", self.home, "--json", status=None).last
        rows = [day for day in said["days"] if day["client"] == name]
        numbers = ("lookups", "fingerprints", "matches", "undetermined", "refused")
        return {number: sum(row[number] for row in rows) for number in numbers}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    directory = tmp_path_factory.mktemp("lookup")
    files = [directory / "one.jpg", directory / "two.jpg"]
    for seed, file in enumerate(files):
        file.write_bytes(encoded(picture(seed), "JPEG"))
    with founded(directory / "house") as house:
        home = house.found_platform("lookups")
        house.admit(home)
        house.set_rules(directory)
        house.certify(files[0])
        (directory / "token").write_text(TOKEN)
        yield Tier(house, directory, home, *files)


def ready(process: Running) -> str:
    url = str(process.line()["listening"])
    until(lambda: is_ready(url))
    return url


def ask(url: str, key: Path, body: bytes, **change: Any) -> httpx.Response:  # noqa: ANN401
    """A signed request by fingerprints, or `change`d: other bytes, another time, headers as they
    were."""
    where = f"{url}/v1/screen"
    signed = signed_headers(load_client_key(key), "POST", where, body, change.get("now_s"))
    headers = change.get("headers", signed) | {"Content-Type": "application/json"}
    return httpx.post(where, content=change.get("sent", body), headers=headers)


def asked(**fields: object) -> bytes:
    return json.dumps({"fingerprints": {"md5": "00" * 16}} | fields).encode()


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["error"]["code"])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_client_looks_up_and_learns_the_decision_alone(tier: Tier, processes: str) -> None:
    name = f"allowed-{processes}"
    with tier.gateway("--processes", processes) as process:
        url = ready(process)
        key = tier.client(name)
        at = ("--at", url, "--key", key)
        for how in ((), ("--send-bytes",)):
            hit = run("lookup", tier.listed, *at, *how, "--json", status=MATCHED).last
            assert (hit["decision"], hit["action"] != "allow") == ("match", True)
            assert hit["receipt"]["signature"]
            assert not {"listings", "truncated", "local"} & hit.keys()
            for reason in hit["reasons"]:
                assert not {"listing", "distance", "certified_by"} & reason.keys()
            miss = run("lookup", tier.other, *at, *how, "--json").last
            assert (miss["decision"], miss["reasons"]) == ("no_match", [])
        torn = tier.directory / "torn.jpg"
        torn.write_bytes(tier.other.read_bytes()[:200])
        lost = run("lookup", torn, *at, "--json", status=1).last
        assert lost["decision"] == "undetermined"
        assert lost["code"].startswith("image.")
        row = tier.used(name)
        assert (row["lookups"], row["matches"], row["undetermined"]) == (5, 2, 1)
        # The platform's own callers go on as before, and nobody else gets in.
        own = httpx.post(
            f"{url}/v1/screen", content=asked(), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert own.status_code == 200
        assert "listings" in own.json()
        assert code_of(httpx.post(f"{url}/v1/screen", content=asked())) == (401, "gateway.token")
        for path in ("/v1/status", "/metrics", "/log/checkpoint"):
            signed = signed_headers(load_client_key(key), "GET", url + path)
            assert httpx.get(url + path, headers=signed).status_code == 401
        # Agencies count the same, out of what the platform signed and attested.
        home = ("--home", tier.house.home("ie-two"), "--trial")
        log = ("--log", url, "--token-file", tier.token)
        counted = run("clients", "seen", "lookups", *log, *home, "--json").last
        (day,) = [day for day in counted["days"] if day["client"] == name]
        assert (day["lookups"], day["matches"], day["undetermined"]) == (5, 2, 1)


def test_what_is_not_the_clients_own_fresh_request_is_refused(tier: Tier) -> None:
    with tier.gateway("--processes", "2") as process:
        url = ready(process)
        key, stranger = tier.client("careful"), tier.directory / "stranger.key"
        run("clients", "key", stranger)
        where, body = f"{url}/v1/screen", asked()
        assert code_of(ask(url, stranger, body)) == (403, "http.signature")
        once = signed_headers(load_client_key(key), "POST", where, body)
        assert ask(url, key, body, headers=once).status_code == 200
        for _ in range(4):  # Whichever process it comes to.
            assert code_of(ask(url, key, body, headers=once)) == (403, "http.replayed")
        forged = once | {"Signature": once["Signature"].replace("accord=:", "accord=:AAAA")}
        assert code_of(ask(url, key, body, headers=forged)) == (403, "http.signature")
        assert code_of(ask(url, key, body, sent=asked(scope="stored"))) == (403, "http.body_digest")
        for off in (-100, 100):
            late = ask(url, key, body, now_s=int(time.time()) + off)
            assert code_of(late) == (403, "http.signature_time")
        assert ask(url, key, body, now_s=int(time.time()) + 20).status_code == 200
        long = b" " * 300_000
        assert code_of(ask(url, key, long)) == (413, "image.too_large")
        assert code_of(ask(url, key, asked(jurisdictions=["DE"]))) == (400, "clients.jurisdiction")
        assert code_of(ask(url, key, asked(service="social"))) == (400, "clients.service")
        assert code_of(ask(url, key, b"{")) == (400, "screen.json")
        home = ("--home", tier.home)
        run("clients", "revoke", "careful", *home)
        assert code_of(ask(url, key, body)) == (403, "clients.revoked")
        said = run("lookup", tier.other, "--at", url, "--key", key, status=1)
        assert said.code == "clients.revoked"
        (shown,) = [c for c in told("clients", "list", *home)["clients"] if c["name"] == "careful"]
        assert shown["standing"] == "revoked"


def test_limits_hold_across_processes_and_restarts(tier: Tier) -> None:
    left_s = 86_400 - time.time() % 86_400
    if left_s < 120:  # The day that is counted would end meanwhile.
        time.sleep(left_s)
    key = tier.client("busy", "--per-minute", "30", "--per-day", "35")
    body = asked()

    def drain(url: str) -> httpx.Response:
        """Ask until refused."""
        for _ in range(40):
            answer = ask(url, key, body)
            if answer.status_code != 200:
                return answer
        raise AssertionError("never refused")

    with tier.gateway("--processes", "2") as process:
        url = ready(process)
        answer = drain(url)
        assert code_of(answer) == (429, "clients.rate")
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        time.sleep(2.1)  # One request's worth of a minute.
        many = asked(fingerprints={"pdq": [{"bits": "5a" * 32, "quality": 100}] * 6})
        assert code_of(ask(url, key, many)) == (429, "clients.quota")  # Six, and five are left.
        before = tier.used("busy")
        for child in children_of(process.process.pid):
            os.kill(child, 9)
        process.process.kill()
    with tier.gateway("--processes", "1") as process:
        url = ready(process)
        assert tier.used("busy") == before
        until(lambda: code_of(drain(url))[1] == "clients.quota")
        answer = ask(url, key, body)
        assert answer.status_code == 429
        assert tier.used("busy")["lookups"] == tier.used("busy")["fingerprints"] == 35
        assert refused("lookup", tier.other, "--at", url, "--key", key) == "clients.quota"


def test_climbing_towards_a_listing_is_stopped(tier: Tier) -> None:
    key = tier.client("climber", "--probes", "4")
    with tier.gateway("--processes", "1") as process:
        url = ready(process)
        found = run("lookup", tier.listed, "--at", url, "--key", key, "--json", status=MATCHED).last
        bits = found["fingerprints"]["pdq"][0]["bits"]
        seen: list[httpx.Response] = []
        for number in range(1, 8):
            nearer = f"{int(bits, 16) ^ (1 << number):064x}"
            one = asked(fingerprints={"pdq": [{"bits": nearer, "quality": 100}]})
            seen.append(ask(url, key, one))
        good = [answer.json() for answer in seen if answer.status_code == 200]
        assert all(answer["decision"] == "match" for answer in good)
        assert not any("distance" in json.dumps(answer) for answer in good)
        assert code_of(seen[-1]) == (403, "clients.held")
        assert len(good) == 3  # With the picture itself four: the fifth is not told.
        text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
        assert "accord_clients_held 1\n" in text
        home = ("--home", tier.home)
        assert "climber" in run("clients", "usage", *home, status=ALARM).stdout
        run("clients", "release", "climber", *home)
        assert ask(url, key, asked()).status_code == 200


def test_bad_words_are_refused_before_anything_is_kept(tier: Tier) -> None:
    home = ("--home", tier.home, "--trial")
    terms = ("--service", "hosting", *home)
    public = told("clients", "key", tier.directory / "bad.key")["public"]
    add = ("clients", "add", "bad", "--public")
    assert refused(*add, public, "--jurisdiction", "Nowhere", *terms) == "cli.jurisdiction"
    assert refused(*add, "zz", "--jurisdiction", "NL", *terms) == "cli.public_key"
    assert refused(*add, "00" * 32, "--jurisdiction", "NL", *terms) == "key.low_order"
    assert refused(*add, public, "--jurisdiction", "DE", *terms) == "clients.not_served"
    assert refused("clients", "key", tier.directory / "bad.key") == "lookup.key_exists"
    open_key = tier.directory / "open.key"
    shutil.copy(tier.directory / "bad.key", open_key)
    open_key.chmod(0o644)
    look = ("lookup", tier.other, "--at", "http://127.0.0.1:1", "--key")
    assert refused(*look, open_key) == "lookup.key_mode"
    assert refused(*look, tier.directory / "none.key") == "lookup.key"
    bare = ("gateway", "--home", tier.home, "--trial", "--clients", "--port", "0")
    assert refused(*bare) == "gateway.clients_token"
    agency = ("clients", "list", "--home", tier.house.home("nl-one"))
    assert refused(*agency) == "scan.not_a_platform"
