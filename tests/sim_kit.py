"""A consortium in one process: real ledgers, stores, cosigners and followers; everything between
them is simulated from one seed.

Simulated: time, the network between nodes (loses, repeats, reorders), crashes around every write,
liars. Taken for granted: what the consensus engine promises, that is, one sequence of blocks, each
accepted by more than two thirds of the validators, which each node gets in order, sooner or later.
"""

import random
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accord.client.home import Home, PrivateKey
from accord.follow.follower import Follower
from accord.ledger.views import cosigner_key
from accord.node.abci_app import App
from accord.node.cosigning import STATE_FILE, Cosigning, StateFile
from accord.node.engine import Head
from accord.node.gathering import Ahead
from accord.node.heads import Heads
from accord.node.peers import Place, place_of
from accord.node.store import Store
from accord.statements.bodies import Role
from accord.statements.envelope import parse_transaction
from accord.tlog.checkpoint import Checkpoint, parse_checkpoint
from accord.tlog.cosigner import Cosigner, CosignerState
from accord.tlog.note import Note, NoteKey, cosign_text, parse_note
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX, COSIGNATURES_KEPT_MAX
from consortium_kit import CHAIN, Consortium

CRASH_CHANCES = (0.0, 0.005, 0.02, 0.08)  # At each write, before or after it; one for a seed.


class Crash(BaseException):
    """The node's process is gone at this very point."""


class Dice:
    """Whether a write survives. Off while the world heals."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.is_on = True
        self.chance = rng.choice(CRASH_CHANCES)

    def crash_before(self) -> None:
        if self.is_on and self.rng.random() < self.chance:
            raise Crash

    crash_after = crash_before


class CrashingConnection(sqlite3.Connection):
    """Goes down just before a commit, or just after it."""

    dice: Dice | None = None

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:  # type: ignore[override]  # One shape is enough here.
        if self.dice is None or sql != "COMMIT":
            return super().execute(sql, parameters)  # type: ignore[arg-type]  # As it was given.
        self.dice.crash_before()
        done = super().execute(sql)
        self.dice.crash_after()
        return done


class CrashingState(StateFile):
    """A cosigner's memory on a disk whose power fails."""

    dice: Dice

    def persist(self, state: CosignerState) -> None:
        self.dice.crash_before()
        super().persist(state)
        self.dice.crash_after()


class SimCosigning(Cosigning):
    """One agency's cosigner over a crashing disk."""

    def __init__(self, home: Home, log: Store, dice: Dice) -> None:
        super().__init__(home.chain, lambda: (home,), log)
        self._home = home
        self._dice = dice
        self._store = log

    def _open(self) -> Mapping[NoteKey, tuple[Cosigner, PrivateKey]]:
        private = self._home.key(Role.COSIGNER)
        key = cosigner_key(self._home.chain, self._home.member, private.public)
        if key in self._local:
            return {}
        signed = self._store.cosigned(private.public)
        state = CrashingState(self._home.path / STATE_FILE, self._home.chain, signed)
        state.dice = self._dice
        return {key: (Cosigner(self._home.chain, key, state), private)}


@dataclass
class World:
    """What is true, and what everybody was told. `truth` is the engine's promise."""

    rng: random.Random
    directory: Path
    consortium: Consortium = field(default_factory=Consortium)
    now: TimeMs = field(init=False)
    blocks: list[tuple[TimeMs, tuple[bytes, ...]]] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    refused_blocks: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        self.now = self.consortium.now
        self.dice = Dice(self.rng)

    def see_head(self, raw: bytes) -> None:
        """One root per size, whoever says so. `raw` counted for somebody honest."""
        head = parse_checkpoint(parse_note(raw).text)
        assert self.roots.setdefault(head.size, head.root) == head.root, "two roots for one size"

    def seconds(self) -> int:
        return self.now // 1000


