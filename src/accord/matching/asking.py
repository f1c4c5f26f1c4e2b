"""What is looked up for files under the clauses that apply to them, and what that finds.

A rule set says by `screen` what of a picture is looked at: the whole of it, mirrored and turned
too (`full`), what lies in a frame in it (`frame`), squares of it (`patches`). Its near terms say
how near is near. What no clause asks is not looked up.
Not here: which clauses apply (decide), how an index finds (index), what follows (many, few).
Invariants: a superset of what the clauses could match; what a step found carries the step, since
another jurisdiction may not have asked for it; variants and frames are held to the distances that
keep unrelated pictures apart, whatever a rule's distance is.
Source: docs/spec/decisions.md, section Look-ups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from accord.fingerprint.types import NO_LOOK, PDQ_BYTES
from accord.matching.decision import Query
from accord.matching.index import Candidates, MatchIndex
from accord.matching.meetings import Distances, Ints, Meetings, nearest, reached
from accord.registry.columns import Rows
from accord.registry.obligation import ActiveClause
from accord.statements.rules import Algorithm, Demand, Metric, Near, Step
from accord.wire.limits import (
    FRAME_BITS_MAX,
    LISTING_PATCHES,
    PATCH_VOTES_MORE,
    PDQ_QUALITY_MIN,
    VARIANT_BITS_MAX,
)

_MIRRORED: Final = 0  # The first of the variants of a frame that stand beside the upright one.


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A clause that applies, and what its rule set looks at."""

    active: ActiveClause
    screen: tuple[Step, ...]

    def near(self, algorithm: Algorithm, step: Step | None = None) -> Near | None:
        """The clause's term, if the rule set looks at that."""
        if step is not None and step not in self.screen:
            return None
        return self.active.near.get(algorithm)


@dataclass(frozen=True, slots=True, eq=False)
class _Ask:
    """One PDQ to look up for a query."""

    number: int
    bits: bytes
    quality: int
    step: Step
    reach: int


def look_up(
    index: MatchIndex, queries: Sequence[Query], clauses: Sequence[Asked], drift_bits: int = 0
) -> list[list[Candidates]]:
    """What lies near each query. `drift_bits` widens what is asked by PDQ."""
    found: list[list[Candidates]] = [[] for _ in queries]
    if not clauses:
        return found
    for number, query in enumerate(queries):
        found[number] += [index.exact(name, digest) for name, digest in query.digests]
    for ask, candidates in _by_pdq(index, queries, clauses, drift_bits):
        found[ask.number].append(replace(candidates, step=ask.step))
    widest = _widest_vectors(clauses)
    for number, query in enumerate(queries):
        found[number] += [
            index.near_vector(vector, threshold, metric)
            for algorithm, vector in query.vectors
            if algorithm is Algorithm.PHOTODNA
            for metric, threshold in widest.items()
        ]
        found[number] += _by_patches(index, query, clauses)
        found[number] += _by_films(index, query, clauses, drift_bits)
    return found


def _by_pdq(
    index: MatchIndex, queries: Sequence[Query], clauses: Sequence[Asked], drift_bits: int
) -> Iterator[tuple[_Ask, Candidates]]:
    asks = [ask for n, query in enumerate(queries) for ask in _asks_of(n, query, clauses)]
    for reach in sorted({ask.reach for ask in asks}):
        alike = [ask for ask in asks if ask.reach == reach]
        asked = [(ask.bits, ask.quality) for ask in alike]
        yield from zip(alike, index.near_many(asked, reach + drift_bits), strict=True)


def _asks_of(number: int, query: Query, clauses: Sequence[Asked]) -> Iterator[_Ask]:
    """The fingerprints of a query that some clause asks about, each as far as it may reach."""
    terms = {
        step: [near for asked in clauses if (near := asked.near(Algorithm.PDQ, step)) is not None]
        for step in (Step.FULL, Step.FRAME)
    }
    for place, frame in enumerate(query.frames):
        for step, some in terms.items():
            if not some or frame.quality < min(term.quality_min for term in some):
                continue
            reach = max(term.threshold for term in some)
            look = query.looks[place] if query.looks else None
            if step is Step.FULL:
                yield _Ask(number, frame.bits, frame.quality, step, reach)
                more, reach = look.variants if look else b"", min(reach, VARIANT_BITS_MAX)
            else:
                more, reach = look.frames if look else b"", min(reach, FRAME_BITS_MAX)
            for bits in _split(more):
                yield _Ask(number, bits, frame.quality, step, reach)


