"""How long a withdrawn listing stays on platforms' lists: from its block time to each platform's
first attestation of a list without it, and to the last platform's.

A function of the entries alone and of how the members stand: anybody who follows the log computes
it, without a key.
Not here: whether that was late (audit, by the rules).
Source: docs/spec/registry.md, section Removal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from accord.follow.delta import FoldedEntry
from accord.ledger.state import COMPROMISES, KEYS, PLATFORMS, PlatformRow, Reader, Standing
from accord.statements.bodies import Attest, DisputeReason, Publish, Withdraw
from accord.wire.ids import GroupId, MemberId, TimeMs


@dataclass(frozen=True, slots=True, order=True)
class Acknowledged:
    """A platform that had been given the listings, and where it first attested a list without
    them; None as long as it has not. `is_excused`: it was suspended or removed before."""

    platform: MemberId
    entry: int | None
    time_ms: TimeMs | None
    is_excused: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """A withdrawal, and who has followed it. `platforms` in the order of their ids."""

    entry: int
    time_ms: TimeMs
    agency: MemberId
    reason: DisputeReason
    listings: int
    platforms: tuple[Acknowledged, ...]

    @property
    def is_open(self) -> bool:
        """Whether a platform still owes its word."""
        return any(item.time_ms is None and not item.is_excused for item in self.platforms)

    @property
    def done_ms(self) -> TimeMs | None:
        """When the last platform had followed; None while it is open, or if nobody had to."""
        times = [item.time_ms for item in self.platforms if item.time_ms is not None]
        return None if self.is_open or not times else max(times)

    def took_ms(self, now_ms: TimeMs) -> int:
        """How long it took to the last platform; of an open one, its age."""
        if self.is_open:
            return max(0, now_ms - self.time_ms)
        return 0 if self.done_ms is None else self.done_ms - self.time_ms


def removals(entries: Iterable[FoldedEntry], state: Reader) -> tuple[Removal, ...]:
    """Every withdrawal in log order, by the members as they stand in `state`.

    A platform is one that owes its word if it was admitted before the withdrawal and is in a group
    that one of the batches was released to. A withdrawal or an attestation by a key that was
    declared compromised as of then is none.
    """
    platforms = _members(state)
    groups: dict[int, tuple[GroupId, ...]] = {}
    found: list[Removal] = []
    owed: dict[MemberId, list[tuple[int, int]]] = {}  # (place in `found`, place among platforms).
    for entry in entries:
        match entry.body:
            case Publish() as body:
                groups[entry.index] = body.groups
            case Withdraw() as body if not _is_void(entry, state):
                told = {group for ref in body.refs for group in groups.get(ref.entry, ())}
                waiting = _who(platforms, told, entry.time_ms)
                for place, item in enumerate(waiting):
                    owed.setdefault(item.platform, []).append((len(found), place))
                found.append(_removal(entry, body, waiting))
            case Attest() as body if not _is_void(entry, state):
                _acknowledge(found, owed.get(body.header.member, []), entry, body.size)
            case _:
                pass
    return tuple(found)


def _acknowledge(
    found: list[Removal], waiting: list[tuple[int, int]], entry: FoldedEntry, size: int
) -> None:
    """A platform attested a list of so many entries: every withdrawal among them is followed."""
    covered = 0
    for at, place in waiting:
        if found[at].entry >= size:
            break
        covered += 1
        platforms = list(found[at].platforms)
        platforms[place] = replace(
            platforms[place], entry=entry.index, time_ms=entry.time_ms, is_excused=False
        )
        found[at] = replace(found[at], platforms=tuple(platforms))
    del waiting[:covered]


@dataclass(frozen=True, slots=True)
class _Member:
    """`joined_ms`: since when the ledger knows a key of it, which admission brings."""

    row: PlatformRow
    joined_ms: TimeMs

    @property
    def is_in(self) -> bool:
        return self.row.standing is Standing.ADMITTED

    def was_in(self, time_ms: TimeMs) -> bool:
        """Whether it stood then as it does now, or has ended since. One that came back since is
        left out: it begins with a list of that day."""
        if self.is_in:
            return self.row.since_ms <= time_ms
        return self.joined_ms <= time_ms < self.row.since_ms


def _members(state: Reader) -> dict[MemberId, _Member]:
    joined: dict[MemberId, TimeMs] = {}
    for _, key in state.rows(KEYS):
        joined[key.member] = min(key.since_ms, joined.get(key.member, key.since_ms))
    rows = ((MemberId(key.decode()), row) for key, row in state.rows(PLATFORMS))
    return {name: _Member(row, joined.get(name, row.since_ms)) for name, row in rows}


def _who(
    platforms: dict[MemberId, _Member], told: set[GroupId], time_ms: TimeMs
) -> tuple[Acknowledged, ...]:
    """Whom a withdrawal concerns."""
    return tuple(
        Acknowledged(name, None, None, is_excused=not member.is_in)
        for name, member in sorted(platforms.items())
        if member.was_in(time_ms) and told.intersection(member.row.groups)
    )


def _removal(entry: FoldedEntry, body: Withdraw, waiting: tuple[Acknowledged, ...]) -> Removal:
    return Removal(
        entry=entry.index,
        time_ms=entry.time_ms,
        agency=body.header.member,
        reason=body.reason,
        listings=sum(ref.count for ref in body.refs),
        platforms=waiting,
    )


def _is_void(entry: FoldedEntry, state: Reader) -> bool:
    row = state.get(COMPROMISES, entry.key_id)
    return row is not None and entry.time_ms >= row.since_ms
