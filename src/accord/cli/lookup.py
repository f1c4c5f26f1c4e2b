"""`accord lookup`, `accord clients`: looking up without holding the list, and who may.

Not here: admitting and counting (accord.scan.clients), asking (accord.client.lookup). Names of
files appear in the output, because the person at the keyboard gave them, and nowhere else.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.governance import tell
from accord.cli.options import HomeOption, InsecureDecoder, Json, JsonLines, Trial
from accord.cli.platform import PANEL
from accord.cli.text import cell, counted, one_line
from accord.client.home import open_home
from accord.client.lookup import Facts, LookupClient, load_client_key, store_client_key, titles
from accord.ledger.state import PLATFORMS
from accord.statements.rules import Service
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import JURISDICTION_RE, JurisdictionId, MemberId, TimeMs
from accord.wire.limits import LOOKUP_PROBES_MAX, LOOKUPS_DAY, LOOKUPS_MAX, LOOKUPS_MINUTE

if TYPE_CHECKING:
    from accord.scan.clients import Client, Clients

DAY_MS: Final = 86_400_000
LIFE_DAYS: Final = 365
SHOWN_DAYS: Final = 30
EXIT_ALARM: Final = 3
clients_app = typer.Typer(no_args_is_help=True, help="Who may look up without holding the list.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The client's name: a-z, 0-9 and -.")]

_LOOKUP = """Look files up at a gateway, without holding the list.

Files are fingerprinted here, in the sandbox, and only fingerprints are sent; --send-bytes sends
the files. The gateway's operator registered the key (accord clients key, accord clients add).
Where the gateway says to come again within a minute, this waits.

Exit status: 0 nothing matched, 3 something matched, 1 nothing matched but something could not be
looked at (or the command failed), 2 wrong usage.

Examples:

    accord lookup photo.jpg --at https://lookup.example --key small.key

    accord lookup uploads/ --at https://lookup.example --key small.key --json
"""
_KEY = """Make a client's key. The public half, which is printed, goes to the gateway's operator.

Examples:

    accord clients key small.key
"""
_ADD = """Register a client: who may look up, where, until when and how often.

Examples:

    accord clients add small-forum --public HEX --jurisdiction NL --service social --home ./lookups
"""
_LIST = """Show the clients, their terms and standing.

Examples:

    accord clients list --home ./lookups --json
"""
_REVOKE = """Take a client's right to look up, at once and for good.

Examples:

    accord clients revoke small-forum --home ./lookups
"""
_RELEASE = """Let a client go on that was held, because many fingerprints matched one listing.

Examples:

    accord clients release small-forum --home ./lookups
"""
_USAGE = """Show what clients used up by day, and who matched unlike uploads do.

Exit status: 0, or 3 where somebody did or is held.

Examples:

    accord clients usage --home ./lookups
"""
_SEEN = """Count a platform's look-ups for its clients, as an agency, from its signed receipts.

By client and day: how many, how many matched. Checked against the platform's key and against what
it attested on the ledger. Exit status: 0, or 3 where a client matched unlike uploads do.

Examples:

    accord clients seen lookups --log https://lookup.example --token-file token --home ./nl-police
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("lookup", help=_LOOKUP, rich_help_panel=PANEL)(lookup)
    for name, about, command in (
        ("key", _KEY, key),
        ("add", _ADD, add),
        ("list", _LIST, listed),
        ("revoke", _REVOKE, revoke),
        ("release", _RELEASE, release),
        ("usage", _USAGE, usage),
        ("seen", _SEEN, seen),
    ):
        clients_app.command(name, help=about)(command)
    app.add_typer(clients_app, name="clients", rich_help_panel=PANEL)


def lookup(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    files: Annotated[list[Path], typer.Argument(metavar="FILE", show_default=False)],
    at: Annotated[str, typer.Option("--at", metavar="URL", help="The gateway.")],
    key_file: Annotated[Path, typer.Option("--key", metavar="FILE", help="This client's key.")],
    jurisdiction: Annotated[
        list[str] | None, typer.Option(help="Such as NL; all that are registered if left out.")
    ] = None,
    scope: Annotated[str, typer.Option(help="uploads or stored.")] = "uploads",
    service: Annotated[str, typer.Option(help="hosting, messaging, search or social.")] = "hosting",
    send_bytes: Annotated[
        bool, typer.Option("--send-bytes", help="Send the files, not their fingerprints.")
    ] = False,
    insecure_decoder: InsecureDecoder = False,
    as_json: JsonLines = False,
) -> None:
    facts = Facts(tuple(jurisdiction or ()), scope, service)
    decisions: set[str] = set()
    with LookupClient(at, load_client_key(key_file), time.sleep) as gateway:
        for path, answer in _answers(gateway, files, facts, send_bytes, insecure_decoder):
            decisions.add(answer["decision"])
            if as_json:
                sys.stdout.write(json.dumps({"path": str(path), **answer}) + "\n")
            else:
                why = "; ".join(titles(answer)) or answer.get("code") or ""
                words = f"{path}: {answer['decision']}, {answer['action']} {why}".rstrip()
                sys.stdout.write(one_line(words) + "\n")
            sys.stdout.flush()
    if "match" in decisions:
        raise typer.Exit(3)
    if "undetermined" in decisions:
        raise typer.Exit(1)


