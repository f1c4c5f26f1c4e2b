"""Decisions: one rule a test."""

from dataclasses import replace

import numpy as np
import pytest

from accord.fingerprint.types import (
    Digests,
    Fingerprint,
    Fingerprinted,
    FramePdq,
    MediaFacts,
    Unhashable,
    UnhashableCode,
)
from accord.matching import (
    Answer,
    Applied,
    Cap,
    Conflict,
    Context,
    Decision,
    MatchIndex,
    Place,
    Query,
    ReportDuty,
    build_screen,
    decision_view,
    query_of,
)
from accord.registry import Certifier
from accord.statements.batch import Batch, Column, Listing
from accord.statements.bodies import Publish
from accord.statements.rules import Action, Algorithm, Modality, Near, Report, Scope, Service
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId, ListingRef, MemberId
from accord.wire.limits import REASONS_MAX
from registry_kit import A1, B2, GROUP, NOW, PLATFORM, World, clause, flip, header, listing, pdq_of
from registry_kit import rule_set as rules

AT, BE, CY = (JurisdictionId(name) for name in ("AT", "BE", "CY"))
CHECKPOINT = Place(7, b"\7" * 32)
MD5 = b"\1" * 16


def near(action: Action, threshold: int = 31, quality: int = 50, alone: bool = False) -> Near:
    return Near(Algorithm.PDQ, threshold, quality, action, alone)


def picture(bits: bytes, quality: int = 100, *more: tuple[Algorithm, bytes]) -> Query:
    return Query(more, (Fingerprint(bits, quality),))


def ask(world: World, query: Query, context: Context | None = None) -> Decision:
    screen = build_screen(world.registry(), world.state, PLATFORM, CHECKPOINT)
    return screen.decide(query, context or Context())


def world_in_at(**changes: object) -> World:
    world = World()
    world.put_platform(("AT",))
    world.put_rules("AT", rules(**changes))
    return world


@pytest.mark.parametrize(("distance", "answer"), [(0, "match"), (31, "match"), (32, "no-match")])
def test_the_threshold_is_included(distance: int, answer: str) -> None:
    world = world_in_at()
    world.publish("ada", listing(1))
    decision = ask(world, picture(flip(pdq_of(1), distance)))
    assert decision.answer.value == answer
    assert [reason.distance for reason in decision.reasons] == [distance][: answer == "match"]


def test_the_ceiling_of_governance_narrows_a_rule() -> None:
    world = world_in_at()
    world.publish("ada", listing(1))
    world.put_parameters(pdq_max=10)
    assert ask(world, picture(flip(pdq_of(1), 10))).answer is Answer.MATCH
    assert ask(world, picture(flip(pdq_of(1), 11))).answer is Answer.NO_MATCH


@pytest.mark.parametrize(
    ("mine", "theirs", "answer"),
    [(80, 80, Answer.MATCH), (79, 80, Answer.UNDETERMINED), (80, 79, Answer.NO_MATCH)],
)
def test_both_qualities_must_reach_the_floor(mine: int, theirs: int, answer: Answer) -> None:
    world = world_in_at()
    world.put_rules("AT", rules(clause(near=near(Action.REVIEW, quality=80))))
    world.publish("ada", listing(1, quality=theirs))
    decision = ask(world, picture(pdq_of(1), mine))
    assert decision.answer is answer
    assert (decision.code == "query.low_quality") == (answer is Answer.UNDETERMINED)


def test_one_good_frame_is_enough_and_each_listing_is_named_once() -> None:
    world = world_in_at()
    world.publish("ada", listing(1))
    frames = ((9, 20), (4, 90), (2, 95), (7, 99))
    query = Query((), tuple(Fingerprint(flip(pdq_of(1), d), q) for d, q in frames))
    decision = ask(world, query)
    assert [(r.distance, r.query_quality) for r in decision.reasons] == [(2, 95)]
    assert (decision.listings, decision.truncated) == (1, False)


def test_an_exact_match_acts_as_the_rule_says() -> None:
    world = world_in_at()
    world.publish("ada", Listing(A1, md5=MD5))
    decision = ask(world, Query(((Algorithm.MD5, MD5),)))
    assert (decision.answer, decision.action) == (Answer.MATCH, Action.BLOCK)
    reason = decision.reasons[0]
    assert (reason.algorithm, reason.distance, reason.query_quality) == (
        Algorithm.MD5,
        0,
        None,
    )


def test_a_digest_the_rule_does_not_name_is_no_match() -> None:
    world = world_in_at()
    world.publish("ada", Listing(A1, sha1=b"\2" * 20))
    assert ask(world, Query(((Algorithm.SHA1, b"\2" * 20),))).answer is Answer.NO_MATCH


