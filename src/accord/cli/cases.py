"""`accord cases`: a platform's review queue at the command line."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli import telling
from accord.cli.assemble import now_ms
from accord.cli.governance import tell
from accord.cli.options import HomeOption, Json
from accord.cli.platform import PANEL
from accord.client.files import written_durably
from accord.client.home import Home, open_home
from accord.statements.bodies import Role
from accord.wire.errors import Malformed

if TYPE_CHECKING:
    from accord.scan.cases.desk import CaseDesk
    from accord.scan.cases.model import Case

_COPY_BYTES = 1 << 20  # A film of any size is written in parts.
cases_app = typer.Typer(no_args_is_help=True, help="Matches that a person has to look at.")

CaseArg = Annotated[str, typer.Argument(metavar="CASE", help="As `accord cases list` names it.")]
Reviewer = Annotated[
    str, typer.Option("--as", envvar="ACCORD_REVIEWER", help="Your pseudonym, such as rev-7.")
]
Seen = Annotated[
    int | None, typer.Option("--seen", help="The version you looked at; refused if it changed.")
]

_LIST = """The queue: what is due first comes first. No picture, no fingerprint.

Examples:

    accord cases list --home ./clouddrive

    accord cases list --home ./clouddrive --state decided --json
"""
_SHOW = """One case: what matched, by which rule, what is due, and everything that was done.

Examples:

    accord cases show 5f0c1e2d3a4b5c6d7e8f --home ./clouddrive

    accord cases show 5f0c1e2d3a4b5c6d7e8f --home ./clouddrive --json
"""
_CLAIM = """Take a case: nobody else can decide it until you did, or half an hour went by.

Examples:

    accord cases claim 5f0c1e2d3a4b5c6d7e8f --as rev-7 --home ./clouddrive

    accord cases claim 5f0c1e2d3a4b5c6d7e8f --as rev-7 --seen 1 --home ./clouddrive
"""
_EXTRACT = """Decrypt the file of a case that you claimed. It stands in the trail that you took it.

Examples:

    accord cases extract 5f0c1e2d3a4b5c6d7e8f --as rev-7 --identity key.txt --out file.bin \\
        --home ./clouddrive

    accord cases extract 5f0c1e2d3a4b5c6d7e8f --as rev-7 --out file.age --home ./clouddrive
"""
_DISPOSE = """Say what the file is: confirmed, not-csam, unsure or other-category.

Unsure gives it back to the queue for another reviewer. What follows becomes tasks: reports with
their deadlines, feedback to the agencies, a notice to the uploader of a file that was held wrongly.

Examples:

    accord cases dispose 5f0c1e2d3a4b5c6d7e8f confirmed --viewed --as rev-7 --home ./clouddrive

    accord cases dispose 5f0c1e2d3a4b5c6d7e8f not-csam --not-viewed --reason "a chessboard" \\
        --as rev-7 --home ./clouddrive
"""
_HOLD = """Put a case under a legal hold: nothing of it is destroyed until that is released.

Examples:

    accord cases hold 5f0c1e2d3a4b5c6d7e8f "order 17/2026" --as counsel --home ./clouddrive
"""
_RELEASE = """End a legal hold.

Examples:

    accord cases release 5f0c1e2d3a4b5c6d7e8f "order 17/2026" --as counsel --home ./clouddrive
"""
_DESTROY = """Destroy the file of a decided case and print the signed certificate.

Refused under a hold, before the preservation time is over, or while a report is not made. An
interrupted destruction is finished by the same command.

Examples:

    accord cases destroy 5f0c1e2d3a4b5c6d7e8f --as rev-7 --home ./clouddrive
"""
_APPEAL = """Open a decided case again, for another reviewer, under the uploader's reference.

Examples:

    accord cases appeal 5f0c1e2d3a4b5c6d7e8f ticket-881 --as support --home ./clouddrive
"""
_TASKS = """What is to be done, what is due first comes first; and how much of each kind was.

Reports, and corrections of those that turned out wrong; feedback; a notice for each false positive.

Examples:

    accord cases tasks --home ./clouddrive

    accord cases tasks --home ./clouddrive --json
"""
_NOTIFIED = """Note that the uploader of a file that was held wrongly was told.

Examples:

    accord cases notified 5f0c1e2d3a4b5c6d7e8f --as support --home ./clouddrive
"""
_FEEDBACK = """What reviewers found, one line a listing: for the agencies, and for nobody else.

--send tells them what they have not heard yet, sealed, each word once whatever crashes. A
disposition and the gateway do it by themselves where cases.toml says `send = true` under
`[feedback]`.

