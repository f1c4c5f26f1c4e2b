"""Who vouches for a few rows, where many clauses ask: each row is looked up once.

Not here: the definition (`obligation.certifiers`), which this answers to the byte.
Source: docs/spec/registry.md, section Certification.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from accord.registry.certification import is_in
from accord.registry.listings import Kind
from accord.registry.obligation import (
    ActiveClause,
    Certifier,
    PlatformObligations,
    certifiers,
    equal_rows,
)
from accord.statements.rules import ClassCode

_ENDORSE: Final = int(Kind.ENDORSE)
_TWINS_MAX: Final = 64  # Equal listings of a row beyond which arrays are faster.
_AGENCY: Final = attrgetter("agency")  # Each is named once: the order of certifiers.
_Spoken = tuple[int, Certifier]  # With the agency's bit.


@dataclass(slots=True, eq=False)
class _Equal:
    """A listing with a value of the row asked about, undisputed by its publisher."""

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
        self._answers: dict[tuple[int, int, int], tuple[Certifier, ...]] = {}

    def of(self, active: ActiveClause, row: int) -> tuple[Certifier, ...]:
        level = int(active.clause.certification.review_level)
        voices = self._voices.get(row)
        if voices is None:
            voices = self._voices[row] = self._voices_of(row)
        if level == 0 and voices.equal is None:
            self._look_up_equal(voices, row)
        asks_more = level == 0 and (voices.equal or voices.is_crowded)
        key = (row, level, id(active.active) if asks_more else 0)
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = self._answer(active, row, level, voices)
        return known

    def _answer(
        self, active: ActiveClause, row: int, level: int, voices: _Voices
    ) -> tuple[Certifier, ...]:
        if level == 0 and voices.is_crowded:
            return certifiers(self._obligations, active, row)
        first = dict(voices.published)
        for bit, certifier in voices.endorsed:
            if certifier.level is not None and certifier.level >= level:
                first.setdefault(bit, certifier)
        if level == 0:
            for twin in voices.equal or ():
                if twin.class_code in active.clause.classes and active.live[twin.row]:
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
        twins = equal_rows(snapshot, row)
        voices.is_crowded = len(twins) > _TWINS_MAX
        if voices.is_crowded:
            return
        for twin in twins.tolist():
            bit = int(snapshot.publisher[twin])
            if obligations.bench.admitted >> bit & 1 and not is_in(own, twin):
                entry, name = snapshot.ref_of(twin).entry, snapshot.agencies[bit]
                spoken = (bit, Certifier(name, entry, "equal-listing", None))
                code = snapshot.classes[snapshot.class_of[twin]]
                voices.equal.append(_Equal(twin, code, spoken))
