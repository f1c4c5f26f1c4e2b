"""A whole consortium from one seed: what must always hold, and that all comes right once it heals.

docs/spec/consensus.md, section 8, says what is simulated and what is taken for granted.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.client.home import PrivateKey
from accord.ledger.views import cosigner_key
from accord.node.store import Store
from accord.statements.bodies import Role
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note, verify_line
from accord.wire.ids import MemberId
from consortium_kit import CHAIN
from sim.liar import Liar
from sim.node import STORE_FILE
from sim.world import World

# One run, as a program of its own: prints the digest of all that happened.
_ALONE = "import sys; from pathlib import Path; from sim.world import World; \
w = World(int(sys.argv[1]), Path(sys.argv[2])); w.run(); print(w.digest)"


@pytest.fixture
def directory() -> Iterator[Path]:
    """In memory where there is such a place: power fails in the simulation, not on the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def test_safe_always_and_live_once_healed(seed: int, directory: Path) -> None:
    world = World(seed, directory)
    try:
        world.run()
    except BaseException as err:
        err.add_note("\n".join([*world.last, f"make sim SEED={seed}"]))
        raise


def test_a_seed_is_one_story_whatever_the_order_of_sets(tmp_path: Path) -> None:
    """Else a failure could not be repeated."""
    told: set[str] = set()
    for number, hash_seed in enumerate(("0", "1")):
        directory = tmp_path / str(number)
        directory.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _ALONE, "5", str(directory)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "tests"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        told.add(done.stdout)
    assert len(told) == 1


def test_another_seed_is_another_story(tmp_path: Path) -> None:
    told: list[str] = []
    for number, seed in enumerate((3, 3, 4)):
        directory = tmp_path / str(number)
        directory.mkdir()
        world = World(seed, directory)
        world.run()
        told.append(world.digest)
    assert told[0] == told[1] != told[2]


class Restored(World):
    """Nothing fails, but that somebody puts a home back as it was."""

    async def story(self) -> None:
        self.begin()
        node = self.nodes[self.founders[0]]
        await asyncio.sleep(10.0)
        copy = node.back_up()
        node.is_faulty = True
        await asyncio.sleep(10.0)
        self.is_healed = True  # Nobody says any more, so the others' newest head has its line.
        await asyncio.sleep(10.0)
        await self.while_down(node, lambda: node.restore(copy))
        while node.halted is None:
            await asyncio.sleep(1.0)


def test_a_node_from_a_backup_signs_nothing_and_says_so(directory: Path) -> None:
    world = Restored(1, directory, liars=0)
    world.run()
    halted = world.nodes[world.founders[0]].halted
    assert halted is not None
    assert halted.code == "cosigner.state_older"
    assert world.loop.now_s < 60


class Plotter(Liar):
    """Its key signs one other log, as its fellow's does."""

    def note(self) -> bytes:
        size = len(self.world.oracle.leaves)
        return self.cosign(size, hashlib.sha256(b"another log of %d" % size).digest())


class Forked(World):
    """Two of four agencies lie together: no quorum without them, and none of theirs alone."""

    async def story(self) -> None:
        self.is_beyond = True
        self.liars = {name: Plotter(self, name) for name in self.liars}
        self.begin()
        while any(node.halted is None for node in self.nodes.values()):
            await asyncio.sleep(1.0)


def test_too_many_liars_are_seen_and_each_halted_node_can_prove_it(directory: Path) -> None:
    world = Forked(1, directory, liars=2)
    world.run()
    lying = {cosigner_of(world, member).public for member in world.liars}
    for node in world.nodes.values():
        assert node.halted is not None
        assert node.halted.code == "node.diverged"
        store = Store(node.home.path / STORE_FILE, world.founding)
        by_size: dict[int, set[bytes]] = {}
        for public, size, raw in store.splits():
            note = parse_note(raw)
            assert parse_checkpoint(note.text).root != world.oracle.roots[size]
            for line in note.lines:  # Anybody can check it: the lines are the agencies' own.
                member = MemberId(line.name.rpartition("/")[2])
                verify_line(line, note.text, cosigner_key(CHAIN, member, public))
            by_size.setdefault(size, set()).add(public)
        assert lying in by_size.values()
        store.close()


def cosigner_of(world: World, member: MemberId) -> PrivateKey:
    return next(key for key in world.keys[member] if key.role is Role.COSIGNER)