def test_a_near_match_alone_goes_to_review_unless_the_rule_says_otherwise() -> None:
    world = world_in_at()
    world.publish("ada", listing(1))
    decision = ask(world, picture(pdq_of(1)))
    assert (decision.action, decision.reasons[0].cap) == (Action.REVIEW, Cap.NEAR_ALONE)
    world.put_rules("AT", rules(clause(near=near(Action.QUARANTINE, alone=True))))
    decision = ask(world, picture(pdq_of(1)))
    assert (decision.action, decision.reasons[0].cap) == (Action.QUARANTINE, None)
    world.put_rules("AT", rules(clause(near=near(Action.TAG))))
    assert ask(world, picture(pdq_of(1))).action is Action.TAG


def test_a_digest_confirms_a_near_match_of_the_same_listing_only() -> None:
    world = world_in_at()
    world.put_rules("AT", rules(clause(exact=None)))
    twice = Listing(A1, pdq=pdq_of(1), pdq_quality=100, sha1=b"\2" * 20)
    world.publish("ada", twice, Listing(A1, sha1=b"\3" * 20))
    confirmed = ask(world, picture(pdq_of(1), 100, (Algorithm.SHA1, b"\2" * 20)))
    assert (confirmed.action, confirmed.reasons[0].cap) == (Action.QUARANTINE, None)
    other = ask(world, picture(pdq_of(1), 100, (Algorithm.SHA1, b"\3" * 20)))
    assert (other.action, other.reasons[0].cap) == (Action.REVIEW, Cap.NEAR_ALONE)


def test_a_disputed_listing_goes_to_review_at_most() -> None:
    world = world_in_at()
    entry = world.publish("bea", Listing(A1, md5=MD5), listing(1))
    world.dispute("ada", entry, count=2)
    decision = ask(world, Query(((Algorithm.MD5, MD5),)))
    assert (decision.action, decision.reasons[0].cap) == (Action.REVIEW, Cap.DISPUTED)
    assert decision.reasons[0].disputed
    world.put_rules("AT", rules(clause(near=near(Action.TAG))))
    assert ask(world, picture(pdq_of(1))).action is Action.TAG


def test_an_inactive_listing_does_not_match() -> None:
    world = world_in_at()
    world.put_rules("AT", rules(clause(2, 1)))
    entry = world.publish("ada", listing(1))
    assert ask(world, picture(pdq_of(1))).answer is Answer.NO_MATCH
    world.endorse("bea", entry)
    assert ask(world, picture(pdq_of(1))).answer is Answer.MATCH


def test_jurisdictions_combine_to_the_strictest_action_and_all_duties() -> None:
    world = World()
    world.put_platform(("AT", "BE", "CY"))
    world.put_rules("AT", rules(clause(exact=Action.TAG), user_notice="Told in AT"))
    world.put_rules(
        "BE",
        rules(clause(exact=Action.BLOCK), preserve_days=365, report=Report("Police", 4)),
        version=3,
    )
    world.put_rules("CY", rules(clause(classes=(B2,)), preserve_days=999))
    world.publish("ada", Listing(A1, md5=MD5))
    decision = ask(world, Query(((Algorithm.MD5, MD5),)))
    assert decision.action is Action.BLOCK
    assert [(r.jurisdiction, r.action) for r in decision.reasons] == [
        (BE, Action.BLOCK),
        (AT, Action.TAG),
    ]
    assert decision.duties.reports == (
        ReportDuty(AT, "Hotline", 24),
        ReportDuty(BE, "Police", 4),
    )
    assert (decision.duties.report_within_hours, decision.duties.preserve_days) == (4, 365)
    assert decision.duties.user_notices == ((AT, "Told in AT"),)
    assert [verdict.answer for verdict in decision.verdicts] == ["match", "match", "no-match"]
    only = ask(world, Query(((Algorithm.MD5, MD5),)), Context((AT,)))
    assert (only.action, len(only.verdicts)) == (Action.TAG, 1)


@pytest.mark.parametrize(("distance", "matching"), [(5, [AT, BE]), (6, [BE]), (20, [BE])])
def test_each_jurisdiction_has_its_own_threshold(
    distance: int, matching: list[JurisdictionId]
) -> None:
    world = World()
    world.put_platform(("AT", "BE"))
    world.put_rules("AT", rules(clause(near=near(Action.REVIEW, threshold=5))))
    world.put_rules("BE", rules(clause(near=near(Action.REVIEW, threshold=20))))
    world.publish("ada", listing(1))
    decision = ask(world, picture(flip(pdq_of(1), distance)))
    assert [reason.jurisdiction for reason in decision.reasons] == matching


