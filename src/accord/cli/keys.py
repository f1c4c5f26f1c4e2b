"""`accord keys`: the role keys of a member, listed, rotated and revoked by who holds its root."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from accord.agency.keydesk import KeyDesk
from accord.agency.voice import Voice
from accord.cli.assemble import AgencyBook, AnyNode, now_ms
from accord.cli.governance import PANEL, tell
from accord.cli.options import HomeOption, Json
from accord.client.home import open_home
from accord.statements.bodies import Role
from accord.wire.errors import Malformed
from accord.wire.ids import NAME_RE, OperatorId, TimeMs

_LIST = """List the agency's keys in force, and which of them this home holds.

Examples:

    accord keys list --home ./nl-police

    accord keys list --home ./nl-police --json | jq '.keys[] | select(.is_here | not)'
"""
_ROTATE = """Replace the key of a role and operator, or add one for a new operator.

Asked again after a crash, it goes on where it stopped. The root key signs, so it must be here; keys
that other machines hold stay in force. A machine whose key was rotated gets the new file from here.

Examples:

    accord keys rotate analyst analyst-c --home ./nl-police

    accord keys rotate consensus node --home ./nl-police
"""
_REVOKE = """End a key with no other in its place, as when a person leaves.

Examples:

    accord keys revoke analyst analyst-a --home ./nl-police

    accord keys revoke analyst analyst-a --stolen-since 2026-05-01T12:00:00Z
"""
RoleArgument = Annotated[Role, typer.Argument(help="Such as analyst.")]
OperatorArgument = Annotated[str, typer.Argument(metavar="OPERATOR", help="Such as analyst-c.")]
StolenSince = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Others may have used it since then: what it said from then on does not count.",
    ),
]
keys_app = typer.Typer(no_args_is_help=True, help="The agency's role keys.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    keys_app.command("list", help=_LIST)(list_keys)
    keys_app.command("rotate", help=_ROTATE)(rotate)
    keys_app.command("revoke", help=_REVOKE)(revoke)
    app.add_typer(keys_app, name="keys", rich_help_panel=PANEL)


@contextmanager
def _key_desk(home: HomeOption) -> Iterator[KeyDesk]:
    opened = open_home(home)
    book = AgencyBook(opened)
    try:
        yield KeyDesk(Voice(opened, AnyNode(book.nodes), now_ms), book)
    finally:
        book.close()


def list_keys(home: HomeOption, as_json: Json = False) -> None:
    with _key_desk(home) as desk:
        facts = desk.facts()
    if as_json:
        shown = [
            {
                "role": fact.role.value,
                "operator": fact.operator,
                "key_id": fact.key_id.hex(),
                "since_ms": fact.since_ms,
                "is_here": fact.is_here,
            }
            for fact in facts
        ]
        tell(True, {"keys": shown}, "")
        return
    table = Table("role", "operator", "key id", "since", "here")
    for fact in facts:
        since = datetime.fromtimestamp(fact.since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        here = "yes" if fact.is_here else "elsewhere"
        table.add_row(fact.role.value, fact.operator, fact.key_id.hex(), since, here)
    Console().print(table)


def rotate(
    role: RoleArgument,
    operator: OperatorArgument,
    home: HomeOption,
    stolen_since: StolenSince = None,
    as_json: Json = False,
) -> None:
    with _key_desk(home) as desk:
        entry = desk.rotate(role, _operator(operator), _moment(stolen_since))
    said = {"role": role.value, "operator": operator, "entry": entry}
    tell(as_json, said, f"New {role} key: {operator}.")


def revoke(
    role: RoleArgument,
    operator: OperatorArgument,
    home: HomeOption,
    stolen_since: StolenSince = None,
    as_json: Json = False,
) -> None:
    with _key_desk(home) as desk:
        entry = desk.revoke(role, _operator(operator), _moment(stolen_since))
    said = {"role": role.value, "operator": operator, "entry": entry}
    tell(as_json, said, f"The {role} key of {operator} is over.")


def _moment(text: str | None) -> TimeMs | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise Malformed("cli.moment", got=text[:40], wanted="2026-05-01T12:00:00Z") from err
    if moment.tzinfo is None:
        raise Malformed("cli.moment", got=text[:40], wanted="a time with its zone: end with Z")
    return TimeMs(int(moment.timestamp() * 1000))


def _operator(text: str) -> OperatorId:
    if NAME_RE.fullmatch(text) is None:
        raise Malformed(
            "cli.operator", got=text[:40], wanted="2 to 32 of a-z, 0-9 and -, a letter first"
        )
    return OperatorId(text)
