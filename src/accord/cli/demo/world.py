"""The demo's world: homes, keepers and desks in this process; node, gateway and drive beside it.

Everything is what a real consortium would run, on one machine: real keys in real homes, signed
requests, sealed batches, a gateway and a drive as processes of their own.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from accord.agency.desk import Desk
from accord.agency.founding import (
    PLATFORM_STAFF,
    AgencyPlan,
    found_trial,
    make_keys,
    platform_application,
)
from accord.agency.voice import Client, Voice
from accord.cli.assemble import AgencyBook, AnyNode, now_ms, open_keeper
from accord.cli.demo.processes import ACCORD, START_WAIT_S, Processes, free_port
from accord.cli.testnet_nodes import Testnet, found_testnet, free_ports
from accord.client.files import write_durably
from accord.client.home import GENESIS_FILE, Home, create_home, open_home
from accord.wire.errors import AccordError, Malformed, Unavailable
from accord.wire.ids import ChainId, JurisdictionId, MemberId, TimeMs

CHAIN: Final = ChainId("trial-demo.accord")
PLATFORM: Final = MemberId("clouddrive")
BLOCK_MS: Final = 300  # Of a network on one machine; between agencies a second is usual.
KEEPER_PAUSE_S: Final = 0.25
NL, IE, CA = JurisdictionId("NL"), JurisdictionId("IE"), JurisdictionId("CA")
NOORD, ZUID, WEST, EAST = (
    MemberId("nl-noord"),
    MemberId("nl-zuid"),
    MemberId("ie-west"),
    MemberId("ca-east"),
)
PLANS: Final = (
    AgencyPlan(NOORD, "Noord agency, the Netherlands", NL, (NL,)),
    AgencyPlan(WEST, "West agency, Ireland", IE, (IE,)),
    AgencyPlan(EAST, "East agency, Canada", CA, (CA,)),
    AgencyPlan(ZUID, "Zuid agency, the Netherlands", NL, (NL,)),
)
PLACES: Final = ("NL:Netherlands", "CA:Canada", "IE:Ireland")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Base URLs on loopback."""

    node: str
    gateway: str
    drive: str