def test_a_jurisdiction_the_platform_is_not_admitted_in_is_refused() -> None:
    world = world_in_at()
    world.publish("ada", listing(1))
    with pytest.raises(Malformed, match=r"decision\.jurisdiction"):
        ask(world, picture(pdq_of(1)), Context((BE,)))


@pytest.mark.parametrize(
    ("changes", "context", "applied"),
    [
        ({}, Context(), Applied.APPLIED),
        ({"scope": (Scope.STORED,)}, Context(), Applied.OTHER_SCOPE),
        ({"scope": (Scope.STORED,)}, Context(scope=Scope.STORED), Applied.APPLIED),
        ({}, Context(service=Service.MESSAGING), Applied.OTHER_SERVICE),
        ({"valid_from_ms": NOW + 99}, Context(), Applied.NOT_VALID),
        ({"modality": Modality.PERMITTED}, Context(), Applied.APPLIED),
        ({"modality": Modality.PROHIBITED}, Context(), Applied.PROHIBITED),
    ],
)
def test_rules_apply_by_scope_service_validity_and_modality(
    changes: dict[str, object], context: Context, applied: Applied
) -> None:
    world = world_in_at(**changes)
    world.publish("ada", listing(1))
    decision = ask(world, picture(pdq_of(1)), context)
    assert decision.verdicts[0].applied is applied
    assert (decision.answer is Answer.MATCH) == (applied is Applied.APPLIED)


def test_required_here_and_prohibited_there_is_a_conflict_for_a_person() -> None:
    world = World()
    world.put_platform(("AT", "BE", "CY"))
    world.put_rules("AT", rules())
    world.put_rules("BE", rules(modality=Modality.PROHIBITED))
    world.put_rules("CY", rules(modality=Modality.PERMITTED))
    world.publish("ada", Listing(A1, md5=MD5))
    query = Query(((Algorithm.MD5, MD5),))
    decision = ask(world, query)
    assert decision.conflict == Conflict((AT,), (BE,))
    assert (decision.answer, decision.action) == (Answer.MATCH, Action.REVIEW)
    assert decision.reasons[0].action is Action.BLOCK
    assert decision.verdicts[2].applied is Applied.YIELDED
    yielded = ask(world, query, Context((BE, CY)))
    assert (yielded.answer, yielded.conflict, yielded.reasons) == (Answer.NO_MATCH, None, ())


def test_could_not_look_is_answered_by_the_rules() -> None:
    world = World()
    world.put_platform(("AT", "BE"))
    world.put_rules("AT", rules(undetermined=Action.TAG))
    world.put_rules("BE", rules(undetermined=Action.QUARANTINE))
    world.publish("ada", Listing(A1, md5=MD5))
    decision = ask(world, Query(undetermined="image.truncated"))
    assert (decision.answer, decision.action, decision.code) == (
        Answer.UNDETERMINED,
        Action.QUARANTINE,
        "image.truncated",
    )
    assert decision.duties.reports == ()
    matched = ask(world, Query(((Algorithm.MD5, MD5),), undetermined="image.truncated"))
    assert (matched.answer, matched.action) == (Answer.MATCH, Action.BLOCK)
    assert matched.code == "image.truncated"


def test_could_not_look_is_never_no_match_even_without_rules() -> None:
    world = World()
    world.publish("ada", listing(1))
    decision = ask(world, Query(undetermined="image.timeout"))
    assert (decision.answer, decision.action) == (Answer.UNDETERMINED, Action.ALLOW)
    assert {verdict.applied for verdict in decision.verdicts} == {Applied.NO_RULES}


def test_a_stale_list_goes_on_and_the_rule_says_the_least() -> None:
    world = world_in_at(stale=Action.TAG)
    world.publish("ada", Listing(A1, md5=MD5))
    miss = ask(world, Query(((Algorithm.MD5, bytes(16)),)), Context(stale=True))
    assert (miss.answer, miss.action, miss.stale) == (Answer.NO_MATCH, Action.TAG, True)
    hit = ask(world, Query(((Algorithm.MD5, MD5),)), Context(stale=True))
    assert (hit.answer, hit.action) == (Answer.MATCH, Action.BLOCK)


