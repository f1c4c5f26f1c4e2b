"""The index files: whole or not there, refused by name, shared, replaced under running queries."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accord.matching.index import Bases, MatchIndex, fits
from accord.matching.index_file import PAGE, Header, encode_header, parse_header, size_of
from accord.matching.index_kernel import Kernel, distances_of
from accord.matching.index_layout import BANDED_MIN, MAGIC, layout_for, pdq_kind, permuted
from accord.matching.index_native import kernels
from accord.matching.index_ring import Ring
from accord.registry import Registry, Snapshot
from accord.registry.columns import Bytes, Rows
from accord.scan import index_store
from accord.scan.index_store import FILE, IndexStore
from accord.statements.batch import Listing
from accord.wire.errors import AccordError, Malformed, Unavailable, Unproven
from index_kit import DyingDisk, Killed
from registry_kit import A1, World

COUNT = 3000  # With bands.
WRITES = 1 + 18 + 1 + 1 + 1 + 1  # Create, sections, header, sync, replace, sync of the directory.


def pdqs(seed: int, count: int = COUNT) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def rows_of(bits: Bytes) -> Rows:
    return np.arange(len(bits), dtype=np.uint32)


def write(store: IndexStore, bits: Bytes) -> None:
    store.write(rows_of(bits), bits)


def check_holds(ring: Ring, bits: Bytes) -> None:
    assert len(ring) == len(bits)
    for number in range(0, len(bits), max(1, len(bits) // 20)):
        near = bits[number].copy()
        near[:3] ^= np.array([1, 0x80, 7], np.uint8)
        found = ring.ask(near.tobytes(), 31)
        assert found["place"].tolist() == np.flatnonzero(distances_of(bits, near) <= 31).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 1024, BANDED_MIN - 1, BANDED_MIN, 5000])
def test_what_is_written_is_read_again(tmp_path: Path, count: int) -> None:
    store = IndexStore(tmp_path)
    bits = pdqs(1, count)
    write(store, bits)
    for whole in (True, False):
        ring = store.load(whole)
        check_holds(ring, bits)
        assert np.array_equal(ring.rows, rows_of(bits))
    built = Ring.build(rows_of(bits), bits)
    assert (tmp_path / FILE).read_bytes()[PAGE:] == bytes(built.memory[PAGE:])
    store.write_ring(built)
    check_holds(store.load(), bits)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0, "fingerprints are for their owner"


def refused(store: IndexStore, data: bytes, whole: bool = True) -> str:
    store.path.write_bytes(data)
    with pytest.raises((Malformed, Unproven)) as caught:
        store.load(whole)
    return caught.value.code


def test_a_file_that_is_not_whole_is_refused_by_name(tmp_path: Path) -> None:
    store = IndexStore(tmp_path)
    with pytest.raises(Unavailable, match=r"index\.missing"):
        store.load()
    write(store, pdqs(2))
    good = store.path.read_bytes()
    assert refused(store, b"") == "index.truncated"
    assert refused(store, good[:100]) == "index.truncated"
    assert refused(store, good[:-1]) == "index.truncated"
    assert refused(store, good + b"\0") == "index.truncated"
    assert refused(store, bytes(len(good))) == "index.foreign"
    assert refused(store, b"SQLite format 3\0".ljust(len(good), b"\1")) == "index.foreign"
    assert refused(store, good[:8] + b"\2" + good[9:]) == "index.version"
    for at in (12, 16, 24, 40, 70, 100, 600, 700, PAGE - 1):  # Wherever, the checksum knows.
        damaged = good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
        assert refused(store, damaged, whole=False) == "index.header", at
    layout = layout_for(COUNT)
    for number, (start, size) in enumerate(layout.sections):
        for at in (start, start + size - 1):
            damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
            assert refused(store, damaged) == "index.corrupt", number


def test_another_order_of_bits_is_refused() -> None:
    kind = pdq_kind()
    data = encode_header(kind, Header(layout_for(5), (bytes(32), bytes(32))))
    assert data.startswith(MAGIC)
    size = size_of(layout_for(5))
    assert parse_header(kind, data, size).layout == layout_for(5)
    with pytest.raises(Malformed, match=r"index\.order"):
        parse_header(replace(kind, agreed=b"\1" * 32), data, size)


@pytest.mark.parametrize("kernel", kernels(), ids=lambda kernel: kernel.name)
def test_no_damage_leads_outside_of_an_array(kernel: Kernel) -> None:
    """An index that was not held to its checksums answers, or says that it is corrupt."""
    bits, random = pdqs(3), np.random.default_rng(4)
    told = 0
    for _ in range(40):
        ring = Ring.build(rows_of(bits), bits, kernel)
        start, size = ring.layout.sections[int(random.integers(2, 18))]
        for at in random.integers(start, start + size, 3000):
            ring.memory[at] = int(random.integers(0, 256))
        try:
            ring.search(bits[:20].tobytes(), 31)
            ring.search(np.repeat(bits[:1100], 2, axis=0).tobytes(), 31)
        except Unproven as err:
            told += err.code == "index.corrupt"
    assert told > 10


@pytest.mark.parametrize("how", ["before", "torn", "after", "full"])
@pytest.mark.parametrize("there", [False, True])
def test_a_death_at_any_write_leaves_a_whole_index(tmp_path: Path, how: str, there: bool) -> None:
    old, new = pdqs(5), pdqs(6, COUNT + 500)
    seen = set()
    for at in range(WRITES + 1):
        store = IndexStore(tmp_path, DyingDisk(at, how))
        store.path.unlink(missing_ok=True)
        if there:
            write(IndexStore(tmp_path), old)
        try:
            write(store, new)
            assert at == WRITES, "every write was tried"
        except (Killed, Unavailable):
            pass
        try:
            ring = IndexStore(tmp_path).load()
            check_holds(ring, new if len(ring) == len(new) else old)
            seen.add(len(ring))
        except Unavailable:
            assert not there
        write(IndexStore(tmp_path), new)  # Whoever comes next clears up and goes on.
        assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, f"{FILE}.lock"]
    assert seen == ({len(old), len(new)} if there else {len(new)})


def test_a_killed_process_leaves_a_whole_index(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from accord.scan.index_store import IndexStore\n"
        "store = IndexStore(Path(sys.argv[1])); print('ready', flush=True)\n"
        "for seed in range(10**6):\n"
        "    bits = np.random.default_rng(seed).integers(0, 256, (3000, 32), dtype=np.uint8)\n"
        "    store.write(np.arange(3000, dtype=np.uint32), bits)\n"
    )
    for wait_ms in (3, 40, 90, 160):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(wait_ms / 1000)
            process.kill()
        if (tmp_path / FILE).exists():
            assert len(IndexStore(tmp_path).load()) == COUNT
    write(IndexStore(tmp_path), pdqs(7))
    check_holds(IndexStore(tmp_path).load(), pdqs(7))


def test_one_writes_at_a_time_and_readers_never_wait(tmp_path: Path) -> None:
    store, other = IndexStore(tmp_path), IndexStore(tmp_path)
    write(store, pdqs(8))
    with store._rings.file.lock():
        with pytest.raises(Unavailable, match=r"index\.store"):
            write(other, pdqs(9))
        check_holds(other.load(), pdqs(8))
    write(other, pdqs(9))


def test_queries_go_on_while_the_file_is_replaced(tmp_path: Path) -> None:
    store = IndexStore(tmp_path)
    lists = [pdqs(seed, COUNT + seed) for seed in range(10, 14)]
    write(store, lists[0])
    held = store.load()
    stop, wrong = threading.Event(), list[AccordError | AssertionError]()

    def ask() -> None:
        while not stop.is_set():
            try:
                ring = IndexStore(tmp_path).load(whole=False)
                check_holds(ring, lists[len(ring) - COUNT - 10])
                check_holds(held, lists[0])
            except (AccordError, AssertionError) as err:
                wrong.append(err)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(24):
        write(store, lists[turn % 4])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    check_holds(held, lists[0])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="it reads /proc")
def test_two_processes_share_one_mapping(tmp_path: Path) -> None:
    store = IndexStore(tmp_path)
    write(store, pdqs(15, 20_000))
    code = (
        "import sys; from pathlib import Path\n"
        "from accord.scan.index_store import IndexStore\n"
        "ring = IndexStore(Path(sys.argv[1])).load()\n"
        "ring.ask(bytes(32), 31); print('ready', flush=True); sys.stdin.readline()\n"
        "part = Path('/proc/self/smaps').read_text().split('pdq.index\\n')[1]\n"
        "print(*[line for line in part.splitlines()[:22] if 'kB' in line], sep='|', flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        facts, _ = process.communicate("\n", timeout=60)
        sizes = {line.split(":")[0]: int(line.split()[-2]) for line in facts.strip().split("|")}
        assert sizes["Rss"] * 1024 > store.path.stat().st_size * 0.9
        assert sizes["Private_Dirty"] + sizes["Anonymous"] == 0


def world_of(bits: Bytes) -> World:
    """Two entries for each 500 listings: published, approved."""
    world = World()
    for start in range(0, len(bits), 500):
        part = bits[start : start + 500]
        world.publish("ada", *[Listing(A1, pdq=b.tobytes(), pdq_quality=80) for b in part])
    return world


def snapshot_of(bits: Bytes) -> Snapshot:
    return world_of(bits).registry().snapshot()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if some hundred listings were many."""
    monkeypatch.setattr(index_store, "ROWS_MIN", 10)
    monkeypatch.setattr(index_store, "CHANGED_MIN", 20)


