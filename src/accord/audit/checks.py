"""The checks of an audit, each from readings to findings.

Every violation needs two things that cannot both be: a deadline and a block time; a signed
attestation and the auditor's own fold; a signed head and a signed head; a signed promise and a
signed head. A claim that merely is not there yet is pending or unproven.
Source: docs/spec/audit.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from accord.audit.evidence import Change, Evidence
from accord.audit.readings import Attested, LedgerReading, ReceiptsReading, roots_at
from accord.audit.receipts import MINUTE_MS, ReceiptMeta, parse_receipt, parse_scan_receipt
from accord.tlog.merkle import EMPTY_ROOT
from accord.wire.errors import Malformed, Unproven
from accord.wire.keys import VerifyKey, key_id_of
from accord.wire.limits import BACKDATED_SLACK_MS, FINDINGS_MAX, SYNC_SLACK_MS

Facts = dict[str, int | str]


class Result(StrEnum):
    OK = "ok"
    VIOLATED = "violated"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. `facts` are the numbers that whoever doubts it looks up."""

    check: str
    result: Result
    code: str | None = None
    facts: Facts = field(default_factory=dict[str, int | str])

    def view(self) -> dict[str, object]:
        facts = dict(sorted(self.facts.items()))
        return {
            "check": self.check,
            "result": self.result.value,
            "code": self.code,
            "facts": facts,
        }


class Tally:
    """Findings of one check: each kind named up to a limit and counted, or one that all is well."""

    def __init__(self, check: str) -> None:
        self._check = check
        self._named: dict[tuple[Result, str], list[Facts]] = {}
        self._counts: dict[tuple[Result, str], int] = {}

    def add(self, result: Result, code: str, **facts: int | str) -> None:
        kind = (result, code)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        named = self._named.setdefault(kind, [])
        if len(named) < FINDINGS_MAX:
            named.append(facts)

    def findings(self, **summary: int) -> list[Finding]:
        found: list[Finding] = []
        for (result, code), named in sorted(self._named.items()):
            found += [Finding(self._check, result, code, facts) for facts in named]
            left_out = self._counts[result, code] - len(named)
            if left_out:
                found.append(Finding(self._check, result, code, {"more": left_out}))
        return found or [Finding(self._check, Result.OK, None, dict(summary))]


def deadline_of(change: Change) -> int | None:
    """The block time by which a change must have been attested; None if it need not be."""
    if change.sync_within_ms is None:
        return None
    return change.time_ms + change.sync_within_ms + SYNC_SLACK_MS


def check_sync(evidence: Evidence, ledger: LedgerReading) -> list[Finding]:
    """Was every change of what the platform must run attested in time?"""
    tally = Tally("sync")
    attested = ledger.attested
    # The highest size named so far, attestation by attestation: it never falls.
    highest = list(accumulate((item.body.size for item in attested), max))
    in_time = pending = excused = 0
    for place, change in enumerate(evidence.changes):
        deadline = deadline_of(change)
        if deadline is None:
            continue
        at = bisect_left(highest, change.size)
        answer = attested[at] if at < len(attested) else None
        if answer is not None and answer.time_ms <= deadline:
            in_time += 1
        elif evidence.now_ms <= deadline:
            pending += 1
        elif _is_undone(evidence.changes[place:], attested, deadline):
            excused += 1
        elif not evidence.is_complete:
            tally.add(Result.UNPROVEN, "audit.keys_missing", entry=change.size - 1)
        elif answer is None:
            tally.add(Result.VIOLATED, "sync.missing", entry=change.size - 1, deadline_ms=deadline)
        else:
            late = answer.time_ms - deadline
            tally.add(
                Result.VIOLATED,
                "sync.late",
                entry=change.size - 1,
                deadline_ms=deadline,
                attested_in=answer.entry,
                late_ms=late,
            )
    return tally.findings(in_time=in_time, pending=pending, undone=excused)


