"""Two of four validators are lost for good: the other two go on with two newcomers, by the commands
that operate.md names, from a genesis that pins all that was agreed on. Real CometBFT throughout.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accord.agency.founding import TRIAL_PARAMETERS, continue_genesis
from accord.agency.sealing import seal_batch
from accord.cli import testnet_nodes
from accord.cli.assemble import AgencyBook, identity_of, open_keeper, replica_file
from accord.cli.main import app
from accord.cli.testnet_nodes import PLACES, TESTNET_FILE, free_ports, numbered_plan
from accord.client.home import GENESIS_FILE, Home, open_home
from accord.ledger.epochs import epoch_of
from accord.node.settings import Peer, Settings, peer_id_of, peer_key, write_settings
from accord.replica.replica import Replica
from accord.statements.batch import batch_of
from accord.statements.bodies import Approve, Publish, Role
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Rejected, Unproven
from accord.wire.ids import ChainId, MemberId
from consortium_kit import GROUPS, listings
from testnet_kit import BLOCK_MS, Cluster, cluster

CHAIN = ChainId("testnet-continued")


def ran(*words: str) -> str:
    """A command in this process: most of a process's time is its start."""
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def said_by(*words: str) -> Any:  # noqa: ANN401 - a JSON document.
    return json.loads(ran(*words, "--json"))


@contextmanager
def books(homes: list[Home]) -> Iterator[list[AgencyBook]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(AgencyBook(home))) for home in homes]


def run_keepers(homes: list[Home]) -> None:
    """Until every group has a key that is in force and not overdue."""
    with books(homes) as opened:
        for _ in range(6):
            for home, book in zip(homes, opened, strict=True):
                open_keeper(home, book).step(out_of_turn=True)
            opened[0].sync()
            rows = [epoch_of(opened[0].state, group) for group in GROUPS]
            if all(row.number and row.rotate_by_ms is None for row in rows):
                return
        raise AssertionError("no group key came into force")


def publish(net: Cluster, name: MemberId, seed: str) -> int:
    home = net.homes[name]
    with books([home]) as (book,):
        book.sync()
        numbers = [epoch_of(book.state, group).number for group in GROUPS]
        keys = [book.keyring.key_of(group, n) for group, n in zip(GROUPS, numbers, strict=True)]
    held = {g: (n, key) for g, n, key in zip(GROUPS, numbers, keys, strict=True) if key}
    blob = seal_batch(home.chain, name, batch_of(listings(2, seed)), held)
    body = Publish(net.header(name), 2, GROUPS, tuple(numbers), False, sha256(blob))
    key = home.key(Role.ANALYST)
    envelope = seal_envelope(home.chain, key.key_id, body, key.sign)
    entry = net.submit(name, encode_transaction(Transaction(envelope, blob)))
    net.submit(name, net.sign(name, Approve(net.header(name), entry), Role.APPROVER))
    net.settle()  # Followers ask other nodes.
    return entry


@dataclass
class Scene:
    """The old network, and where the new one comes to stand."""

    net: Cluster
    place: Path

    @property
    def survivors(self) -> list[MemberId]:
        return list(self.net.names[:2])

    def home(self, name: str) -> str:
        return str(self.place / name)


def admit_platform(net: Cluster, directory: Path) -> Home:
    first, *others = (str(net.net.home(name)) for name in net.names[:3])
    genesis = str(net.net.home(net.names[0]) / GENESIS_FILE)
    nodes = [word for url in net.net.apis.values() for word in ("--node", url)]
    facts = ["--member", "cloud", "--title", "Cloud", "--jurisdiction", "NL"]
    ran("platform", "init", str(directory), "--genesis", genesis, *facts, *nodes)
    application = str(directory / "application.json")
    proposal = said_by("propose", "admit", application, "--home", first)["proposal"]
    for other in others:
        net.settle()  # A validator a block behind the quorum would refuse a vote on it.
        ran("vote", str(proposal), "yes", "--home", other)
    return open_home(directory)


def batches(home: Home) -> list[int]:
    """The entries that this home's own replica opens, once it followed."""
    ran("follow", "--once", "--home", str(home.path), "--json")
    who = identity_of(home)
    with closing(Replica(replica_file(home), home.founding, who, allow_trial=False)) as replica:
        return [entry.index for entry in replica.folded() if entry.batch is not None]


def make_genesis(scene: Scene) -> tuple[Path, dict[str, Any]]:
    """Everybody applies, one makes it, the other survivor looks at it."""
    newcomers = [PLACES[4], PLACES[5]]
    for name in scene.survivors:
        old = str(scene.net.net.home(name))
        ran("agency", "continue", old, scene.home(name), "--chain", CHAIN)
    for name, title, sovereign in newcomers:
        facts = ["--member", name, "--title", title, "--sovereign", sovereign]
        ran("agency", "init", scene.home(name), "--chain", CHAIN, *facts)
    names = [*scene.survivors, *(name for name, _, _ in newcomers)]
    applications = [f"{scene.home(name)}/application.json" for name in names]
    out = scene.place / "genesis-2.json"
    from_first = ["--continues", str(scene.net.net.home(scene.survivors[0]))]
    words = ["--chain", CHAIN, "--out", str(out), *from_first]
    said = said_by("genesis", "make", *applications, *words)
    other = str(scene.net.net.home(scene.survivors[1]))
    shown = said_by("genesis", "show", str(out), "--against", other)
    assert shown["against"] == f"pins all {said['continues']['size']} entries of this node"
    return out, said


