"""A consortium on this machine: homes, addresses, node processes that outlive the command.

    DIR/testnet.json        which agencies, which addresses
    DIR/AGENCY/             its home, with its node's directory in it
    DIR/logs/AGENCY.log     what its node says

Everything is what agencies run, but for two things: one person holds everybody's keys, and all
nodes stand on one machine.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from accord.agency.founding import AgencyPlan, found_homes
from accord.client.files import write_durably
from accord.client.home import open_home
from accord.node.settings import (
    BLOCK_MS,
    NODE_DIRECTORY,
    RUNNING_FILE,
    STORE_FILE,
    Peer,
    Settings,
    peer_id_of,
    peer_key,
    write_settings,
)
from accord.node.store import LogReader
from accord.wire.errors import AccordError, Malformed, Unavailable
from accord.wire.ids import ChainId, JurisdictionId, MemberId, TimeMs

TESTNET_FILE: Final = "testnet.json"
START_WAIT_S: Final = 60.0
STOP_WAIT_S: Final = 30.0
ASK_S: Final = 3.0
PLACES: Final = (
    ("nl-police", "Police of the Netherlands (test)", "NL"),
    ("ie-garda", "Garda of Ireland (test)", "IE"),
    ("ca-mounted", "Mounted Police of Canada (test)", "CA"),
    ("de-bka", "Federal Criminal Police of Germany (test)", "DE"),
    ("fr-ofmin", "Office for Minors of France (test)", "FR"),
    ("se-noa", "National Operations of Sweden (test)", "SE"),
    ("nl-marechaussee", "Marechaussee of the Netherlands (test)", "NL"),
)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node, from its API while it runs, else from what it left on disk."""

    name: MemberId
    running: bool
    height: int
    log_size: int
    log_root: str
    cosigned_size: int


