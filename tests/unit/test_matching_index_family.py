"""Columns and vectors in files: as the PDQ index, and the same answers wherever rows lie."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.matching.index import Bases, MatchIndex, vectors_fit
from accord.matching.index_file import PAGE
from accord.matching.vector_index import VectorIndex, vector_distances
from accord.matching.vector_layout import VECTOR_BYTES, ZONE
from accord.registry import Registry, Snapshot
from accord.registry.columns import Bytes, Rows, Run
from accord.registry.listings import SCHEMES
from accord.scan import index_store
from accord.scan.index_file import Disk
from accord.scan.index_store import IndexStore
from accord.statements.batch import WIDTHS, Listing
from accord.statements.rules import Algorithm, Metric
from accord.wire.errors import Malformed, Unavailable, Unproven
from index_kit import DyingDisk, Killed
from registry_kit import A1, World, listing

COUNT = 300
EXACT = (Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256)


def bytes_of(seed: int, count: int, width: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, width), dtype=np.uint8)


def vectors_of(seed: int, count: int) -> Bytes:
    """Variants of few pictures."""
    random = np.random.default_rng(seed)
    pictures = np.random.default_rng(1).integers(20, 200, (9, VECTOR_BYTES))
    rows = pictures[random.integers(0, 9, count)] + random.normal(0, 4, (count, VECTOR_BYTES))
    return np.clip(np.rint(rows), 0, 255).astype(np.uint8)


class ColumnCase:
    """The MD5 column, written and read."""

    name, sections = "md5.column", 4

    def __init__(self, seed: int, count: int) -> None:
        self.run = Run.of(np.arange(count, dtype=np.uint32) * 2, bytes_of(seed, count, 16))

    def write(self, store: IndexStore) -> None:
        store.write_column("md5", self.run)

    def held(self, store: IndexStore, whole: bool = True) -> Run:
        return store.load_column("md5", whole)

    def holds(self, store: IndexStore, whole: bool = True) -> bool:
        return self.is_like(self.held(store, whole))

    def is_like(self, found: Run) -> bool:
        return len(found) == len(self.run) and all(
            np.array_equal(getattr(found, part), getattr(self.run, part))
            for part in ("rows", "values", "keys", "order")
        )


class VectorCase:
    """The index of PhotoDNAs, written and read."""

    name, sections = "photodna.index", 6

    def __init__(self, seed: int, count: int) -> None:
        self.vectors = vectors_of(seed, count)
        self.index = VectorIndex.build(np.arange(count, dtype=np.uint32) * 3, self.vectors)

    def write(self, store: IndexStore) -> None:
        store.write_vectors(self.index)

    def held(self, store: IndexStore, whole: bool = True) -> VectorIndex:
        return store.load_vectors(whole)

    def holds(self, store: IndexStore, whole: bool = True) -> bool:
        return self.is_like(self.held(store, whole))

    def is_like(self, found: VectorIndex) -> bool:
        return len(found) == len(self.index) and all(
            found.ask(query.tobytes(), within, metric).tolist()
            == self.index.ask(query.tobytes(), within, metric).tolist()
            for query in (*self.vectors[::29], *vectors_of(5, 3))
            for within, metric in ((60, Metric.L2), (500, Metric.L1), (10**5, Metric.L1))
        )


Case = ColumnCase | VectorCase
CASES: list[Callable[[int, int], Case]] = [ColumnCase, VectorCase]
EACH = pytest.mark.parametrize("make", CASES, ids=["column", "vectors"])


@EACH
@pytest.mark.parametrize("count", [0, 1, 2, ZONE, ZONE + 1, 1024, ZONE**2 + 1])
def test_what_is_written_is_read_again(
    tmp_path: Path, make: Callable[[int, int], Case], count: int
) -> None:
    store, case = IndexStore(tmp_path), make(2, count)
    case.write(store)
    assert case.holds(store)
    assert case.holds(store, whole=False)
    assert (tmp_path / case.name).stat().st_mode & 0o077 == 0, "fingerprints are for their owner"


@EACH
def test_a_file_that_is_not_whole_is_refused_by_name(
    tmp_path: Path, make: Callable[[int, int], Case]
) -> None:
    store, case = IndexStore(tmp_path), make(3, COUNT)
    path = tmp_path / case.name
    case.write(store)
    good = path.read_bytes()

    def refused(data: bytes, whole: bool = True) -> str:
        path.write_bytes(data)
        with pytest.raises((Malformed, Unproven)) as caught:
            case.holds(store, whole)
        return caught.value.code

    assert refused(good[:100]) == "index.truncated"
    assert refused(good[:-1]) == "index.truncated"
    assert refused(good + b"\0") == "index.truncated"
    assert refused(bytes(len(good))) == "index.foreign"
    assert refused(b"ACCRDPDQ" + good[8:]) == "index.foreign", "one kind does not open as another"
    assert refused(good[:8] + b"\2" + good[9:]) == "index.version"
    assert refused(good[:12] + b"\x77" + good[13:]) == "index.header", "a width, a shift"
    for at in (16, 24, 40, 70, 100, 300, PAGE - 1):
        damaged = good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
        assert refused(damaged, whole=False) == "index.header", at
    starts = range(PAGE, len(good), max(PAGE, (len(good) - PAGE) // 40 // PAGE * PAGE))
    for at in (*starts, len(good) - 1):
        damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert refused(damaged) == "index.corrupt", at
    path.write_bytes(good)
    assert case.holds(store)


def test_a_column_of_another_scheme_is_refused(tmp_path: Path) -> None:
    store = IndexStore(tmp_path)
    store.write_column("sha1", Run.of(np.arange(5, dtype=np.uint32), bytes_of(4, 5, 20)))
    (tmp_path / "sha1.column").rename(tmp_path / "sha256.column")
    with pytest.raises(Malformed, match=r"index\.header"):  # By its width ...
        store.load_column("sha256")
    store.write_column("pdq", Run.of(np.arange(5, dtype=np.uint32), bytes_of(4, 5, 32)))
    (tmp_path / "pdq.column").rename(tmp_path / "sha256.column")
    with pytest.raises(Malformed, match=r"index\.order"):  # ... and by its name.
        store.load_column("sha256")


@EACH
@pytest.mark.parametrize("how", ["before", "torn", "after", "full"])
def test_a_death_at_any_write_leaves_a_whole_file(
    tmp_path: Path, make: Callable[[int, int], Case], how: str
) -> None:
    old, new = make(6, 40), make(7, 50)
    writes = 1 + old.sections + 1 + 1 + 1 + 1  # Create, sections, header, two syncs, replace.
    seen = set()
    for at in range(writes + 1):
        old.write(IndexStore(tmp_path))
        try:
            new.write(IndexStore(tmp_path, DyingDisk(at, how)))
            assert at == writes, "every write was tried"
        except (Killed, Unavailable):
            pass
        seen.add(new.holds(IndexStore(tmp_path)))
        assert new.holds(IndexStore(tmp_path)) or old.holds(IndexStore(tmp_path))
    assert seen == {True, False}
    new.write(IndexStore(tmp_path, Disk()))
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, f"{new.name}.lock"]


def check_readers(
    store: IndexStore, old: Case, new: Case, is_as_it_was: Callable[[], bool]
) -> None:
    """Others write while these read, and what was mapped before stays as it was."""
    stop, wrong = threading.Event(), list[str]()

    def read() -> None:
        while not stop.is_set():
            if not any(case.holds(store) for case in (old, new, old, new, old)):
                wrong.append("neither the old nor the new one")
            if not is_as_it_was():
                wrong.append("what was mapped has changed")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(20):
        (old if turn % 2 else new).write(store)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_readers_of_a_column_go_on_while_it_is_replaced(tmp_path: Path) -> None:
    store, old = IndexStore(tmp_path), ColumnCase(20, 200)
    old.write(store)
    held = old.held(store)
    check_readers(store, old, ColumnCase(21, 300), lambda: old.is_like(held))


def test_readers_of_vectors_go_on_while_they_are_replaced(tmp_path: Path) -> None:
    store, old = IndexStore(tmp_path), VectorCase(20, 200)
    old.write(store)
    held = old.held(store)
    check_readers(store, old, VectorCase(21, 300), lambda: old.is_like(held))


def test_no_damage_leads_outside_of_an_array(tmp_path: Path) -> None:
    """An index that was not held to its checksums answers something."""
    store, case, random = IndexStore(tmp_path), VectorCase(8, 5000), np.random.default_rng(9)
    case.write(store)
    good = (tmp_path / case.name).read_bytes()
    for _ in range(20):
        data = np.frombuffer(good, dtype=np.uint8).copy()
        at = random.integers(PAGE, len(data), 60_000)
        data[at] = random.integers(0, 256, len(at), dtype=np.uint8)
        (tmp_path / case.name).write_bytes(data.tobytes())
        index = store.load_vectors(whole=False)
        for query in case.vectors[:5]:
            assert len(index.ask(query.tobytes(), 90)) <= 5000


def world_of(count: int) -> World:
    """Listings that have some of each scheme, equal values among them."""
    world, random = World(), np.random.default_rng(10)
    vectors = vectors_of(11, count)
    for start in range(0, count, 50):
        batch: list[Listing] = []
        for number in range(start, min(start + 50, count)):
            one = random.integers(0, 40) if number % 5 == 0 else number
            values = {
                scheme: bytes([int(one) % 251, int(one) // 251]) * (WIDTHS[scheme] // 2)
                for scheme in ("md5", "sha1", "sha256")
                if random.integers(0, 4)
            }
            vector = vectors[number].tobytes() if random.integers(0, 3) else None
            plain = listing(int(one))
            base = Listing(A1, pdq=plain.pdq, pdq_quality=100, photodna=vector)
            batch.append(
                replace(
                    base,
                    md5=values.get("md5"),
                    sha1=values.get("sha1"),
                    sha256=values.get("sha256"),
                )
            )
        world.publish("ada", *batch)
    return world


WORLD = world_of(COUNT)


def held_by(snapshot: Snapshot) -> dict[str, dict[int, bytes]]:
    """By scheme, each row's value."""
    return {
        scheme: dict(zip(run.rows.tolist(), map(bytes, run.values), strict=True))
        for scheme, values in snapshot.values.items()
        for run in [values.whole()]
    }