def _widest_vectors(clauses: Sequence[Asked]) -> dict[Metric, int]:
    widest: dict[Metric, int] = {}  # Clauses of one metric share a look-up.
    for asked in clauses:
        if (near := asked.near(Algorithm.PHOTODNA)) is not None:
            widest[near.metric] = max(widest.get(near.metric, 0), near.threshold)
    return widest


def _demands(
    clauses: Sequence[Asked], algorithm: Algorithm, step: Step | None = None
) -> tuple[list[Demand], int]:
    """What clauses ask of an algorithm that counts meetings, each once, and the widest reach."""
    terms = [near for asked in clauses if (near := asked.near(algorithm, step)) is not None]
    reach = max((near.threshold for near in terms), default=-1)
    return sorted({near.demand for near in terms}), reach


def _by_patches(index: MatchIndex, query: Query, clauses: Sequence[Asked]) -> Iterator[Candidates]:
    """Patches of one picture at a time, all upright or all mirrored."""
    demands, reach = _demands(clauses, Algorithm.PATCHES, Step.PATCHES)
    looks = [look for look in query.looks if look.patches] if demands else []
    for look in looks:
        hands = [
            index.meetings("patches", bits, reach) for bits in (look.patches, look.mirrored) if bits
        ]
        for demand in demands:
            found = [_voted(meetings, demand[0]) for meetings in hands]
            rows, bits = nearest(found)
            if len(rows):
                yield Candidates(Algorithm.PATCHES, rows, bits, demand=demand, step=Step.PATCHES)


def _voted(meetings: Meetings, votes: int) -> tuple[Rows, Distances]:
    """So many of a row's first patches, or some more of all that it has."""
    first = meetings.of_first(LISTING_PATCHES)
    return nearest([_counted(first, votes), _counted(meetings, votes + PATCH_VOTES_MORE)])


def _counted(meetings: Meetings, votes: int) -> tuple[Rows, Distances]:
    needs = np.full(len(meetings.rows), votes, dtype=np.int64)
    return reached(meetings, needs, needs)


def _by_films(
    index: MatchIndex, query: Query, clauses: Sequence[Asked], drift_bits: int
) -> Iterator[Candidates]:
    """The frames of the query together, all upright or all mirrored."""
    demands, reach = _demands(clauses, Algorithm.VPDQ)
    good = [place for place, f in enumerate(query.frames) if f.quality >= PDQ_QUALITY_MIN]
    if not demands or not good:
        return
    found = [(len(hand), _met(index, hand, reach + drift_bits)) for hand in _hands(query, good)]
    for demand in demands:
        _, asked_share, listed_share = demand
        counted = [
            reached(
                meetings,
                _share(np.full(len(meetings.rows), count), asked_share),
                _share(index.counts_of("frames", meetings.rows), listed_share),
            )
            for count, meetings in found
        ]
        rows, bits = nearest(counted)
        if len(rows):
            yield Candidates(Algorithm.VPDQ, rows, bits, demand=demand)


def _hands(query: Query, good: Sequence[int]) -> Iterator[list[tuple[bytes, ...]]]:
    """The distinct frames of a film, upright and mirrored: each as a whole and within its bars."""
    looks = query.looks or (NO_LOOK,) * len(query.frames)
    inner = [_split(looks[place].frames) for place in good]
    wholes = [query.frames[place].bits for place in good]
    yield _distinct([(whole, *more) for whole, more in zip(wholes, inner, strict=True)])
    variants = [_split(looks[place].variants) for place in good]
    if any(variants):
        pairs = zip(variants, inner, strict=True)
        yield _distinct([(some[_MIRRORED], *more) for some, more in pairs if some])


def _met(index: MatchIndex, hand: Sequence[tuple[bytes, ...]], reach: int) -> Meetings:
    """What frames meet, each by any of its values: so a pair may stand here several times."""
    values = b"".join(value for frame in hand for value in frame)
    owners = np.repeat(np.arange(len(hand)), [len(frame) for frame in hand])
    meetings = index.meetings("frames", values, reach)
    return replace(meetings, asked=owners[meetings.asked])


def _share(counts: Ints, percent: int) -> Ints:
    """So many per cent of each count, rounded up, and one at least."""
    return np.maximum(1, -(-counts * percent // 100))


def _distinct(frames: Sequence[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    return list(dict.fromkeys(frames))


def _split(values: bytes) -> list[bytes]:
    return [values[at : at + PDQ_BYTES] for at in range(0, len(values), PDQ_BYTES)]
