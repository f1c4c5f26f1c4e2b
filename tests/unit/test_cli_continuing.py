"""Survivors hold a genesis against what their own nodes had; homes go on and no two logs grow."""

from pathlib import Path

import pytest

from accord.agency.backup import make_backup, parse_backup, restore
from accord.agency.ceremony import go_on_elsewhere
from accord.cli.continuing import complete, hold_against, make_continuing, read_old_log
from accord.client.home import (
    CONTINUED_FILE,
    GENESIS_FILE,
    Home,
    create_home,
    go_on,
    load_keys,
    open_home,
    store_earlier,
)
from accord.ledger.genesis import encode_genesis
from accord.node.process import locked
from accord.node.settings import NODE_DIRECTORY, STORE_FILE
from accord.node.store import Store
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, MemberId, TimeMs
from consortium_kit import Consortium, founding, listings, plan
from continuing_kit import FRESH, SECOND, Shape, applications, continuing
from continuing_kit import go_on as continued


@pytest.fixture(scope="module")
def world() -> Consortium:
    made = Consortium().open_epochs()
    made.publish("nl-one", listings(1))
    return made


def home_of(directory: Path, world: Consortium, member: str, blocks: int | None = None) -> Home:
    """An agency's home with its node's store, as the node left it."""
    raw, name = encode_genesis(world.founding.genesis), MemberId(member)
    home = create_home(directory / member, "agency", name, raw, [], world.keys[name])
    (home.path / NODE_DIRECTORY).mkdir()
    store = Store(home.path / NODE_DIRECTORY / STORE_FILE, world.founding)
    ledger = store.ledger()
    for time_ms, block in world.blocks[:blocks]:
        store.commit(ledger.finalize(block, time_ms))
    store.close()
    return home


def test_a_genesis_is_made_of_all_that_a_stopped_node_has(
    tmp_path: Path, world: Consortium
) -> None:
    home = home_of(tmp_path, world, "nl-one")
    old = read_old_log(home.path)
    assert (old.size, old.parameters) == (len(world.leaves), world.founding.genesis.parameters)
    made = make_continuing(
        old, SECOND, TimeMs(world.now + 60_000), old.parameters, applications(world, Shape())
    )
    assert made == encode_genesis(continuing(world).genesis)
    with pytest.raises(Malformed, match=r"genesis\.no_opener"):
        make_continuing(old, SECOND, world.now, old.parameters, applications(world, Shape(())))
    with locked(home.path / NODE_DIRECTORY), pytest.raises(Unavailable, match=r"node\.in_use"):
        read_old_log(home.path)


def test_survivors_that_agree_say_so(tmp_path: Path, world: Consortium) -> None:
    made, count = continuing(world), len(world.leaves)
    same = home_of(tmp_path, world, "nl-one")
    assert hold_against(made, same.path) == f"pins all {count} entries of this node"
    shorter = home_of(tmp_path, world, "ie-two", blocks=len(world.blocks) - 1)
    assert hold_against(made, shorter.path).startswith("pins 1 entries more")


def test_who_has_more_entries_says_so(tmp_path: Path, world: Consortium) -> None:
    home = home_of(tmp_path, world, "nl-one")
    short = continuing(world, Shape(size=len(world.leaves) - 1))
    with pytest.raises(Unproven, match=r"continuing\.log_is_longer"):
        hold_against(short, home.path)


@pytest.mark.parametrize("missing", [0, 1])
def test_survivors_that_disagree_find_out(tmp_path: Path, world: Consortium, missing: int) -> None:
    other = Consortium().open_epochs()
    other.publish("nl-one", listings(1, "another"))
    home = home_of(tmp_path, world, "nl-one")
    made = continuing(other, Shape(size=len(other.leaves) - missing))
    with pytest.raises(Unproven, match=r"continuing\.other_log"):
        hold_against(made, home.path)


