"""The application under CometBFT: what it proposes, refuses, decides and hands over."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from accord.agency.founding import AGENCY_STAFF, TRIAL_PARAMETERS, agency_application
from accord.client.home import PrivateKey
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.views import policy_of, validators
from accord.node.abci_app import (
    ENGINE_CHAIN_CHARS_MAX,
    POOL_BUSY,
    App,
    Finalized,
    Update,
    address_of,
    chain_for_engine,
    holder_of,
)
from accord.node.store import Misbehaviour
from accord.statements.bodies import (
    AdmitAgency,
    Keyset,
    Propose,
    RemoveAgency,
    Role,
    Vote,
)
from accord.statements.envelope import Transaction, encode_transaction, parse_transaction
from accord.tlog.policy import parse_policy
from accord.wire.errors import Broken
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_TRANSACTIONS_MAX,
    MEMBER_BLOCK_BYTES_MAX,
    MEMBER_POOL_BYTES_MAX,
    MEMBER_POOL_MAX,
)
from bytes_kit import bent
from consortium_kit import (
    CHAIN,
    FOUR,
    START_MS,
    Consortium,
    derived_key,
    founding,
    keys_for,
    listings,
    plan,
)

FIVE = (*FOUR, plan("fr-five", "FR"))
NOW = TimeMs(START_MS + 1_000)


class Network:
    """Four honest applications that see the same decided blocks."""

    def __init__(self, consortium: Consortium) -> None:
        self.apps = [app_over(consortium) for _ in range(4)]
        self.height = 0
        self.now = consortium.now

    def decide(self, raws: list[bytes], misbehaviour: tuple[Misbehaviour, ...] = ()) -> Finalized:
        self.height += 1
        self.now = TimeMs(self.now + 1_000)
        done = [app.finalize(self.height, raws, self.now, misbehaviour) for app in self.apps]
        for app in self.apps:
            app.committed()
        assert len({item.result.app_hash for item in done}) == 1
        assert len({item.updates for item in done}) == 1
        return done[0]

    def process(self, raws: list[bytes]) -> set[RejectCode | None]:
        return {app.process(raws, TimeMs(self.now + 1_000)) for app in self.apps}


def app_over(consortium: Consortium) -> App:
    """An application that has seen all that the kit's consortium decided."""
    ledger = Ledger.founded(consortium.founding.genesis)
    for time_ms, raws in consortium.blocks:
        ledger.finalize(raws, time_ms)
    return App(ledger, 0, consortium.now)


def governed(consortium: Consortium, member: str = "nl-one", life_ms: int = 5_000) -> bytes:
    action = replace(TRIAL_PARAMETERS, proposal_life_ms=life_ms)
    return consortium.sign(Propose(consortium.header(member), action), Role.GOVERNOR)


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


def test_what_an_honest_node_prepares_every_honest_node_accepts(consortium: Consortium) -> None:
    good = [governed(consortium, member) for member in consortium.agencies]
    forged = good[0][:-9] + bytes([good[0][-9] ^ 1]) + good[0][-8:]
    candidates = [good[0], b"noise", good[1], forged, good[1], b"", good[2], good[3]]
    network = Network(consortium)
    block = network.apps[2].prepare(candidates, network.now, BLOCK_BYTES_MAX)
    assert block == [good[0], good[1], good[2], good[3]]
    assert network.process(block) == {None}
    done = network.decide(block)
    assert done.result.verdicts == (0, 1, 2, 3)
    assert [app.info() for app in network.apps] == [(1, done.result.app_hash)] * 4