def test_a_decision_names_rule_listing_agencies_and_checkpoint() -> None:
    world = world_in_at()
    world.put_rules("AT", rules(clause(2, 2)), version=4)
    entry = world.publish("ada", listing(1))
    endorsed = world.endorse("cyd", entry, level=1)
    decision = ask(world, picture(flip(pdq_of(1), 3), 90))
    reason = decision.reasons[0]
    assert (reason.rule_version, reason.rule_entry, reason.clause) == (4, 1004, "main")
    assert (reason.ref, reason.publisher, reason.class_code) == (
        ListingRef(0, 0),
        MemberId("ada"),
        A1,
    )
    assert reason.certifiers == (
        Certifier(MemberId("ada"), entry, "published", None),
        Certifier(MemberId("cyd"), endorsed, "endorsed", 1),
    )
    assert decision.checkpoint == CHECKPOINT
    text = repr(decision) + str(decision_view(decision))
    assert pdq_of(1).hex() not in text
    assert repr(pdq_of(1)) not in text


def test_many_matches_name_the_strictest_and_say_so() -> None:
    world = world_in_at()
    world.put_rules("AT", rules(clause(near=near(Action.REVIEW))))
    count = REASONS_MAX + 10
    world.publish("ada", *[listing(1)] * count, Listing(A1, md5=MD5))
    decision = ask(world, picture(pdq_of(1), 100, (Algorithm.MD5, MD5)))
    assert (len(decision.reasons), decision.listings) == (REASONS_MAX, count + 1)
    assert decision.truncated
    assert decision.reasons[0].algorithm is Algorithm.MD5
    assert decision.action is Action.BLOCK


def test_a_screen_grown_from_the_last_one_decides_the_same() -> None:
    world = world_in_at()
    registry = world.registry()
    screen = None
    for seed in range(6):
        entry = world.publish("ada", listing(seed), Listing(A1, md5=bytes([seed]) * 16))
        if seed == 3:
            world.withdraw("ada", entry)
        registry.fold_all(world.entries[registry.size :])
        screen = build_screen(registry, world.state, PLATFORM, CHECKPOINT, screen)
    assert screen is not None
    fresh = build_screen(world.registry(), world.state, PLATFORM, CHECKPOINT)
    queries = [picture(pdq_of(seed), 100, (Algorithm.MD5, bytes([seed]) * 16)) for seed in range(8)]
    assert screen.decide_many(queries, Context()) == fresh.decide_many(queries, Context())
    assert screen.obligations.active_root == fresh.obligations.active_root
    assert screen.decide(picture(pdq_of(3)), Context()).answer is Answer.NO_MATCH


def test_what_fingerprinting_yields_is_asked_as_it_is() -> None:
    digests = Digests(bytes(16), bytes(20), bytes(32))
    frames = (FramePdq(0, 0, pdq_of(1), 80), FramePdq(0, 0, pdq_of(2), 70))
    found = Fingerprinted(digests, frames, MediaFacts("png", 1, 1, 1))
    assert query_of(found).frames == (Fingerprint(pdq_of(1), 80), Fingerprint(pdq_of(2), 70))
    assert len(query_of(found).digests) == 3
    failed = Unhashable(UnhashableCode.TOO_FLAT, digests)
    assert query_of(failed) == Query(query_of(found).digests, (), "image.too_flat")
    assert query_of(replace(failed, digests=None)).digests == ()
    with pytest.raises(Malformed, match=r"query\.digest"):
        Query(((Algorithm.MD5, bytes(20)),))


def test_an_index_over_many_blocks_finds_every_row() -> None:
    world = world_in_at()
    rng = np.random.default_rng(5)
    values = rng.integers(0, 256, (40_000, 32), dtype=np.uint8)
    wanted = [0, 16_383, 16_384, 32_767, 32_768, 39_999]
    for row in wanted:
        values[row] = np.frombuffer(flip(pdq_of(1), row % 31), dtype=np.uint8)
    for start in range(0, 40_000, 10_000):
        pdq = Column("pdq", 32, b"", values[start : start + 10_000].tobytes())
        quality = Column("pdq-quality", 1, b"", b"\x50" * 10_000)
        batch = Batch(1, 10_000, (A1,), bytes(10_000), bytes(10_000), (pdq, quality), ())
        body = Publish(header("ada"), 10_000, (GROUP,), (1,), False, bytes(32))
        world.approve("ada", world.say(body, batch=batch))
    snapshot = world.registry().snapshot()
    index = MatchIndex.build(snapshot, np.arange(snapshot.count, dtype=np.uint32))
    assert sorted(index.near(pdq_of(1), 31).rows) == wanted
    with pytest.raises(Malformed, match=r"matching\.pdq_length"):
        index.near(bytes(16), 31)
