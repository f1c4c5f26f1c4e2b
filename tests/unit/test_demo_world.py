"""The demo's agencies read and speak once their own validator holds what was said before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accord.cli.demo import world
from accord.cli.demo.world import NOORD, WEST, World
from accord.wire.ids import MemberId


@dataclass
class Replica:
    size: int = 0


@dataclass
class Book:
    """An agency's book over a validator that gets an entry at each look, up to the log's end."""

    log: Callable[[], int]
    replica: Replica = field(default_factory=Replica)

    def sync(self) -> None:
        self.replica.size = min(self.replica.size + 1, self.log())

    def close(self) -> None:
        pass


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "demo", None)
    said = [5]
    monkeypatch.setattr(world, "AgencyBook", lambda _home, allow_trial: Book(lambda: said[0]))
    made.homes = dict.fromkeys((NOORD, WEST))  # type: ignore[assignment]  # No book opens them.
    return made


def size(demo: World, member: MemberId) -> int:
    return demo.book(member).replica.size


def test_a_book_is_not_older_than_what_was_acknowledged(demo: World) -> None:
    assert size(demo, NOORD) == 1
    demo._note(4)
    assert size(demo, NOORD) == 4


def test_a_book_is_not_older_than_what_another_showed(demo: World) -> None:
    for _ in range(3):
        shown = size(demo, NOORD)
    assert size(demo, WEST) == shown == 3


def test_an_older_book_takes_nothing_back(demo: World) -> None:
    demo._note(4)
    demo._note(2)
    assert size(demo, WEST) == 4
