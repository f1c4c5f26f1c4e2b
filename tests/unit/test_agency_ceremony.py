"""Founding without a common machine: keys stay, applications travel, the genesis is compared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.agency.ceremony import apply_as_agency, join, read_agency_application
from accord.agency.founding import AgencyPlan, make_genesis
from accord.cli.founding import PARAMETERS
from accord.cli.main import app
from accord.client.home import open_home
from accord.statements.bodies import AdmitAgency
from accord.wire.errors import AccordError, Malformed, Unproven
from accord.wire.ids import ChainId, JurisdictionId, MemberId, TimeMs

CHAIN = ChainId("accord-1")
FOUNDERS = ("ca-mounted", "fr-gendarmes", "ie-garda", "nl-police")
NODES = ["https://node.example"]
NOW = TimeMs(1_790_000_000_000)


def plan(member: str) -> AgencyPlan:
    state = JurisdictionId(member[:2].upper())
    return AgencyPlan(MemberId(member), f"Agency {member}", state, (state,))


def apply_all(directory: Path) -> list[AdmitAgency]:
    return [apply_as_agency(directory / member, CHAIN, plan(member)) for member in FOUNDERS]


def genesis_of(applications: list[AdmitAgency], chain: ChainId = CHAIN) -> bytes:
    return make_genesis(chain, NOW, PARAMETERS, applications)


def test_every_founder_gets_a_home_with_its_own_keys_and_one_genesis(tmp_path: Path) -> None:
    genesis = genesis_of(apply_all(tmp_path))
    for member in FOUNDERS:
        joined = join(tmp_path / member, genesis, NODES)
        assert joined.is_founder
        assert open_home(tmp_path / member) == joined.home
        assert (joined.home.member, joined.home.chain, joined.home.nodes) == (
            member,
            CHAIN,
            ("https://node.example",),
        )


def test_an_application_holds_no_secret(tmp_path: Path) -> None:
    apply_as_agency(tmp_path, CHAIN, plan("nl-police"))
    told = (tmp_path / "application.json").read_text()
    secrets = [file.read_text().strip() for file in (tmp_path / "keys").iterdir()]
    assert len(secrets) == 9
    assert not any(secret in told for secret in secrets)


def test_who_is_not_in_the_genesis_joins_to_be_voted_on(tmp_path: Path) -> None:
    genesis = genesis_of(apply_all(tmp_path))
    apply_as_agency(tmp_path / "de-bka", CHAIN, plan("de-bka"))
    assert not join(tmp_path / "de-bka", genesis, NODES).is_founder


def test_a_genesis_with_another_key_in_our_name_is_refused(tmp_path: Path) -> None:
    applications = apply_all(tmp_path)
    forged = apply_as_agency(tmp_path / "forger", CHAIN, plan("nl-police"))
    with pytest.raises(Unproven, match=r"ceremony\.listed_otherwise"):
        join(tmp_path / "nl-police", genesis_of([*applications[:3], forged]), NODES)
    assert not (tmp_path / "nl-police" / "home.toml").exists()


def test_keys_by_vote_stand_in_for_those_of_the_genesis_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    genesis = genesis_of(apply_all(tmp_path))
    apply_as_agency(tmp_path / "again", CHAIN, plan("nl-police"))
    with pytest.raises(Unproven, match=r"ceremony\.listed_otherwise"):
        join(tmp_path / "again", genesis, NODES)
    joined = join(tmp_path / "again", genesis, NODES, keys_by_vote=True)
    assert not joined.is_founder
    assert (
        joined.home.keys != open_home(join(tmp_path / "nl-police", genesis, NODES).home.path).keys
    )
    other = replace(plan("ie-garda"), title="Agency nl-police")
    apply_as_agency(tmp_path / "other", CHAIN, other)
    with pytest.raises(Unproven, match=r"ceremony\.listed_otherwise"):
        join(tmp_path / "other", genesis, NODES, keys_by_vote=True)


def test_keys_prove_themselves_on_their_own_chain_alone(tmp_path: Path) -> None:
    applications = apply_all(tmp_path)
    with pytest.raises(Malformed, match=r"genesis\.agency"):
        genesis_of(applications, ChainId("accord-2"))
    other = [apply_as_agency(tmp_path / "x", ChainId("accord-2"), plan("ie-garda"))]
    with pytest.raises(Unproven, match=r"ceremony\.keys_differ"):
        join(tmp_path / "nl-police", genesis_of(other, ChainId("accord-2")), NODES)


def test_a_lost_or_exchanged_key_is_noticed(tmp_path: Path) -> None:
    genesis = genesis_of(apply_all(tmp_path))
    keys = tmp_path / "nl-police" / "keys"
    lost = (keys / "governor.governor.key").read_bytes()
    (keys / "governor.governor.key").unlink()
    with pytest.raises(Unproven, match=r"ceremony\.keys_differ"):
        join(tmp_path / "nl-police", genesis, NODES)
    (keys / "governor.governor.key").write_bytes(lost)
    (keys / "governor.governor.key").chmod(0o600)
    assert join(tmp_path / "nl-police", genesis, NODES).is_founder


def test_joining_again_changes_nodes_and_never_the_genesis(tmp_path: Path) -> None:
    applications = apply_all(tmp_path)
    home = tmp_path / "nl-police"
    join(home, genesis_of(applications), NODES)
    again = join(home, genesis_of(applications), ["https://other.example"])
    assert again.home.nodes == ("https://other.example",)
    with pytest.raises(Unproven, match=r"home\.genesis"):
        join(home, genesis_of(applications[1:]), NODES)
    assert open_home(home) == again.home


def test_keys_are_never_made_twice_in_one_place(tmp_path: Path) -> None:
    first = apply_as_agency(tmp_path, CHAIN, plan("nl-police"))
    with pytest.raises(Malformed, match=r"ceremony\.applied"):
        apply_as_agency(tmp_path, CHAIN, plan("nl-police"))
    (tmp_path / "application.json").unlink()  # As a crash before it was written leaves it.
    with pytest.raises(Malformed, match=r"home\.key_exists"):
        apply_as_agency(tmp_path, CHAIN, plan("nl-police"))
    assert first.keys


def run(*words: str | Path, refused: str = "") -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if refused:
        assert isinstance(done.exception, AccordError), done.output
        assert done.exception.code == refused
    else:
        assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_the_ceremony_by_commands(tmp_path: Path) -> None:
    files: list[Path] = []
    for member in FOUNDERS:
        home = tmp_path / member
        said = run(
            *("agency", "init", home, "--chain", CHAIN, "--member", member),
            *("--title", member, "--sovereign", member[:2].upper(), "--json"),
        )
        files.append(Path(json.loads(said)["application"]))
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    pinned = ("--chain", CHAIN, "--time-ms", str(NOW), "--set", "agencies_min=3", "--json")
    made = json.loads(run("genesis", "make", *files, *pinned, "--out", one))
    run("genesis", "make", *reversed(files), *pinned, "--out", other)
    assert one.read_bytes() == other.read_bytes(), "one order of founders"
    assert made["parameters"]["agencies_min"] == 3
    run("genesis", "make", *files, *pinned, "--out", one, refused="cli.genesis_exists")
    shown = json.loads(run("genesis", "show", one, "--application", files[0], "--json"))
    assert shown["sha256"] == made["sha256"]
    wrong = ("--sha256", "00" * 32, "--node", NODES[0])
    run("agency", "join", tmp_path / FOUNDERS[0], "--genesis", one, *wrong, refused=_DIFFERS)
    right = ("--sha256", made["sha256"], "--node", NODES[0], "--json")
    joined = json.loads(run("agency", "join", tmp_path / FOUNDERS[0], "--genesis", one, *right))
    assert joined["is_founder"]
    text = run("genesis", "show", one)
    assert made["sha256"] in text


_DIFFERS = "cli.genesis_differs"


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "ceremony.no_application"), (b"{}", "record.kind"), (b"\xff", "application.json")],
)
def test_what_is_no_application_is_named(tmp_path: Path, content: bytes | None, code: str) -> None:
    file = tmp_path / "application.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Malformed) as refused:
        read_agency_application(file)
    assert refused.value.code == code
