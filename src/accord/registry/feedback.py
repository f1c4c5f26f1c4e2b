"""What platforms say of listings, for agencies: which words count, and how many of what.

A fold of its own, beside the registry's: no obligation reads it, so a platform's word never moves
what anybody screens.
Invariants: a platform's word about one listing, algorithm, distance and reason counts once, ever,
however often it says it: neither patience nor a flood outweighs another platform; a word about a
listing that is not there, or that the platform was never given, counts nowhere and is named with
its platform; what did not open is named and stops nothing.
Source: docs/spec/registry.md, section Feedback.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from accord.follow.delta import FoldedEntry
from accord.ledger.state import COMPROMISES, PLATFORMS, Reader
from accord.registry.columns import Bytes, Flags, Growing, Rows
from accord.registry.listings import Snapshot
from accord.statements.bodies import Feedback
from accord.statements.feedback import REASONS, Reason
from accord.wire.errors import Broken
from accord.wire.ids import GroupId, KeyId, ListingRef, MemberId

Ints = NDArray[np.int64]
N = TypeVar("N", bound=str | bytes)
_NEVER: Final = 2**62


class Stray(StrEnum):
    """Why a word counts nowhere."""

    UNKNOWN = "unknown"  # No such listing, as far as we can open, before it was said.
    NOT_RELEASED = "not-released"  # The platform is in no group that the batch reached.
    VOID = "void"  # Said with a key that was declared compromised as of then.


@dataclass(frozen=True, slots=True, order=True)
class Uncounted:
    """Words, or statements, of a platform that count nowhere: `why` is a `Stray`, or the code of
    what did not open."""

    platform: MemberId
    why: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Words in log order, one row each, before anybody asks which of them count."""

    platforms: tuple[MemberId, ...]
    keys: tuple[KeyId, ...]
    algorithms: tuple[str, ...]
    said_in: Ints  # The feedback entry.
    time_ms: Ints
    platform: Ints  # Place in `platforms`.
    key: Ints
    entry: Ints  # Of the listing's batch.
    ordinal: Ints
    algorithm: Ints
    is_near: Bytes
    reason: Bytes  # Place in `REASONS`.
    unopened: tuple[Uncounted, ...]  # Statements.


