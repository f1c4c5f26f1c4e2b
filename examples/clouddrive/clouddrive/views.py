"""Each page as one frozen value: what a template renders and what a test looks at.

The platform page carries no file name and no way to a picture; the uploader's pages carry no
agency, listing or fingerprint.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clouddrive import wording
from clouddrive.drive import Drive, Outcome
from clouddrive.gateway import GatewayStatus, Reason, RuleInForce, Verdict, parse_verdict
from clouddrive.limits import APPEALS_PER_REFERENCE_MAX, UPLOAD_BYTES_MAX
from clouddrive.store import AppealRow, MatchRow, State, StoredFile, TaskRow
from clouddrive.watch import Watch


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A place the demo lets a person upload from."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Tile:
    id: str
    name: str
    size: str
    is_picture: bool
    note: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What the owner is told about one file that is not shown."""

    reference: str
    kind: str
    heading: str
    name: str
    lines: tuple[str, ...]
    rule_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class DriveView:
    tiles: tuple[Tile, ...]
    notices: tuple[Notice, ...]
    waiting: tuple[Waiting, ...]
    checking: bool
    upload_bytes_max: int
    used: str


@dataclass(frozen=True, slots=True)
class AppealView:
    reference: str
    time: str
    message: str


@dataclass(frozen=True, slots=True)
class NoticeView:
    notice: Notice
    appeals: tuple[AppealView, ...]
    may_appeal: bool


@dataclass(frozen=True, slots=True)
class WhyView:
    """One rule's view of the file: `found` says by what, each algorithm in words."""

    rule: Reason
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchView:
    time: str
    reference: str
    how: str
    decision: str
    action: str
    code: str | None
    outcome: str
    why: tuple[WhyView, ...]
    reasons: tuple[Reason, ...]
    checkpoint_size: int
    stale: bool
    receipt_index: int | None
    preserve_until: str | None


@dataclass(frozen=True, slots=True)
class TaskView:
    id: int
    reference: str
    jurisdiction: str
    recipient: str
    due: str
    due_in: str
    overdue: bool
    preserve_until: str | None
    state: str


@dataclass(frozen=True, slots=True)
class ListView:
    """The list the platform screens with; `answering` is False while the gateway is away."""

    answering: bool
    size: int
    active_count: int
    age: str
    stale: bool
    receipts: int
    rules: tuple[RuleInForce, ...]


@dataclass(frozen=True, slots=True)
class RescanView:
    done: int
    total: int
    running: bool
    finished: str | None


@dataclass(frozen=True, slots=True)
class PlatformView:
    list: ListView
    rescan: RescanView
    counts: dict[str, int]
    matches: tuple[MatchView, ...]
    matches_count: int
    tasks: tuple[TaskView, ...]
    open_tasks: int
    appeals: tuple[AppealView, ...]


_OUTCOMES = {
    State.STORED: "stays in the drive",
    State.HELD: "held, encrypted, until a person decides",
    State.REFUSED: "refused",
    State.QUARANTINED: "taken out of the drive, encrypted",
}


_DIGESTS = ("md5", "sha1", "sha256")  # Equal or not: a distance says nothing.
_TAGGED = "stays in the drive, marked on this page alone"