def _answers(
    gateway: LookupClient, files: list[Path], facts: Facts, send_bytes: bool, insecure: bool
) -> Iterator[tuple[Path, dict[str, Any]]]:
    from accord.fingerprint import Unhashable, UnhashableCode  # noqa: PLC0415  (slow to load)
    from accord.matching import query_of  # noqa: PLC0415
    from accord.media import (  # noqa: PLC0415
        DecoderPool,
        StoredFilm,
        Unlisted,
        read_file,
        walk,
    )
    from accord.scan.contract import fingerprints_view  # noqa: PLC0415

    with DecoderPool(1, insecure=insecure) as pool:
        for item in walk(files):
            path = item.path if isinstance(item, Unlisted) else item
            unread = Unhashable(UnhashableCode.UNREADABLE, None)
            data = unread if isinstance(item, Unlisted) else read_file(item)
            if isinstance(data, Unhashable):
                yield path, _unseen(data.code.value)
            elif send_bytes and isinstance(data, StoredFilm):  # More than a gateway takes.
                yield path, _unseen(UnhashableCode.TOO_LARGE.value)
            elif send_bytes and isinstance(data, bytes):
                yield path, gateway.send(data, facts)
            else:
                query = query_of(pool.fingerprint(data))
                if not query.digests and not query.frames:  # Such as a film that ends half-way.
                    yield path, _unseen(query.undetermined or UnhashableCode.UNREADABLE.value)
                    continue
                answer = gateway.ask(fingerprints_view(query), facts)
                if query.undetermined is not None and answer["decision"] == "undetermined":
                    answer["code"] = query.undetermined  # Said of the file, not of what was sent.
                yield path, answer


def _unseen(code: str) -> dict[str, Any]:
    """Nobody was asked: the file could not be looked at here."""
    return {"decision": "undetermined", "action": "review", "code": code, "reasons": []}


def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    as_json: Json = False,
) -> None:
    made = store_client_key(file)
    said = {"public": made.public.hex(), "key_id": made.key_id.hex(), "file": str(file)}
    tell(as_json, said, f"Public key, for the gateway's operator: {made.public.hex()}")


