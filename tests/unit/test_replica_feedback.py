"""Who hears what a platform says of listings, and what is made of what does not open."""

from dataclasses import replace
from pathlib import Path

import pytest

from accord.replica.replica import Identity, Replica
from accord.statements.batch import listings_of
from accord.statements.bodies import Feedback, Role
from accord.statements.confidential import load_decrypt_private
from accord.statements.feedback import Reason, Word, parse_feedback_blob
from accord.wire.digests import sha256
from accord.wire.record import encode_record
from bytes_kit import bent
from consortium_kit import Consortium, derived_key, listings
from feedback_kit import feedback_body, word
from source_kit import ConsortiumSource, identity_of, now_of


@pytest.fixture
def world() -> Consortium:
    consortium = Consortium().open_epochs()
    consortium.admit_platform()
    return consortium


def follow(world: Consortium, path: Path, who: Identity) -> Replica:
    replica = Replica(path, world.founding, who, allow_trial=True)
    replica.sync(ConsortiumSource(world), now_of(world))
    return replica


def heard(replica: Replica) -> list[tuple[tuple[Word, ...], str | None]]:
    said = (entry for entry in replica.folded() if isinstance(entry.body, Feedback))
    return [(entry.words, entry.unopened) for entry in said]


def said(world: Consortium, words: tuple[Word, ...]) -> tuple[Feedback, Role, bytes]:
    body, blob = feedback_body(world, words)
    return body, Role.REPORTER, blob


def test_agencies_hear_what_platforms_say_of_listings(world: Consortium, tmp_path: Path) -> None:
    words = (word("12/3", Reason.FALSE_NEAR, "pdq"), word("15/0"))
    body, role, blob = said(world, words)
    world.must(body, role, blob)
    agency = follow(world, tmp_path / "a.sqlite", identity_of(world, "ie-two"))
    cloud = follow(world, tmp_path / "cloud.sqlite", identity_of(world, "cloud"))
    assert heard(agency) == [(words, None)]
    assert heard(cloud) == [((), "not_released")]
    assert cloud.blob(body.blob_sha256) is None, "a platform does not even fetch it"
    assert [entry.body for entry in agency.bare(3)] == [entry.body for entry in agency.folded(3)]
    assert not any(entry.words or entry.batch for entry in agency.bare())
    for replica in (agency, cloud):
        replica.close()


def test_a_key_that_was_put_aside_still_opens_what_was_sealed_to_it(
    world: Consortium, tmp_path: Path
) -> None:
    words = (word("12/3"),)
    world.must(*said(world, words))
    who = identity_of(world, "ie-two")
    follow(world, tmp_path / "a.sqlite", who).close()
    fresh = load_decrypt_private(derived_key("ie-two", Role.DECRYPTOR, "another").seed)
    for former, found in (((), [((), "not_released")]), (tuple(who.keys.items()), [(words, None)])):
        other = Identity(who.member, *fresh, former)
        replica = Replica(tmp_path / "a.sqlite", world.founding, other, allow_trial=True)
        assert heard(replica) == found
        replica.close()


def test_words_that_do_not_open_are_named_and_stop_nothing(
    world: Consortium, tmp_path: Path
) -> None:
    body, blob = feedback_body(world, (word("12/3"),))
    parsed = parse_feedback_blob(blob)
    cut = bent(parsed.ciphertext)
    for changed, code in (
        (replace(parsed, ciphertext=cut), "confidential.ciphertext"),
        (replace(parsed, commitment=bytes(32)), "feedback.wrap"),
    ):
        raw = encode_record(changed)
        other = replace(body, header=world.header("cloud"), blob_sha256=sha256(raw))
        world.must(other, Role.REPORTER, raw)
        world.publish("nl-one", listings(1, code))
    replica = follow(world, tmp_path / "a.sqlite", identity_of(world, "ie-two"))
    assert [code for _, code in heard(replica)] == ["confidential.ciphertext", "feedback.wrap"]
    opened = [list(listings_of(e.batch)) for e in replica.folded() if e.batch is not None]
    assert opened[-1] == listings(1, "feedback.wrap")
    replica.close()
