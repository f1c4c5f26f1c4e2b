"""One simulated consortium, from one seed: who is there, what goes wrong, and when it heals.

n nodes of agencies, up to a third of them liars or ill; members that speak; followers. First
everything that can fail fails; then the network heals, the power stays on, and only liars go on.
From then on all must come right within a bounded time.
"""

import asyncio
import hashlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from accord.client.home import PrivateKey
from accord.ledger.codes import RejectCode
from accord.statements.bodies import Role
from accord.tlog.policy import Policy
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import FOUR, START_MS, Consortium, founding, plan
from sim.clock import VirtualLoop
from sim.faults import Fault
from sim.liar import Liar
from sim.network import Network
from sim.node import BUGS, RESTART_S, SimNode
from sim.oracle import Oracle
from sim.reader import Reader
from sim.sequencer import Block, Chain, Process
from sim.speech import NEWCOMER, NEWCOMER_KEYS, Speech
from source_kit import identity_of

MORE = (plan("at-five", "AT"), plan("be-six", "BE"), plan("de-seven", "DE"))
FOUNDINGS = {count: founding((*FOUR, *MORE)[:count]) for count in (4, 7)}
KITS = {count: Consortium(made) for count, made in FOUNDINGS.items()}
TROUBLE_S = 45.0  # At most; at least half of it.
HEAL_S = 90.0  # From the last fault on, until all is well.
SPEAK_S = 6.0  # The longest between two statements of a member.
TRACE_KEPT = 40


class Violation(AssertionError):
    """Something that must always hold does not."""


