"""The checks of an audit that are about time alone: how often a platform attests, and how fast what
was withdrawn leaves its list.

Not here: whether an attestation is true (checks).
Source: docs/spec/audit.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from accord.audit.checks import Finding, Result, Tally
from accord.audit.evidence import Evidence, Interval
from accord.audit.readings import Attested, LedgerReading
from accord.wire.ids import TimeMs
from accord.wire.limits import SYNC_SLACK_MS


@dataclass(frozen=True, slots=True)
class _Duty:
    """An attestation that was due: so long after `since_ms`, if the rule still held by then."""

    since_ms: TimeMs
    deadline_ms: int


def check_interval(evidence: Evidence, ledger: LedgerReading) -> list[Finding]:
    """Did the platform attest as often as its rules ask?

    A new interval counts from when it began to hold; one that ended before the deadline, or during
    which the platform could not speak, binds nobody.
    """
    tally = Tally("interval")
    attested = ledger.attested
    times = [item.time_ms for item in attested]  # Block time: ascending.
    kept = pending = 0
    for duty in _duties(evidence.intervals, times, evidence.now_ms):
        at = bisect_right(times, duty.since_ms)
        answer = attested[at] if at < len(attested) else None
        if answer is not None and answer.time_ms <= duty.deadline_ms:
            kept += 1
        elif evidence.now_ms <= duty.deadline_ms:
            pending += 1
        elif answer is None:
            tally.add(Result.VIOLATED, "attest.missing", **_facts(duty))
        else:
            late = answer.time_ms - duty.deadline_ms
            tally.add(
                Result.VIOLATED,
                "attest.late",
                attested_in=answer.entry,
                late_ms=late,
                **_facts(duty),
            )
    return tally.findings(in_time=kept, pending=pending)


def _facts(duty: _Duty) -> dict[str, int]:
    return {"since_ms": duty.since_ms, "deadline_ms": duty.deadline_ms}


def _duties(
    intervals: Sequence[Interval], times: Sequence[TimeMs], now_ms: TimeMs
) -> Iterator[_Duty]:
    """For each interval that holds: a duty from its start, and one from each attestation in it."""
    for place, interval in enumerate(intervals):
        if interval.within_ms is None:
            continue
        end = intervals[place + 1].time_ms if place + 1 < len(intervals) else None
        first = bisect_right(times, interval.time_ms)
        last = len(times) if end is None else bisect_left(times, end)
        for since_ms in (interval.time_ms, *times[first:last]):
            deadline = since_ms + interval.within_ms + SYNC_SLACK_MS
            if end is None or deadline < end:
                yield _Duty(since_ms, deadline)


def check_removals(evidence: Evidence, ledger: LedgerReading) -> list[Finding]:
    """How long each withdrawal took until the platform attested a list without it. Whether that was
    in time the check of the sync says: this one only measures."""
    attested: tuple[Attested, ...] = ledger.attested
    highest = list(accumulate((item.body.size for item in attested), max))
    took: list[int] = []
    waiting: list[int] = []
    for item in evidence.withdrawals:
        at = bisect_right(highest, item.entry)  # The first that names a size beyond it.
        if at < len(attested):
            took.append(attested[at].time_ms - item.time_ms)
        else:
            waiting.append(max(0, evidence.now_ms - item.time_ms))
    facts = {"followed": len(took), "open": len(waiting)}
    if took:
        facts |= {"median_ms": sorted(took)[len(took) // 2], "longest_ms": max(took)}
    if waiting:
        facts["oldest_open_ms"] = max(waiting)
    return Tally("removals").findings(**facts)
