"""Other rules from an entry on, by vote, rehearsed on real CometBFT validators: three of four nodes
get the new software one after the other while all speak; the fourth stops at that entry.
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import second_fold
from accord.agency.founding import TRIAL_PARAMETERS
from accord.client.http import NodeClient
from accord.ledger.apply import FOLDS
from accord.replica.replica import Replica
from accord.statements.bodies import Parameters, Propose, Role, Vote
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId
from testnet_kit import Cluster, cluster, now_ms, wait_for

LOCK_MS = 3_000  # From the vote to its effect: this test waits for it.
UPGRADE = replace(TRIAL_PARAMETERS, fold_version=2)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "net") as running:
        yield running


def new_command(net: Cluster, upgraded: set[MemberId]) -> None:
    """The network starts the upgraded nodes as the second software."""
    original = net.net.command

    def command(name: MemberId) -> list[str]:
        if name not in upgraded:
            return original(name)
        return [sys.executable, second_fold.__file__, "--home", str(net.net.home(name))]

    net.net.command = command  # type: ignore[method-assign]  # This network, for this test.


def pass_vote(net: Cluster, action: Parameters) -> int:
    """Proposed, and approved by enough; the entry that passed it."""
    first, *others = net.names[:3]
    raw = net.sign(first, Propose(net.header(first), action), Role.GOVERNOR)
    proposal = entry = net.submit(first, raw)
    net.settle()  # A validator a block behind the quorum would refuse a vote on it.
    for name in others:
        vote = Vote(net.header(name), proposal, approve=True)
        entry = net.submit(name, net.sign(name, vote, Role.GOVERNOR))
    return entry


def is_beyond(net: Cluster, name: MemberId, entry: int) -> bool:
    """Whether a node that was away signs again, and what was said when it came back too."""
    return net.status()[name].cosigned_size > entry


def log_of(net: Cluster, name: MemberId) -> str:
    return (net.net.directory / "logs" / f"{name}.log").read_text(errors="replace")


def open_replica(net: Cluster, path: Path, folds: frozenset[int] = FOLDS) -> Replica:
    founding = net.homes[net.names[0]].founding
    return Replica(path, founding, None, allow_trial=False, folds=folds)


def follow(net: Cluster, path: Path, folds: frozenset[int] = FOLDS) -> int:
    with (
        NodeClient(net.net.apis[net.names[0]]) as client,
        closing(open_replica(net, path, folds)) as replica,
    ):
        replica.sync(client, now_ms())
        return replica.size


def test_rules_change_at_an_entry_and_who_lacks_them_stops_there(
    net: Cluster, tmp_path: Path
) -> None:
    *ready, late = net.names
    pass_vote(net, replace(TRIAL_PARAMETERS, time_lock_ms=LOCK_MS))
    upgraded = set[MemberId]()
    new_command(net, upgraded)
    with net.load():  # A rolled restart: one node at a time, and the others go on.
        for name in ready:
            net.net.stop([name])
            upgraded.add(name)
            net.restart(name)
            wait_for(partial(is_beyond, net, name, max(net.acknowledged)), 120)
    net.settle()
    old_follower, new_follower = tmp_path / "old", tmp_path / "new"
    passed = pass_vote(net, replace(UPGRADE, time_lock_ms=LOCK_MS))
    net.settle()
    assert follow(net, old_follower) == passed + 1
    assert net.status()[late].running  # Nothing happens before its entry.

    def has_stopped() -> bool:
        """A block's time is that of the votes before it, so more than one entry may be needed."""
        net.submit(ready[0], net.vote(ready[0]))
        return not net.status()[late].running

    wait_for(has_stopped, 60)
    switched = net.status()[late].log_size  # What it has on disk: all before that entry.
    assert passed < switched < max(net.acknowledged) + 1
    said = log_of(net, late)
    assert "accord: ledger.fold_version:" in said
    assert f"(entry={switched}, voted=2, here=1); mend: install the software" in said
    for name in ready:  # Three of four have it, and go on.
        net.submit(name, net.vote(name))
    with pytest.raises(Unavailable, match=r"ledger\.fold_version"):
        follow(net, old_follower)
    with closing(open_replica(net, old_follower)) as kept:
        assert kept.size == passed + 1  # What it had.
    assert follow(net, old_follower, second_fold.FOLDS) > switched
    assert follow(net, new_follower, second_fold.FOLDS) > switched

    upgraded.add(late)
    net.restart(late)
    net.settle()
    for name in net.names:  # One log, with all that was acknowledged, at every node.
        net.check(name)