class World:
    """Everything in one seed. `run` plays it; raises Violation."""

    def __init__(self, seed: int, directory: Path, liars: int | None = None) -> None:
        """`liars` instead of what the seed says."""
        self.seed = seed
        self.directory = directory
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.counts: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=TRACE_KEPT)
        self._digest = hashlib.sha256()
        self._violation: Violation | None = None
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        count = 7 if liars is None and self.rng.random() < 0.07 else 4
        self.founding = FOUNDINGS[count]
        self.founders: list[MemberId] = [a.agency for a in self.founding.genesis.agencies]
        self.keys: dict[MemberId, tuple[PrivateKey, ...]] = dict(KITS[count].keys)
        self.keys[NEWCOMER.member] = NEWCOMER_KEYS
        self.nodes: dict[MemberId, SimNode] = {}
        self.liars: dict[MemberId, Liar] = {}
        self.faulty: set[MemberId] = set()
        self.heads: list[bytes] = []  # Every head that an honest node served.
        self.open: dict[bytes, str] = {}  # What honest members said and have no answer to.
        self.is_healed = False
        self.is_beyond = False  # More lie than can be survived: honest nodes may halt.
        self.network = Network(self.rng)
        self.oracle = Oracle(self)
        self.chain = Chain(self)
        self.speech = Speech(self)
        self._cast(count, liars)

    def _cast(self, count: int, liars: int | None) -> None:
        """Who lies, who will fall ill, who is honest."""
        members = self.rng.sample(self.founders, count)
        for name in members[: (count - 1) // 3 if liars is None else liars]:
            kind = self.rng.choice(["liar", "liar", "liar", "ill", "ill", "honest"])
            kind = kind if liars is None else "liar"
            if kind == "liar":
                self.liars[name] = Liar(self, name)
            elif kind != "honest":
                self.faulty.add(name)
            self.trace("cast", name, kind)
        for name in self.founders:
            if name not in self.liars:
                self.nodes[name] = SimNode(self, name)
        self.readers = [
            Reader(self, "reader-one", identity_of(KITS[count], self.founders[0])),
            Reader(self, "reader-two", None),
        ]

    # Time, trace, verdict.

    def now_ms(self) -> int:
        return START_MS + 10_000 + int(self.loop.now_s * 1000)

    def time(self) -> TimeMs:
        return TimeMs(self.now_ms())

    async def sleep(self, longest_s: float) -> None:
        await asyncio.sleep(self.rng.random() * longest_s)

    def trace(self, *facts: object) -> None:
        shown = [item.hex()[:16] if isinstance(item, bytes) else str(item) for item in facts]
        line = f"{self.loop.now_s:9.3f} {' '.join(shown)}"
        self._digest.update(line.encode() + b"\n")
        self.last.append(line)

    @property
    def digest(self) -> str:
        """Of all that happened, in order."""
        return self._digest.hexdigest()

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def violate(self, what: str, *facts: object) -> None:
        """Note it; the run ends. Not raised here: the code under test might swallow it."""
        if self._violation is None:
            self.trace("VIOLATION", what, *facts)
            self._violation = Violation(" ".join(str(item) for item in (what, *facts)))
            self._over.set()

    # Who is there.

    def peers_of(self, name: MemberId) -> list[MemberId]:
        """As every node.toml says: all that ever will be members."""
        every = [*self.founders, NEWCOMER.member]
        return [other for other in every if other != name]

    def member(self, name: str) -> "SimNode | Liar | Nobody":
        known = MemberId(name)
        return self.liars.get(known) or self.nodes.get(known) or Nobody(name)

    def process_of(self, name: MemberId) -> Process | None:
        """A node's engine, if it is running."""
        node = self.nodes.get(name)
        if node is None or not node.is_up or node.engine is None:
            return None
        process = node.engine.process
        return process if process.is_running else None

    def processes(self) -> list[Process]:
        found = (self.process_of(name) for name in self.nodes)
        return [process for process in found if process is not None]

    def honest(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.name not in self.faulty]

    # The play.

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run beside everything else; what it dies of ends the run."""

        async def guarded() -> None:
            try:
                await work
            except Exception as err:  # Whatever it is, the run is worth nothing from here.
                self.violate(f"the simulation died of {err!r}")
                raise

        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self.loop.create_task(guarded()))

    def run(self) -> None:
        """Raises: Violation."""
        logging.getLogger("accord").setLevel(logging.CRITICAL)
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._play())
        finally:
            self._end()
            for reader in self.readers:
                reader.close()
            asyncio.set_event_loop(None)
            self.loop.close()
            logging.getLogger("accord").setLevel(logging.NOTSET)

    async def _play(self) -> None:
        story = self.loop.create_task(self.story())
        over = self.loop.create_task(self._over.wait())
        await asyncio.wait((story, over), return_when=asyncio.FIRST_COMPLETED)
        if self._violation is not None:
            raise self._violation
        story.result()

    def _end(self) -> None:
        """Nothing of it runs on."""
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def story(self) -> None:
        """What happens; tests of one thing tell another."""
        self.begin()
        await self._trouble()
        await self.heal()

    def begin(self) -> None:
        """Everybody starts and speaks, over a chain with a first epoch."""
        for raws in self.speech.prelude():
            height, time_ms = self.chain.height + 1, self.chain.block_time()
            before = self.oracle.hashes[-1]
            self.chain.decide(Block(height, time_ms, raws, before, tuple(self.founders)))
        for node in self.nodes.values():
            self.spawn(node.keep())
        for reader in self.readers:
            self.spawn(reader.keep())
        for name in self.founders:
            self.spawn(self._speak(name))
        for work in (self.chain.run(), self._watch(), self._govern()):
            self.spawn(work)

    # Trouble.

    async def _trouble(self) -> None:
        rng = self.rng
        end_s = self.loop.now_s + TROUBLE_S * (0.5 + rng.random() / 2)
        bad_days = [self._cut, self._fail_write, self._fail_write, self._part, self._kill_engine]
        bad_days += [self._lose, self._fail_reader, self._jump, self._fall_ill]
        while self.loop.now_s < end_s:
            await self.sleep(3.0)
            rng.choice(bad_days)()

    def _some(self) -> SimNode:
        return self.rng.choice(list(self.nodes.values()))

    def _cut(self) -> None:
        node = self._some()
        self.trace("cut", node.name)
        self.count("cut")
        node.power.cut()

    def _fail_write(self) -> None:
        node, fault = self._some(), self.rng.choice(list(Fault))
        node.power.arm(fault, self.rng.randint(1, 40))
        self.trace("arm", node.name, fault.name)

    def _fail_reader(self) -> None:
        self.rng.choice(self.readers).power.arm(
            self.rng.choice(list(Fault)), self.rng.randint(1, 6)
        )

    def _kill_engine(self) -> None:
        node = self._some()
        if node.engine is not None:
            asked = ["finalize_block", "commit", "commit", "info"]
            node.engine.process.dies_at = self.rng.choice(asked)

    def _part(self) -> None:
        places = [*self.founders, NEWCOMER.member, *(reader.name for reader in self.readers)]
        self.network.part({place: self.rng.randint(0, 1) for place in places})
        self.trace("parted")
        self.count("parted")
        self.loop.call_later(self.rng.random() * 12, self.network.part, {})

    def _lose(self) -> None:
        self.network.loss = self.rng.choice([0.0, 0.05, 0.3])
        self.network.repeats = self.rng.choice([0.0, 0.1])

    def _jump(self) -> None:
        """A clock is set."""
        self._some().skew_ms = self.rng.randint(-5_000, 5_000)

    def _fall_ill(self) -> None:
        """What happens to the one that must not be trusted, in its own time."""
        for name in sorted(self.faulty):
            node = self.nodes[name]
            if node.is_faulty or self.rng.random() < 0.5:
                continue
            illness = self.rng.choice([*BUGS, "restored", "tampered with"])
            self.count(f"ill: {illness}")
            node.is_faulty = True
            if illness in BUGS:
                node.fall_ill(illness)
            else:
                self.spawn(self._restore(node) if illness == "restored" else self._tamper(node))

    async def _restore(self, node: SimNode) -> None:
        """Somebody puts back a copy of the whole home."""
        node.is_faulty = True
        copy = node.back_up()
        await self.sleep(20.0)
        await self.while_down(node, lambda: node.restore(copy))

    async def _tamper(self, node: SimNode) -> None:
        """Somebody turns a bit on its disk."""
        await self.while_down(node, node.tamper)

    async def while_down(self, node: SimNode, work: Callable[[], None]) -> None:
        node.is_held_down = True
        node.power.cut()
        await asyncio.sleep(RESTART_S)
        if node.halted is None:
            work()
        node.is_held_down = False

    # Members.

    async def _speak(self, name: MemberId) -> None:
        while not self.is_healed:
            await self.sleep(SPEAK_S)
            if name in self.liars:
                await self._submit_once(name, self.liars[name].statement())
            else:
                self.spawn(self._submit(name, self.speech.say(name)))

    async def _submit_once(self, name: str, raw: bytes) -> None:
        """A liar's word, to anybody honest."""
        node = self._some()
        with suppress(Unavailable, Malformed):
            await self.network.call(name, node.name, partial(node.submit, raw))

    async def _submit(self, name: MemberId, raw: bytes) -> int | RejectCode:
        """Until there is an answer; first to the own node, then to any."""
        self.open[raw] = name
        node = self.nodes[name]
        while True:
            try:
                verdict = await self.network.call(name, node.name, partial(node.submit, raw))
            except Unavailable:
                await self.sleep(2.0)
                node = self.rng.choice(self.honest())
                continue
            if isinstance(verdict, RejectCode):
                self.count(f"rejected: {verdict.code}")
                self.oracle.see_rejected(node.name, raw, verdict)
            else:
                self.oracle.see_acknowledged(node.name, raw, verdict)
                self.count("acknowledged")
            self.open.pop(raw, None)
            return verdict

    async def _govern(self) -> None:
        """Somebody comes, somebody changes keys, a liar goes; with trouble when it hurts most."""
        await self.sleep(TROUBLE_S / 4)
        plots = [self._admit, *[self._rotate] * 3, *([self._remove] if self.liars else [])]
        for plot in self.rng.sample(plots, self.rng.randint(0, 3)):
            before = self.oracle.policies[self.oracle.sizes[-1]][-1]
            self.spawn(self._strike_at_change(before))
            await plot()

    async def _strike_at_change(self, before: Policy) -> None:
        """Cut somebody off, or its power, while the head of a policy change is being signed."""
        while self.oracle.policies[self.oracle.sizes[-1]][-1] == before:
            await asyncio.sleep(0.2)
        for _ in range(self.rng.randint(0, 3)):
            if not self.is_healed:
                self.rng.choice([self._cut, self._part])()
            await self.sleep(1.0)

    def _voters(self) -> list[MemberId]:
        return [node.name for node in self.honest() if node.name in self.founders]

    async def _pass(self, raw: bytes) -> bool:
        voters = self._voters()
        entry = await self._submit(voters[0], raw)
        if isinstance(entry, RejectCode):
            return False
        for name in voters[1:]:
            self.spawn(self._vote(name, entry))
        return True

    async def _vote(self, name: MemberId, entry: int) -> None:
        await self._submit(name, self.speech.vote(name, entry, approve=True))

    async def _admit(self) -> None:
        if await self._pass(self.speech.admit(self._voters()[0])):
            while NEWCOMER.member not in self.oracle.validators_at(self.chain.height + 1):
                await asyncio.sleep(1.0)
            self.count("admitted")
            self.nodes[NEWCOMER.member] = SimNode(self, NEWCOMER.member)
            self.spawn(self.nodes[NEWCOMER.member].keep())

    async def _remove(self) -> None:
        liar = sorted(self.liars)[0]
        if await self._pass(self.speech.remove(self._voters()[0], liar)):
            self.count("removed")

    async def _rotate(self) -> None:
        node = self.nodes[self.rng.choice(self._voters())]
        fresh, raw = self.speech.rotate(node.name)
        node.add_key(fresh)
        others = tuple(key for key in self.keys[node.name] if key.role is not Role.COSIGNER)
        self.keys[node.name] = (*others, fresh)
        if not isinstance(await self._submit(node.name, raw), RejectCode):
            self.count("changed keys")

    # Watching, healing, the end.

    async def _watch(self) -> None:
        """Every head that an honest node serves."""
        served: dict[MemberId, bytes] = {}
        while True:
            await asyncio.sleep(0.5)
            for node in self.nodes.values():
                head = node.engine.head if node.engine is not None and node.is_up else None
                if head is None or node.is_faulty:
                    continue
                if node.log is not None:
                    self.oracle.see_store(node.name, node.log)
                if head.note != served.get(node.name):
                    served[node.name] = head.note
                    self.oracle.see_head(node.name, head.note)
                    self.heads.append(head.note)

    async def heal(self) -> None:
        self.network.heal()
        self.trace("healed")
        for power in (*(n.power for n in self.nodes.values()), *(r.power for r in self.readers)):
            power.disarm()
        self.is_healed = True
        healed_s = self.loop.now_s
        await self._until(lambda: not self.open, "no answer", healed_s)
        await asyncio.gather(
            *(self._submit(node.name, self.speech.publish(node.name)) for node in self.honest())
        )
        await self._until(self._is_well, "not level", healed_s)
        self.counts["healed within ms"] = int(1000 * (self.loop.now_s - healed_s))
        for node in self.honest():
            self.oracle.see_node(node.name)

    def _is_well(self) -> bool:
        size = len(self.oracle.leaves)
        nodes = all(
            node.is_up
            and node.engine is not None
            and node.log is not None
            and node.log.size == size
            and node.engine.head is not None
            and node.engine.head.size == size
            for node in self.honest()
        )
        return nodes and all(reader.size == size for reader in self.readers)

    async def _until(self, is_so: Callable[[], bool], what: str, since_s: float) -> None:
        while not is_so():
            if self.loop.now_s - since_s > HEAL_S:
                facts = [f"{n.name}:{n.is_up}:{n.log and n.log.size}" for n in self.honest()]
                self.violate(f"not live once healed: {what}", *facts)
                await asyncio.sleep(1e6)
            await asyncio.sleep(0.25)


class Nobody:
    """An agency that is not there yet."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def serve(self, caller: str, path: str, params: dict[str, int]) -> bytes:
        del caller, params
        return self.read(path)

    def read(self, path: str) -> bytes:
        raise Unavailable("peer.no_answer", url=self.name, why=path)
