"""Negative control: two of four agencies lie, and a fork is not prevented. It is found, and proved.

Both liars run twice over the same keys, each time with one of the two honest agencies, as if the
network between those two were cut. Both halves have their three of four: two logs of one genesis,
each whole, each signed by a quorum. Nothing could stop that; what must not be is that it stays
unseen once anybody sees both.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accord.cli.testnet_nodes import Testnet as Network  # Not a test, whatever its name.
from accord.cli.testnet_nodes import found_testnet, free_ports, numbered_plan
from accord.client.home import open_home
from accord.ledger.block import Ledger
from accord.ledger.views import cosigners
from accord.statements.bodies import Role
from accord.tlog import verify_checkpoint
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.tlog.policy import consortium_policy
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId
from testnet_kit import BLOCK_MS, Cluster, accord, require_cometbft, wait_for

EXIT_FOUND = 3
STATEMENTS = 3


@dataclass
class Fork:
    """`here` and `there` are the two halves; the liars run in both, from the same keys."""

    here: Cluster
    there: Cluster
    honest: MemberId
    other: MemberId
    liars: tuple[MemberId, MemberId]


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    require_cometbft()
    place = tmp_path_factory.mktemp("fork")
    plans = [numbered_plan(number) for number in range(4)]
    ports = free_ports([*plans, *plans])
    here = found_testnet(place / "here", plans, ports[:8], BLOCK_MS)
    shutil.copytree(place / "here", place / "there")
    for file in (place / "there").rglob("*.*"):
        if file.name in ("testnet.json", "home.toml", "node.toml"):
            move(file, ports)
    halves = (here, Network((place / "there").resolve()))
    honest, liar, second, other = here.names
    try:
        running = [
            half(net, (name, liar, second))
            for net, name in zip(halves, (honest, other), strict=True)
        ]
        yield Fork(running[0], running[1], honest, other, (liar, second))
    finally:
        for net in halves:
            net.stop(net.names)


def move(file: Path, ports: list[int]) -> None:
    """The second half listens elsewhere."""
    text = file.read_text()
    for old, new in zip(ports[:8], ports[8:], strict=True):
        text = text.replace(f":{old}", f":{new}")
    file.write_text(text)


def half(net: Network, names: tuple[MemberId, ...]) -> Cluster:
    """Three nodes that order and sign as if there were no fourth, and what they were told."""
    homes = {name: open_home(net.home(name)) for name in net.names}
    cluster = Cluster(net, homes)
    net.start(names)
    wait_for(lambda: all((net._ask(name) or {}).get("quorum") for name in names), 60)
    cluster.open_proposal(names[0])
    for _ in range(STATEMENTS - 1):
        cluster.submit(names[0], cluster.vote(names[0]))
    wait_for(lambda: sizes(net, names) == {STATEMENTS}, 30)
    return cluster


def sizes(net: Network, names: tuple[MemberId, ...]) -> set[int]:
    return {node.cosigned_size for node in net.status() if node.name in names}


def evidence(net: Network, name: MemberId) -> tuple[int, dict[str, Any]]:
    done = accord("evidence", "--home", str(net.home(name)), "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def is_a_quorums(net: Cluster, note: str) -> int:
    """The size of a head that the founding quorum signed, by nothing but the genesis."""
    founding = next(iter(net.homes.values())).founding
    state = Ledger.founded(founding.genesis).state
    policy = consortium_policy((), cosigners(state, founding.genesis.chain))
    return verify_checkpoint(note.encode(), policy, founding.genesis.chain).size


def test_a_follower_that_sees_both_refuses_and_keeps_the_proof(fork: Fork) -> None:
    home = fork.here.net.home(fork.honest)
    code, found = evidence(fork.here.net, fork.honest)
    assert (code, any(found.values())) == (0, False)
    with nodes_of(home, [fork.there.net.apis[fork.other]]):
        done = accord("follow", "--home", str(home), "--once")
        assert done.returncode == 1
        assert "accord: follow.split_view: " in done.stderr
    code, found = evidence(fork.here.net, fork.honest)
    assert code == EXIT_FOUND
    (note,) = found["second_heads"]
    with fork.here.client(fork.honest) as client:
        own = client.fetch_checkpoint().decode()
    assert is_a_quorums(fork.here, note) == is_a_quorums(fork.here, own) == STATEMENTS
    roots = {parse_checkpoint(parse_note(text.encode()).text).root for text in (note, own)}
    assert len(roots) == 2, "one size, two roots, both with the quorum's signatures"


@contextmanager
def nodes_of(home: Path, urls: list[str]) -> Iterator[None]:
    """A home that knows other nodes for a while."""
    file = home / "home.toml"
    before = file.read_text()
    kept = [line for line in before.splitlines() if not line.startswith("nodes")]
    file.write_text("\n".join([*kept, f"nodes = {json.dumps(urls)}"]) + "\n")
    try:
        yield
    finally:
        file.write_text(before)


def test_honest_nodes_that_meet_again_say_so_and_stop(fork: Fork) -> None:
    """The cut heals: the honest agency of the other half reaches this half's nodes."""
    here, there = fork.here.net, fork.there.net
    there.stop(there.names)
    settings = there.home(fork.other) / "node" / "node.toml"
    apart = settings.read_bytes()
    settings.write_bytes((here.home(fork.other) / "node" / "node.toml").read_bytes())
    cut, there.apis[fork.other] = there.apis[fork.other], here.apis[fork.other]
    with suppress(Unavailable):  # It may stop before it has answered once.
        there.start([fork.other])
    log = there.directory / "logs" / f"{fork.other}.log"
    wait_for(lambda: "accord: node.diverged: " in log.read_text(), 60)
    wait_for(lambda: there.pid(fork.other) is None, 30)
    # What it saw it has kept. Alone again it serves it, and whoever asks it takes it home.
    settings.write_bytes(apart)
    there.apis[fork.other] = cut
    there.start([fork.other])
    code, found = evidence(there, fork.other)
    assert code == EXIT_FOUND
    home = fork.there.homes[fork.other]
    keys = {name: home_key(fork, name).hex() for name in here.names}
    named = {split["cosigner"] for split in found["splits"]}
    assert len(named) >= 2, "more than a third"
    assert named <= {keys[name] for name in (fork.honest, *fork.liars)}
    for split in found["splits"]:
        note = parse_note(split["note"].encode())
        assert parse_checkpoint(note.text).origin == home.chain
        assert note.lines, "the note is the proof: its lines verify with the cosigner's key"
    assert here.pid(fork.honest) is not None, "one of four that differs stops nobody"


def home_key(fork: Fork, name: MemberId) -> bytes:
    return fork.here.homes[name].key(Role.COSIGNER).public