def _is_undone(later: Sequence[Change], attested: Sequence[Attested], deadline: int) -> bool:
    """By its deadline what was asked for was what the platform had attested before."""
    said = [item for item in attested if item.time_ms <= deadline]
    if not said:
        return False
    facts = (said[-1].body.rules_sha256, said[-1].body.active_root)
    return any(change.facts == facts for change in later if change.time_ms <= deadline)


def check_attested(evidence: Evidence, ledger: LedgerReading) -> list[Finding]:
    """Did each attestation name what the auditor folds at that size, and one receipts log?"""
    tally = Tally("attestations")
    roots: dict[int, bytes] = {0: EMPTY_ROOT}
    for item in ledger.attested:
        body, entry = item.body, item.entry
        if body.size > evidence.size or ledger.roots[body.size] != body.root:
            tally.add(Result.VIOLATED, "attest.root", entry=entry, size=body.size)
        wanted = evidence.change_at(body.size)
        if wanted is not None:
            for code, said, folded in (
                ("attest.rules", body.rules_sha256, wanted.rules_sha256),
                ("attest.active_root", body.active_root, wanted.active_root),
            ):
                if said != folded:
                    _mismatch(tally, evidence, code, entry=entry, size=body.size)
        if roots.setdefault(body.receipts_size, body.receipts_root) != body.receipts_root:
            tally.add(
                Result.VIOLATED, "attest.receipts_split", entry=entry, size=body.receipts_size
            )
    for item in _shrunk(ledger.attested):
        tally.add(
            Result.VIOLATED,
            "attest.receipts_shrunk",
            entry=item.entry,
            size=item.body.receipts_size,
        )
    return tally.findings(attestations=len(ledger.attested))


def _shrunk(attested: Sequence[Attested]) -> Iterator[Attested]:
    """Attestations of a receipts log smaller than one that was on the ledger before they were made.
    Two in flight may overtake each other; hours apart they cannot."""
    sizes = list(accumulate((item.body.receipts_size for item in attested), max))
    times = [item.time_ms for item in attested]  # Block time: ascending.
    for item in attested:
        earlier = bisect_left(times, item.time_ms - BACKDATED_SLACK_MS)
        if earlier and sizes[earlier - 1] > item.body.receipts_size:
            yield item


def _mismatch(tally: Tally, evidence: Evidence, code: str, **facts: int | str) -> None:
    """A difference to the auditor's fold: one of the two is wrong, if the auditor saw all."""
    if evidence.is_complete:
        tally.add(Result.VIOLATED, code, **facts)
    else:
        tally.add(Result.UNPROVEN, "audit.keys_missing", **facts)


def check_log(ledger: LedgerReading, receipts: ReceiptsReading) -> list[Finding]:
    """Does the platform's log begin with every log it attested?"""
    tally = Tally("receipts-log")
    roots = roots_at(receipts.hashes, (item.body.receipts_size for item in ledger.attested))
    for item in ledger.attested:
        size = item.body.receipts_size
        if size > receipts.size:  # An older head is genuine too: somebody may have kept it.
            tally.add(Result.UNPROVEN, "receipts.short", entry=item.entry, size=size)
        elif roots[size] != item.body.receipts_root:
            tally.add(Result.VIOLATED, "receipts.rewritten", entry=item.entry, size=size)
    return tally.findings(receipts=receipts.size, anchors=len(ledger.attested))


def check_receipts(
    evidence: Evidence, ledger: LedgerReading, receipts: ReceiptsReading
) -> list[Finding]:
    """Did each receipt name a list and rules that were due, or newer, when it was made?"""
    tally = Tally("receipts")
    due = _due(evidence)
    anchored = _anchors(ledger.attested)
    for index, leaf in enumerate(receipts.leaves):
        try:
            meta = parse_receipt(leaf).meta
        except Malformed as err:
            tally.add(Result.VIOLATED, "receipt.malformed", receipt=index, why=err.code)
            continue
        floor_ms = anchored(index)
        if meta.bucket_ms + MINUTE_MS + BACKDATED_SLACK_MS < floor_ms:
            tally.add(Result.VIOLATED, "receipt.backdated", receipt=index, anchored_ms=floor_ms)
        _check_list(tally, evidence, due(meta.bucket_ms), index, meta)
    return tally.findings(receipts=receipts.size)


