"""Founding a consortium among agencies that do not share a machine, or joining one.

`accord agency init`, `accord genesis make`, `accord genesis show`, `accord agency join`.
Not here: trials (cli.node), what a genesis must fulfil (accord.ledger.genesis).
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from accord.agency.application import APPLICATION_FILE
from accord.agency.ceremony import apply_as_agency, join, read_agency_application
from accord.agency.founding import DAY_MS, TRIAL_PARAMETERS, AgencyPlan, make_genesis
from accord.cli.continuing import hold_against, make_continuing, read_old_log
from accord.cli.options import Json
from accord.cli.parameters import NAMES, changed, lines_of
from accord.cli.text import cell
from accord.client.files import write_durably
from accord.client.home import load_earlier, store_earlier
from accord.client.http import check_url
from accord.ledger.genesis import GENESIS_BYTES_MAX, Continues, Founding, parse_genesis
from accord.statements.bodies import AdmitAgency
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import (
    CHAIN_RE,
    JURISDICTION_RE,
    NAME_RE,
    ChainId,
    JurisdictionId,
    MemberId,
    TimeMs,
)
from accord.wire.keys import key_id_of
from accord.wire.record import dump_record

# What a consortium starts with if its founders say nothing else; any of it changes by vote.
PARAMETERS = replace(
    TRIAL_PARAMETERS,
    time_lock_ms=7 * DAY_MS,
    proposal_life_ms=30 * DAY_MS,
    agencies_min=2,
    sovereigns_min=2,
)
PANEL = "An agency"  # Its heading in `accord --help`.
agency_app = typer.Typer(no_args_is_help=True, help="An agency's own set-up.")
genesis_app = typer.Typer(no_args_is_help=True, help="What a consortium is founded on.")

_INIT = """Make an agency's keys and its application, to found a consortium or to join one.

The chain id is the consortium's, agreed beforehand: every key proves its owner on that chain alone.
Hand application.json to the others; it holds no secret. Keep keys/ to yourself.

Examples:

    accord agency init ./nl-police --chain accord-1 --member nl-police \\
        --title "Police of the Netherlands" --sovereign NL
"""
_JOIN = """Make the applicant's directory a home, with the genesis that everybody compared.

Give the SHA-256 that several agencies told you. To join a consortium that exists, hand your
application to an agency first: it counts once more than two thirds voted to admit you.

Examples:

    accord agency join ./nl-police --genesis genesis.json --sha256 4be1... \\
        --node https://node.police.example

    accord agency join ./new-keys --genesis genesis.json --keys-by-vote \\
        --node https://node.police.example
"""
_MAKE = """Make the genesis out of every founder's application. One founder does it; all compare.

The same applications, chain, time and settings give the same bytes. Each setting is a parameter of
the consortium, in milliseconds, bits or agencies; a vote changes it later.

Examples:

    accord genesis make nl.json ie.json ca.json fr.json --chain accord-1 --out genesis.json

    accord genesis make *.json --chain accord-1 --set agencies_min=3 --set time_lock_ms=86400000

    accord genesis make nl.json ie.json fr.json --chain accord-2 --continues ./nl-police
"""
_SHOW = """Show what a genesis says, and its SHA-256.

With an application: exit status 1 unless it stands in the genesis unchanged.

