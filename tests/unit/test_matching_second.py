"""Several perceptual algorithms in one clause: metrics, and what confirms what."""

from dataclasses import replace

import numpy as np
import pytest

from accord.fingerprint.types import Fingerprint
from accord.matching import Answer, Candidates, Cap, Context, Decision, Place, Query, decide
from accord.statements.batch import Listing
from accord.statements.rules import Action, Algorithm, Metric, Near, Step
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId
from registry_kit import A1, World, clause, pdq_of, rule_set

AT = JurisdictionId("AT")
VECTOR = bytes(144)
PDQ, PHOTODNA = Algorithm.PDQ, Algorithm.PHOTODNA


def term(algorithm: Algorithm, *confirmed_by: Algorithm, within: int = 10) -> Near:
    metric = Metric.HAMMING if algorithm is PDQ else Metric.L2
    return Near(algorithm, within, 0, Action.BLOCK, False, metric, confirmed_by)


def decided(near: tuple[Near, ...], *found: Candidates, **changes: object) -> Decision:
    """On one listing, row 0, that is active in AT."""
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(replace(clause(exact=None), near=near), **changes))
    world.publish("ada", Listing(A1, pdq=pdq_of(1), pdq_quality=90, md5=bytes(16)))
    query = Query((), (Fingerprint(pdq_of(1), 90),), vectors=((PHOTODNA, VECTOR),))
    return decide(query, found, world.obligations(), Context(), Place(1, bytes(32)))


def seen(algorithm: Algorithm, distance: int, metric: Metric = Metric.HAMMING) -> Candidates:
    rows, distances = np.zeros(1, dtype=np.uint32), np.array([distance], dtype=np.uint32)
    return Candidates(algorithm, rows, distances, 100, metric)


BOTH = (term(PDQ, PHOTODNA), term(PHOTODNA, Algorithm.MD5))


@pytest.mark.parametrize(
    ("found", "caps"),
    [
        ((seen(PDQ, 3),), [Cap.NEAR_ALONE]),
        ((seen(PDQ, 3), seen(PHOTODNA, 100, Metric.L2)), [None, Cap.NEAR_ALONE]),
        ((seen(PDQ, 3), seen(PHOTODNA, 101, Metric.L2)), [Cap.NEAR_ALONE]),
        ((seen(PDQ, 3), seen(PHOTODNA, 9, Metric.L1)), [Cap.NEAR_ALONE]),
        ((seen(PDQ, 3), seen(Algorithm.MD5, 0)), [Cap.NEAR_ALONE]),
        ((seen(PHOTODNA, 99, Metric.L2), seen(Algorithm.MD5, 0)), [None]),
    ],
)
def test_a_second_algorithm_confirms_within_its_own_terms(
    found: tuple[Candidates, ...], caps: list[Cap | None]
) -> None:
    """L2 is found squared: 100 is 10 apart, 101 is more. MD5 is not what PDQ is confirmed by."""
    decision = decided(BOTH, *found)
    assert [reason.cap for reason in decision.reasons] == caps
    strictest = Action.BLOCK if None in caps else Action.REVIEW
    assert decision.action is strictest


def test_a_reason_says_distance_and_metric_in_the_unit_of_thresholds() -> None:
    decision = decided(BOTH, seen(PHOTODNA, 82, Metric.L2), seen(PDQ, 4))
    told = [(r.algorithm, r.metric, r.distance, r.query_quality) for r in decision.reasons]
    assert told == [(PDQ, Metric.HAMMING, 4, 100), (PHOTODNA, Metric.L2, 10, None)]


def test_a_metric_without_a_ceiling_matches_nothing() -> None:
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(clause(exact=None, near=term(PHOTODNA))))
    world.put_parameters(ceilings=())
    world.publish("ada", Listing(A1, md5=bytes(16)))
    found = (seen(PHOTODNA, 0, Metric.L2),)
    query = Query(((Algorithm.MD5, bytes(16)),))
    decision = decide(query, found, world.obligations(), Context(), Place(1, bytes(32)))
    assert (decision.answer, decision.reasons) == (Answer.NO_MATCH, ())


def test_a_step_that_the_query_lacks_is_no_free_pass() -> None:
    asked = {"screen": (Step.FRAME, Step.FULL)}
    missed = decided((term(PDQ),), **asked)
    assert (missed.answer, missed.code) == (Answer.UNDETERMINED, "query.step_lacking")
    assert decided((term(PDQ),), seen(PDQ, 1), **asked).answer is Answer.MATCH
    # Without a term for it nothing is looked for in patches.
    assert decided((term(PDQ),), screen=(Step.FULL, Step.PATCHES)).answer is Answer.NO_MATCH


def test_a_clause_by_an_algorithm_that_the_query_lacks_was_not_looked_at() -> None:
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rule_set(clause(near=term(PHOTODNA))))
    world.publish("ada", Listing(A1, md5=bytes(16)))
    picture = Query((), (Fingerprint(pdq_of(1), 90),))
    decision = decide(picture, (), world.obligations(), Context(), Place(1, bytes(32)))
    assert (decision.answer, decision.code) == (Answer.UNDETERMINED, "query.not_asked")


def test_a_vector_has_its_length() -> None:
    with pytest.raises(Malformed, match=r"query\.vector"):
        Query(vectors=((PHOTODNA, bytes(143)),))
    with pytest.raises(Malformed, match=r"query\.vector"):
        Query(vectors=((PDQ, bytes(144)),))
