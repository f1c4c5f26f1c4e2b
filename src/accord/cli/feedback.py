"""`accord feedback`, `accord counts`, `accord withdrawals`: what came back, and how fast it went.

Not here: which words count (accord.registry), sending them (cli.telling).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.governance import PANEL, tell
from accord.cli.options import HomeOption, Json, Trial
from accord.cli.text import counted, one_line
from accord.client.home import open_home
from accord.ledger.state import Reader
from accord.replica.replica import Replica, sync_any
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, MemberId, TimeMs, parse_ref_text

if TYPE_CHECKING:
    from accord.registry.feedback import FeedbackCount, Only, Weighed
    from accord.registry.figures import Figures
    from accord.registry.listings import Snapshot
    from accord.registry.removal import Removal

BYS: Final = ("listing", "agency", "algorithm", "platform")
NoSync = Annotated[bool, typer.Option("--no-sync", help="From the log as it is here.")]

_FEEDBACK = """Show what platforms' reviewers found of listings, and who disputes them.

Each platform's word about a listing, by algorithm and reason, counts once. False positives are
files that a reviewer looked at and that the list is not for. Most of them come first.

Examples:

    accord feedback --home ./nl-police

    accord feedback --by agency --by algorithm --home ./nl-police --json

    accord feedback --listing 17/3 --by platform --home ./nl-police
"""
_COUNTS = """Print figures for the public: listings by agency, class and status; disputes upheld;
the false-positive rate. No fingerprint, no listing and no platform in them.

Examples:

    accord counts --home ./nl-police

    accord counts --home ./nl-police --json > figures.json
"""
_WITHDRAWALS = """Show how long each withdrawal took: from its block time to each platform's first
attestation of a list without it, and to the last platform's. Open ones show their age.

Examples:

    accord withdrawals --home ./nl-police

    accord withdrawals --open --home ./nl-police --json
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("feedback", help=_FEEDBACK, rich_help_panel=PANEL)(feedback)
    app.command("counts", help=_COUNTS, rich_help_panel=PANEL)(counts)
    app.command("withdrawals", help=_WITHDRAWALS, rich_help_panel="Anybody")(withdrawals)


@dataclass(frozen=True, slots=True)
class Heard:
    """Both folds over the home's copy of the log."""

    snapshot: "Snapshot"
    weighed: "Weighed"
    state: Reader


@contextmanager
def followed(home: Path, trial: bool, no_sync: bool) -> Iterator[Replica]:
    """The home's copy of the log, up to date unless told otherwise. Raises: Unavailable."""
    opened = open_home(home)
    with closing(open_replica(opened, trial)) as replica:
        if not no_sync:
            with connected(opened) as nodes:
                sync_any(replica, nodes, now_ms())
        yield replica


def hear(replica: Replica) -> Heard:
    """Fold what an agency's home opens. Raises: Malformed, for any other: it hears nothing, and a
    platform's copy of the list is not all of it."""
    from accord.registry import Registry  # noqa: PLC0415  (numpy: slow to load)
    from accord.registry.feedback import FeedbackFold, weigh  # noqa: PLC0415

    if AGENCIES not in replica.groups:
        raise Malformed("cli.not_an_agency", mend="--home of an agency, with its decryptor key")
    registry, fold = Registry(), FeedbackFold()
    for entry in replica.folded():
        registry.fold(entry)
        fold.fold(entry)
    snapshot = registry.snapshot()
    return Heard(snapshot, weigh(fold.said(), snapshot, replica.state), replica.state)


