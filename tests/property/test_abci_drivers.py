"""One ledger, two drivers: the application and the solo sequencer agree on every block; also where
the application is asked as the engine asks it, in bytes, over a disk, and is started again.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.node.abci_app import App
from accord.node.abci_proto import ACCEPT, REJECT
from accord.node.store import Store
from accord.scan.cases.sealed import hearers
from accord.statements.bodies import Accredit, Body, Propose, RemoveAgency, Role, Vote
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX
from consortium_kit import CHAIN, FOUR, START_MS, Consortium
from feedback_kit import feedback_body, word
from sim.sequencer import Door

AGENCIES = [p.member for p in FOUR]


def statement(consortium: Consortium, kind: int, member: str, number: int) -> bytes:
    """Some transaction, which the ledger may or may not accept, or may not even parse."""
    header = consortium.header(member)
    body: Body
    match kind:
        case 0:
            body = Propose(header, Accredit(MemberId(member), JurisdictionId("EU")))
        case 1:
            body = Propose(header, RemoveAgency(AGENCIES[number % 4]))
        case 2:
            body = Vote(header, number, approve=number % 5 != 0)
        case 6:
            return feedback(consortium, number)
        case _:
            return bytes([number]) * kind
    return consortium.sign(body, Role.GOVERNOR)


def feedback(consortium: Consortium, number: int) -> bytes:
    """A platform's words, where it has been admitted by now, and to all agencies or not."""
    everybody = hearers(consortium.ledger.state)
    words = [word(f"{number}/{ordinal}") for ordinal in range(1 + number % 3)]
    told = everybody[1:] if number % 5 == 0 else everybody
    body, blob = feedback_body(consortium, words, recipients=told)
    return consortium.sign(body, Role.REPORTER, blob)


Choice = tuple[int, str, int]


def rounds(consortium: Consortium, blocks: list[list[Choice]]) -> Iterator[list[bytes]]:
    """Blocks that admit a platform, then the chosen ones."""
    consortium.admit_platform()
    yield from [list(raws) for _, raws in consortium.blocks]
    for choices in blocks:
        yield [statement(consortium, *choice) for choice in choices]


CHOICE = st.tuples(
    st.sampled_from([0, 1, 2, 3, 4, 5, 6, 6]), st.sampled_from(AGENCIES), st.integers(0, 12)
)
BLOCKS = st.lists(st.lists(CHOICE, max_size=5), min_size=1, max_size=8)


@given(BLOCKS, st.booleans())
@settings(deadline=None)
def test_both_drivers_reach_the_same_app_hash(blocks: list[list[Choice]], honest: bool) -> None:
    consortium = Consortium()
    genesis = consortium.founding.genesis
    proposer, other = (App(Ledger.founded(genesis), 0, consortium.now) for _ in range(2))
    solo = Ledger.founded(genesis)
    for height, said in enumerate(rounds(consortium, blocks), 1):
        raws = said
        now = TimeMs(START_MS + 1_000 * (height + 1))
        if honest:
            raws = proposer.prepare(raws, now, BLOCK_BYTES_MAX)
            assert other.process(raws, now) is None
        predicted = list(solo.foresee(raws, now))
        alone = solo.finalize(raws, now)
        for app in (proposer, other):
            done = app.finalize(height, raws, now)
            app.committed()
            assert done.result.app_hash == alone.app_hash == app.info()[1]
            assert done.result.verdicts == alone.verdicts
        assert [code is None for code in predicted] == [type(v) is int for v in alone.verdicts]
        assert not (honest and any(predicted))


class Deployed:
    """The application behind its server, over a store; asked as an engine asks."""

    def __init__(self, path: Path, consortium: Consortium) -> None:
        self.store = Store(path, consortium.founding)
        self.app = App(self.store.ledger(), self.store.height, self.store.time_ms)
        self.died: list[BaseException] = []
        self.door = Door(lambda: self.app, self.commit, self.died.append)

    async def commit(self) -> None:
        done = self.app.pending()
        self.store.commit(done.result, done.policy_before, done.misbehaviour)
        self.app.committed()

    async def take(self, height: int, now: TimeMs, raws: list[bytes]) -> tuple[bytes, list[int]]:
        """A decided block: the app hash, and of each transaction its entry, or minus its code."""
        if height == 1:
            await self.door.ask("init_chain", chain_id=CHAIN)
        done = await self.door.ask("finalize_block", now, txs=tuple(raws), height=height)
        await self.door.ask("commit")
        assert not self.died
        said = await self.door.ask("info")
        assert (said.last_block_height, said.last_block_app_hash) == (height, done.app_hash)
        verdicts = [
            -result.code if result.code else int.from_bytes(result.data, "big")
            for result in done.tx_results
        ]
        return done.app_hash, verdicts


@given(BLOCKS, st.booleans(), st.booleans())
@settings(deadline=None, max_examples=15)
def test_the_engines_side_of_the_door_sees_what_solo_does(
    blocks: list[list[Choice]], honest: bool, restarted: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_compare(blocks, honest, restarted, Path(directory) / "node.db"))


async def _compare(blocks: list[list[Choice]], honest: bool, restarted: bool, path: Path) -> None:
    consortium = Consortium()
    solo = Ledger.founded(consortium.founding.genesis)
    node = Deployed(path, consortium)
    for height, said in enumerate(rounds(consortium, blocks), 1):
        raws = said
        now = TimeMs(START_MS + 1_000 * (height + 1))
        for raw in raws:
            checked = await node.door.ask("check_tx", tx=raw)
            assert (checked.code == 0) == (solo.check(raw, node.app.time_ms) is None)
        if honest:
            asked = {"max_tx_bytes": BLOCK_BYTES_MAX, "height": height}
            prepared = await node.door.ask("prepare_proposal", now, txs=tuple(raws), **asked)
            raws = list(prepared.txs)
        judged = await node.door.ask("process_proposal", now, txs=tuple(raws), height=height)
        refusals = [code for code in solo.foresee(raws, now) if code is not None]
        assert judged.result == (REJECT if refusals else ACCEPT)
        alone = solo.finalize(raws, now)
        app_hash, verdicts = await node.take(height, now, raws)
        assert app_hash == alone.app_hash
        wanted = [-v.value if isinstance(v, RejectCode) else v for v in alone.verdicts]
        assert verdicts == wanted
        if restarted:
            node.store.close()
            node = Deployed(path, consortium)
    node.store.close()
