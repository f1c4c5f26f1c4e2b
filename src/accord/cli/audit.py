"""`accord audit PLATFORM`: what an agency, or anybody who follows the ledger, can prove of one."""

import base64
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from accord.cli.assemble import connected, open_replica
from accord.cli.failures import render
from accord.cli.options import HomeOption, Trial
from accord.cli.text import cell
from accord.client.home import open_home
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import ChainId, MemberId, TimeMs

if TYPE_CHECKING:
    from accord.agency.auditing import Shown
    from accord.audit.verdict import Verdict

_HELP = """Judge a platform by the ledger, its own log, and scan receipts that somebody presents.

Checks: every change of the list or the rules attested in time; attestations that name what this
auditor folds itself; a receipts log that only grew; receipts under a list that was due; presented
scan receipts that stand where they were promised. --json prints the verdict byte for byte as any
other auditor gets it from the same evidence and time (--at). What cannot be proved is printed too.

Exit status: 0 nothing wrong, 3 a violation, 4 cannot be judged, 1 the command failed, 2 usage.

Examples:

    accord audit clouddrive --home ./nl-police --log http://127.0.0.1:8710

    accord audit clouddrive --home ./nl-police --receipt scr.json --at 1800000000000 --json
"""
COLOURS = {"ok": "green", "violated": "red", "unproven": "yellow"}
MINUTE_MS = 60_000
TIME_MS_MAX = 2**53  # As in a leaf.
BEYOND = (OverflowError, RecursionError)  # What JSON may hold and nothing can take.


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("audit", help=_HELP, rich_help_panel="Anybody")(audit)


def audit(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="Its member id.")],
    home: HomeOption,
    log: Annotated[
        str | None, typer.Option(metavar="URL", help="The platform's gateway, for its log.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="The token of that gateway.")] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="A scan receipt that was handed out: `receipt` of an answer, as JSON."),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=TIME_MS_MAX,
            help="Judge as of this time, in ms since 1970 (now, if left out).",
        ),
    ] = None,
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Judge by the ledger as it is here.")
    ] = False,
    trial: Trial = False,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict's canonical bytes.")] = False,
) -> None:
    # Imports here: numpy would slow every other command's start.
    from accord.agency.auditing import NOTHING_SHOWN, gather  # noqa: PLC0415
    from accord.audit.verdict import verdict  # noqa: PLC0415
    from accord.replica.replica import sync_any  # noqa: PLC0415

    opened = open_home(home)
    member = MemberId(platform)
    promises = [parse_receipt_file(file, opened.chain, member) for file in receipt or ()]
    replica = open_replica(opened, trial)
    try:
        if not no_sync:
            try:
                with connected(opened) as nodes:
                    sync_any(replica, nodes, _now())
            except Unavailable as err:
                sys.stderr.write(
                    f"accord: no node answered ({err.code}); judging by what is here\n"
                )
        shown = NOTHING_SHOWN if log is None else fetch_log(log, token_file)
        now_ms = TimeMs(_now() // MINUTE_MS * MINUTE_MS if at is None else at)
        found = verdict(gather(replica, opened.founding, member, shown, promises, now_ms))
    finally:
        replica.close()
    if as_json:
        sys.stdout.write(found.encode().decode())
    else:
        _print(found)
    if found.outcome.exit_code:
        raise typer.Exit(found.outcome.exit_code)


def fetch_log(url: str, token_file: Path | None) -> "Shown":
    """All that a gateway shows of its platform's log. Raises: Malformed."""
    from accord.agency.auditing import HttpPlatformLog, fetch_shown  # noqa: PLC0415

    try:
        token = None if token_file is None else token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise Malformed("cli.token_file", why=type(err).__name__) from err
    source = HttpPlatformLog(url, token)
    try:
        with _bar() as progress:
            task = progress.add_task("Reading the platform's log", total=None)
            shown = fetch_shown(
                source, lambda _, done, size: progress.update(task, completed=done, total=size)
            )
    finally:
        source.close()
    if shown.trouble is not None:
        sys.stderr.write(f"{render(shown.trouble, as_json=False)}\n")
    return shown


def parse_receipt_file(file: Path, chain: ChainId, platform: MemberId) -> bytes:
    """The `receipt` of a gateway's answer, or a whole answer, as presented. Raises: Malformed."""
    from accord.audit.receipts import ScanReceipt, encode_scan_receipt  # noqa: PLC0415

    try:
        value = json.loads(file.read_bytes())
        fields = value.get("receipt", value)
        made = ScanReceipt(
            chain=chain,
            platform=platform,
            index=int(fields["index"]),
            leaf=bytes.fromhex(fields["leaf"]),
            time_ms=TimeMs(int(fields["time_ms"])),
            key_id=bytes.fromhex(fields["key_id"]),
            signature=base64.b64decode(fields["signature"], validate=True),
        )
        return encode_scan_receipt(made)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, *BEYOND) as err:
        raise Malformed("cli.receipt", why=type(err).__name__) from err


def _print(found: "Verdict") -> None:
    from accord.audit.verdict import CANNOT_PROVE  # noqa: PLC0415

    console = Console()
    evidence = found.evidence
    size = found.receipts_size
    receipts = "its receipts log not seen" if size is None else f"{size} receipts"
    console.print(
        f"{evidence.platform} on {evidence.chain}: ledger of {evidence.size} entries, {receipts}"
    )
    table = Table("Check", "Result", "Code", "Evidence")
    for finding in found.findings:
        facts = ", ".join(f"{name} {value}" for name, value in sorted(finding.facts.items()))
        result = finding.result.value
        shown = f"[{COLOURS[result]}]{result}[/]"
        table.add_row(finding.check, shown, finding.code or "", cell(facts))
    console.print(table)
    console.print(f"Verdict: {found.outcome.value}")
    console.print("This cannot prove:")
    for line in CANNOT_PROVE:
        console.print(f"  - {line}", highlight=False)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _now() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)