EVERY = held_by(WORLD.registry().snapshot())  # All of it in its own memory.


def check_index(index: MatchIndex, rows: Rows) -> None:
    """Each answer against a scan of the wanted rows."""
    wanted = set(rows.tolist())
    for algorithm in EXACT:
        every = EVERY[algorithm.value]
        for value in list(dict.fromkeys(every.values()))[::7]:
            expected = [row for row in every if every[row] == value and row in wanted]
            assert index.exact(algorithm, value).rows.tolist() == expected
    held = {row: value for row, value in EVERY["photodna"].items() if row in wanted}
    table = np.frombuffer(b"".join(held.values()), dtype=np.uint8).reshape(-1, VECTOR_BYTES)
    for query in vectors_of(12, 3):
        for metric, within in ((Metric.L2, 75), (Metric.L1, 700), (Metric.L2, 0)):
            distances = vector_distances(table, query, metric)
            limit = within * within if metric is Metric.L2 else within
            pairs = zip(distances.tolist(), held, strict=True)
            close = sorted(pair for pair in pairs if pair[0] <= limit)
            answer = index.near_vector(query.tobytes(), within, metric)
            found = zip(answer.distances.tolist(), answer.rows.tolist(), strict=True)
            assert list(found) == close
            assert answer.metric is metric
            refs = index.snapshot.encode_refs(answer.rows)  # What is found says what listing it is.
            assert [bytes(ref) for ref in refs] == [
                index.snapshot.ref_of(int(row)).encode() for row in answer.rows
            ]


