"""An agency's commands: publish, approve, endorse, dispute, withdraw, keys, keeper.

Not here: rules and votes (`cli.governance`), the work itself (accord.agency). Names of files
appear in the output, because the person at the keyboard gave them, and nowhere else.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from accord.agency.desk import Desk, Published, parse_refs, split_batches
from accord.agency.keeper import Keeper
from accord.cli import governance
from accord.cli.assemble import AgencyBook, open_desk, open_keeper
from accord.cli.governance import PANEL, in_words, tell
from accord.cli.listing_files import PatchesOption, bar_of, listings_under
from accord.cli.meanings import meaning_of
from accord.cli.options import HomeOption, InsecureDecoder, Json
from accord.cli.text import counted, printable
from accord.client.home import open_home
from accord.ledger.membership import parameters
from accord.statements.bodies import DisputeReason
from accord.statements.classes import check_classes
from accord.statements.rules import ClassCode
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import GroupId
from accord.wire.limits import LISTING_PATCHES, LOG_SIZE_MAX
from accord.wire.record import load_record

if TYPE_CHECKING:
    pass

KEEPER_PAUSE_S = 1.0
KEEPER_BACKOFF_S_MAX = 10.0  # Between tries while the node is away; the first come sooner.
KEEPER_ROUNDS = 4  # Of `--once`: open, acknowledge, wrap, and see that nothing is left.
LEVELS = ("digest", "one-person", "two-persons")  # By review level, as in rule files.

Operator = Annotated[
    str | None, typer.Option(help="Who speaks, where the home holds several keys of a role.")
]
Refs = Annotated[
    list[str], typer.Argument(metavar="REF", help="17 (a whole batch), 17/3 or 17/3-9.")
]
Reason = Annotated[DisputeReason, typer.Option(help="Why.")]

_PUBLISH = """List pictures: fingerprint them here, seal the batch, put it on the ledger.

Only fingerprints leave this machine, and only sealed. The listings count once a second person
approved them. Files that cannot be listed are named with the reason, and then nothing is sent
unless --skip-refused. Asked again after a crash, it goes on and never publishes twice.

Examples:

    accord publish case-17/ --class ncmec/A1 --home ./nl-police

    accord publish photo.jpg --class test/T1 --group agencies --dry-run --json
"""
_APPROVE = """Approve batches as the second person: from then on they count as this agency's.

Examples:

    accord approve 17 --home ./nl-police
"""
_ENDORSE = """Corroborate another agency's listings, at the level this agency looked.

Examples:

    accord endorse 17 --level one-person --home ./ie-garda

    accord endorse 17/3-9 21/0 --level two-persons
"""
_DISPUTE = """Dispute listings: no automatic action on them in our jurisdictions, from now on.

Examples:

    accord dispute 17/4 --reason not-csam --home ./ie-garda
"""
_WITHDRAW = """End listings of our own. History stays.

Examples:

    accord withdraw 17/4 --reason wrong-class --home ./nl-police
"""
_KEEPER = """Keep the group keys: open and acknowledge epochs, wrap keys for newcomers.

One at each agency, where its keeper and decryptor keys are. --once does what can be done now,
out of turn, and ends.

Examples:

    accord keeper --home ./nl-police

    accord keeper --home ./nl-police --once --json
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for name, about, command in (
        ("publish", _PUBLISH, publish),
        ("approve", _APPROVE, approve),
        ("endorse", _ENDORSE, endorse),
        ("dispute", _DISPUTE, dispute),
        ("withdraw", _WITHDRAW, withdraw),
        ("keeper", _KEEPER, keeper),
    ):
        app.command(name, help=about, rich_help_panel=PANEL)(command)
    governance.register(app)


@contextmanager
def at_desk(home: Path, operator: str | None) -> Iterator[tuple[Desk, AgencyBook]]:
    """A person's desk over a book that is up to date. Raises: Malformed, Unproven, Unavailable."""
    opened = open_home(home)
    book = AgencyBook(opened)
    try:
        book.sync()
        yield open_desk(opened, book, operator), book
    finally:
        book.close()


def publish(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, directories.")],
    home: HomeOption,
    class_code: Annotated[str, typer.Option("--class", help="Such as ncmec/A1 or test/T1.")],
    group: Annotated[
        list[str] | None,
        typer.Option(help="Whom to release it to besides the agencies (platforms, if left out)."),
    ] = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Mark it as urgent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fingerprint; send nothing.")] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="List the rest when files are refused.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, max=256, help="0: one a core.")] = 0,
    insecure_decoder: InsecureDecoder = False,
    patches: PatchesOption = LISTING_PATCHES,
    again: Annotated[
        bool, typer.Option("--again", help="List anew what was published before and withdrawn.")
    ] = False,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    code = _admitted(home, parse_class(class_code))
    groups = [GroupId(name) for name in group or ["platforms"]]
    listings, refused = listings_under(paths, code, jobs, insecure_decoder, home, patches)
    for one in refused:
        sys.stderr.write(f"refused {printable(one.path)}: {one.code}{in_words(one.code)}\n")
    if refused and not skip_refused:
        mend = "take them out, or --skip-refused"
        raise Malformed("cli.refused_files", refused=len(refused), others=len(listings), mend=mend)
    if not listings:
        raise Malformed("cli.nothing_to_publish")
    said: dict[str, object] = {
        "count": len(listings),
        "class": str(code),
        "groups": sorted({"agencies", *groups}),
        "refused": [{"path": one.path, "code": one.code} for one in refused],
    }
    if dry_run:
        batches = len(split_batches(listings))
        text = (
            f"Would publish {counted(len(listings), 'listing')} in {counted(batches, 'statement')}."
        )
        tell(as_json, said | {"dry_run": True, "statements": batches}, text)
        return
    with at_desk(home, operator) as (desk, _), bar_of() as bar:
        task = bar.add_task("Publishing", total=len(listings))
        done = desk.publish(
            listings,
            groups,
            urgent=urgent,
            again=again,
            progress=lambda count, _: bar.update(task, completed=count),
        )
    said |= {"entries": list(done.entries), "resumed": done.resumed, "sent": done.sent}
    tell(as_json, said, _published(done))


