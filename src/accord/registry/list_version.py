"""A digest of all that a decision depends on but the file: rules, and what is active how in which
clause. An active root alone would not change with a dispute.

Invariants: a function of what the obligations say (and of the size of a page), not of how they
were come by. It is another one whenever a decision could be; also when a listing that equal ones
made active is now active by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from accord.registry.certification import Active
from accord.registry.obligation import PlatformObligations
from accord.registry.pages import Paged
from accord.registry.ties import Ties
from accord.wire.digests import labelled_sha256
from accord.wire.record import encode_record

_Asked = tuple[object, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """What is active by a table, page by page."""

    codes: Paged[np.uint16 | np.uint32]
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ListVersion:
    """`digest` is the version; the rest makes the next one cheaper."""

    digest: bytes
    marks: Mapping[_Asked, _Marks]


def list_version(
    obligations: PlatformObligations, before: ListVersion | None = None
) -> ListVersion:
    """The version of a list. `before`: of an earlier one; it changes the cost, not the digest."""
    parts = [obligations.rules_sha256, obligations.snapshot.batches.entry.tobytes()]
    ties = obligations.counting.ties
    order = None if ties is None else _by_row(ties)
    if ties is not None and order is not None:
        parts.append(sha256(ties.rows[order].tobytes()).digest())
        # By which of its values a row is active depends on who said what, not only on that it is.
        void = obligations.bench.void
        parts.append(sha256(obligations.snapshot.opinions.entry.tobytes()).digest())
        parts += [np.packbits(flags).tobytes() for flags in (void.opinions, void.batches)]
        parts.append(obligations.bench.admitted.to_bytes(8, "big"))
    known = {} if before is None else before.marks
    marks: dict[_Asked, _Marks] = {}
    digests: dict[int, bytes] = {}
    for name, share in sorted(obligations.by_jurisdiction.items()):
        parts += [name.encode(), share.coverage.value.encode()]
        for item in share.clauses:
            active = item.active
            if id(active) not in digests:
                asked = (active.grades.asked, active.table.tobytes())
                if asked not in marks:
                    marks[asked] = _marks(active, known.get(asked))
                digests[id(active)] = _digest(active, marks[asked], order)
            disputed = item.review_only[active.at(item.review_only)]
            parts += [item.clause.name.encode(), *map(encode_record, item.clause.near)]
            parts += [digests[id(active)], disputed.tobytes()]
    return ListVersion(labelled_sha256("list-version", *parts), marks)


def _by_row(ties: Ties) -> NDArray[np.intp]:
    """The slots in order of row, which does not depend on when they were found."""
    return (ties.keys & np.uint64(2**32 - 1)).astype(np.intp)


def _marks(active: Active, before: _Marks | None) -> _Marks:
    codes, known = active.grades.codes, () if before is None else before.codes.pages
    digests = tuple(
        before.digests[number]
        if before is not None and number < len(known) and page is known[number]
        else sha256(np.packbits(active.table[page]).tobytes()).digest()
        for number, page in enumerate(codes.pages)
    )
    return _Marks(codes, digests)


def _digest(active: Active, marks: _Marks, order: NDArray[np.intp] | None) -> bytes:
    whole = sha256(b"".join(marks.digests))
    if active.tied is not None and order is not None:
        whole.update(np.packbits(active.tied_table[active.tied.codes[order]]).tobytes())
    return whole.digest()
