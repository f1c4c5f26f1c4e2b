"""A consortium of CometBFT validators on this machine, measured: orders, signs, is followed, fails.

Everything runs as between agencies, but on one machine: a node and an engine for each agency, a
gateway, all as processes; the agencies' desks are in this one. What agencies would do on their own
machines (sealing, the keepers) is not in the time that the consortium is measured by.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from accord.agency.founding import PLATFORMS_GROUP, TRIAL_PARAMETERS
from accord.agency.sealing import seal_batch
from accord.agency.voice import Voice, submit_ahead
from accord.cli.assemble import AgencyBook, now_ms
from accord.cli.bench.figures import Report, Row, Section, per_second, quantile, rounded
from accord.cli.bench.follower import Followed
from accord.cli.bench.load import Client, ask_fingerprints
from accord.cli.bench.loop import Loop, Scale, Tell, disk_row, follower_rows, pages, step_row
from accord.cli.bench.machine import children_of, describe_machine, memory_row
from accord.cli.bench.material import Material
from accord.cli.demo.world import IE, NOORD, WEST, World
from accord.cli.testnet_nodes import Testnet
from accord.client.http import NodeClient
from accord.ledger.epochs import epoch_of
from accord.node.comet_files import ENGINE_DIRECTORY
from accord.node.settings import NODE_DIRECTORY, STORE_FILE
from accord.statements.batch import Batch, Listing, batch_of
from accord.statements.bodies import Publish
from accord.wire.digests import sha256
from accord.wire.errors import Unavailable
from accord.wire.ids import AGENCIES, GroupId, MemberId
from accord.wire.limits import BATCH_LISTINGS_MAX, SUBMIT_AHEAD

SEED: Final = 3
ROUND: Final = 25  # Statements that each agency seals before all submit: they live ten minutes.
POLL_S: Final = 0.01
WAIT_S: Final = 90
DOWN_S: Final = 3.0  # Two nodes stay down so long, and a statement waits.
SLOW_LISTINGS_S: Final = 5_000  # No node that begins with nothing is slower than this.
MINUTES_A_DAY: Final = 1_440
QUIET_S: Final = 5.0  # Before an idle network is looked at.
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_OPEN: Final = replace(
    TRIAL_PARAMETERS, proposal_life_ms=604_000_000
)  # Nobody passes it: votes go on for ever.


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. Units: `idle_s` seconds without a statement."""

    listings: int
    agencies: int
    tries: int
    idle_s: float
    block_ms: int

    def batches(self) -> list[int]:
        """How many listings each statement has."""
        whole, rest = divmod(self.listings, BATCH_LISTINGS_MAX)
        return [BATCH_LISTINGS_MAX] * whole + ([rest] if rest else [])


