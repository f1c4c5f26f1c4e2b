"""Kill -9 at any moment loses nothing that was acknowledged."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from accord.agency.founding import TRIAL_PARAMETERS, AgencyPlan, found_trial
from accord.client.files import write_durably
from accord.client.home import GENESIS_FILE, Home
from accord.client.http import NodeClient
from accord.ledger.block import Ledger
from accord.ledger.genesis import parse_genesis
from accord.node.settings import STORE_FILE
from accord.node.store import Store
from accord.statements.bodies import Header, Propose, Role
from accord.statements.entries import parse_entry
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_transaction,
    seal_envelope,
)
from accord.tlog import (
    leaf_hash,
    parse_bundle,
    parse_policy,
    prove_consistency,
    tree_root,
    verify_checkpoint,
    verify_consistency,
)
from accord.tlog.tiles import bundles_for
from accord.wire.errors import AccordError, Unavailable
from accord.wire.ids import ChainId, JurisdictionId, MemberId, TimeMs

CHAIN = ChainId("trial-crash")
ROUNDS = 6
SEED = int(os.environ.get("SEED", "81"))
RUN = """
import sys
from pathlib import Path
from accord.node.process import run_node
def tell(url):
    print(url, flush=True)
run_node(Path(sys.argv[1]), "127.0.0.1", 0, tell)
"""


def now_ms() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)


@dataclass
class Trial:
    """A trial's directory, its node's process, and all that the node ever acknowledged."""

    directory: Path
    homes: dict[MemberId, Home]
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    unanswered: list[bytes] = field(default_factory=list)
    heads: list[tuple[int, bytes]] = field(default_factory=list)

    def start(self) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", RUN, str(self.directory / "node")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.wait(5)
        return process, url

    def statement(self, home: Home) -> bytes:
        body = Propose(
            Header(home.member, os.urandom(16), TimeMs(now_ms() + 600_000)),
            replace(TRIAL_PARAMETERS, proposal_life_ms=5_000),
        )
        key = home.key(Role.GOVERNOR)
        return encode_transaction(
            Transaction(seal_envelope(CHAIN, key.key_id, body, key.sign), None)
        )

    def talk(self, home: Home, url: str, stop: threading.Event) -> None:
        """Submit until the node is gone; keep what it acknowledged."""
        with NodeClient(url, CHAIN, home.key(Role.KEEPER), sleep=lambda _: None) as client:
            while not stop.is_set():
                raw = self.statement(home)
                try:
                    self.acknowledged[client.submit(raw)] = raw
                except AccordError:
                    self.unanswered.append(raw)
                    return

    def check(self, url: str) -> None:
        """Every acknowledged statement is at its index, under a head that extends every other."""
        with NodeClient(url, CHAIN) as client:
            head = self.head(client)
            leaves = [
                leaf
                for tile in bundles_for(head[0])
                for leaf in parse_bundle(client.fetch_tile(tile.path), tile.width)
            ]
        hashes = [leaf_hash(leaf) for leaf in leaves]
        assert (len(leaves), tree_root(hashes)) == head
        for index, raw in self.acknowledged.items():
            assert parse_entry(leaves[index]).statement == parse_transaction(raw).envelope
        for size, root in self.heads:
            assert size <= head[0]
            assert tree_root(hashes[:size]) == root
        self.heads.append(head)

    def head(self, client: NodeClient) -> tuple[int, bytes]:
        deadline = time.monotonic() + 10
        while True:
            try:
                note, policy = client.fetch_checkpoint(), parse_policy(client.fetch_policy())
                break
            except Unavailable:
                assert time.monotonic() < deadline
        found = verify_checkpoint(note, policy, CHAIN)
        return found.size, found.root

    def store(self) -> Store:
        genesis = parse_genesis((self.directory / "node" / GENESIS_FILE).read_bytes())
        return Store(self.directory / "node" / STORE_FILE, genesis)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    where = [("aa-one", "NL"), ("bb-two", "IE"), ("cc-three", "CA"), ("dd-four", "NL")]
    plans = [
        AgencyPlan(MemberId(name), name, JurisdictionId(at), (JurisdictionId(at),))
        for name, at in where
    ]
    homes = found_trial(tmp_path, CHAIN, plans, now_ms(), [])
    (tmp_path / "node").mkdir()
    genesis = (homes[MemberId("aa-one")].path / GENESIS_FILE).read_bytes()
    write_durably(tmp_path / "node" / GENESIS_FILE, genesis)
    return Trial(tmp_path, homes)


def test_kill_nine_loses_nothing_acknowledged(trial: Trial) -> None:
    luck = random.Random(SEED)
    for _ in range(ROUNDS):
        process, url = trial.start()
        trial.check(url)
        stop = threading.Event()
        talkers = [
            threading.Thread(target=trial.talk, args=(home, url, stop))
            for home in trial.homes.values()
        ]
        for talker in talkers:
            talker.start()
        time.sleep(luck.uniform(0.02, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        stop.set()
        for talker in talkers:
            talker.join(20)
    process, url = trial.start()
    trial.check(url)
    ask_again(trial, url)
    trial.check(url)
    process.terminate()
    assert process.wait(20) == 0
    assert len(trial.acknowledged) > ROUNDS, f"make sim SEED={SEED}"
    prove_everything(trial)


def ask_again(trial: Trial, url: str) -> None:
    """Who lost an answer asks again: each statement counts once, at one index."""
    key = next(iter(trial.homes.values())).key(Role.KEEPER)
    with NodeClient(url, CHAIN, key) as client:
        for raw in trial.unanswered:
            index = client.submit(raw)
            assert trial.acknowledged.setdefault(index, raw) == raw
        for index, raw in list(trial.acknowledged.items())[-20:]:
            assert client.submit(raw) == index


def prove_everything(trial: Trial) -> None:
    """The store proves old to new, and its blocks replay to its app hash."""
    store = trial.store()
    ledger = store.ledger()
    size, root = ledger.frontier.size, ledger.frontier.root()
    for old, old_root in trial.heads:
        if old:
            verify_consistency(old, old_root, size, root, prove_consistency(store, old, size))
    genesis = parse_genesis((trial.directory / "node" / GENESIS_FILE).read_bytes())
    fresh = Ledger.founded(genesis.genesis)
    for height in range(1, store.height + 1):
        block = store.block(height)
        assert fresh.finalize(block.transactions, block.time_ms).app_hash == block.app_hash
    assert fresh.app_hash() == ledger.app_hash()
    store.close()


def test_a_clean_stop_leaves_no_trace_and_no_second_node_may_run(trial: Trial) -> None:
    process, url = trial.start()
    running = json.loads((trial.directory / "node" / "node.json").read_text())
    assert running == {"address": url, "pid": process.pid}
    command = [sys.executable, "-c", RUN, str(trial.directory / "node")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "node.in_use" in second.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not (trial.directory / "node" / "node.json").exists()