class SimNode:
    """An honest agency's node, up or down."""

    def __init__(self, world: World, member: MemberId) -> None:
        self.world = world
        self.member = member
        founding = world.consortium.founding
        path = world.directory / member
        path.mkdir()
        keys = world.consortium.keys[member]
        self.home = Home(path, CHAIN, member, "agency", (), founding, keys)
        self.is_up = False
        self.promised = Place()
        self.mempool: list[bytes] = []
        self.submitted: dict[int, bytes] = {}

    def start(self) -> None:
        try:
            store = Store(self.home.path / "node.db", self.home.founding, self._connect)
            store_ledger = store.ledger()
            self.store = store
            self.app = App(store_ledger, store.height, store.time_ms)
            cosigning = SimCosigning(self.home, store, self.world.dice)
            self.heads = Heads(CHAIN, store, cosigning, store_ledger.state)
            self.head: Head | None = self.heads.stored(self.world.seconds())
        except Crash:
            self.world.crashes += 1
            return
        self.signed: list[bytes] = []
        self.places: dict[MemberId, Place] = {}
        self.mempool = []
        self.is_up = True

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, factory=CrashingConnection)
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = OFF")  # The process dies here, not the disk.
        if isinstance(connection, CrashingConnection):
            connection.dice = self.world.dice
        return connection

    def crash(self) -> None:
        self.is_up = False
        self.world.crashes += 1
        self.submitted.clear()  # Whoever waited there has no answer, and asks again.
        self.store.close()

    def guarded(self, work: Callable[[], None]) -> None:
        """Do it, or go down in the middle of it."""
        if not self.is_up:
            return
        try:
            work()
        except Crash:
            self.crash()

    def submit(self, raw: bytes) -> None:
        if self.is_up and self.app.check(raw) is None:
            self.mempool.append(raw)

    def take_block(self) -> None:
        """The next decided block: apply, persist, answer the engine."""
        if self.app.height >= len(self.world.blocks):
            return
        now, raws = self.world.blocks[self.app.height]
        done = self.app.finalize(self.app.height + 1, raws, now)
        self.store.commit(done.result, done.policy_before, done.misbehaviour)
        if done.result.logged:
            size = done.result.frontier.size
            self.heads.grew(size, self.app.ledger.state, done.policy_before)
        self.app.committed()
        for item in done.result.logged:
            raw = raws[done.result.verdicts.index(item.index)]
            if raw in self.mempool:
                self.submitted[item.index] = raw
        self.mempool = [raw for raw in self.mempool if self.app.check(raw) is None]

    def is_level(self) -> bool:
        return self.app.height == len(self.world.blocks)

    def sign(self) -> None:
        if not self.is_level() and self.world.rng.random() < 0.5:
            return  # It is catching up, and knows it, or does not know it yet.
        raw = self.heads.sign_next(self.world.seconds())
        if raw is not None:
            self.world.see_head(raw)  # No honest cosigner ever signs a head that is not so.
            place = place_of(raw)
            assert place >= self.promised, "a smaller size, or an earlier time"
            self.promised = place
            self.signed = [*self.signed, raw][-COSIGNATURES_KEPT_MAX:]
        self.publish()

    def publish(self) -> None:
        head = self.heads.publish(self.world.seconds(), improve=self.world.rng.random() < 0.3)
        if head is None:
            return
        assert self.head is None or head.size >= self.head.size
        self.head = head
        self.world.see_head(head.note)
        for entry in [entry for entry in self.submitted if entry < head.size]:
            self.world.acknowledged[entry] = self.submitted.pop(entry)

    def poll(self, peer: "SimNode") -> None:
        """Ask a peer for its cosigner's lines; what it says may be lost on the way."""
        rng, known = self.world.rng, self.places.get(peer.member, Place())
        notes = [raw for raw in peer.signed if place_of(raw) > known]
        if self.world.dice.is_on:
            notes = [raw for raw in notes if rng.random() > 0.2]
            rng.shuffle(notes)
        for raw in notes:
            # An honest peer's line either counts or is of a head that we have not got to yet.
            if not isinstance(self.heads.take(raw), Ahead):
                self.places[peer.member] = max(known, place_of(raw))
        size = self.heads.blocked_at()
        change = None if size is None else peer.store.transition(size)
        if change is not None and change[1] is not None:
            self.heads.take(change[1])
        self.publish()

    def hear(self, raw: bytes) -> None:
        """Anything at all, from anybody."""
        try:
            self.heads.take(raw)
        except (Malformed, Unproven):
            return
        self.publish()


