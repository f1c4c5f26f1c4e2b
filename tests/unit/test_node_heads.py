"""Heads and the tasks around them: who may halt a node, and that it ends when it is told to."""

import asyncio
from pathlib import Path

import pytest

from accord.ledger.views import cosigner_key
from accord.node.abci_app import App
from accord.node.comet_engine import end_tasks
from accord.node.cosigning import Cosigning
from accord.node.heads import Heads
from accord.node.store import Store
from accord.statements.bodies import Propose, RemoveAgency, Role, Vote
from accord.tlog.checkpoint import Checkpoint
from accord.tlog.note import Note, cosign_text
from accord.wire.errors import Broken
from accord.wire.ids import MemberId
from consortium_kit import CHAIN, Consortium

GONE, LEFT = "nl-four", "ie-two"


def forged(consortium: Consortium, member: str, size: int) -> bytes:
    """A head of another log, really signed by this agency."""
    private = consortium.key(member, Role.COSIGNER)
    text = Checkpoint(CHAIN, size, b"\x01" * 32).encode()
    key = cosigner_key(CHAIN, MemberId(member), private.public)
    return Note(text, (cosign_text(text, key, 1_800_000_000, private.sign),)).encode()


def remove(consortium: Consortium, gone: str) -> None:
    action = RemoveAgency(MemberId(gone))
    entry = consortium.must(Propose(consortium.header("nl-one"), action), Role.GOVERNOR)
    for member in ("ie-two", "ca-three"):
        consortium.must(Vote(consortium.header(member), entry, approve=True), Role.GOVERNOR)


def test_who_was_removed_halts_nobody_and_a_member_does(tmp_path: Path) -> None:
    consortium = Consortium()
    remove(consortium, GONE)
    store = Store(tmp_path / "node.db", consortium.founding)
    ledger = store.ledger()
    heads = Heads(CHAIN, store, Cosigning(CHAIN, lambda: (), store), ledger.state)
    app = App(ledger, 0, store.time_ms)
    for height, (time_ms, raws) in enumerate(consortium.blocks, 1):
        done = app.finalize(height, raws, time_ms)
        store.commit(done.result, done.policy_before)
        heads.grew(done.result.frontier.size, ledger.state, done.policy_before)
        app.committed()
    # Its key is known still: the head of the change needs the old quorum too.
    heads.take(forged(consortium, GONE, store.size))
    assert [key for key, _, _ in store.splits()] == [consortium.key(GONE, Role.COSIGNER).public]
    with pytest.raises(Broken, match=r"node\.diverged"):  # Of three, none may.
        heads.take(forged(consortium, LEFT, store.size))
    store.close()


def test_a_task_that_forgets_a_cancellation_ends_all_the_same() -> None:
    async def forgetful() -> None:
        for _ in range(2):  # As `wait_for` does where its answer came at the same moment.
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    async def main() -> None:
        tasks = [asyncio.create_task(forgetful()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(end_tasks(tasks), 20)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())