def add(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    name: Name,
    home: HomeOption,
    public: Annotated[str, typer.Option(metavar="HEX", help="Its public key.")],
    jurisdiction: Annotated[list[str], typer.Option(help="Where its users are; repeatable.")],
    service: Annotated[list[str], typer.Option(help="What it is; repeatable.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Until the key expires.")] = LIFE_DAYS,
    per_minute: Annotated[
        int, typer.Option(min=1, max=LOOKUPS_MAX, help="Requests.")
    ] = LOOKUPS_MINUTE,
    per_day: Annotated[
        int, typer.Option(min=1, max=LOOKUPS_MAX, help="Fingerprints.")
    ] = LOOKUPS_DAY,
    probes: Annotated[
        int, typer.Option(min=1, max=LOOKUPS_MAX, help="Fingerprints that match one listing.")
    ] = LOOKUP_PROBES_MAX,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.scan.clients import Client, Terms  # noqa: PLC0415  (numpy: slow to load)

    where = tuple(JurisdictionId(code) for code in sorted(set(jurisdiction)))
    if any(JURISDICTION_RE.fullmatch(code) is None for code in where):
        raise Malformed("cli.jurisdiction", wanted="codes such as NL")
    if not set(service) <= set(Service):
        raise Malformed("cli.context", wanted=", ".join(Service))
    try:
        raw = bytes.fromhex(public)
    except ValueError as err:
        raise Malformed("cli.public_key", wanted="64 hex digits") from err
    what = tuple(Service(word) for word in sorted(set(service)))
    terms = Terms(where, what, per_minute, per_day, probes)
    now = now_ms()
    made = Client(MemberId(name), raw, terms, now, TimeMs(now + days * DAY_MS))
    _check_served(home, where, trial)
    with _clients(home) as clients:
        clients.add(made)
    text = f"{name} may look up for {', '.join(where)} until {_day(made.expires_ms)}."
    tell(as_json, _view(made, now), text)


def _check_served(home: Path, where: tuple[JurisdictionId, ...], trial: bool) -> None:
    """The gateway can only answer by rules that it folds. Raises: Malformed."""
    opened = open_home(home)
    with closing(open_replica(opened, trial)) as replica:
        row = replica.state.get(PLATFORMS, opened.member.encode())
    if row is not None and not set(where) <= set(row.jurisdictions):
        raise Malformed("clients.not_served", served=", ".join(row.jurisdictions))


def listed(home: HomeOption, as_json: Json = False) -> None:
    with _clients(home) as clients:
        now = now_ms()
        views = [_view(one, now) for one in clients.listed()]
    if as_json:
        tell(True, {"clients": views}, "")
        return
    table = Table("Client", "Standing", "Expires", "Jurisdictions", "Services", "A minute", "A day")
    for view in views:
        names = (", ".join(view["jurisdictions"]), ", ".join(view["services"]))
        until = _day(view["expires_ms"])
        row = (view["name"], view["standing"], until, *names, view["per_minute"], view["per_day"])
        table.add_row(*map(cell, row))
    Console().print(table)


def revoke(name: Name, home: HomeOption, as_json: Json = False) -> None:
    with _clients(home) as clients:
        clients.revoke(name, now_ms())
    tell(as_json, {"revoked": name}, f"{name} may not look up any more.")


def release(name: Name, home: HomeOption, as_json: Json = False) -> None:
    with _clients(home) as clients:
        clients.release(name)
    tell(as_json, {"released": name}, f"{name} may look up again.")


def usage(
    home: HomeOption,
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = SHOWN_DAYS,
    as_json: Json = False,
) -> None:
    from accord.audit.lookups import is_alarming  # noqa: PLC0415  (numpy: slow to load)

    with _clients(home) as clients:
        held = [str(one.name) for one in clients.listed() if one.held_ms is not None]
        rows = clients.usage(now_ms() // DAY_MS - days + 1)
    views: list[dict[str, Any]] = [
        {
            "client": row.client,
            "day": _day(TimeMs(row.day * DAY_MS)),
            "lookups": row.lookups,
            "fingerprints": row.fingerprints,
            "matches": row.matches,
            "undetermined": row.undetermined,
            "refused": row.refused,
            "alarm": is_alarming(row.lookups, row.matches),
        }
        for row in rows
    ]
    _show(as_json, views, {"held": held})
    if held and not as_json:
        sys.stdout.write(f"Held until somebody looks (accord clients release): {', '.join(held)}\n")
    if held or any(view["alarm"] for view in views):
        raise typer.Exit(EXIT_ALARM)


def seen(
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="Its member id.")],
    home: HomeOption,
    log: Annotated[str, typer.Option(metavar="URL", help="Its gateway.")],
    token_file: Annotated[Path | None, typer.Option(help="The token of that gateway.")] = None,
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Check by the ledger as it is here.")
    ] = False,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.agency.auditing import gather, lookups_shown  # noqa: PLC0415  (numpy: slow)
    from accord.cli.audit import fetch_log  # noqa: PLC0415
    from accord.replica.replica import sync_any  # noqa: PLC0415

    opened = open_home(home)
    with closing(open_replica(opened, trial)) as replica:
        if not no_sync:
            with connected(opened) as nodes:
                sync_any(replica, nodes, now_ms())
        shown = fetch_log(log, token_file)
        if shown.note is None:
            raise shown.trouble or Unavailable("audit.platform_log", url=log)
        about = MemberId(platform)
        days = lookups_shown(gather(replica, opened.founding, about, shown, (), now_ms()))
    views: list[dict[str, Any]] = [
        {
            "client": one.client,
            "day": _day(TimeMs(one.day * DAY_MS)),
            "lookups": one.lookups,
            "matches": one.matches,
            "undetermined": one.undetermined,
            "alarm": one.is_alarming,
        }
        for one in days
    ]
    _show(as_json, views, {"platform": platform})
    if any(view["alarm"] for view in views):
        raise typer.Exit(EXIT_ALARM)


def _show(as_json: bool, views: list[dict[str, Any]], more: dict[str, Any]) -> None:
    if as_json:
        tell(True, more | {"days": views}, "")
        return
    if not views:
        sys.stdout.write(f"{counted(0, 'look-up')}.\n")
        return
    table = Table(*(name.capitalize() for name in views[0]))
    for view in views:
        table.add_row(*(cell(value) for value in view.values()))
    Console().print(table)


@contextmanager
def _clients(home: Path) -> Iterator["Clients"]:
    from accord.scan.clients import CLIENTS_FILE, Clients  # noqa: PLC0415  (numpy: slow to load)
    from accord.scan.platform import check_platform  # noqa: PLC0415

    check_platform(open_home(home))
    clients = Clients(home / CLIENTS_FILE)
    try:
        yield clients
    finally:
        clients.close()


def _view(one: "Client", now: TimeMs) -> dict[str, Any]:
    standing = "good"
    if one.revoked_ms is not None:
        standing = "revoked"
    elif now >= one.expires_ms:
        standing = "expired"
    elif one.held_ms is not None:
        standing = "held"
    terms = one.terms.as_json()
    return {"name": one.name, "standing": standing, "expires_ms": one.expires_ms, **terms}


def _day(time_ms: TimeMs) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).date().isoformat()
