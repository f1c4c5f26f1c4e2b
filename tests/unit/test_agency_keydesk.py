"""Role keys change one at a time: nothing is lost in a crash, nobody else's key is touched."""

from pathlib import Path

import pytest

from accord.agency.desk import Desk
from accord.agency.keydesk import KeyDesk, retired_decryptors
from accord.cli.assemble import identity_of
from accord.client.home import open_home
from accord.ledger.views import keys_of
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Rejected, Unavailable
from accord.wire.ids import MemberId, OperatorId
from consortium_kit import Consortium, listings
from desk_kit import Agencies

ONE = MemberId("nl-one")
ANALYST = OperatorId("analyst-a")


@pytest.fixture
def house(tmp_path: Path) -> Agencies:
    agencies = Agencies(tmp_path, Consortium())
    agencies.settle()
    return agencies


def key_desk(house: Agencies) -> KeyDesk:
    house.homes[ONE] = open_home(house.homes[ONE].path)
    return KeyDesk(house.voice("nl-one"), house.books[ONE])


def in_force(house: Agencies) -> set[tuple[Role, str]]:
    rows = keys_of(house.consortium.ledger.state, ONE).values()
    return {(row.role, row.operator) for row in rows}


@pytest.mark.parametrize("fault", ["ok", "lost", "stored-then-error"])
def test_a_rotated_key_is_never_lost(house: Agencies, fault: str) -> None:
    old = house.homes[ONE].key(Role.ANALYST)
    house.line.faults = [fault]
    if fault != "ok":
        with pytest.raises(Unavailable):
            key_desk(house).rotate(Role.ANALYST, old.operator)
    again = key_desk(house).rotate(Role.ANALYST, old.operator)
    assert (again is None) == (fault == "stored-then-error")
    house.homes[ONE] = open_home(house.homes[ONE].path)
    assert house.homes[ONE].key(Role.ANALYST).key_id != old.key_id
    Desk(house.voice("nl-one"), house.books[ONE]).publish(listings(1), [])
    assert len(list(house.homes[ONE].path.glob("keys/retired/*"))) == 1


def test_keys_that_other_machines_hold_stay_in_force(house: Agencies) -> None:
    before = in_force(house)
    for role in (Role.COSIGNER, Role.CONSENSUS, Role.KEEPER, Role.DECRYPTOR):
        for file in house.homes[ONE].path.glob(f"keys/{role}.*.key"):
            file.unlink()
    key_desk(house).rotate(Role.ANALYST, OperatorId("analyst-c"))
    assert in_force(house) == before | {(Role.ANALYST, "analyst-c")}
    shown = {(fact.role, fact.operator): fact.is_here for fact in key_desk(house).facts()}
    assert set(shown) == in_force(house)
    assert not shown[Role.COSIGNER, OperatorId("node")]
    assert shown[Role.ANALYST, OperatorId("analyst-c")]


@pytest.mark.parametrize("fault", ["ok", "lost", "stored-then-error"])
def test_a_person_who_left_signs_nothing_any_more(house: Agencies, fault: str) -> None:
    before = in_force(house)
    key_desk(house).rotate(Role.ANALYST, OperatorId("analyst-c"))
    house.line.faults = [fault]
    if fault != "ok":
        with pytest.raises(Unavailable):
            key_desk(house).revoke(Role.ANALYST, ANALYST)
    again = key_desk(house).revoke(Role.ANALYST, ANALYST)
    assert (again is None) == (fault == "stored-then-error")
    assert in_force(house) == before - {(Role.ANALYST, "analyst-a")} | {(Role.ANALYST, "analyst-c")}
    assert open_home(house.homes[ONE].path).key(Role.ANALYST).operator == "analyst-c"


def test_what_nobody_has_is_named(house: Agencies) -> None:
    with pytest.raises(Malformed, match=r"home\.no_such_key"):
        key_desk(house).revoke(Role.ANALYST, OperatorId("analyst-z"))
    for change in (key_desk(house).rotate, key_desk(house).revoke):
        with pytest.raises(Malformed, match=r"desk\.root"):
            change(Role.ROOT, OperatorId("safe"))


def test_an_agency_cannot_leave_the_quorum_by_revoking_its_cosigner(house: Agencies) -> None:
    before = in_force(house)
    with pytest.raises(Rejected, match=r"reject\.bad_keyset"):
        key_desk(house).revoke(Role.COSIGNER, OperatorId("node"))
    assert in_force(house) == before
    assert house.homes[ONE].key(Role.COSIGNER)


def test_a_decryption_key_that_was_put_aside_still_opens_what_it_was_told(house: Agencies) -> None:
    old = house.homes[ONE].key(Role.DECRYPTOR)
    assert retired_decryptors(house.homes[ONE].path) == []
    key_desk(house).rotate(Role.DECRYPTOR, old.operator)
    home = open_home(house.homes[ONE].path)
    assert retired_decryptors(home.path) == [old]
    who = identity_of(home)
    assert who is not None
    assert set(who.keys) == {old.key_id, home.key(Role.DECRYPTOR).key_id}
    assert who.key_id != old.key_id
