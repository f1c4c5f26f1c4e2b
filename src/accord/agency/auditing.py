"""Gathering evidence for an audit: the auditor's own fold, and what the platform shows.

Nothing a platform's server says is believed here: its bytes go into the evidence as they came,
and the verdict reads them.
Not here: judging (accord.audit).
Source: docs/spec/audit.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import httpx

from accord.audit.checks import check_log, deadline_of
from accord.audit.evidence import Change, Evidence, Interval, ScannerKey, Withdrawal
from accord.audit.lookups import LookupDay, count_lookups
from accord.audit.readings import read_ledger, read_receipts
from accord.client.http import check_url
from accord.follow.delta import FoldedEntry
from accord.ledger import past
from accord.ledger.apply import apply
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import is_holder
from accord.ledger.genesis import Founding, found
from accord.ledger.membership import consortium
from accord.ledger.state import (
    AGENCIES_TABLE,
    COMPROMISES,
    KEYS,
    ONLY,
    PARAMETERS,
    PLATFORMS,
    RULES,
    PlatformRow,
    Reader,
    Standing,
    State,
)
from accord.registry import Coverage, PlatformObligations, Registry, platform_obligations
from accord.registry.removal import removals
from accord.replica.replica import Replica
from accord.replica.source import Progress, no_progress
from accord.statements.bodies import Approve, Body, Dispute, Endorse, Publish, Role, Withdraw
from accord.statements.entries import parse_entry
from accord.tlog import bundles_for, parse_bundle, parse_checkpoint, parse_note
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import AUDIT_LEAVES_MAX, CHECKPOINT_BYTES_MAX, LOG_ENTRY_BYTES_MAX

MOVING: Final = (Approve, Endorse, Dispute, Withdraw)  # What members say that may change a list.
BUNDLE_BYTES_MAX: Final = 256 * (2 + LOG_ENTRY_BYTES_MAX)
_ANSWER_S: Final = 30.0


class PlatformLog(Protocol):
    """A platform's receipts as a tiled log. Raises: Unavailable."""

    def fetch_checkpoint(self) -> bytes: ...

    def fetch_tile(self, path: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What a platform's log showed: claims. `note` is None where it did not answer, and `trouble`
    says why, to the person who asked: it is no evidence."""

    note: bytes | None
    leaves: tuple[bytes, ...]
    trouble: Unavailable | None = None


NOTHING_SHOWN: Final = Shown(None, ())


class HttpPlatformLog:
    """The log of a gateway, at `<url>/log`. Raises: Malformed, for no base URL."""

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._base = check_url(url) + "/log"
        self._http = httpx.Client(
            headers=headers, timeout=_ANSWER_S, transport=transport, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def fetch_checkpoint(self) -> bytes:
        return self._fetch("checkpoint", CHECKPOINT_BYTES_MAX)

    def fetch_tile(self, path: str) -> bytes:
        return self._fetch(path, BUNDLE_BYTES_MAX)

    def _fetch(self, path: str, limit: int) -> bytes:
        received = bytearray()
        try:
            with self._http.stream("GET", f"{self._base}/{path}") as answer:
                if answer.status_code != 200:
                    raise Unavailable("audit.platform_log", status=answer.status_code, path=path)
                for chunk in answer.iter_bytes():
                    received += chunk
                    if len(received) > limit:
                        raise Unavailable("audit.platform_log", path=path, limit=limit)
        except httpx.HTTPError as err:
            raise Unavailable("audit.platform_log", url=self._base, why=type(err).__name__) from err
        return bytes(received)


def fetch_shown(log: PlatformLog, progress: Progress = no_progress) -> Shown:
    """All of a platform's log; what does not read is handed on for the verdict to refuse."""
    leaves: list[bytes] = []
    note: bytes | None = None
    try:
        note = log.fetch_checkpoint()
        size = parse_checkpoint(parse_note(note).text).size
        if size > AUDIT_LEAVES_MAX:
            raise Unavailable("audit.too_long", size=size, limit=AUDIT_LEAVES_MAX)
        for tile in bundles_for(size):
            progress("receipts", len(leaves), size)
            leaves += parse_bundle(log.fetch_tile(tile.path), tile.width)
    except Malformed:
        return Shown(note, tuple(leaves))
    except Unavailable as err:
        return replace(NOTHING_SHOWN, trouble=err)
    return Shown(note, tuple(leaves))


def gather(
    replica: Replica,
    founding: Founding,
    platform: MemberId,
    shown: Shown,
    scan_receipts: Sequence[bytes],
    now_ms: TimeMs,
    progress: Progress = no_progress,
) -> Evidence:
    """The evidence on a platform, out of a replica of an agency that followed the ledger.

    Raises: Malformed, for a platform the ledger does not know; Unavailable, before the first
    checkpoint.
    """
    checkpoint = replica.checkpoint
    if checkpoint is None:
        raise Unavailable("audit.no_ledger", mend="accord follow --once")
    if replica.state.get(PLATFORMS, platform.encode()) is None:
        raise Malformed("audit.no_such_platform", platform=platform)
    leaves = replica.leaves(0, replica.size)
    line = founding.line()
    folding = _Folding(platform, found(line[0].genesis), line[1:])
    moves: list[FoldedEntry] = []
    for entry, leaf in zip(replica.folded(), leaves, strict=True):
        if entry.index % 256 == 0:
            progress("fold", entry.index, len(leaves))
        folding.go_on(entry.index)
        statement = parse_entry(leaf).statement
        accepted = apply(folding.state, founding.chain_at(entry.index), statement, entry.time_ms)
        if isinstance(accepted, RejectCode):
            raise Broken("audit.rejected", entry=entry.index)  # The replica had accepted it.
        folding.state.commit(accepted.writes)
        folding.registry.fold(entry)
        folding.note(entry.index + 1, entry.time_ms, entry.body)
        if isinstance(entry.body, Publish | Withdraw):
            moves.append(replace(entry, batch=None))  # Listings are not needed, and large.
    folding.go_on(len(leaves))
    parameters = folding.state.get(PARAMETERS, ONLY)
    return Evidence(
        chain=replica.chain,
        platform=platform,
        size=checkpoint.size,
        root=checkpoint.root,
        leaves=leaves,
        keys=_scanner_keys(folding.state, platform),
        changes=folding.finished(),
        fold_version=0 if parameters is None else parameters.fold_version,
        is_complete=folding.is_complete,
        receipts_note=shown.note,
        receipts_leaves=shown.leaves,
        scan_receipts=scan_receipts,
        now_ms=now_ms,
        chains=tuple((item.begins_at, item.genesis.chain) for item in line),
        intervals=tuple(folding.intervals),
        withdrawals=tuple(
            Withdrawal(item.entry, item.time_ms)
            for item in removals(moves, folding.state)
            if any(it.platform == platform and not it.is_excused for it in item.platforms)
        ),
    )


def lookups_shown(evidence: Evidence) -> tuple[LookupDay, ...]:
    """What a platform's receipts say of its clients, by day.

    Raises: Unproven, for a log that its key did not sign, or that is not what it attested.
    """
    if evidence.receipts_note is None:
        raise Unproven("audit.no_receipts_log")
    ledger = read_ledger(evidence)
    receipts = read_receipts(evidence, evidence.receipts_note)
    for finding in check_log(ledger, receipts):
        if finding.code is not None:
            raise Unproven(finding.code, **finding.facts)
    return count_lookups(receipts.leaves)


class _Folding:
    """Both folds side by side, and every size at which the platform's obligations changed."""

    def __init__(self, platform: MemberId, state: State, later: Sequence[Founding] = ()) -> None:
        """`later` are the geneses by which the log went on."""
        self.state = state
        self._later = list(later)
        self.registry = Registry()
        self.is_complete = True
        self.intervals: list[Interval] = []  # How often the platform had to attest, since when.
        self._platform = platform
        self._changes: list[Change] = []
        self._silenced: list[TimeMs] = []  # When the platform was suspended or removed.
        self._bearing: object = None
        self._folded: PlatformObligations | None = None

    def go_on(self, size: int) -> None:
        """Before the entry of this index: the genesis by which the log went on from here."""
        while self._later and self._later[0].begins_at == size:
            past.go_on(self.state, self._later.pop(0).genesis)
            self.note(size, consortium(self.state).time_ms, None)

    def note(self, size: int, time_ms: TimeMs, body: Body | None) -> None:
        """After an entry was folded: note what the platform must run from here on, if it moved."""
        row = self.state.get(PLATFORMS, self._platform.encode())
        if row is None:
            return
        bearing = _bearing(self.state, self._platform, time_ms)
        if bearing == self._bearing and not isinstance(body, MOVING):
            return
        self._bearing = bearing
        try:
            folded = platform_obligations(
                self.registry.snapshot(), self.state, self._platform, before=self._folded
            )
        except Unavailable:  # A fold we do not have: from here on nothing can be compared.
            self.is_complete = False
            return
        self._folded = folded
        holes = folded.snapshot.unopened or folded.snapshot.unchecked
        self.is_complete = self.is_complete and not holes
        admitted = row.standing is Standing.ADMITTED
        can_answer = admitted and _is_holder(self.state, self._platform, row)
        if not admitted:
            self._silenced.append(time_ms)
        self._note_interval(time_ms, folded, admitted, can_answer)
        change = Change(
            size=size,
            time_ms=time_ms,
            rules_sha256=folded.rules_sha256,
            active_root=folded.active_root,
            sync_within_ms=_sync_within_ms(folded) if can_answer else None,
        )
        last = self._changes[-1] if self._changes else None
        if last is None or last.facts != change.facts or _is_bound(last) != _is_bound(change):
            self._changes.append(change)

    def _note_interval(
        self, time_ms: TimeMs, folded: PlatformObligations, admitted: bool, can_answer: bool
    ) -> None:
        """How often it must attest. Who was told a list once can always say that it runs it, or a
        platform could fall silent by changing its key."""
        was = self.intervals[-1].within_ms if self.intervals else None
        is_bound = admitted and (can_answer or was is not None)
        within_ms = folded.attest_within_ms if is_bound else None
        if not self.intervals or was != within_ms:
            self.intervals.append(Interval(time_ms, within_ms))

    def finished(self) -> tuple[Change, ...]:
        """The changes; a platform that was silenced before a deadline is not held to it."""
        return tuple(
            replace(change, sync_within_ms=None) if self._is_silenced(change) else change
            for change in self._changes
        )

    def _is_silenced(self, change: Change) -> bool:
        deadline = deadline_of(change)
        return deadline is not None and any(
            change.time_ms <= at <= deadline for at in self._silenced
        )


def _is_bound(change: Change) -> bool:
    return change.sync_within_ms is not None


def _bearing(state: Reader, platform: MemberId, now_ms: TimeMs) -> object:
    """What the ledger's state contributes to an obligation; equal bearings, equal contribution."""
    rules = tuple(state.rows(RULES))
    valid = tuple(
        now_ms >= row.rule_set.valid_from_ms
        and (row.rule_set.valid_to_ms is None or now_ms < row.rule_set.valid_to_ms)
        for _, row in rules
    )
    members = tuple(state.rows(AGENCIES_TABLE))
    own = state.get(PLATFORMS, platform.encode())
    holds = own is not None and _is_holder(state, platform, own)
    void = tuple(state.rows(COMPROMISES))
    return (rules, valid, members, own, holds, void, state.get(PARAMETERS, ONLY))


def _is_holder(state: Reader, platform: MemberId, row: PlatformRow) -> bool:
    """Who was not told a group's key yet cannot know its list. That keeps no earlier deadline from
    running, or a platform could stop them all by changing its key."""
    return all(is_holder(state, group, platform) for group in row.groups)


def _sync_within_ms(folded: PlatformObligations) -> int | None:
    """The strictest of the rule sets in force."""
    minutes = [
        share.rule.rule_set.sync_within_minutes
        for share in folded.by_jurisdiction.values()
        if share.rule is not None and share.coverage in (Coverage.ACTIVE, Coverage.PROHIBITED)
    ]
    return min(minutes) * 60_000 if minutes else None


def _scanner_keys(state: Reader, platform: MemberId) -> tuple[ScannerKey, ...]:
    return tuple(
        ScannerKey(row.public, row.since_ms, row.revoked_ms)
        for _, row in state.rows(KEYS)
        if row.member == platform and row.role is Role.SCANNER
    )
