"""The whole loop, measured: publish, approve, endorse, follow, screen, and what it takes to keep.

Everything runs as in a trial: a node and a gateway as processes, real keys, signed requests,
sealed batches. The agencies' desks are in this process, one statement after the other. The
keepers stop once the group keys are agreed: real ones run on the agencies' own machines.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from accord.agency.founding import PLATFORMS_GROUP
from accord.agency.rulefile import parse_rule_file
from accord.cli.bench.figures import Report, Row, Section, per_second, quantile, rounded
from accord.cli.bench.follower import Followed, follow_from_zero
from accord.cli.bench.load import Ask, Client, Gateway, ask_fingerprints, ask_picture, load_rows
from accord.cli.bench.machine import (
    core_count,
    descendants_of,
    describe_machine,
    memory_row,
    on_cores,
    runs_module,
)
from accord.cli.bench.material import SIZES, Material
from accord.cli.demo.processes import free_port
from accord.cli.demo.world import IE, NL, NOORD, PLATFORM, WEST, World, wait_for
from accord.ledger.epochs import epoch_of
from accord.ledger.state import PUBLICATIONS, index_key
from accord.statements.batch import Listing
from accord.statements.bodies import RefRange
from accord.wire.errors import Unavailable
from accord.wire.ids import AGENCIES
from accord.wire.limits import BATCH_LISTINGS_MAX, REFS_MAX

Tell = Callable[[str, int, int], None]  # What is being done, how much is, of how much (0: unknown).
SEED: Final = 2
PICTURES: Final = 4  # Of each size, so that no answer comes from the same bytes twice in a row.
FINGERPRINTS: Final = 500
POLL_S: Final = 0.01
MATCH_WAIT_S: Final = 60
LIST_WAIT_S: Final = 3600
CLIENTS_A_CORE: Final = 2  # So many keep a core busy while an answer is on its way.
DECODER: Final = "accord.media.worker"
ONE_CORE: Final = "gateway on one core"
ONE_CORE_LISTINGS_MAX: Final = 1_000_000  # What a core adds does not depend on the list.
_RULE: Final = """title: Benchmark rules
modality: required
legal_basis:
  text: None. This is a measurement on meaningless listings.
valid_from: 2026-01-01
services: [hosting]
scope: [uploads, stored]
clauses:
  - name: known
    classes: [test/T1]
    certified_by: {{agencies: {agencies}, sovereigns: {agencies}}}
    exact: {{action: block}}
    near: {{within: 31, quality: 50, action: block, alone: true}}