def test_a_block_keeps_to_its_room_and_its_count(consortium: Consortium) -> None:
    proposal = consortium.block(governed(consortium, life_ms=600_000)).verdicts[0]
    assert not isinstance(proposal, RejectCode)
    raws = [
        consortium.sign(Vote(consortium.header("ie-two"), proposal, approve=False), Role.GOVERNOR)
        for _ in range(BLOCK_TRANSACTIONS_MAX + 3)
    ]
    (app, *_) = Network(consortium).apps
    now = consortium.now
    assert len(app.prepare(raws, now, BLOCK_BYTES_MAX)) == BLOCK_TRANSACTIONS_MAX
    room = 3 * (len(raws[0]) + 8)
    assert app.prepare(raws, now, room) == raws[:3]
    assert app.prepare(raws, now, room - 1) == raws[:2]
    assert app.process(raws, now) is RejectCode.OVER_QUOTA
    assert app.process(raws[:BLOCK_TRANSACTIONS_MAX], now) is None


def publish_raw(consortium: Consortium, agency: str, seed: str) -> bytes:
    body, blob = consortium.publish_body(agency, listings(9_000, seed))
    return consortium.sign(body, Role.ANALYST, blob)


def test_a_member_cannot_crowd_out_the_rest(consortium: Consortium) -> None:
    consortium.open_epochs()
    flood = [publish_raw(consortium, "nl-one", str(i)) for i in range(4)]
    assert 2 * len(flood[0]) < MEMBER_BLOCK_BYTES_MAX < 3 * len(flood[0])
    others = [publish_raw(consortium, "ie-two", "x"), governed(consortium, "ca-three")]
    network = Network(consortium)
    block = network.apps[0].prepare([*flood, *others], network.now, BLOCK_BYTES_MAX)
    assert block == [flood[0], *others, flood[1]], "one of each in turn"
    assert network.process(block) == {None}
    assert network.process(flood[:3]) == {RejectCode.OVER_QUOTA}


def test_a_member_fills_its_share_of_the_pool_and_no_others(consortium: Consortium) -> None:
    entry = consortium.block(governed(consortium, life_ms=600_000)).verdicts[0]
    assert not isinstance(entry, RejectCode)

    def vote(member: str) -> bytes:
        body = Vote(consortium.header(member), entry, approve=False)
        return consortium.sign(body, Role.GOVERNOR)

    app, *_ = Network(consortium).apps
    flood = [vote("ie-two") for _ in range(MEMBER_POOL_MAX)]
    forged = flood[0][:-5] + bytes([flood[0][-5] ^ 1]) + flood[0][-4:]
    assert [app.admit(raw, again=False) for raw in (b"noise", forged)] == [
        RejectCode.MALFORMED.value,
        RejectCode.BAD_SIGNATURE.value,
    ]
    assert {app.admit(raw, again=False) for raw in flood} == {0}, "what is refused takes no room"
    assert app.admit(vote("ie-two"), again=False) == POOL_BUSY
    assert app.admit(vote("ca-three"), again=False) == 0
    app.finalize(1, flood[:1], TimeMs(consortium.now + 1_000))
    app.committed()
    assert app.admit(flood[0], again=True) == RejectCode.REPLAYED.value
    assert {app.admit(raw, again=True) for raw in flood[1:]} == {0}, "it is there already"
    assert app.admit(vote("ie-two"), again=False) == 0
    assert app.admit(vote("ie-two"), again=False) == POOL_BUSY


def test_a_member_fills_its_share_in_bytes(consortium: Consortium) -> None:
    consortium.open_epochs()
    app, *_ = Network(consortium).apps
    full = [publish_raw(consortium, "nl-one", str(i)) for i in range(6)]
    fits = MEMBER_POOL_BYTES_MAX // len(full[0])
    assert 0 < fits < len(full)
    found = [app.admit(raw, again=False) for raw in full]
    assert found == [0] * fits + [POOL_BUSY] * (len(full) - fits)


def swapped_blob(consortium: Consortium) -> list[bytes]:
    consortium.open_epochs()
    body, blob = consortium.publish_body("nl-one", listings(3))
    honest = parse_transaction(consortium.sign(body, Role.ANALYST, blob))
    assert honest.blob is not None
    altered = bent(honest.blob)
    return [encode_transaction(Transaction(honest.envelope, altered))]


