"""`accord node prepare / card / peer`: an agency's node before it runs for the first time."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from accord.cli.options import HomeOption, Json
from accord.client.home import open_home
from accord.node.settings import (
    NODE_DIRECTORY,
    SETTINGS_FILE,
    Peer,
    Settings,
    load_settings,
    parse_peer,
    parse_settings,
    parse_trust,
    peer_id_of,
    peer_key,
    write_settings,
)
from accord.wire.errors import Malformed
from accord.wire.ids import MemberId

CARD_BYTES_MAX = 4_096


_PREPARE = """Write HOME/node/node.toml and the key of the node's peer identity.

Then exchange cards with the other agencies (`accord node card`, `accord node peer`) and run it.

Examples:

    accord node prepare --home ./nl-police --listen 127.0.0.1:8700 --peers-listen 0.0.0.0:26656

    accord node prepare --home ./fr-ofmin --state-sync
"""
_CARD = """Print what the other agencies need to reach this node. Nothing in it is secret.

Examples:

    accord node card --home ./nl-police --address node.police.example:26656 \\
        --api https://accord.police.example > nl-police.card.json
"""
_PEER = """Take another agency's card into node.toml, in place of an older one of that agency.

Send cards the way you compare digests: the id is who may connect. Restart the node afterwards.

Examples:

    accord node peer --home ./nl-police ie-garda.card.json
"""


def register(node_app: typer.Typer) -> None:
    """Adds the commands to `accord node`."""
    node_app.command("prepare", help=_PREPARE)(prepare)
    node_app.command("card", help=_CARD)(card)
    node_app.command("peer", help=_PEER)(peer)


def prepare(
    home: HomeOption,
    listen: Annotated[str, typer.Option(help="Where the API listens.")] = "127.0.0.1:8700",
    peers_listen: Annotated[
        str, typer.Option(help="Where the other agencies' engines connect.")
    ] = "0.0.0.0:26656",
    state_sync: Annotated[
        bool, typer.Option("--state-sync", help="Begin with a snapshot, not with the first block.")
    ] = False,
    trust: Annotated[
        str,
        typer.Option(
            metavar="HEIGHT:HASH",
            help="With --state-sync: a block that another agency vouched for. Without it the log"
            " itself proves one.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    directory = opened.path / NODE_DIRECTORY
    path = directory / SETTINGS_FILE
    vouched = parse_trust(trust) if trust else None
    if path.exists():
        raise Malformed("settings.exists", path=str(path), mend="edit it")
    settings = Settings(listen, peers_listen, (), state_sync=state_sync, trust=vouched)
    parse_settings(settings.encode())
    write_settings(directory, settings)
    peer_id = peer_id_of(peer_key(directory))
    if as_json:
        _print_json({"settings": str(path), "id": peer_id})
        return
    sys.stdout.write(
        f"{path}: written. Peer id {peer_id}.\nNext: accord node card --home {home} ...\n"
    )


def card(
    home: HomeOption,
    address: Annotated[str, typer.Option(help="host:port at which peers reach the engine.")],
    api: Annotated[str, typer.Option(help="Base URL at which everybody reaches the API.")],
    _: Annotated[bool, typer.Option("--json", help="JSON, as it prints anyway.")] = False,
) -> None:
    opened = open_home(home)
    directory = opened.path / NODE_DIRECTORY
    load_settings(directory)
    row = {
        "agency": opened.member,
        "id": peer_id_of(peer_key(directory)),
        "address": address,
        "api": api,
    }
    parse_peer(row)
    _print_json(row)


def peer(
    home: HomeOption,
    file: Annotated[Path, typer.Argument(metavar="CARD", help="Another agency's card.")],
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    directory = opened.path / NODE_DIRECTORY
    settings = load_settings(directory)
    found = _read_card(file)
    if found.agency == opened.member:
        raise Malformed("settings.peer", agency=found.agency, hint="this is your own card")
    others = tuple(item for item in settings.peers if item.agency != found.agency)
    peers = tuple(sorted((*others, found), key=lambda item: item.agency))
    write_settings(directory, replace(settings, peers=peers))
    names: list[MemberId] = [item.agency for item in peers]
    if as_json:
        _print_json({"peers": names})
        return
    sys.stdout.write(f"Peers: {', '.join(names)}. Restart the node.\n")


def _read_card(file: Path) -> Peer:
    try:
        raw = file.read_bytes()[:CARD_BYTES_MAX]
        value: Any = json.loads(raw)
    except (OSError, ValueError, RecursionError) as err:
        raise Malformed("settings.card", path=str(file)) from err
    return parse_peer(value)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
