"""A follower: the real replica on a disk that fails, fed by nodes, liars and stale mirrors."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from accord.replica.replica import Identity, Replica, sync_any
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import MemberId
from sim.faults import Crash, FaultyReplicaStore, Power

if TYPE_CHECKING:
    from sim.world import World

ROUND_S = 8.0  # The longest between two rounds.
STALE = "a stale mirror"


class Source:
    """`replica.LogSource`: a node, a liar or a stale mirror, over a network that loses."""

    def __init__(self, world: "World", reader: str, name: str) -> None:
        self._world = world
        self._reader = reader
        self.name = name

    def _get(self, path: str) -> bytes:
        world = self._world
        for way in ((self._reader, self.name), (self.name, self._reader)):
            if not world.network.passes(*way):
                raise Unavailable("peer.no_answer", url=self.name, why="lost")
        if self.name != STALE:
            return world.member(self.name).read(path)
        if path == "/checkpoint" and world.heads:  # An old head, with all else up to date.
            return world.rng.choice(world.heads)
        honest = [node for node in world.nodes.values() if node.is_up and not node.is_faulty]
        if not honest:
            raise Unavailable("peer.no_answer", url=self.name, why="down")
        return world.rng.choice(honest).read(path)

    def fetch_checkpoint(self) -> bytes:
        return self._get("/checkpoint")

    def fetch_transitions(self) -> list[int]:
        sizes = json.loads(self._get("/transitions"))
        return [int(size) for size in sizes]

    def fetch_checkpoint_at(self, size: int) -> bytes:
        return self._get(f"/transition/{size}")

    def fetch_tile(self, path: str) -> bytes:
        return self._get(f"/{path}")

    def fetch_blob(self, digest: bytes) -> bytes:
        return self._get(f"/blob/{digest.hex()}")


class Reader:
    """One follower. With an identity it also keeps the blobs that are released to it."""

    def __init__(self, world: "World", name: str, identity: Identity | None) -> None:
        self.world = world
        self.name = name
        self.path: Path = world.directory / f"{name}.replica"
        self.power = Power()
        self.size = 0
        self._identity = identity
        self._replica: Replica | None = None

    async def keep(self) -> None:
        while True:
            await self.world.sleep(ROUND_S)
            self.look()

    def look(self) -> None:
        """One round: follow whoever answers truthfully."""
        try:
            self._look()
        except Crash:
            self.world.count("follower crash")
            self.close()
            self.power = Power()

    def close(self) -> None:
        if self._replica is not None:
            self._replica.close()
            self._replica = None

    def _look(self) -> None:
        world = self.world
        names: list[str] = [*world.nodes, *world.liars, STALE]
        world.rng.shuffle(names)
        sources = [Source(world, self.name, name) for name in names]
        replica = self._open()
        try:
            _, lies = sync_any(replica, sources, world.time())
            world.count("refused by a follower", len(lies))
        except (Unproven, Malformed):
            world.count("refused by a follower")
        except Unavailable:
            world.count("a follower without an answer")
        except (AccordError, ValueError, TypeError) as err:
            world.violate(f"a follower died of {err!r}", self.name)
        self._check(replica)

    def _open(self) -> Replica:
        """As after a start: whatever the disk holds proves itself."""
        if self._replica is None:
            replica = Replica(self.path, self.world.founding, self._identity, allow_trial=True)
            replica._store.close()
            replica._store = FaultyReplicaStore(self.path, self.power)
            self._replica = replica
        return self._replica

    def _check(self, replica: Replica) -> None:
        oracle = self.world.oracle
        oracle.must(replica.size >= self.size, "a follower went back", self.name)
        if replica.checkpoint is not None:
            oracle.see_head(self.name, replica.checkpoint.raw)
        if replica.size > self.size:
            oracle.see_followed(self.name, replica.leaves(0, replica.size))
            self.world.trace("followed", self.name, replica.size)
        self.size = replica.size
        with suppress(Broken):
            oracle.must(not replica.evidence(), "evidence against honest agencies", self.name)


def places(members: list[MemberId]) -> list[str]:
    """Where followers are: beside members, so that they are parted with them."""
    return [f"reader-{place}" for place, _ in enumerate(members[:2])]
