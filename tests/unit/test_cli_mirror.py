"""A mirror serves what was proved, whole at any moment, whoever wrote in its directory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from accord.cli import mirror
from accord.cli.mirror import MirrorFiles
from accord.client.files import write_durably
from accord.client.home import role_keys
from accord.ledger.genesis import encode_genesis
from accord.replica.replica import Replica
from accord.statements.bodies import Keyset, Role
from accord.wire.errors import Unavailable, Unproven
from accord.wire.ids import MemberId
from consortium_kit import CHAIN, Consortium, derived_key, listings
from source_kit import ConsortiumSource, now_of

ENTRIES_IN_A_TILE = 256


@dataclass
class StaticHost:
    """A `replica.LogSource` over files: all that a web server could do."""

    directory: Path
    name: str = "static"

    def read(self, path: str) -> bytes:
        try:
            return (self.directory / path).read_bytes()
        except FileNotFoundError as err:
            raise Unavailable("http.not_found", path=path) from err

    def fetch_checkpoint(self) -> bytes:
        return self.read("checkpoint")

    def fetch_transitions(self) -> list[int]:
        return list(json.loads(self.read("transitions")))

    def fetch_checkpoint_at(self, size: int) -> bytes:
        return self.read(f"transition/{size}")

    def fetch_tile(self, path: str) -> bytes:
        return self.read(path)

    def fetch_blob(self, digest: bytes) -> bytes:
        raise AssertionError(digest)


@dataclass
class World:
    consortium: Consortium
    source: ConsortiumSource
    replica: Replica
    files: MirrorFiles
    directory: Path

    def follow(self) -> None:
        self.replica.sync(self.source, now_of(self.consortium))

    def grow_to(self, size: int) -> None:
        while len(self.consortium.leaves) < size:
            self.consortium.publish("nl-one", listings(1), approve=False)
        self.follow()

    def read_afresh(self, name: str) -> Replica:
        """Somebody without a replica follows the mirror from nothing."""
        reader = Replica(
            self.directory.with_name(name), self.consortium.founding, None, allow_trial=True
        )
        try:
            reader.sync(StaticHost(self.directory), now_of(self.consortium))
        finally:
            reader.close()
        return reader


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    consortium = Consortium().open_epochs()
    replica = Replica(tmp_path / "own.sqlite", consortium.founding, None, allow_trial=True)
    directory = tmp_path / "public"
    directory.mkdir()
    genesis = encode_genesis(consortium.founding.genesis)
    files = MirrorFiles(directory, genesis)
    yield World(consortium, ConsortiumSource(consortium), replica, files, directory)
    replica.close()


def partial_tiles(directory: Path) -> set[str]:
    return {str(f.relative_to(directory)) for f in directory.rglob("*.p/*")}


def test_what_is_mirrored_is_what_a_node_serves_at_every_size(world: World) -> None:
    for size in (20, 21, ENTRIES_IN_A_TILE - 1, ENTRIES_IN_A_TILE, ENTRIES_IN_A_TILE + 5):
        world.grow_to(size)
        assert world.files.update(world.replica) > 0
        reader = world.read_afresh(f"reader-{size}")
        assert reader.size == len(world.consortium.leaves)
        assert reader.checkpoint is not None
        assert world.replica.checkpoint is not None
        assert reader.checkpoint.root == world.replica.checkpoint.root
    for file in world.directory.glob("tile/**/*"):
        if file.is_file():
            path = str(file.relative_to(world.directory))
            assert file.read_bytes() == world.source.fetch_tile(path)
    assert world.files.update(world.replica) == 0
    kept = partial_tiles(world.directory)
    assert kept == {f"tile/{row}/001.p/5" for row in ("0", "entries")} | {"tile/1/000.p/1"}


def rotate_cosigner(consortium: Consortium, member: MemberId) -> None:
    before = consortium.keys[member]
    kept = [key for key in before if key.role is not Role.COSIGNER]
    keys = [*kept, derived_key(member, Role.COSIGNER, "node-b")]
    stated = Keyset(consortium.header(member), 2, role_keys(CHAIN, member, keys))
    consortium.must(stated, Role.ROOT)
    consortium.keys[member] = (*keys, *(key for key in before if key not in keys))


def test_a_reader_goes_through_every_change_of_the_quorum(world: World) -> None:
    """In the end two of the four first cosigners sign: too few for who knows the genesis alone."""
    world.grow_to(12)
    for member in ("nl-one", "ie-two"):
        rotate_cosigner(world.consortium, MemberId(member))
        world.follow()
        world.files.update(world.replica)
        world.grow_to(len(world.consortium.leaves) + 2)
        world.files.update(world.replica)
    assert len(world.replica.transitions()) == 2
    assert world.read_afresh("reader").size == world.replica.size


@pytest.mark.parametrize("failing", range(6))  # Genesis, bundle, tile, transitions, policy, head.
def test_a_full_disk_leaves_the_last_head_whole_and_the_next_look_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    world.grow_to(20)
    world.files.update(world.replica)
    old = world.read_afresh("before")
    world.grow_to(30)
    left = failing

    def write(path: Path, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise OSError(28, "No space left on device", str(path))
        left -= 1
        write_durably(path, data)

    monkeypatch.setattr(mirror, "write_durably", write)
    with pytest.raises(Unavailable, match=r"mirror\.write"):
        world.files.update(world.replica)
    assert world.read_afresh(f"during-{failing}").size == old.size
    monkeypatch.setattr(mirror, "write_durably", write_durably)
    MirrorFiles(world.directory, b"genesis").update(world.replica)
    assert world.read_afresh(f"after-{failing}").size == 30


def test_another_logs_mirror_is_left_alone(world: World) -> None:
    world.grow_to(12)
    world.files.update(world.replica)
    file = world.directory / "checkpoint"
    file.write_text(file.read_text().replace(CHAIN, "trial-other"))
    world.grow_to(13)
    with pytest.raises(Unproven, match=r"mirror\.foreign"):
        world.files.update(world.replica)


def test_a_changed_file_misleads_no_reader(world: World) -> None:
    world.grow_to(20)
    world.files.update(world.replica)
    (bundle,) = world.directory.glob("tile/entries/000.p/*")
    raw = bytearray(bundle.read_bytes())
    raw[40] ^= 1
    bundle.write_bytes(raw)
    with pytest.raises(Unproven):
        world.read_afresh("misled")