def clock_text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _day_text(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d")


def notice_of(file: StoredFile, match: MatchRow) -> Notice:
    verdict = parse_verdict(match.facts)
    heading, lines = wording.explain(file.state, verdict.decision, verdict.code)
    return Notice(
        reference=match.reference,
        kind=file.state.value,
        heading=heading,
        name=file.name,
        lines=lines,
        rule_lines=tuple(dict.fromkeys(verdict.user_notice)),
    )


def drive_view(drive: Drive, watch: Watch) -> DriveView:
    notices = []
    for file in drive.store.files_in(State.HELD, State.REFUSED, State.QUARANTINED):
        match = drive.store.last_match(file.id)
        if match is not None and not file.dismissed:
            notices.append(notice_of(file, match))
    stored = drive.store.files_in(State.STORED)
    return DriveView(
        tiles=tuple(_tile(drive, file) for file in stored),
        notices=tuple(notices),
        waiting=tuple(
            Waiting(file.id, file.name, wording.waiting_text())
            for file in drive.store.files_in(State.WAITING)
        ),
        checking=watch.status is not None,
        upload_bytes_max=UPLOAD_BYTES_MAX,
        used=wording.size_text(sum(file.size_bytes for file in stored)),
    )


def _tile(drive: Drive, file: StoredFile) -> Tile:
    note = ""
    match = drive.store.last_match(file.id) if file.reference else None
    if match is not None:
        verdict = parse_verdict(match.facts)
        if verdict.decision == "undetermined" and verdict.key == file.verdict_key:
            note = wording.could_not_check(verdict.code)
    return Tile(
        id=file.id,
        name=file.name,
        size=wording.size_text(file.size_bytes),
        is_picture=file.media_type.startswith("image/"),
        note=note,
    )


def outcome_json(drive: Drive, name: str, outcome: Outcome) -> dict[str, object]:
    """What the uploader's browser is told about one upload."""
    base: dict[str, object] = {"name": name, "state": outcome.state.value, "reference": None}
    file = drive.store.file(outcome.file_id)
    match = drive.store.last_match(outcome.file_id)
    if outcome.state is State.WAITING:
        return base | {"heading": "Not checked yet", "lines": [wording.waiting_text()]}
    if outcome.state is State.DELETED or file is None:
        text = wording.not_accepted(outcome.code)
        return base | {"heading": wording.REFUSED_HEADING, "lines": [text]}
    if match is None:
        return base | {"heading": "Added", "lines": []}
    notice = notice_of(file, match)
    if outcome.state is State.STORED:  # A tag is for the platform's staff alone.
        lines = [line for line in notice.lines if parse_verdict(match.facts).code]
        return base | {"heading": "Added", "lines": lines}
    return base | {
        "reference": notice.reference,
        "heading": notice.heading,
        "lines": [*notice.lines, *notice.rule_lines],
        "appeal": f"/notice/{notice.reference}",
    }


def notice_view(drive: Drive, reference: str) -> NoticeView | None:
    """None for a reference that nobody was given."""
    file = drive.store.file_by_reference(reference)
    match = None if file is None else drive.store.last_match(file.id)
    if file is None or match is None:
        return None
    appeals = drive.store.appeals(reference)
    return NoticeView(
        notice_of(file, match),
        tuple(_appeal(row) for row in appeals),
        len(appeals) < APPEALS_PER_REFERENCE_MAX,
    )


def _appeal(row: AppealRow) -> AppealView:
    return AppealView(row.reference, clock_text(row.time_ms), row.message)


def platform_view(drive: Drive, watch: Watch) -> PlatformView:
    store = drive.store
    tasks = store.tasks()
    return PlatformView(
        list=_list_view(watch.status, watch.last_status, drive.clock()),
        rescan=_rescan_view(drive, watch),
        counts={state.value: store.count(state) for state in State if state is not State.DELETED},
        matches=tuple(_match(row) for row in store.matches()),
        matches_count=store.count_matches(),
        tasks=tuple(_task(row, drive.clock()) for row in tasks),
        open_tasks=sum(task.done_ms is None for task in tasks),
        appeals=tuple(_appeal(row) for row in store.appeals()),
    )


def _list_view(now: GatewayStatus | None, last: GatewayStatus | None, time_ms: int) -> ListView:
    if last is None:
        return ListView(False, 0, 0, "unknown", True, 0, ())
    return ListView(
        answering=now is not None,
        size=last.size,
        active_count=last.active_count,
        age=wording.age_text(time_ms - last.time_ms),
        stale=last.stale,
        receipts=last.receipts,
        rules=last.rules,
    )


def _rescan_view(drive: Drive, watch: Watch) -> RescanView:
    total = drive.store.count(State.STORED)
    done = drive.store.count_seen(drive.version) if drive.version else 0
    finished = None if watch.rescanned_ms is None else clock_text(watch.rescanned_ms)
    return RescanView(done, total, done < total, finished)


def _match(row: MatchRow) -> MatchView:
    verdict: Verdict = parse_verdict(row.facts)
    return MatchView(
        time=clock_text(row.time_ms),
        reference=row.reference,
        how=row.how,
        decision=verdict.decision.replace("_", " "),
        action=verdict.action,
        code=verdict.code,
        outcome=_TAGGED if verdict.action == "tag" else _OUTCOMES.get(row.state, row.state.value),
        why=_why(verdict.reasons),
        reasons=verdict.reasons,
        checkpoint_size=verdict.checkpoint_size,
        stale=verdict.stale,
        receipt_index=verdict.receipt_index,
        preserve_until=_day_text(row.preserve_until_ms),
    )


def _why(reasons: tuple[Reason, ...]) -> tuple[WhyView, ...]:
    """A file often matches a listing in every algorithm: that is one thing to read."""
    merged: dict[Reason, list[str]] = {}
    for reason in reasons:
        found = merged.setdefault(replace(reason, algorithm="", distance=None), [])
        if reason.algorithm:
            is_near = reason.distance is not None and reason.algorithm not in _DIGESTS
            found.append(reason.algorithm + (f" at distance {reason.distance}" if is_near else ""))
    return tuple(WhyView(rule, tuple(found)) for rule, found in merged.items())


def _task(row: TaskRow, time_ms: int) -> TaskView:
    return TaskView(
        id=row.id,
        reference=row.reference,
        jurisdiction=row.jurisdiction,
        recipient=row.recipient,
        due=clock_text(row.due_ms),
        due_in=wording.age_text(row.due_ms - time_ms),
        overdue=row.done_ms is None and row.due_ms < time_ms,
        preserve_until=_day_text(row.preserve_until_ms),
        state="open" if row.done_ms is None else "done",
    )
