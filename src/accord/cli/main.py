"""The command `accord`: assembles subcommands, no logic of its own."""

import sys

import typer

from accord.cli import agency, audit, failures, fingerprint, follow, node, platform, scan
from accord.cli.bench import command as bench
from accord.cli.demo import command as demo
from accord.wire.errors import AccordError

app = typer.Typer(
    name="accord",
    help="One list of fingerprints, owned equally by the agencies that fill it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Keeps every command a subcommand, even while there is only one."""


fingerprint.register(app)
node.register(app)
agency.register(app)
platform.register(app)
follow.register(app)
scan.register(app)
audit.register(app)
demo.register(app)
bench.register(app)


def main() -> None:
    """Run one command; a refusal names its code, its cause and the mend, and exits with 1."""
    try:
        app()
    except AccordError as err:
        sys.exit(failures.fail(err))


if __name__ == "__main__":
    main()
