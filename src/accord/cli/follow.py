"""`accord follow`: keep a home's replica current, and say what was refused and why."""

import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from accord.cli.assemble import connected, open_replica
from accord.cli.options import HomeOption, JsonLines, Trial
from accord.client.home import open_home
from accord.client.http import NodeClient
from accord.client.mirrored import MirroredLog
from accord.replica.replica import Replica, sync_any
from accord.replica.source import LogSource
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable
from accord.wire.ids import TimeMs
from accord.wire.limits import FOLLOW_BACKOFF_MS_MAX, FOLLOW_WAIT_MS

_HELP = """Follow the ledger into the home's replica: verify each entry, keep it, open what is ours.

It asks the nodes of home.toml in their order, and refuses, with the reason, whatever does not
prove itself. With --once it stops at the newest checkpoint. With --mirror the log comes from a
static mirror, which anybody may run, and from nodes only what is for members.

Exit status: 0 when stopped or up to date, 1 if --once found no node that told the truth.

Examples:

    accord follow --home ./nl-police

    accord follow --home ./clouddrive --once --json

    accord follow --home ./clouddrive --mirror https://log.example
"""
FIRST_BACKOFF_S = 0.25
MIRROR_PAUSE_S = 1.0


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("follow", help=_HELP, rich_help_panel="Anybody")(follow)


def follow(
    home: HomeOption,
    once: Annotated[bool, typer.Option("--once", help="Stop at the newest checkpoint.")] = False,
    mirror: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A static mirror to read the log from; repeatable."),
    ] = None,
    trial: Trial = False,
    as_json: JsonLines = False,
) -> None:
    opened = open_home(home)
    with ExitStack() as stack:
        nodes = stack.enter_context(connected(opened))
        replica = stack.enter_context(closing(open_replica(opened, trial)))
        if not nodes:
            raise Malformed("cli.no_node", mend="name a node in home.toml")
        mirrors = [stack.enter_context(NodeClient(url)) for url in mirror or ()]
        sources = [MirroredLog(static, nodes[0]) for static in mirrors]
        teller = _Teller(replica, as_json)
        if once:
            teller.round([*sources, *nodes])
        else:
            _follow_on(replica, nodes, sources, teller)


class _Teller:
    """Syncs, and says what came of it; the same trouble twice is said once."""

    def __init__(self, replica: Replica, as_json: bool) -> None:
        self._replica = replica
        self._as_json = as_json
        self._told: set[str] = set()
        self._errors = Console(stderr=True)

    def round(self, sources: Sequence[LogSource]) -> int:
        """Entries gained. Raises: AccordError, when no source told the truth."""
        gained, lies = sync_any(self._replica, sources, _now(), self._progress)
        for name, lie in lies:
            self.refused(name, lie)
        if gained or not self._told & {"synced"}:
            self._told.add("synced")
            self._synced(gained)
        return gained

    def refused(self, name: str, err: AccordError) -> None:
        if f"{name} {err}" in self._told:
            return
        self._told.add(f"{name} {err}")
        if self._as_json:
            self._line({"refused": name, "code": err.code, "detail": dict(err.detail)})
        else:
            self._errors.print(f"refused {name}: {err}", style="red", markup=False)

    def troubled(self, err: AccordError) -> None:
        self.refused("all nodes", err)

    def recovered(self) -> None:
        if self._told - {"synced"} and not self._as_json:
            self._errors.print("a node answers again", markup=False)
        self._told &= {"synced"}

    def _synced(self, gained: int) -> None:
        replica, checkpoint = self._replica, self._replica.checkpoint
        root = "" if checkpoint is None else checkpoint.root.hex()
        age_ms = replica.freshness(_now()).age_ms
        if self._as_json:
            said: dict[str, object] = {
                "size": replica.size,
                "gained": gained,
                "root": root,
                "age_ms": age_ms,
                "group_keys": len(replica.keyring.keys),
            }
            self._line(said)
        else:
            text = f"{replica.size} entries, {gained} new, root {root[:16]}.., quorum {age_ms} ms"
            sys.stdout.write(f"{text} old\n")
            sys.stdout.flush()

    def _line(self, value: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def _progress(self, what: str, done: int, total: int) -> None:
        if self._errors.is_terminal and not self._as_json and total > 1:
            end = "\n" if done + 1 == total else "\r"
            self._errors.print(f"fetching {what}: {done + 1} of {total}", end=end)


def _follow_on(
    replica: Replica,
    nodes: Sequence[NodeClient],
    mirrors: Sequence[MirroredLog],
    teller: _Teller,
) -> None:
    """Until SIGTERM or Ctrl-C. A stop during a long poll ends it: nothing is half written."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    backoff_s = FIRST_BACKOFF_S
    try:
        while not stopping.is_set():
            try:
                gained = teller.round([*mirrors, *nodes])
                teller.recovered()
                backoff_s = FIRST_BACKOFF_S
                if mirrors and not gained:  # A node may be ahead of the mirror for a while.
                    stopping.wait(MIRROR_PAUSE_S)
                _wait(replica, nodes)
            except Broken:
                raise
            except AccordError as err:
                teller.troubled(err)
                stopping.wait(backoff_s)
                backoff_s = min(2 * backoff_s, FOLLOW_BACKOFF_MS_MAX / 1000)
    except KeyboardInterrupt:
        return


def _wait(replica: Replica, nodes: Sequence[NodeClient]) -> None:
    for node in nodes:
        try:
            node.wait(replica.size, FOLLOW_WAIT_MS)
            return
        except Unavailable:
            continue


def _now() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)