class HastyDisk(Disk):
    """No power fails here."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_base_delta_and_tombstones_answer_as_a_scan(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Files of some earlier registry, rows that came behind, rows that are wanted no longer."""
    store = IndexStore(tmp_path_factory.mktemp("index"), HastyDisk())
    early = data.draw(st.sampled_from([8, 10, 12, 6, 0]))
    registry = Registry()
    registry.fold_all(WORLD.entries[:early])
    before = registry.snapshot()
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)

    def some(count: int, share: float) -> Rows:
        return np.flatnonzero(random.random(count) < share).astype(np.uint32)

    old = some(before.count, 0.9)
    for scheme in SCHEMES:
        store.write_column(scheme, before.values[scheme].whole())
    store.write_vectors(VectorIndex.build(*MatchIndex.build(before, old).merged("photodna")))
    registry.fold_all(WORLD.entries[early:])
    twin = registry.snapshot()
    assert store.adopt(registry) == (before.count > 0)
    after = registry.snapshot()
    assert len(after.values["md5"].base) == len(before.values["md5"])
    bases = store.newest(after)
    assert bases.photodna is not None
    rows = some(after.count, data.draw(st.sampled_from([0.3, 1.0])))
    few = np.setdiff1d(np.union1d(old, some(after.count, 0.1)), some(after.count, 0.05))
    for wanted in (rows, few):
        check_index(MatchIndex.build(after, wanted, bases), wanted)
        check_index(MatchIndex.build(twin, old).extended(after, wanted), wanted)


