"""`accord init`, `accord node run`, `accord log verify`.

Not here: founding (accord.agency), the node (accord.node), verification (accord.replica).
"""

import json
import re
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from accord.agency.founding import AgencyPlan, found_trial
from accord.cli import node_setup
from accord.cli.continuing import complete
from accord.cli.options import Json, Trial
from accord.client.files import write_durably
from accord.client.home import GENESIS_FILE, open_home
from accord.client.http import NodeClient
from accord.ledger.genesis import Founding
from accord.replica.replica import Replica
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import (
    CHAIN_RE,
    JURISDICTION_RE,
    NAME_RE,
    TRIAL_PREFIX,
    ChainId,
    JurisdictionId,
    MemberId,
    TimeMs,
)

DEFAULT_PORT = 8700
NODE_DIRECTORY = "node"
FOUR_AGENCIES = (
    "nl-police:Police of the Netherlands (trial):NL",
    "ie-garda:Garda of Ireland (trial):IE",
    "ca-mounted:Mounted Police of Canada (trial):CA",
    "nl-marechaussee:Marechaussee of the Netherlands (trial):NL",
)


class EngineName(StrEnum):
    """What orders statements."""

    SOLO = "solo"
    COMETBFT = "cometbft"


node_app = typer.Typer(no_args_is_help=True, help="Run a node.")
log_app = typer.Typer(no_args_is_help=True, help="Check a log, as anybody.")

