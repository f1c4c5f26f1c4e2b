"""`accord bench`."""

import json
import shutil
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from accord.cli.bench import robustness_command
from accord.cli.bench.progress import Progress
from accord.cli.options import Json
from accord.node.settings import BLOCK_MS

_LOOP: Final = """Measure the whole loop on this machine: publish, approve, follow, screen.

Real processes and real keys, meaningless listings, and pictures made by a procedure. It prints
tables in Markdown; BENCHMARKS.md says what each figure means. It never fails because of a time.

Examples:

    accord bench loop

    accord bench loop --listings 100000 --json > loop.json
"""
_MATCH: Final = """Measure look-ups in the index, beside the indexes that others use.

Same rows, same queries, one run, one thread, in turns; every answer is held against a scan. Peers
need `accord[bench]`. Without peers a million listings of three kinds take two minutes, ten million
ten. With faiss ten million of one kind take eight minutes and 14 GB; thirty million have no room
for it in 24 GB. Views of the demo's photographs (`--kind photo`) come with the development set.

Examples:

    accord bench match

    accord bench match --listings 10000000 --json > match.json

    accord bench match --listings 30000000 --kind photo --json

    accord bench match --listings 100000000 --kind uniform
"""
_HASH: Final = """Measure hashing, from a JPEG's bytes to its fingerprint, beside what others do.

Same photographs, one thread, in turns, CPU time; and how far the scaled path is from the exact one.
The peer, Pillow and pdqhash, needs `accord[bench]`. It takes about two minutes.

Examples:

    accord bench hash

    accord bench hash --peers all --json > hash.json
"""
_VIDEO: Final = """Measure films through a locked decoder: times real time, memory; and copies met.

Films of the demo's photographs, encoded on the spot. It takes about two minutes.

Examples:

    accord bench video

    accord bench video --json > video.json
"""
_CONSORTIUM: Final = """Measure a consortium of four CometBFT validators on this machine.

Fingerprints accepted a second, commit latency, a first match across processes, a follower from
zero, recovery after one and after two nodes are killed, disk, and what it costs idle. The
validators share this machine's cores. It needs CometBFT (`make cometbft`) and takes four minutes.

Examples:

    accord bench consortium

    accord bench consortium --listings 1000000 --tries 100 --json > consortium.json
"""
_RULES: Final = """Measure obligations and decisions: what is active where, what a match leads to.

A synthetic list and thirty jurisdictions with two clauses each; nothing is signed. Processor time.
A million listings take half a minute.

Examples:

    accord bench rules

    accord bench rules --listings 10000000 --json > rules.json
"""
MATCH_QUERIES: Final = 20_000  # Asked at once.