def settle_in(scene: Scene, genesis: Path, digest: str) -> testnet_nodes.Testnet:
    """Homes out of applications, settings and each other's peer ids; a network to start."""
    plans = [numbered_plan(place) for place in (0, 1, 4, 5)]
    ports = free_ports(plans)
    apis = {plan.member: f"http://127.0.0.1:{ports[2 * at]}" for at, plan in enumerate(plans)}
    addresses = {plan.member: f"127.0.0.1:{ports[2 * at + 1]}" for at, plan in enumerate(plans)}
    earlier = str(scene.net.net.home(scene.survivors[0]) / GENESIS_FILE)
    for name, url in apis.items():
        own_first = [url, *(other for other in apis.values() if other != url)]
        words = ["--genesis", str(genesis), "--sha256", digest, "--earlier", earlier]
        nodes = [word for node in own_first for word in ("--node", node)]
        ran("agency", "join", scene.home(name), *words, *nodes)
        (scene.place / name / "node").mkdir()
    ids = {name: peer_id_of(peer_key(scene.place / name / "node")) for name in apis}
    for name, url in apis.items():
        peers = tuple(Peer(p, ids[p], addresses[p], apis[p]) for p in apis if p != name)
        settings = Settings(url.removeprefix("http://"), addresses[name], peers, block_ms=BLOCK_MS)
        write_settings(scene.place / name / "node", settings)
    described = {"chain": CHAIN, "nodes": apis}
    (scene.place / TESTNET_FILE).write_text(json.dumps(described))
    return testnet_nodes.Testnet(scene.place)


def refuse_a_short_one(scene: Scene, platform: Home) -> None:
    """Who proved more of the log than a genesis pins does not take it, whoever signed it."""
    old = platform.founding
    with closing(Replica(replica_file(platform), old, None, allow_trial=False)) as replica:
        size = replica.size - 1
        root = replica.root_at(size)
    ours = open_home(Path(scene.home(scene.survivors[0]))).founding.genesis
    raw = continue_genesis(
        old, size, root, CHAIN, ours.time_ms, TRIAL_PARAMETERS, list(ours.agencies)
    )
    short = scene.place / "short.json"
    short.write_bytes(raw)
    words = ["--home", str(platform.path), "--sha256", sha256(raw).hex()]
    with pytest.raises(Unproven, match=r"follow\.rollback"):
        ran("genesis", "adopt", str(short), *words)
    assert open_home(platform.path).founding == old


def test_two_of_four_are_lost_and_two_go_on_with_two_newcomers(tmp_path: Path) -> None:
    with cluster(tmp_path / "old") as net:
        scene = Scene(net, tmp_path / "new")
        scene.place.mkdir()
        platform = admit_platform(net, tmp_path / "cloud")
        run_keepers([net.homes[name] for name in net.names])
        first = publish(net, net.names[2], "one")
        before = batches(platform)
        assert before == [first]
        net.settle()
        unsaid = net.vote(net.names[0])  # Signed for the old chain, and never ordered.
        for name in net.names[2:]:  # For good: disks and keys.
            net.kill(name)
            shutil.rmtree(net.net.home(name))
        net.net.stop(scene.survivors)

        genesis, said = make_genesis(scene)
        for name in scene.survivors:
            old = str(net.net.home(name))
            with pytest.raises(Malformed, match=r"node\.continued"):
                ran("node", "run", "--engine", "cometbft", "--home", old)
        new = settle_in(scene, genesis, said["sha256"])
        try:
            go_on(scene, new, platform, genesis, unsaid, before)
        finally:
            new.stop(new.names)


def go_on(
    scene: Scene,
    new: testnet_nodes.Testnet,
    platform: Home,
    genesis: Path,
    unsaid: bytes,
    before: list[int],
) -> None:
    net, pinned = scene.net, json.loads(genesis.read_text())["continues"]["size"]
    for name in scene.survivors:
        ran("node", "inherit", "--home", scene.home(name), "--from", str(net.net.home(name)))
    new.start(scene.survivors)
    newcomers = [name for name in new.names if name not in scene.survivors]
    for name in newcomers:
        said = said_by("node", "inherit", "--home", scene.home(name))
        assert (said["entries"], said["blobs_lacking"]) == (pinned, 0)
    new.start(newcomers)
    new.wait_cosigned()
    homes = {name: open_home(new.home(name)) for name in new.names}
    after = Cluster(new, homes)
    after.settle()
    with pytest.raises(Rejected, match=r"bad_signature"):
        after.submit(scene.survivors[0], unsaid)
    run_keepers(list(homes.values()))
    entry = publish(after, newcomers[0], "two")
    assert entry > max(net.acknowledged)

    refuse_a_short_one(scene, platform)
    digest = homes[newcomers[0]].founding.digest.hex()
    nodes = [word for url in new.apis.values() for word in ("--node", url)]
    ran("genesis", "adopt", str(genesis), "--home", str(platform.path), "--sha256", digest, *nodes)
    platform = open_home(platform.path)
    assert batches(platform) == [*before, entry]
    said = said_by("log", "verify", new.apis[newcomers[1]], "--sha256", digest)
    assert (said["chain"], said["size"] > entry) == (CHAIN, True)
