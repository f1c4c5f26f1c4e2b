"""`accord gateway`, `accord screen`, `accord scan`, `accord attest`: a platform's commands.

Not here: screening (accord.scan). Names of files appear in the output, because the person at the
keyboard gave them, and nowhere else.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.governance import in_words
from accord.cli.options import HomeOption, InsecureDecoder, JsonLines, Trial
from accord.cli.platform import PANEL
from accord.cli.text import cell
from accord.client.home import open_home
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import (
    DECODER_FILES_LIMIT,
    DECODER_FILES_MAX,
    IMAGE_BYTES_MAX,
    SPOOL_BYTES_MAX,
    UPLOAD_FILM_BYTES_MAX,
)

if TYPE_CHECKING:
    from accord.fingerprint import Decoding
    from accord.matching import Context
    from accord.scan.bulk import FileAnswer, Tally
    from accord.scan.cases.intake import TakeInStored
    from accord.scan.platform import Platform
    from accord.scan.spool import SpoolSettings

# Imports inside functions: numpy and a web server would slow every other command's start by half
# a second.

DEFAULT_PORT = 8710
MEGABYTE = 1_000_000
SPOOL_FOLDER = "spool"
_SHOWN = ("match", "undetermined")

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, max=256, help="Decoders (one a core, if left out)."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--jurisdiction", help="Such as NL; all of the platform's if left out."),
]
How = Annotated[
    str,
    typer.Option(
        "--decoding",
        help="scaled: JPEGs from a small decoding, whole where a listing is near. exact: whole.",
    ),
]
DecoderFiles = Annotated[
    int, typer.Option(min=1, max=DECODER_FILES_LIMIT, help="Files before a decoder is replaced.")
]
FilmMb = Annotated[
    int,
    typer.Option(
        min=0, max=100_000, help="The largest film in an upload; 50 and below: as any file."
    ),
]
SpoolMb = Annotated[
    int, typer.Option(min=0, help="What films of over 50 MB under way may take of the disk.")
]
SpoolFolder = Annotated[
    Path | None, typer.Option(help="Their own directory on a disk (HOME/spool, if left out).")
]
Service = Annotated[str, typer.Option(help="hosting, messaging, search or social.")]
NoSync = Annotated[
    bool, typer.Option("--no-sync", help="Screen with the list as it is, without asking a node.")
]

_GATEWAY = """Answer POST /v1/screen: the service that a platform calls for every upload.

It follows the ledger itself, matches a newly approved batch within two seconds, and tells the
ledger which list it runs. The contract is docs/spec/gateway.md and GET /openapi.json. SIGTERM
lets requests under way finish.

Examples:

    accord gateway --home ./clouddrive

    accord gateway --home ./clouddrive --host 0.0.0.0 --token-file token --workers 8

    accord gateway --home ./clouddrive --no-follow   # accord follow keeps the list current

    accord gateway --home ./lookups --token-file token --clients
"""
_SCREEN = """Screen files as if they were uploaded just now.

Exit status: 0 nothing matched, 3 something matched, 1 nothing matched but something could not be
looked at (or the command failed), 2 wrong usage.

Examples:

    accord screen --home ./clouddrive photo.jpg

    accord screen --home ./clouddrive --jurisdiction NL photo.jpg --json | jq .decision
"""
_SCAN = """Screen stored files, as the rules for stored files say.

Directories are walked. A file that has not changed under a list that has not changed is not read
again; under a changed list it is decided again from stored fingerprints, and read only where a
listing comes near. An interrupted scan goes on where it was. With a cases.toml in the home, a match
that a person has to look at opens a case, once for a file's content and a listing; `case` in the
answer names it.

Exit status: 0 nothing matched, 3 something matched, 1 nothing matched but something could not be
looked at (or the command failed), 2 wrong usage.

Examples:

    accord scan --home ./clouddrive /srv/files

    accord scan --home ./clouddrive /srv/files --json > report.jsonl
"""
_ATTEST = """Tell the ledger which list and rules this platform runs. The gateway does it by itself.

Examples:

    accord attest --home ./clouddrive

    accord attest --home ./clouddrive --json
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("gateway", help=_GATEWAY, rich_help_panel=PANEL)(gateway)
    app.command("screen", help=_SCREEN, rich_help_panel=PANEL)(screen)
    app.command("scan", help=_SCAN, rich_help_panel=PANEL)(scan)
    app.command("attest", help=_ATTEST, rich_help_panel=PANEL)(attest)