def _published(done: Published) -> str:
    entries = " ".join(str(entry) for entry in done.entries)
    if not done.sent:
        return f"Published before, as {entries}: nothing was sent. To list them anew: --again"
    again = " An earlier run had begun it." if done.resumed else ""
    return (
        f"Published {counted(done.count, 'listing')} as {entries}.{again}\n"
        f"Next, a second person: accord approve {entries}"
    )


def parse_class(text: str) -> ClassCode:
    """`scheme/value` or `scheme/profile/value`. Raises: Malformed."""
    parts = text.split("/")
    if len(parts) not in (2, 3):
        raise Malformed("cli.class", got=text[:80], wanted="scheme/value, such as ncmec/A1")
    row = [parts[0], parts[1] if len(parts) == 3 else "", parts[-1]]
    return load_record(ClassCode, [*row], "class")


def _admitted(home: Path, code: ClassCode) -> ClassCode:
    """The class, if the consortium admits it: asked before any file is looked at, and of a node
    only if our copy does not know it. Raises: Malformed, with the nearest spelling."""
    with closing(AgencyBook(open_home(home))) as book:
        if code not in parameters(book.state).classes:
            book.sync()
        check_classes([code], parameters(book.state).classes)
    return code


def approve(
    entries: Annotated[
        list[int], typer.Argument(metavar="ENTRY", min=0, max=LOG_SIZE_MAX, help="Batches.")
    ],
    home: HomeOption,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    with at_desk(home, operator) as (desk, _):
        for entry, said in desk.approve_each(entries):
            tell(as_json, {"approved": entry, "entry": said}, f"Approved {entry} as {said}.")


def endorse(
    refs: Refs,
    home: HomeOption,
    level: Annotated[str, typer.Option(metavar="|".join(LEVELS), help="How we looked.")],
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    if level not in LEVELS:
        raise Malformed("cli.level", got=level[:40], wanted=", ".join(LEVELS))
    with at_desk(home, operator) as (desk, book):
        entry = desk.endorse(parse_refs(refs, book.state), LEVELS.index(level))
    tell(as_json, {"endorsed": refs, "entry": entry}, f"Endorsed {' '.join(refs)} as {entry}.")


def dispute(
    refs: Refs, home: HomeOption, reason: Reason, operator: Operator = None, as_json: Json = False
) -> None:
    with at_desk(home, operator) as (desk, book):
        entry = desk.dispute(parse_refs(refs, book.state), reason)
    tell(as_json, {"disputed": refs, "entry": entry}, f"Disputed {' '.join(refs)} as {entry}.")


def withdraw(
    refs: Refs, home: HomeOption, reason: Reason, operator: Operator = None, as_json: Json = False
) -> None:
    with at_desk(home, operator) as (desk, book):
        entry = desk.withdraw(parse_refs(refs, book.state), reason)
    tell(as_json, {"withdrawn": refs, "entry": entry}, f"Withdrew {' '.join(refs)} as {entry}.")


def keeper(
    home: HomeOption,
    once: Annotated[bool, typer.Option("--once", help="Do what can be done now.")] = False,
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    with closing(AgencyBook(opened)) as book:
        kept = open_keeper(opened, book)
        if once:
            rounds = range(KEEPER_ROUNDS)
            all(_step(kept, as_json, out_of_turn=True) for _ in rounds)  # Until nothing is left.
            return
        stopping = threading.Event()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        if not as_json:
            tell(False, {}, f"Keeper of {opened.member} on {opened.chain}, until stopped.")
        keep(lambda: _step(kept, as_json), stopping.is_set, stopping.wait)


def keep(
    step: Callable[[], bool], is_stopping: Callable[[], bool], wait: Callable[[float], object]
) -> None:
    """Steps until stopped. A node that does not answer is told once and asked again later."""
    told: str | None = None
    backoff_s = KEEPER_PAUSE_S
    while not is_stopping():
        try:
            step()
            if told is not None:
                sys.stderr.write("accord: the node answers again\n")
            told, backoff_s = None, KEEPER_PAUSE_S
            wait(KEEPER_PAUSE_S)
        except Unavailable as err:
            if err.code != told:
                sys.stderr.write(f"accord: {err}; going on\n")
            told = err.code
            wait(backoff_s)
            backoff_s = min(2 * backoff_s, KEEPER_BACKOFF_S_MAX)


def _step(kept: Keeper, as_json: bool, *, out_of_turn: bool = False) -> bool:
    """Whether there was anything to do."""
    done = kept.step(out_of_turn=out_of_turn)
    for one in done:
        outcome = f"entry {one.entry}" if one.code is None else _lost(one.code)
        value = {"task": str(one.task), "entry": one.entry, "code": one.code}
        tell(as_json, value, f"{one.task}: {outcome}")
    return bool(done)


def _lost(code: str) -> str:
    """A rejected task: most often another keeper was quicker, and nothing is lost."""
    known = meaning_of(code)
    return f"left to others, {code}" + (f" ({known.words})" if known is not None else "")
