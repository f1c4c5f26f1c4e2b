"""`accord testnet up / status / kill / restart / down`: a real local consortium on loopback."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from accord.cli.options import Json
from accord.cli.testnet_nodes import (
    DEFAULT_BLOCK_MS,
    TESTNET_FILE,
    Testnet,
    found_testnet,
    free_ports,
    numbered_plan,
)
from accord.wire.errors import Malformed
from accord.wire.limits import AGENCIES_MAX

DEFAULT_DIRECTORY = Path("testnet")

Directory = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Where the test network lives.")
]
Name = Annotated[str, typer.Argument(metavar="NODE", help="The agency whose node it is.")]

testnet_app = typer.Typer(
    no_args_is_help=True, help="A consortium of CometBFT validators on this machine."
)

_UP = """Found a test network under DIR, or start the one that is there, and print its addresses.

One home, one node and one CometBFT validator for each agency, all on loopback. Everything works as
between agencies, but one person holds all keys: for trying and for tests, never for real lists.

Examples:

    accord testnet up

    accord testnet up --agencies 7 --dir /tmp/seven --json

    accord follow --home testnet/ie-garda
"""
_STATUS = """Say of each node whether it runs, and how far it is.

Examples:

    accord testnet status

    accord testnet status --json | jq '.nodes[].height'
"""
_KILL = """End one node at once, as a power failure would.

Examples:

    accord testnet kill ie-garda
"""
_RESTART = """Start a node again: the one that was killed, or, after a clean stop, one that runs.

Examples:

    accord testnet restart ie-garda
"""
_DOWN = """Stop all nodes cleanly. Their homes stay; `accord testnet up` starts them again.

Examples:

    accord testnet down --dir /tmp/seven
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    testnet_app.command("up", help=_UP)(up)
    testnet_app.command("status", help=_STATUS)(status)
    testnet_app.command("kill", help=_KILL)(kill)
    testnet_app.command("restart", help=_RESTART)(restart)
    testnet_app.command("down", help=_DOWN)(down)
    app.add_typer(testnet_app, name="testnet")


def up(
    agencies: Annotated[
        int | None, typer.Option(min=1, max=AGENCIES_MAX, help="How many; 4 if left out.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    block_ms: Annotated[
        int, typer.Option(min=50, max=60_000, help="Milliseconds between blocks.")
    ] = DEFAULT_BLOCK_MS,
    as_json: Json = False,
) -> None:
    if (directory / TESTNET_FILE).exists():
        net = Testnet(directory.resolve())
        if agencies not in (None, len(net.names)):
            raise Malformed("testnet.agencies", have=len(net.names), mend="another --dir")
    else:
        plans = [numbered_plan(number) for number in range(agencies or 4)]
        net = found_testnet(directory, plans, free_ports(plans), block_ms)
    net.start(net.names)
    net.wait_cosigned()
    if as_json:
        nodes = [
            {"name": name, "url": url, "home": str(net.home(name))}
            for name, url in net.apis.items()
        ]
        _print_json({"chain": net.chain, "dir": str(net.directory), "nodes": nodes})
        return
    sys.stdout.write(
        f"{net.chain}: {len(net.names)} agencies\n"
        + "".join(f"  {name:18} {url}   {net.home(name)}\n" for name, url in net.apis.items())
        + f"Next: accord members --home {net.home(net.names[0])}\n"
        f"      accord testnet status --dir {net.directory}\n"
    )


def status(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    nodes = Testnet(directory.resolve()).status()
    if as_json:
        _print_json({"nodes": [asdict(node) for node in nodes]})
        return
    table = Table("node", "running", "height", "log size", "cosigned", "log root")
    for node in nodes:
        running = "yes" if node.running else "no"
        row = (node.height, node.log_size, node.cosigned_size, node.log_root[:16])
        table.add_row(node.name, running, *(str(item) for item in row))
    Console().print(table)


def kill(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    net = Testnet(directory.resolve())
    ran = net.kill(net.node(name))
    _tell(as_json, f"{name}: {'killed' if ran else 'was not running'}", node=name, killed=ran)


def restart(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    net = Testnet(directory.resolve())
    node = net.node(name)
    net.stop([node])
    net.start([node])
    _tell(as_json, f"{name}: running, {net.apis[node]}", node=name, url=net.apis[node])


def down(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    net = Testnet(directory.resolve())
    net.stop(net.names)
    _tell(as_json, f"{net.chain}: stopped", chain=net.chain, stopped=list(net.names))


def _tell(as_json: bool, text: str, **value: object) -> None:
    if as_json:
        _print_json(value)
    else:
        sys.stdout.write(f"{text}\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