def gateway(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    home: HomeOption,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = DEFAULT_PORT,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the bearer token that callers must show.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Decoders (one a core, if left out).")
    ] = None,
    decoder_files: DecoderFiles = DECODER_FILES_MAX,
    insecure_decoder: InsecureDecoder = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that answer (one a core, if left out)."),
    ] = None,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Read what `accord follow` keeps current.")
    ] = False,
    no_attest: Annotated[
        bool, typer.Option("--no-attest", help="Leave attesting to `accord attest`.")
    ] = False,
    decoding: How = "scaled",
    clients: Annotated[
        bool, typer.Option("--clients", help="Answer clients too (accord clients add).")
    ] = False,
    film_mb: FilmMb = UPLOAD_FILM_BYTES_MAX // MEGABYTE,
    spool_mb: SpoolMb = SPOOL_BYTES_MAX // MEGABYTE,
    spool: SpoolFolder = None,
    trial: Trial = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as JSON.")] = False,
) -> None:
    from accord.cli.gateway import Settings, core_count, processes_for, run  # noqa: PLC0415
    from accord.scan.serve import check_exposure, load_token  # noqa: PLC0415

    token = None if token_file is None else load_token(token_file)
    check_exposure(host, token)
    settings = Settings(
        home,
        token,
        workers or core_count(),
        processes_for(processes),
        not no_follow,
        not no_attest,
        _decoding(decoding),
        trial,
        insecure_decoder,
        decoder_files,
        clients,
        _spool(spool or home / SPOOL_FOLDER, film_mb * MEGABYTE, spool_mb * MEGABYTE),
    )

    def announce(url: str) -> None:
        line = json.dumps({"listening": url}) if as_json else f"gateway: listening on {url}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    run(settings, host, port, announce)


def screen(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    files: Annotated[list[Path], typer.Argument(metavar="FILE", show_default=False)],
    home: HomeOption,
    jurisdiction: Where = None,
    service: Service = "hosting",
    jobs: Jobs = None,
    insecure_decoder: InsecureDecoder = False,
    decoding: How = "scaled",
    no_sync: NoSync = False,
    trial: Trial = False,
    as_json: JsonLines = False,
) -> None:
    with _platform(home, trial, jobs, decoding, insecure_decoder) as platform:
        platform.pool.check()
        _sync(platform, no_sync)
        context = _context(jurisdiction, "uploads", service)
        _report(_answers(platform, context, files, None), as_json)


def scan(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", show_default=False)],
    home: HomeOption,
    jurisdiction: Where = None,
    service: Service = "hosting",
    state: Annotated[
        Path | None,
        typer.Option(help="What is remembered of files (HOME/scan.sqlite, if left out)."),
    ] = None,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Read every file, whatever is remembered.")
    ] = False,
    jobs: Jobs = None,
    insecure_decoder: InsecureDecoder = False,
    decoding: How = "scaled",
    no_sync: NoSync = False,
    trial: Trial = False,
    as_json: JsonLines = False,
) -> None:
    with _platform(home, trial, jobs, decoding, insecure_decoder) as platform:
        platform.pool.check()
        _sync(platform, no_sync)
        context = _context(jurisdiction, "stored", service)
        file = state or platform.scan_file
        if afresh:
            file.unlink(missing_ok=True)
        with _cases(platform) as cases:
            _report(_answers(platform, context, paths, file, cases), as_json)


def attest(
    home: HomeOption,
    trial: Trial = False,
    as_json: JsonLines = False,
) -> None:
    with _platform(home, trial, 1) as platform, connected(platform.home) as nodes:
        _sync(platform, False)
        if not nodes:
            raise Malformed("cli.no_node", mend="name a node in home.toml")
        screener = platform.screener
        entry = platform.attester().attest(screener, nodes[0], screener.clock())
        obligations = screener.running.obligations
        size = screener.running.screen.checkpoint.size
    said = {
        "entry": entry,
        "size": size,
        "active_count": obligations.active_count,
        "active_root": obligations.active_root.hex(),
        "rules_sha256": obligations.rules_sha256.hex(),
    }
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    else:
        sys.stdout.write(
            f"Attested in entry {entry}: list of {size} entries, "
            f"{obligations.active_count} listings to match.\n"
        )


def _spool(directory: Path, film_bytes: int, total_bytes: int) -> "SpoolSettings | None":
    from accord.scan.spool import SpoolSettings  # noqa: PLC0415  (see the top)

    if film_bytes <= IMAGE_BYTES_MAX:
        return None
    return SpoolSettings(directory, film_bytes, total_bytes)


def _decoding(name: str) -> "Decoding":
    from accord.fingerprint import Decoding  # noqa: PLC0415  (see the top)

    if name not in (Decoding.SCALED, Decoding.EXACT):  # Others are for listings.
        raise typer.BadParameter("scaled or exact", param_hint="--decoding")
    return Decoding(name)