class Testnet:
    """A test network that was founded under `directory`."""

    def __init__(self, directory: Path) -> None:
        """Raises: Malformed, where there is none."""
        try:
            value: Any = json.loads((directory / TESTNET_FILE).read_bytes())
            self.apis = {MemberId(name): str(url) for name, url in value["nodes"].items()}
            self.chain = ChainId(value["chain"])
        except (OSError, ValueError, KeyError, AttributeError) as err:
            mend = "accord testnet up, or --dir"
            raise Malformed("testnet.missing", path=str(directory), mend=mend) from err
        self.directory = directory
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def names(self) -> tuple[MemberId, ...]:
        return tuple(self.apis)

    def home(self, name: MemberId) -> Path:
        return self.directory / name

    def node(self, name: str) -> MemberId:
        """Raises: Malformed, for a node that is not of this network."""
        if name not in self.apis:
            raise Malformed("testnet.node", got=name, known=", ".join(self.apis))
        return MemberId(name)

    def start(self, names: Sequence[MemberId]) -> None:
        """Start these nodes' processes; on return each answers. Raises: Unavailable."""
        starting: dict[MemberId, subprocess.Popen[bytes]] = {}
        for name in names:
            if self.pid(name) is None:
                starting[name] = self._spawn(name)
        deadline = time.monotonic() + START_WAIT_S
        for name, process in starting.items():
            while self._ask(name) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable("testnet.not_started", node=name, log=str(self._log(name)))
                time.sleep(0.05)

    def wait_cosigned(self, wait_s: float = START_WAIT_S) -> None:
        """Until every node serves a head that the quorum signed. Raises: Unavailable."""
        deadline = time.monotonic() + wait_s
        for name in self.names:
            while not (self._ask(name) or {}).get("quorum"):
                if time.monotonic() > deadline:
                    raise Unavailable("testnet.no_quorum", node=name, log=str(self._log(name)))
                time.sleep(0.1)

    def kill(self, name: MemberId) -> bool:
        """End a node's process and its engine's at once, as power loss would; whether it ran."""
        pid = self.pid(name)
        if pid is None:
            return False
        for end in (os.killpg, os.kill):  # Its group, so that the engine goes with it.
            with suppress(ProcessLookupError):
                end(pid, signal.SIGKILL)
        self._wait_gone(name, pid)
        return True

    def stop(self, names: Sequence[MemberId]) -> None:
        """Stop these nodes cleanly. Raises: Unavailable, where one does not end."""
        pids = {name: pid for name in names if (pid := self.pid(name)) is not None}
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        for name, pid in pids.items():
            self._wait_gone(name, pid)
        self._reap()

    def pid(self, name: MemberId) -> int | None:
        """The process id of a node that runs."""
        try:
            running = json.loads((self._node(name) / RUNNING_FILE).read_bytes())
            pid = int(running["pid"])
            os.kill(pid, 0)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, KeyError):
            return None
        # A node that was killed leaves its file behind, and its number may be somebody else's.
        return pid if str(self.home(name)).encode() in command else None

    def status(self) -> list[NodeStatus]:
        return [self._status(name) for name in self.names]

    def _status(self, name: MemberId) -> NodeStatus:
        is_running = self.pid(name) is not None
        said = self._ask(name) if is_running else None
        if said is None:
            said = self._read(name)
        return NodeStatus(
            name,
            is_running,
            int(said["height"]),
            int(said["log_size"]),
            str(said["log_root"]),
            int(said["cosigned_size"]),
        )

    def _ask(self, name: MemberId) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"{self.apis[name]}/status", timeout=ASK_S, trust_env=False)
            value = answer.json()
        except (httpx.HTTPError, ValueError):
            return None
        return value if answer.status_code == 200 and value.get("chain") == self.chain else None

    def _read(self, name: MemberId) -> dict[str, Any]:
        """What a node that does not answer left on disk."""
        path = self._node(name) / STORE_FILE
        try:
            reader = LogReader(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
        except sqlite3.Error:
            return {"height": 0, "log_size": 0, "log_root": "", "cosigned_size": 0}
        try:
            head = reader.head()
            return {
                "height": reader.height,
                "log_size": reader.size,
                "log_root": reader.root.hex(),
                "cosigned_size": 0 if head is None else head[0],
            }
        except AccordError:
            return {"height": 0, "log_size": 0, "log_root": "", "cosigned_size": 0}
        finally:
            reader.close()

    def command(self, name: MemberId) -> list[str]:
        """What runs this node."""
        command = [sys.executable, "-m", "accord.cli.main", "node", "run"]
        return [*command, "--engine", "cometbft", "--home", str(self.home(name))]

    def _spawn(self, name: MemberId) -> subprocess.Popen[bytes]:
        self._reap()
        (self._node(name) / RUNNING_FILE).unlink(missing_ok=True)
        self._log(name).parent.mkdir(exist_ok=True)
        command = self.command(name)
        with self._log(name).open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - this program's own command.
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children[child.pid] = child
        return child

    def _reap(self) -> None:
        """A node that ended by itself is not left as a zombie."""
        for child in self._children.values():
            child.poll()

    def _wait_gone(self, name: MemberId, pid: int) -> None:
        deadline = time.monotonic() + STOP_WAIT_S
        while _is_alive(pid):
            if time.monotonic() > deadline:
                raise Unavailable("testnet.not_stopped", node=name, pid=pid)
            time.sleep(0.02)
        if pid in self._children:
            self._children.pop(pid).wait()

    def _node(self, name: MemberId) -> Path:
        return self.home(name) / NODE_DIRECTORY

    def _log(self, name: MemberId) -> Path:
        return self.directory / "logs" / f"{name}.log"


def found_testnet(
    directory: Path, plans: Sequence[AgencyPlan], ports: Sequence[int], block_ms: int
) -> Testnet:
    """Homes, keys, genesis and settings of a new network. `ports`: two for each agency.

    Raises: Malformed, where something else is there.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Malformed("testnet.directory", path=str(directory), mend="an empty directory")
    directory = directory.resolve()
    chain = ChainId(f"testnet-{_word(directory.name)}-{os.urandom(4).hex()}")
    apis = {p.member: f"http://127.0.0.1:{ports[2 * i]}" for i, p in enumerate(plans)}
    addresses = {p.member: f"127.0.0.1:{ports[2 * i + 1]}" for i, p in enumerate(plans)}
    own_first = {name: [url, *(u for u in apis.values() if u != url)] for name, url in apis.items()}
    now = TimeMs(time.time_ns() // 1_000_000)
    homes = found_homes(directory, chain, plans, now, own_first)
    for name in homes:
        (directory / name / NODE_DIRECTORY).mkdir()
    ids = {name: peer_id_of(peer_key(directory / name / NODE_DIRECTORY)) for name in homes}
    for name in homes:
        peers = tuple(Peer(p, ids[p], addresses[p], apis[p]) for p in homes if p != name)
        api = apis[name].removeprefix("http://")
        settings = Settings(api, addresses[name], peers, block_ms=block_ms)
        write_settings(directory / name / NODE_DIRECTORY, settings)
        open_home(directory / name)
    # Crash up to here: a directory without testnet.json is not a network.
    described = {"chain": chain, "nodes": apis}
    write_durably(directory / TESTNET_FILE, json.dumps(described, indent=2).encode() + b"\n")
    return Testnet(directory)


def numbered_plan(number: int) -> AgencyPlan:
    """A test network's agency by its place: real jurisdictions, made-up members."""
    name, title, sovereign = PLACES[number % len(PLACES)]
    lap = number // len(PLACES)
    where = JurisdictionId(sovereign)
    suffix = f"-{lap + 1}" if lap else ""
    return AgencyPlan(MemberId(name + suffix), title + suffix, where, (where,))


def free_ports(plans: Sequence[AgencyPlan]) -> list[int]:
    """Two loopback ports for each, free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2 * len(plans))]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24].strip("-") or "local"


def _is_alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


DEFAULT_BLOCK_MS: Final = BLOCK_MS