def test_a_base_with_dead_rows_and_a_delta_answers_as_a_scan() -> None:
    """None of it was built anew: each part is there and is asked."""
    snapshot, random = WORLD.registry().snapshot(), np.random.default_rng(13)
    old = np.flatnonzero(random.random(COUNT) < 0.8).astype(np.uint32)
    index = MatchIndex.build(snapshot, old)
    wanted = np.setdiff1d(np.arange(COUNT, dtype=np.uint32), old[::15])
    wanted = np.setdiff1d(wanted, np.setdiff1d(wanted, old)[::2])
    later = index.extended(snapshot, wanted)
    assert later.vectors is index.vectors
    assert later.base is index.base
    assert later.vectors_changed > len(later.vector_delta) > 9
    assert later.changed > len(later.delta) > 9
    check_index(later, wanted)


def test_vectors_that_are_not_the_registrys_do_not_fit() -> None:
    snapshot = WORLD.registry().snapshot()
    rows, vectors = MatchIndex.build(snapshot, np.arange(snapshot.count, dtype=np.uint32)).merged(
        "photodna"
    )
    assert vectors_fit(VectorIndex.build(rows, vectors), snapshot)
    assert vectors_fit(VectorIndex.build(rows[:0], vectors[:0]), snapshot)
    other = vectors.copy()
    other[-1, -1] ^= 1
    assert not vectors_fit(VectorIndex.build(rows, other), snapshot)
    assert not vectors_fit(VectorIndex.build(rows + np.uint32(1), vectors), snapshot)
    twice = np.repeat(rows[:1], 2)
    assert not vectors_fit(VectorIndex.build(twice, np.repeat(vectors[:1], 2, axis=0)), snapshot)
    behind = np.array([snapshot.count], dtype=np.uint32)
    assert not vectors_fit(VectorIndex.build(behind, vectors[:1]), snapshot)


def test_all_files_of_a_home_are_written_taken_up_and_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_store, "ROWS_MIN", 10)
    monkeypatch.setattr(index_store, "CHANGED_MIN", 20)
    store, registry = IndexStore(tmp_path), Registry()
    registry.fold_all(WORLD.entries[:10])
    rows = np.arange(250, dtype=np.uint32)
    index = MatchIndex.build(registry.snapshot(), rows)
    assert store.offer(index)
    store.wait()
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert names == {"pdq.index", "photodna.index", *(f"{scheme}.column" for scheme in SCHEMES)}

    def taken(index: MatchIndex) -> MatchIndex:
        assert store.adopt(registry)
        return index.rebased(store.newest(registry.snapshot()), registry.snapshot())

    index = taken(index)
    assert (index.vectors.is_mapped, len(index.vector_delta)) == (True, 0)
    for values in index.snapshot.values.values():
        assert len(values.tail) == 0
        assert not values.base.values.flags.writeable, "it lies in the file, not in this process"
    assert not store.offer(index)
    registry.fold_all(WORLD.entries[10:])
    index = index.extended(registry.snapshot(), np.arange(COUNT, dtype=np.uint32))
    assert index.vectors.is_mapped
    assert len(index.vector_delta) > 20
    assert store.offer(index)
    store.wait()
    index = taken(index)
    assert len(index.vector_delta) == 0
    assert not store.offer(index)
    check_index(index, np.arange(COUNT, dtype=np.uint32))


def test_bases_that_are_none_change_nothing() -> None:
    snapshot = WORLD.registry().snapshot()
    index = MatchIndex.build(snapshot, np.arange(9, dtype=np.uint32))
    assert not Bases().is_any
    again = index.rebased(Bases())
    assert (again.base, again.vectors) == (index.base, index.vectors)