def _platform(
    home: Path,
    trial: bool,
    workers: int | None,
    decoding: str = "scaled",
    insecure: bool = False,
) -> "Platform":
    from accord.scan.platform import check_platform, open_platform  # noqa: PLC0415  (see the top)

    how = _decoding(decoding)
    opened = open_home(home)
    check_platform(opened)
    replica = open_replica(opened, trial)
    count = workers or os.cpu_count() or 1
    return open_platform(opened, replica, count, decoding=how, insecure=insecure)


def _sync(platform: "Platform", no_sync: bool) -> None:
    """The newest list, if a node answers; a list that is there screens on without one."""
    from accord.replica.replica import sync_any  # noqa: PLC0415

    if no_sync:
        return
    try:
        with connected(platform.home) as nodes:
            _, lies = sync_any(platform.replica, nodes, platform.screener.clock())
    except Unavailable as err:
        sys.stderr.write(f"accord: no node answered ({err.code}); the list is as it was\n")
        return
    for name, lie in lies:
        sys.stderr.write(f"accord: refused {name}: {lie}\n")
    platform.screener.refresh()


def _context(jurisdictions: Sequence[str] | None, scope: str, service: str) -> "Context":
    from accord.scan.contract import parse_facts  # noqa: PLC0415

    return parse_facts(list(jurisdictions or ()), scope, service, None).context


@contextmanager
def _cases(platform: "Platform") -> Iterator["TakeInStored | None"]:
    """What opens cases of stored files; None, where the home has no cases.toml."""
    from accord.scan.cases.intake import taking_in_stored  # noqa: PLC0415
    from accord.scan.cases.settings import has_desk, open_desk  # noqa: PLC0415

    home, local = platform.home.path, platform.screener.local
    if not has_desk(home):
        yield None
        return
    desk = open_desk(home, now_ms, None if local is None else local.files_per_day)
    try:
        if local is not None and local.files_per_day is not None:
            platform.screener.local = replace(local, held=desk.store.held)
        yield taking_in_stored(desk)
    finally:
        desk.store.close()


def _answers(
    platform: "Platform",
    context: "Context",
    paths: Sequence[Path],
    state_file: Path | None,
    cases: "TakeInStored | None" = None,
) -> Iterator["FileAnswer"]:
    from accord.media import walk  # noqa: PLC0415
    from accord.scan.bulk import Scan  # noqa: PLC0415
    from accord.scan.bulk_state import BulkState  # noqa: PLC0415

    state = None if state_file is None else BulkState(state_file)
    try:
        yield from Scan(platform.screener, context, state, cases).run(walk(paths))
    finally:
        if state is not None:
            state.close()


def _report(answers: Iterator["FileAnswer"], as_json: bool) -> None:
    """Print as answers come; exit with the worst."""
    from accord.scan.bulk import Tally  # noqa: PLC0415

    tally, shown = Tally(), list["FileAnswer"]()
    with _bar() as bar:
        task = bar.add_task("Screening")
        for found in answers:
            tally.add(found)
            if as_json:
                sys.stdout.write(json.dumps(found.line(), separators=(",", ":")) + "\n")
                sys.stdout.flush()  # A reader at a pipe's other end sees each file at once.
            elif found.decision in _SHOWN:
                shown.append(found)
            matches = tally.decisions["match"]
            bar.update(task, advance=1, description=f"Screening, {matches} matched")
    if not as_json:
        _print_table(shown, tally)
    if tally.exit_code:
        raise typer.Exit(tally.exit_code)


def _print_table(shown: Sequence["FileAnswer"], tally: "Tally") -> None:
    console = Console()
    if shown:
        table = Table("File", "Decision", "Action", "Why")
        for found in shown:
            answer = found.answer
            row = (found.path, found.decision, answer["action"], why(answer))
            table.add_row(*(cell(value) for value in row))
        console.print(table)
    done = tally.how["read"] + tally.how["fingerprints"]
    console.print(
        f"{tally.how.total()} files: {tally.decisions['match']} matched, "
        f"{tally.decisions['undetermined']} could not be looked at; "
        f"{done} screened now, {tally.how['unchanged']} unchanged since."
    )


def why(answer: dict[str, object]) -> str:
    """The strictest reason in words, or why there is no answer."""
    match answer:
        case {"reasons": [{"rule": {"title": title}, "algorithm": algorithm, **rest}, *_]}:
            bits = rest["distance"]
            how = f"same {algorithm}" if bits == 0 else f"{algorithm}, {bits} bits off"
            return f"{title}: {how}, listing {rest['listing']}"
        case {"code": str(code)}:
            return f"{code}{in_words(code)}"
        case _:
            return ""


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
