"""A node's store that begins with the log of another one: whole and right, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from accord.ledger.block import Ledger
from accord.node.store import PastLog, Store
from accord.statements.bodies import Propose, Role
from accord.tlog import Tile, leaf_hash, tree_root
from accord.tlog.tiles import ENTRIES
from accord.wire.errors import AccordError, Unavailable, Unproven
from bytes_kit import bent
from consortium_kit import Consortium, listings
from continuing_kit import Continued, go_on
from node_kit import Faulty, connect_faulty


@pytest.fixture(scope="module")
def world() -> Consortium:
    made = Consortium().open_epochs()
    made.publish("nl-one", listings(3))
    return made


@pytest.fixture(scope="module")
def after(world: Consortium) -> Continued:
    return go_on(world)


class Leaves:
    """A `PastLog` of a consortium's."""

    def __init__(self, world: Consortium) -> None:
        self.kept = list(world.leaves)
        self.blobs = dict(world.blobs)

    def leaves(self, first: int, end: int) -> list[bytes]:
        return self.kept[first:end]

    def blob(self, digest: bytes) -> bytes | None:
        return self.blobs.get(digest)


def old_store(path: Path, world: Consortium) -> Store:
    store = Store(path, world.founding)
    ledger = store.ledger()
    for time_ms, block in world.blocks:
        store.commit(ledger.finalize(block, time_ms))
    return store


def test_it_holds_what_the_old_store_held(
    tmp_path: Path, world: Consortium, after: Continued
) -> None:
    old = old_store(tmp_path / "old.db", world)
    new = Store(tmp_path / "new.db", after.founding, past=old)
    assert new.ledger().app_hash() == after.ledger.app_hash()
    assert (new.size, new.root, new.height) == (old.size, old.root, 0)
    for digest, blob in world.blobs.items():
        assert (new.blob(digest), new.blob_entry(digest)) == (blob, old.blob_entry(digest))
    for tile in (Tile(ENTRIES, 0, old.size), Tile(0, 0, old.size), Tile(0, 0, 5)):
        assert new.tile(tile) == old.tile(tile)
    assert (new.head(), new.transitions(), new.blobless(new.size)) == (None, (), 0)
    new.close()
    again = Store(tmp_path / "new.db", after.founding)
    assert again.ledger().app_hash() == after.ledger.app_hash()
    assert again.time_ms == after.founding.genesis.time_ms
    old.close()
    again.close()


def test_blocks_go_on_where_the_old_log_ended(
    tmp_path: Path, world: Consortium, after: Continued
) -> None:
    store = Store(tmp_path / "new.db", after.founding, past=Leaves(world))
    ledger = store.ledger()
    raw = after.sign(
        Propose(after.header("fr-five"), after.founding.genesis.parameters), Role.GOVERNOR
    )
    result = ledger.finalize([raw], after.now)
    store.commit(result)
    assert result.verdicts == (len(world.leaves),)
    assert store.root == tree_root(
        [*map(leaf_hash, world.leaves), leaf_hash(result.logged[0].leaf)]
    )
    block = store.block(1)
    replayed = Ledger.begun(after.founding, world.leaves)
    assert replayed.finalize(block.transactions, block.time_ms).app_hash == block.app_hash
    store.close()


def without_blobs(past: Leaves) -> None:
    past.blobs.clear()


def bent_leaf(past: Leaves) -> None:
    past.kept[3] = bent(past.kept[3])


def short(past: Leaves) -> None:
    past.kept.pop()


def other_blob(past: Leaves) -> None:
    past.blobs = dict.fromkeys(past.blobs, b"another")


def test_a_blob_that_was_erased_stays_away(
    tmp_path: Path, world: Consortium, after: Continued
) -> None:
    past = Leaves(world)
    without_blobs(past)
    store = Store(tmp_path / "new.db", after.founding, past=past)
    assert store.blobless(store.size) == len(world.blobs)
    store.close()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(bent_leaf, "genesis.past"), (short, "genesis.past"), (other_blob, "store.past_blob")],
)
def test_what_was_not_pinned_founds_no_store(
    tmp_path: Path,
    world: Consortium,
    after: Continued,
    spoil: Callable[[Leaves], None],
    code: str,
) -> None:
    past = Leaves(world)
    spoil(past)
    with pytest.raises(Unproven) as caught:
        Store(tmp_path / "new.db", after.founding, past=past)
    assert caught.value.code == code
    Store(tmp_path / "new.db", after.founding, past=Leaves(world)).close()


def test_without_the_old_log_there_is_none(tmp_path: Path, after: Continued) -> None:
    with pytest.raises(Unavailable, match=r"store\.no_past"):
        Store(tmp_path / "new.db", after.founding)


@pytest.mark.parametrize("kind", ["lost", "stored"])
def test_whatever_write_fails_the_store_is_founded_whole_or_not_at_all(
    tmp_path: Path, world: Consortium, after: Continued, kind: str
) -> None:
    past: PastLog = Leaves(world)
    for number, fail_at in enumerate((1, 2, 15, 40, 80, 81, 82, 10_000)):
        path = tmp_path / f"{number}.db"

        def connect(file: Path, at: int = fail_at) -> Faulty:
            connection = connect_faulty(file)
            connection.fail_at, connection.kind = at, kind
            return connection

        try:
            Store(path, after.founding, connect, past).close()
        except AccordError as err:  # Some fail and some do not.
            if err.code != "store.commit":
                raise
        store = Store(path, after.founding, past=past)
        assert store.ledger().app_hash() == after.ledger.app_hash()
        assert store.blobless(store.size) == 0
        store.close()
