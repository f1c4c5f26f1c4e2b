"""Whatever was said before it, a node restored from a snapshot agrees at every height after it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.node import snapshots
from accord.node.abci_app import App
from accord.statements.bodies import Accredit, Propose, Role, Vote
from accord.wire.ids import JurisdictionId, MemberId
from consortium_kit import FOUR
from snapshot_kit import History, empty_store, restore

AGENCIES = [p.member for p in FOUR]
STEP = st.tuples(st.integers(0, 5), st.sampled_from(AGENCIES), st.integers(0, 9))


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "SNAPSHOT_CHUNK_BYTES_MAX", 1_500)
        yield


def step(history: History, kind: int, member: str, number: int, version: dict[str, int]) -> None:
    """A block of some sort; much of what is said is not accepted."""
    world = history.world
    match kind:
        case 0:
            action = Accredit(MemberId(member), JurisdictionId("EU"))
            world.say(Propose(world.header(member), action), Role.GOVERNOR)
        case 1 | 2:
            world.say(Vote(world.header(member), number, approve=number % 5 != 0), Role.GOVERNOR)
        case 3:
            history.publish(1 + number, f"{member}{number}")
        case 4:
            version[member] = version.get(member, 1) + 1
            history.rotate_cosigner(member, version[member])
        case _:
            history.idle(1)
    history.keep()


@given(st.lists(STEP, min_size=1, max_size=10), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_restored_node_agrees_at_every_later_height(
    steps: list[tuple[int, str, int]], chosen: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        history = History(Path(directory) / "one.db").open_epochs()
        begins = history.store.height
        versions: dict[str, int] = {}
        for item in steps:
            step(history, *item, versions)
        height = begins + chosen % (history.store.height - begins + 1)
        store = empty_store(history, Path(directory) / "two.db")
        restore(history, history.snapshot(height), store)
        app = App(store.ledger(), store.height, store.time_ms)
        assert app.info() == (height, history.store.block(height).app_hash)
        for later in range(height + 1, history.store.height + 1):
            block = history.store.block(later)
            done = app.finalize(later, block.transactions, block.time_ms)
            store.commit(done.result, done.policy_before)
            app.committed()
            assert app.info() == (later, block.app_hash)
        changed = [item[:2] for item in history.store.policy_changes()]
        assert [item[:2] for item in store.policy_changes()] == changed
        assert [store.leaf(at) for at in range(store.size)] == history.world.leaves
        store.close()
        history.store.close()
