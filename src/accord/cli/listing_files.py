"""Files of an agency as listings: looked at in locked workers, with a bar, equal files once.

Not here: what a listing is (accord.agency.desk), what is done with them (agency, patches).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from accord.agency.desk import listing_of
from accord.statements.rules import ClassCode
from accord.wire.errors import Malformed
from accord.wire.limits import LISTING_PATCHES, LISTING_PATCHES_MAX

if TYPE_CHECKING:
    from accord.fingerprint import Fingerprinted, Unhashable
    from accord.statements.batch import Listing

PatchesOption = Annotated[
    int,
    typer.Option(
        "--patches",
        min=0,
        max=LISTING_PATCHES_MAX,
        help="Patches of each picture, for what is cropped or written over; 0: none. Those beyond "
        "24 find small parts too.",
    ),
]


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that cannot be listed, and why."""

    path: str
    code: str


def listings_under(
    paths: Sequence[Path], code: ClassCode, jobs: int, insecure: bool, home: Path, patches: int
) -> tuple["list[Listing]", list[Refused]]:
    """Each file as a listing, equal files once, and the files that cannot be listed."""
    # Here and not above: the decoders would slow every other command's start.
    from accord.fingerprint import Decoding, Unhashable, UnhashableCode  # noqa: PLC0415
    from accord.media import (  # noqa: PLC0415
        DecoderPool,
        Unlisted,
        named_in,
        read_file,
        walk,
    )

    decoding = Decoding.LISTING if patches else Decoding.LISTING_BARE
    if patches > LISTING_PATCHES:
        decoding = Decoding.LISTING_LARGE
    found = list(walk(paths))
    workers = min(jobs or os.cpu_count() or 1, max(1, len(found)))

    def answer(item: Path | Unlisted) -> "Fingerprinted | Unhashable":
        if isinstance(item, Unlisted):
            return Unhashable(UnhashableCode.UNREADABLE, None)
        data = read_file(item)
        if isinstance(data, Unhashable):
            return data
        return pool.fingerprint(data, decoding)

    listings: dict[bytes, Listing] = {}
    refused: list[Refused] = []
    with (
        DecoderPool(workers, insecure=insecure, fingerprinter=named_in(home)) as pool,
        ThreadPoolExecutor(workers) as threads,
        bar_of() as bar,
    ):
        task = bar.add_task("Fingerprinting", total=len(found))
        for item, result in zip(found, threads.map(answer, found), strict=True):
            bar.advance(task)
            try:
                listing = listing_of(result, code, patches)
            except Malformed as err:
                path = item.path if isinstance(item, Unlisted) else item
                refused.append(Refused(str(path), str(err.detail.get("why", err.code))))
            else:
                listings.setdefault(listing.sha256 or b"", listing)
    return list(listings.values()), refused


def bar_of() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