def test_a_genesis_of_another_consortium_is_not_ours(tmp_path: Path, world: Consortium) -> None:
    home = home_of(tmp_path, world, "nl-one")
    stranger = Consortium(founding((plan("nl-one", "NL"), plan("ie-two", "IE")))).open_epochs()
    with pytest.raises(Unproven, match=r"continuing\.other_genesis"):
        hold_against(continuing(stranger), home.path)
    with pytest.raises(Malformed, match=r"cli\.continues_nothing"):
        hold_against(world.founding, home.path)


def test_an_agency_takes_its_keys_along_but_for_those_that_signed_the_log(
    tmp_path: Path, world: Consortium
) -> None:
    old = home_of(tmp_path, world, "nl-one")
    application = go_on_elsewhere(old, tmp_path / "new", SECOND)
    before = {key.public for key in old.keys}
    fresh = {key.role for key in load_keys(tmp_path / "new") if key.public not in before}
    assert fresh == set(FRESH)
    assert application.title == world.founding.genesis.agencies[0].title
    assert (old.path / CONTINUED_FILE).exists()
    with pytest.raises(Malformed, match=r"ceremony\.applied"):
        go_on_elsewhere(old, tmp_path / "new", SECOND)


@pytest.mark.parametrize("role", [Role.ROOT, Role.DECRYPTOR])
def test_who_goes_on_needs_root_and_decryptor(
    tmp_path: Path, world: Consortium, role: Role
) -> None:
    old = home_of(tmp_path, world, "nl-one")
    for file in (old.path / "keys").glob(f"{role.value}.*"):
        file.unlink()
    with pytest.raises(Malformed, match=r"ceremony\.key_needed"):
        go_on_elsewhere(open_home(old.path), tmp_path / "new", SECOND)
    assert not (old.path / CONTINUED_FILE).exists()


def test_a_platforms_home_goes_over_whole_or_not(tmp_path: Path, world: Consortium) -> None:
    old = encode_genesis(world.founding.genesis)
    keys = world.keys[MemberId("nl-four")]
    home = create_home(tmp_path / "cloud", "platform", MemberId("nl-four"), old, ["http://a"], keys)
    made = continuing(world)
    after = go_on(home, encode_genesis(made.genesis), ["http://b"])
    assert (after.chain, after.nodes, after.founding) == (SECOND, ("http://b",), made)
    (home.path / GENESIS_FILE).write_bytes(old)  # The power failed before the last step.
    assert open_home(home.path).founding == made
    with pytest.raises(Unproven, match=r"home\.genesis"):
        go_on(after, old, ["http://b"])
    agency = create_home(tmp_path / "agency", "agency", MemberId("nl-one"), old, [], keys)
    with pytest.raises(Malformed, match=r"home\.new_home"):
        go_on(agency, encode_genesis(made.genesis), [])


def test_a_backup_takes_the_earlier_geneses_along(tmp_path: Path, world: Consortium) -> None:
    """Without them the home would not open."""
    after = continued(world)
    name = MemberId("fr-five")
    (tmp_path / "home").mkdir()
    store_earlier(tmp_path / "home", [encode_genesis(world.founding.genesis)])
    raw = encode_genesis(after.founding.genesis)
    home = create_home(tmp_path / "home", "agency", name, raw, [], after.keys[name])
    backup = parse_backup(make_backup(home, world.now, with_keys=True).encode())
    assert restore(backup, tmp_path / "restored").founding == after.founding


def test_earlier_geneses_are_fetched_by_their_digests(world: Consortium) -> None:
    first = continued(world)
    second = continuing(first, Shape(("nl-one",), (), ChainId("trial-tests-3")))
    known = {item.digest.hex(): encode_genesis(item.genesis) for item in second.line()}
    assert complete(encode_genesis(second.genesis), known.__getitem__) == second
    with pytest.raises(Malformed, match=r"genesis\.no_previous"):
        complete(encode_genesis(second.genesis), lambda _: encode_genesis(second.genesis))
