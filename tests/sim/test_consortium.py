"""Four agencies, one of them perhaps a liar, a bad network, power that fails at any write.

Always: one root per size; what was acknowledged is there; nobody honest believes what a quorum did
not sign. Once the network heals: everybody gets to the end, and statements are acknowledged.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF, agency_application
from accord.ledger.views import validators
from accord.statements.bodies import Parameters, Propose, Role, Vote
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_transaction
from accord.tlog.merkle import leaf_hash, tree_root
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CHAIN, FOUR, Consortium, founding, keys_for, plan
from sim_kit import Liar, SimFollower, SimNode, World, decide, expect_diverged

STEPS = 400
FOUNDING = founding()
FIFTH = plan("fr-five", "FR")
ADMISSION = agency_application(CHAIN, FIFTH, keys_for(FIFTH.member, AGENCY_STAFF))


@pytest.fixture
def directory() -> Iterator[Path]:
    """In memory where there is such a place: power fails in the simulation, not on the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


class Consort:
    """One simulation: who is honest, who lies, who follows, and what may happen next."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = random.Random(seed)
        consortium = Consortium(FOUNDING)
        consortium.keys[FIFTH.member] = keys_for(FIFTH.member, AGENCY_STAFF)
        self.world = World(self.rng, directory, consortium)
        members = [item.member for item in FOUR]
        self.rng.shuffle(members)
        liars = self.rng.randint(0, 1)
        self.liars = [Liar(self.world, member) for member in members[:liars]]
        self.nodes = [SimNode(self.world, member) for member in members[liars:]]
        self.followers = [SimFollower(self.world) for _ in range(2)]
        self.proposal: int | None = None
        self.grows = self.rng.random() < 0.5
        for node in self.nodes:
            node.start()

    @property
    def up(self) -> list[SimNode]:
        return [node for node in self.nodes if node.is_up]

    def sign(self, member: str) -> bytes:
        """Something that some agency says, good or not."""
        consortium = self.world.consortium
        consortium.now = self.world.now
        header = consortium.header(member)
        choice = self.rng.randint(0, 9)
        if choice < 2:
            action = ADMISSION if self.grows and choice else Parameters(0, 60_000, 1, 1, 31, 2, 1)
            return consortium.sign(Propose(header, action), Role.GOVERNOR)
        entry = self.rng.randint(0, 4)
        return consortium.sign(Vote(header, entry, approve=self.rng.random() < 0.9), Role.GOVERNOR)

    def submit(self) -> None:
        if self.up:
            raw = self.sign(self.rng.choice([item.member for item in FOUR]))
            for node in self.rng.sample(self.up, self.rng.randint(1, len(self.up))):
                node.submit(raw)

    def join(self) -> None:
        """The fifth agency's node, once it is a member; it begins with the genesis."""
        known = {node.member for node in self.nodes}
        for node in self.up[:1]:
            if FIFTH.member in validators(node.app.ledger.state) and FIFTH.member not in known:
                self.nodes.append(SimNode(self.world, FIFTH.member))
                self.nodes[-1].start()

    def validators(self) -> int:
        most = max(self.up, key=lambda node: node.app.height, default=None)
        return 4 if most is None else len(validators(most.app.ledger.state))

    def step(self) -> None:
        rng, world = self.rng, self.world
        world.now = TimeMs(world.now + rng.randint(1, 400))
        choice = rng.random()
        down = [node for node in self.nodes if not node.is_up]
        if choice < 0.12:
            self.submit()
        elif choice < 0.20:
            decide(world, self.nodes, self.liars, self.validators())
            self.join()
        elif choice < 0.26:
            for node in down[:1]:
                node.start()
        elif choice < 0.265 and self.up:
            rng.choice(self.up).crash()
        elif choice < 0.32 and self.liars and self.up:
            raw = rng.choice(self.liars).lie(self.nodes)
            node = rng.choice(self.up)
            node.guarded(lambda: node.hear(raw))
        elif choice < 0.38 and self.up:
            self.follow()
        elif self.up:
            node, peer = rng.choice(self.up), rng.choice(self.up)
            work = (node.take_block, node.sign, lambda: node.poll(peer))
            node.guarded(rng.choices(work, (1, 1, 2))[0])

    def follow(self) -> None:
        follower, node = self.rng.choice(self.followers), self.rng.choice(self.up)
        if not self.liars or self.rng.random() < 0.5:
            follower.follow(node)
            return
        liar, nodes, rng = self.liars[0], self.nodes, self.rng

        def twist(raw: bytes) -> bytes:
            return liar.lie(nodes) if rng.random() < 0.6 else raw

        follower.follow(node, twist)

    def heal(self) -> None:
        """From here on nothing fails; liars go on lying."""
        self.world.dice.is_on = False
        for _ in range(30):
            self.join()
            for node in self.nodes:
                if not node.is_up:
                    node.start()
                while not node.is_level():
                    node.take_block()
            self.world.now = TimeMs(self.world.now + 1_000)
            for node in self.nodes:
                for _ in range(3):
                    node.sign()
            for node in self.nodes:
                for peer in self.nodes:
                    node.poll(peer)
            if all(node.head and node.head.size == node.store.size for node in self.nodes):
                return

    def settle(self) -> None:
        """Heal, have one more statement of each honest agency acknowledged, and look."""
        self.heal()
        consortium = self.world.consortium
        for node in self.nodes:
            consortium.now = self.world.now
            action = Parameters(0, 60_000, 1, 1, 31, 2, 1)
            raw = consortium.sign(Propose(consortium.header(node.member), action), Role.GOVERNOR)
            node.submit(raw)
            if raw in node.mempool:
                liars, self.liars = self.liars, []
                for _ in range(3):
                    decide(self.world, self.nodes, self.liars, len(self.nodes))
                self.liars = liars
                self.heal()
                assert raw in self.world.acknowledged.values(), "not live once healed"
        for follower in self.followers:
            follower.follow(self.nodes[0])

    def check(self) -> None:
        stores = [node.store for node in self.nodes]
        assert len({(store.size, store.root) for store in stores}) == 1
        for node in self.nodes:
            assert node.head is not None
            assert node.head.size == node.store.size, f"{node.member} has no quorum"
        leaves = [stores[0].leaf(index) or b"" for index in range(stores[0].size)]
        for size, root in self.world.roots.items():
            assert tree_root(leaf_hash(leaf) for leaf in leaves[:size]) == root
        for entry, raw in self.world.acknowledged.items():
            assert parse_entry(leaves[entry]).statement == parse_transaction(raw).envelope
        for follower in self.followers:
            assert follower.follower.size == stores[0].size
        liars = {liar.key.key.raw for liar in self.liars}
        for store in stores:
            assert {key for key, _, _ in store.splits()} <= liars, "an honest cosigner is accused"

    def close(self) -> None:
        for node in self.up:
            node.store.close()


