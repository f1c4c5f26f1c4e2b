"""A case and how it goes on: pure functions from a case and what a person says to the next case.

Not here: keeping cases (store), files (quarantine), what is done about tasks (reports).
Invariants: one reviewer at a time, for as long as the lease runs; who disposed of a case does not
judge its appeal; nothing is destroyed under a hold, before its time, or before it was reported.
Source: docs/spec/cases.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from accord.statements.feedback import Reason
from accord.wire.errors import Malformed
from accord.wire.ids import NAME_RE, TimeMs
from accord.wire.limits import CASE_TEXT_CHARS_MAX

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
Json = Mapping[str, object]
_NOBODY: Final = TimeMs(0)  # When a lease ended that nobody has.


class State(StrEnum):
    """Where a case is. `DESTROYING` lasts only as long as the work, or until it is resumed."""

    OPEN = "open"
    DECIDED = "decided"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"


class Disposition(StrEnum):
    """What a reviewer says of the file."""

    CONFIRMED = "confirmed"
    NOT_CSAM = "not-csam"
    UNSURE = "unsure"
    OTHER_CATEGORY = "other-category"


class TaskKind(StrEnum):
    """What a disposition leaves to do."""

    REPORT = "report"  # To whom the rule says.
    FEEDBACK = "feedback"  # To the agencies, for each listing.
    NOTIFY = "notify"  # The uploader of a file that was held wrongly.
    CORRECT = "correct"  # A report that was made and that a later disposition contradicts.


FINAL: Final = frozenset({Disposition.CONFIRMED, Disposition.NOT_CSAM, Disposition.OTHER_CATEGORY})


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do by `due_ms`. `subject` tells tasks of one kind apart."""

    kind: TaskKind
    subject: str
    due_ms: TimeMs | None
    facts: Json


@dataclass(frozen=True, slots=True)
class Case:
    """One file that matched, and what became of it.

    `record` is what the machine found and never changes. All deadlines count from `effective_ms`.
    `version` grows by one with each change.
    """

    id: str
    version: int
    state: State
    opened_ms: TimeMs
    effective_ms: TimeMs
    action: str
    report_due_ms: TimeMs | None
    preserve_until_ms: TimeMs
    record: Json
    disposition: Disposition | None = None
    reason: str = ""
    viewed: bool = False
    reviewer: str = ""  # Whose disposition stands.
    unsure: tuple[str, ...] = ()  # Who looked and could not tell: another person is needed.
    claimed_by: str = ""
    claimed_until_ms: TimeMs = _NOBODY
    holds: tuple[str, ...] = ()
    quarantined: str = ""  # SHA-256 of the encrypted file, in hex; empty if none is held.
    sightings: int = 1
    appeal: str = ""
    certificate: str = ""

    def __repr__(self) -> str:
        return f"Case({self.id}, {self.state}, version {self.version})"


def check_name(name: str) -> str:
    """A reviewer's pseudonym. Raises: Malformed."""
    if NAME_RE.fullmatch(name) is None:
        raise Malformed("cases.reviewer", wanted="2 to 32 of a-z 0-9 -")
    return name


def check_text(text: str, *, is_needed: bool = False) -> str:
    """A reason or reference. Raises: Malformed."""
    fits = len(text) <= CASE_TEXT_CHARS_MAX and text.isprintable()
    if not fits or (is_needed and not text.strip()):
        raise Malformed("cases.text", limit=CASE_TEXT_CHARS_MAX)
    return text


def holder(case: Case, now_ms: TimeMs) -> str:
    """Who has the case claimed now; empty if nobody."""
    return case.claimed_by if now_ms < case.claimed_until_ms else ""


