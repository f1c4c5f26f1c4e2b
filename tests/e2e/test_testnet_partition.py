"""Four real validators, each in a network namespace of its own, and the cable between them cut."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from accord.cli.testnet_nodes import numbered_plan
from accord.client.home import open_home
from accord.replica.replica import Replica, sync_any
from accord.wire.errors import AccordError, Unproven
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import FRESH_MS_MAX
from netns_kit import Wires, found_apart, wired
from testnet_kit import BLOCK_MS, Cluster, now_ms, require_cometbft, wait_for

PLACES = range(4)
HEAL_S = 60


@dataclass
class Parted:
    """The network, its wires, and callers that wait for an answer."""

    net: Cluster
    wires: Wires
    callers: ThreadPoolExecutor

    def ask(self, place: int) -> "Future[int]":
        """Somebody at this place speaks, and says it again until there is an answer."""
        return self.callers.submit(self._speak, self.net.names[place])

    def _speak(self, name: MemberId) -> int:
        raw = self.net.vote(name)
        until = time.monotonic() + 2 * HEAL_S
        with self.net.client(name, sleep=lambda _: None) as client:
            while True:
                try:
                    entry = client.submit(raw)
                except AccordError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
                else:
                    self.net.acknowledged[entry] = raw
                    return entry

    def sizes(self) -> list[int]:
        return [node.log_size for node in self.net.net.status()]

    def health(self, place: int) -> tuple[int, str]:
        url = self.net.net.apis[self.net.names[place]]
        answer = httpx.get(f"{url}/healthz", timeout=5, trust_env=False)
        return answer.status_code, answer.json().get("error", {}).get("code", "")


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parted]:
    require_cometbft()
    place = tmp_path_factory.mktemp("parted") / "net"
    with wired(len(PLACES)) as wires, ThreadPoolExecutor(8) as callers:
        net = found_apart(place, [numbered_plan(n) for n in PLACES], wires, BLOCK_MS)
        try:
            net.start(net.names)
            net.wait_cosigned()
            cluster = Cluster(net, {name: open_home(net.home(name)) for name in net.names})
            cluster.open_proposal()
            yield Parted(cluster, wires, callers)
        finally:
            wires.part(())
            net.stop(net.names)


def test_half_and_half_halt_three_go_on_and_all_meet_again(parted: Parted, tmp_path: Path) -> None:
    net, wires, cut = parted.net, parted.wires, PLACES[-1]
    net.settle()

    wires.part((2, 3))
    before = parted.sizes()
    asked = [parted.ask(place) for place in PLACES]
    wait_for(lambda: all(parted.health(place)[0] == 503 for place in PLACES), 40)
    assert {parted.health(place) for place in PLACES} == {(503, "node.no_quorum")}
    assert parted.sizes() == before, "two of four decided something"
    assert not any(answer.done() for answer in asked), "acknowledged without a quorum"

    wires.part((cut,))
    for answer in asked[:cut]:
        answer.result(HEAL_S)
    for place in PLACES[:cut]:
        parted.ask(place).result(HEAL_S)
    wait_for(lambda: len(set(parted.sizes()[:cut])) == 1, 20)
    assert parted.sizes()[cut] == before[cut] < parted.sizes()[0]
    assert parted.health(cut) == (503, "node.no_quorum")
    assert not asked[cut].done(), "one of four acknowledges nothing"
    _its_follower_is_told(parted, tmp_path / "replica")

    healed = time.monotonic()
    wires.part(())
    asked[cut].result(HEAL_S)
    net.settle(HEAL_S)
    assert time.monotonic() - healed < HEAL_S
    for name in net.names:  # Everybody's leaves, under one root for each size.
        net.check(name)


def _its_follower_is_told(parted: Parted, replica: Path) -> None:
    """Who follows the lonely node alone sees its list grow old, by the quorum's own times; who also
    asks another is not turned back.
    """
    net, first, last = parted.net, parted.net.names[0], parted.net.names[-1]
    founding = net.homes[last].founding
    with (
        closing(Replica(replica, founding, None, allow_trial=False)) as follower,
        net.client(last) as lonely,
        net.client(first) as other,
    ):
        sync_any(follower, [lonely], now_ms())
        size, age_ms = follower.size, follower.freshness(now_ms()).age_ms
        assert size < net.status()[first].log_size
        later = TimeMs(now_ms() - age_ms + FRESH_MS_MAX + 1_000)
        assert follower.freshness(later).alarm, "an hour after the others' last signature"
        sync_any(follower, [other], now_ms())
        assert follower.size > size
        assert not follower.freshness(later).alarm, "the others sign on"
        with pytest.raises(Unproven, match=r"follow\.rollback"):
            sync_any(follower, [lonely], now_ms())
        _, lies = sync_any(follower, [lonely, other], now_ms())
        assert [(name, err.code) for name, err in lies] == [(lonely.name, "follow.rollback")]
