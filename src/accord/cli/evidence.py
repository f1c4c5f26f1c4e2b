"""`accord evidence`: what can be shown that somebody did wrong, out of the home's own copy.

Not here: verdicts over platforms (audit). Each item can be checked by who holds the same bytes.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import typer

from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.governance import tell
from accord.cli.options import HomeOption, Json, Trial
from accord.client.home import open_home
from accord.client.http import NodeClient
from accord.replica.replica import Replica, sync_any
from accord.wire.errors import AccordError

EXIT_FOUND: Final = 3
_HELP = """Show what can be proved against somebody, out of the home's verified copy of the log.

Batches that their publisher sealed for one group and not for another; heads of a second log that a
quorum signed; and, as the home's nodes claim, double votes and cosigners that signed another root.

Exit status: 0 nothing, 3 something.

Examples:

    accord evidence --home ./nl-police

    accord evidence --home ./clouddrive --json | jq .second_heads
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("evidence", help=_HELP, rich_help_panel="Anybody")(evidence)


def evidence(
    home: HomeOption,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    with connected(opened) as nodes, closing(open_replica(opened, trial)) as replica:
        sync_any(replica, nodes, now_ms())
        found = proved_by(replica) | claimed_by(nodes)
    tell(as_json, found, "\n".join(_lines(found)) or "Nothing.")
    if any(found.values()):
        raise typer.Exit(EXIT_FOUND)


def proved_by(replica: Replica) -> dict[str, list[Any]]:
    """What this copy proves by itself."""
    from accord.registry import Registry  # noqa: PLC0415  (numpy: slow to load)

    registry = Registry()
    for entry in replica.folded():
        registry.fold(entry)
    batches = [
        {"entry": it.entry, "publisher": it.publisher, "group": it.group, "code": it.code}
        for it in registry.snapshot().faults
    ]
    return {"batches": batches, "second_heads": [note.decode() for note in replica.evidence()]}


def claimed_by(nodes: Sequence[NodeClient]) -> dict[str, list[Any]]:
    """What the first node that answers says it saw; nothing, where none does."""
    for node in nodes:
        try:
            view = node.members()
        except AccordError:
            continue
        return {name: list(view.get(name, [])) for name in ("misbehaviour", "splits")}
    return {"misbehaviour": [], "splits": []}


def _lines(found: dict[str, list[Any]]) -> list[str]:
    lines = [
        f"batch {it['entry']} of {it['publisher']} did not reach {it['group']}: {it['code']}"
        for it in found["batches"]
    ]
    lines += [f"a second head, signed by a quorum:\n{note}" for note in found["second_heads"]]
    lines += [
        f"{it['kind']} of {it['agency'] or it['address']} at height {it['height']}"
        for it in found["misbehaviour"]
    ]
    lines += [
        f"cosigner {it['cosigner']} signed another root at {it['size']}" for it in found["splits"]
    ]
    return lines
