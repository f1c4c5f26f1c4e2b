"""Rule sets of every shape that a file can say."""

from hypothesis import strategies as st

from accord.statements.rules import (
    EXACT_ALGORITHMS,
    METRICS,
    NO_DEMAND,
    PDQ_KIN,
    QUALITY_ALGORITHMS,
    Action,
    Algorithm,
    Certification,
    ClassCode,
    Clause,
    Demand,
    Exact,
    LegalBasis,
    Modality,
    Near,
    Report,
    RuleSet,
    Scope,
    Service,
    Step,
)
from accord.wire.limits import PATCH_VOTES_MIN

YEAR_9999_MS = 253_402_300_799_999
NAME = st.from_regex(r"[a-z][a-z0-9-]{1,10}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
PART = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=12)
CLASS = st.builds(ClassCode, NAME, PART, PART.filter(bool))
ACTION = st.sampled_from(Action)


def ordered(items: st.SearchStrategy, low: int = 1, high: int = 4) -> st.SearchStrategy:
    return st.sets(items, min_size=low, max_size=high).map(lambda found: tuple(sorted(found)))


EXACT = st.builds(Exact, ordered(st.sampled_from(sorted(EXACT_ALGORITHMS)), high=3), ACTION)


@st.composite
def near(draw: st.DrawFn, algorithm: Algorithm) -> Near:
    metric = draw(st.sampled_from(list(METRICS[algorithm])))
    kin = PDQ_KIN if algorithm in PDQ_KIN else {algorithm}
    others = sorted(name for name in Algorithm if name not in kin)
    action = draw(ACTION)
    return Near(
        algorithm,
        draw(st.integers(0, METRICS[algorithm][metric])),
        draw(st.integers(0, 100)) if algorithm in QUALITY_ALGORITHMS else 0,
        action,
        draw(st.booleans()),
        metric,
        draw(ordered(st.sampled_from(others), low=0)),
        *draw(demand(algorithm, action)),
    )


def demand(algorithm: Algorithm, action: Action) -> st.SearchStrategy[Demand]:
    """What an algorithm that counts meetings may ask."""
    if algorithm is Algorithm.PATCHES:
        least = PATCH_VOTES_MIN if action.severity > Action.REVIEW.severity else 2
        return st.tuples(st.integers(least, 24), st.just(0), st.just(0))
    if algorithm is Algorithm.VPDQ:
        percent = st.integers(0, 100)
        return st.tuples(st.just(0), percent, percent).filter(lambda asked: asked[1] + asked[2] > 0)
    return st.just(NO_DEMAND)


NEAR = st.sets(st.sampled_from(list(METRICS)), max_size=2).flatmap(
    lambda found: st.tuples(*[near(name) for name in sorted(found)])
)
CERTIFICATION = st.builds(Certification, st.integers(1, 64), st.integers(1, 64), st.integers(0, 2))


def clause(name: str) -> st.SearchStrategy[Clause]:
    return st.builds(
        Clause, st.just(name), ordered(CLASS), CERTIFICATION, st.none() | EXACT, NEAR
    ).filter(lambda made: made.exact is not None or made.near)


CLAUSES = st.lists(NAME, unique=True, max_size=3).flatmap(
    lambda names: st.tuples(*[clause(name) for name in names])
)


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    start = draw(
        st.integers(0, YEAR_9999_MS - 1) | st.integers(0, 36_500).map(lambda d: d * 86_400_000)
    )
    return RuleSet(
        title=draw(TEXT),
        modality=draw(st.sampled_from(Modality)),
        legal_basis=LegalBasis(draw(TEXT), draw(st.just("") | TEXT)),
        valid_from_ms=start,
        valid_to_ms=draw(st.none() | st.integers(start + 1, YEAR_9999_MS)),
        services=draw(ordered(st.sampled_from(Service))),
        scope=draw(ordered(st.sampled_from(Scope), high=2)),
        clauses=draw(CLAUSES),
        undetermined=draw(ACTION),
        stale=draw(ACTION),
        report=draw(st.none() | st.builds(Report, TEXT, st.integers(0, 876_000))),
        preserve_days=draw(st.integers(0, 36_500)),
        sync_within_minutes=draw(st.integers(0, 5_256_000)),
        rescan_within_hours=draw(st.integers(0, 876_000)),
        user_notice=draw(st.just("") | TEXT),
        attest_within_minutes=draw(st.integers(0, 5_256_000)),
        groups=draw(ordered(NAME, low=0)),
        screen=draw(ordered(st.sampled_from(Step), high=3)),
    )
