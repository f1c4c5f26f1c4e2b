"""What is active in any of some clauses, page by page.

Not here: what is active in one of them (certification).
Invariants: as in `certification`, what was taken over is what would be computed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from accord.registry.certification import Active, Grades, TiedGrades
from accord.registry.columns import Flags, Rows, distinct
from accord.registry.pages import Paged
from accord.registry.ties import Slots, Ties

_NO_SLOTS: Final[Slots] = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class _Graded:
    """All questions of one review level and set of groups: what is active in any."""

    grades: Grades
    table: Flags


@dataclass(frozen=True, slots=True, eq=False)
class _Tied:
    grades: TiedGrades
    table: Flags


@dataclass(frozen=True, eq=False)
class Activity:
    """Shape: `flags` of every row; `plain` the same without what equal listings bring in; `tied`
    what they do, by slot."""

    flags: Paged[np.bool_]
    plain: Paged[np.bool_]
    tied: Flags
    graded: Mapping[object, _Graded]
    tied_graded: Mapping[object, _Tied]

    @cached_property
    def rows(self) -> Rows:
        """Ascending. Cost: a pass over all rows, kept."""
        return np.flatnonzero(self.flags.whole()).astype(np.uint32)

    @cached_property
    def count(self) -> int:
        return sum(int(np.count_nonzero(page)) for page in self.flags.pages)


def activity_of(
    answers: Iterable[Active], rows: Paged[Any], before: Activity | None = None
) -> Activity:
    """Of a list with the pages of `rows`. `before`: of an earlier one, changes the cost alone."""
    graded: dict[object, _Graded] = {}
    tied: dict[object, _Tied] = {}
    for answer in {id(answer): answer for answer in answers}.values():
        name = answer.grades.asked
        table = graded[name].table | answer.table if name in graded else answer.table
        graded[name] = _Graded(answer.grades, table)
        if answer.tied is not None:
            question = answer.tied.asked
            table = answer.tied_table
            table = tied[question].table | table if question in tied else table
            tied[question] = _Tied(answer.tied, table)
    plain = _plain(graded, rows, before)
    by_slot, moved = _by_slot(tied, before)
    ties = next((item.grades.ties for item in tied.values()), None)
    stale = np.ones(len(plain.pages), dtype=np.bool_)
    if before is not None and moved is not None:
        stale = plain.differs_from(before.plain)
        if ties is not None:
            other = ties.rows[moved]
            stale[other[~plain.at(other)] >> rows.bits] = True
    pages = tuple(
        before.flags.pages[number]
        if before is not None and not is_stale
        else _joined(plain.pages[number], rows.part(number), ties, by_slot)
        for number, is_stale in enumerate(stale)
    )
    return Activity(Paged(pages, rows.bits), plain, by_slot, graded, tied)


def _joined(plain: Flags, rows: slice, ties: Ties | None, by_slot: Flags) -> Flags:
    if ties is None:
        return plain
    slots = ties.within(rows)
    places = ties.rows[slots[by_slot[slots]]] - np.uint32(rows.start)
    if plain[places].all():
        return plain
    flags = plain.copy()
    flags[places] = True
    return flags


def _plain(
    graded: Mapping[object, _Graded], rows: Paged[Any], before: Activity | None
) -> Paged[np.bool_]:
    known = {} if before is None else before.graded
    stale = np.ones(len(rows.pages), dtype=np.bool_)
    if (
        graded
        and known.keys() == graded.keys()
        and all(np.array_equal(item.table, known[name].table) for name, item in graded.items())
    ):
        stale[:] = False
        for name, item in graded.items():
            stale |= item.grades.codes.differs_from(known[name].grades.codes)
    pages: list[Flags] = []
    for like, is_stale in zip(rows.pages, stale.tolist(), strict=True):
        if before is not None and not is_stale:
            pages.append(before.plain.pages[len(pages)])
            continue
        page = np.zeros(len(like), dtype=np.bool_)
        for item in graded.values():
            page |= item.table[item.grades.codes.pages[len(pages)]]
        pages.append(page)
    return Paged(tuple(pages), rows.bits)


def _by_slot(tied: Mapping[object, _Tied], before: Activity | None) -> tuple[Flags, Slots | None]:
    """Which slots are active, and those where this is otherwise than before; None if it cannot be
    told, since other questions were asked."""
    count = max([len(item.grades.codes) for item in tied.values()], default=0)
    flags = np.zeros(count, dtype=np.bool_)
    if before is None or not _is_same(tied, before.tied_graded):
        for item in tied.values():
            flags |= item.table[item.grades.codes]
        return flags, None
    flags[: len(before.tied)] = before.tied
    parts = {id(item.grades.changed): item.grades.changed for item in tied.values()}
    changed = distinct(np.concatenate([_NO_SLOTS, *parts.values()]))
    now = np.zeros(len(changed), dtype=np.bool_)
    for item in tied.values():
        now |= item.table[item.grades.codes[changed]]
    moved = changed[flags[changed] != now]
    flags[changed] = now
    return flags, moved


def _is_same(tied: Mapping[object, _Tied], before: Mapping[object, _Tied]) -> bool:
    """Whether the questions are those of before, and each goes on from what it was."""
    return tied.keys() == before.keys() and all(
        item.grades.since is before[name].grades.codes
        and np.array_equal(item.table, before[name].table)
        for name, item in tied.items()
    )
