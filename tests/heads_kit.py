"""Honest nodes' heads without an engine or a network: blocks are handed over, lines are shown.

For rules of `accord.node.heads`, one at a time. What a whole node does, with everything that goes
wrong, is simulated in `sim`.
"""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from accord.client.home import Home
from accord.node.abci_app import App
from accord.node.cosigning import Cosigning
from accord.node.engine import Head
from accord.node.gathering import Ahead
from accord.node.heads import Heads
from accord.node.peers import Place, place_of
from accord.node.store import Store
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CHAIN, Consortium


@dataclass
class World:
    """What is decided, and every root that anybody honest was told."""

    directory: Path
    consortium: Consortium
    now: TimeMs = field(init=False)
    blocks: list[tuple[TimeMs, tuple[bytes, ...]]] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now = self.consortium.now

    def see_head(self, raw: bytes) -> None:
        """One root per size, whoever says so. `raw` counted for somebody honest."""
        head = parse_checkpoint(parse_note(raw).text)
        assert self.roots.setdefault(head.size, head.root) == head.root, "two roots for one size"

    def seconds(self) -> int:
        return self.now // 1000


class HeadNode:
    """An honest agency's node, up or down."""

    def __init__(self, world: World, member: MemberId) -> None:
        self.world = world
        self.member = member
        founding = world.consortium.founding
        path = world.directory / member
        path.mkdir()
        keys = world.consortium.keys[member]
        self.home = Home(path, CHAIN, member, "agency", (), founding, keys)
        self.promised = Place()
        self.start()

    def start(self) -> None:
        self.store = Store(self.home.path / "node.db", self.home.founding, _connect)
        ledger = self.store.ledger()
        self.app = App(ledger, self.store.height, self.store.time_ms)
        cosigning = Cosigning(CHAIN, lambda: (self.home,), self.store)
        self.heads = Heads(CHAIN, self.store, cosigning, ledger.state)
        self.head: Head | None = self.heads.stored(self.world.seconds())
        self.signed: list[bytes] = []
        self.is_up = True

    def crash(self) -> None:
        """All that was in memory is gone."""
        self.is_up = False
        self.store.close()

    def take_block(self) -> None:
        """The next decided block."""
        now, raws = self.world.blocks[self.app.height]
        done = self.app.finalize(self.app.height + 1, raws, now)
        self.store.commit(done.result, done.policy_before, done.misbehaviour)
        if done.result.logged:
            size = done.result.frontier.size
            self.heads.grew(size, self.app.ledger.state, done.policy_before)
        self.app.committed()

    def sign(self) -> None:
        raw = self.heads.sign_next(self.world.seconds())
        if raw is not None:
            self.world.see_head(raw)
            place = place_of(raw)
            assert place >= self.promised, "a smaller size, or an earlier time"
            self.promised = place
            self.signed.append(raw)
        self.publish()

    def publish(self) -> None:
        head = self.heads.publish(self.world.seconds(), improve=False)
        if head is None:
            return
        assert self.head is None or head.size >= self.head.size
        self.head = head
        self.world.see_head(head.note)

    def poll(self, peer: "HeadNode") -> None:
        """Take a peer's lines, and the head of a policy change that we lack."""
        for raw in peer.signed:
            taken = self.heads.take(raw)
            assert isinstance(taken, Ahead) or not taken.splits, "nobody honest is accused"
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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    return connection
