"""The command `accord`: assembles subcommands, no logic of its own."""

import typer

from accord.cli import fingerprint

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


def main() -> None:
    app()
