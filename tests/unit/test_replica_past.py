"""A replica goes over to a log that continues its own, or begins with it; and when it refuses."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from accord.ledger.genesis import Founding, encode_genesis
from accord.replica.mirror import outgrown, public_files
from accord.replica.replica import Replica, sync_any
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId
from consortium_kit import PLATFORMS_GROUP, Consortium, listings
from continuing_kit import SECOND, Shape, continuing, go_on
from source_kit import ConsortiumSource, identity_of, now_of


@pytest.fixture
def world() -> Consortium:
    made = Consortium().open_epochs()
    made.admit_platform()
    made.open_epoch(PLATFORMS_GROUP)
    made.publish("nl-one", listings(3))
    return made


@dataclass
class Eyes:
    """Somebody's replica file."""

    path: Path
    member: str = "nl-one"

    @contextmanager
    def open(self, world: Consortium, founding: Founding | None = None) -> Iterator[Replica]:
        who = identity_of(world, self.member)
        founding = founding or world.founding
        with closing(Replica(self.path, founding, who, allow_trial=True)) as replica:
            yield replica

    def sync(self, world: Consortium, source: ConsortiumSource | None = None) -> int:
        with self.open(world) as replica:
            replica.sync(source or ConsortiumSource(world), now_of(world))
            return replica.size

    def reopen(self, world: Consortium) -> int:
        with self.open(world) as replica:
            return replica.size

    def batches(self, world: Consortium) -> list[int]:
        """The entries whose batches open."""
        with self.open(world) as replica:
            return [entry.index for entry in replica.folded() if entry.batch is not None]


def grown(world: Consortium) -> Consortium:
    after = go_on(world).open_epochs()
    after.publish("fr-five", listings(2, "new"))
    return after


@pytest.mark.parametrize("member", ["nl-one", "cloud"])
def test_it_goes_over_with_all_it_had(world: Consortium, tmp_path: Path, member: str) -> None:
    eyes = Eyes(tmp_path / "replica", member)
    eyes.sync(world)
    before = eyes.batches(world)
    assert before
    after = grown(world)
    source = ConsortiumSource(after)
    assert eyes.sync(after, source) == len(after.leaves)
    assert eyes.batches(after)[: len(before)] == before
    assert len(eyes.batches(after)) == len(before) + 1
    with eyes.open(after) as replica:
        assert replica.checkpoint is not None
        assert replica.chain == SECOND


def test_the_old_heads_are_kept_beside(world: Consortium, tmp_path: Path) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    eyes.sync(go_on(world))
    rows = sqlite3.connect(eyes.path).execute("SELECT note FROM past").fetchall()
    (head,) = (parse_checkpoint(parse_note(row[0]).text) for row in rows[-1:])
    assert (head.origin, head.size) == (world.chain, len(world.leaves))


@pytest.mark.parametrize("member", ["fr-five", "cloud"])
def test_who_comes_later_begins_with_everything(
    world: Consortium, tmp_path: Path, member: str
) -> None:
    """A newcomer's new key opens what was sealed before it came: its epoch leads there."""
    after = grown(world)
    eyes = Eyes(tmp_path / "replica", member)
    assert eyes.sync(after) == len(after.leaves)
    assert len(eyes.batches(after)) == 2
    with eyes.open(after) as replica:
        assert replica.keyring.key_of(PLATFORMS_GROUP, 1) is not None


def test_who_lagged_catches_up_through_the_pin(world: Consortium, tmp_path: Path) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    world.publish("ie-two", listings(2, "later"))
    after = grown(world)
    assert eyes.sync(after) == len(after.leaves)


def test_it_waits_with_its_own_until_the_rest_is_there(world: Consortium, tmp_path: Path) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    world.publish("ie-two", listings(2, "later"))
    after = go_on(world)
    source = ConsortiumSource(after, is_down=True)
    with eyes.open(after) as replica:
        with pytest.raises(Unavailable):
            replica.sync(source, now_of(after))
        assert replica.size == 0
    assert eyes.sync(world) == len(world.leaves)  # Still whole, for who goes back.


def test_a_log_cut_short_is_refused_by_who_saw_more(world: Consortium, tmp_path: Path) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    short = continuing(world, Shape(size=len(world.leaves) - 1))
    with pytest.raises(Unproven, match=r"follow\.rollback") as caught, eyes.open(world, short):
        pass
    assert caught.value.detail["genesis_sha256"] == short.digest.hex()
    assert eyes.batches(world)  # Nothing was changed.


