"""Who vouches for a few rows, where many clauses ask: each row is looked up once.

Not here: the definition (`obligation.certifiers`), which this answers to the byte.
Source: docs/spec/registry.md, section Certification.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import numpy as np

from accord.registry.certification import is_in
from accord.registry.columns import Flags, Rows
from accord.registry.listings import SCHEMES, Kind
from accord.registry.obligation import (
    ActiveClause,
    Certifier,
    PlatformObligations,
    certifiers,
    equal_rows,
)
from accord.registry.words import Words
from accord.statements.rules import ClassCode

_ENDORSE: Final = int(Kind.ENDORSE)
_TWINS_MAX: Final = 64  # Equal listings of a row beyond which arrays are faster.
_AGENCY: Final = attrgetter("agency")  # Each is named once: the order of certifiers.
_Spoken = tuple[int, Certifier]  # With the agency's bit.


@dataclass(slots=True, eq=False)
class _Equal:
    """A listing with a value of the row asked about, undisputed by its publisher, and in which
    scheme the value is equal."""

    scheme: str
    row: int
    class_code: ClassCode
    spoken: _Spoken


@dataclass(slots=True, eq=False)
class _Voices:
    """By agencies in good standing, in the order in which they are named."""

    published: list[_Spoken]
    endorsed: list[_Spoken]
    equal: list[_Equal] | None = None  # Looked up when the first clause asks.
    is_crowded: bool = False


class Vouching:
    """`certifiers`, of one platform's obligations."""

    def __init__(self, obligations: PlatformObligations) -> None:
        self._obligations = obligations
        self._voices: dict[int, _Voices] = {}
        self._answers: dict[tuple[int, int, int, str], tuple[Certifier, ...]] = {}

    def of(self, active: ActiveClause, row: int, scheme: str) -> tuple[Certifier, ...]:
        """Who vouches for a row's value of a scheme, or for what has none, such as patches."""
        level = int(active.clause.certification.review_level)
        voices = self._voices.get(row)
        if voices is None:
            voices = self._voices[row] = self._voices_of(row)
        if level == 0 and voices.equal is None:
            self._look_up_equal(voices, row)
        asks_more = level == 0 and (voices.equal or voices.is_crowded)
        key = (row, level, id(active.active) if asks_more else 0, scheme if asks_more else "")
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = self._answer(active, row, level, scheme, voices)
        return known

    def _answer(
        self, active: ActiveClause, row: int, level: int, scheme: str, voices: _Voices
    ) -> tuple[Certifier, ...]:
        if level == 0 and voices.is_crowded:
            return certifiers(self._obligations, active, row, (scheme,))
        first = dict(voices.published)
        for bit, certifier in voices.endorsed:
            if certifier.level is not None and certifier.level >= level:
                first.setdefault(bit, certifier)
        if level == 0:
            for twin in voices.equal or ():
                is_wanted = twin.class_code in active.clause.classes and active.live[twin.row]
                if twin.scheme == scheme and is_wanted:
                    first.setdefault(*twin.spoken)
        return tuple(sorted(first.values(), key=_AGENCY))

    def _voices_of(self, row: int) -> _Voices:
        obligations = self._obligations
        snapshot, admitted = obligations.snapshot, obligations.bench.admitted
        opinions, void = snapshot.opinions, obligations.bench.void.opinions
        voices = _Voices([], [])
        bit = int(snapshot.publisher[row])
        if admitted >> bit & 1:
            entry = snapshot.ref_of(row).entry
            who = Certifier(snapshot.agencies[bit], entry, "published", None)
            voices.published.append((bit, who))
        for place in opinions.about(row):
            bit = int(opinions.agency[place])
            counts = int(opinions.kind[place]) == _ENDORSE and not void[place]
            if counts and admitted >> bit & 1:
                entry, level = int(opinions.entry[place]), int(opinions.detail[place])
                who = Certifier(snapshot.agencies[bit], entry, "endorsed", level)
                voices.endorsed.append((bit, who))
        return voices

    def _look_up_equal(self, voices: _Voices, row: int) -> None:
        obligations, voices.equal = self._obligations, []
        snapshot, own = obligations.snapshot, obligations.disputes.own
        ties = obligations.counting.ties
        if ties is None or ties.slot_of(row) is None:  # Most rows.
            return
        twins = {scheme: equal_rows(snapshot, row, (scheme,)) for scheme in SCHEMES}
        voices.is_crowded = sum(map(len, twins.values())) > _TWINS_MAX
        if voices.is_crowded:
            return
        for scheme, rows in twins.items():
            for twin in rows.tolist():
                bit = int(snapshot.publisher[twin])
                if obligations.bench.admitted >> bit & 1 and not is_in(own, twin):
                    entry, name = snapshot.ref_of(twin).entry, snapshot.agencies[bit]
                    spoken = (bit, Certifier(name, entry, "equal-listing", None))
                    code = snapshot.classes[snapshot.class_of[twin]]
                    voices.equal.append(_Equal(scheme, twin, code, spoken))


def vouched_by(
    obligations: PlatformObligations, active: ActiveClause, rows: Rows, scheme: str
) -> Flags:
    """Which of `rows`, active in a clause of review level 0, are so by their value of a scheme:
    with the agencies that list this very value, without those that list another of their values.

    Its publisher alone says that a listing's values belong together. Else it could take a digest
    that others list, and put beside it a fingerprint that nobody else has seen.
    """
    snapshot, order = obligations.snapshot, np.argsort(rows)
    words = np.zeros(len(rows), dtype=np.uint64)
    words[order] = Words(snapshot, obligations.bench).of(rows[order], 0)
    if scheme in snapshot.values:
        column = snapshot.values[scheme]
        there, places = column.places_of(rows)
        listed: dict[bytes, np.uint64] = {}
        for at, value in zip(np.flatnonzero(there), column.at(places[there]), strict=True):
            raw = value.tobytes()
            if raw not in listed:
                listed[raw] = _listing(obligations, active, column.equal_to(raw))
            words[at] |= listed[raw]
    asked = active.clause.certification
    enough: Flags = np.bitwise_count(words) >= asked.agencies
    enough &= obligations.bench.sovereigns_in(words) >= asked.sovereigns
    return enough


def _listing(obligations: PlatformObligations, active: ActiveClause, rows: Rows) -> np.uint64:
    """The agencies in good standing that list some rows, of those that may vouch in a clause."""
    snapshot = obligations.snapshot
    wanted = np.array([code in active.clause.classes for code in snapshot.classes], dtype=np.bool_)
    rows = rows[active.live.at(rows) & wanted[snapshot.class_of[rows]]]
    rows = rows[~np.isin(rows, obligations.disputes.own)]
    bits = np.uint64(1) << snapshot.publisher[rows].astype(np.uint64)
    return np.uint64(int(np.bitwise_or.reduce(bits)) & obligations.bench.admitted)