"""
# In Ireland a listing is active once its agency approved it, elsewhere once another endorsed it.
CERTIFIED_BY: Final = ((NOORD, NL, 2), (WEST, IE, 1))


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Units: `screen_s` seconds for each kind of request."""

    listings: int
    tries: int
    screen_s: float
    processes: int | None = None  # Of the gateway; its own choice if None.

    def batches(self) -> list[tuple[int, int]]:
        """(listings in one publish, how often): few alone, some by the hundred, the rest whole."""
        alone = max(1, min(25, self.listings // 20))
        hundreds = min(20, self.listings // 400)
        rest = self.listings - alone - 100 * hundreds
        whole, left = divmod(rest, BATCH_LISTINGS_MAX)
        planned = [(1, alone), (100, hundreds), (BATCH_LISTINGS_MAX, whole), (left, 1)]
        return [(size, times) for size, times in planned if size and times]


@dataclass
class Loop:
    """One run in an empty directory."""

    world: World
    scale: Scale
    tell: Tell
    material: Material = field(default_factory=lambda: Material(SEED))
    entries: dict[int, int] = field(default_factory=dict[int, int])  # Listings of each entry.

    def run(self) -> Report:
        """Raises: AccordError, if anything does not do what it should; never for a time."""
        machine = describe_machine(self.world.directory)
        self.found()
        published = self.publish_all()
        certified = self.certify_all()
        start = self.start_gateway()
        memory = self.memory("after start")
        latency = self.latency()
        screens = self.screens()
        memory += self.memory("after the screens")
        alone = self.on_one_core(screens) if self.scale.listings <= ONE_CORE_LISTINGS_MAX else []
        followed = self.follow()
        cores = core_count()
        parameters: Row = {
            "listings": self.scale.listings,
            "listings_per_publish": ", ".join(str(size) for size, _ in self.scale.batches()),
            "tries": self.scale.tries,
            "seconds_per_request_kind": self.scale.screen_s,
            "gateway_processes": self.scale.processes or core_count(),
        }
        sections = [
            Section("publish", "Published, approved, logged", (*published, certified)),
            Section("latency", "From a statement to the first match", tuple(latency)),
            Section("follower", "A follower from zero", (*follower_rows(followed), start)),
            Section("screens", f"Screened by a gateway on {cores} cores", tuple(screens)),
            Section("cores", f"The same on one core, and what {cores} make of it", tuple(alone)),
            Section("memory", "Memory", (*memory, followed.memory)),
            Section("disk", "Disk", tuple(self.disk())),
        ]
        sections = [section for section in sections if section.rows]
        return Report(machine, parameters, tuple(sections))

    def found(self) -> None:
        """Four agencies, a platform that may open the list, two rule sets."""
        self.tell("founding", 0, 0)
        world = self.world
        world.found()
        world.start_node()
        groups = (AGENCIES, PLATFORMS_GROUP)
        wait_for(
            "the first group keys",
            lambda: all(epoch_of(world.book(NOORD).state, name).number == 1 for name in groups),
        )
        world.admit_platform()

        def holds_the_key() -> bool:
            row = epoch_of(world.book(NOORD).state, PLATFORMS_GROUP)
            return PLATFORM in {to.member for to in row.recipients}

        wait_for("the platform's group key", holds_the_key)
        world.stop_keepers()
        for agency, where, agencies in CERTIFIED_BY:
            rules = parse_rule_file(_RULE.format(agencies=agencies).encode())
            world.desk(agency).set_rules(where, rules)

    def publish_all(self) -> list[Row]:
        rows: list[Row] = []
        desk = self.world.desk(NOORD)
        for size, times in self.scale.batches():
            publishing: list[float] = []
            fresh: list[int] = []
            for _ in range(times):
                self.tell("publishing", sum(self.entries.values()), self.scale.listings)
                listings = self.material.listings(size)
                began = time.perf_counter()
                published = desk.publish(listings, [PLATFORMS_GROUP])
                publishing.append(time.perf_counter() - began)
                fresh += published.entries
                self._count(published.entries)
            approving = [_timed(partial(desk.approve, entry)) for entry in fresh]
            rows.append(
                _statement_row(f"publish {size:,} at a time", size * times, publishing, approving)
            )
        return rows

    def _count(self, entries: Iterable[int]) -> None:
        """Remember how many listings each entry has, as the ledger says."""
        state = self.world.book(NOORD).state  # Followed again: publishing looks before it speaks.
        for entry in entries:
            row = state.get(PUBLICATIONS, index_key(entry))
            if row is None:
                raise Unavailable("bench.answer", entry=entry)
            self.entries[entry] = row.count

    def certify_all(self) -> Row:
        """Another agency endorses every listing."""
        self.tell("endorsing", 0, 0)
        desk = self.world.desk(WEST)
        refs = [RefRange(entry, 0, count) for entry, count in sorted(self.entries.items())]
        parts = [tuple(refs[start : start + REFS_MAX]) for start in range(0, len(refs), REFS_MAX)]
        took = [_timed(partial(desk.endorse, part, 1)) for part in parts]
        return _statement_row("endorse by whole batches", sum(self.entries.values()), took, [])

    def start_gateway(self) -> Row:
        """Until a fresh gateway screens with the whole list."""
        self.tell("the gateway follows", 0, 0)
        world = self.world
        count = sum(self.entries.values())
        began = time.perf_counter()
        processes = self.scale.processes
        options = () if processes is None else ("--processes", str(processes))
        world.start_gateway(LIST_WAIT_S, *options)

        def caught_up() -> bool:
            return int(world.status()["list"]["active_count"]) >= count

        wait_for("the gateway's list", caught_up, LIST_WAIT_S)
        return step_row("a gateway's start, until it screens", count, time.perf_counter() - began)

    def latency(self) -> list[Row]:
        """New listings, one at a time, looked up again and again until they match."""
        desk, second = self.world.desk(NOORD), self.world.desk(WEST)
        approved, endorsed = _Waits("approve"), _Waits("endorse")
        with closing(Client(self.world.at.gateway)) as client:
            for number in range(self.scale.tries):
                self.tell("waiting for first matches", number, self.scale.tries)
                (listing,) = self.material.listings(1)
                (entry,) = desk.publish([listing], [PLATFORMS_GROUP]).entries
                self.entries[entry] = 1
                refs = (RefRange(entry, 0, 1),)
                approved.measure(partial(desk.approve, entry), client, listing, IE)
                endorsed.measure(partial(second.endorse, refs, 1), client, listing, NL)
        return [approved.row(), endorsed.row()]

    @cached_property
    def asks(self) -> dict[str, list[Ask]]:
        """Some requests of each kind."""
        self.tell("making pictures", 0, 0)
        listings = self.material.listings(FINGERPRINTS)
        made = {"fingerprints as JSON": [ask_fingerprints(one, NL) for one in listings]}
        for size in SIZES:
            pictures = [self.material.picture(size) for _ in range(PICTURES)]
            made[size.name] = [ask_picture(picture, NL) for picture in pictures]
        return made

    def screens(self) -> list[Row]:
        gateway = Gateway(self.world.at.gateway, self.world.processes.pids()["gateway"])
        clients = sorted({1, core_count(), CLIENTS_A_CORE * core_count()})
        return [
            row
            for kind, asks in self.asks.items()
            for row in load_rows(
                gateway, kind, asks, clients, self.scale.screen_s, self._telling(kind)
            )
        ]

    def on_one_core(self, screens: Sequence[Row]) -> list[Row]:
        """Another gateway on the same list, kept to one core; clients have all of them."""
        self.tell("a gateway on one core", 0, 0)
        url = f"http://127.0.0.1:{free_port()}"
        with on_cores(1):
            self.world.start_another_gateway(
                ONE_CORE, url, LIST_WAIT_S, "--no-follow", "--no-attest"
            )
        gateway = Gateway(url, self.world.processes.pids()[ONE_CORE])
        clients = CLIENTS_A_CORE * core_count()
        of_all = {row["what"]: row for row in screens if row["clients"] == clients}
        rows: list[Row] = []
        for kind, asks in self.asks.items():
            telling = self._telling(f"{kind} on one core")
            (row,) = load_rows(gateway, kind, asks, [clients], self.scale.screen_s, telling)
            rate, of_one = of_all[kind]["screens_per_s"], row["screens_per_s"]
            times = float(rate or 0) / float(of_one or 1)
            rows.append({**row, "all_cores_times": rounded(times)})
        return rows

    def _telling(self, kind: str) -> Callable[[], None]:
        return partial(self.tell, f"screening {kind}", 0, 0)

    def memory(self, when: str) -> list[Row]:
        pids = self.world.processes.pids()
        below = descendants_of(pids["gateway"])
        decoders = [pid for pid in below if runs_module(pid, DECODER)]
        others = [pid for pid in below if pid not in decoders]
        rows = [
            memory_row(f"node, {when}", [pids["node"]]),
            memory_row(f"gateway, {when}", [pids["gateway"], *others]),
        ]
        if decoders:
            rows.append(memory_row(f"decoders, {when}", decoders))
        return rows

    def follow(self) -> Followed:
        self.tell("a follower from zero", 0, 0)
        return follow_from_zero(self.world.homes[PLATFORM].path, self._replica)

    @property
    def _replica(self) -> Path:
        return self.world.directory / "follower" / "replica.sqlite"

    def disk(self) -> list[Row]:
        count = sum(self.entries.values())
        node = self.world.directory / "consortium" / "node" / "node.db"
        platform = self.world.homes[PLATFORM].path
        screenings = int(self.world.status()["receipts"]["size"])
        return [
            disk_row("log: leaves", _sum(node, "SELECT sum(length(leaf)) FROM entries"), count),
            disk_row("blobs", _sum(node, "SELECT sum(length(bytes)) FROM blobs"), count),
            disk_row("the node's database, all of it", pages(node), count),
            disk_row("a follower's replica", pages(self._replica), count),
            disk_row(
                "receipts (for each screening)", pages(platform / "receipts.sqlite"), screenings
            ),
        ]


@dataclass
class _Waits:
    """Seconds from saying a statement to its acknowledgement, and to the first match."""

    after: str
    acknowledged: list[float] = field(default_factory=list[float])
    matched: list[float] = field(default_factory=list[float])

    def measure(
        self, say: Callable[[], object], client: Client, listing: Listing, where: str
    ) -> None:
        """Raises: Unavailable, if it matched before it was said, or never."""
        ask = ask_fingerprints(listing, where)
        if client.decision(ask) != "no_match":
            raise Unavailable("bench.answer", decision="match, before it was active")
        began = time.perf_counter()
        say()
        self.acknowledged.append(time.perf_counter() - began)
        while client.decision(ask) != "match":
            if time.perf_counter() - began > MATCH_WAIT_S:
                raise Unavailable("bench.answer", decision="no match", seconds=MATCH_WAIT_S)
            time.sleep(POLL_S)
        self.matched.append(time.perf_counter() - began)

    def row(self) -> Row:
        return {
            "after": self.after,
            "tries": len(self.matched),
            "acknowledged_p50_s": rounded(quantile(self.acknowledged, 0.5)),
            "first_match_p50_s": rounded(quantile(self.matched, 0.5)),
            "first_match_max_s": rounded(max(self.matched)),
        }


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _statement_row(what: str, listings: int, said: list[float], approved: list[float]) -> Row:
    return {
        "what": what,
        "listings": listings,
        "statements": len(said),
        "p50_ms": rounded(quantile(said, 0.5) * 1000),
        "approvals": len(approved),
        "approve_p50_ms": rounded(quantile(approved, 0.5) * 1000) if approved else None,
        "listings_per_s": per_second(listings, sum(said) + sum(approved)),
    }


def follower_rows(followed: Followed) -> list[Row]:
    names = {
        "sync": "fetch, verify, store",
        "open": "read back, decrypt, parse",
        "fold": "registry fold",
        "screen": "screen build",
        "reopen": "reopen: prove what is stored",
    }
    steps = [
        step_row(words, followed.opened, followed.seconds[key]) for key, words in names.items()
    ]
    whole = sum(followed.seconds[key] for key in names if key != "reopen")
    return [*steps[:-1], step_row("from zero to a screen", followed.opened, whole), steps[-1]]


def step_row(what: str, listings: int, seconds: float) -> Row:
    return {
        "what": what,
        "listings": listings,
        "seconds": rounded(seconds),
        "listings_per_s": per_second(listings, seconds),
    }


def disk_row(what: str, size: int, count: int) -> Row:
    each = rounded(size / count) if count else None
    return {"what": what, "mb": rounded(size / 1_000_000), "count": count, "bytes_each": each}


def _sum(database: Path, sql: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        (total,) = db.execute(sql).fetchone()
    return int(total)


def pages(database: Path) -> int:
    """What a database holds, whether or not it has moved from its write-ahead file yet."""
    return _sum(database, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