class World:
    """Everything that runs. Close it, or what it started goes on."""

    def __init__(
        self,
        directory: Path,
        drive_source: Path | None,
        *,
        is_network: bool = False,
        block_ms: int = BLOCK_MS,
    ) -> None:
        """`is_network`: a CometBFT validator for each agency, in place of one trial node."""
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise Malformed("demo.directory", path=str(directory), mend="an empty directory")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.drive_source = drive_source
        self.is_network = is_network
        self._block_ms = block_ms
        self._net: Testnet | None = None
        base = "http://127.0.0.1"
        self.at = Addresses(*(f"{base}:{free_port()}" for _ in range(3)))
        self.processes = Processes(directory / "logs")
        self.homes: dict[MemberId, Home] = {}
        self._books: dict[MemberId, AgencyBook] = {}
        self._said = 0  # Entries that somebody here has read, or had acknowledged.
        self._noting = threading.Lock()
        self._keepers: Keepers | None = None
        self._http = httpx.Client(timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.stop_keepers()
        self.processes.stop()
        for book in self._books.values():
            book.close()
        if self._net is not None:
            self._net.stop(self._net.names)
        self._http.close()

    def found(self) -> str:
        """Four agencies' homes and a genesis; its digest."""
        now = TimeMs(time.time_ns() // 1_000_000)
        agencies = self.directory / "consortium"
        if self.is_network:
            self._net = found_testnet(agencies, PLANS, free_ports(PLANS), self._block_ms)
            self.homes = {name: open_home(self._net.home(name)) for name in self._net.names}
            self.at = replace(self.at, node=self._net.apis[NOORD])
            return self.homes[NOORD].founding.digest.hex()
        self.homes = found_trial(agencies, CHAIN, PLANS, now, [self.at.node])
        node = agencies / "node"
        node.mkdir()
        home = self.homes[NOORD]
        write_durably(node / GENESIS_FILE, (home.path / GENESIS_FILE).read_bytes())
        return home.founding.digest.hex()

    def start_node(self) -> None:
        if self._net is not None:
            self._net.start(self._net.names)
            self._net.wait_cosigned()
        else:
            directory = self.directory / "consortium" / "node"
            port = self.at.node.rpartition(":")[2]
            command = [*ACCORD, "node", "run", "--dir", str(directory), "--port", port]
            self.processes.start("node", command, f"{self.at.node}/healthz")
        self._keepers = Keepers(list(self.homes.values()))
        self._keepers.start()

    def node_directories(self) -> list[Path]:
        """Where the nodes, which are blind, keep all they know."""
        consortium = self.directory / "consortium"
        return sorted(consortium.glob("*/node")) if self.is_network else [consortium / "node"]

    def stop_keepers(self) -> None:
        """No new group keys, and no new members' wraps, from here on."""
        if self._keepers is not None:
            self._keepers.stop()
            self._keepers = None

    def book(self, member: MemberId) -> AgencyBook:
        """An agency's own verified view, once it holds all that anybody was seen to say here.

        A checkpoint needs a quorum only: the last validator may be a block behind it, shows less
        and refuses a word on what it has not seen yet. Raises: Unavailable.
        """
        if member not in self._books:
            self._books[member] = AgencyBook(self.homes[member], allow_trial=True)
        mine, said = self._books[member], self._said
        mine.sync()

        def is_even() -> bool:
            if mine.replica.size < said:
                mine.sync()
            return mine.replica.size >= said

        wait_for(f"{member}'s validator", is_even)
        self._note(mine.replica.size)
        return mine

    def desk(self, member: MemberId, operator: str | None = None) -> Desk:
        """An agency's desk, over its `book` as it is now."""
        book = self.book(member)
        client = _Noting(AnyNode(book.nodes), lambda entry: self._note(entry + 1))
        return Desk(Voice(self.homes[member], client, now_ms, operator), book)

    def _note(self, size: int) -> None:
        with self._noting:
            self._said = max(self._said, size)

    def admit_platform(self) -> int:
        """A platform's home, and its admission by vote; the proposal's entry."""
        keys = make_keys(PLATFORM_STAFF)
        genesis = (self.homes[NOORD].path / GENESIS_FILE).read_bytes()
        home = create_home(
            self.directory / "platform", "platform", PLATFORM, genesis, [self.at.node], keys
        )
        self.homes[PLATFORM] = home
        chain = self.homes[NOORD].chain
        action = platform_application(chain, PLATFORM, "Clouddrive", (NL, IE, CA), keys)
        proposal = self.desk(NOORD).propose(action)
        for agency in (WEST, EAST):
            self.desk(agency).vote(proposal, approve=True)
        return proposal

    def start_gateway(self, wait_s: float = START_WAIT_S, *options: str) -> None:
        self.start_another_gateway("gateway", self.at.gateway, wait_s, *options)

    def start_another_gateway(self, name: str, url: str, wait_s: float, *options: str) -> None:
        """One more on the platform's home, which another one may follow for."""
        home = str(self.homes[PLATFORM].path)
        port = url.rpartition(":")[2]
        command = [*ACCORD, "gateway", "--home", home, "--trial", "--port", port, *options]
        self.processes.start(name, command, f"{url}/healthz", wait_s=wait_s)

    def start_drive(self) -> None:
        """The example platform's product, which knows the gateway's address and nothing else."""
        if self.drive_source is None:
            raise Malformed("demo.no_drive", mend="run the demo from the project's tree")
        port = self.at.drive.rpartition(":")[2]
        places = [part for place in PLACES for part in ("--jurisdiction", place)]
        data = str(self.directory / "drive")
        command = [sys.executable, "-m", "clouddrive", "--gateway", self.at.gateway]
        command += ["--data", data, "--port", port, *places]
        environment = {"PYTHONPATH": str(self.drive_source)}
        self.processes.start("drive", command, f"{self.at.drive}/healthz", environment)

    def screen(self, raw: bytes, jurisdiction: str, upload: str = "demo") -> dict[str, Any]:
        """What a platform's upload path asks. Raises: Unavailable."""
        facts = {"jurisdiction": jurisdiction, "upload": upload}
        return self._json(
            self._http.post(
                f"{self.at.gateway}/v1/screen",
                params=facts,
                content=raw,
                headers={"Content-Type": "application/octet-stream"},
            )
        )

    def status(self) -> dict[str, Any]:
        return self._json(self._http.get(f"{self.at.gateway}/v1/status"))

    def upload(self, raw: bytes, name: str, place: str) -> dict[str, Any]:
        """What the drive's page sends when somebody drops a picture on it."""
        return self._json(
            self._http.post(
                f"{self.at.drive}/upload",
                files={"file": (name, raw)},
                data={"jurisdiction": place},
                headers={"Accept": "application/json", "Origin": self.at.drive},
            )
        )

    def drive_state(self) -> dict[str, Any]:
        return self._json(self._http.get(f"{self.at.drive}/platform.json"))

    @staticmethod
    def _json(answer: httpx.Response) -> dict[str, Any]:
        try:
            value = answer.json()
        except json.JSONDecodeError as err:
            raise Unavailable("demo.answer", status=answer.status_code) from err
        if not isinstance(value, dict) or "error" in value:
            raise Unavailable("demo.answer", status=answer.status_code, body=str(value)[:200])
        return value


@dataclass(frozen=True, slots=True)
class _Noting:
    """A `voice.Client` that notes what was acknowledged."""

    client: Client
    note: Callable[[int], None]

    def submit(self, transaction: bytes) -> int:
        entry = self.client.submit(transaction)
        self.note(entry)
        return entry


class Keepers:
    """The four agencies' keepers, taking turns in one thread, each with a book of its own."""

    def __init__(self, homes: Sequence[Home]) -> None:
        self._books = [AgencyBook(home) for home in homes]
        self._keepers = [
            open_keeper(home, book) for home, book in zip(homes, self._books, strict=True)
        ]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keepers", daemon=True)
        self.trouble: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        for book in self._books:
            book.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for keeper in self._keepers:
                try:
                    keeper.step()
                except AccordError as err:
                    self.trouble = str(err)
            self._stopping.wait(KEEPER_PAUSE_S)


def wait_for(what: str, is_there: Any, wait_s: float = 30) -> float:  # noqa: ANN401 - any callable.
    """Seconds until `is_there()` was true. Raises: Unavailable."""
    began = time.monotonic()
    while time.monotonic() - began < wait_s:
        if is_there():
            return time.monotonic() - began
        time.sleep(0.02)
    raise Unavailable("demo.wait", what=what, seconds=round(wait_s))