Examples:

    accord cases feedback --home ./clouddrive --json

    accord cases feedback --send --home ./clouddrive
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for name, text, command in (
        ("list", _LIST, list_cases),
        ("show", _SHOW, show),
        ("claim", _CLAIM, claim),
        ("extract", _EXTRACT, extract),
        ("dispose", _DISPOSE, dispose),
        ("hold", _HOLD, hold),
        ("release", _RELEASE, release),
        ("destroy", _DESTROY, destroy),
        ("appeal", _APPEAL, appeal),
        ("tasks", _TASKS, tasks),
        ("notified", _NOTIFIED, notified),
        ("feedback", _FEEDBACK, feedback),
    ):
        cases_app.command(name, help=text)(command)
    app.add_typer(cases_app, name="cases", rich_help_panel=PANEL)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Home, "CaseDesk"]]:
    """A platform's home and its desk. Raises: Malformed, for an agency's home."""
    from accord.scan.cases.settings import open_desk  # noqa: PLC0415
    from accord.scan.platform import check_platform  # noqa: PLC0415

    home = open_home(path)
    check_platform(home)
    desk = open_desk(path, now_ms)
    try:
        yield home, desk
    finally:
        desk.store.close()


def list_cases(
    home: HomeOption,
    state: Annotated[
        str, typer.Option(help="open, decided, destroying, destroyed, or all.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.model import State  # noqa: PLC0415

    if state not in ("all", *State):
        raise Malformed("cases.state", wanted=", ".join(("all", *State)))
    with opened(home) as (_, desk):
        found = desk.store.cases(None if state == "all" else State(state), limit)
        said = {"cases": [summary(case) for case in found], "counts": desk.store.counts()}
    lines = [_line(case) for case in found] or ["No case."]
    tell(as_json, said, "\n".join(lines))


def show(case: CaseArg, home: HomeOption, as_json: Json = False) -> None:
    with opened(home) as (_, desk):
        found, trail = desk.store.case(case), desk.store.trail(case)
        left = desk.store.tasks(case)
    said = asdict(found) | {
        "trail": trail,
        "tasks": [asdict(task.task) | {"done_ms": task.done_ms} for task in left],
    }
    record = found.record
    lines = [_line(found), f"  version {found.version}, seen {found.sightings} times"]
    for match in record_rows(record, "matches"):
        lines.append(
            f"  {match['kind']} {match['algorithm']} at {match['distance']} of "
            f"{match['threshold']}: listing {match['listing']}, {match['class']}, "
            f"{match['jurisdiction']}"
        )
    lines += [f"  held: {name}" for name in found.holds]
    lines += [
        f"  {_when(task.task.due_ms)} {task.task.kind} {task.task.subject}"
        + (" (done)" if task.done_ms else "")
        for task in left
    ]
    lines += [f"  {_when(row['time_ms'])} {row['who']}: {row['what']}" for row in trail]
    tell(as_json, said, "\n".join(lines))


def claim(
    case: CaseArg, reviewer: Reviewer, home: HomeOption, seen: Seen = None, as_json: Json = False
) -> None:
    with opened(home) as (_, desk):
        _tell_case(as_json, desk.claim(case, reviewer, seen))


def extract(
    case: CaseArg,
    reviewer: Reviewer,
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="Where to put it; there must be no such file.")],
    identity: Annotated[
        Path | None, typer.Option(help="The age identity; without one the file stays encrypted.")
    ] = None,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.quarantine import unseal  # noqa: PLC0415

    if out.exists():
        raise Malformed("cases.exists", path=str(out), mend="another --out")
    key = None if identity is None else identity.read_text()
    with (
        opened(home) as (_, desk),
        desk.reveal(case, reviewer) as sealed,
        written_durably(out, mode=0o600) as file,
    ):
        if key is None:
            shutil.copyfileobj(sealed, file, _COPY_BYTES)
        else:
            unseal(sealed, file, key)
        size = file.tell()
    tell(as_json, {"case": case, "out": str(out), "bytes": size}, f"{out}: {size} bytes")


def dispose(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    case: CaseArg,
    disposition: Annotated[str, typer.Argument(metavar="DISPOSITION")],
    reviewer: Reviewer,
    home: HomeOption,
    viewed: Annotated[
        bool, typer.Option("--viewed/--not-viewed", help="Whether you looked at the file itself.")
    ],
    reason: Annotated[str, typer.Option(help="Why; needed unless confirmed.")] = "",
    category: Annotated[
        str, typer.Option(help="With other-category: which. With confirmed: the class it is.")
    ] = "",
    seen: Seen = None,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.model import Disposition, Finding  # noqa: PLC0415

    if disposition not in set(Disposition):
        raise Malformed("cases.disposition", wanted=", ".join(Disposition))
    finding = Finding(Disposition(disposition), viewed, reason, category)
    with opened(home) as (at, desk):
        _tell_case(as_json, desk.dispose(case, reviewer, finding, seen))
        telling.send_by_itself(at, desk)


def hold(
    case: CaseArg,
    name: Annotated[str, typer.Argument(help="What the hold is called.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    with opened(home) as (_, desk):
        _tell_case(as_json, desk.hold(case, reviewer, name))


def release(
    case: CaseArg,
    name: Annotated[str, typer.Argument(help="What the hold is called.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    with opened(home) as (_, desk):
        _tell_case(as_json, desk.release(case, reviewer, name))


def destroy(case: CaseArg, reviewer: Reviewer, home: HomeOption, as_json: Json = False) -> None:
    from accord.scan.cases.desk import Signer  # noqa: PLC0415

    with opened(home) as (at, desk):
        done = desk.destroy(case, reviewer, Signer.of(at, at.key(Role.REPORTER)))
    tell(as_json, summary(done) | {"certificate": done.certificate}, done.certificate)


def appeal(
    case: CaseArg,
    reference: Annotated[str, typer.Argument(help="The uploader's reference.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    with opened(home) as (_, desk):
        _tell_case(as_json, desk.appeal(case, reviewer, reference))


def tasks(home: HomeOption, as_json: Json = False) -> None:
    with opened(home) as (_, desk):
        left, counts = desk.store.tasks(pending=True), desk.store.task_counts()
    rows = [{"case": item.case} | asdict(item.task) for item in left]
    lines = [
        f"{_when(item.task.due_ms)} {item.case} {item.task.kind} {item.task.subject}"
        for item in left
    ]
    lines += [f"{kind}: {n['pending']} to do, {n['done']} done" for kind, n in counts.items()]
    tell(as_json, {"tasks": rows, "counts": counts}, "\n".join(lines) or "Nothing to do.")


def notified(case: CaseArg, reviewer: Reviewer, home: HomeOption, as_json: Json = False) -> None:
    from accord.scan.cases.model import TaskKind, check_name  # noqa: PLC0415
    from accord.scan.cases.store import Deed  # noqa: PLC0415

    deed = Deed(check_name(reviewer), "notified", now_ms(), {})
    with opened(home) as (_, desk):
        done = desk.store.finish_task(case, TaskKind.NOTIFY, "uploader", deed)
    tell(as_json, {"case": case, "done": done}, "Noted." if done else "Nothing was to be done.")


def feedback(
    home: HomeOption,
    send: Annotated[bool, typer.Option("--send", help="Tell the agencies what is owed.")] = False,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.telling import FeedbackQueue  # noqa: PLC0415

    with opened(home) as (at, desk):
        done = telling.send(at, desk) if send else None
        rows = desk.store.feedback()
        queue = FeedbackQueue(desk.store, at.path)
        owed, waiting = set(queue.owed()), queue.waiting()
    for row in rows:
        row["owed"] = (row["listing"], row["reason"]) in owed
    said: dict[str, object] = {"feedback": rows, "waiting": waiting}
    lines = [
        f"{row['listing']} {row['verdict']} {row['reason']} {row['files']}"
        + (" (owed)" if row["owed"] else "")
        for row in rows
    ]
    if done is not None:
        said["sent"] = done.view()
        entries = " ".join(map(str, done.entries))
        lines.append(f"Sent {done.words} as {entries}." if done.entries else "Nothing was owed.")
    tell(as_json, said, "\n".join(lines) or "Nothing yet.")


def summary(case: "Case") -> dict[str, object]:
    """A case in the queue: no value of a fingerprint."""
    return {
        "case": case.id,
        "version": case.version,
        "state": case.state.value,
        "action": case.action,
        "opened_ms": case.opened_ms,
        "report_due_ms": case.report_due_ms,
        "preserve_until_ms": case.preserve_until_ms,
        "disposition": case.disposition and case.disposition.value,
        "claimed_by": case.claimed_by,
        "claimed_until_ms": case.claimed_until_ms,
        "holds": list(case.holds),
        "quarantined": bool(case.quarantined),
        "sightings": case.sightings,
        "appeal": case.appeal,
    }


def record_rows(record: object, name: str) -> list[dict[str, object]]:
    rows = record.get(name) if isinstance(record, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _tell_case(as_json: bool, case: "Case") -> None:
    tell(as_json, summary(case), _line(case))


def _line(case: "Case") -> str:
    said = case.state.value if case.disposition is None else case.disposition.value
    who = f", {case.claimed_by}" if case.claimed_by else ""
    return f"{case.id}  {said}{who}  {case.action}  report by {_when(case.report_due_ms)}"


def _when(time_ms: object) -> str:
    if not isinstance(time_ms, int):
        return "no date"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
