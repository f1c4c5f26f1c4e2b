"""A node without a log joins by a snapshot, on real CometBFT validators that keep few blocks:
while the others publish; where who serves it lies; and with a lost memory of what its key signed.

One network; each test leaves it running and whole, the last one with two liars in it. Chunks are
small, so that a short log has many.
"""

import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import pytest

import joining_node
from accord.cli.testnet_nodes import Testnet as Network  # Not a test, whatever its name.
from accord.cli.testnet_nodes import found_testnet, free_ports, numbered_plan
from accord.client.home import Home, open_home
from accord.ledger.block import Ledger
from accord.ledger.epochs import recipients_of
from accord.node.comet_files import SIGNER_STATE_FILE
from accord.node.settings import load_settings, write_settings
from accord.statements.bodies import Acknowledge, Body, Epoch, Publish, Role
from accord.statements.confidential import (
    HPKE_WRAP_BYTES,
    WRAP_BYTES,
    BatchBlob,
    CipherSuite,
    EpochBlob,
    GroupWrap,
    MemberWrap,
)
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import AGENCIES, MemberId
from accord.wire.record import encode_record
from testnet_kit import BLOCK_MS, Cluster, require_cometbft, wait_for

SNAPSHOT_BLOCKS, KEEP_BLOCKS = 5, 10
BATCH_BYTES = 2_500  # Two or three are a chunk.
BATCHES = 12


class Network4(Network):
    """All nodes cut small chunks; these lie."""

    liars: tuple[MemberId, ...] = ()

    def command(self, name: MemberId) -> list[str]:
        lies = [joining_node.LIES] if name in self.liars else []
        return [sys.executable, joining_node.__file__, str(self.home(name)), *lies]


