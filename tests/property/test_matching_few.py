"""Decisions row by row are those with arrays, whatever was said, asked and found."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.fingerprint.types import Fingerprint
from accord.ledger.state import COMPROMISES, CompromiseRow
from accord.matching import Candidates, Context, Decision, Place, Query, decide
from accord.matching.decide import decide_by
from accord.matching.few import FEW_ROWS_MAX, Few
from accord.matching.many import Many
from accord.registry import PlatformObligations, certifiers
from accord.registry.listings import SCHEMES
from accord.registry.vouching import Vouching
from accord.statements.batch import Listing
from accord.statements.rules import Action, Algorithm, Clause, Modality, Near
from accord.wire.ids import KeyId, MemberId, TimeMs
from registry_kit import A1, AGENCIES, B2, NOW, World, clause, flip, pdq_of, rule_set

NAMES = sorted(AGENCIES)
PLACE = Place(9, bytes(32))
MD5S = (b"\1" * 16, b"\2" * 16, b"\1" * 8 + b"\3" * 8)  # Two share their first eight bytes.
ALGORITHMS = (Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256, Algorithm.PDQ, Algorithm.PHOTODNA)

LISTING = st.builds(
    lambda seed, code, md5, quality: Listing(
        code,
        pdq=None if seed is None else pdq_of(seed),
        pdq_quality=None if seed is None else quality,
        md5=md5,
        sha256=b"\5" * 32 if seed is None and md5 is None else None,
    ),
    st.none() | st.integers(0, 3),
    st.sampled_from([A1, A1, B2]),
    st.none() | st.sampled_from(MD5S),
    st.sampled_from([50, 70, 100]),
)
NEAR = st.builds(
    Near,
    st.just(Algorithm.PDQ),
    st.sampled_from([8, 31]),
    st.sampled_from([0, 60]),
    st.sampled_from(list(Action)[1:]),
    st.booleans(),
    confirmed_by=st.sampled_from([(), (Algorithm.MD5,), (Algorithm.MD5, Algorithm.SHA1)]),
)
CLAUSE = st.builds(
    clause,
    agencies=st.integers(1, 3),
    sovereigns=st.integers(1, 2),
    level=st.sampled_from([0, 0, 1, 2]),
    classes=st.sampled_from([(A1,), (A1, B2)]),
    exact=st.none() | st.sampled_from(list(Action)[1:]),
    near=NEAR,
)


@st.composite
def worlds(draw: st.DrawFn) -> PlatformObligations:
    world = World()
    for name in ("AT", "BE", "CY"):
        clauses: list[Clause] = draw(st.lists(CLAUSE, min_size=1, max_size=2))
        modality = draw(st.sampled_from([Modality.REQUIRED] * 4 + [Modality.PERMITTED]))
        world.put_rules(name, rule_set(*clauses, modality=modality))
    for _ in range(draw(st.integers(1, 6))):
        who = draw(st.sampled_from(NAMES))
        world.key = KeyId(bytes([draw(st.integers(0, 4))]) * 16)
        rows = draw(st.lists(LISTING, min_size=1, max_size=4))
        entry = world.publish(who, *rows)
        for other in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
            world.key = KeyId(bytes([draw(st.integers(0, 4))]) * 16)
            first = draw(st.integers(0, len(rows) - 1))
            match draw(st.sampled_from(["endorse", "endorse", "dispute", "withdraw"])):
                case "endorse":
                    level = draw(st.integers(0, 2))
                    world.endorse(other, entry, level, first, len(rows) - first)
                case "dispute":
                    world.dispute(other, entry, first)
                case _:
                    world.withdraw(who, entry, first)
    if draw(st.booleans()):
        row = CompromiseRow(MemberId(NAMES[0]), TimeMs(NOW + 3))
        world.put(COMPROMISES, bytes(16), row)
    return world.obligations()


@st.composite
def candidates(draw: st.DrawFn, found: PlatformObligations) -> Candidates:
    """Rows that a look-up could give, and others besides: the two must agree on any."""
    algorithm = draw(st.sampled_from(ALGORITHMS))
    near = algorithm in (Algorithm.PDQ, Algorithm.PHOTODNA)
    pair = st.tuples(st.integers(0, 40 if near else 0), st.integers(0, found.snapshot.count - 1))
    pairs = sorted(set(draw(st.lists(pair, max_size=FEW_ROWS_MAX))))
    rows = np.array([row for _, row in pairs], dtype=np.uint32)
    distances = np.array([distance for distance, _ in pairs], dtype=np.uint32)
    return Candidates(algorithm, rows, distances, draw(st.sampled_from([40, 60, 100])))


def by_both(found: PlatformObligations, looked_up: list[Candidates]) -> tuple[Decision, Decision]:
    query = Query((), (Fingerprint(flip(pdq_of(1), 3), 90),))
    few, many = (
        decide_by(way(looked_up, found), query, found, Context(), PLACE) for way in (Few, Many)
    )
    assert decide(query, looked_up, found, Context(), PLACE) == many
    return few, many


@given(st.data())
@settings(deadline=None)
def test_row_by_row_decides_as_arrays_do(data: st.DataObject) -> None:
    found = data.draw(worlds())
    looked_up = data.draw(st.lists(candidates(found), max_size=4))
    few, many = by_both(found, looked_up)
    assert few == many
    assert [repr(reason) for reason in few.reasons] == [repr(reason) for reason in many.reasons]


@given(worlds())
@settings(deadline=None)
def test_certifiers_looked_up_once_are_the_certifiers(found: PlatformObligations) -> None:
    vouching = Vouching(found)
    for share in found.by_jurisdiction.values():
        for active in share.clauses:
            for row in range(found.snapshot.count):
                for scheme in (*SCHEMES, "patches"):
                    named = certifiers(found, active, row, (scheme,))
                    assert vouching.of(active, row, scheme) == named
                assert active.active.holds(row) == active.active.whole[row]
                assert active.is_review_only(row) == (active.status[row] == 2)
