"""A hostile member is refused: it never stops the others, nor makes their state grow at will."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from accord.agency.founding import AGENCY_STAFF, TRIAL_PARAMETERS
from accord.agency.sealing import seal_epoch, wrap_epoch
from accord.client.home import PrivateKey, role_keys
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.membership import agencies
from accord.ledger.state import (
    AGENCIES_TABLE,
    AGENDA,
    EPOCHS,
    KEYS,
    PROPOSALS,
    SEEN,
    TABLES,
    TALLIES,
    ProposalStatus,
    index_key,
    parse_row,
)
from accord.statements.bodies import (
    Accredit,
    Acknowledge,
    Dispute,
    DisputeReason,
    Epoch,
    Keyset,
    Propose,
    RefRange,
    RemoveAgency,
    Role,
    RoleKey,
    Vote,
    Wrap,
)
from accord.statements.confidential import load_decrypt_public
from accord.wire import record
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, JurisdictionId, MemberId, TimeMs
from accord.wire.limits import (
    DECRYPTORS_MAX,
    EPOCH_PENDING_MS_MAX,
    JURISDICTIONS_MAX,
    KEYSETS_DAY_MAX,
    PROPOSALS_OPEN_MAX,
)
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

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FIELD_PRIME = 2**255 - 19
# The x-coordinates of low order on Curve25519 and their second spellings, from the literature.
LOW_ORDER_X = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD_PRIME - 1,
    FIELD_PRIME,
    FIELD_PRIME + 1,
)


@pytest.fixture
def four() -> Consortium:
    return Consortium().open_epochs()


def propose(world: Consortium, agency: str, number: int) -> int | RejectCode:
    action = Accredit(MemberId(agency), JurisdictionId(f"X{number}"))
    return world.say(Propose(world.header(agency), action), Role.GOVERNOR)


def keyset(
    world: Consortium, member: str, version: int, keys: Sequence[PrivateKey]
) -> int | RejectCode:
    public = role_keys(CHAIN, MemberId(member), keys)
    return world.say(Keyset(world.header(member), version, public), Role.ROOT)


def fresh(member: str, role: Role, count: int, seed: str) -> list[PrivateKey]:
    return [derived_key(member, role, f"{seed}-{number}") for number in range(count)]


def test_what_is_decided_leaves_the_agenda_and_keeps_its_record() -> None:
    short = replace(TRIAL_PARAMETERS, proposal_life_ms=60_000)
    world = Consortium(founding(parameters=short)).open_epochs()
    state = world.ledger.state
    lapsing = propose(world, "nl-one", 10)
    assert isinstance(lapsing, int)
    done = world.decide(
        Propose(world.header("ie-two"), Accredit(MemberId("ie-two"), JurisdictionId("EU")))
    )
    assert [key for key, _ in state.rows(AGENDA)] == [index_key(lapsing)]
    world.now = TimeMs(world.now + 60_000)
    world.publish("nl-one", listings(1))
    assert not list(state.rows(AGENDA))
    rows = [state.get(PROPOSALS, index_key(entry)) for entry in (lapsing, done)]
    assert [row.status for row in rows if row] == [ProposalStatus.LAPSED, ProposalStatus.DONE]


def test_one_agency_cannot_fill_the_agenda(four: Consortium) -> None:
    verdicts = [propose(four, "nl-one", 10 + n) for n in range(PROPOSALS_OPEN_MAX + 1)]
    assert verdicts.pop() is RejectCode.OVER_QUOTA
    assert all(isinstance(verdict, int) for verdict in verdicts)
    assert isinstance(propose(four, "ie-two", 10), int)  # Nobody else is held up.
    four.now = TimeMs(four.now + TRIAL_PARAMETERS.proposal_life_ms)
    assert isinstance(propose(four, "nl-one", 99), int)


def test_one_member_cannot_fill_the_ledgers_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Consortium().open_epochs()
    entry = world.publish("nl-one", listings(1))
    world.now = TimeMs(START_MS // HOUR_MS * HOUR_MS + HOUR_MS)
    monkeypatch.setattr("accord.ledger.apply.STATEMENTS_HOUR_MAX", 40)

    def dispute(agency: str) -> int | RejectCode:
        refs = (RefRange(entry, 0, 1),)
        return world.say(Dispute(world.header(agency), refs, DisputeReason.OTHER), Role.ANALYST)

    verdicts = [dispute("ca-three") for _ in range(41)]
    assert verdicts.pop() is RejectCode.OVER_QUOTA
    assert all(isinstance(verdict, int) for verdict in verdicts)
    assert isinstance(dispute("ie-two"), int)
    world.now = TimeMs(world.now + HOUR_MS)
    assert isinstance(dispute("ie-two"), int)
    assert isinstance(dispute("ca-three"), int)
    state = world.ledger.state
    counted = {key.decode(): row.statements for key, row in state.rows(TALLIES)}
    assert (counted["ca-three"], counted["ie-two"]) == (1, 1)
    assert len(list(state.rows(SEEN))) == 2  # The marks of the hour before are gone.


@pytest.mark.parametrize("x", LOW_ORDER_X)
@pytest.mark.parametrize("high_bit", [0, 1])
def test_a_decryption_key_nobody_can_seal_to_is_refused(
    four: Consortium, x: int, high_bit: int
) -> None:
    """Or one member's keyset would stop every further epoch of its groups."""
    good = role_keys(CHAIN, MemberId("nl-one"), keys_for("nl-one", AGENCY_STAFF))
    low = (x | high_bit << 255).to_bytes(32, "little")

    def spoil(key: RoleKey) -> RoleKey:
        return replace(key, public=key.public[:1184] + low) if key.role is Role.DECRYPTOR else key

    bad = tuple(sorted(spoil(key) for key in good))
    assert four.say(Keyset(four.header("nl-one"), 2, bad), Role.ROOT) is RejectCode.BAD_KEYSET