def claim(case: Case, reviewer: str, now_ms: TimeMs, lease_ms: int) -> Case:
    """Raises: Malformed, while another reviewer has it or where this one may not have it."""
    check_name(reviewer)
    if case.state is not State.OPEN:
        raise Malformed("cases.state", state=case.state.value, wanted="open")
    if reviewer in case.unsure or (case.appeal and reviewer == case.reviewer):
        raise Malformed("cases.other_reviewer", mend="let another reviewer claim it")
    if holder(case, now_ms) not in ("", reviewer):
        left_s = (case.claimed_until_ms - now_ms + 999) // 1000
        raise Malformed("cases.claimed", seconds_left=left_s, mend="another case, or later")
    return _next(case, claimed_by=reviewer, claimed_until_ms=TimeMs(now_ms + lease_ms))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reviewer found. `category` is the class it is instead: always of another category, and
    of a confirmed one where it is another class than the listing says."""

    disposition: Disposition
    viewed: bool
    reason: str = ""
    category: str = ""


def dispose(
    case: Case, reviewer: str, finding: Finding, now_ms: TimeMs, notify_after_ms: int = 0
) -> tuple[Case, tuple[Task, ...]]:
    """The case decided, and what there is to do. Raises: Malformed, where not claimed."""
    check_name(reviewer)
    if case.state is not State.OPEN:
        raise Malformed("cases.state", state=case.state.value, wanted="open")
    if holder(case, now_ms) != reviewer:
        raise Malformed("cases.not_claimed", mend="accord cases claim, then decide")
    is_negative = finding.disposition is not Disposition.CONFIRMED
    check_text(finding.reason, is_needed=is_negative)
    _check_category(finding)
    if finding.disposition is Disposition.UNSURE:
        back = _next(case, unsure=(*case.unsure, reviewer), viewed=case.viewed or finding.viewed)
        return replace(back, claimed_by="", claimed_until_ms=_NOBODY), ()
    decided = _next(
        case,
        state=State.DECIDED,
        disposition=finding.disposition,
        reason=finding.reason,
        reviewer=reviewer,
        viewed=case.viewed or finding.viewed,
        claimed_by="",
        claimed_until_ms=_NOBODY,
    )
    return decided, _tasks(decided, finding, TimeMs(now_ms + notify_after_ms))


def _check_category(finding: Finding) -> None:
    needs = finding.disposition is Disposition.OTHER_CATEGORY
    may = needs or finding.disposition is Disposition.CONFIRMED
    if (needs and not finding.category) or (finding.category and not may):
        mend = "--category with other-category, or with confirmed where the class is another"
        raise Malformed("cases.category", mend=mend)
    check_text(finding.category)


def _tasks(case: Case, finding: Finding, notify_ms: TimeMs) -> tuple[Task, ...]:
    """What a disposition leaves to do. Reports are due from the effective time, not from now."""
    tasks: list[Task] = []
    is_false = finding.disposition is Disposition.NOT_CSAM
    if not is_false:
        for duty in _rows(case.record, "reports"):
            hours = duty["within_hours"]
            due = case.effective_ms + (hours if isinstance(hours, int) else 0) * HOUR_MS
            subject = f"{duty['jurisdiction']} {duty['to']}"
            tasks.append(Task(TaskKind.REPORT, subject, TimeMs(due), duty))
    matches = _rows(case.record, "matches")
    exact = {str(match["listing"]) for match in matches if match["kind"] == "exact"}
    for match in matches:
        subject = f"{match['listing']} {match['algorithm']}"
        reason = _reason(finding, match, exact)
        said = {
            "verdict": "affirmative" if reason.is_affirmative else "negative",
            "reason": reason.value,
            "category": finding.category,
        }
        tasks.append(Task(TaskKind.FEEDBACK, subject, None, said))
    if is_false:
        tasks.append(Task(TaskKind.NOTIFY, "uploader", notify_ms, {"why": "held-wrongly"}))
    return tuple({(task.kind, task.subject): task for task in tasks}.values())


def _reason(finding: Finding, found: Json, exact: set[str]) -> Reason:
    """What the agencies hear of one match. `exact` are the listings of which the file is a copy:
    of those a file that is nothing of the kind says that the listing is wrong; of a listing that it
    only comes near to, that the match was."""
    match finding.disposition:
        case Disposition.CONFIRMED:
            return Reason.WRONG_CLASS if finding.category else Reason.CONFIRMED
        case Disposition.OTHER_CATEGORY:
            return Reason.OTHER_CATEGORY
        case _:
            is_near = found["kind"] == "near" and str(found["listing"]) not in exact
            return Reason.FALSE_NEAR if is_near else Reason.NOT_CSAM


def _rows(record: Json, name: str) -> list[Json]:
    rows = record.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def hold(case: Case, name: str) -> Case:
    """A legal hold: nothing is destroyed until it is released. Raises: Malformed."""
    check_text(name, is_needed=True)
    if case.state not in (State.OPEN, State.DECIDED):
        raise Malformed("cases.state", state=case.state.value, wanted="open or decided")
    if name in case.holds:
        raise Malformed("cases.hold", hint="there is one of that name")
    return _next(case, holds=(*case.holds, name))


def release(case: Case, name: str) -> Case:
    """End a legal hold. Raises: Malformed."""
    if name not in case.holds:
        raise Malformed("cases.hold", hint="there is none of that name")
    return _next(case, holds=tuple(item for item in case.holds if item != name))


def corrections(
    case: Case, reported: Mapping[str, Json], told: Mapping[str, str], now_ms: TimeMs
) -> tuple[Task, ...]:
    """What desks that had a report must hear of a new disposition: that nothing of it was so, or,
    after that was said, that it was so after all.

    `reported` are the subjects of reports that were made, with what became of them; `told` is what
    each desk was last told by a correction.
    """
    if case.disposition is None:
        return ()
    now, off = case.disposition.value, Disposition.NOT_CSAM.value
    return tuple(
        Task(
            TaskKind.CORRECT,
            f"{subject}: {now}",
            now_ms,
            {"subject": subject, "now": now, "report": dict(made)},
        )
        for subject, made in sorted(reported.items())
        if (now == off) != (told.get(subject) == off)
    )


def appeal(case: Case, reference: str) -> Case:
    """The uploader appeals: another reviewer looks again. Raises: Malformed."""
    check_text(reference, is_needed=True)
    if case.state is not State.DECIDED:
        raise Malformed("cases.state", state=case.state.value, wanted="decided")
    return _next(case, state=State.OPEN, appeal=reference, disposition=None)


def reported(case: Case, now_ms: TimeMs) -> Case:
    """A report was made: preservation counts from then, where that is later."""
    days = case.record.get("preserve_days")
    until = now_ms + (days if isinstance(days, int) else 0) * DAY_MS
    return _next(case, preserve_until_ms=TimeMs(max(case.preserve_until_ms, until)))


def begin_destroying(case: Case, pending: int, now_ms: TimeMs) -> Case:
    """From here nobody claims it. `pending` counts reports that are not made yet.

    Raises: Malformed, naming what stands in the way.
    """
    if case.state not in (State.DECIDED, State.DESTROYING):
        raise Malformed("cases.state", state=case.state.value, wanted="decided")
    if case.holds:
        raise Malformed("cases.held", holds=len(case.holds), mend="accord cases release")
    if now_ms < case.preserve_until_ms:
        days = -(-(case.preserve_until_ms - now_ms) // DAY_MS)
        raise Malformed("cases.preserved", days_left=days, mend="wait until its time is over")
    if pending:
        raise Malformed("cases.unreported", reports=pending, mend="accord report submit")
    return case if case.state is State.DESTROYING else _next(case, state=State.DESTROYING)


def end_destroying(case: Case, certificate: str) -> Case:
    """The file is gone, and `certificate` says so."""
    return _next(case, state=State.DESTROYED, certificate=certificate, quarantined="")


def _next(case: Case, **changes: object) -> Case:
    return replace(case, version=case.version + 1, **changes)  # type: ignore[arg-type]  # Fields by name: each caller's are `Case`'s.