def feedback(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    home: HomeOption,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(BYS), help="What to count by; listing, if left out."),
    ] = None,
    listing: Annotated[str, typer.Option(metavar="REF", help="Only this one, such as 17/3.")] = "",
    agency: Annotated[str, typer.Option(help="Only listings of this agency.")] = "",
    algorithm: Annotated[str, typer.Option(help="Only matches by it, such as pdq.")] = "",
    platform: Annotated[str, typer.Option(help="Only what this platform says.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 100,
    no_sync: NoSync = False,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.registry.feedback import Only  # noqa: PLC0415  (numpy: slow to load)

    names = by or ["listing"]
    if not set(names) <= set(BYS):
        raise Malformed("cli.by", got=", ".join(names)[:80], wanted=", ".join(BYS))
    only = Only(
        parse_ref_text(listing) if listing else None,
        MemberId(agency) if agency else None,
        algorithm or None,
        MemberId(platform) if platform else None,
    )
    with followed(home, trial, no_sync) as replica:
        heard = hear(replica)
    said = feedback_view(heard, names, only, limit)
    tell(as_json, said, "\n".join(_feedback_lines(said)))


def feedback_view(heard: Heard, names: Sequence[str], only: "Only", limit: int) -> dict[str, Any]:
    """For JSON."""
    from accord.registry.feedback import By, count_feedback  # noqa: PLC0415

    found = count_feedback(heard.weighed, [By(name) for name in names], only)
    rows = [_row(heard.snapshot, item) for item in found[:limit]]
    rows += _disputed_only(heard.snapshot, names, only, found, limit - len(rows))
    return {
        "size": heard.snapshot.size,
        "by": list(names),
        "rows": rows,
        "not_shown": max(0, len(found) - limit),
        "uncounted": [asdict(item) for item in heard.weighed.uncounted],
        "unopened": [asdict(item) for item in heard.weighed.unopened],
    }


def _row(snapshot: "Snapshot", item: "FeedbackCount") -> dict[str, Any]:
    from accord.statements.feedback import REASONS  # noqa: PLC0415

    row: dict[str, Any] = {
        "listing": None if item.listing is None else str(item.listing),
        "agency": item.agency,
        "algorithm": item.algorithm,
        "platform": item.platform,
        "affirmative": item.affirmative,
        "negative": item.negative,
        "false_positives": item.false_positives,
        "reasons": {
            reason.value: count for reason, count in zip(REASONS, item.counts, strict=True) if count
        },
        "platforms": item.platforms,
        "first_ms": item.first_ms,
    }
    if item.listing is not None:
        at = snapshot.row_of(item.listing)
        row["disputes"] = [] if at is None else _disputes(snapshot, at)
    return row


def _disputes(snapshot: "Snapshot", row: int) -> list[dict[str, Any]]:
    from accord.registry.listings import Kind  # noqa: PLC0415
    from accord.registry.views import opinions_about  # noqa: PLC0415

    return [
        {"agency": said.agency, "reason": said.detail, "entry": said.entry, "time_ms": said.time_ms}
        for said in opinions_about(snapshot, row)
        if said.kind is Kind.DISPUTE
    ]


def _disputed_only(
    snapshot: "Snapshot",
    names: Sequence[str],
    only: "Only",
    found: Sequence["FeedbackCount"],
    room: int,
) -> list[dict[str, Any]]:
    """Listings that agencies dispute and no platform speaks of; by listing only."""
    from accord.registry.feedback import FeedbackCount  # noqa: PLC0415
    from accord.registry.views import disputed_rows  # noqa: PLC0415
    from accord.statements.feedback import REASONS  # noqa: PLC0415

    if list(names) != ["listing"] or only.algorithm or only.platform:
        return []
    seen = {item.listing for item in found}
    rows: list[dict[str, Any]] = []
    for row in disputed_rows(snapshot):
        if len(rows) >= room:
            break
        ref, agency = snapshot.ref_of(int(row)), snapshot.agencies[snapshot.publisher[row]]
        wanted = only.listing in (None, ref) and only.agency in (None, agency)
        if wanted and ref not in seen:
            nothing = FeedbackCount(ref, agency, None, None, (0,) * len(REASONS), 0, 0)
            rows.append(_row(snapshot, nothing) | {"first_ms": None})
    return rows


def _feedback_lines(said: Mapping[str, Any]) -> Iterator[str]:
    for row in said["rows"]:
        names = [str(row[name]) for name in BYS if row[name] is not None]
        reasons = ", ".join(f"{name} {count}" for name, count in row["reasons"].items())
        disputed = ", ".join(f"{it['agency']} ({it['reason']})" for it in row.get("disputes", ()))
        line = f"{' '.join(names)}: {reasons or 'no feedback'}"
        yield one_line(line + (f"; disputed by {disputed}" if disputed else ""))
    if not said["rows"]:
        yield "Nothing."
    if said["not_shown"]:
        yield f"{said['not_shown']} more: --limit"
    for name in ("uncounted", "unopened"):
        for item in said[name]:
            yield one_line(f"{name}: {item['count']} of {item['platform']}, {item['why']}")


def counts(
    home: HomeOption, no_sync: NoSync = False, trial: Trial = False, as_json: Json = False
) -> None:
    from accord.registry.figures import figures  # noqa: PLC0415  (numpy: slow to load)

    with followed(home, trial, no_sync) as replica:
        heard, chain = hear(replica), replica.chain
        made = figures(heard.snapshot, heard.weighed, heard.state)
    said = {"chain": chain} | counts_view(made)
    tell(as_json, said, "\n".join(_counts_lines(said)))


def counts_view(made: "Figures") -> dict[str, Any]:
    """For JSON, and for the public."""
    return {
        "size": made.size,
        "time_ms": made.time_ms,
        "listings": [
            {
                "agency": item.agency,
                "class": str(item.class_code),
                "status": item.status.value,
                "listings": item.listings,
            }
            for item in made.counts
        ],
        "agencies": [
            asdict(item)
            | {"false_positive_rate": item.false_positives / item.judged if item.judged else None}
            for item in made.agencies
        ],
    }


def _counts_lines(said: Mapping[str, Any]) -> Iterator[str]:
    yield f"{said['chain']}, {said['size']} entries"
    for row in said["agencies"]:
        rate = row["false_positive_rate"]
        judged = "no reviewer's word yet" if rate is None else f"false-positive rate {rate:.4f}"
        yield (
            f"{row['agency']}: {counted(row['listings'], 'listing')}, "
            f"{row['withdrawn']} withdrawn, {row['disputed']} disputed, {row['upheld']} upheld; "
            f"{judged}"
        )
    for row in said["listings"]:
        yield one_line(f"  {row['agency']} {row['class']} {row['status']}: {row['listings']}")


def withdrawals(
    home: HomeOption,
    open_only: Annotated[bool, typer.Option("--open", help="Those that a platform owes.")] = False,
    no_sync: NoSync = False,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.registry.removal import removals  # noqa: PLC0415  (numpy: slow to load)

    with followed(home, trial, no_sync) as replica:
        found = removals(replica.bare(), replica.state)
        size = replica.size
    said = {"size": size} | withdrawals_view(found, now_ms(), open_only=open_only)
    tell(as_json, said, "\n".join(_withdrawal_lines(said)) or "No listing was withdrawn.")


def withdrawals_view(
    found: Sequence["Removal"], now: TimeMs, *, open_only: bool = False
) -> dict[str, Any]:
    """For JSON. The summary is of all of them."""
    took = sorted(item.took_ms(now) for item in found if item.done_ms is not None)
    waiting = [item.took_ms(now) for item in found if item.is_open]
    rows = [
        {
            "entry": item.entry,
            "time_ms": item.time_ms,
            "agency": item.agency,
            "reason": item.reason.value,
            "listings": item.listings,
            "open": item.is_open,
            "took_ms": item.took_ms(now),
            "platforms": [
                {
                    "platform": it.platform,
                    "entry": it.entry,
                    "took_ms": None if it.time_ms is None else it.time_ms - item.time_ms,
                    "excused": it.is_excused,
                }
                for it in item.platforms
            ],
        }
        for item in found
        if item.is_open or not open_only
    ]
    return {
        "withdrawals": rows,
        "done": len(took),
        "median_ms": took[len(took) // 2] if took else None,
        "longest_ms": took[-1] if took else None,
        "open": len(waiting),
        "oldest_open_ms": max(waiting, default=None),
    }


def _withdrawal_lines(said: Mapping[str, Any]) -> Iterator[str]:
    for row in said["withdrawals"]:
        word = "open for" if row["open"] else "took"
        when = datetime.fromtimestamp(row["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        owing = [
            it["platform"] for it in row["platforms"] if it["took_ms"] is None and not it["excused"]
        ]
        waits = f", {', '.join(owing)} to follow" if owing else ""
        yield (
            f"{row['entry']} {when} {row['agency']}: {counted(row['listings'], 'listing')}, "
            f"{word} {row['took_ms'] / 1000:,.0f} s{waits}"
        )
    if said["done"]:
        yield (
            f"{said['done']} done: median {said['median_ms'] / 1000:,.0f} s, "
            f"longest {said['longest_ms'] / 1000:,.0f} s"
        )
