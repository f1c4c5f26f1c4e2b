"""`accord members`: who is in, which keys and epochs hold, and what is put to the vote."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from accord.cli.assemble import node_clients, request_key
from accord.cli.options import HomeOption, Json
from accord.cli.text import cell
from accord.client.home import open_home
from accord.wire.errors import Malformed

_HELP = """Show agencies, platforms, epochs and proposals, as the home's node sees them.

Examples:

    accord members --home ./trial/nl-police

    accord members --home ./trial/nl-police --json | jq '.proposals[] | select(.status=="open")'
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("members", help=_HELP)(members)


def members(home: HomeOption, as_json: Json = False) -> None:
    opened = open_home(home)
    request_key(opened)
    if not opened.nodes:
        raise Malformed("cli.no_node", mend="name a node in home.toml")
    with node_clients(opened)[0] as client:
        view = client.members()
    if as_json:
        sys.stdout.write(json.dumps(view, ensure_ascii=False) + "\n")
        return
    console = Console()
    sys.stdout.write(f"{view['chain']}, {view['size']} entries\n")
    console.print(table("Agencies", view["agencies"], ("id", "title", "sovereign", "standing")))
    console.print(table("Platforms", view["platforms"], ("id", "title", "standing")))
    epochs = [epoch | {"rotate by": _when(epoch["rotate_by_ms"])} for epoch in view["epochs"]]
    console.print(table("Epochs", epochs, ("group", "number", "rotate by")))
    electorate = {row["id"] for row in view["agencies"] if row["standing"] == "admitted"}
    proposals = [proposal_row(proposal, electorate) for proposal in view["proposals"]]
    console.print(table("Proposals", proposals, ("entry", "what", "by", "votes", "status")))


def proposal_row(proposal: Mapping[str, Any], electorate: set[str]) -> dict[str, str]:
    """What a governor needs to vote: what it would do, who said what, who has not yet."""
    ballots: Mapping[str, bool] = proposal["ballots"]
    said = {
        "yes": sorted(name for name, yes in ballots.items() if yes),
        "no": sorted(name for name, yes in ballots.items() if not yes),
        "open": sorted(electorate - set(ballots)) if proposal["status"] == "open" else [],
    }
    votes = "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names)
    facts = ", ".join(f"{name} {_fact(value)}" for name, value in proposal["action"].items())
    is_due = proposal["status"] == "passed" and proposal["due_ms"] is not None
    due = f", in force {_when(proposal['due_ms'])}" if is_due else ""
    return {
        "entry": str(proposal["entry"]),
        "what": f"{proposal['kind']}: {facts}",
        "by": proposal["proposer"],
        "votes": votes,
        "status": proposal["status"] + due,
    }


def table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Others' words are shown and never obeyed."""
    made = Table(*columns, title=title, title_justify="left")
    for row in rows:
        made.add_row(*(cell("" if row[name] is None else row[name]) for name in columns))
    return made


def _fact(value: Any) -> str:  # noqa: ANN401 - a JSON value.
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _when(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
