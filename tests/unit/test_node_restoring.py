"""A snapshot is believed as far as the proved log goes, and a crash leaves a node as founded."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from accord.node import snapshots
from accord.node.restoring import Restoring
from accord.node.snapshots import Snapshot, encode_chunk, parse_chunk
from accord.node.store import Store
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from bytes_kit import bent
from node_kit import Faulty, connect_faulty
from snapshot_kit import History, ProvenLog, empty_store, restore


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_CHUNK_BYTES_MAX", 2_000)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    made = History(tmp_path_factory.mktemp("history") / "one.db").open_epochs().publish(5, "a")
    return made.rotate_cosigner("ie-two", 2).publish(40, "b").rotate_cosigner("ca-three", 2)


def began(
    history: History, store: Store, proven: ProvenLog | None = None
) -> tuple[Restoring, Snapshot]:
    restoring = Restoring(store, proven or history.proven())
    snapshot = history.snapshot()
    restoring.judge(snapshot, history.store.block(snapshot.height).app_hash)
    restoring.begin()
    return restoring, snapshot


def chunk(history: History, index: int) -> bytes:
    raw = history.shelf().chunk(history.store.height, index)
    assert raw is not None
    return raw


def test_a_restored_store_is_the_one_it_came_from(history: History, tmp_path: Path) -> None:
    store = empty_store(history, tmp_path / "two.db")
    restore(history, history.snapshot(), store)
    store.close()
    store, source = empty_store(history, tmp_path / "two.db"), history.store
    assert store.is_fresh
    assert (store.height, store.size, store.root) == (source.height, source.size, source.root)
    assert store.ledger().app_hash() == source.ledger().app_hash()
    assert [store.leaf(at) for at in range(store.size)] == history.world.leaves
    for digest, blob in history.world.blobs.items():
        assert (store.blob(digest), store.blob_entry(digest)) == (blob, source.blob_entry(digest))
    sizes = tuple(size for size, _ in history.notes)
    assert store.transitions() == sizes
    for size, note in history.notes:
        before = source.transition(size)
        assert before is not None
        assert store.transition(size) == (before[0], note)
    rows = "SELECT * FROM nodes ORDER BY level, idx"
    assert store._rows(rows) == source._rows(rows)
    store.close()


Bend = Callable[[list[tuple[bytes, bytes | None]]], list[tuple[bytes, bytes | None]]]
LIES: dict[str, Bend] = {
    "an entry less": lambda items: items[:-1],
    "an entry twice": lambda items: [*items, items[-1]],
    "another order": lambda items: items[::-1],
    "a bent leaf": lambda items: [(bent(items[0][0]), items[0][1]), *items[1:]],
    "a bent blob": lambda items: [(leaf, blob and bent(blob)) for leaf, blob in items],
    "no blobs": lambda items: [(leaf, None) for leaf, _ in items],
    "blobs for all": lambda items: [(leaf, blob or b"blob") for leaf, blob in items],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_chunk_that_lies_is_refused_and_the_true_one_is_taken_after_it(
    history: History, tmp_path: Path, lie: str
) -> None:
    store = empty_store(history, tmp_path / "two.db")
    restoring, snapshot = began(history, store)
    refused = 0
    for index in range(len(snapshot.ends)):
        true = chunk(history, index)
        bent = encode_chunk(LIES[lie](parse_chunk(true)))
        for raw in (bent, true[:-1], b""):
            if raw != true:
                with pytest.raises(Unproven, match=r"snapshot\.chunk"):
                    restoring.take(index, raw)
                refused += raw is bent
        restoring.take(index, true)
    assert refused
    assert store.ledger().app_hash() == history.store.ledger().app_hash()
    store.close()


def test_a_snapshot_of_another_log_is_refused_before_anything_is_kept(
    history: History, tmp_path: Path
) -> None:
    store = empty_store(history, tmp_path / "two.db")
    restoring, true = Restoring(store, history.proven()), history.snapshot()
    app_hash = history.store.block(true.height).app_hash
    shorter = history.snapshot(history.store.height - 3)
    for lie, said in (
        (replace(true, root=bytes(32)), app_hash),
        (true, bytes(32)),
        (shorter, app_hash),
        (true, history.store.block(shorter.height).app_hash),
    ):
        with pytest.raises(Unproven, match=r"snapshot\.other_state"):
            restoring.judge(lie, said)
    with pytest.raises(Unavailable, match=r"join\.not_reached"):
        restoring.judge(replace(true, size=true.size + 1), app_hash)
    with pytest.raises(Broken, match=r"snapshot\.order"):
        restoring.take(0, chunk(history, 0))
    assert (store.height, store.size) == (0, 0)
    store.close()


def test_policy_changes_are_proved_and_one_honest_node_is_enough(
    history: History, tmp_path: Path
) -> None:
    true, snapshot = list(history.notes), history.snapshot()
    app_hash = history.store.block(snapshot.height).app_hash
    (size, note), last = true
    unsigned = history.signed(history.cosigners())
    lies: list[list[tuple[int, bytes]]] = [
        [],
        [(size, note)],
        [(size, unsigned), last],
        [(size, last[1]), last],
        [(size + 1, note), last],
        [(size, b"noise"), last],
        [(size, history.halves[0]), last],
        [(size, history.halves[1]), last],
    ]
    for lie in lies:
        store = empty_store(history, tmp_path / "two.db")
        with pytest.raises((Unproven, Malformed), match=r"snapshot\.policy_change|tlog\."):
            Restoring(store, ProvenLog(history.world.leaves, [lie])).judge(snapshot, app_hash)
        restoring = Restoring(store, ProvenLog(history.world.leaves, [lie, true]))
        restoring.judge(snapshot, app_hash)
        store.close()


def test_chunks_come_in_order(history: History, tmp_path: Path) -> None:
    store = empty_store(history, tmp_path / "two.db")
    restoring, _ = began(history, store)
    with pytest.raises(Broken, match=r"snapshot\.order"):
        restoring.take(1, chunk(history, 1))
    restoring.take(0, chunk(history, 0))
    with pytest.raises(Broken, match=r"snapshot\.order"):
        restoring.take(0, chunk(history, 0))
    store.close()


def test_a_store_with_blocks_of_its_own_is_not_emptied(history: History) -> None:
    with pytest.raises(Broken, match=r"store\.not_fresh"):
        history.store.begin_restoring()
    assert history.store.size == len(history.world.leaves)


def test_restored_and_not_yet_used_it_may_be_restored_again(
    history: History, tmp_path: Path
) -> None:
    store = empty_store(history, tmp_path / "two.db")
    older = history.snapshot(history.store.height - 3)
    restore(history, older, store)
    restore(history, history.snapshot(), store)
    assert store.ledger().app_hash() == history.store.ledger().app_hash()
    assert len(store._rows("SELECT * FROM blocks")) == 2
    store.close()


class Heard(Faulty):
    """Says what was written, in order."""

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        if not sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
            self.said.append(sql)
        return super().execute(sql, parameters)

    @property
    def said(self) -> list[str]:
        found: list[str] = self.__dict__.setdefault("_said", [])
        return found


def connect_heard(path: Path) -> Heard:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Heard)


@pytest.mark.parametrize("kind", ["lost", "stored"])
def test_whatever_write_fails_the_node_begins_anew_or_is_restored(
    history: History, tmp_path: Path, kind: str
) -> None:
    """Every write of a whole restoration fails once; opened again the store is the founded one, or,
    after the very last write, the restored one; and it can be restored.
    """
    founded = empty_store(history, tmp_path / "founded.db", connect_heard)
    wanted = founded.ledger().app_hash()
    connection = founded._connection
    assert isinstance(connection, Heard)
    connection.said.clear()
    restore(history, history.snapshot(), founded)
    founded.close()
    said = ["", *connection.said, ""]
    # Of a run of writes of one sort the first and the last; all of the last chunk's.
    points = [at for at in range(1, len(said) - 1) if len({*said[at - 1 : at + 2]}) > 1]
    points = [*points[:-24:3], *points[-24:]]
    restored = history.store.ledger().app_hash()
    outcomes: list[bytes] = []
    for fail_at in points:
        path = tmp_path / f"{kind}-{fail_at}.db"
        store = empty_store(history, path, connect_faulty)
        connection = store._connection
        assert isinstance(connection, Faulty)
        connection.kind, connection.fail_at = kind, fail_at
        with pytest.raises(Unavailable, match=r"store\.commit"):
            restore(history, history.snapshot(), store)
        store.close()
        again = empty_store(history, path)
        outcomes.append(again.ledger().app_hash())
        is_done = outcomes[-1] == restored
        assert is_done or again._rows("SELECT * FROM entries") == []
        assert is_done or (again.height, again.is_fresh) == (0, True)
        again.close()
        if len(outcomes) % 5 == 0:
            again = empty_store(history, path)
            restore(history, history.snapshot(), again)
            assert again.ledger().app_hash() == restored
            again.close()
        path.unlink()
    assert len(outcomes) > 30
    assert set(outcomes[:-1]) == {wanted}
    assert outcomes[-1] == (restored if kind == "stored" else wanted)  # The last one is COMMIT.


def test_a_block_follows_a_restored_store_and_then_it_is_its_own(
    history: History, tmp_path: Path
) -> None:
    store = empty_store(history, tmp_path / "two.db")
    older = history.snapshot(history.store.height - 3)
    restore(history, older, store)
    ledger = store.ledger()
    for height in range(older.height + 1, history.store.height + 1):
        block = history.store.block(height)
        result = ledger.finalize(block.transactions, block.time_ms)
        store.commit(result)
        assert result.app_hash == block.app_hash
    assert not store.is_fresh
    with pytest.raises(Broken, match=r"store\.not_fresh"):
        store.begin_restoring()
    store.close()
    with sqlite3.connect(tmp_path / "two.db") as db:
        assert db.execute("SELECT max(height) FROM blocks").fetchone() == (history.store.height,)