def test_safe_always_and_live_once_healed(seed: int, directory: Path) -> None:
    sim = Consort(seed, directory)
    try:
        for _ in range(STEPS):
            sim.step()
        sim.settle()
        sim.check()
    except BaseException as err:
        err.add_note(f"make sim SEED={seed}")
        raise
    finally:
        sim.close()


def test_two_liars_of_four_are_seen_and_the_proof_is_kept(directory: Path) -> None:
    """Beyond what can be survived: the fork is noticed, the node stops, and shows why."""
    world = World(random.Random(2), directory, Consortium(FOUNDING))
    members = [item.member for item in FOUR]
    liars = [Liar(world, member) for member in members[:2]]
    node = SimNode(world, MemberId(members[2]))
    world.dice.is_on = False
    node.start()
    world.consortium.now = world.now
    action = Parameters(0, 60_000, 1, 1, 31, 2, 1)
    header = world.consortium.header("nl-one")
    raw = world.consortium.sign(Propose(header, action), Role.GOVERNOR)
    world.blocks.append((world.now, (raw,)))
    node.take_block()
    notes = [liar.cosign(1, b"\x01" * 32) for liar in liars]
    assert not expect_diverged(lambda: node.hear(notes[0]))
    assert expect_diverged(lambda: node.hear(notes[1]))
    assert {key for key, _, _ in node.store.splits()} == {liar.key.key.raw for liar in liars}
    assert {note for _, _, note in node.store.splits()} == set(notes)
    node.store.close()
