"""`accord backup` and `accord restore`: an agency's home on one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from accord.agency.backup import load_backup, make_backup, restore, store_backup
from accord.cli.assemble import now_ms
from accord.cli.governance import PANEL, tell
from accord.cli.options import HomeOption, Json
from accord.cli.text import counted
from accord.client.home import open_home
from accord.wire.errors import Unproven

_BACKUP = """Write an agency's home to one file: who it is, its keys, its node's settings.

While everything runs. Never in it: what the cosigner and the consensus key signed, and these two
keys, which a restored home makes anew; the log, which a node fetches and checks again. With keys
the file is as secret as they are; an encrypted medium is its place.

Examples:

    accord backup --home ./nl-police --out nl-police.backup

    accord backup --home ./nl-police --out nl-police.backup --without-keys
"""
_RESTORE = """Make DIR the home that was backed up, and say what to do before its node runs.

Only where the old home is gone for good, or its node stopped for good.

Examples:

    accord restore nl-police.backup ./nl-police --sha256 DIGEST
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("backup", help=_BACKUP, rich_help_panel=PANEL)(backup)
    app.command("restore", help=_RESTORE, rich_help_panel=PANEL)(restore_home)


def backup(
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="The file to write; there must be none.")],
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave all private keys out.")
    ] = False,
    as_json: Json = False,
) -> None:
    made = make_backup(open_home(home), now_ms(), with_keys=not without_keys)
    store_backup(made, out)
    said = {
        "backup": str(out),
        "member": made.member,
        "chain": made.chain,
        "genesis_sha256": made.genesis_sha256.hex(),
        "files": sorted(made.files),
        "left_out": list(made.left_out),
    }
    secret = "no private key in it" if without_keys else "private keys in it: guard it like them"
    tell(as_json, said, f"{out}: {counted(len(made.files), 'file')} of {made.member}; {secret}.")


def restore_home(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `accord backup` wrote.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the home shall be.")],
    sha256: Annotated[str, typer.Option(help="The genesis's SHA-256, from elsewhere.")] = "",
    as_json: Json = False,
) -> None:
    found = load_backup(file)
    digest = found.genesis_sha256.hex()
    if sha256 and sha256.lower() != digest:
        raise Unproven("cli.genesis_differs", got=digest, wanted=sha256[:64])
    home = restore(found, directory)
    mends = [
        f"accord keys rotate {role} {operator} --home {directory}"
        for role, operator in found.must_rotate()
    ]
    said = {
        "home": str(home.path),
        "member": home.member,
        "chain": home.chain,
        "genesis_sha256": digest,
        "made_ms": found.made_ms,
        "next": mends,
    }
    text = (
        f"{home.path} is the home of {home.member} on {home.chain} again.\n"
        f"Genesis SHA-256: {digest}\n"
        "Next, with the root key in keys/ (the old keys must never sign again):\n"
        + "".join(f"  {line}\n" for line in mends)
        + f"  accord node run --engine cometbft --home {directory}"
    )
    tell(as_json, said, text)