@dataclass
class World:
    net: Network4
    cluster: Cluster
    blobs: dict[bytes, int] = field(default_factory=dict)  # Digests, and where they came.

    def sign(self, name: MemberId, body: Body, role: Role, blob: bytes | None = None) -> bytes:
        key = self.cluster.homes[name].key(role)
        envelope = seal_envelope(self.cluster.homes[name].chain, key.key_id, body, key.sign)
        return encode_transaction(Transaction(envelope, blob))

    def publish(self, name: MemberId) -> None:
        """A batch of noise under a true header: validators are blind."""
        wraps = (GroupWrap(AGENCIES, 1, os.urandom(WRAP_BYTES)),)
        noise = BatchBlob(1, name, CipherSuite.X1, os.urandom(32), os.urandom(BATCH_BYTES), wraps)
        blob = encode_record(noise)
        body = Publish(self.cluster.header(name), 3, (AGENCIES,), (1,), False, sha256(blob))
        raw = self.sign(name, body, Role.ANALYST, blob)
        self.blobs[sha256(blob)] = self.cluster.submit(name, raw)

    def open_epoch(self) -> None:
        """So that batches are accepted."""
        opener = self.net.names[0]
        genesis = self.cluster.homes[opener].founding.genesis
        recipients = recipients_of(Ledger.founded(genesis).state, AGENCIES)
        wraps = tuple(
            MemberWrap(to.member, to.key_id, os.urandom(HPKE_WRAP_BYTES)) for to in recipients
        )
        blob = encode_record(EpochBlob(1, AGENCIES, 1, CipherSuite.X1, wraps, None))
        commitment, header = os.urandom(32), self.cluster.header(opener)
        epoch = Epoch(header, AGENCIES, 1, commitment, recipients, sha256(blob))
        self.cluster.submit(opener, self.sign(opener, epoch, Role.KEEPER, blob))
        self.cluster.settle()
        for name in self.net.names[:3]:
            heard = Acknowledge(self.cluster.header(name), AGENCIES, 1, commitment)
            self.cluster.submit(name, self.sign(name, heard, Role.KEEPER))

    def home(self, name: MemberId) -> Home:
        return self.cluster.homes[name]

    def empty(self, name: MemberId) -> None:
        """Its disk is lost, but for keys and the two memories; it is to begin with a snapshot."""
        self.net.stop([name])
        node = self.home(name).path / "node"
        for file in node.glob("node.db*"):
            file.unlink()
        shutil.rmtree(node / "engine")
        settings = load_settings(node)
        assert settings.state_sync

    def said(self, name: MemberId) -> str:
        return (self.net.directory / "logs" / f"{name}.log").read_text()

    def began_at(self, name: MemberId) -> int:
        """The height of the snapshot that a node began with."""
        file = self.home(name).path / "node" / "node.db"
        with closing(sqlite3.connect(file)) as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'restored'").fetchone()
            first = db.execute("SELECT min(height) FROM blocks WHERE height > 0").fetchone()
        assert row is not None
        assert row == first
        return int(row[0])

    def base(self, name: MemberId) -> int:
        """The oldest block that a node's engine still has."""
        with self.cluster.rpc(name) as ask:
            return int(ask("status")["sync_info"]["earliest_block_height"])

    def grow(self, name: MemberId) -> int:
        """A block more, and then `base`: how many there are depends on the machine's speed."""
        self.cluster.submit(name, self.cluster.vote(name))
        return self.base(name)

    def is_whole(self, name: MemberId) -> None:
        """It is level with the others and serves all blobs."""
        self.cluster.settle(90)
        for node in self.net.names:
            self.cluster.check(node)
        with self.cluster.client(name) as client:
            for digest in self.blobs:
                assert sha256(client.fetch_blob(digest)) == digest

    def counts(self, name: MemberId) -> None:
        """With another one down the consortium needs it for everything."""
        other = next(node for node in self.net.names if node != name)
        self.cluster.kill(other)
        self.cluster.submit(name, self.cluster.vote(name))
        self.cluster.restart(other)
        self.cluster.settle(90)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require_cometbft()
    plans = [numbered_plan(number) for number in range(4)]
    place = tmp_path_factory.mktemp("joining") / "net"
    net = Network4(found_testnet(place, plans, free_ports(plans), BLOCK_MS).directory)
    for name in net.names:
        node = net.home(name) / "node"
        text = load_settings(node).encode().decode()
        for line in (f"snapshot_blocks = {SNAPSHOT_BLOCKS}", f"keep_blocks = {KEEP_BLOCKS}"):
            key = line.partition(" ")[0]
            text = re.sub(rf"(?m)^{key} = .*$", line, text)
        text = text.replace(
            "state_sync = false", f"state_sync = {json.dumps(name == net.names[3])}"
        )
        (node / "node.toml").write_text(text)
        write_settings(node, load_settings(node))
    try:
        # The last one waits: before there is a snapshot nobody can begin with one.
        net.start(net.names[:3])
        cluster = Cluster(net, {name: open_home(net.home(name)) for name in net.names})
        cluster.open_proposal()
        made = World(net, cluster)
        made.open_epoch()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(made.publish, net.names[:3] * (BATCHES // 3)))
        yield made
    finally:
        net.stop(net.names)


def test_a_node_joins_while_the_others_publish_though_their_first_blocks_are_gone(
    world: World,
) -> None:
    first, *_, last = world.net.names
    wait_for(lambda: world.grow(first) > 1, 60)
    before = len(world.cluster.acknowledged)
    with world.cluster.load():
        world.cluster.restart(last)
        wait_for(lambda: world.cluster.status()[last].height > 0, 60)
        reached = max(node.log_size for node in world.net.status())
        wait_for(lambda: world.cluster.status()[last].cosigned_size >= reached, 60)
    assert len(world.cluster.acknowledged) > before
    assert world.began_at(last) >= SNAPSHOT_BLOCKS
    world.is_whole(last)
    blocks = world.base(first)
    assert 1 < blocks <= world.cluster.status()[first].height - KEEP_BLOCKS


def test_only_agencies_read_what_engines_say_and_only_the_light_clients_reads(world: World) -> None:
    first, last = world.net.names[0], world.net.names[3]
    with world.cluster.client(first) as client:
        (height, *_) = client.read_engine("snapshots", {})["heights"]
        commit = client.read_engine("commit", {"height": height})["result"]
        assert commit["signed_header"]["header"]["height"] == str(height)
        found = client.read_engine("validators", {"height": height, "page": 1, "per_page": 100})
        assert found["result"]["total"] == "4"
        assert "error" in client.read_engine("commit", {"height": 1}), "it is pruned"
        for other in ("status", "net_info", "broadcast_tx_sync"):
            with pytest.raises(Malformed, match=r"http\.not_found"):
                client.read_engine(other, {})
        client._key = None
        with pytest.raises(Malformed, match=r"http\.no_key"):
            client.read_engine("snapshots", {})
    stranger = world.home(last).key(Role.COSIGNER)
    with world.cluster.client(first) as client:
        client._key = type(stranger)(stranger.role, stranger.operator, os.urandom(32))
        with pytest.raises(Unproven, match=r"http\.signature"):
            client.read_engine("snapshots", {})


def test_a_key_whose_memory_is_lost_does_not_vote_by_accident(world: World) -> None:
    """A whole home was copied back, but for what the consensus key signed, or with an old copy of
    that: the others' engines have seen more.
    """
    last = world.net.names[3]
    memory = world.home(last).path / SIGNER_STATE_FILE
    engine = world.home(last).path / "node" / "engine"
    world.net.stop([last])
    kept = memory.read_bytes()
    signed = json.loads(kept)["height"]
    older = kept.replace(f'"{signed}"'.encode(), f'"{int(signed) - 3}"'.encode())
    assert older != kept
    away = engine.rename(engine.with_name("engine.away"))
    for old in (None, older):
        memory.unlink(missing_ok=True)
        if old is not None:
            memory.write_bytes(old)
        said = len(world.said(last))
        with pytest.raises(Unavailable, match=r"testnet\.not_started"):
            world.cluster.restart(last)
        assert "node.signer_state_older" in world.said(last)[said:]
        assert not engine.exists(), "nothing was begun"
    away.rename(engine)
    memory.write_bytes(kept)
    world.cluster.restart(last)
    world.is_whole(last)


def test_who_lies_to_a_joining_node_is_passed_over(world: World) -> None:
    *liars, _, last = world.net.names
    world.empty(last)
    world.net.liars = tuple(liars)
    world.net.stop(liars)
    world.net.start(liars)
    said = len(world.said(last))
    with world.cluster.load():
        world.cluster.restart(last)
        wait_for(lambda: world.cluster.status()[last].height > 0, 240)
    told = world.said(last)[said:]
    assert "is asked for elsewhere: snapshot.chunk" in told
    assert "is passed over: snapshot.other_state" in told
    world.is_whole(last)
    world.counts(last)
