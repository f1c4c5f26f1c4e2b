"""Signed answers about the list: what counts, who may say it, and what is refused."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.answering import Answered, answer_at, place_at, sign_answer
from accord.audit.listed import (
    AskedValue,
    Place,
    SignedAnswer,
    agreed,
    answer_of,
    check_asked,
    check_place,
    check_root,
    parse_signed_answer,
    signed_bytes,
)
from accord.cli.listed import asked_by, verify_answer
from accord.client.home import Home, create_home
from accord.ledger.genesis import encode_genesis
from accord.ledger.state import KEYS, KeyRow
from accord.registry.reach import Listed, rows_within, standing_of
from accord.replica.replica import Replica
from accord.statements.batch import Listing
from accord.statements.bodies import DisputeReason, RefRange, Role, Withdraw
from accord.statements.rules import Algorithm, Metric
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, ListingRef, MemberId, TimeMs
from consortium_kit import Consortium, listings
from continuing_kit import SECOND, go_on
from registry_kit import A1, World, flip, listing, pdq_of
from source_kit import ConsortiumSource, identity_of, now_of

SALT = bytes(range(32))
ROWS = listings(3)
PDQ, HAMMING = Algorithm.PDQ, Metric.HAMMING


def near(bits: bytes | None, distance: int = 31) -> AskedValue:
    assert bits is not None
    return AskedValue(PDQ, bits, HAMMING, distance)


@pytest.fixture
def world() -> Consortium:
    made = Consortium().open_epochs()
    made.publish("nl-one", ROWS[:2])
    return made


@pytest.fixture
def replica(world: Consortium, tmp_path: Path) -> Iterator[Replica]:
    with closing(followed(world, tmp_path, "nl-one")) as opened:
        yield opened


def followed(world: Consortium, directory: Path, member: str) -> Replica:
    who = identity_of(world, member)
    replica = Replica(directory / f"{member}.sqlite", world.founding, who, allow_trial=True)
    replica.sync(ConsortiumSource(world), now_of(world))
    return replica


def home_of(world: Consortium, directory: Path, member: str) -> Home:
    genesis = encode_genesis(world.founding.genesis)
    keys = world.keys[MemberId(member)]
    return create_home(directory / member, "agency", MemberId(member), genesis, [], keys)


def said(answered: Answered) -> list[Listed]:
    return [item.listed for item in answered.answer.values]


def test_what_counts_is_every_listing_and_the_furthest_of_them() -> None:
    world = World()
    first = world.publish("ada", listing(1), listing(2), approved=False)
    snapshot = world.registry().snapshot()

    def standing(seed: int, distance: int = 0) -> Listed:
        metric = HAMMING if distance else None
        rows = rows_within(snapshot, PDQ, flip(pdq_of(seed), distance), metric, distance)
        return standing_of(snapshot, rows)

    assert (standing(1), standing(9)) == (Listed.PROPOSED, Listed.NO)
    world.approve("ada", first)
    world.dispute("bea", first, first=1)
    snapshot = world.registry().snapshot()
    assert (standing(1), standing(2)) == (Listed.YES, Listed.YES)
    world.withdraw("ada", first, first=0, count=2)
    again = world.publish("bea", listing(1), approved=False)
    snapshot = world.registry().snapshot()
    assert (standing(1), standing(2)) == (Listed.PROPOSED, Listed.WITHDRAWN)
    world.approve("bea", again)
    snapshot = world.registry().snapshot()
    assert (standing(1, 31), standing(2, 31)) == (Listed.YES, Listed.WITHDRAWN)
    query = flip(pdq_of(1), 32)
    assert not len(rows_within(snapshot, PDQ, query, HAMMING, 31))
    assert len(rows_within(snapshot, PDQ, query, HAMMING, 32)) == 2


def test_a_patch_and_a_frame_are_listed_too() -> None:
    world = World()
    parts = Listing(A1, pdq=pdq_of(1), pdq_quality=90, patches=(pdq_of(2), pdq_of(3)))
    world.publish("ada", parts, Listing(A1, md5=b"\5" * 16, frames=(pdq_of(4), pdq_of(2))))
    snapshot = world.registry().snapshot()

    def rows(seed: int, away: int, metric: Metric | None, distance: int) -> list[int]:
        return list(rows_within(snapshot, PDQ, flip(pdq_of(seed), away), metric, distance))

    assert rows(1, 0, None, 0) == [0]
    assert rows(2, 0, None, 0) == [0, 1]
    assert rows(3, 20, HAMMING, 20) == [0]
    assert rows(4, 20, HAMMING, 20) == [1]
    assert rows(4, 20, HAMMING, 19) == []


def test_distances_of_photodna_are_as_the_matching_counts_them() -> None:
    world = World()
    vector = bytes(range(144))
    world.publish("ada", Listing(A1, photodna=vector))
    snapshot = world.registry().snapshot()
    other = bytes([30, 41, *range(2, 144)])  # 30 and 40 apart: 50 by Euclid, 70 by sum.
    for metric, reach in ((Metric.L2, 50), (Metric.L1, 70)):
        assert len(rows_within(snapshot, Algorithm.PHOTODNA, other, metric, reach)) == 1
        assert not len(rows_within(snapshot, Algorithm.PHOTODNA, other, metric, reach - 1))


@pytest.mark.parametrize(
    ("scheme", "metric", "distance"),
    [
        (PDQ, HAMMING, 65),
        (PDQ, HAMMING, 0),
        (PDQ, None, 1),
        (PDQ, Metric.L2, 1),
        (Algorithm.MD5, HAMMING, 1),
        (Algorithm.PHOTODNA, Metric.L2, 3_061),
    ],
)
def test_a_distance_that_cannot_be_is_refused(
    scheme: Algorithm, metric: Metric | None, distance: int
) -> None:
    width = {PDQ: 32, Algorithm.MD5: 16, Algorithm.PHOTODNA: 144}[scheme]
    with pytest.raises(Malformed, match=r"registry\.distance"):
        AskedValue(scheme, bytes(width), metric, distance)
    with pytest.raises(Malformed, match=r"registry\.value"):
        AskedValue(scheme, bytes(width + 1))


def test_an_answer_holds_neither_value_nor_ref(replica: Replica) -> None:
    asked = [near(ROWS[0].pdq), AskedValue(Algorithm.SHA256, ROWS[2].sha256 or b"")]
    found = answer_at(replica, None, SALT, asked)
    assert said(found) == [Listed.YES, Listed.NO]
    entry = next(e.index for e in replica.folded() if e.batch is not None)
    assert found.refs == ((ListingRef(entry, 0),), ())
    raw = SignedAnswer(MemberId("nl-one"), found.answer, bytes(16), bytes(64)).encode()
    for secret in (ROWS[0].pdq, ROWS[2].sha256, SALT):
        assert secret is not None
        assert secret.hex().encode() not in raw


def test_agencies_answer_alike_and_each_signs(world: Consortium, tmp_path: Path) -> None:
    asked = [near(ROWS[1].pdq)]
    signed: list[SignedAnswer] = []
    for member in ("nl-one", "ie-two"):
        with closing(followed(world, tmp_path, member)) as replica:
            found = answer_at(replica, None, SALT, asked)
            signed.append(sign_answer(home_of(world, tmp_path, member), found.answer))
            state = replica.state
    answers = [one.verify(state.get(KEYS, one.key_id), is_admitted=True) for one in signed]
    assert answers[0] == answers[1] == agreed(answers)
    assert signed[0].signature != signed[1].signature
    check_asked(answers[0], SALT, asked)
    other = replace(answers[0], size=answers[0].size - 1)
    with pytest.raises(Unproven, match=r"answer\.disagree"):
        agreed([answers[0], other])


def test_an_answer_of_the_past_is_given_again(world: Consortium, tmp_path: Path) -> None:
    asked = [near(ROWS[0].pdq), near(ROWS[2].pdq)]
    with closing(followed(world, tmp_path, "nl-one")) as replica:
        before = answer_at(replica, None, SALT, asked)
        size = before.answer.size
        third = world.publish("ie-two", ROWS[2:])
        entry = before.refs[0][0].entry
        body = Withdraw(world.header("nl-one"), (RefRange(entry, 0, 1),), DisputeReason.OTHER)
        world.must(body, Role.ANALYST)
        replica.sync(ConsortiumSource(world), now_of(world))
        after = answer_at(replica, None, SALT, asked)
        assert said(after) == [Listed.WITHDRAWN, Listed.YES]
        assert after.refs[1] == (ListingRef(third, 0),)
        assert answer_at(replica, size, SALT, asked) == before
        assert answer_at(replica, third + 1, SALT, asked).answer.values[1].listed is Listed.PROPOSED
    with closing(followed(world, tmp_path, "ca-three")) as fresh:
        assert answer_at(fresh, size, SALT, asked) == before
        for wrong in (0, fresh.size + 1):
            with pytest.raises(Malformed, match=r"answer\.size"):
                answer_at(fresh, wrong, SALT, asked)


def test_an_answer_from_before_a_continuation_is_given_again_after_it(
    world: Consortium, tmp_path: Path
) -> None:
    """Also by a newcomer, to whom the old batches open through the new key."""
    asked = [near(ROWS[0].pdq), near(ROWS[2].pdq)]
    with closing(followed(world, tmp_path, "nl-one")) as replica:
        before = answer_at(replica, None, SALT, asked)
    after = go_on(world).open_epochs()
    after.publish("fr-five", ROWS[2:])
    for directory, member in ((tmp_path, "nl-one"), (tmp_path / "new", "fr-five")):
        directory.mkdir(exist_ok=True)
        with closing(followed(after, directory, member)) as replica:
            assert answer_at(replica, before.answer.size, SALT, asked) == before
            found = answer_at(replica, None, SALT, asked)
            assert said(found) == [Listed.YES, Listed.YES]
            assert found.answer.chain == SECOND
            check_root(before.answer, replica.size, replica.root_at)


def test_only_an_analyst_or_auditor_of_the_agency_says_it(
    world: Consortium, replica: Replica, tmp_path: Path
) -> None:
    answer = answer_at(replica, None, SALT, [near(ROWS[0].pdq)]).answer
    signed = sign_answer(home_of(world, tmp_path, "nl-one"), answer)
    row = replica.state.get(KEYS, signed.key_id)
    assert row is not None
    assert signed.verify(row, is_admitted=True) == answer

    def code(key: KeyRow | None, one: SignedAnswer = signed) -> str:
        with pytest.raises(Unproven) as refused:
            one.verify(key, is_admitted=True)
        return refused.value.code

    with pytest.raises(Unproven, match=r"answer\.agency"):  # Removed since: its keys are not.
        signed.verify(row, is_admitted=False)
    assert code(None) == "answer.key"
    assert code(replace(row, member=MemberId("ie-two"))) == "answer.key"
    assert code(replace(row, role=Role.GOVERNOR)) == "answer.key"
    assert code(replace(row, revoked_ms=TimeMs(1))) == "answer.key_revoked"
    assert code(row, replace(signed, answer=replace(answer, size=1))) == "key.signature"
    ie = world.key("ie-two", Role.ANALYST)  # Another agency's key under this one's name.
    forged = replace(signed, signature=ie.sign(signed_bytes(signed.agency, answer)))
    assert code(row, forged) == "key.signature"
    # What it signed as a statement or for another agency is no answer.
    other = replace(signed, agency=MemberId("nl-four"))
    assert code(replace(row, member=MemberId("nl-four")), other) == "key.signature"


def test_an_answer_is_about_this_log_and_this_question(replica: Replica) -> None:
    asked = [near(ROWS[0].pdq)]
    answer = answer_at(replica, None, SALT, asked).answer
    check_root(answer, replica.size, replica.root_at)
    with pytest.raises(Unproven, match=r"answer\.other_log"):
        check_root(replace(answer, root=bytes(32)), replica.size, replica.root_at)
    with pytest.raises(Unavailable, match=r"answer\.ahead"):
        check_root(answer, replica.size - 1, replica.root_at)
    others = ([near(ROWS[1].pdq)], [near(ROWS[0].pdq, 30)], [*asked, *asked], [])
    for other in others:
        with pytest.raises(Unproven, match=r"answer\.other_question"):
            check_asked(answer, SALT, other)
    with pytest.raises(Unproven, match=r"answer\.other_question"):
        check_asked(answer, bytes(32), asked)
    with pytest.raises(Malformed, match=r"answer\.salt"):
        check_asked(answer, SALT[1:], asked)


def test_all_that_an_answer_says_of_the_log_is_held_against_it(replica: Replica) -> None:
    for size in (replica.size, replica.size - 1):
        answer = answer_at(replica, size, SALT, [near(ROWS[0].pdq)]).answer
        place = place_at(replica, size)
        check_place(answer, place, 1)
        for wrong in (
            replace(answer, time_ms=TimeMs(answer.time_ms + 1)),
            replace(answer, chain=SECOND),
            replace(answer, groups=()),
            replace(answer, fold_version=2),
        ):
            with pytest.raises(Unproven, match=r"answer\.other_facts"):
                check_place(wrong, place, 1)


def test_a_replica_to_which_nothing_is_released_denies_nothing(
    world: Consortium, tmp_path: Path
) -> None:
    """Its batches count as not released, not as holes: all would look unlisted."""
    with closing(Replica(tmp_path / "bare", world.founding, None, allow_trial=True)) as bare:
        bare.sync(ConsortiumSource(world), now_of(world))
        with pytest.raises(Unavailable, match=r"answer\.holes"):
            answer_at(bare, None, SALT, [near(ROWS[0].pdq)])


@pytest.mark.parametrize("scheme", ["patches", "vpdq"])
def test_what_is_no_single_value_is_not_asked_about(scheme: str) -> None:
    with pytest.raises(Malformed, match=r"registry\.value"):
        AskedValue(Algorithm(scheme), bytes(32))
    with pytest.raises(Malformed, match=r"registry\.value"):
        asked_by([f"{scheme}:{'00' * 32}"], None, insecure=False)


def test_answering_again_needs_a_home(tmp_path: Path) -> None:
    options = {"log": "http://127.0.0.1:1", "refold": True, "asked": ["x"], "salt": SALT.hex()}
    with pytest.raises(Malformed, match=r"--refold with --home"):
        verify_answer([tmp_path / "none"], **options)  # type: ignore[arg-type]  # Options.


def test_a_list_with_holes_denies_nothing() -> None:
    world = World()
    world.publish("ada", listing(1), unopened="no_key", approved=False)
    place = Place(ChainId("trial-x"), len(world.entries), bytes(32), TimeMs(0))
    with pytest.raises(Unavailable, match=r"answer\.holes"):
        answer_of(world.registry().snapshot(), place, 1, SALT, [near(pdq_of(9))])


def test_a_file_of_another_form_is_refused(replica: Replica) -> None:
    found = answer_at(replica, None, SALT, [near(ROWS[0].pdq)])
    raw = SignedAnswer(MemberId("nl-one"), found.answer, bytes(16), bytes(64)).encode()
    assert parse_signed_answer(raw).encode() == raw
    spaced = raw.replace(b'": ', b'":  ', 1)
    for wrong in (
        b"",
        b"[]",
        b"{}",
        raw + b" ",
        spaced,
        raw.replace(b"accord/v1/list", b"accord/v2/list"),
    ):
        with pytest.raises(Malformed):
            parse_signed_answer(wrong)
