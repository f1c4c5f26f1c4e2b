"""Options that many commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]
HomeOption = Annotated[
    Path, typer.Option("--home", envvar="ACCORD_HOME", help="The member's home directory.")
]
Trial = Annotated[bool, typer.Option("--trial", help="Accept a trial's ledger.")]
InsecureDecoder = Annotated[
    bool,
    typer.Option(
        "--insecure-decoder",
        help="Decode without the sandbox, where this system has none: for trying it out.",
    ),
]
