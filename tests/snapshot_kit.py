"""A store with a history worth a snapshot, and another that restores it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accord.client.home import PrivateKey
from accord.ledger.views import cosigner_key, policy_of
from accord.node.restoring import Restoring, Steps
from accord.node.snapshots import Snapshot
from accord.node.state_sync import Shelf
from accord.node.store import Connect, Store, connect_sqlite
from accord.statements.bodies import Keyset, Role
from accord.tlog.checkpoint import Checkpoint
from accord.tlog.note import Note, cosign_text
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId
from consortium_kit import CHAIN, Consortium, derived_key, listings


@dataclass
class History:
    """A consortium whose blocks stand in a store, its policy changes signed by all."""

    path: Path
    world: Consortium = field(default_factory=Consortium)
    notes: list[tuple[int, bytes]] = field(default_factory=list)
    halves: list[bytes] = field(default_factory=list)  # With the old quorum only, the new only.

    def __post_init__(self) -> None:
        self.store = Store(self.path, self.world.founding)
        self.ledger = self.store.ledger()
        self._done = 0

    def open_epochs(self) -> "History":
        self.world.open_epochs()
        return self.keep()

    def publish(self, count: int, seed: str) -> "History":
        self.world.publish("nl-one", listings(count, seed))
        return self.keep()

    def idle(self, blocks: int) -> "History":
        for _ in range(blocks):
            self.world.block()
        return self.keep()

    def rotate_cosigner(self, name: str, version: int) -> "History":
        """Another policy: the member's cosigner has a new key."""
        member = MemberId(name)
        old = self.world.key(name, Role.COSIGNER)
        new = derived_key(name, Role.COSIGNER, f"node-{version}")
        keys = (*(key for key in self.world.keys[member] if key is not old), new)
        public = tuple(sorted(key.role_key(CHAIN, member) for key in keys))
        self.world.must(Keyset(self.world.header(name), version, public), Role.ROOT)
        self.world.keys[member] = keys
        self.keep()
        self.notes.append((self.store.size, self.signed([*self.cosigners(), (member, old)])))
        two = [item for item in self.cosigners() if item[0] != member][:2]
        self.halves += [self.signed([*two, (member, key)]) for key in (old, new)]
        return self

    def cosigners(self) -> list[tuple[MemberId, PrivateKey]]:
        """Every agency's key."""
        return [(name, self.world.key(name, Role.COSIGNER)) for name in self.world.agencies]

    def signed(self, keys: Sequence[tuple[MemberId, PrivateKey]]) -> bytes:
        """The newest head with the lines of these keys."""
        world = self.world
        text = Checkpoint(CHAIN, self.store.size, self.store.root).encode()
        lines = (
            cosign_text(text, cosigner_key(CHAIN, name, key.public), world.now // 1000, key.sign)
            for name, key in keys
        )
        return Note(text, tuple(lines)).encode()

    def keep(self) -> "History":
        """Commit what the consortium has ordered since."""
        for now, block in self.world.blocks[self._done :]:
            before = policy_of(self.ledger.state, CHAIN)
            result = self.ledger.finalize(block, now)
            is_changed = policy_of(self.ledger.state, CHAIN) != before
            self.store.commit(result, before.encode() if is_changed else None)
        self._done = len(self.world.blocks)
        return self

    def shelf(self, interval: int = 1) -> Shelf:
        return Shelf(self.store, interval)

    def snapshot(self, height: int | None = None) -> Snapshot:
        found = self.shelf().find(self.store.height if height is None else height)
        assert found is not None
        return found

    def proven(self) -> "ProvenLog":
        return ProvenLog(self.world.leaves, [list(self.notes)])


@dataclass
class ProvenLog:
    """What a joining node proved before; and what others claim of policy changes."""

    all_leaves: list[bytes]
    claims: list[Steps]
    limit: int = 2**62

    def reach(self, size: int) -> None:
        if size > min(self.limit, len(self.all_leaves)):
            raise Unavailable("join.not_reached")

    def leaves(self, first: int, end: int) -> list[bytes]:
        return self.all_leaves[first:end]

    def steps(self, size: int) -> Iterator[Steps]:
        for claim in self.claims:
            yield [step for step in claim if step[0] <= size]


def empty_store(history: History, path: Path, connect: Connect = connect_sqlite) -> Store:
    return Store(path, history.world.founding, connect)


def restore(history: History, snapshot: Snapshot, store: Store) -> None:
    """By honest hands, from its first request to its last chunk."""
    restoring, shelf = Restoring(store, history.proven()), history.shelf()
    found = history.store.block(snapshot.height)
    restoring.judge(snapshot, found.app_hash)
    restoring.begin()
    for index in range(len(snapshot.ends)):
        raw = shelf.chunk(snapshot.height, index)
        assert raw is not None
        assert restoring.take(index, raw) is (index == len(snapshot.ends) - 1)
