"""Which rows enough agencies vouch for: what the clauses of all jurisdictions share, once.

Not here: which clause asks what (obligation), whose word counts (standing).
Invariants: an agency counts once for a row, however often and with however many keys it spoke;
what a void key said does not count; a value that says nothing about a picture is never live.
Source: docs/spec/registry.md, section Certification.
"""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Bytes, Flags, Masks, Rows
from accord.registry.listings import NOT_APPROVED, SCHEMES, Kind, Snapshot
from accord.registry.standing import Bench
from accord.statements.gates import PLACEHOLDERS
from accord.statements.rules import Certification, ClassCode
from accord.wire.ids import GroupId

_ONE: Final = np.uint64(1)
_BLOCK_ROWS: Final = 1 << 16  # Worked on at a time: what is made on the way stays in the cache.
Classes = tuple[ClassCode, ...]


class Counting:
    """Of one snapshot, under one bench. Each question is answered once; flags are not changed.

    Units: 10 ms a question among ten million rows, and 0.2 s for the first of a review level.
    """

    def __init__(self, snapshot: Snapshot, bench: Bench) -> None:
        self._snapshot = snapshot
        self._bench = bench
        self._live: dict[frozenset[GroupId], Flags] = {}
        self._spoken: dict[int, tuple[Bytes, Bytes]] = {}
        self._active: dict[object, Flags] = {}
        self._words = Words(snapshot, bench)

    def live(self, groups: Collection[GroupId]) -> Flags:
        """Released to one of the groups, approved, not withdrawn, and no placeholder."""
        key = frozenset(groups)
        if key not in self._live:
            self._live[key] = self._find_live(key)
        return self._live[key]

    def active(
        self,
        classes: Classes,
        asked: Certification,
        groups: Collection[GroupId],
        own_disputed: Rows,
    ) -> Flags:
        """The rows of these classes that are certified as asked. `own_disputed`: rows that their
        publisher disputes, ascending; they vouch for no equal one."""
        key = (classes, asked, frozenset(groups))
        if key not in self._active:
            self._active[key] = self._find_active(classes, asked, groups, own_disputed)
        return self._active[key]

    def _find_live(self, groups: frozenset[GroupId]) -> Flags:
        snapshot, void = self._snapshot, self._bench.void
        ours = sum(1 << bit for bit, group in enumerate(snapshot.groups) if group in groups)
        batches = snapshot.batches
        usable = (batches.groups & np.uint64(ours)) != 0
        usable &= batches.approved != NOT_APPROVED
        usable &= ~void.batches
        live: Flags = np.repeat(usable, batches.count)
        live &= ~snapshot.withdrawn
        live[void.reopened] = np.repeat(usable, batches.count)[void.reopened]
        for scheme, values in PLACEHOLDERS.items():
            for value in values:
                live[snapshot.values[scheme].equal_to(value)] = False
        return live

    def _find_active(
        self,
        classes: Classes,
        asked: Certification,
        groups: Collection[GroupId],
        own_disputed: Rows,
    ) -> Flags:
        snapshot, live = self._snapshot, self.live(groups)
        agencies, sovereigns = self._counts(asked.review_level)
        wanted = np.array([code in classes for code in snapshot.classes], dtype=np.bool_)
        flags = np.zeros(snapshot.count, dtype=np.bool_)
        if not wanted.any():
            return flags
        for start in range(0, snapshot.count, _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            enough = agencies[part] >= asked.agencies
            enough &= sovereigns[part] >= asked.sovereigns
            enough &= live[part]
            enough &= wanted[snapshot.class_of[part]]
            flags[part] = enough
        if asked.review_level == 0:
            self._add_equal(flags, live, wanted, asked, own_disputed)
        return flags

    def _counts(self, level: int) -> tuple[Bytes, Bytes]:
        """How many agencies vouch for each row at a review level, from how many sovereigns."""
        if level not in self._spoken:
            count = self._snapshot.count
            agencies, sovereigns = np.empty(count, np.uint8), np.empty(count, np.uint8)
            for start in range(0, count, _BLOCK_ROWS):
                part = slice(start, min(start + _BLOCK_ROWS, count))
                words = self._words.of(part, level)
                agencies[part] = np.bitwise_count(words)
                sovereigns[part] = self._bench.sovereigns_in(words)
            self._spoken[level] = (agencies, sovereigns)
        return self._spoken[level]

    def _add_equal(
        self,
        flags: Flags,
        live: Flags,
        wanted: Flags,
        asked: Certification,
        own_disputed: Rows,
    ) -> None:
        """Level 0: another agency that lists the very same value as one of these classes vouches
        too; not so where it has disputed its own listing."""
        snapshot = self._snapshot
        joined: dict[str, tuple[Rows, Masks]] = {}
        for scheme in SCHEMES:
            members, starts = snapshot.values[scheme].equal_groups
            if not len(members):
                continue
            own = _ONE << snapshot.publisher[members].astype(np.uint64)
            vouches = live[members] & wanted[snapshot.class_of[members]]
            if len(own_disputed):
                vouches &= ~np.isin(members, own_disputed)
            lengths = np.diff(starts, append=len(members))
            shared = np.bitwise_or.reduceat(np.where(vouches, own, np.uint64(0)), starts)
            joined[scheme] = members, np.repeat(shared, lengths)
        if not joined:
            return
        rows = np.unique(np.concatenate([members for members, _ in joined.values()]))
        words = self._words.of(rows, 0)
        for members, shared in joined.values():
            words[np.searchsorted(rows, members)] |= shared
        words &= np.uint64(self._bench.admitted)
        enough = np.bitwise_count(words) >= asked.agencies
        enough &= self._bench.sovereigns_in(words) >= asked.sovereigns
        flags[rows] = enough & live[rows] & wanted[snapshot.class_of[rows]]


class Words:
    """For rows, the agencies in good standing that vouch for them by publishing or endorsing."""

    def __init__(self, snapshot: Snapshot, bench: Bench) -> None:
        self._snapshot = snapshot
        self._admitted = np.uint64(bench.admitted)
        self._mended = _without_void(snapshot, bench)

    def of(self, rows: slice | Rows, level: int) -> Masks:
        snapshot = self._snapshot
        words: Masks = _ONE << snapshot.publisher[rows].astype(np.uint64)
        for at in range(level, len(snapshot.endorsed)):
            words |= snapshot.endorsed[at][rows]
        if self._mended is not None:
            self._mend(words, rows, level)
        words &= self._admitted
        return words

    def _mend(self, words: Masks, rows: slice | Rows, level: int) -> None:
        """Rows that a void key endorsed: what the other keys said alone."""
        if self._mended is None:
            return
        touched, by_level = self._mended
        asked = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        places = np.minimum(np.searchsorted(touched, asked), len(touched) - 1)
        there = touched[places] == asked
        own = _ONE << self._snapshot.publisher[asked[there]].astype(np.uint64)
        for at in range(level, len(by_level)):
            own |= by_level[at][places[there]]
        words[there] = own


def _without_void(
    snapshot: Snapshot, bench: Bench
) -> tuple[NDArray[np.intp], Mapping[int, Masks]] | None:
    """The rows that a void key endorsed, with the endorsements of all other keys, by level."""
    opinions, void = snapshot.opinions, bench.void.opinions
    gone = np.flatnonzero(void & (opinions.kind == Kind.ENDORSE))
    if not len(gone):
        return None
    ranges = [np.arange(opinions.first[at], opinions.first[at] + opinions.count[at]) for at in gone]
    touched = np.unique(np.concatenate(ranges))
    by_level = {level: np.zeros(len(touched), np.uint64) for level in range(len(snapshot.endorsed))}
    for at in np.flatnonzero(~void & (opinions.kind == Kind.ENDORSE)):
        first = int(opinions.first[at])
        low, high = np.searchsorted(touched, [first, first + int(opinions.count[at])])
        by_level[int(opinions.detail[at])][low:high] |= _ONE << np.uint64(opinions.agency[at])
    return touched, by_level