class FeedbackFold:
    """The writing side: fold entries in log order, as `listings.Registry`. One writer."""

    def __init__(self) -> None:
        self.size = 0
        self._platforms: dict[MemberId, int] = {}
        self._keys: dict[KeyId, int] = {}
        self._algorithms: dict[str, int] = {}
        self._ints = {
            name: Growing(np.int64)
            for name in ("said_in", "time_ms", "platform", "key", "entry", "ordinal", "algorithm")
        }
        self._is_near = Growing(np.uint8)
        self._reason = Growing(np.uint8)
        self._unopened: Counter[tuple[MemberId, str]] = Counter()

    def fold_all(self, entries: Iterable[FoldedEntry]) -> None:
        for entry in entries:
            self.fold(entry)

    def fold(self, entry: FoldedEntry) -> None:
        """Take in the next entry. Raises: Broken, for one that lies behind."""
        if entry.index < self.size:
            raise Broken("registry.order", index=entry.index, size=self.size)
        self.size = entry.index + 1
        body = entry.body
        if not isinstance(body, Feedback):
            return
        member = body.header.member
        if not entry.words:
            self._unopened[member, entry.unopened or "not_released"] += 1
            return
        words, count = entry.words, len(entry.words)
        for name, value in (
            ("said_in", entry.index),
            ("time_ms", entry.time_ms),
            ("platform", _place(self._platforms, member)),
            ("key", _place(self._keys, entry.key_id)),
        ):
            self._ints[name].extend(np.full(count, value, dtype=np.int64))
        for name, values in (
            ("entry", [word.ref.entry for word in words]),
            ("ordinal", [word.ref.ordinal for word in words]),
            ("algorithm", [_place(self._algorithms, word.algorithm) for word in words]),
        ):
            self._ints[name].extend(np.array(values, dtype=np.int64))
        self._is_near.extend(np.array([word.is_near for word in words], dtype=np.uint8))
        self._reason.extend(
            np.array([REASONS.index(word.reason) for word in words], dtype=np.uint8)
        )

    def said(self) -> Said:
        """What was folded so far; later folding does not change it."""
        return Said(
            platforms=tuple(self._platforms),
            keys=tuple(self._keys),
            algorithms=tuple(self._algorithms),
            is_near=self._is_near.view(),
            reason=self._reason.view(),
            unopened=tuple(
                Uncounted(who, why, count) for (who, why), count in sorted(self._unopened.items())
            ),
            **{name: column.view() for name, column in self._ints.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """The words that count, each once: by row, platform, algorithm, distance and reason.

    Shape: aligned columns. `snapshot` is the registry they are about.
    """

    snapshot: Snapshot
    platforms: tuple[MemberId, ...]
    algorithms: tuple[str, ...]
    row: Rows
    platform: Ints
    algorithm: Ints
    is_near: Bytes
    reason: Bytes
    first_ms: Ints  # Block time of the first time it was said.
    uncounted: tuple[Uncounted, ...]  # Words.
    unopened: tuple[Uncounted, ...]  # Statements.


def weigh(said: Said, snapshot: Snapshot, state: Reader) -> Weighed:
    """Which words count, by the members as they stand in `state`."""
    row, is_known = _rows_of(said, snapshot)
    void = said.time_ms >= _compromised(said, state)[said.key]
    released = np.zeros(len(row), dtype=np.bool_)
    released[is_known] = _is_released(said, snapshot, state, row, is_known)
    counts = is_known & released & ~void
    strays: Counter[tuple[int, Stray]] = Counter()
    for why, flags in (
        (Stray.VOID, void),
        (Stray.UNKNOWN, ~is_known & ~void),
        (Stray.NOT_RELEASED, is_known & ~released & ~void),
    ):
        for place, count in zip(*np.unique(said.platform[flags], return_counts=True), strict=True):
            strays[int(place), why] = int(count)
    keys = np.stack(
        [row, said.platform, said.algorithm, said.is_near, said.reason], axis=1, dtype=np.int64
    )[counts]
    once, first = np.unique(keys, axis=0, return_index=True)
    return Weighed(
        snapshot=snapshot,
        platforms=said.platforms,
        algorithms=said.algorithms,
        row=once[:, 0].astype(np.uint32),
        platform=once[:, 1],
        algorithm=once[:, 2],
        is_near=once[:, 3].astype(np.uint8),
        reason=once[:, 4].astype(np.uint8),
        first_ms=said.time_ms[counts][first],
        uncounted=tuple(
            sorted(
                Uncounted(said.platforms[place], why.value, count)
                for (place, why), count in strays.items()
            )
        ),
        unopened=said.unopened,
    )


def _rows_of(said: Said, snapshot: Snapshot) -> tuple[Ints, Flags]:
    """The registry's row of each word, and whether there was such a listing when it was said."""
    batches = snapshot.batches
    if not len(batches.entry):
        return np.zeros(len(said.entry), dtype=np.int64), np.zeros(len(said.entry), dtype=np.bool_)
    place = np.searchsorted(batches.entry, said.entry).clip(max=len(batches.entry) - 1)
    is_known = (batches.entry[place] == said.entry) & (said.ordinal < batches.count[place])
    is_known &= said.entry < said.said_in
    return batches.start[place] + said.ordinal, is_known


def _compromised(said: Said, state: Reader) -> Ints:
    """Since when each key's words are void."""
    rows = [state.get(COMPROMISES, key) for key in said.keys]
    return np.array([_NEVER if row is None else row.since_ms for row in rows], dtype=np.int64)


def _is_released(
    said: Said, snapshot: Snapshot, state: Reader, row: Ints, is_known: Flags
) -> Flags:
    """Of the words about listings that are there: whether the platform was given them."""
    masks = np.zeros(len(said.platforms), dtype=np.uint64)
    for place, member in enumerate(said.platforms):
        known = state.get(PLATFORMS, member.encode())
        groups: tuple[GroupId, ...] = () if known is None else known.groups
        for bit, group in enumerate(snapshot.groups):
            masks[place] |= np.uint64((group in groups) << bit)
    batch = snapshot.batch_of(row[is_known].astype(np.uint32))
    reached: Flags = (snapshot.batches.groups[batch] & masks[said.platform[is_known]]) != 0
    return reached


class By(StrEnum):
    """What feedback is counted by."""

    LISTING = "listing"
    AGENCY = "agency"  # That published it.
    ALGORITHM = "algorithm"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Only:
    """Which words to count; None: any."""

    listing: ListingRef | None = None
    agency: MemberId | None = None
    algorithm: str | None = None
    platform: MemberId | None = None


@dataclass(frozen=True, slots=True)
class FeedbackCount:
    """How many words, one for each platform, listing, algorithm and distance, by reason.

    What it was not counted by is None. `counts` is aligned with `REASONS`.
    """

    listing: ListingRef | None
    agency: MemberId | None
    algorithm: str | None
    platform: MemberId | None
    counts: tuple[int, ...]
    platforms: int  # How many distinct platforms said any of it.
    first_ms: int

    def of(self, *reasons: Reason) -> int:
        return sum(self.counts[REASONS.index(reason)] for reason in reasons)

    @property
    def affirmative(self) -> int:
        return self.of(*(reason for reason in REASONS if reason.is_affirmative))

    @property
    def negative(self) -> int:
        return sum(self.counts) - self.affirmative

    @property
    def false_positives(self) -> int:
        """Those that a person looked at and that a list is not for."""
        return self.of(*(reason for reason in REASONS if reason.is_false_positive))


def count_feedback(
    weighed: Weighed, by: Iterable[By] = (), only: Only | None = None
) -> tuple[FeedbackCount, ...]:
    """What counts, in groups; most false positives first, then in the order of their names."""
    only = only or Only()
    snapshot, wanted = weighed.snapshot, _wanted(weighed, only)
    columns = {
        By.LISTING: weighed.row.astype(np.int64),
        By.AGENCY: snapshot.publisher[weighed.row].astype(np.int64),
        By.ALGORITHM: weighed.algorithm,
        By.PLATFORM: weighed.platform,
    }
    named = [item for item in By if item in set(by)]
    keys = np.stack([np.zeros(len(weighed.row), np.int64), *(columns[b] for b in named)], axis=1)
    groups, of = np.unique(keys[wanted], axis=0, return_inverse=True)
    of = of.reshape(-1)
    counts = np.zeros((len(groups), len(REASONS)), dtype=np.int64)
    np.add.at(counts, (of, weighed.reason[wanted]), 1)
    first = np.full(len(groups), _NEVER, dtype=np.int64)
    np.minimum.at(first, of, weighed.first_ms[wanted])
    speakers = np.unique(np.stack([of, weighed.platform[wanted]], axis=1), axis=0)[:, 0]
    platforms = np.bincount(speakers, minlength=len(groups))
    found = [
        _count(weighed, dict(zip(named, group[1:], strict=True)), counts[at], platforms[at], at_ms)
        for at, (group, at_ms) in enumerate(zip(groups.tolist(), first.tolist(), strict=True))
    ]
    return tuple(sorted(found, key=_rank))


def _rank(item: FeedbackCount) -> tuple[object, ...]:
    ref = item.listing or ListingRef(0, 0)
    names = (item.agency or "", item.algorithm or "", item.platform or "")
    return (-item.false_positives, -item.negative, ref, *names)


def _count(
    weighed: Weighed, group: dict[By, int], counts: Ints, platforms: int, first_ms: int
) -> FeedbackCount:
    snapshot = weighed.snapshot
    row = group.get(By.LISTING)
    publisher = group.get(By.AGENCY)
    if row is not None:
        publisher = int(snapshot.publisher[row])
    algorithm, platform = group.get(By.ALGORITHM), group.get(By.PLATFORM)
    return FeedbackCount(
        listing=None if row is None else snapshot.ref_of(row),
        agency=None if publisher is None else snapshot.agencies[publisher],
        algorithm=None if algorithm is None else weighed.algorithms[algorithm],
        platform=None if platform is None else weighed.platforms[platform],
        counts=tuple(int(count) for count in counts),
        platforms=int(platforms),
        first_ms=first_ms,
    )


def _wanted(weighed: Weighed, only: Only) -> Flags:
    snapshot, wanted = weighed.snapshot, np.ones(len(weighed.row), dtype=np.bool_)
    if only.listing is not None:
        row = snapshot.row_of(only.listing)
        wanted &= weighed.row == row if row is not None else False
    for name, names, column in (
        (only.agency, snapshot.agencies, snapshot.publisher[weighed.row]),
        (only.algorithm, weighed.algorithms, weighed.algorithm),
        (only.platform, weighed.platforms, weighed.platform),
    ):
        if name is not None:
            wanted &= column == names.index(name) if name in names else False
    return wanted


def _place(names: dict[N, int], name: N) -> int:
    return names.setdefault(name, len(names))
