"""Emergencies, by the commands that operate.md names: a node restored from backup, a node lost for
good, a stolen root. Real CometBFT validators; one network, each test leaves it running and whole.

That the mended node orders and cosigns is proved by stopping another: three of four are needed.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.client.home import GENESIS_FILE, open_home
from accord.node.settings import load_settings
from accord.statements.bodies import Keyset, Role
from accord.wire.errors import Rejected
from accord.wire.ids import MemberId
from testnet_kit import Cluster, accord, accord_json, cluster

MACHINES = (  # What this machine held; the people hold the others. The test speaks as governor.
    (Role.CONSENSUS, "node"),
    (Role.COSIGNER, "node"),
    (Role.KEEPER, "keeper"),
    (Role.DECRYPTOR, "keeper"),
    (Role.GOVERNOR, "governor"),
)
GONE = {Role.CONSENSUS, Role.COSIGNER}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("mend") / "net") as running:
        yield running


def ran(*words: str) -> str:
    done = accord(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prove_it_counts(net: Cluster, name: MemberId, other: MemberId) -> None:
    """Start the mended node; with another one stopped the consortium needs it for everything."""
    net.homes[name] = open_home(net.net.home(name))
    net.restart(name)
    net.settle(90)
    net.kill(other)
    net.submit(name, net.vote(name))
    net.restart(other)
    net.settle(90)
    digest = net.homes[name].founding.digest.hex()
    said = accord_json("log", "verify", net.net.apis[name], "--sha256", digest)
    assert said["size"] > max(net.acknowledged)


def hand_out_card(net: Cluster, name: MemberId) -> None:
    """The others take the node's new card and start again, all at once: one short halt."""
    home = net.net.home(name)
    settings = load_settings(home / "node")
    words = ["--address", settings.peers_listen, "--api", net.net.apis[name]]
    (home / "card.json").write_text(ran("node", "card", "--home", str(home), *words))
    others = [other for other in net.names if other != name]
    for other in others:
        ran("node", "peer", "--home", str(net.net.home(other)), str(home / "card.json"))
    net.net.stop(others)
    net.net.start(others)


def test_a_node_is_restored_from_its_backup(net: Cluster, tmp_path: Path) -> None:
    name, home = net.names[1], net.net.home(net.names[1])
    old, file = net.homes[name], str(tmp_path / "one.backup")
    assert accord_json("backup", "--home", str(home), "--out", file)["member"] == name
    net.submit(name, net.vote(name))  # Both its keys sign what the backup knows nothing of.
    net.settle()
    net.kill(name)
    shutil.rmtree(home)
    digest = old.founding.digest.hex()
    said = accord_json("restore", file, str(home), "--sha256", digest)
    refused = accord("node", "run", "--engine", "cometbft", "--home", str(home))
    assert refused.returncode == 1
    assert "node.no_signer" in refused.stderr
    assert "accord keys rotate consensus node" in refused.stderr
    for line in said["next"]:
        ran(*line.split()[1:])
    new = open_home(home)
    changed = {key.role for key in old.keys} - {key.role for key in new.keys if key in old.keys}
    assert changed == GONE
    prove_it_counts(net, name, net.names[0])
    listed = accord_json("keys", "list", "--home", str(home))["keys"]
    assert all(key["is_here"] for key in listed)


def test_a_node_lost_for_good_is_rebuilt_from_the_root_alone(net: Cluster, tmp_path: Path) -> None:
    name, home = net.names[2], net.net.home(net.names[2])
    old, file = net.homes[name], str(tmp_path / "two.backup")
    ran("backup", "--home", str(home), "--out", file, "--without-keys")
    safe = tmp_path / "root.safe.key"
    shutil.copy(home / "keys" / safe.name, safe)
    net.kill(name)
    shutil.rmtree(home)
    ran("restore", file, str(home))
    (home / "keys").mkdir(mode=0o700)
    shutil.copy(safe, home / "keys" / safe.name)
    for role, operator in MACHINES:
        ran("keys", "rotate", role, operator, "--home", str(home))
    assert [key.role for key in open_home(home).keys if key in old.keys] == [Role.ROOT]
    hand_out_card(net, name)  # Its peer key was a secret too.
    prove_it_counts(net, name, net.names[1])


def test_a_stolen_root_is_replaced_by_vote(net: Cluster, tmp_path: Path) -> None:
    name, home = net.names[3], net.net.home(net.names[3])
    thief, place = net.homes[name], tmp_path / "new"
    (own,) = (item for item in thief.founding.genesis.agencies if item.agency == name)
    where = [word for place in own.jurisdictions for word in ("--jurisdiction", place)]
    made = ["--chain", thief.chain, "--member", name, "--title", own.title]
    ran("agency", "init", str(place), *made, "--sovereign", own.sovereign, *where)
    first, *others = (str(net.net.home(item)) for item in net.names[:3])
    application = str(place / "application.json")
    said = accord_json("propose", "replace-keys", application, "--home", first)
    for other in others:
        net.settle()  # A validator a block behind the quorum would refuse a vote on it.
        ran("vote", str(said["proposal"]), "yes", "--home", other)
    net.settle()

    old = thief.key(Role.ROOT)
    public = tuple(sorted(key.role_key(thief.chain, name) for key in thief.keys))
    stolen = net.sign(name, Keyset(net.header(name), 3, public), Role.ROOT)
    with pytest.raises(Rejected, match=r"reject\.unknown_key"):
        net.submit(name, stolen, by=net.names[0])

    settings = load_settings(home / "node")
    net.net.stop([name])
    home.rename(tmp_path / "old")
    genesis = ["--genesis", str(net.net.home(net.names[0]) / GENESIS_FILE)]
    genesis += ["--sha256", thief.founding.digest.hex()]
    nodes = [word for url in thief.nodes for word in ("--node", url)]
    refused = accord("agency", "join", str(place), *genesis, *nodes)
    assert "ceremony.listed_otherwise" in refused.stderr
    ran("agency", "join", str(place), *genesis, *nodes, "--keys-by-vote")
    listen = ["--listen", settings.api, "--peers-listen", settings.peers_listen]
    place.rename(home)
    ran("node", "prepare", "--home", str(home), *listen)
    for peer in settings.peers:
        card = tmp_path / f"{peer.agency}.json"
        its = ["--address", peer.address, "--api", peer.api]
        card.write_text(ran("node", "card", "--home", str(net.net.home(peer.agency)), *its))
        ran("node", "peer", "--home", str(home), str(card))
    hand_out_card(net, name)
    prove_it_counts(net, name, net.names[2])
    listed = accord_json("keys", "list", "--home", str(home))["keys"]
    assert old.key_id.hex() not in {key["key_id"] for key in listed}