_INIT = """Found a trial consortium: every agency's home under DIR, and a node's directory DIR/node.

A trial runs on one machine with one process that orders statements for everybody. Its chain id
begins with `trial-`, and followers refuse it unless told `--trial`.

Examples:

    accord init --trial ./trial

    accord init --trial ./trial --agency nl-kp:"Police":NL --agency ie-gs:"Garda":IE --port 8701
"""
_RUN = """Run a node until SIGTERM or Ctrl-C: a trial's, or one agency's of a consortium.

A trial's node (engine solo) orders for everybody; the agencies' homes stand beside its DIR. An
agency's node (engine cometbft) runs one validator; its settings are in HOME/node/node.toml.

Examples:

    accord node run --dir ./trial/node

    accord node run --home ./nl-police --engine cometbft

    accord node run --dir ./trial/node --port 0 --json
"""
_VERIFY = """Verify a whole log: every entry hashed up to a root that the agencies' quorum signed.

Needs no key and believes nothing the server says. Give the genesis you have from elsewhere, as a
file or by its SHA-256; without either, what is proved is that the log agrees with its own genesis.

Examples:

    accord log verify http://127.0.0.1:8700 --trial --sha256 4be1...

    accord log verify https://log.example --genesis genesis.json --json
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("init", help=_INIT)(init)
    node_app.command("run", help=_RUN)(run)
    node_setup.register(node_app)
    log_app.command("verify", help=_VERIFY)(verify)
    app.add_typer(node_app, name="node")
    app.add_typer(log_app, name="log")


def init(
    trial: Annotated[Path, typer.Option("--trial", metavar="DIR", help="Where to found it.")],
    agency: Annotated[
        list[str] | None,
        typer.Option(metavar="ID:TITLE:SOVEREIGN", help="An agency; four if none is named."),
    ] = None,
    chain: Annotated[str, typer.Option(help="Chain id; from the directory's name if empty.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The node's port.")] = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    plans = [parse_plan(text) for text in agency or FOUR_AGENCIES]
    if len({plan.member for plan in plans}) != len(plans):
        raise Malformed("cli.agency", hint="the same id twice")
    node = trial / NODE_DIRECTORY
    if (node / GENESIS_FILE).exists():
        raise Malformed("cli.founded", path=str(trial), mend="another directory")
    chain_id = ChainId(chain or chain_of(trial.resolve().name))
    if CHAIN_RE.fullmatch(chain_id) is None:
        raise Malformed("cli.chain", chain=chain_id)
    homes = found_trial(trial, chain_id, plans, _now(), [f"http://127.0.0.1:{port}"])
    home = next(iter(homes.values()))
    node.mkdir(parents=True, exist_ok=True)
    write_durably(node / GENESIS_FILE, (home.path / GENESIS_FILE).read_bytes())
    digest = home.founding.digest.hex()
    if as_json:
        paths = {member: str(found.path) for member, found in homes.items()}
        _print_json(
            {"chain": chain_id, "genesis_sha256": digest, "homes": paths, "node": str(node)}
        )
        return
    sys.stdout.write(
        f"Founded {chain_id}: {len(homes)} agencies.\n"
        + "".join(f"  {found.path}\n" for found in homes.values())
        + f"Genesis SHA-256, which members and platforms compare: {digest}\n"
        f"Next: accord node run --dir {node} --port {port}\n"
    )


def parse_plan(text: str) -> AgencyPlan:
    """`id:Title:SOVEREIGN`. Raises: Malformed."""
    member, _, rest = text.partition(":")
    title, _, sovereign = rest.rpartition(":")
    named = NAME_RE.fullmatch(member) and member != NODE_DIRECTORY
    if not named or not title or JURISDICTION_RE.fullmatch(sovereign) is None:
        raise Malformed(
            "cli.agency", got=text, wanted="id:Title:SOVEREIGN, such as nl-kp:Police:NL"
        )
    where = JurisdictionId(sovereign)
    return AgencyPlan(MemberId(member), title, where, (where,))


def chain_of(name: str) -> str:
    """A trial's chain id out of a directory's name."""
    clean = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix(TRIAL_PREFIX)
    return f"{TRIAL_PREFIX}{clean or 'consortium'}"[:60]


def run(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="A trial's node directory (engine solo).")
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="The agency's home (engine cometbft).")
    ] = None,
    engine: Annotated[
        EngineName | None, typer.Option(help="cometbft with --home, solo with --dir.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on (solo; node.toml says it otherwise).")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0 takes a free one; the homes' own if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    # Here and not above: a web server would slow every other command's start by half a second.
    from accord.node.process import load_genesis, run_agency_node, run_node  # noqa: PLC0415

    def tell(address: str) -> None:
        if as_json:
            _print_json({"listening": address, "chain": chain})
        else:
            sys.stdout.write(f"{chain}: listening on {address}\n")
        sys.stdout.flush()

    if (directory is None) == (home is None):
        raise Malformed("cli.node", mend="either --dir (a trial) or --home (an agency's node)")
    if directory is not None:
        if engine is EngineName.COMETBFT:
            raise Malformed("cli.node", mend="--engine cometbft takes --home")
        chain = load_genesis(directory)[1].genesis.chain
        run_node(directory, host, _port_of(directory) if port is None else port, tell)
    elif home is not None:
        if engine is EngineName.SOLO:
            raise Malformed("cli.node", mend="--engine solo takes --dir")
        opened = open_home(home)
        chain = opened.chain
        run_agency_node(opened, tell, port)


def _port_of(directory: Path) -> int:
    """The port that the homes beside a node name."""
    for file in sorted(directory.resolve().parent.glob("*/home.toml")):
        for url in open_home(file.parent).nodes:
            found = re.fullmatch(r"https?://.*:([0-9]{1,5})/?", url)
            if found is not None:
                return int(found[1])
    return DEFAULT_PORT


def verify(
    url: Annotated[str, typer.Argument(metavar="URL", help="A node or a mirror of one.")],
    genesis: Annotated[Path | None, typer.Option(help="The genesis file you trust.")] = None,
    sha256: Annotated[str, typer.Option(help="SHA-256 of the genesis you trust, in hex.")] = "",
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    started = time.monotonic()
    with NodeClient(url) as client, tempfile.TemporaryDirectory() as directory:
        founding = _founding(client, genesis, sha256)
        replica = Replica(Path(directory) / "replica", founding, None, allow_trial=trial)
        try:
            replica.sync(client, _now())
            freshness = replica.freshness(_now())
            checkpoint = replica.checkpoint
        finally:
            replica.close()
    if checkpoint is None:
        raise Malformed("cli.no_checkpoint", url=url)
    pinned = genesis is not None or bool(sha256)
    report = {
        "verified": True,
        "chain": founding.genesis.chain,
        "genesis_sha256": founding.digest.hex(),
        "genesis_pinned": pinned,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "signers": list(checkpoint.signers),
        "age_ms": freshness.age_ms,
        "took_ms": round((time.monotonic() - started) * 1000),
    }
    if as_json:
        _print_json(report)
        return
    sys.stdout.write(
        f"{report['chain']}: {checkpoint.size} entries verified up to root {report['root']}\n"
        f"Signed by {', '.join(checkpoint.signers)}; newest quorum {freshness.age_ms} ms old.\n"
    )
    if not pinned:
        sys.stdout.write(
            "The genesis came from the same server: compare its SHA-256 with a member's.\n"
            f"  {founding.digest.hex()}\n"
        )


def _founding(client: NodeClient, genesis: Path | None, sha256: str) -> Founding:
    try:
        raw = client.fetch_genesis() if genesis is None else genesis.read_bytes()
    except OSError as err:
        raise Malformed("cli.genesis", path=str(genesis), why=err.strerror or "") from err
    founding = complete(raw, client.fetch_earlier)
    if sha256 and founding.digest.hex() != sha256.lower():
        raise Unproven("cli.genesis_differs", got=founding.digest.hex())
    return founding


def _now() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
