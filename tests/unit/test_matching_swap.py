"""A screener over an index file: opened, extended, merged and shared, with the same decisions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.matching import Answer, Context
from accord.matching.index_ring import Ring
from accord.scan import index_store
from accord.scan.index_store import IndexStore
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screener
from consortium_kit import CHAIN
from scan_kit import CLOUD, Scene, looked_at


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(index_store, "ROWS_MIN", 1)  # As if a few listings were many.
    monkeypatch.setattr(index_store, "CHANGED_MIN", 1)
    scene = Scene(tmp_path)
    yield scene
    scene.close()


class Gateway:
    """A process of the platform: its own replica and registry, the home's index file."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.store = IndexStore(scene.directory / "index")
        self.replica = scene.open_replica()
        self.receipts = ReceiptLog(scene.directory / f"{name}.sqlite", CHAIN, CLOUD, scene.key)
        self.screener = Screener(
            self.replica, CLOUD, self.receipts, scene.pool, scene.clock, self.store
        )

    def refresh(self) -> Ring:
        self.screener.refresh()
        self.store.wait()
        return self.screener.running.screen.index.base

    def answers(self, *seeds: int) -> list[bool]:
        found = (self.screener.screen_found(looked_at(seed), Context()) for seed in seeds)
        return [item.decision.answer is Answer.MATCH for item in found]

    def close(self) -> None:
        self.receipts.close()
        self.replica.close()


def test_a_restart_opens_the_file_and_a_delta_does_not_rebuild_it(scene: Scene) -> None:
    scene.list_pictures(*range(1, 11))
    scene.sync()
    first = Gateway(scene, "first")
    assert not first.refresh().memory.readonly, "built in memory, and written meanwhile"
    version = first.screener.running.version
    assert first.refresh().memory.readonly, "taken up without anything new in the log"
    assert first.screener.running.version == version
    assert first.answers(1, 10, 11) == [True, True, False]

    second = Gateway(scene, "second")
    base = second.refresh()
    assert base.memory.readonly, "no index was built"
    scene.list_pictures(11)
    scene.sync()
    assert second.refresh() is base
    assert len(second.screener.running.screen.index.delta) == 2, "by two agencies"
    assert second.answers(1, 10, 11, 12) == [True, True, True, False]

    # The delta was worth a merge: both processes take up the merged file.
    merged = second.refresh()
    assert (len(merged), merged.memory.readonly) == (22, True)
    first.refresh()
    assert len(first.screener.running.screen.index.base) == 22
    for gateway in (first, second):
        assert gateway.answers(1, 10, 11, 12) == [True, True, True, False]
        gateway.close()


def test_a_withdrawn_listing_is_not_found_in_any_of_them(scene: Scene) -> None:
    entries = [scene.list_pictures(seed) for seed in range(1, 9)]
    scene.sync()
    gateway = Gateway(scene, "one")
    gateway.refresh()
    base = gateway.refresh()
    scene.withdraw(entries[3])
    scene.sync()
    gateway.screener.refresh()
    assert gateway.screener.running.screen.index.base is base
    assert gateway.answers(3, 4, 5) == [True, False, True]
    gateway.store.wait()
    assert len(gateway.refresh()) < len(base)
    assert gateway.answers(3, 4, 5) == [True, False, True]
    gateway.close()
