"""`accord patches`: patches for listings that were published without any, or with few.

Not here: which listings files are (accord.agency.adding), how patches are chosen (fingerprint).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli.agency import Operator, at_desk
from accord.cli.governance import PANEL, tell
from accord.cli.listing_files import PatchesOption, bar_of, listings_under
from accord.cli.options import HomeOption, InsecureDecoder, Json
from accord.cli.text import counted, printable
from accord.client.home import open_home
from accord.statements.rules import ClassCode
from accord.wire.ids import GroupId
from accord.wire.limits import LISTING_PATCHES

if TYPE_CHECKING:
    from accord.agency.adding import Additions

_ABOUT = """Add patches to listings of ours that have none, from the files they were made of;
and with --patches above 24 so many, to listings that have fewer.

Each file is found again by its SHA-256. What is added is released to the groups of its listing. It
is a batch of its own: it counts once a second person approved it and others endorsed it too, where
rules ask so. Run again, it passes over what has them.

Examples:

    accord patches case-17/ --home ./nl-police

    accord patches photo.jpg --dry-run --json

    accord patches case-17/ --patches 240 --home ./nl-police
"""
_ANY = ClassCode("test", "", "T1")  # A listing's own class is what counts in the end.


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("patches", help=_ABOUT, rich_help_panel=PANEL)(patches)


def patches(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, directories.")],
    home: HomeOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what; send nothing.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, max=256, help="0: one a core.")] = 0,
    insecure_decoder: InsecureDecoder = False,
    count: PatchesOption = LISTING_PATCHES,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    # Here and not above: arrays would slow every other command's start.
    from accord.agency.adding import additions  # noqa: PLC0415
    from accord.registry import Registry  # noqa: PLC0415

    files, refused = listings_under(paths, _ANY, jobs, insecure_decoder, home, count)
    entries: list[int] = []
    with at_desk(home, operator) as (desk, book):
        registry = Registry()
        registry.fold_all(book.replica.folded())
        found = additions(files, registry.snapshot(), open_home(home).member)
        if not dry_run:
            with bar_of() as bar:
                task = bar.add_task("Publishing", total=found.count)
                for groups, listings in sorted(found.by_groups.items()):
                    # Again: what was added before and is not there any more was withdrawn.
                    done = desk.publish(listings, [GroupId(name) for name in groups], again=True)
                    entries += done.entries
                    bar.advance(task, len(listings))
    said: dict[str, object] = {
        "added": found.count,
        "entries": entries,
        "unlisted": found.unlisted,
        "have": found.have,
        "bare": found.bare,
        "refused": [{"path": one.path, "code": one.code} for one in refused],
        "dry_run": dry_run,
    }
    lines = [f"refused {printable(one.path)}: {one.code}" for one in refused]
    tell(as_json, said, "\n".join([*lines, _in_words(found, entries)]))


def _in_words(found: "Additions", entries: list[int]) -> str:
    passed = (
        f"{found.have} have them already, {counted(found.unlisted, 'file')} no listing of ours, "
        f"in {found.bare} nothing stands out."
    )
    if not entries:
        return f"{counted(found.count, 'listing')} to add to; {passed}"
    named = " ".join(str(entry) for entry in entries)
    return (
        f"Added to {counted(found.count, 'listing')} as {named}; {passed}\n"
        f"Next, a second person: accord approve {named}"
    )
