"""The command `accord`: assembles subcommands, no logic of its own."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from accord.cli import (
    agency,
    audit,
    backup,
    cases,
    continuing,
    evidence,
    failures,
    feedback,
    fingerprint,
    follow,
    founding,
    governance,
    keys,
    listed,
    local,
    lookup,
    members,
    mirror,
    node,
    patches,
    platform,
    report,
    rules,
    scan,
    testnet,
)
from accord.cli.bench import command as bench
from accord.cli.demo import command as demo
from accord.wire.errors import AccordError

app = typer.Typer(
    name="accord",
    help="One list of fingerprints, owned equally by the agencies that fill it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # Paragraphs flow to the width of the terminal.
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"accord {version('accord')}\n")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print it and stop."),
    ] = False,
) -> None:
    """One list of fingerprints, owned equally by the agencies that fill it."""


fingerprint.register(app)
node.register(app)
mirror.register(node.log_app)
listed.register(node.log_app)
founding.register(app)
continuing.register(founding.agency_app, founding.genesis_app, node.node_app)
members.register(app)
agency.register(app)
patches.register(app)
rules.register(governance.rules_app)
keys.register(app)
backup.register(app)
platform.register(app)
follow.register(app)
scan.register(app)
lookup.register(app)
cases.register(app)
report.register(app)
local.register(app)
audit.register(app)
evidence.register(app)
feedback.register(app)
testnet.register(app)
demo.register(app)
bench.register(app)


def main() -> None:
    """Run one command; a refusal names its code, its cause and the mend, and exits with 1."""
    status = 0
    try:
        app()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except AccordError as err:
        status = failures.fail(err)
    except OSError as err:
        status = failures.fail(failures.of_system(err))
    sys.exit(failures.flush_output(status))


if __name__ == "__main__":
    main()
