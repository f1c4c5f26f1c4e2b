"""`accord bench robustness`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from accord.cli.bench.progress import Progress
from accord.cli.options import Json
from accord.wire.limits import LISTING_PATCHES, LISTING_PATCHES_MAX

HELP: Final = """Measure how often altered copies of pictures still meet their listings.

Works on any folder of photographs: lists each, makes the alterations, screens the copies, and
prints recall by alteration and step with 95 % intervals. What meets another's listing is counted
as false, so no picture may be there twice. BENCHMARKS.md says what the steps are.

Examples:

    accord bench robustness --corpus ~/Pictures

    accord bench robustness --corpus originals --distractors others --derive --json > robust.json

    accord bench robustness --corpus originals --alterations crop-anywhere-70,story

    accord bench robustness --corpus originals --distractors screens --write-common common.txt
"""


def robustness(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    corpus: Annotated[Path, typer.Option(help="A folder of photographs, each once.")],
    distractors: Annotated[
        Path | None, typer.Option(help="A folder of other pictures: listed, never asked for.")
    ] = None,
    alterations: Annotated[
        str | None, typer.Option(help="Names with commas between; all if left out.")
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=1, help="At most so many originals are altered.")
    ] = 1_000_000,
    patches: Annotated[
        int, typer.Option(min=0, max=LISTING_PATCHES_MAX, help="Patches of a listing.")
    ] = LISTING_PATCHES,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random in alterations.")] = 1,
    processes: Annotated[int, typer.Option(min=1, max=64, help="At work at once.")] = 1,
    derive: Annotated[bool, typer.Option("--derive", help="Fit the false positives.")] = False,
    write_common: Annotated[
        Path | None,
        typer.Option(help="A new file for what two or more distractors show; nothing is measured."),
    ] = None,
    common: Annotated[
        Path | None, typer.Option(help="A file of common patches, which listings leave out.")
    ] = None,
    as_json: Json = False,
) -> None:
    from accord.cli.bench import robustness as bench  # noqa: PLC0415
    from accord.cli.bench.robustness_alterations import NAMES  # noqa: PLC0415
    from accord.fingerprint.common_patches import encode_common, parse_common  # noqa: PLC0415
    from accord.fingerprint.rehearsal import NO_BITS  # noqa: PLC0415

    if write_common is not None:
        with Progress() as progress:
            found = bench.common_of(distractors or corpus, processes, progress.tell)
        with write_common.open("xb") as file:
            file.write(encode_common(found))
        sys.stdout.write(f"{len(found)} patches that several pictures show\n")
        return
    names = tuple(dict.fromkeys(alterations.split(","))) if alterations else NAMES
    left_out = parse_common(common.read_bytes()) if common is not None else NO_BITS
    scale = bench.Scale(
        corpus, distractors, names, pictures, seed, processes, patches, derive, left_out
    )
    with Progress() as progress:
        result = bench.run(scale, progress.tell)
    text = json.dumps(result.as_json(derive), ensure_ascii=False) + "\n"
    sys.stdout.write(text if as_json else result.as_text(derive))