class Liar:
    """A byzantine agency: it has its real keys, and the honest nodes' words to turn around."""

    def __init__(self, world: World, member: MemberId) -> None:
        self.world = world
        self.member = member
        private = next(k for k in world.consortium.keys[member] if k.role is Role.COSIGNER)
        self.key = cosigner_key(CHAIN, member, private.public)
        self.private = private
        self.splits: set[int] = set()

    def cosign(self, size: int, root: bytes) -> bytes:
        text = Checkpoint(CHAIN, size, root).encode()
        time_s = self.world.seconds() + self.world.rng.randint(-100, 100)
        return Note(text, (cosign_text(text, self.key, time_s, self.private.sign),)).encode()

    def lie(self, nodes: list[SimNode]) -> bytes:
        """A note that should count for nothing, or for no more than one line."""
        rng = self.world.rng
        heads = [node.head for node in nodes if node.is_up and node.head is not None]
        size = rng.choice([rng.randint(1, 60), *(head.size for head in heads)]) or 1
        match rng.randint(0, 4):
            case 0:  # Equivocate.
                self.splits.add(size)
                return self.cosign(size, rng.randbytes(32))
            case 1:  # A real note with another's line bent.
                if heads:
                    raw = bytearray(rng.choice(heads).note)
                    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(7)
                    return bytes(raw)
            case 2 if heads:  # A real note of old.
                return rng.choice(heads).note
            case 3:  # The others' lines under another head.
                if heads:
                    lines = parse_note(rng.choice(heads).note).lines
                    text = Checkpoint(CHAIN, size, rng.randbytes(32)).encode()
                    return Note(text, lines).encode()
            case _:
                pass
        return rng.randbytes(rng.randint(0, 300))

    def propose(self, nodes: list[SimNode]) -> list[bytes]:
        """A block that no honest node may accept."""
        rng, old = self.world.rng, [raw for _, block in self.world.blocks for raw in block]
        pool = [raw for node in nodes for raw in node.mempool]
        block = pool[: rng.randint(0, 2)]
        match rng.randint(0, 3):
            case 0 if old:
                bad = rng.choice(old)  # A replay.
            case 1 if pool:
                raw = bytearray(rng.choice(pool))
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
                bad = bytes(raw)
            case 2 if pool:
                bad = rng.choice(pool)
                block = [bad]  # The same twice.
            case _:
                bad = rng.randbytes(rng.randint(0, 99))
        return [*block, bad]


class SimFollower:
    """A reader that starts from the genesis and believes nobody."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.follower = Follower(world.consortium.founding, allow_trial=True)

    def follow(self, node: SimNode, twist: Callable[[bytes], bytes] | None = None) -> None:
        """Sync from one node; `twist` is a liar's hand on every byte that it serves."""
        if node.head is None:
            return
        serve = twist or (lambda raw: raw)
        try:
            try:
                self._step(serve(node.head.note), node, serve)
            except Unproven as err:
                if err.code != "tlog.quorum":
                    raise
                for size in node.store.transitions():
                    change = node.store.transition(size)
                    if size > self.follower.size and change is not None and change[1] is not None:
                        self._step(serve(change[1]), node, serve)
                self._step(serve(node.head.note), node, serve)
        except (Malformed, Unproven) as err:
            # An honest node may be behind another one, and nothing else.
            if twist is None and err.code != "follow.rollback":
                raise
        if self.follower.checkpoint is not None:
            self.world.see_head(self.follower.checkpoint.raw)

    def _step(self, note: bytes, node: SimNode, serve: Callable[[bytes], bytes]) -> None:
        pull = self.follower.offer(note)
        if pull is None:
            return
        found = [node.store.leaf(index) for index in range(pull.first, pull.checkpoint.size)]
        leaves = [serve(leaf) for leaf in found if leaf is not None]
        self.follower.advance(self.follower.stage(pull, leaves))


def decide(world: World, nodes: list[SimNode], liars: list[Liar], validators: int) -> None:
    """One round of the engine: somebody proposes, the block counts if more than two thirds of the
    validators accept it. Liars accept everything.
    """
    up = [node for node in nodes if node.is_up and node.is_level()]
    world.now = TimeMs(world.now + world.rng.randint(200, 3_000))
    if world.rng.random() < 0.25 and liars:
        block = world.rng.choice(liars).propose(up)
    elif up:
        pool = [raw for node in up for raw in node.mempool]
        world.rng.shuffle(pool)
        block = world.rng.choice(up).app.prepare(pool, world.now, BLOCK_BYTES_MAX)
    else:
        return
    yes = sum(node.app.process(block, world.now) is None for node in up) + len(liars)
    if 3 * yes > 2 * validators:
        assert all(parse_transaction(raw) for raw in block)
        world.blocks.append((world.now, tuple(block)))
    else:
        world.refused_blocks += 1


def expect_diverged(work: Callable[[], None]) -> bool:
    """Whether a node stops because too many contradict it."""
    try:
        work()
    except Broken as err:
        return err.code == "node.diverged"
    return False
