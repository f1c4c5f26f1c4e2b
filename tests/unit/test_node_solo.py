"""The solo engine: what it answers, in which order it keeps, signs and answers, when it stops."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.founding import TRIAL_PARAMETERS
from accord.client.files import write_durably
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import parse_genesis
from accord.ledger.views import policy_of
from accord.node.cosigning import STATE_FILE, StateFile
from accord.node.engine import Verdict
from accord.node.solo import SoloEngine, _Lines, _Waiting
from accord.node.store import Store
from accord.statements.bodies import Propose, RemoveAgency, Role, Vote
from accord.statements.envelope import parse_envelope, parse_transaction
from accord.tlog.cosigner import CosignerState, parse_cosigner_state
from accord.tlog.policy import parse_policy, verify_checkpoint
from accord.wire.errors import Broken, Malformed, Unavailable
from accord.wire.ids import MemberId
from accord.wire.limits import (
    BLOCK_TRANSACTIONS_MAX,
    MEMBER_BLOCK_BYTES_MAX,
    MEMBER_QUEUE_MAX,
)
from consortium_kit import CHAIN, FOUR, Consortium, founding, plan
from node_kit import Faulty, add_home, connect_faulty, make_homes, with_engine

FIVE = (*FOUR, plan("fr-five", "FR"))


def fifth() -> Propose:
    return Propose(Consortium().header("nl-one"), founding(FIVE).genesis.agencies[-1])


def parameters(consortium: Consortium, member: str = "nl-one", life_ms: int = 5_000) -> bytes:
    action = replace(TRIAL_PARAMETERS, proposal_life_ms=life_ms)
    return consortium.sign(Propose(consortium.header(member), action), Role.GOVERNOR)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    made = Consortium()
    make_homes(tmp_path, made)
    return made


def test_an_index_means_stored_and_under_a_quorums_head(
    tmp_path: Path, consortium: Consortium
) -> None:
    raw = parameters(consortium)

    async def work(engine: SoloEngine) -> None:
        assert await engine.submit(raw) == 0
        assert engine.head is not None
        policy = parse_policy(engine.head.policy)
        verified = verify_checkpoint(engine.head.note, policy, CHAIN)
        assert (verified.size, len(verified.signers)) == (1, 4)
        assert policy == policy_of(engine.state, CHAIN)

    with_engine(tmp_path, consortium, work)
    store = Store(tmp_path / "node" / "node.db", consortium.founding)
    assert store.size == 1
    store.close()


def test_the_very_same_statement_gets_its_index_again(
    tmp_path: Path, consortium: Consortium
) -> None:
    raw, other = parameters(consortium), parameters(consortium, "ie-two")

    async def work(engine: SoloEngine) -> list[Verdict]:
        at_once = await asyncio.gather(*(engine.submit(raw) for _ in range(5)))
        return [*at_once, await engine.submit(other), await engine.submit(raw)]

    assert with_engine(tmp_path, consortium, work) == [0, 0, 0, 0, 0, 1, 0]

    async def later(engine: SoloEngine) -> Verdict:
        consortium.now = type(consortium.now)(consortium.now + 7_200_000)  # Long expired.
        return await engine.submit(raw)

    assert with_engine(tmp_path, consortium, later) == 0


def test_what_the_ledger_refuses_changes_nothing(tmp_path: Path, consortium: Consortium) -> None:
    raw = parameters(consortium)
    wrong_role = consortium.sign(fifth(), Role.ANALYST)

    async def work(engine: SoloEngine) -> None:
        assert await engine.submit(wrong_role) is RejectCode.WRONG_ROLE
        forged = raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]  # Inside the signature.
        assert await engine.submit(forged) is RejectCode.BAD_SIGNATURE
        for noise in (b"", b"noise", raw + b"\x00"):
            with pytest.raises(Malformed):
                await engine.submit(noise)
        head = await engine.wait_beyond(-1, 20)
        assert head is not None
        assert head.size == 0

    with_engine(tmp_path, consortium, work)


def test_many_at_once_share_blocks_and_keep_their_senders_order(
    tmp_path: Path, consortium: Consortium
) -> None:
    raws = [parameters(consortium, m) for _ in range(40) for m in ("nl-one", "ie-two")]

    async def work(engine: SoloEngine) -> list[Verdict]:
        verdicts = await asyncio.gather(*(engine.submit(raw) for raw in raws))
        assert engine.gauges()["accord_node_blocks_total"] < len(raws) / 4
        return list(verdicts)

    verdicts = with_engine(tmp_path, consortium, work)
    assert sorted(int(v) for v in verdicts) == list(range(80))
    for member in (0, 1):
        own = verdicts[member::2]
        assert own == sorted(own)


def test_a_flood_waits_in_its_own_line(consortium: Consortium) -> None:
    loop = asyncio.new_event_loop()

    def waiting(member: str, padding: int = 0) -> _Waiting:
        raw = parameters(consortium, member)
        envelope = parse_envelope(parse_transaction(raw).envelope)
        return _Waiting(raw + bytes(padding), envelope, loop.create_future())

    lines = _Lines()
    for _ in range(MEMBER_QUEUE_MAX):
        lines.add(waiting("nl-one"))
    with pytest.raises(Unavailable, match=r"node\.member_busy"):
        lines.add(waiting("nl-one"))
    lines.add(waiting("ie-two"))
    block = lines.cut()
    members = [item.envelope.body.header.member for item in block]
    assert len(block) == BLOCK_TRANSACTIONS_MAX
    assert "ie-two" in members[:2]
    big = _Lines()
    for _ in range(4):
        big.add(waiting("nl-one", 900_000))
    assert [len(big.cut()) for _ in range(3)] == [2, 2, 0]
    assert (big.total_bytes, MEMBER_BLOCK_BYTES_MAX > 2 * 900_000) == (0, True)
    loop.close()


def admit_fifth(consortium: Consortium) -> list[bytes]:
    proposal = Propose(consortium.header("nl-one"), fifth().action)
    votes = [Vote(consortium.header(m), 0, approve=True) for m in ("ie-two", "ca-three")]
    return [consortium.sign(body, Role.GOVERNOR) for body in (proposal, *votes)]


def test_a_fifth_agency_needs_the_old_and_the_new_quorum(
    tmp_path: Path, consortium: Consortium
) -> None:
    add_home(tmp_path, consortium, "fr-five")
    statements = admit_fifth(consortium)

    async def work(engine: SoloEngine) -> bytes:
        before = policy_of(engine.state, CHAIN)
        for index, raw in enumerate(statements):
            assert await engine.submit(raw) == index
        after = policy_of(engine.state, CHAIN)
        assert engine.head is not None
        assert len(after.witnesses) == len(before.witnesses) + 1
        for policy in (before, after):
            assert verify_checkpoint(engine.head.note, policy, CHAIN).size == 3
        assert len(verify_checkpoint(engine.head.note, after, CHAIN).signers) == 5
        return engine.head.note

    note = with_engine(tmp_path, consortium, work)
    store = Store(tmp_path / "node" / "node.db", consortium.founding)
    assert store.transitions() == (3,)
    assert store.transition(3) is not None
    assert (store.transition(3) or ())[1] == note
    store.close()


def test_a_removed_agency_signs_once_more(tmp_path: Path, consortium: Consortium) -> None:
    bodies = [Propose(consortium.header("nl-one"), RemoveAgency(MemberId("nl-four")))]
    votes = [Vote(consortium.header(m), 0, approve=True) for m in ("ie-two", "ca-three")]
    raws = [consortium.sign(body, Role.GOVERNOR) for body in (*bodies, *votes)]

    async def work(engine: SoloEngine) -> list[int]:
        signers: list[int] = []
        for raw in (*raws, parameters(consortium)):
            await engine.submit(raw)
            assert engine.head is not None
            signers.append(engine.head.note.count("\u2014 ".encode()))
        return signers

    assert with_engine(tmp_path, consortium, work) == [4, 4, 4, 3]


def test_without_a_quorum_nothing_is_acknowledged_and_with_it_the_rest_is(
    tmp_path: Path, consortium: Consortium
) -> None:
    raw, lost = parameters(consortium), parameters(consortium, "ie-two")
    hidden = tmp_path / "hidden"

    async def work(engine: SoloEngine) -> None:
        assert await engine.submit(raw) == 0

    async def dark(engine: SoloEngine) -> None:
        with pytest.raises(Unavailable, match=r"node\.no_quorum"):
            await engine.submit(lost)
        assert engine.head is None
        assert engine.gauges()["accord_node_quorum"] == 0

    with_engine(tmp_path, consortium, work)
    hidden.mkdir()
    for member in ("nl-one", "ie-two"):
        (tmp_path / member).rename(hidden / member)
    with_engine(tmp_path, consortium, dark)
    for member in ("nl-one", "ie-two"):
        (hidden / member).rename(tmp_path / member)

    async def again(engine: SoloEngine) -> list[Verdict]:
        return [await engine.submit(lost), await engine.submit(raw)]

    assert with_engine(tmp_path, consortium, again) == [1, 0]


def set_time(directory: Path, member: str, time_s: int) -> None:
    """A cosigner whose clock was once set to this time: before it, it abstains."""
    path = directory / member / STATE_FILE
    state = parse_cosigner_state(path.read_bytes(), CHAIN)
    write_durably(path, replace(state, time_s=time_s).encode(CHAIN))  # The engine reads meanwhile.


def test_what_no_quorum_signed_is_not_acknowledged_though_it_is_stored(
    tmp_path: Path, consortium: Consortium
) -> None:
    first, raw = parameters(consortium), parameters(consortium, "ie-two")
    now_s = consortium.now // 1000

    async def work(engine: SoloEngine) -> None:
        assert await engine.submit(first) == 0
        for member in ("nl-one", "ie-two"):
            set_time(tmp_path, member, now_s + 1_000)
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"node\.no_quorum"):
                await engine.submit(raw)
            assert engine.head is not None
            assert engine.head.size == 1
        for member in ("nl-one", "ie-two"):
            set_time(tmp_path, member, now_s)
        assert await engine.submit(raw) == 1

    with_engine(tmp_path, consortium, work)


def test_the_new_quorum_alone_does_not_carry_a_change_of_policy(
    tmp_path: Path, consortium: Consortium
) -> None:
    remove = {m: RemoveAgency(MemberId(m)) for m in ("nl-four", "ca-three")}
    opening = [
        Propose(consortium.header("nl-one"), remove["nl-four"]),
        Propose(consortium.header("nl-one"), remove["ca-three"]),
        Vote(consortium.header("ie-two"), 0, approve=True),
    ]
    closing = [  # In one block: four agencies become two.
        Vote(consortium.header("ca-three"), 0, approve=True),
        Vote(consortium.header("ie-two"), 1, approve=True),
    ]
    raws = [consortium.sign(body, Role.GOVERNOR) for body in (*opening, *closing)]
    now_s = consortium.now // 1000

    async def work(engine: SoloEngine) -> None:
        for raw in raws[:3]:
            await engine.submit(raw)
        for member in remove:
            set_time(tmp_path, member, now_s + 1_000)
        found = await asyncio.gather(*map(engine.submit, raws[3:]), return_exceptions=True)
        assert [str(item)[:14] for item in found] == ["node.no_quorum"] * 2
        assert len(policy_of(engine.state, CHAIN).witnesses) == 2
        for member in remove:
            set_time(tmp_path, member, now_s)
        assert [await engine.submit(raw) for raw in raws[3:]] == [3, 4]

    with_engine(tmp_path, consortium, work)


@pytest.mark.parametrize("kind", ["lost", "stored"])
def test_after_a_failed_write_it_halts_and_a_restart_goes_on(
    tmp_path: Path, consortium: Consortium, kind: str
) -> None:
    raw = parameters(consortium)

    async def work(engine: SoloEngine) -> None:
        while engine.head is None:
            await asyncio.sleep(0.001)
        connection = engine._store._connection
        assert isinstance(connection, Faulty)
        connection.kind, connection.fail_at = kind, 1 if kind == "lost" else 8
        with pytest.raises(Unavailable, match="store"):
            await engine.submit(raw)
        with pytest.raises(Unavailable, match=r"node\.(halted|stopping)"):
            await engine.submit(raw)

    with pytest.raises(Unavailable, match=r"store\.commit"):
        with_engine(tmp_path, consortium, work, connect_faulty)

    async def again(engine: SoloEngine) -> Verdict:
        return await engine.submit(raw)

    assert with_engine(tmp_path, consortium, again) == 0


def test_a_cosigner_that_forgot_must_not_sign_again(tmp_path: Path, consortium: Consortium) -> None:
    async def work(engine: SoloEngine) -> Verdict:
        return await engine.submit(parameters(consortium))

    assert with_engine(tmp_path, consortium, work) == 0
    (tmp_path / "ie-two" / STATE_FILE).unlink()
    with pytest.raises(Broken, match=r"cosigner\.state_gone"):
        with_engine(tmp_path, consortium, lambda _: asyncio.sleep(0.2))


def test_a_state_file_knows_torn_old_and_foreign_states(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    fresh = StateFile(path, "trial-a", None)
    assert fresh.load() is None
    fresh.persist(CosignerState(3, bytes(32), 9))
    assert fresh.load() == CosignerState(3, bytes(32), 9)
    with pytest.raises(Broken, match=r"cosigner\.state_older"):
        StateFile(path, "trial-a", 4).load()
    with pytest.raises(Broken, match=r"cosigner\.state_damaged"):
        StateFile(path, "trial-b", 3).load()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Broken, match=r"cosigner\.state_damaged"):
        StateFile(path, "trial-a", 3).load()


def test_only_a_trial_may_run_alone(tmp_path: Path, consortium: Consortium) -> None:
    ledger = Ledger.founded(consortium.founding.genesis)
    ledger.chain = type(ledger.chain)("real.example")
    store = Store(tmp_path / "other.db", consortium.founding)
    with pytest.raises(Malformed, match=r"node\.not_a_trial"):
        SoloEngine(ledger, store, None, lambda: consortium.now)  # type: ignore[arg-type]  # Unused.
    store.close()


def test_a_waiter_hears_of_the_next_head(tmp_path: Path, consortium: Consortium) -> None:
    async def work(engine: SoloEngine) -> None:
        first = await engine.wait_beyond(-1, 20)
        assert first is not None
        assert await engine.wait_beyond(0, 0.01) == first
        waiter = asyncio.create_task(engine.wait_beyond(0, 20))
        await asyncio.sleep(0.01)
        assert await engine.submit(parameters(consortium)) == 0
        head = await waiter
        assert head is not None
        assert head.size == 1

    with_engine(tmp_path, consortium, work)


def test_the_genesis_of_the_kit_is_a_trial(tmp_path: Path, consortium: Consortium) -> None:
    raw = (tmp_path / "node" / "genesis.json").read_bytes()
    assert parse_genesis(raw) == consortium.founding