def other_log(world: Consortium) -> Consortium:
    """What the same members might have signed instead, with as many entries."""
    other = Consortium().open_epochs()
    other.admit_platform()
    other.open_epoch(PLATFORMS_GROUP)
    other.publish("nl-one", listings(3, "another"))
    assert len(other.leaves) == len(world.leaves)
    return other


@pytest.mark.parametrize("more", [0, 2])
def test_an_altered_log_is_refused_by_who_saw_the_other(
    world: Consortium, tmp_path: Path, more: int
) -> None:
    """Of the same size at once; a longer one as soon as its leaves are there."""
    eyes, other = Eyes(tmp_path / "replica"), other_log(world)
    eyes.sync(world)
    for number in range(more):
        other.publish("ie-two", listings(1, f"more {number}"))
    after = go_on(other)
    takes = eyes.sync if more else eyes.reopen
    with pytest.raises(Unproven, match=r"follow\.split_view"):
        takes(after)
    assert eyes.batches(world)


def test_a_source_with_other_leaves_is_only_another_source(
    world: Consortium, tmp_path: Path
) -> None:
    after, other = grown(world), grown(other_log(world))
    liar, honest = ConsortiumSource(other, name="liar"), ConsortiumSource(after)
    eyes = Eyes(tmp_path / "replica")
    with eyes.open(after) as replica:
        _, lies = sync_any(replica, [liar, honest], now_of(after))
        assert replica.size == len(after.leaves)
    assert [(name, err.code) for name, err in lies] == [("liar", "follow.past")]


def test_a_bent_old_leaf_on_our_disk_is_not_taken_for_a_lie(
    world: Consortium, tmp_path: Path
) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    database = sqlite3.connect(eyes.path)
    database.execute("UPDATE entries SET leaf = x'00' WHERE idx = 3")
    database.commit()
    database.close()
    with pytest.raises(Unproven, match=r"replica\.tampered"):
        eyes.sync(go_on(world))


def test_it_goes_over_twice(world: Consortium, tmp_path: Path) -> None:
    eyes = Eyes(tmp_path / "replica")
    eyes.sync(world)
    first = grown(world)
    eyes.sync(first)
    second = go_on(first, Shape(("nl-one", "fr-five"), (), ChainId("trial-tests-3")))
    second.open_epochs()
    assert eyes.sync(second) == len(second.leaves)
    assert len(eyes.batches(second)) == 2


def test_a_head_of_the_old_chain_is_none_of_the_new_one(world: Consortium, tmp_path: Path) -> None:
    eyes, after = Eyes(tmp_path / "replica"), go_on(world)
    eyes.sync(after)
    with eyes.open(after) as replica, pytest.raises((Unproven, Malformed), match=r"tlog\.origin"):
        replica.sync(ConsortiumSource(world), now_of(world))


def test_a_trial_is_followed_on_only_as_a_trial(world: Consortium, tmp_path: Path) -> None:
    made = continuing(world, Shape(chain=ChainId("consortium-2")))
    with pytest.raises(Unproven, match=r"follow\.trial"):
        Replica(tmp_path / "replica", made, None, allow_trial=False)


class Mirror(ConsortiumSource):
    """Serves the log out of a mirror's files."""

    files: dict[str, bytes]

    def fetch_tile(self, path: str) -> bytes:
        return self.files[path]


def test_a_mirror_serves_all_that_a_newcomer_asks_for(world: Consortium, tmp_path: Path) -> None:
    """The pinned size's own partial tiles among it, and the geneses before."""
    after = grown(world)
    eyes = Eyes(tmp_path / "mirrors", "fr-five")
    eyes.sync(after)
    files: dict[str, bytes] = {}
    with eyes.open(after) as replica:
        genesis = encode_genesis(after.founding.genesis)
        for path, content in public_files(replica, genesis, 0, files.__getitem__):
            files[path] = content
        assert not set(outgrown(replica, replica.size, after.founding.begins_at)) & set(files)
    earlier = files[f"earlier/{world.founding.digest.hex()}"]
    assert earlier == encode_genesis(world.founding.genesis)
    mirror = Mirror(after)
    mirror.files = files
    assert Eyes(tmp_path / "reader").sync(after, mirror) == len(after.leaves)