@pytest.mark.usefixtures("small")
def test_a_store_opens_merges_and_hands_out_what_fits(tmp_path: Path) -> None:
    bits = pdqs(16, 2600)
    entries, registry = world_of(bits).entries, Registry()
    registry.fold_all(entries[:8])
    first, every = registry.snapshot(), {count: rows_of(bits[:count]) for count in (2000, 2600)}
    store = IndexStore(tmp_path)
    assert not store.newest(first).is_any
    index = MatchIndex.build(first, every[2000])
    assert store.offer(index), "there is no file yet"
    store.wait()
    ring = store.newest(first).pdq
    assert ring is not None
    assert ring.memory.readonly
    assert not store.newest(first).is_any, "each file is handed out once"
    assert store.adopt(registry), "the column was written beside"
    assert not store.adopt(registry)
    index = index.rebased(Bases(ring), registry.snapshot())
    assert (index.base, len(index.delta)) == (ring, 0)
    assert not store.offer(index), "nothing has changed"

    registry.fold_all(entries[8:])
    second = registry.snapshot()
    assert [len(run) for run in second.values["pdq"].runs()] == [2000, 0, 600]
    index = index.extended(second, every[2600][:2010])
    assert (index.base, len(index.delta)) == (ring, 10), "the base is kept, the delta is new"
    assert store.offer(index), "600 rows of the column are worth a file, ten of the index are not"
    store.wait()
    assert not store.newest(second).is_any
    assert store.adopt(registry)
    second = registry.snapshot()
    assert [len(run) for run in second.values["pdq"].runs()] == [2600, 0, 0]
    assert not (tmp_path / "md5.column").exists(), "there is no MD5"
    index = index.extended(second, every[2600][40:2400])
    assert (index.base, len(index.delta), index.changed) == (ring, 400, 440)
    assert store.offer(index)
    store.wait()
    merged = store.newest(second).pdq
    assert merged is not None
    assert np.array_equal(merged.rows, every[2600][40:2400])
    again = index.rebased(Bases(merged))
    for row in (0, 39, 40, 1999, 2399, 2400):
        found = [list(i.near(bits[row].tobytes(), 31).rows) for i in (index, again)]
        assert found == [[row]] * 2 if 40 <= row < 2400 else [[]] * 2

    other = IndexStore(tmp_path)  # Another process, and one with another registry.
    assert other.newest(first).pdq is None, "it holds rows that are not there yet"
    assert other.newest(second).pdq is not None, "and was not given up for that"
    assert IndexStore(tmp_path).newest(snapshot_of(bits[::-1])).pdq is None