def no_blob(consortium: Consortium) -> list[bytes]:
    consortium.open_epochs()
    body, blob = consortium.publish_body("nl-one", listings(3))
    honest = parse_transaction(consortium.sign(body, Role.ANALYST, blob))
    return [encode_transaction(Transaction(honest.envelope, None))]


def replayed(consortium: Consortium) -> list[bytes]:
    raw = governed(consortium)
    consortium.block(raw)
    return [raw]


def twice_in_one_block(consortium: Consortium) -> list[bytes]:
    return [governed(consortium)] * 2


def expired(consortium: Consortium) -> list[bytes]:
    raw = governed(consortium)
    consortium.now = TimeMs(consortium.now + 3_600_000)
    return [raw]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (swapped_blob, RejectCode.BLOB_MISMATCH),
        (no_blob, RejectCode.BLOB_MISSING),
        (lambda _: [b"\x00 garbage"], RejectCode.MALFORMED),
        (replayed, RejectCode.REPLAYED),
        (twice_in_one_block, RejectCode.REPLAYED),
        (expired, RejectCode.EXPIRED),
    ],
)
def test_a_liars_block_is_refused_by_all_and_changes_nothing(
    consortium: Consortium, lie: Callable[[Consortium], list[bytes]], code: RejectCode
) -> None:
    raws = lie(consortium)
    network = Network(consortium)
    before = {app.info() for app in network.apps}
    honest = governed(consortium, "ca-three")
    assert network.process([honest, *raws]) == {code}
    assert {app.info() for app in network.apps} == before
    # Were two thirds to lie, the block would still change nothing that the rules forbid.
    done = network.decide([honest, *raws])
    assert done.result.verdicts[-1] == code


def test_the_first_validators_are_the_genesis_agencies(consortium: Consortium) -> None:
    app = app_over(consortium)
    updates, app_hash = app.init_chain(CHAIN)
    keys = {consortium.key(m, Role.CONSENSUS).public for m in consortium.agencies}
    assert {(u.public, u.power) for u in updates} == {(key, 1) for key in keys}
    assert app_hash == consortium.ledger.app_hash()
    with pytest.raises(Broken, match=r"node\.chain"):
        app.init_chain("another-chain")


def vote_through(consortium: Consortium, action: AdmitAgency | RemoveAgency) -> Finalized:
    """The block in which an action takes effect, decided by four applications."""
    network = Network(consortium)
    propose = consortium.sign(Propose(consortium.header("nl-one"), action), Role.GOVERNOR)
    done = network.decide([propose])
    entry = done.result.verdicts[0]
    assert not isinstance(entry, RejectCode)
    assert done.updates == ()
    votes = [
        consortium.sign(Vote(consortium.header(member), entry, approve=True), Role.GOVERNOR)
        for member in ("ie-two", "ca-three")
    ]
    return network.decide(votes)


def test_an_admitted_agency_becomes_a_validator(consortium: Consortium) -> None:
    action = agency_application(CHAIN, FIVE[-1], keys_for("fr-five", AGENCY_STAFF))
    done = vote_through(consortium, action)
    key = next(k for k in action.keys if k.role is Role.CONSENSUS)
    assert done.updates == (Update(key.public, 1),)
    assert done.policy_before is not None
    assert len(parse_policy(done.policy_before).witnesses) == 4


def test_a_removed_agency_stops_being_one(consortium: Consortium) -> None:
    done = vote_through(consortium, RemoveAgency(MemberId("nl-four")))
    assert done.updates == (Update(consortium.key("nl-four", Role.CONSENSUS).public, 0),)