@dataclass
class Consortium:
    """One run over a world with a validator for each agency."""

    world: World
    size: Size
    tell: Tell
    material: Material = field(default_factory=lambda: Material(SEED))
    entries: dict[MemberId, list[int]] = field(default_factory=dict[MemberId, list[int]])
    proposal: int = -1

    def run(self) -> Report:
        """Raises: AccordError, if anything does not do what it should; never for a time."""
        machine = describe_machine(self.world.directory)
        loop = Loop(self.world, Scale(self.size.listings, self.size.tries, 0), self.tell)
        loop.found()
        empty = self._bytes()
        published = self.publish_all()
        grown = self._bytes()
        gateway = self._start_gateway(loop)
        latency = self.latency()
        disk = self.disk(empty, grown)
        followed = loop.follow()
        idle = self.idle()
        memory = self.memory()
        faults = self.faults()
        rebuilt = self.rebuild()
        parameters: Row = {
            "listings": self.size.listings,
            "agencies_that_publish": self.size.agencies,
            "validators": len(self.net.names),
            "listing": "PDQ and MD5",
            "block_ms": self.size.block_ms,
            "tries": self.size.tries,
            "idle_s": self.size.idle_s,
        }
        sections = (
            Section(
                "publish",
                f"Batches of {BATCH_LISTINGS_MAX:,}, {SUBMIT_AHEAD} of each agency under way",
                published,
            ),
            Section("latency", "One small statement after the other", tuple(latency)),
            Section("follower", "A follower from zero", (*follower_rows(followed), gateway)),
            Section("joining", "From nothing, everything verified", (_list_row(followed), rebuilt)),
            Section("recovery", "After nodes were killed", tuple(faults)),
            Section("disk", "Disk of one node", tuple(disk)),
            Section("idle", "Nobody says anything", tuple(idle)),
            Section("memory", "Memory", (*memory, followed.memory)),
        )
        return Report(machine, parameters, sections)

    @property
    def net(self) -> Testnet:
        return Testnet((self.world.directory / "consortium").resolve())

    def publish_all(self) -> tuple[Row, ...]:
        """Sealed ahead, then submitted: each agency through its own node, all at once."""
        names = self.net.names[: self.size.agencies]
        books = {name: self.world.book(name) for name in names}
        waiting = self.size.batches()
        sealing = submitting = 0.0
        took: list[float] = []
        with ThreadPoolExecutor(len(names)) as pool:
            while waiting:
                done = self.size.listings - sum(waiting)
                self.tell("publishing", done, self.size.listings)
                turn, waiting = waiting[: ROUND * len(names)], waiting[ROUND * len(names) :]
                began = time.perf_counter()
                lists = {
                    name: [
                        self._sealed(name, books[name], count)
                        for count in turn[place :: len(names)]
                    ]
                    for place, name in enumerate(names)
                }
                sealing += (sealed := time.perf_counter()) - began
                nodes = [books[name].nodes[0] for name in names]
                said = pool.map(_submit_all, nodes, [lists[name] for name in names])
                for name, (entries, seconds) in zip(names, said, strict=True):
                    self.entries.setdefault(name, []).extend(entries)
                    took += seconds
                submitting += time.perf_counter() - sealed
            self.tell("approving", 0, 0)
            began = time.perf_counter()
            list(pool.map(self._approve_each, names))
            approving = time.perf_counter() - began
        count = self.size.listings
        return (
            _rate_row("submitted, until acknowledged under the quorum", count, submitting, took),
            _rate_row("sealed and signed, by this one process", count, sealing, []),
            _rate_row("approved, one statement a batch", count, approving, []),
        )

    def latency(self) -> list[Row]:
        """Votes, then listings one at a time, looked up again and again until they match."""
        desk = self.world.desk(NOORD)
        self.proposal = desk.propose(_OPEN)
        other = self.world.desk(WEST)
        votes: list[float] = []
        approvals: list[float] = []
        said_to_match: list[float] = []
        approved_to_match: list[float] = []
        with closing(Client(self.world.at.gateway)) as client:
            for number in range(self.size.tries):
                self.tell("waiting for first matches", number, self.size.tries)
                began = time.perf_counter()
                other.vote(self.proposal, approve=False)
                votes.append(time.perf_counter() - began)
                (listing,) = self.material.listings(1)
                began = time.perf_counter()
                (entry,) = desk.publish([listing], [PLATFORMS_GROUP]).entries
                approving = time.perf_counter()
                desk.approve(entry)
                approvals.append(time.perf_counter() - approving)
                _until_match(client, listing)
                matched = time.perf_counter()
                said_to_match.append(matched - began)
                approved_to_match.append(matched - approving)
        return [
            _wait_row("a vote, submit to cosigned acknowledgement", votes),
            _wait_row("an approval, submit to cosigned acknowledgement", approvals),
            _wait_row("an approval, submit to first match at a gateway", approved_to_match),
            _wait_row("a listing, publish and approve to first match", said_to_match),
        ]

    def faults(self) -> list[Row]:
        """An engine killed, a node, then two, with somebody who wants to speak all the while."""
        net = self.net
        *_, second, first = net.names
        rows: list[Row] = []
        self.tell("an engine is killed", 0, 0)
        for engine in children_of(net.pid(first) or 0):
            os.kill(engine, signal.SIGKILL)
        rows.append(_fault_row("an engine killed: the next statement acknowledged", self._speak()))
        rows.append(
            _fault_row("its node has started it again: its head is even", self._even(first))
        )
        self.tell("one node is killed", 0, 0)
        net.kill(first)
        rows.append(_fault_row("one killed: the next statement acknowledged", self._speak()))
        rows.append(
            _fault_row("the killed one back: until its head is even", self._back(net, first))
        )
        self.tell("two nodes are killed", 0, 0)
        net.kill(first)
        net.kill(second)
        answered: list[float] = []
        speaking = threading.Thread(target=lambda: answered.append(self._speak_at()), daemon=True)
        speaking.start()
        time.sleep(DOWN_S)
        if answered:
            raise Unavailable("bench.answer", why="an acknowledgement without a quorum")
        began = time.perf_counter()
        net.start([first])
        speaking.join(WAIT_S)
        if not answered:
            raise Unavailable("bench.answer", why="no acknowledgement", seconds=WAIT_S)
        rows.append(
            _fault_row("two killed, one started: the waiting statement", answered[0] - began)
        )
        rows.append(_fault_row("the other back: until its head is even", self._back(net, second)))
        return rows

    def rebuild(self) -> Row:
        """A node without its log and its engine's blocks fetches and applies every block."""
        net, name = self.net, self.net.names[-1]
        self.tell("a node begins with nothing", 0, 0)
        net.stop([name])
        node = net.home(name) / NODE_DIRECTORY
        for file in node.glob(f"{STORE_FILE}*"):
            file.unlink()
        shutil.rmtree(node / ENGINE_DIRECTORY)  # What it signed is remembered in the home.
        seconds = self._back(net, name)
        return step_row(
            "a node, block by block, until its head is even", self.size.listings, seconds
        )

    def idle(self) -> list[Row]:
        """What it costs that the consortium is there. Units: a node with its engine."""
        net = self.net
        time.sleep(QUIET_S)
        before, height, ticks = self._bytes(), net.status()[0].height, self._ticks(net)
        began = time.perf_counter()
        self.tell("nobody says anything", 0, 0)
        time.sleep(self.size.idle_s)
        lasted = time.perf_counter() - began
        after = self._bytes()
        minutes = lasted / 60 if lasted > 0 else 1.0
        grown = sum(after) - sum(before)
        busy = (self._ticks(net) - ticks) / _TICKS / len(net.names)
        return [
            {
                "what": "one node and its engine",
                "seconds": rounded(lasted),
                "blocks": net.status()[0].height - height,
                "cpu_percent": rounded(100 * busy / lasted) if lasted > 0 else 0.0,
                "node_db_bytes_a_minute": rounded((after[0] - before[0]) / minutes),
                "engine_bytes_a_minute": rounded((after[1] - before[1]) / minutes),
                "mb_a_day": rounded(grown / minutes * MINUTES_A_DAY / 1_000_000),
            }
        ]

    def disk(self, empty: tuple[int, int], grown: tuple[int, int]) -> list[Row]:
        count = self.size.listings
        return [
            disk_row("the node's database", grown[0] - empty[0], count),
            disk_row("the engine's data", grown[1] - empty[1], count),
        ]

    def memory(self) -> list[Row]:
        net = self.net
        pids = {name: net.pid(name) for name in net.names}
        nodes = [pid for pid in pids.values() if pid is not None]
        engines = [child for pid in nodes for child in children_of(pid)]
        return [memory_row("all nodes", nodes), memory_row("all engines", engines)]

    def _start_gateway(self, loop: Loop) -> Row:
        loop.entries = {entry: 0 for each in self.entries.values() for entry in each}
        first = next(iter(loop.entries))
        loop.entries[first] = self.size.listings
        return loop.start_gateway()

    def _sealed(self, name: MemberId, book: AgencyBook, count: int) -> bytes:
        """A publish transaction of so many listings, to the agencies and the platforms."""
        groups = (AGENCIES, PLATFORMS_GROUP)
        home = self.world.homes[name]
        voice = Voice(home, book.nodes[0], now_ms)
        batch = _batch(self.material.listings(count))
        epochs: dict[GroupId, tuple[int, bytes]] = {}
        for group in groups:
            number = epoch_of(book.state, group).number
            key = book.keyring.key_of(group, number)
            if key is None:
                raise Unavailable("bench.answer", why="no epoch key", group=group)
            epochs[group] = (number, key)
        blob = seal_batch(home.chain, home.member, batch, epochs)
        numbers = tuple(epochs[group][0] for group in groups)
        body = Publish(voice.header(), count, groups, numbers, False, sha256(blob))
        return voice.sign(body, blob)

    def _approve_each(self, name: MemberId) -> None:
        for _ in self.world.desk(name).approve_each(self.entries[name]):
            pass

    def _speak(self) -> float:
        """Seconds until a statement of the first agency is acknowledged."""
        began = time.perf_counter()
        return self._speak_at() - began

    def _speak_at(self) -> float:
        """When it was acknowledged. Raises: Unavailable."""
        desk = self.world.desk(NOORD)
        until = time.perf_counter() + WAIT_S
        while True:
            try:
                desk.vote(self.proposal, approve=False)
            except Unavailable:
                if time.perf_counter() > until:
                    raise
            else:
                return time.perf_counter()

    def _back(self, net: Testnet, name: MemberId) -> float:
        """Seconds until a node that is started again has all that the first one has."""
        began = time.perf_counter()
        net.start([name])
        self._even(name)
        return time.perf_counter() - began

    def _even(self, name: MemberId) -> float:
        """Seconds until a node has all that the first one has."""
        began = time.perf_counter()
        patience_s = WAIT_S + self.size.listings / SLOW_LISTINGS_S
        while True:
            nodes = {node.name: node for node in self.net.status()}
            want = nodes[NOORD].cosigned_size
            if nodes[name].cosigned_size >= want == nodes[NOORD].log_size:
                return time.perf_counter() - began
            if time.perf_counter() - began > patience_s:
                raise Unavailable("bench.answer", why="a node does not catch up", node=name)
            time.sleep(POLL_S)

    def _bytes(self) -> tuple[int, int]:
        """Of the first agency's node: its database, the engine's files."""
        directory = self.net.home(NOORD) / NODE_DIRECTORY
        return pages(directory / STORE_FILE), _tree_bytes(directory / ENGINE_DIRECTORY)

    def _ticks(self, net: Testnet) -> int:
        """Processor time of all nodes and their engines so far. Units: the kernel's ticks."""
        nodes = [pid for name in net.names if (pid := net.pid(name)) is not None]
        every = [*nodes, *(child for pid in nodes for child in children_of(pid))]
        return sum(_ticks_of(pid) for pid in every)


