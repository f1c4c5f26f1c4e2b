"""A keyring holds what was wrapped to its member, all history behind it, and nothing else."""

from dataclasses import replace

import pytest

from accord.agency.sealing import SealedEpoch, seal_epoch
from accord.follow.keyring import Keyring, Opening
from accord.statements.bodies import Epoch
from accord.statements.confidential import parse_epoch_blob
from accord.wire.digests import sha256
from accord.wire.errors import Unproven
from accord.wire.record import encode_record
from consortium_kit import CHAIN
from epochs_kit import GROUP, HEADER, Epochs, learn, recipient


def test_a_late_joiner_opens_all_history() -> None:
    epochs = Epochs()
    for _ in range(5):
        epochs.open(["nl-one"])
    epochs.wrap(["cloud"])
    ring, openings = epochs.told_to("cloud")
    assert openings == [Opening.NOT_FOR_US] * 5 + [Opening.OPENED]
    assert {(GROUP, i + 1): sealed.key for i, sealed in enumerate(epochs.sealed)} == ring.keys


def test_a_removed_member_keeps_the_past_and_gets_nothing_new() -> None:
    epochs = Epochs()
    epochs.open(["cloud", "nl-one"])
    epochs.open(["nl-one"])
    epochs.open(["nl-one"])
    ring, _ = epochs.told_to("cloud")
    assert set(ring.keys) == {(GROUP, 1)}


def test_an_epoch_that_opens_to_another_key_than_committed_is_garbled() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    right = seal_epoch(CHAIN, GROUP, 2, [recipient("nl-one")], epochs.sealed[0].key)
    other = seal_epoch(CHAIN, GROUP, 2, [recipient("nl-one")], epochs.sealed[0].key)
    epochs.sealed.append(SealedEpoch(right.key, right.commitment, other.blob))
    epochs.say_epoch(epochs.sealed[-1], ["nl-one"])
    ring, openings = epochs.told_to("nl-one")
    assert openings[-1] is Opening.GARBLED
    assert not ring.is_sound(GROUP, 2, right.commitment)
    assert ring.key_of(GROUP, 2) is None


def test_an_epoch_that_cuts_off_history_is_not_sound() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    cut = epochs.open(["nl-one"], previous=bytes(32))
    ring, openings = epochs.told_to("nl-one")
    assert openings[-1] is Opening.GARBLED
    assert not ring.is_sound(GROUP, 2, cut.commitment)
    assert ring.key_of(GROUP, 2) == cut.key  # Others may put it in force; batches still open.


def test_a_replaced_pending_epoch_gives_way_to_the_newer_one() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    first = epochs.open(["nl-one"])
    epochs.sealed.pop()
    second = epochs.open(["nl-one"])
    ring, _ = epochs.told_to("nl-one")
    assert ring.key_of(GROUP, 2) == second.key
    assert ring.is_sound(GROUP, 2, second.commitment)
    assert not ring.is_sound(GROUP, 2, first.commitment)
    epochs.sealed.pop()
    epochs.open(["ie-two"])
    ring, _ = epochs.told_to("nl-one")
    assert ring.key_of(GROUP, 2) is None  # The key of a replaced epoch opens nothing.


def test_a_wrap_of_another_key_than_the_epochs_is_garbled() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    epochs.wrap(["cloud"], key=bytes(32))
    ring, openings = epochs.told_to("cloud")
    assert openings[-1] is Opening.GARBLED
    assert not ring.keys


def test_a_blob_that_is_no_epoch_blob_is_garbled() -> None:
    epochs = Epochs()
    sealed = epochs.open(["nl-one"])
    about_three = encode_record(replace(parse_epoch_blob(sealed.blob), number=3))
    ring = Keyring()
    for raw in (b"noise", about_three):
        body = Epoch(HEADER, GROUP, 1, sealed.commitment, (recipient("nl-one")[0],), sha256(raw))
        assert learn(ring, "nl-one", body, raw) is Opening.GARBLED


def test_another_blob_than_stated_is_refused() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    body, blob = epochs.log[0]
    with pytest.raises(Unproven, match=r"keyring\.blob_digest"):
        learn(Keyring(), "nl-one", body, blob + b"!")


def test_a_wrap_of_an_unknown_epoch_and_repeats_change_nothing() -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    epochs.wrap(["cloud"])
    body, blob = epochs.log[1]
    ring = Keyring()
    assert learn(ring, "cloud", body, blob) is Opening.NOT_FOR_US
    ring, _ = epochs.told_to("cloud")
    before = dict(ring.keys)
    for again, raw in epochs.log:
        learn(ring, "cloud", again, raw)
    assert ring.keys == before
    assert sha256(epochs.sealed[0].key).hex() not in repr(ring)
    assert "held=1" in repr(ring)
