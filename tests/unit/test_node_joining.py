"""How a joining node's engine finds headers, behind private sockets, and the block it begins at."""

import asyncio
import stat
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from accord.cli.main import app
from accord.client.home import create_home
from accord.client.http import NodeClient
from accord.ledger.genesis import encode_genesis
from accord.node.joining import Joining, serve_light
from accord.node.settings import Peer, Trust, load_settings
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, MemberId
from consortium_kit import CHAIN, Consortium, derived_key
from light_kit import BLOCK, Serve, api, commit

KEY = derived_key("nl-one", Role.COSIGNER, "node")


def echo(name: str) -> Serve:
    return lambda path, asked: {"result": {"by": name, "path": path, **asked}, "jsonrpc": "x"}


def ask(urls: list[str], *calls: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """What each of two doors answers to these calls."""

    async def main() -> list[list[dict[str, Any]]]:
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory) / f"{place}.sock" for place in range(2)]
            nodes = [
                NodeClient(url, ChainId(CHAIN), KEY, sleep=lambda _: None, attempts=1)
                for url in urls
            ]
            serving = asyncio.create_task(serve_light(paths, nodes))
            answers: list[list[dict[str, Any]]] = []
            for path in paths:
                while not path.exists():
                    await asyncio.sleep(0.01)
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                transport = httpx.AsyncHTTPTransport(uds=str(path), retries=5)
                async with httpx.AsyncClient(transport=transport, timeout=20) as client:
                    said = [
                        (await client.post("http://engine/", json=call)).json() for call in calls
                    ]
                answers.append(said)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            assert not any(path.exists() for path in paths)
            for node in nodes:
                node.close()
            return answers

    return asyncio.run(main())


def call(method: str, **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def test_each_door_asks_another_node_first_and_passes_three_reads_only() -> None:
    with api(echo("one")) as one, api(echo("two")) as two:
        found = ask(
            [one, two],
            call("commit", height="12"),
            call("validators", height="12", page="1", per_page="100", more="x"),
            call("broadcast_evidence", evidence="x"),
            call("commit", height="1; DROP"),
            {"noise": 1},
        )
    for (block, keys, *refused), name in zip(found, ("one", "two"), strict=True):
        assert block["result"] == {"by": name, "path": "/engine/commit", "height": "12"}
        assert (block["id"], block["jsonrpc"]) == (7, "2.0")
        assert set(keys["result"]) == {"by", "path", "height", "page", "per_page"}
        assert all("result" not in answer and answer["error"]["code"] < 0 for answer in refused)


def test_who_is_silent_or_knows_not_is_passed_over() -> None:
    dead = "http://127.0.0.1:1"
    refusing: Serve = lambda path, asked: {"error": {"code": 1, "message": f"{path} {asked}"}}  # noqa: E731
    with api(echo("two")) as two, api(refusing) as pruned:
        for urls in ([dead, two], [pruned, two], [dead, pruned, two]):
            for (answer,) in ask(urls, call("commit", height="3")):
                assert answer["result"]["by"] == "two"
        for (answer,) in ask([dead, pruned], call("commit", height="3")):
            assert answer["error"]["message"] == "/engine/commit {'height': '3'}"
        for (answer,) in ask([dead, dead], call("commit", height="3")):
            assert answer["error"]["message"] == "no node answers"


def joining(tmp_path: Path, *urls: str) -> Joining:
    consortium = Consortium()
    genesis = encode_genesis(consortium.founding.genesis)
    keys = consortium.keys[MemberId("nl-one")]
    home = create_home(tmp_path / "h", "agency", MemberId("nl-one"), genesis, [], keys)
    peers = [Peer(MemberId(f"xx-{n}"), "ab" * 20, "127.0.0.1:1", url) for n, url in enumerate(urls)]
    return Joining(tmp_path, home, peers, lambda: consortium.now, allow_trial=True)


def test_the_engine_begins_at_the_oldest_snapshot_that_our_validators_signed(
    tmp_path: Path,
) -> None:
    consortium = Consortium()
    own = [consortium.key(name, Role.CONSENSUS) for name in consortium.agencies]
    others = [derived_key(name, Role.CONSENSUS, "before") for name in consortium.agencies]
    commits = {10: commit(10, others), 20: commit(20, own[:2]), 30: commit(30, own[:3])}
    commits |= {40: commit(40, own), 50: commit(40, own)}

    def honest(path: str, asked: dict[str, str]) -> dict[str, Any]:
        if path == "/engine/snapshots":
            return {"heights": [50, 40, 30, 20, 10]}
        return commits[int(asked["height"])]

    empty: Serve = lambda path, asked: {"heights": []}  # noqa: E731
    noise: Serve = lambda path, asked: {"heights": "many"}  # noqa: E731
    with api(honest) as good, api(empty) as none, api(noise) as bad:
        made = joining(tmp_path, "http://127.0.0.1:1", none, bad, good)
        assert made._find_trust() == Trust(30, BLOCK)
        made.close()
        for urls, code in (((none,), "join.no_snapshot"), ((bad,), "http.answer")):
            made = joining(tmp_path / code, *urls)
            with pytest.raises((Unavailable, Malformed), match=code):
                made._find_trust()
            made.close()
        del commits[30], commits[40]
        commits[30] = commits[40] = commit(30, own[:2])
        made = joining(tmp_path / "few", good)
        with pytest.raises(Unproven, match=r"light\.quorum"):
            made._find_trust()
        made.close()


def test_prepare_writes_how_to_begin(tmp_path: Path) -> None:
    joining(tmp_path, "http://127.0.0.1:1").close()
    run = CliRunner().invoke
    words = ["node", "prepare", "--home", str(tmp_path / "h"), "--state-sync"]
    assert run(app, [*words, "--trust", "7"]).exit_code == 1
    assert run(app, [*words, "--trust", f"7:{'ab' * 32}"]).exit_code == 0
    settings = load_settings(tmp_path / "h" / "node")
    assert (settings.state_sync, settings.trust) == (True, Trust(7, b"\xab" * 32))
