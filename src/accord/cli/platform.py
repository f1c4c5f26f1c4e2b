"""`accord platform`: a platform's home, keys and application, and its way to the first sync."""

import json
import sys
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from accord.agency.application import APPLICATION_FILE, encode_application
from accord.agency.founding import PLATFORM_STAFF, make_keys, platform_application
from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.founding import check_member, read_genesis
from accord.cli.governance import tell
from accord.cli.options import HomeOption, Json, Trial
from accord.client.files import write_durably
from accord.client.home import create_home, open_home
from accord.client.http import check_url
from accord.follow.keyring import Keyring
from accord.ledger.epochs import epoch_of
from accord.ledger.state import PLATFORMS, Reader, Standing
from accord.replica.replica import sync_any
from accord.wire.errors import Malformed
from accord.wire.ids import MemberId
from accord.wire.limits import FOLLOW_WAIT_MS

PANEL = "A platform"  # Its heading in `accord --help`.
platform_app = typer.Typer(no_args_is_help=True, help="A platform's own set-up.")

_INIT = """Make a platform's home: fresh keys, the genesis you were given, and an application.

Compare the genesis's SHA-256 with what several agencies tell you, or give it as --sha256. Hand
application.json to an agency, which proposes it; it holds no secret. Keep keys/ to yourself.

Examples:

    accord platform init ./clouddrive --genesis genesis.json --member clouddrive \\
        --title "Cloud Drive" --jurisdiction NL --jurisdiction IE \\
        --node https://node.example
"""
_JOIN = """Wait until the vote has admitted this platform and it can read the list; sync it first.

Says what it waits for: the vote, then an agency's keeper that wraps the group key for you. Ctrl-C
loses nothing. With --no-wait it says where things stand and ends.

Exit status: 0 once the list can be read, 1 if it cannot yet, or the platform was suspended.

Examples:

    accord platform join --home ./clouddrive

    accord platform join --home ./clouddrive --no-wait --json
"""


class Stage(StrEnum):
    """How far a platform's joining is."""

    APPLIED = "applied"  # Nobody voted it in yet.
    ADMITTED = "admitted"  # No group key was wrapped for it yet.
    SUSPENDED = "suspended"
    REMOVED = "removed"
    READY = "ready"


WORDS = {
    Stage.APPLIED: "waiting for the vote: hand application.json to an agency",
    Stage.ADMITTED: "admitted; waiting for an agency's keeper to wrap the group key",
    Stage.SUSPENDED: "suspended by vote: it gets nothing new until it is admitted again",
    Stage.REMOVED: "removed by vote",
    Stage.READY: "ready: accord gateway, accord scan",
}
ENDS = (Stage.READY, Stage.SUSPENDED, Stage.REMOVED)


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    platform_app.command("init", help=_INIT)(init)
    platform_app.command("join", help=_JOIN)(join)
    app.add_typer(platform_app, name="platform", rich_help_panel=PANEL)


def init(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The home to make.")],
    genesis: Annotated[Path, typer.Option(help="The consortium's genesis.json.")],
    member: Annotated[str, typer.Option(help="Your member id: a-z, 0-9 and -.")],
    title: Annotated[str, typer.Option(help="What people call you.")],
    jurisdiction: Annotated[list[str], typer.Option(help="Where you operate; repeatable.")],
    node: Annotated[list[str], typer.Option(metavar="URL", help="A node; repeatable.")],
    sha256: Annotated[str, typer.Option(help="The genesis's SHA-256, from elsewhere.")] = "",
    as_json: Json = False,
) -> None:
    raw, founding = read_genesis(genesis, sha256)
    where = check_member(member, title, jurisdiction)
    for url in node:
        check_url(url)
    keys = make_keys(PLATFORM_STAFF)
    chain = founding.genesis.chain
    application = platform_application(chain, MemberId(member), title, where, keys)
    # Home first: a crash before the application is written is mended by hand with a new directory.
    home = create_home(directory, "platform", MemberId(member), raw, node, keys)
    file = home.path / APPLICATION_FILE
    write_durably(file, encode_application(application))
    digest = founding.digest.hex()
    if as_json:
        said = {"home": str(home.path), "application": str(file), "genesis_sha256": digest}
        sys.stdout.write(json.dumps(said | {"chain": chain}, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(
        f"Made {home.path} for {member} on {chain}.\n"
        f"Genesis SHA-256, to compare with several agencies: {digest}\n"
        f"Next: hand {file} to an agency: accord propose admit {file}\n"
    )


def join(
    home: HomeOption,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is ready.")] = True,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    if opened.kind != "platform":
        raise Malformed("cli.not_a_platform", member=opened.member, mend="--home of a platform")
    with connected(opened) as nodes, closing(open_replica(opened, trial)) as replica:
        stage: Stage | None = None
        while stage not in ENDS:
            sync_any(replica, nodes, now_ms())
            if stage is not (stage := stage_of(replica.state, replica.keyring, opened.member)):
                _tell_stage(stage, replica.size, as_json)
            if not wait:
                break
            if stage not in ENDS:
                nodes[0].wait(replica.size, FOLLOW_WAIT_MS)
    if stage is not Stage.READY:
        raise typer.Exit(1)


def stage_of(state: Reader, keyring: Keyring, member: MemberId) -> Stage:
    """Where a platform stands, as its own verified copy of the ledger says."""
    row = state.get(PLATFORMS, member.encode())
    if row is None:
        return Stage.APPLIED
    if row.standing is not Standing.ADMITTED:
        return Stage(row.standing.value)
    newest = ((group, epoch_of(state, group).number) for group in row.groups)
    readable = any(keyring.key_of(group, number) is not None for group, number in newest)
    return Stage.READY if readable else Stage.ADMITTED


def _tell_stage(stage: Stage, size: int, as_json: bool) -> None:
    tell(as_json, {"stage": stage.value, "size": size}, f"{size} entries; {WORDS[stage]}")
