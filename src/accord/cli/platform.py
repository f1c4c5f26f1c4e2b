"""`accord platform init`: a platform's home, its keys, and its application to the consortium."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from accord.agency.application import APPLICATION_FILE, encode_application
from accord.agency.founding import PLATFORM_STAFF, make_keys, platform_application
from accord.cli.founding import check_member, read_genesis
from accord.cli.node import Json
from accord.client.files import write_durably
from accord.client.home import create_home
from accord.client.http import check_url
from accord.wire.ids import MemberId

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


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    platform_app.command("init", help=_INIT)(init)
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
