"""A block is in the store whole or not at all, whatever fails and whenever."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.ledger.block import BlockResult, Ledger
from accord.node.store import Store
from accord.statements.bodies import Propose, Role
from accord.tlog import Tile, encode_bundle, encode_tile, leaf_hash, tree_root
from accord.tlog.tiles import ENTRIES
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from consortium_kit import CHAIN, Consortium, founding, listings, plan
from node_kit import Faulty, connect_faulty


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    made = Consortium().open_epochs()
    made.publish("nl-one", listings(3))
    return made


@pytest.fixture
def store(tmp_path: Path, consortium: Consortium) -> Iterator[Store]:
    made = Store(tmp_path / "node.db", consortium.founding)
    yield made
    made.close()


def fill(store: Store, consortium: Consortium, blocks: int | None = None) -> Ledger:
    ledger = store.ledger()
    for time_ms, transactions in consortium.blocks[:blocks]:
        result = ledger.finalize(transactions, time_ms)
        if result.logged:
            store.commit(result)
    return ledger


def next_result(consortium: Consortium, done: int) -> BlockResult:
    ledger = Ledger.founded(consortium.founding.genesis)
    results = [ledger.finalize(block, at) for at, block in consortium.blocks[: done + 1]]
    return results[-1]


def commits(store: Store, result: BlockResult) -> bool | None:
    """Whether it did; None where the store takes nothing any more."""
    try:
        store.commit(result, b"policy\n")
    except Unavailable as err:
        return {"store.commit": False, "store.halted": None}[err.code]
    return True


def test_an_empty_store_is_the_founded_ledger(store: Store, consortium: Consortium) -> None:
    ledger = Ledger.founded(consortium.founding.genesis)
    assert store.ledger().app_hash() == ledger.app_hash()
    assert (store.size, store.height, store.head(), store.transitions()) == (0, 0, None, ())


def test_reopened_it_holds_what_was_committed(tmp_path: Path, consortium: Consortium) -> None:
    store = Store(tmp_path / "node.db", consortium.founding)
    wanted = fill(store, consortium)
    store.close()
    again = Store(tmp_path / "node.db", consortium.founding)
    assert again.size == len(consortium.leaves)
    assert again.ledger().app_hash() == wanted.app_hash() == consortium.ledger.app_hash()
    assert [again.leaf(i) for i in range(again.size)] == consortium.leaves
    for digest, blob in consortium.blobs.items():
        assert again.blob(digest) == blob
        assert again.blob_entry(digest) is not None
    again.close()


def test_tiles_and_bundles_are_the_logs_own(store: Store, consortium: Consortium) -> None:
    fill(store, consortium)
    for width in range(1, store.size + 1):
        assert store.tile(Tile(0, 0, width)) == encode_tile(store, Tile(0, 0, width))
        assert store.tile(Tile(ENTRIES, 0, width)) == encode_bundle(consortium.leaves[:width])
    assert store.tile(Tile(0, 0, 3)) == b"".join(leaf_hash(x) for x in consortium.leaves[:3])
    for beyond in (Tile(0, 0, store.size + 1), Tile(1, 0, 1), Tile(ENTRIES, 1, 1)):
        with pytest.raises(Malformed, match=r"tlog\.tile"):
            store.tile(beyond)
    assert store.ledger().frontier.root() == tree_root(leaf_hash(x) for x in consortium.leaves)


def test_blocks_replay_to_the_same_app_hashes(store: Store, consortium: Consortium) -> None:
    fill(store, consortium)
    ledger = Ledger.founded(consortium.founding.genesis)
    for height in range(1, store.height + 1):
        block = store.block(height)
        result = ledger.finalize(block.transactions, block.time_ms)
        assert (result.app_hash, result.frontier.size) == (block.app_hash, block.size)
        assert tuple(v for v in block.verdicts if v >= 0) == result.verdicts


def test_a_rejected_transaction_leaves_its_code_only(tmp_path: Path) -> None:
    fresh = Consortium()
    store = Store(tmp_path / "node.db", fresh.founding)
    action = founding((plan("fr-five", "FR"),)).genesis.agencies[0]
    good = fresh.sign(Propose(fresh.header("nl-one"), action), Role.GOVERNOR)
    store.commit(store.ledger().finalize([b"noise", good, good], fresh.now))
    assert store.block(1).verdicts == (-1, 0, -7)
    assert store.block(1).transactions == (good,)
    store.close()


@pytest.mark.parametrize("kind", ["lost", "stored"])
def test_whatever_write_fails_the_block_is_whole_or_absent(
    tmp_path: Path, consortium: Consortium, kind: str
) -> None:
    first = Store(tmp_path / "first.db", consortium.founding)
    fill(first, consortium, 3)
    first.close()
    result = next_result(consortium, 3)
    outcomes: list[int] = []
    for fail_at in range(1, 100):
        path = tmp_path / f"{kind}-{fail_at}.db"
        shutil.copy(tmp_path / "first.db", path)
        store = Store(path, consortium.founding, connect_faulty)
        connection = store._connection
        assert isinstance(connection, Faulty)
        connection.kind, connection.fail_at = kind, fail_at
        failed = commits(store, result) is False
        if not failed:
            store.close()
            break
        assert commits(store, result) is None
        store.close()
        again = Store(path, consortium.founding)
        again.ledger()  # Proves itself, or raises.
        outcomes.append(again.size)
        if again.size == 3:
            again.commit(result, b"policy\n")
        assert again.size == 4
        assert again.ledger().app_hash() == result.app_hash
        assert again.transition(4) == (b"policy\n", None)
        again.close()
    assert len(outcomes) > 5
    assert set(outcomes[:-1]) == {3}
    assert outcomes[-1] == (4 if kind == "stored" else 3)  # The last write point is COMMIT.


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE nodes SET hash = zeroblob(32)",
        "DELETE FROM state WHERE tbl = 'agencies' AND key = x'6e6c2d6f6e65'",
        "UPDATE state SET row = x'00' WHERE tbl = 'parameters'",
        "UPDATE blocks SET app_hash = zeroblob(32)",
        "INSERT INTO state VALUES ('strangers', x'00', x'00')",
    ],
)
def test_a_store_that_was_changed_does_not_open(
    tmp_path: Path, consortium: Consortium, harm: str
) -> None:
    store = Store(tmp_path / "node.db", consortium.founding)
    fill(store, consortium, 2)
    store.close()
    connection = sqlite3.connect(tmp_path / "node.db")
    connection.execute(harm)
    connection.commit()
    connection.close()
    store = Store(tmp_path / "node.db", consortium.founding)
    with pytest.raises(Broken):
        store.ledger()
    store.close()


def test_another_consortiums_store_is_refused(tmp_path: Path, store: Store) -> None:
    other = founding((plan("fr-five", "FR"),))
    with pytest.raises(Unproven, match=r"store\.genesis"):
        Store(tmp_path / "node.db", other)


def test_a_transition_keeps_the_first_note_for_ever(store: Store, consortium: Consortium) -> None:
    ledger = store.ledger()
    at, block = consortium.blocks[0]
    store.commit(ledger.finalize(block, at), b"before\n")
    assert store.transitions() == ()
    store.publish(1, b"both\n", [b"k" * 32])
    store.publish(1, b"later\n", [b"k" * 32])
    assert store.transition(1) == (b"before\n", b"both\n")
    assert (store.transitions(), store.head()) == ((1,), (1, b"later\n"))
    assert store.cosigned(b"k" * 32) == 1
    assert store.cosigned(b"x" * 32) is None
    assert ledger.chain == CHAIN
