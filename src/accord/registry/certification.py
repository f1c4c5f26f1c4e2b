"""Which rows enough agencies vouch for: what the clauses of all jurisdictions share, once.

Not here: which clause asks what (obligation), whose word counts (standing).
Invariants: an agency counts once for a row, however often and with however many keys it spoke;
what a void key said does not count; a value that says nothing about a picture is never live.
Source: docs/spec/registry.md, section Certification.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Bytes, Flags, Masks, Rows
from accord.registry.listings import NOT_APPROVED, SCHEMES, Kind, Snapshot
from accord.registry.standing import Bench
from accord.statements.gates import PLACEHOLDERS
from accord.statements.rules import Certification, ClassCode
from accord.wire.ids import GroupId
from accord.wire.limits import AGENCIES_MAX

_ONE: Final = np.uint64(1)
_BLOCK_ROWS: Final = 1 << 16  # Worked on at a time: what is made on the way stays in the cache.
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)
_PAIRS: Final = AGENCIES_MAX + 1
Classes = tuple[ClassCode, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """What each row is to any clause of a review level. Shape: `codes` one a row, 0 where it is not
    live, else 1 + class x pairs + pair; `agencies` and `sovereigns` of each pair that occurs."""

    codes: NDArray[np.uint16] | NDArray[np.uint32]
    agencies: NDArray[np.intp]
    sovereigns: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Active:
    """The rows that are active for one question. Shape: `table` a flag for each code; `equal` the
    rows, ascending, that equal listings of other agencies bring in besides."""

    grades: Grades
    table: Flags
    equal: Rows

    def at(self, rows: Rows) -> Flags:
        flags: Flags = self.table[self.grades.codes[rows]]
        if len(self.equal) and len(rows):
            places = np.minimum(np.searchsorted(self.equal, rows), len(self.equal) - 1)
            flags |= self.equal[places] == rows
        return flags

    def holds(self, row: int) -> bool:
        """`at`, of one row."""
        return bool(self.table[self.grades.codes[row]]) or is_in(self.equal, row)

    @cached_property
    def whole(self) -> Flags:
        """Of every row. Cost: an array as long as the list, kept."""
        return flags_of([self])


def is_in(rows: Rows, row: int) -> bool:
    """Whether `row` is among `rows`, which ascend."""
    if not len(rows):
        return False
    place = int(rows.searchsorted(np.uint32(row)))
    return place < len(rows) and int(rows[place]) == row


def flags_of(answers: Iterable[Active]) -> Flags:
    """The rows active in any of them: one pass for each review level and set of groups."""
    tables: dict[int, tuple[Grades, Flags]] = {}
    distinct = list({id(answer): answer for answer in answers}.values())
    for answer in distinct:
        _, before = tables.get(id(answer.grades), (None, answer.table))
        tables[id(answer.grades)] = answer.grades, before | answer.table
    flags = np.zeros(0, dtype=np.bool_)
    for grades, table in tables.values():
        count = len(grades.codes)
        flags = flags if len(flags) else np.zeros(count, dtype=np.bool_)
        for start in range(0, count, _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            flags[part] |= table[grades.codes[part]]
    for answer in distinct:
        flags[answer.equal] = True
    return flags


_Tie = tuple[Rows, NDArray[np.intp], NDArray[np.intp]]


class Counting:
    """Of one snapshot, under one bench. Each question is answered once; flags are not changed.

    Units: about 10 ms a question among ten million rows, and 0.2 s for the first of a review level.
    """

    def __init__(self, snapshot: Snapshot, bench: Bench) -> None:
        self._snapshot = snapshot
        self._bench = bench
        self._live: dict[frozenset[GroupId], Flags] = {}
        self._spoken: dict[int, tuple[Bytes, Bytes]] = {}
        self._graded: dict[object, Grades] = {}
        self._active: dict[object, Active] = {}
        self._words = Words(snapshot, bench)

    @property
    def tied(self) -> Rows:
        """The rows that share a value with another, ascending; none if nobody asked so far."""
        return self._ties[0] if "_ties" in self.__dict__ else _NO_ROWS

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
    ) -> Active:
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
    ) -> Active:
        snapshot, live = self._snapshot, self.live(groups)
        wanted = np.array([code in classes for code in snapshot.classes], dtype=np.bool_)
        graded = self._grades(asked.review_level, groups)
        enough = graded.agencies >= asked.agencies
        enough &= graded.sovereigns >= asked.sovereigns
        table = np.append(False, np.logical_and.outer(wanted, enough).ravel())
        equal = _NO_ROWS
        if asked.review_level == 0:
            equal = self._equal(live, wanted, asked, own_disputed)
        return Active(graded, table, equal)

    def _grades(self, level: int, groups: Collection[GroupId]) -> "Grades":
        """What a row is to any clause of a review level, in one small number."""
        key = (level, frozenset(groups))
        if key not in self._graded:
            snapshot, live = self._snapshot, self.live(groups)
            agencies, sovereigns = self._counts(level)
            places = np.zeros(_PAIRS * _PAIRS, dtype=np.uint32)
            for start in range(0, snapshot.count, _BLOCK_ROWS):
                part = slice(start, start + _BLOCK_ROWS)
                places[agencies[part] * np.uint16(_PAIRS) + sovereigns[part]] = 1
            pairs = np.flatnonzero(places)
            places[pairs] = np.arange(len(pairs))
            small = len(snapshot.classes) * len(pairs) < 2**16 - 1
            codes: NDArray[np.uint16] | NDArray[np.uint32]
            codes = (
                np.empty(snapshot.count, np.uint16)
                if small
                else np.empty(snapshot.count, np.uint32)
            )
            for start in range(0, snapshot.count, _BLOCK_ROWS):
                part = slice(start, start + _BLOCK_ROWS)
                code = snapshot.class_of[part] * np.uint32(len(pairs))
                code += places[agencies[part] * np.uint16(_PAIRS) + sovereigns[part]]
                codes[part] = (code + 1) * live[part]
            self._graded[key] = Grades(codes, pairs // _PAIRS, pairs % _PAIRS)
        return self._graded[key]

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

    def _equal(
        self,
        live: Flags,
        wanted: Flags,
        asked: Certification,
        own_disputed: Rows,
    ) -> Rows:
        """Level 0: another agency that lists the very same value as one of these classes vouches
        too; not so where it has disputed its own listing."""
        snapshot, (rows, groups, words) = self._snapshot, self._ties
        words = words.copy()
        for members, starts, places in groups:
            own = _ONE << snapshot.publisher[members].astype(np.uint64)
            vouches = live[members] & wanted[snapshot.class_of[members]]
            if len(own_disputed):
                vouches &= ~np.isin(members, own_disputed)
            lengths = np.diff(starts, append=len(members))
            shared = np.bitwise_or.reduceat(np.where(vouches, own, np.uint64(0)), starts)
            words[places] |= np.repeat(shared, lengths)
        words &= np.uint64(self._bench.admitted)
        enough = np.bitwise_count(words) >= asked.agencies
        enough &= self._bench.sovereigns_in(words) >= asked.sovereigns
        enough &= live[rows] & wanted[snapshot.class_of[rows]]
        found: Rows = rows[enough]
        return found

    @cached_property
    def _ties(self) -> tuple[Rows, list[_Tie], Masks]:
        """The rows that share a value with another, ascending; by scheme the groups of equal ones,
        with their places among the rows; and who vouches for each row by itself."""
        groups = [self._snapshot.values[scheme].equal_groups for scheme in SCHEMES]
        rows = np.unique(np.concatenate([members for members, _ in groups])).astype(np.uint32)
        ties = [
            (members, starts, np.searchsorted(rows, members))
            for members, starts in groups
            if len(members)
        ]
        return rows, ties, self._words.of(rows, 0)


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