Examples:

    accord genesis show genesis.json --application ./nl-police/application.json

    accord genesis show genesis-2.json --against ./nl-police
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    agency_app.command("init", help=_INIT)(init)
    agency_app.command("join", help=_JOIN)(join_home)
    genesis_app.command("make", help=_MAKE)(make)
    genesis_app.command("show", help=_SHOW)(show)
    app.add_typer(agency_app, name="agency", rich_help_panel=PANEL)
    app.add_typer(genesis_app, name="genesis", rich_help_panel=PANEL)


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The home to be.")],
    chain: Annotated[str, typer.Option(help="The consortium's chain id.")],
    member: Annotated[str, typer.Option(help="Your member id: a-z, 0-9 and -.")],
    title: Annotated[str, typer.Option(help="What people call you.")],
    sovereign: Annotated[str, typer.Option(help="The state you belong to, such as NL.")],
    jurisdiction: Annotated[
        list[str] | None,
        typer.Option(help="Where you make rules; repeatable. Your state, if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    where = check_member(member, title, jurisdiction or [sovereign])
    (state,) = check_member(member, title, [sovereign])
    plan = AgencyPlan(MemberId(member), title, state, tuple(where))
    if CHAIN_RE.fullmatch(chain) is None:
        raise Malformed("cli.chain", chain=chain[:80])
    apply_as_agency(directory, ChainId(chain), plan)
    file = directory / APPLICATION_FILE
    if as_json:
        _print_json({"member": member, "chain": chain, "application": str(file)})
        return
    sys.stdout.write(
        f"Made the keys of {member} on {chain}; they stay in {directory / 'keys'}.\n"
        f"Next: hand {file} to the other founders (accord genesis make), or to an agency\n"
        f"of a consortium that exists (accord propose admit {file.name}).\n"
    )


def check_member(member: str, title: str, jurisdictions: list[str]) -> list[JurisdictionId]:
    """What an applicant says of itself; the jurisdictions in order. Raises: Malformed."""
    if NAME_RE.fullmatch(member) is None:
        raise Malformed(
            "cli.member", got=member[:40], wanted="2 to 32 of a-z, 0-9 and -, a letter first"
        )
    if not 1 <= len(title) <= 200:
        raise Malformed("cli.title", chars=len(title), wanted="1 to 200 characters")
    where = sorted(set(jurisdictions))
    if not all(JURISDICTION_RE.fullmatch(name) for name in where):
        raise Malformed("cli.jurisdiction", got=", ".join(where)[:80], wanted="such as NL or EU")
    return [JurisdictionId(name) for name in where]


def join_home(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where `init` made the keys.")],
    genesis: Annotated[Path, typer.Option(help="The consortium's genesis.json.")],
    node: Annotated[list[str], typer.Option(metavar="URL", help="A node, your own first.")],
    sha256: Annotated[str, typer.Option(help="The genesis's SHA-256, from elsewhere.")] = "",
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A genesis that it continues; repeatable."),
    ] = None,
    keys_by_vote: Annotated[
        bool,
        typer.Option("--keys-by-vote", help="The keys replace those of the genesis, by vote."),
    ] = False,
    as_json: Json = False,
) -> None:
    before = [*read_earlier(earlier or []), *load_earlier(directory)]
    raw, founding = read_genesis(genesis, sha256, before)
    for url in node:
        check_url(url)
    if before:
        store_earlier(directory, before)
    joined = join(directory, raw, node, keys_by_vote=keys_by_vote)
    said = {
        "home": str(joined.home.path),
        "member": joined.home.member,
        "chain": joined.home.chain,
        "genesis_sha256": founding.digest.hex(),
        "is_founder": joined.is_founder,
    }
    if as_json:
        _print_json(said)
        return
    verb = "replace-keys" if keys_by_vote else "admit"
    next_step = (
        "The genesis names this agency: run its node and its keeper."
        if joined.is_founder
        else f"Next: an agency proposes you: accord propose {verb} {directory / APPLICATION_FILE}"
    )
    sys.stdout.write(
        f"{joined.home.path} is the home of {joined.home.member} on {joined.home.chain}.\n"
        f"Genesis SHA-256, to compare with several agencies: {founding.digest.hex()}\n"
        f"{next_step}\n"
    )


def make(
    applications: Annotated[list[Path], typer.Argument(metavar="APPLICATION...")],
    chain: Annotated[str, typer.Option(help="The chain id that every founder applied for.")],
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("genesis.json"),
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=", ".join(NAMES),
        ),
    ] = None,
    time_ms: Annotated[
        int | None, typer.Option(min=0, help="Its time, ms since 1970; now if left out.")
    ] = None,
    continues: Annotated[
        Path | None,
        typer.Option(metavar="HOME", help="Go on with the log of this home's stopped node."),
    ] = None,
    as_json: Json = False,
) -> None:
    founders = [read_agency_application(file) for file in applications]
    founders.sort(key=lambda founder: founder.agency)
    old = None if continues is None else read_old_log(continues)
    checked = changed(PARAMETERS if old is None else old.parameters, changes or ())
    if CHAIN_RE.fullmatch(chain) is None:
        raise Malformed("cli.chain", chain=chain[:80])
    if out.exists():
        raise Malformed("cli.genesis_exists", path=str(out), mend="--out another file")
    now = TimeMs(time.time_ns() // 1_000_000 if time_ms is None else time_ms)
    if old is None:
        raw = make_genesis(ChainId(chain), now, checked, founders)
    else:
        raw = make_continuing(old, ChainId(chain), now, checked, founders)
    try:
        write_durably(out, raw)
    except OSError as err:
        raise Unavailable("cli.genesis", path=str(out), why=err.strerror or "") from err
    founding = parse_genesis(raw)
    if as_json:
        _print_json({"genesis": str(out), **_facts(founding)})
        return
    _tell(founding)
    sys.stdout.write(
        f"Wrote {out}. Next, every founder: accord genesis show {out} --application ...,\n"
        "compare the SHA-256 by telephone, then accord agency join.\n"
    )


def show(
    genesis: Annotated[Path, typer.Argument(metavar="FILE", help="A genesis.json.")],
    application: Annotated[
        Path | None, typer.Option(help="An application that must stand in it.")
    ] = None,
    sha256: Annotated[str, typer.Option(help="The SHA-256 it must have.")] = "",
    against: Annotated[
        Path | None,
        typer.Option(metavar="HOME", help="A home whose stopped node's log it must go on with."),
    ] = None,
    as_json: Json = False,
) -> None:
    _, founding = read_genesis(genesis, sha256)
    held = None if against is None else hold_against(founding, against)
    if application is not None:
        ours = read_agency_application(application)
        if ours not in founding.genesis.agencies:
            raise Unproven("ceremony.listed_otherwise", agency=ours.agency)
    if as_json:
        _print_json(_facts(founding) | ({"against": held} if held else {}))
        return
    _tell(founding)
    if held is not None:
        sys.stdout.write(f"It {held}.\n")


def read_earlier(files: Sequence[Path]) -> list[bytes]:
    """The bytes of geneses that another one continues. Raises: Malformed."""
    return [read_genesis(file, "")[0] for file in files]


def read_genesis(file: Path, sha256: str, earlier: Sequence[bytes] = ()) -> tuple[bytes, Founding]:
    """Raises: Malformed, Unavailable; Unproven, if it is not the one of that digest."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(GENESIS_BYTES_MAX + 1)
    except OSError as err:
        raise Malformed("cli.genesis", path=str(file), why=err.strerror or "") from err
    founding = parse_genesis(raw, earlier)
    if sha256 and founding.digest.hex() != sha256.lower():
        raise Unproven("cli.genesis_differs", got=founding.digest.hex(), wanted=sha256[:64])
    return raw, founding


def _facts(founding: Founding) -> dict[str, object]:
    genesis = founding.genesis
    return {
        "chain": genesis.chain,
        "sha256": founding.digest.hex(),
        "time_ms": genesis.time_ms,
        **({} if genesis.continues is None else {"continues": _pinned(genesis.continues)}),
        "parameters": dump_record(genesis.parameters),
        "agencies": [
            {
                "id": agency.agency,
                "title": agency.title,
                "sovereign": agency.sovereign,
                "jurisdictions": list(agency.jurisdictions),
                "root_key_id": _root_of(agency),
            }
            for agency in genesis.agencies
        ],
    }


def _pinned(continues: Continues) -> dict[str, object]:
    return {
        "genesis_sha256": continues.genesis_sha256.hex(),
        "chain": continues.chain,
        "size": continues.size,
        "root": continues.root.hex(),
    }


def _root_of(agency: AdmitAgency) -> str:
    """The key that stands for the agency: what its own people read out to compare."""
    (root,) = (key for key in agency.keys if key.role == "root")
    return key_id_of(root.public).hex()


def _tell(founding: Founding) -> None:
    genesis = founding.genesis
    table = Table("agency", "title", "state", "makes rules in", "root key")
    for agency in genesis.agencies:
        where = ", ".join(agency.jurisdictions)
        row = (agency.agency, agency.title, agency.sovereign, where, _root_of(agency)[:16])
        table.add_row(*(cell(value) for value in row))
    Console().print(table)
    for line in lines_of(genesis.parameters):
        sys.stdout.write(f"  {line}\n")
    if genesis.continues is not None:
        for name, value in _pinned(genesis.continues).items():
            sys.stdout.write(f"  continues {name} {value}\n")
    sys.stdout.write(f"{genesis.chain}, SHA-256 {founding.digest.hex()}\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