@pytest.mark.usefixtures("small")
def test_a_damaged_file_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bits = pdqs(17, 600)
    snapshot = snapshot_of(bits)
    index = MatchIndex.build(snapshot, rows_of(bits))
    store = IndexStore(tmp_path)
    store.path.write_bytes(b"\0" * 5000)
    assert store.newest(snapshot).pdq is None
    assert "index.foreign" in caplog.text
    assert store.offer(index)
    store.wait()
    ring = store.newest(snapshot).pdq
    assert ring is not None
    check_holds(ring, bits)


def test_fits_compares_every_row() -> None:
    bits = pdqs(18, 300)
    snapshot = snapshot_of(bits)
    rows = rows_of(bits)
    assert fits(Ring.build(rows, bits), snapshot)
    assert fits(Ring.build(rows[50:60], bits[50:60]), snapshot)
    assert fits(Ring.build(rows[:0], bits[:0]), snapshot)
    other = bits.copy()
    other[299, 31] ^= 1
    assert not fits(Ring.build(rows, other), snapshot)
    assert not fits(Ring.build(rows + np.uint32(1), bits), snapshot)
    assert not fits(Ring.build(rows[::-1].copy(), bits[::-1].copy()), snapshot)
    assert np.array_equal(permuted(bits), Ring.build(rows, bits).table.hashes)
