"""What can be shown against somebody: each item comes out of bytes that they signed."""

from dataclasses import replace
from pathlib import Path

import pytest

from accord.cli.evidence import proved_by
from accord.replica.replica import Replica
from accord.statements.bodies import Role
from accord.statements.confidential import parse_batch_blob
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.wire.digests import sha256
from accord.wire.errors import Unproven
from accord.wire.record import encode_record
from consortium_kit import GROUPS, Consortium, listings
from source_kit import ConsortiumSource, identity_of, now_of


@pytest.fixture
def world() -> Consortium:
    return Consortium().open_epochs()


def replica_of(world: Consortium, path: Path) -> Replica:
    return Replica(
        path / "replica.sqlite", world.founding, identity_of(world, "ie-two"), allow_trial=True
    )


def test_an_honest_log_has_nothing_to_show(world: Consortium, tmp_path: Path) -> None:
    world.publish("nl-one", listings(2))
    replica = replica_of(world, tmp_path)
    replica.sync(ConsortiumSource(world), now_of(world))
    assert proved_by(replica) == {"batches": [], "second_heads": []}
    replica.close()


def test_a_batch_with_two_faces_names_its_publisher(world: Consortium, tmp_path: Path) -> None:
    body, blob = world.publish_body("nl-one", listings(2))
    parsed = parse_batch_blob(blob)
    agencies, platforms = GROUPS
    wraps = tuple(
        replace(wrap, wrapped=bytes(len(wrap.wrapped))) if wrap.group == agencies else wrap
        for wrap in parsed.wraps
    )
    spoilt = encode_record(replace(parsed, wraps=wraps))
    world.must(replace(body, blob_sha256=sha256(spoilt)), Role.ANALYST, spoilt)
    replica = replica_of(world, tmp_path)
    replica.sync(ConsortiumSource(world), now_of(world))
    (found,) = proved_by(replica)["batches"]
    assert (found["publisher"], found["group"]) == ("nl-one", agencies)
    assert platforms != found["group"]
    replica.close()


def test_a_second_head_is_shown_whole(world: Consortium, tmp_path: Path) -> None:
    world.publish("nl-one", listings(2))
    replica = replica_of(world, tmp_path)
    replica.sync(ConsortiumSource(world), now_of(world))
    fork = Consortium().open_epochs()
    fork.publish("ie-two", listings(1))
    with pytest.raises(Unproven):
        replica.sync(ConsortiumSource(fork), now_of(fork))
    (note,) = proved_by(replica)["second_heads"]
    assert parse_checkpoint(parse_note(note.encode()).text).size == len(fork.leaves)
    replica.close()