def test_a_lattice_key_with_a_coefficient_out_of_range_is_refused() -> None:
    public = derived_key("nl-one", Role.DECRYPTOR, "keeper").public
    for at in (0, 384, 1149):
        spoilt = public[:at] + b"\xff\xff\xff" + public[at + 3 :]
        with pytest.raises(Malformed, match=r"key\.decrypt_public"):
            load_decrypt_public(spoilt)
    for size in (0, 1215, 1217):
        with pytest.raises(Malformed, match=r"key\.size"):
            load_decrypt_public(bytes(size))


def test_a_member_has_few_decryption_keys(four: Consortium) -> None:
    staff = list(keys_for("nl-one", AGENCY_STAFF))
    more = fresh("nl-one", Role.DECRYPTOR, DECRYPTORS_MAX, "spare")
    assert keyset(four, "nl-one", 2, [*staff, *more]) is RejectCode.BAD_KEYSET
    assert isinstance(keyset(four, "nl-one", 2, [*staff, *more[1:]]), int)


def test_a_member_changes_its_keys_only_so_often_in_a_day(four: Consortium) -> None:
    staff = list(keys_for("nl-one", AGENCY_STAFF))
    for change in range(KEYSETS_DAY_MAX):
        assert isinstance(keyset(four, "nl-one", 2 + change, staff), int)
    version = 2 + KEYSETS_DAY_MAX
    assert keyset(four, "nl-one", version, staff) is RejectCode.OVER_QUOTA
    theirs = list(keys_for("ie-two", AGENCY_STAFF))
    assert isinstance(keyset(four, "ie-two", 2, theirs), int)
    four.now = TimeMs(four.now + DAY_MS)
    assert isinstance(keyset(four, "nl-one", version, staff), int)


def epoch_body(world: Consortium, opener: str, *, garble: bool = False) -> tuple[Epoch, bytes]:
    state = world.ledger.state
    row = epoch_of(state, AGENCIES)
    to = recipients_of(state, AGENCIES)
    publics = [(item, key.public) for item in to if (key := state.get(KEYS, item.key_id))]
    previous = world.epoch_keys[AGENCIES, row.number]
    sealed = seal_epoch(CHAIN, AGENCIES, row.number + 1, publics, previous)
    commitment = bytes(32) if garble else sealed.commitment
    header = world.header(opener)
    body = Epoch(header, AGENCIES, row.number + 1, commitment, to, sha256(sealed.blob))
    return body, sealed.blob


def opens(world: Consortium, opener: str, *, garble: bool = False) -> int | RejectCode:
    body, blob = epoch_body(world, opener, garble=garble)
    return world.say(body, Role.KEEPER, blob)


def test_a_keeper_whose_epoch_nobody_acknowledged_lets_the_others_try(four: Consortium) -> None:
    assert isinstance(opens(four, "ca-three", garble=True), int)
    four.now = TimeMs(four.now + EPOCH_PENDING_MS_MAX)
    assert opens(four, "ca-three", garble=True) is RejectCode.EPOCH_PENDING
    assert isinstance(opens(four, "ie-two"), int)
    pending = epoch_of(four.ledger.state, AGENCIES).pending
    assert pending is not None
    for agency in ("nl-one", "ie-two", "nl-four"):
        ack = Acknowledge(four.header(agency), AGENCIES, 2, pending.commitment)
        four.must(ack, Role.KEEPER)
    row = epoch_of(four.ledger.state, AGENCIES)
    assert (row.number, row.stalled) == (2, ())