class _Timed:
    """A node that is submitted to, and the seconds that each answer took."""

    def __init__(self, node: NodeClient) -> None:
        self._node = node
        self.took: list[float] = []

    def submit(self, transaction: bytes) -> int:
        began = time.perf_counter()
        entry = self._node.submit(transaction)
        self.took.append(time.perf_counter() - began)
        return entry


def _list_row(followed: Followed) -> Row:
    """What a member needs before it can use the list: fetched, verified, decrypted, folded."""
    seconds = sum(followed.seconds[step] for step in ("sync", "open", "fold"))
    return step_row("a follower, until it has the list", followed.opened, seconds)


def _submit_all(node: NodeClient, raws: Sequence[bytes]) -> tuple[list[int], list[float]]:
    """As `accord publish` does, a few under way: the entries in order, seconds of each answer."""
    timed = _Timed(node)
    return [answer.result() for _, answer in submit_ahead(timed, raws)], timed.took


def _batch(listings: Sequence[Listing]) -> Batch:
    """What most lists have of a picture: 10,000 of these fit one statement."""
    return batch_of([replace(listing, sha1=None, sha256=None) for listing in listings])


def _until_match(client: Client, listing: Listing) -> None:
    ask = ask_fingerprints(listing, IE)
    until = time.perf_counter() + WAIT_S
    while client.decision(ask) != "match":
        if time.perf_counter() > until:
            raise Unavailable("bench.answer", decision="no match", seconds=WAIT_S)
        time.sleep(POLL_S)


def _tree_bytes(directory: Path) -> int:
    """Of all files. The engine removes and renames some meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _ticks_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # User and system time.


def _rate_row(what: str, listings: int, seconds: float, took: Sequence[float]) -> Row:
    return {
        "what": what,
        "listings": listings,
        "seconds": rounded(seconds),
        "listings_per_s": per_second(listings, seconds),
        "statement_p50_s": rounded(quantile(took, 0.5)) if took else None,
        "statement_p99_s": rounded(quantile(took, 0.99)) if took else None,
    }


def _wait_row(what: str, took: Sequence[float]) -> Row:
    return {
        "what": what,
        "times": len(took),
        "p50_s": rounded(quantile(took, 0.5)),
        "p99_s": rounded(quantile(took, 0.99)),
        "max_s": rounded(max(took)),
    }


def _fault_row(what: str, seconds: float) -> Row:
    return {"what": what, "seconds": rounded(seconds)}
