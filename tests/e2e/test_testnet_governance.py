"""Who orders and signs changes while the consortium runs: a fifth agency, a new key, one out.

Real CometBFT validators. Each step is proved by what would be impossible without it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF, AgencyPlan, agency_application, make_keys
from accord.cli.demo.processes import free_port
from accord.cli.testnet_nodes import TESTNET_FILE
from accord.client.home import GENESIS_FILE, create_home, new_key, open_home, store_key
from accord.node.abci_app import address_of
from accord.statements.bodies import (
    AdmitAgency,
    Keyset,
    Propose,
    RemoveAgency,
    Role,
    Vote,
)
from accord.wire.ids import JurisdictionId, MemberId, OperatorId
from testnet_kit import Cluster, accord, accord_json, cluster, wait_for

FIFTH = MemberId("fr-ofmin")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("gov") / "net") as running:
        yield running


def validators(net: Cluster) -> set[str]:
    with net.rpc(net.names[0]) as ask:
        return {item["address"] for item in ask("validators")["validators"]}


def address(net: Cluster, name: MemberId) -> str:
    return address_of(net.homes[name].key(Role.CONSENSUS).public).hex().upper()


def decide(net: Cluster, action: AdmitAgency | RemoveAgency, voters: tuple[MemberId, ...]) -> None:
    """A proposal by the first of them, and the votes of the others."""
    proposer, *others = voters
    raw = net.sign(proposer, Propose(net.header(proposer), action), Role.GOVERNOR)
    entry = net.submit(proposer, raw)
    net.settle()  # A validator a block behind the quorum would refuse a vote on it.
    for name in others:
        vote = Vote(net.header(name), entry, approve=True)
        net.submit(name, net.sign(name, vote, Role.GOVERNOR))


def prepare_fifth(net: Cluster) -> AdmitAgency:
    """A fifth agency's home and node, and everybody's cards, by the commands they would use."""
    first = net.homes[net.names[0]]
    where = JurisdictionId("FR")
    keys = make_keys(AGENCY_STAFF)
    plan = AgencyPlan(FIFTH, "Office for Minors of France (test)", where, (where,))
    path = net.net.home(FIFTH)
    genesis = (first.path / GENESIS_FILE).read_bytes()
    api, listen = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    urls = [f"http://{api}", *net.net.apis.values()]
    net.homes[FIFTH] = create_home(path, "agency", FIFTH, genesis, urls, keys)
    prepare = ["--listen", api, "--peers-listen", listen]
    assert accord("node", "prepare", "--home", str(path), *prepare).returncode == 0
    card = accord("node", "card", "--home", str(path), "--address", listen, "--api", urls[0])
    (path / "card.json").write_text(card.stdout)
    for name in net.names:
        home = str(net.net.home(name))
        done = accord_json("node", "peer", "--home", home, str(path / "card.json"))
        assert FIFTH in done["peers"]
        settings = (net.net.home(name) / "node" / "node.toml").read_text()
        engine = settings.partition("[engine]")[2].split('listen = "')[1].split('"')[0]
        own = accord(
            "node", "card", "--home", home, "--address", engine, "--api", net.net.apis[name]
        )
        (path / f"{name}.json").write_text(own.stdout)
        assert accord("node", "peer", "--home", str(path), str(path / f"{name}.json")).stdout
        net.net.stop([name])
        net.restart(name)
        wait_for(lambda n=name: net.net._ask(n)["quorum"], 60)  # type: ignore[misc, index]
    file = net.net.directory / TESTNET_FILE
    described = json.loads(file.read_bytes())
    described["nodes"][FIFTH] = urls[0]
    file.write_text(json.dumps(described))
    net.net.apis[FIFTH] = urls[0]
    return agency_application(net.homes[FIFTH].chain, plan, keys)


def test_a_fifth_agency_orders_and_signs(net: Cluster) -> None:
    four = net.names
    application = prepare_fifth(net)
    decide(net, application, four[:3])
    wait_for(lambda: address(net, FIFTH) in validators(net), 30)
    net.restart(FIFTH)
    net.settle(90)
    # Four of five are needed, to order as to sign: without the fifth this could not be.
    net.kill(four[3])
    net.submit(FIFTH, net.vote(FIFTH))
    net.restart(four[3])
    net.settle(90)
    view = accord_json("members", "--home", str(net.homes[FIFTH].path))
    assert {item["id"] for item in view["agencies"]} == {*four, FIFTH}


def test_a_consensus_key_is_rotated_while_everybody_works(net: Cluster) -> None:
    name = net.names[1]
    home, old = net.homes[name], address(net, name)
    new = new_key(Role.CONSENSUS, OperatorId("second"))
    keys = [key for key in home.keys if key.role is not Role.CONSENSUS]
    public = tuple(sorted(key.role_key(home.chain, name) for key in (*keys, new)))
    net.submit(name, net.sign(name, Keyset(net.header(name), 2, public), Role.ROOT))
    net.net.stop([name])
    (home.path / "keys" / "consensus.node.key").unlink()
    store_key(home.path, new)
    net.homes[name] = open_home(home.path)
    wait_for(lambda: old not in validators(net), 60)
    assert address(net, name) in validators(net)
    net.restart(name)
    net.settle(90)
    net.kill(net.names[2])  # Four of five again: the new key has to sign.
    net.submit(name, net.vote(name))
    net.restart(net.names[2])
    net.settle(90)


def test_a_removed_agency_orders_and_signs_no_more(net: Cluster) -> None:
    out = net.names[3]
    stay = tuple(name for name in net.names if name != out)
    decide(net, RemoveAgency(out), stay)
    wait_for(lambda: address(net, out) not in validators(net), 60)
    assert len(validators(net)) == 4
    net.kill(out)
    net.kill(FIFTH)  # Three of the four that are left.
    net.submit(stay[0], net.vote(stay[0]))
    net.restart(FIFTH)
    net.settle(90)


def test_a_stranger_verifies_through_every_change(net: Cluster, tmp_path: Path) -> None:
    digest = net.homes[net.names[0]].founding.digest.hex()
    for name in (net.names[0], FIFTH):
        done = accord("log", "verify", net.net.apis[name], "--sha256", digest, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["size"] > max(net.acknowledged)
    assert not list(tmp_path.iterdir())