def test_a_rotated_key_goes_and_comes_in_one_block(consortium: Consortium) -> None:
    old = consortium.key("ie-two", Role.CONSENSUS)
    new = derived_key("ie-two", Role.CONSENSUS, "second")
    keys: tuple[PrivateKey, ...] = (
        *(key for key in consortium.keys[MemberId("ie-two")] if key.role is not Role.CONSENSUS),
        new,
    )
    public = tuple(sorted(key.role_key(CHAIN, MemberId("ie-two")) for key in keys))
    raw = consortium.sign(Keyset(consortium.header("ie-two"), 2, public), Role.ROOT)
    network = Network(consortium)
    done = network.decide([raw])
    assert done.result.verdicts == (0,)
    assert done.updates == (Update(old.public, 0), Update(new.public, 1))
    assert done.policy_before is None
    state = network.apps[0].ledger.state
    assert validators(state)[MemberId("ie-two")] == new.public
    for key in (old, new):  # Evidence about the old key still finds its holder.
        assert holder_of(state, address_of(key.public)) == "ie-two"
    assert holder_of(state, bytes(20)) is None


def test_no_agency_goes_without_a_consensus_key(consortium: Consortium) -> None:
    keys = [k for k in consortium.keys[MemberId("ie-two")] if k.role is not Role.CONSENSUS]
    public = tuple(sorted(key.role_key(CHAIN, MemberId("ie-two")) for key in keys))
    raw = consortium.sign(Keyset(consortium.header("ie-two"), 2, public), Role.ROOT)
    assert Network(consortium).decide([raw]).result.verdicts == (RejectCode.BAD_KEYSET,)


def test_blocks_come_in_order_and_once(consortium: Consortium) -> None:
    app = app_over(consortium)
    with pytest.raises(Broken, match=r"node\.block_order"):
        app.finalize(2, [], NOW)
    with pytest.raises(Broken, match=r"node\.block_order"):
        app.committed()
    app.finalize(1, [], NOW)
    assert app.is_between
    assert app.info()[0] == 0  # Not before it is durable.
    with pytest.raises(Broken, match=r"node\.block_order"):
        app.finalize(1, [], NOW)
    app.committed()
    assert (app.is_between, app.info()[0]) == (False, 1)


def test_an_empty_block_leaves_no_trace(consortium: Consortium) -> None:
    network = Network(consortium)
    before = network.apps[0].info()[1]
    assert network.decide([]).result.app_hash == before
    assert network.decide([governed(consortium)]).result.app_hash != before


def test_misbehaviour_goes_along_with_its_block(consortium: Consortium) -> None:
    seen = Misbehaviour("duplicate-vote", bytes(20), MemberId("nl-one"), 7, NOW)
    done = Network(consortium).decide([], (seen,))
    assert done.misbehaviour == (seen,)
    assert done.result.logged == ()


def test_block_time_never_runs_backwards(consortium: Consortium) -> None:
    app = app_over(consortium)
    first = app.finalize(1, [governed(consortium)], NOW)
    app.committed()
    again = app.finalize(2, [governed(consortium)], TimeMs(NOW - 10_000))
    assert again.result.time_ms == first.result.time_ms


def test_policies_are_noted_only_where_they_change(consortium: Consortium) -> None:
    before = policy_of(consortium.ledger.state, CHAIN).encode()
    action = agency_application(CHAIN, FIVE[-1], keys_for("fr-five", AGENCY_STAFF))
    assert vote_through(consortium, action).policy_before == before


def test_a_long_chain_id_is_shortened_for_the_engine() -> None:
    assert chain_for_engine(CHAIN) == CHAIN
    long = [ChainId("x" * 50 + end) for end in ("a", "b")]
    short = {chain_for_engine(chain) for chain in long}
    assert len(short) == 2
    assert {len(chain) for chain in short} == {ENGINE_CHAIN_CHARS_MAX}


def test_the_founding_members_are_checked_before_the_engine_sees_them() -> None:
    made = founding().genesis
    same = replace(made.agencies[0], agency=made.agencies[1].agency)
    with pytest.raises(Exception, match=r"genesis\.|reject\."):
        Ledger.founded(replace(made, agencies=(same, *made.agencies[1:])))
