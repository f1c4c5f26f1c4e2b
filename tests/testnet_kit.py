"""A real consortium of CometBFT validators for tests, with somebody who talks to it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.agency.founding import TRIAL_PARAMETERS
from accord.cli.testnet_nodes import NodeStatus, Testnet
from accord.client.home import Home, open_home
from accord.client.http import NodeClient
from accord.ledger.block import Ledger
from accord.ledger.views import cosigners
from accord.node.comet_process import find_cometbft
from accord.statements.bodies import Body, Header, Propose, Role, Vote
from accord.statements.entries import parse_entry
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_transaction,
    seal_envelope,
)
from accord.tlog import leaf_hash, parse_bundle, tree_root, verify_checkpoint
from accord.tlog.policy import consortium_policy
from accord.tlog.tiles import bundles_for
from accord.wire.errors import AccordError, Unavailable
from accord.wire.ids import MemberId, TimeMs

BLOCK_MS = 200


def require_cometbft() -> None:
    try:
        find_cometbft()
    except Unavailable as err:
        pytest.skip(f"no CometBFT here: {err}")


def accord(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accord.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def accord_json(*arguments: str) -> Any:  # noqa: ANN401 - a JSON document.
    done = accord(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def now_ms() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)


@dataclass
class Cluster:
    """A running test network, and all that it ever acknowledged."""

    net: Testnet
    homes: dict[MemberId, Home]
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    proposal: int = -1

    @property
    def names(self) -> tuple[MemberId, ...]:
        return self.net.names

    def status(self) -> dict[str, NodeStatus]:
        return {node.name: node for node in self.net.status()}

    def kill(self, name: MemberId) -> None:
        assert self.net.kill(name)

    def restart(self, name: MemberId) -> None:
        self.net.start([name])

    def client(self, name: MemberId, **options: Any) -> NodeClient:  # noqa: ANN401
        home = self.homes[name]
        return NodeClient(self.net.apis[name], home.chain, home.key(Role.KEEPER), **options)

    def sign(self, name: MemberId, body: Body, role: Role) -> bytes:
        home = self.homes[name]
        key = home.key(role)
        envelope = seal_envelope(home.chain, key.key_id, body, key.sign)
        return encode_transaction(Transaction(envelope, None))

    def header(self, name: MemberId) -> Header:
        return Header(name, os.urandom(16), TimeMs(now_ms() + 600_000))

    def vote(self, name: MemberId) -> bytes:
        """A statement that is good at any time: a vote against the open proposal."""
        return self.sign(name, Vote(self.header(name), self.proposal, approve=False), Role.GOVERNOR)

    def submit(self, name: MemberId, raw: bytes, by: MemberId | None = None) -> int:
        with self.client(by or name) as client:
            entry = client.submit(raw)
        self.acknowledged[entry] = raw
        return entry

    def open_proposal(self, by: MemberId | None = None) -> None:
        name = by or self.names[0]
        action = replace(TRIAL_PARAMETERS, proposal_life_ms=604_000_000)
        raw = self.sign(name, Propose(self.header(name), action), Role.GOVERNOR)
        self.proposal = self.submit(name, raw)
        self.settle()  # A validator a block behind the quorum would refuse a vote on it.

    def talk(self, name: MemberId, stop: threading.Event) -> None:
        """Submit through one's own node until told; what is not answered is sent again."""
        with self.client(name, sleep=lambda _: None) as client:
            while not stop.is_set():
                raw = self.vote(name)
                while not stop.is_set():
                    with suppress(AccordError):
                        self.acknowledged[client.submit(raw)] = raw
                        break
                    time.sleep(0.1)

    @contextmanager
    def load(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [
            threading.Thread(target=self.talk, args=(name, stop), daemon=True)
            for name in self.names
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(40)

    def settle(self, wait_s: float = 60) -> None:
        """Until all nodes that run serve one head, as long as their logs."""

        def is_even() -> bool:
            nodes = [node for node in self.net.status() if node.running]
            sizes = {node.log_size for node in nodes} | {node.cosigned_size for node in nodes}
            return len(sizes) == 1 == len({node.log_root for node in nodes})

        wait_for(is_even, wait_s)

    def check(self, name: MemberId) -> None:
        """All that was acknowledged is in this node's log, under a head that the quorum signed and
        that has the root every other node's head of that size has.
        """
        founding = self.homes[name].founding
        state = Ledger.founded(founding.genesis).state
        policy = consortium_policy((), cosigners(state, founding.genesis.chain))
        with self.client(name) as client:
            head = verify_checkpoint(client.fetch_checkpoint(), policy, founding.genesis.chain)
            leaves = [
                leaf
                for tile in bundles_for(head.size)
                for leaf in parse_bundle(client.fetch_tile(tile.path), tile.width)
            ]
        assert tree_root(leaf_hash(leaf) for leaf in leaves) == head.root
        assert self.heads.setdefault(head.size, head.root) == head.root
        for entry, raw in list(self.acknowledged.items()):
            assert entry < head.size, "acknowledged, and not under the head"
            assert parse_entry(leaves[entry]).statement == parse_transaction(raw).envelope

    @contextmanager
    def rpc(self, name: MemberId) -> Iterator[Callable[..., Any]]:
        """The engine's own RPC, for what only tests ask."""
        socket = self.net.home(name) / "node" / "run" / "rpc.sock"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=20) as client:

            def ask(method: str, **params: Any) -> Any:  # noqa: ANN401 - a JSON document.
                call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                answer = client.post("http://engine/", json=call).json()
                return answer.get("result", answer)

            yield ask


def wait_for(is_there: Callable[[], object], wait_s: float) -> float:
    began = time.monotonic()
    while not is_there():
        assert time.monotonic() - began < wait_s, f"not within {wait_s} s"
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def cluster(directory: Path, agencies: int = 4) -> Iterator[Cluster]:
    require_cometbft()
    up = ["testnet", "up", "--agencies", str(agencies), "--dir", str(directory)]
    said = accord_json(*up, "--block-ms", str(BLOCK_MS))
    try:
        homes = {MemberId(node["name"]): open_home(Path(node["home"])) for node in said["nodes"]}
        found = Cluster(Testnet(directory.resolve()), homes)
        found.open_proposal()
        yield found
        found.net.stop(found.net.names)
    finally:
        done = accord("testnet", "down", "--dir", str(directory))
        assert done.returncode == 0, done.stderr
