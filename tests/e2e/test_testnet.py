"""Four real CometBFT validators on loopback: what they promise, under load and under faults.

One network for all tests here; each leaves it running and whole.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accord.client.home import GENESIS_FILE
from accord.ledger.block import Ledger
from accord.ledger.genesis import parse_genesis
from accord.node.abci_app import App
from accord.tlog.note import parse_base64
from accord.wire.ids import TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX
from testnet_kit import Cluster, accord, cluster, wait_for

KEYS = {"name", "running", "height", "log_size", "log_root", "cosigned_size"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("net") / "four") as running:
        yield running


def test_every_node_acknowledges_and_all_agree(net: Cluster) -> None:
    began = time.monotonic()
    entries = [net.submit(name, net.vote(name)) for name in net.names]
    assert entries == sorted(entries)
    assert time.monotonic() - began < 20
    again = net.vote(net.names[0])
    assert net.submit(net.names[0], again) == net.submit(net.names[0], again, by=net.names[2])
    net.settle()
    for name in net.names:
        net.check(name)


def test_status_is_one_json_document(net: Cluster) -> None:
    done = accord("testnet", "status", "--dir", str(net.net.directory), "--json")
    (nodes,) = json.loads(done.stdout).values()
    assert [node["name"] for node in nodes] == list(net.names)
    assert all(set(node) == KEYS for node in nodes)
    assert all(node["running"] and node["cosigned_size"] == node["log_size"] for node in nodes)


def test_a_stranger_verifies_any_node(net: Cluster) -> None:
    digest = net.homes[net.names[0]].founding.digest.hex()
    url = net.net.apis[net.names[3]]
    done = accord("log", "verify", url, "--sha256", digest, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size"] >= len(net.acknowledged)


def test_one_down_and_the_others_go_on(net: Cluster) -> None:
    lost = net.names[1]
    killed = accord("testnet", "kill", lost, "--dir", str(net.net.directory))
    assert killed.returncode == 0, killed.stderr
    assert not net.status()[lost].running
    for name in net.names:
        if name != lost:
            net.submit(name, net.vote(name))
    back = accord("testnet", "restart", lost, "--dir", str(net.net.directory))
    assert back.returncode == 0, back.stderr
    net.settle()
    for name in net.names:
        net.check(name)


def test_two_down_halt_and_one_back_resumes(net: Cluster) -> None:
    first, second = net.names[2:]
    for name in (first, second):
        net.kill(name)
    before = net.status()[net.names[0]]
    raw, entries = net.vote(net.names[0]), list[int]()
    asking = threading.Thread(target=lambda: entries.append(net.submit(net.names[0], raw)))
    asking.start()
    asking.join(8)
    assert entries == [], "acknowledged without a quorum"
    assert net.status()[net.names[0]].log_size == before.log_size, "halt rather than fork"
    net.check(net.names[0])  # What was there is still served.
    net.restart(first)
    asking.join(60)
    assert len(entries) == 1, "not resumed within a minute"
    net.restart(second)
    net.settle()
    for name in net.names:
        net.check(name)


def test_killed_in_turn_under_load_nothing_acknowledged_is_lost(net: Cluster) -> None:
    before = len(net.acknowledged)
    with net.load():
        for name in net.names:
            time.sleep(1)
            net.kill(name)
            time.sleep(0.5)
            net.restart(name)
            want = net.status()[net.names[0] if name != net.names[0] else net.names[1]].height
            wait_for(lambda n=name, h=want: net.status()[n].height >= h, 60)  # type: ignore[misc]
    assert len(net.acknowledged) > before + 8
    net.settle()
    for name in net.names:
        net.check(name)


def engine_of(pid: int) -> int | None:
    """The engine's process, a child of the node's."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            return int(path.parent.name)
    return None


def test_the_engine_alone_is_killed_again_and_again(net: Cluster) -> None:
    name = net.names[0]
    pid = net.net.pid(name)
    assert pid is not None
    with net.load():
        for _ in range(3):
            wait_for(lambda: engine_of(pid), 20)
            os.kill(engine_of(pid) or 0, signal.SIGKILL)
            time.sleep(2)
    assert net.net.pid(name) == pid, "the node itself goes on"
    net.settle()
    for each in net.names:
        net.check(each)


def record(net: Cluster) -> list[dict[str, Any]]:
    """The chain as the engine itself tells it: each block, and the app hash after it."""
    blocks: list[dict[str, Any]] = []
    with net.rpc(net.names[0]) as ask:
        top = int(ask("status")["sync_info"]["latest_block_height"])
        for height in range(1, top + 1):
            block = ask("block", height=str(height))["block"]
            if blocks:
                blocks[-1]["app_hash"] = block["header"]["app_hash"].lower()
            blocks.append({"time": block["header"]["time"], "txs": block["data"]["txs"]})
    return blocks[:-1]


def test_a_recorded_chain_replays_alone_to_the_same_app_hashes(
    net: Cluster, tmp_path: Path
) -> None:
    blocks = record(net)
    assert len(blocks) > 5
    genesis = net.homes[net.names[0]].path / GENESIS_FILE
    recorded = tmp_path / "chain.json"
    recorded.write_text(json.dumps({"genesis": str(genesis), "blocks": blocks}))
    for seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, __file__, str(recorded)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert json.loads(done.stdout) == [block["app_hash"] for block in blocks]


def replay(recorded: Path) -> list[str]:
    """Each block through the sequencer's four steps, alone."""
    value = json.loads(recorded.read_text())
    founding = parse_genesis(Path(value["genesis"]).read_bytes())
    app = App(Ledger.founded(founding.genesis), 0, founding.genesis.time_ms)
    hashes: list[str] = []
    for height, block in enumerate(value["blocks"], 1):
        raws = [parse_base64(text) for text in block["txs"]]
        now = block_time(block["time"])
        assert app.prepare(raws, now, BLOCK_BYTES_MAX) == raws
        assert app.process(raws, now) is None
        hashes.append(app.finalize(height, raws, now).result.app_hash.hex())
        app.committed()
    return hashes


def block_time(text: str) -> TimeMs:
    """RFC 3339 with any number of digits after the second."""
    whole, _, part = text.removesuffix("Z").partition(".")
    seconds = int(time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))) - time.timezone
    return TimeMs(seconds * 1000 + int(part.ljust(9, "0")[:3]))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(replay(Path(sys.argv[1]))))