def test_a_lone_keeper_may_try_again_once_all_had_their_turn(four: Consortium) -> None:
    assert isinstance(opens(four, "nl-one"), int)
    four.now = TimeMs(four.now + EPOCH_PENDING_MS_MAX * len(FOUR))
    assert isinstance(opens(four, "nl-one"), int)


def test_two_keepers_cannot_pass_the_turn_between_them_for_ever(four: Consortium) -> None:
    for opener in ("ca-three", "nl-four"):
        assert isinstance(opens(four, opener, garble=True), int)
        four.now = TimeMs(four.now + EPOCH_PENDING_MS_MAX)
    for opener in ("ca-three", "nl-four"):
        assert opens(four, opener, garble=True) is RejectCode.EPOCH_PENDING
    assert isinstance(opens(four, "nl-one"), int)


def test_a_garbled_wrap_can_be_made_good_by_another_keeper(four: Consortium) -> None:
    to = recipients_of(four.ledger.state, AGENCIES)[:1]
    assert to[0] in epoch_of(four.ledger.state, AGENCIES).recipients

    publics = [(item, k.public) for item in to if (k := four.ledger.state.get(KEYS, item.key_id))]
    blob = wrap_epoch(CHAIN, AGENCIES, 1, four.epoch_keys[AGENCIES, 1], publics, None)
    body = Wrap(four.header("ie-two"), AGENCIES, 1, to, sha256(blob))
    four.must(body, Role.KEEPER, blob)
    assert to[0] in epoch_of(four.ledger.state, AGENCIES).recipients


def test_holders_of_an_epoch_are_keys_in_force_however_often_they_change(four: Consortium) -> None:
    staff = [key for key in keys_for("nl-one", AGENCY_STAFF) if key.role is not Role.DECRYPTOR]
    state = four.ledger.state
    for change in range(4):
        spare = fresh("nl-one", Role.DECRYPTOR, 2, f"turn-{change}")
        assert isinstance(keyset(four, "nl-one", 2 + change, [*staff, *spare]), int)
        missing = tuple(
            sorted(set(recipients_of(state, AGENCIES)) - set(epoch_of(state, AGENCIES).recipients))
        )
        publics = [(item, key.public) for item in missing if (key := state.get(KEYS, item.key_id))]
        blob = wrap_epoch(CHAIN, AGENCIES, 1, four.epoch_keys[AGENCIES, 1], publics, None)
        body = Wrap(four.header("ie-two"), AGENCIES, 1, missing, sha256(blob))
        four.must(body, Role.KEEPER, blob)
    assert epoch_of(state, AGENCIES).recipients == recipients_of(state, AGENCIES)


def test_no_vote_makes_a_row_that_a_restart_could_not_read(four: Consortium) -> None:
    for number in range(JURISDICTIONS_MAX - 1):
        where = JurisdictionId(f"X{number}-Y")
        four.decide(Propose(four.header("nl-one"), Accredit(MemberId("nl-one"), where)))
    one_more = Accredit(MemberId("nl-one"), JurisdictionId("ZZ"))
    body = Propose(four.header("nl-one"), one_more)
    assert four.say(body, Role.GOVERNOR) is RejectCode.INVALID_ACTION
    row = four.ledger.state.get(AGENCIES_TABLE, b"nl-one")
    assert row is not None
    assert len(row.jurisdictions) == JURISDICTIONS_MAX
    for table in TABLES.values():
        for _, stored in four.ledger.state.rows(table):
            assert parse_row(table.name, record.encode_record(stored)) == stored
    assert four.ledger.state.get(EPOCHS, AGENCIES.encode()) is not None


@pytest.mark.parametrize(("count", "needed"), [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (8, 6)])
def test_a_removal_needs_two_thirds_of_all_agencies(count: int, needed: int) -> None:
    """Or a bloc below two thirds removes the others one by one until it is all there is."""
    names = [f"agency-{number}" for number in range(count)]
    world = Consortium(founding([plan(name, "NL") for name in names]))
    target = MemberId(names[-1])
    entry = world.must(Propose(world.header(names[0]), RemoveAgency(target)), Role.GOVERNOR)
    for votes in range(1, count):
        assert (target not in agencies(world.ledger.state)) is (votes >= needed)
        if votes < needed:
            world.must(Vote(world.header(names[votes]), entry, approve=True), Role.GOVERNOR)
    assert target not in agencies(world.ledger.state)