def _check_list(
    tally: Tally, evidence: Evidence, due: Change | None, index: int, meta: ReceiptMeta
) -> None:
    if meta.size > evidence.size:  # The platform is ahead of this auditor: follow, and ask again.
        tally.add(Result.UNPROVEN, "receipt.ahead", receipt=index, size=meta.size)
        return
    ran = (meta.rules_sha256, meta.active_root)
    wanted = evidence.change_at(meta.size)
    if wanted is not None and ran != wanted.facts:
        _mismatch(tally, evidence, "receipt.list", receipt=index, size=meta.size)
    elif due is not None and meta.size < due.size and not _is_current(evidence, due, meta):
        facts: Facts = {"receipt": index, "size": meta.size, "due_entry": due.size - 1}
        _mismatch(tally, evidence, "receipt.stale_list", **facts)


def _is_current(evidence: Evidence, due: Change, meta: ReceiptMeta) -> bool:
    """What an older list asked for is asked for again, since a change was undone."""
    ran = (meta.rules_sha256, meta.active_root)
    return any(
        change.facts == ran
        for change in evidence.changes
        if change.size >= due.size and change.time_ms <= meta.bucket_ms + MINUTE_MS
    )


def _due(evidence: Evidence) -> Callable[[int], Change | None]:
    """For a time: the newest change whose deadline had passed by then."""
    deadlines = [
        (deadline, change)
        for change in evidence.changes
        if (deadline := deadline_of(change)) is not None
    ]
    deadlines.sort(key=lambda pair: (pair[0], pair[1].size))
    times = [deadline for deadline, _ in deadlines]
    newest = list(accumulate((change for _, change in deadlines), _larger))

    def due(time_ms: int) -> Change | None:
        place = bisect_left(times, time_ms)
        return newest[place - 1] if place else None

    return due


def _larger(left: Change, right: Change) -> Change:
    return left if left.size >= right.size else right


def _anchors(attested: Iterable[Attested]) -> Callable[[int], int]:
    """For a receipt's index: the latest block time of an attestation that it is not in, after
    which it must have been made."""
    pairs = sorted((item.body.receipts_size, item.time_ms) for item in attested)
    sizes = [size for size, _ in pairs]
    times = list(accumulate((time_ms for _, time_ms in pairs), max))

    def floor_ms(index: int) -> int:
        place = bisect_right(sizes, index)
        return times[place - 1] if place else 0

    return floor_ms


def check_promises(
    evidence: Evidence, ledger: LedgerReading, receipts: ReceiptsReading | None
) -> list[Finding]:
    """Does every scan receipt that somebody presents stand where it was promised?"""
    tally = Tally("scan-receipts")
    anchored = _anchors(ledger.attested)
    for number, raw in enumerate(evidence.scan_receipts):
        try:
            promise = parse_scan_receipt(raw)
            keys = [k for k in evidence.keys if key_id_of(k.public) == promise.key_id]
            is_theirs = promise.chain in evidence.names and promise.platform == evidence.platform
            if not is_theirs or not keys:
                raise Unproven("promise.not_theirs")
            promise.verify(VerifyKey(keys[0].public))
        except (Malformed, Unproven) as err:
            tally.add(Result.UNPROVEN, "promise.unproven", presented=number, why=err.code)
            continue
        if anchored(promise.index) > promise.time_ms + BACKDATED_SLACK_MS:
            code = "promise.dropped"  # The platform itself said later that its log ends before.
        elif receipts is None or promise.index >= receipts.size:
            tally.add(Result.UNPROVEN, "promise.not_yet", presented=number, receipt=promise.index)
            continue
        elif receipts.hashes[promise.index] != promise.leaf:
            code = "promise.broken"
        else:
            continue
        if keys[0].revoked_ms is None:
            tally.add(Result.VIOLATED, code, presented=number, receipt=promise.index)
        else:  # Whoever stole it dates what it signs as it likes.
            tally.add(Result.UNPROVEN, "promise.key_revoked", presented=number, why=code)
    return tally.findings(presented=len(evidence.scan_receipts))