bench = typer.Typer(help="Measure this build on this machine.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    bench.command("loop", help=_LOOP)(loop)
    bench.command("consortium", help=_CONSORTIUM)(consortium)
    bench.command("match", help=_MATCH)(match)
    bench.command("hash", help=_HASH)(hash_)
    bench.command("video", help=_VIDEO)(video)
    bench.command("robustness", help=robustness_command.HELP)(robustness_command.robustness)
    bench.command("rules", help=_RULES)(rules)
    app.add_typer(bench, name="bench")


def loop(
    listings: Annotated[
        int, typer.Option(min=20, max=10_000_000, help="Listings published in all.")
    ] = 20_000,
    tries: Annotated[int, typer.Option(min=1, help="First matches waited for.")] = 12,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds of each kind of request.")] = 10.0,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Of the gateway: one a core, if left out.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="An empty directory to keep; a temporary one if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    # Here and not above: these load the whole product, and `--help` is to be quick.
    from accord.cli.bench.loop import Loop, Scale  # noqa: PLC0415
    from accord.cli.demo.world import World  # noqa: PLC0415

    place = directory or Path(tempfile.mkdtemp(prefix="accord-bench-"))
    try:
        with World(place, None) as world, Progress() as progress:
            report = Loop(world, Scale(listings, tries, seconds, processes), progress.tell).run()
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)


def consortium(
    listings: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Listings published in all.")
    ] = 200_000,
    agencies: Annotated[int, typer.Option(min=1, max=4, help="How many of them publish.")] = 4,
    tries: Annotated[int, typer.Option(min=1, help="Small statements of each kind.")] = 20,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds without a statement.")] = 60.0,
    block_ms: Annotated[
        int, typer.Option(min=50, max=60_000, help="Milliseconds between blocks.")
    ] = BLOCK_MS,
    directory: Annotated[
        Path | None, typer.Option(help="An empty directory to keep; a temporary one if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    from accord.cli.bench.consortium import Consortium, Size  # noqa: PLC0415
    from accord.cli.demo.world import World  # noqa: PLC0415
    from accord.node.comet_process import find_cometbft  # noqa: PLC0415

    find_cometbft()  # Before anything else is made.
    place = directory or Path(tempfile.mkdtemp(prefix="accord-bench-"))
    size = Size(listings, agencies, tries, seconds, block_ms)
    try:
        network = World(place, None, is_network=True, block_ms=block_ms)
        with network as world, Progress() as progress:
            report = Consortium(world, size, progress.tell).run()
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)


class Peers(StrEnum):
    NONE = "none"
    FAISS = "faiss"  # Without python-threatexchange, which takes 1 KB a listing.
    ALL = "all"


class Kind(StrEnum):
    UNIFORM = "uniform"
    CLUSTERED = "clustered"
    PHOTO = "photo"  # It needs the demo's photographs.


def match(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    listings: Annotated[int, typer.Option(min=1000, help="Listings in the index.")] = 1_000_000,
    threshold: Annotated[
        int, typer.Option(min=0, max=255, help="Bits. Peers' tuned forms are for 31 alone.")
    ] = 31,
    kind: Annotated[list[Kind] | None, typer.Option(help="What listings look like.")] = None,
    peers: Annotated[Peers, typer.Option(help="Whom to measure beside.")] = Peers.NONE,
    vectors: Annotated[
        int, typer.Option(min=0, help="Byte vectors of PhotoDNA's kind, measured as well.")
    ] = 0,
    patched: Annotated[
        int, typer.Option(min=0, help="Listings of 24 patches each, measured as well.")
    ] = 0,
    directory: Annotated[
        Path | None, typer.Option(help="Where index files go; a temporary one if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    from accord.cli.bench.match import Scale, run  # noqa: PLC0415

    kinds = tuple(dict.fromkeys(item.value for item in kind or list(Kind)))
    scale = Scale(listings, MATCH_QUERIES, threshold, kinds, peers.value, vectors, patched)
    temporary = tempfile.TemporaryDirectory(prefix="accord-bench-", dir=directory)
    with temporary as place, Progress() as progress:
        report = run(scale, Path(place), progress.tell)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)


def hash_(
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each way gets.")] = 7,
    photographs: Annotated[int, typer.Option(min=1, max=7, help="How many of the demo's.")] = 4,
    peers: Annotated[Peers, typer.Option(help="Whom to measure beside.")] = Peers.NONE,
    as_json: Json = False,
) -> None:
    from accord.cli.bench.hash import Scale, run  # noqa: PLC0415

    scale = Scale(rounds, photographs, peers is Peers.ALL)
    with tempfile.TemporaryDirectory(prefix="accord-bench-") as place, Progress() as progress:
        report = run(scale, Path(place), progress.tell)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)


def video(as_json: Json = False) -> None:
    from accord.cli.bench.video import run  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="accord-bench-") as place, Progress() as progress:
        report = run(Path(place), progress.tell)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)


def rules(
    listings: Annotated[int, typer.Option(min=1000, help="Listings in all.")] = 1_000_000,
    jurisdictions: Annotated[
        int, typer.Option(min=1, max=64, help="With rules of their own.")
    ] = 30,
    as_json: Json = False,
) -> None:
    from accord.cli.bench.rules import Scale, run  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="accord-bench-") as place, Progress() as progress:
        report = run(Scale(listings, jurisdictions), Path(place), progress.tell)
    text = json.dumps(report.as_json(), ensure_ascii=False) + "\n" if as_json else report.as_text()
    sys.stdout.write(text)
