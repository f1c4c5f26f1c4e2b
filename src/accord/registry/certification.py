"""Which rows enough agencies vouch for: what the clauses of all jurisdictions share, once.

One idea makes it fast: whatever is known of a row is kept by page (`pages`), or by slot for rows
that share a value (`ties`), and the next list takes over what stands on pages that nothing touched.
A first list is the same with nothing to take over, so there is one way to compute it.
Not here: which clause asks what (obligation), whose word counts (standing).
Invariants: an agency counts once for a row, however often and with however many keys it spoke;
what a void key said does not count; a value that says nothing about a picture is never live;
what was taken over is what would be computed.
Source: docs/spec/registry.md, sections Certification and Costs.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.registry.columns import Flags, Masks, Rows, distinct
from accord.registry.listings import NOT_APPROVED, Snapshot
from accord.registry.pages import Paged
from accord.registry.standing import Bench
from accord.registry.ties import Slots, Tied, Ties, partners_of, tied_of, ties_of
from accord.registry.words import Words
from accord.statements.gates import PLACEHOLDERS
from accord.statements.rules import Certification, ClassCode
from accord.wire.ids import GroupId
from accord.wire.limits import AGENCIES_MAX

Classes = tuple[ClassCode, ...]
GroupSet = frozenset[GroupId]

# A pair is how many agencies vouch and how many sovereigns they span, which are never more.
_AGENCIES: Final = np.repeat(np.arange(AGENCIES_MAX + 1), np.arange(1, AGENCIES_MAX + 2))
_FIRST: Final = np.searchsorted(_AGENCIES, np.arange(AGENCIES_MAX + 1)).astype(np.uint16)
_SOVEREIGNS: Final = np.arange(len(_AGENCIES)) - _FIRST[_AGENCIES]
PAIRS: Final = len(_AGENCIES)
_NO_ROWS: Final[Rows] = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """What each row is to any clause of a review level and set of groups.

    Shape: `codes` one a row, 0 where it is not live, else 1 + class x PAIRS + pair.
    """

    asked: tuple[int, GroupSet]
    live: Paged[np.bool_]
    codes: Paged[np.uint16 | np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class TiedGrades:
    """What each tied row is to any clause of some classes and groups at level 0, where those who
    list an equal value vouch as well.

    Shape: `codes` by slot, 0 where the row is not live or not of these classes, else 1 + pair.
    They are those of `since` but for the slots `changed`.
    """

    asked: tuple[Classes, GroupSet]
    ties: Ties
    codes: NDArray[np.uint16]
    since: NDArray[np.uint16]
    changed: Slots


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """The rows that are active for one question. Shape: `table` a flag for each code of `grades`,
    `tied_table` one for each of `tied`."""

    grades: Grades
    table: Flags
    tied: TiedGrades | None
    tied_table: Flags

    def at(self, rows: Rows) -> Flags:
        flags: Flags = self.table[self.grades.codes.at(rows)]
        if self.tied is not None:
            there, slots = self.tied.ties.slots_of(rows)
            flags[there] |= self.tied_table[self.tied.codes[slots]]
        return flags

    def spoken(self, rows: Rows) -> Flags:
        """Which are active without any equal listing, on the word of agencies about themselves."""
        flags: Flags = self.table[self.grades.codes.at(rows)]
        return flags

    def is_spoken(self, row: int) -> bool:
        """`spoken`, of one row."""
        return bool(self.table[self.grades.codes[row]])

    def holds(self, row: int) -> bool:
        """`at`, of one row."""
        if self.table[self.grades.codes[row]]:
            return True
        if self.tied is None or (slot := self.tied.ties.slot_of(row)) is None:
            return False
        return bool(self.tied_table[self.tied.codes[slot]])

    @property
    def whole(self) -> Flags:
        """Of every row. Cost: an array as long as the list."""
        flags: Flags = np.concatenate([self.table[page] for page in self.grades.codes.pages])
        if self.tied is not None:
            flags[self.tied.ties.rows] |= self.tied_table[self.tied.codes]
        return flags


def is_in(rows: Rows, row: int) -> bool:
    """Whether `row` is among `rows`, which ascend."""
    if not len(rows):
        return False
    place = int(rows.searchsorted(np.uint32(row)))
    return place < len(rows) and int(rows[place]) == row


@dataclass(frozen=True, slots=True, eq=False)
class _Live:
    usable: Flags  # By batch.
    flags: Paged[np.bool_]


class Counting:
    """Of one snapshot, under one bench. Each question is answered once.

    `own_disputed`: rows that their publisher disputes, ascending; they vouch for no equal one.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        bench: Bench,
        own_disputed: Rows,
        before: "Counting | None" = None,
    ) -> None:
        self.snapshot = snapshot
        self._bench = bench
        self._own_disputed = own_disputed
        self._words = Words(snapshot, bench)
        self._before = before if before is not None and before._leads_to(snapshot, bench) else None
        self._live: dict[GroupSet, _Live] = {}
        self._grades: dict[tuple[int, GroupSet], Grades] = {}
        self._tied_grades: dict[tuple[Classes, GroupSet], TiedGrades] = {}
        self._active: dict[object, Active] = {}
        self._pairs: dict[tuple[int, int], NDArray[np.uint16]] = {}  # By level and page.
        self._tied: dict[tuple[GroupSet, bool], Tied] = {}

    def _leads_to(self, snapshot: Snapshot, bench: Bench) -> bool:
        return snapshot.goes_on_from(self.snapshot) and bench.judges_as(
            self._bench, len(self.snapshot.agencies)
        )

    def settle(self) -> None:
        """No more questions will be asked: keep the answers, and what the next may take over."""
        self._before = None
        self._pairs.clear()
        self._tied.clear()
        # Values may be moved to a file later: what is kept here must not hold them in memory.
        self.snapshot = replace(self.snapshot, values={}, views={})
        self._words = Words(self.snapshot, self._bench)

    @property
    def ties(self) -> Ties | None:
        """The rows that share a value with another; None if no clause asked about them."""
        return self.__dict__.get("_ties")

    def live(self, groups: Collection[GroupId]) -> Paged[np.bool_]:
        """Released to one of the groups, approved, not withdrawn, and no placeholder."""
        key = frozenset(groups)
        if key not in self._live:
            self._live[key] = self._find_live(key)
        return self._live[key].flags

    def active(self, classes: Classes, asked: Certification, groups: Collection[GroupId]) -> Active:
        """The rows of these classes that are certified as asked."""
        key = (classes, asked, frozenset(groups))
        if key not in self._active:
            self._active[key] = self._find_active(classes, asked, frozenset(groups))
        return self._active[key]

    def _find_live(self, groups: GroupSet) -> _Live:
        snapshot, batches = self.snapshot, self.snapshot.batches
        ours = sum(1 << bit for bit, group in enumerate(snapshot.groups) if group in groups)
        usable = (batches.groups & np.uint64(ours)) != 0
        usable &= batches.approved != NOT_APPROVED
        usable &= ~self._bench.void.batches
        before = None if self._before is None else self._before._live.get(groups)
        stale = np.ones(len(snapshot.withdrawn.pages), dtype=np.bool_)
        if before is not None and self._before is not None:
            then = self._before.snapshot
            stale = _differing([snapshot.withdrawn], [then.withdrawn])
            for at in np.flatnonzero(usable[: len(before.usable)] != before.usable).tolist():
                start, end = batches.start[at], batches.start[at] + batches.count[at]
                bits = snapshot.withdrawn.bits
                stale[start >> bits : ((end - 1) >> bits) + 1] = True
        pages = tuple(
            before.flags.pages[number]
            if before is not None and not is_stale
            else self._live_page(number, usable)
            for number, is_stale in enumerate(stale)
        )
        return _Live(usable, Paged(pages, snapshot.withdrawn.bits))

    def _live_page(self, number: int, usable: Flags) -> Flags:
        snapshot, batches = self.snapshot, self.snapshot.batches
        rows = snapshot.withdrawn.part(number)
        first = int(np.searchsorted(batches.start, rows.start, "right")) - 1
        some = slice(max(first, 0), int(np.searchsorted(batches.start, rows.stop, "left")))
        starts = np.maximum(batches.start[some], rows.start)
        ends = np.minimum(batches.start[some] + batches.count[some], rows.stop)
        reached: Flags = np.repeat(usable[some], ends - starts)
        live = reached & ~snapshot.withdrawn.pages[number]
        reopened = _within(self._bench.void.reopened, rows)
        live[reopened] = reached[reopened]
        live[_within(self._blank, rows)] = False
        live[_within(snapshot.refused, rows)] = False
        return live

    @cached_property
    def _blank(self) -> Rows:
        """The rows that have a placeholder, ascending."""
        found = [
            self.snapshot.values[scheme].equal_to(value)
            for scheme, values in PLACEHOLDERS.items()
            if len(self.snapshot.values[scheme])
            for value in values
        ]
        return np.unique(np.concatenate([_NO_ROWS, *found]))

    def _find_active(self, classes: Classes, asked: Certification, groups: GroupSet) -> Active:
        enough = (asked.agencies <= _AGENCIES) & (asked.sovereigns <= _SOVEREIGNS)
        table = np.append(False, np.logical_and.outer(self._wanted(classes), enough).ravel())
        tied = self._tied_grades_of(classes, groups) if asked.review_level == 0 else None
        graded = self._grades_of(asked.review_level, groups)
        return Active(graded, table, tied, np.append(False, enough))

    def _wanted(self, classes: Classes) -> Flags:
        return np.array([code in classes for code in self.snapshot.classes], dtype=np.bool_)

    def _grades_of(self, level: int, groups: GroupSet) -> Grades:
        key = (level, groups)
        if key not in self._grades:
            snapshot, live = self.snapshot, self.live(groups)
            dtype = _dtype_of(len(snapshot.classes))
            before = None if self._before is None else self._before._grades.get(key)
            if before is not None and before.codes.pages[0].dtype != dtype:
                before = None
            stale = np.ones(len(live.pages), dtype=np.bool_)
            if before is not None and self._before is not None:
                then = self._before.snapshot.endorsed[level:]
                stale = _differing([live, *snapshot.endorsed[level:]], [before.live, *then])
            pages: list[NDArray[np.uint16 | np.uint32]] = []
            for number, is_stale in enumerate(stale.tolist()):
                if before is not None and not is_stale:
                    pages.append(before.codes.pages[number])
                else:
                    pages.append(self._codes_page(number, level, live.pages[number]).astype(dtype))
            self._grades[key] = Grades(key, live, Paged(tuple(pages), live.bits))
        return self._grades[key]

    def _codes_page(self, number: int, level: int, live: Flags) -> NDArray[np.uint32]:
        code = self.snapshot.class_of[self.snapshot.withdrawn.part(number)] * np.uint32(PAIRS)
        code += self._pairs_of(number, level)
        code += np.uint32(1)
        code *= live
        return code

    def _pairs_of(self, number: int, level: int) -> NDArray[np.uint16]:
        key = (level, number)
        if key not in self._pairs:
            self._pairs[key] = self._pairs_among(self._words.page(number, level))
        return self._pairs[key]

    def _pairs_among(self, words: Masks) -> NDArray[np.uint16]:
        pairs: NDArray[np.uint16] = _FIRST[np.bitwise_count(words)]
        pairs += self._bench.sovereigns_in(words)
        return pairs

    def _tied_grades_of(self, classes: Classes, groups: GroupSet) -> TiedGrades:
        key = (classes, groups)
        if key not in self._tied_grades:
            before = None if self._before is None else self._before._tied_grades.get(key)
            wanted, ties = self._wanted(classes), self._ties
            tied = self._tied_of(groups, before is None)
            words = tied.vouching(wanted) & np.uint64(self._bench.admitted)
            some = self._pairs_among(words) + np.uint16(1)
            some *= tied.live & wanted[tied.classes]
            since = np.empty(0, dtype=np.uint16) if before is None else before.codes
            codes = np.zeros(len(ties), dtype=np.uint16)
            codes[: len(since)] = since
            codes[tied.slots] = some
            self._tied_grades[key] = TiedGrades(key, ties, codes, since, tied.slots)
        return self._tied_grades[key]

    @cached_property
    def _ties(self) -> Ties:
        before = None if self._before is None else self._before.ties
        if before is None or self._before is None:
            return ties_of(self.snapshot)
        return ties_of(self.snapshot, before, self._before.snapshot.count)

    def _tied_of(self, groups: GroupSet, all_of_them: bool) -> Tied:
        """The tied rows whose answers may be others than before, or all."""
        key = (groups, all_of_them)
        if key not in self._tied:
            rows = None
            if not all_of_them:
                moved = distinct(np.concatenate(list(self._moved(groups))))
                rows = partners_of(self.snapshot, moved)
            live, words = self.live(groups), self._words
            self._tied[key] = tied_of(
                self.snapshot, self._ties, rows, live, words, self._own_disputed
            )
        return self._tied[key]

    def _moved(self, groups: GroupSet) -> Iterator[Rows]:
        """The tied rows of which anything is new that bears on them or on equal ones."""
        ties, then, live = self._ties, self._before, self.live(groups)
        if then is None:
            yield ties.rows
            return
        before = then.live(groups)
        disputed = np.setxor1d(self._own_disputed, then._own_disputed)
        yield disputed[ties.slots_of(disputed)[0]]
        endorsed = (self.snapshot.endorsed, then.snapshot.endorsed)
        stale = _differing([live, *endorsed[0]], [before, *endorsed[1]])
        for number in np.flatnonzero(stale).tolist():
            tied = ties.rows[ties.within(live.part(number))]
            moved = np.ones(len(live.pages[number]), dtype=np.bool_)
            if number < len(before.pages):
                known = len(before.pages[number])
                moved[:known] = live.pages[number][:known] != before.pages[number]
                words = self._words.page(number, 0)[:known]
                moved[:known] |= words != then._words.page(number, 0)
            yield tied[moved[tied - np.uint32(live.part(number).start)]]


def _dtype_of(classes: int) -> type[np.uint16 | np.uint32]:
    return np.uint16 if classes * PAIRS < 2**16 else np.uint32


def _differing(now: Sequence[Paged[Any]], then: Sequence[Paged[Any]]) -> Flags:
    """Which pages are other objects than before, in any of some arrays: new ones are."""
    stale = np.zeros(len(now[0].pages), dtype=np.bool_)
    for array, before in zip(now, then, strict=True):
        stale |= array.differs_from(before)
    return stale


def _within(rows: Rows, part: slice) -> Slots:
    """Those of `rows`, which ascend, of a stretch, counted from its start."""
    low, high = np.searchsorted(rows, [part.start, part.stop])
    within: Slots = rows[low:high].astype(np.intp) - part.start
    return within
