"""One ledger, two drivers: the application and the solo sequencer agree on every block."""

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.ledger.block import Ledger
from accord.node.abci_app import App
from accord.statements.bodies import Accredit, Body, Propose, RemoveAgency, Role, Vote
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX
from consortium_kit import FOUR, START_MS, Consortium

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
        case _:
            return bytes([number]) * kind
    return consortium.sign(body, Role.GOVERNOR)


CHOICE = st.tuples(st.integers(0, 5), st.sampled_from(AGENCIES), st.integers(0, 12))
BLOCKS = st.lists(st.lists(CHOICE, max_size=5), min_size=1, max_size=8)


@given(BLOCKS, st.booleans())
@settings(deadline=None)
def test_both_drivers_reach_the_same_app_hash(
    blocks: list[list[tuple[int, str, int]]], honest: bool
) -> None:
    consortium = Consortium()
    genesis = consortium.founding.genesis
    proposer, other = (App(Ledger.founded(genesis), 0, consortium.now) for _ in range(2))
    solo = Ledger.founded(genesis)
    for height, choices in enumerate(blocks, 1):
        now = TimeMs(START_MS + 1_000 * height)
        raws = [statement(consortium, *choice) for choice in choices]
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
