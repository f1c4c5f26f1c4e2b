"""Who may say what about listings that matched, how much of it, and whom it must be told."""

from dataclasses import replace

import pytest

from accord.ledger.codes import RejectCode
from accord.ledger.listings import apply_feedback
from accord.ledger.state import FEEDBACK, PUBLICATIONS, Draft, FeedbackRow
from accord.scan.cases.sealed import hearers
from accord.statements.bodies import Feedback, Propose, Recipient, Role, SuspendPlatform
from accord.statements.feedback import Reason, parse_feedback_blob, recipients_sha256
from accord.wire.digests import sha256
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import (
    FEEDBACK_DAY_STATEMENTS_MAX,
    FEEDBACK_DAY_WORDS_MAX,
    FEEDBACK_WORDS_MAX,
)
from accord.wire.record import encode_record
from consortium_kit import Consortium, listings
from feedback_kit import feedback_body, word

DAY_MS = 86_400_000
WORDS = (word("12/3", Reason.FALSE_NEAR, "pdq"), word("15/0"))


@pytest.fixture
def world() -> Consortium:
    consortium = Consortium().open_epochs()
    consortium.admit_platform()
    consortium.publish("nl-one", listings(2))
    return consortium


def said(world: Consortium, words: int) -> Feedback:
    """A statement that claims so many words, before anybody looks at its blob."""
    told = recipients_sha256(to for to, _ in hearers(world.ledger.state))
    return Feedback(world.header("cloud"), words, told, bytes(32))


def test_a_platforms_reporter_says_it_and_nobody_else(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    assert world.say(body, Role.SCANNER, blob) is RejectCode.WRONG_ROLE
    theirs = replace(body, header=world.header("nl-one"))
    assert world.say(theirs, Role.ANALYST, blob) is RejectCode.BLOB_HEADER
    entry = world.must(body, Role.REPORTER, blob)
    assert world.blobs[body.blob_sha256] == blob
    assert entry == len(world.leaves) - 1
    day = world.now // DAY_MS
    assert world.ledger.state.get(FEEDBACK, b"cloud") == FeedbackRow(day, 1, 2)


def test_a_platform_that_is_suspended_is_not_heard(world: Consortium) -> None:
    world.decide(Propose(world.header("nl-one"), SuspendPlatform(MemberId("cloud"))))
    body, blob = feedback_body(world, WORDS)
    assert world.say(body, Role.REPORTER, blob) is RejectCode.MEMBER_SUSPENDED


def test_what_was_said_is_not_said_again_by_repeating_it(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    raw = world.sign(body, Role.REPORTER, blob)
    assert [type(v) for v in world.block(raw, raw).verdicts] == [int, RejectCode]
    assert world.block(raw).verdicts == (RejectCode.REPLAYED,)


def test_no_agency_is_left_out_and_nobody_else_is_told(world: Consortium) -> None:
    everybody = hearers(world.ledger.state)
    own = world.key("cloud", Role.DECRYPTOR)
    stranger = (Recipient(MemberId("cloud"), own.key_id), own.public)
    for to in (everybody[1:], everybody[:-1], sorted([*everybody, stranger])):
        body, blob = feedback_body(world, WORDS, recipients=to)
        assert world.say(body, Role.REPORTER, blob) is RejectCode.WRONG_RECIPIENTS
    world.must(*_with_role(feedback_body(world, WORDS, recipients=everybody)))


def test_the_blob_is_the_one_that_the_statement_names(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS)
    parsed = parse_feedback_blob(blob)
    assert world.say(body, Role.REPORTER, None) is RejectCode.BLOB_MISSING
    assert world.say(body, Role.REPORTER, blob + b"\x00") is RejectCode.BLOB_MISMATCH
    noise = replace(body, blob_sha256=sha256(b"noise"))
    assert world.say(noise, Role.REPORTER, b"noise") is RejectCode.MALFORMED
    for changed in (
        replace(parsed, platform=MemberId("drive")),
        replace(parsed, wraps=parsed.wraps[1:]),
        replace(parsed, ciphertext=parsed.ciphertext + bytes(1_200)),
    ):
        raw = encode_record(changed)
        other = replace(body, blob_sha256=sha256(raw))
        assert world.say(other, Role.REPORTER, raw) is RejectCode.BLOB_HEADER


def test_a_flood_of_words_ends_at_the_quota_of_a_day(world: Consortium) -> None:
    draft, body = Draft(world.ledger.state), said(world, FEEDBACK_WORDS_MAX)
    day = TimeMs(world.now // DAY_MS * DAY_MS)
    for _ in range(FEEDBACK_DAY_WORDS_MAX // FEEDBACK_WORDS_MAX):
        assert apply_feedback(draft, body, day) is None
    one = said(world, 1)
    assert apply_feedback(draft, one, day) is RejectCode.FEEDBACK_QUOTA
    assert apply_feedback(draft, one, TimeMs(day + DAY_MS - 1)) is RejectCode.FEEDBACK_QUOTA
    assert apply_feedback(draft, one, TimeMs(day + DAY_MS)) is None


def test_a_flood_of_small_statements_ends_too(world: Consortium) -> None:
    draft, one = Draft(world.ledger.state), said(world, 1)
    for _ in range(FEEDBACK_DAY_STATEMENTS_MAX):
        assert apply_feedback(draft, one, world.now) is None
    assert apply_feedback(draft, one, world.now) is RejectCode.FEEDBACK_QUOTA
    other = replace(one, header=world.header("drive"))
    assert apply_feedback(draft, other, world.now) is None, "each platform has its own"


def test_one_that_is_refused_costs_nothing_of_the_quota(world: Consortium) -> None:
    body, blob = feedback_body(world, WORDS, recipients=hearers(world.ledger.state)[1:])
    assert world.say(body, Role.REPORTER, blob) is RejectCode.WRONG_RECIPIENTS
    assert world.ledger.state.get(FEEDBACK, b"cloud") is None


def test_it_never_touches_a_listing(world: Consortium) -> None:
    """The ledger's rows of listings are as they were, whatever platforms say."""
    before = list(world.ledger.state.rows(PUBLICATIONS))
    world.must(*_with_role(feedback_body(world, [word("3/0", Reason.NOT_CSAM)])))
    assert list(world.ledger.state.rows(PUBLICATIONS)) == before


def _with_role(made: tuple[Feedback, bytes]) -> tuple[Feedback, Role, bytes]:
    return made[0], Role.REPORTER, made[1]
