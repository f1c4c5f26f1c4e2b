"""Nodes of a test network, each in a network namespace of its own, on wires that a test cuts.

Every node has two wires: one to a bridge, over which nodes and engines meet, and one to us, over
which its API is asked however the others are parted. A wire that is cut is silent: nobody is told
that the other end is gone. It needs root and `ip`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.founding import AgencyPlan
from accord.cli.testnet_nodes import TESTNET_FILE, found_testnet
from accord.cli.testnet_nodes import Testnet as Network  # Not a test, whatever its name.
from accord.client.home import HOME_FILE
from accord.node.settings import NODE_DIRECTORY, Peer, load_settings, split_address, write_settings
from accord.wire.ids import MemberId

PORT = 7_000
MEET = "198.18.77"  # RFC 2544: for tests, and nobody's.
DOOR = "198.19"


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Wires:
    """So many namespaces, and what connects them."""

    def __init__(self, count: int) -> None:
        self._mark = f"ac{os.getpid()}"
        self._count = count
        self._bridges = (f"{self._mark}x", f"{self._mark}y")

    def space(self, place: int) -> str:
        return f"{self._mark}-{place}"

    def lay(self) -> None:
        for bridge in self._bridges:
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")
        for place in range(self._count):
            space = self.space(place)
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
            for wire, inside in (("m", "meet"), ("d", "door")):
                ends = [f"{self._mark}{wire}{place}", "type", "veth", "peer", inside]
                ip("link", "add", *ends, "netns", space)
                ip("link", "set", ends[0], "up")
                ip("-n", space, "link", "set", inside, "up")
            ip("link", "set", f"{self._mark}m{place}", "master", self._bridges[0])
            ip("-n", space, "addr", "add", f"{meeting(place)}/24", "dev", "meet")
            ip("addr", "add", f"{DOOR}.{place}.1/30", "dev", f"{self._mark}d{place}")
            ip("-n", space, "addr", "add", f"{door(place)}/30", "dev", "door")

    def part(self, others: Sequence[int]) -> None:
        """These places meet on another bridge than the rest; none, and all meet again."""
        for place in range(self._count):
            bridge = self._bridges[place in others]
            ip("link", "set", f"{self._mark}m{place}", "master", bridge)

    def clear(self) -> None:
        for place in range(self._count):  # A namespace takes its ends of the wires with it.
            with suppress(AssertionError):
                ip("netns", "del", self.space(place))
        for bridge in self._bridges:
            with suppress(AssertionError):
                ip("link", "del", bridge)


def meeting(place: int) -> str:
    return f"{MEET}.{place + 1}"


def door(place: int) -> str:
    return f"{DOOR}.{place}.2"


class SpacedNetwork(Network):
    """A test network whose nodes run in the namespaces of `wires`."""

    def __init__(self, directory: Path, wires: Wires) -> None:
        super().__init__(directory)
        self._wires = wires

    def command(self, name: MemberId) -> list[str]:
        space = self._wires.space(self.names.index(name))
        return ["ip", "netns", "exec", space, *super().command(name)]


@contextmanager
def wired(count: int) -> Iterator[Wires]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a partition: network namespaces need root and `ip` (Debian: iproute2)")
    wires = Wires(count)
    try:
        try:
            wires.lay()
        except AssertionError as err:
            pytest.skip(f"a partition: no network namespaces here ({str(err)[:120]})")
        yield wires
    finally:
        wires.clear()


def found_apart(
    directory: Path, plans: Sequence[AgencyPlan], wires: Wires, block_ms: int
) -> SpacedNetwork:
    """A test network as `found_testnet` makes it, but that its nodes live in the namespaces."""
    ports = range(PORT, PORT + 2 * len(plans))
    net = found_testnet(directory, plans, ports, block_ms)
    places = {name: place for place, name in enumerate(net.names)}
    for name, place in places.items():
        node = net.home(name) / NODE_DIRECTORY
        settings = load_settings(node)
        peers = tuple(_moved(peer, meeting(places[peer.agency])) for peer in settings.peers)
        api, listen = (split_address(at)[1] for at in (settings.api, settings.peers_listen))
        at = replace(settings, api=f"0.0.0.0:{api}", peers_listen=f"{meeting(place)}:{listen}")
        write_settings(node, replace(at, peers=peers))
    files = [net.directory / TESTNET_FILE, *(net.home(name) / HOME_FILE for name in net.names)]
    for file in files:
        text = file.read_text()
        for place in places.values():
            port = ports[2 * place]
            text = text.replace(f"127.0.0.1:{port}", f"{door(place)}:{port}")
        file.write_text(text)
    return SpacedNetwork(net.directory, wires)


def _moved(peer: Peer, host: str) -> Peer:
    port, api = split_address(peer.address)[1], peer.api.rpartition(":")[2]
    return replace(peer, address=f"{host}:{port}", api=f"http://{host}:{api}")
