"""`accord fingerprint PATH…`: fingerprints of files, one JSON line each.

Not here: reading and decoding (`accord.media`). A file name appears in the output, because the
person at the keyboard gave it, and nowhere else.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from accord.cli.options import InsecureDecoder

if TYPE_CHECKING:
    from accord.fingerprint import Digests, Fingerprinted, FramePdq, Unhashable
    from accord.media import DecoderPool, Unlisted

# Imports inside functions: the decoders would slow every other command's start.
EXIT_SOME_UNHASHABLE = 1
_AHEAD_PER_JOB = 4  # Files read ahead of the output: enough to keep workers busy, few in memory.

_HELP = """Print the fingerprints of pictures and films, one JSON line a file, in a stable order.

Directories are walked. A line says `"ok": true` and the fingerprints (a film's `frames` with their
`time_ms`, and the film's `duration_ms`), or `"ok": false`, a code and
a reason. Pictures in archives and office documents say their `member`; `unseen` says what of a file
could not be looked at.

Exit status: 0 every file gave fingerprints, 1 some did not, or not whole, 2 wrong usage.

Examples:

    accord fingerprint photo.jpg

    accord fingerprint case-17/ --jobs 4 > case-17.jsonl

    accord fingerprint case-17/ | jq -r 'select(.ok) | .pdq'
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("fingerprint", help=_HELP, rich_help_panel="Anybody")(fingerprint)


def fingerprint(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Files and directories.", show_default=False),
    ],
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, max=256, help="Decoder processes (one a core, if left out)."
        ),
    ] = None,
    insecure_decoder: InsecureDecoder = False,
    fingerprinter: Annotated[
        Path | None,
        typer.Option(help="A fingerprinter.toml: PhotoDNA as well, by what is licensed here."),
    ] = None,
    _: Annotated[bool, typer.Option("--json", help="JSON lines, as it prints anyway.")] = False,
) -> None:
    from accord.media import DecoderPool, load_named, walk  # noqa: PLC0415  (see the top)

    unhashable = 0
    found = list(walk(paths))
    workers = min(jobs or os.cpu_count() or 1, max(1, len(found)))
    named = None if fingerprinter is None else load_named(fingerprinter)
    with (
        DecoderPool(workers, insecure=insecure_decoder, fingerprinter=named) as pool,
        _bar() as bar,
    ):
        task = bar.add_task("Fingerprinting", total=len(found))
        for path, answer in _answers(pool, found, bar):
            line = line_of(path, answer)
            sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
            sys.stdout.flush()  # A reader at a pipe's other end sees each file at once.
            unhashable += not line["ok"] or "unseen" in line
            bar.advance(task)
    if unhashable:
        raise typer.Exit(EXIT_SOME_UNHASHABLE)


def line_of(path: Path, answer: "Fingerprinted | Unhashable") -> dict[str, object]:
    """One file's JSON object. Its keys are part of the public interface."""
    from accord.fingerprint import REASONS, Unhashable  # noqa: PLC0415  (see the top)

    if isinstance(answer, Unhashable):
        failed: dict[str, object] = {
            "path": str(path),
            "ok": False,
            "code": answer.code.value,
            "reason": REASONS[answer.code],
        }
        return failed if answer.digests is None else failed | _digests(answer.digests)
    return {
        "path": str(path),
        "ok": True,
        "pdq": answer.main.bits.hex(),
        "quality": answer.main.quality,
        **_digests(answer.digests),
        "format": answer.facts.format,
        "width": answer.facts.width,
        "height": answer.facts.height,
        "frame_count": answer.facts.frames,
        **({"duration_ms": answer.facts.duration_ms} if answer.facts.duration_ms else {}),
        "frames": [_frame(view) for view in answer.pdq],
    } | _unseen(answer)


def _unseen(answer: "Fingerprinted") -> dict[str, object]:
    """What of a file was not looked at, if anything."""
    if answer.unseen is None:
        return {}
    return {"unseen": {"code": answer.unseen.code.value, "member": answer.unseen.member}}


def _digests(digests: "Digests") -> dict[str, object]:
    return {
        "md5": digests.md5.hex(),
        "sha1": digests.sha1.hex(),
        "sha256": digests.sha256.hex(),
    }


def _frame(view: "FramePdq") -> dict[str, object]:
    member: dict[str, object] = {"member": view.member} if view.member else {}
    photodna = {} if view.photodna is None else {"photodna": view.photodna.hex()}
    return member | {
        "index": view.index,
        "time_ms": view.time_ms,
        "pdq": view.bits.hex(),
        "quality": view.quality,
        **photodna,
    }


def _answers(
    pool: "DecoderPool", found: "Iterable[Path | Unlisted]", bar: Progress
) -> "Iterator[tuple[Path, Fingerprinted | Unhashable]]":
    """Each file's answer in the order of `found`, with a bounded number of files in memory."""
    from accord.media import Unlisted  # noqa: PLC0415  (see the top)

    ahead: deque[tuple[Path, Future[Fingerprinted | Unhashable]]] = deque()
    threads = ThreadPoolExecutor(pool.workers)
    try:
        for item in found:
            path = item.path if isinstance(item, Unlisted) else item
            ahead.append((path, threads.submit(_answer, pool, item, bar)))
            if len(ahead) > _AHEAD_PER_JOB * pool.workers:
                path, future = ahead.popleft()
                yield path, future.result()
        for path, future in ahead:
            yield path, future.result()
    finally:
        threads.shutdown(cancel_futures=True)  # An interrupt waits for the files in work alone.


def _answer(
    pool: "DecoderPool", item: "Path | Unlisted", bar: Progress
) -> "Fingerprinted | Unhashable":
    from accord.fingerprint import Unhashable, UnhashableCode  # noqa: PLC0415  (see the top)
    from accord.media import Unlisted, read_file  # noqa: PLC0415

    if isinstance(item, Unlisted):
        return Unhashable(UnhashableCode.UNREADABLE, None)
    data = read_file(item)
    if isinstance(data, Unhashable):
        return data
    with _film_bar(bar) as progress:
        return pool.fingerprint(data, progress=progress)


@contextmanager
def _film_bar(bar: Progress) -> "Iterator[Callable[[int, int], None]]":
    """A line for a film that takes a while, in seconds of film; none for anything else."""
    tasks: list[TaskID] = []

    def progress(done_ms: int, of_ms: int) -> None:
        if not tasks:
            tasks.append(bar.add_task("A film, in s", total=None))
        total = max(of_ms, done_ms) // 1000
        bar.update(tasks[0], completed=done_ms // 1000, total=total)

    try:
        yield progress
    finally:
        for task in tasks:
            bar.remove_task(task)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
