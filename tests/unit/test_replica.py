"""A replica believes a quorum and arithmetic, and nothing else."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF, agency_application
from accord.agency.sealing import seal_batch, wrap_epoch
from accord.client.home import role_keys
from accord.follow.follower import Follower
from accord.follow.opening import NO_KEY, NOT_RELEASED
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.state import KEYS
from accord.replica.replica import Replica, sync_any
from accord.statements.batch import batch_of, listings_of
from accord.statements.bodies import Approve, Keyset, Propose, Publish, RemoveAgency, Role, Wrap
from accord.statements.confidential import (
    KEY_BYTES,
    NONCE,
    Fault,
    derive,
    open_batch,
    parse_batch_blob,
    wrap_aad,
    wrap_purpose,
)
from accord.tlog.note import merge_lines, parse_note
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import AGENCIES, GroupId, MemberId, TimeMs
from accord.wire.limits import FRESH_MS_MAX, STALE_MS_MAX
from accord.wire.record import encode_record
from bytes_kit import bent
from consortium_kit import (
    CHAIN,
    Consortium,
    derived_key,
    keys_for,
    listings,
    plan,
)
from source_kit import ConsortiumSource, identity_of, now_of

PLATFORMS = GroupId("platforms")


@pytest.fixture
def world() -> Consortium:
    consortium = Consortium().open_epochs()
    consortium.publish("nl-one", listings(3))
    return consortium


Open = Callable[..., Replica]


@pytest.fixture
def open_replica(tmp_path: Path) -> Iterator[Open]:
    opened: list[Replica] = []

    def make(consortium: Consortium, member: str | None = "ie-two", name: str = "a") -> Replica:
        who = None if member is None else identity_of(consortium, member)
        path = tmp_path / f"{name}.sqlite"
        opened.append(Replica(path, consortium.founding, who, allow_trial=True))
        return opened[-1]

    yield make
    for replica in opened:
        replica.close()


def batches(replica: Replica) -> list[list[object]]:
    return [list(listings_of(e.batch)) for e in replica.folded() if e.batch is not None]


def test_an_agency_reads_what_another_listed(world: Consortium, open_replica: Open) -> None:
    replica = open_replica(world)
    source = ConsortiumSource(world)
    assert replica.sync(source, now_of(world)) == len(world.leaves)
    assert batches(replica) == [listings(3)]
    assert replica.state.digest() == world.ledger.state.digest()
    world.publish("ca-three", listings(2, "more"))
    assert replica.sync(source, now_of(world)) == 2
    assert batches(replica) == [listings(3), listings(2, "more")]
    assert replica.sync(source, now_of(world)) == 0


def test_a_trial_is_refused_unless_meant(world: Consortium) -> None:
    with pytest.raises(Unproven, match=r"follow\.trial"):
        Follower(world.founding)


def test_reopening_proves_everything_again(world: Consortium, open_replica: Open) -> None:
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    again = open_replica(world)
    assert (again.size, again.state.digest()) == (replica.size, replica.state.digest())
    assert batches(again) == batches(replica)


def test_one_process_reads_what_another_writes(world: Consortium, open_replica: Open) -> None:
    writer, reader = open_replica(world), open_replica(world)
    writer.sync(ConsortiumSource(world), now_of(world))
    assert reader.refresh() == writer.size
    world.publish("ca-three", listings(2, "more"))
    writer.sync(ConsortiumSource(world), now_of(world))
    assert reader.refresh() == 2
    assert batches(reader) == batches(writer)


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE idx = 0) WHERE idx = 1",
        # A leaf ends with random bytes: put something there that differs from what was.
        "UPDATE entries SET leaf = substr(leaf, 1, length(leaf) - 1) || iif("
        "substr(leaf, length(leaf)) = x'00', x'01', x'00') WHERE idx = 4",
        "DELETE FROM entries WHERE idx = 3",
        "UPDATE checkpoints SET size = size - 1",
        "UPDATE checkpoints SET note = substr(note, 1, 40) || substr(note, 60)",
        "UPDATE entries SET leaf = 'text' WHERE idx = 2",
    ],
)
def test_a_tampered_replica_is_refused(
    world: Consortium, open_replica: Open, tmp_path: Path, tamper: str
) -> None:
    open_replica(world).sync(ConsortiumSource(world), now_of(world))
    with sqlite3.connect(tmp_path / "a.sqlite") as db:
        db.execute(tamper)
    db.close()
    with pytest.raises(Unproven, match=r"replica\.tampered"):
        open_replica(world)


def test_an_exchanged_blob_is_refused(
    world: Consortium, open_replica: Open, tmp_path: Path
) -> None:
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    with sqlite3.connect(tmp_path / "a.sqlite") as db:
        db.execute("UPDATE blobs SET raw = x'00'")
    db.close()
    with pytest.raises(Unproven, match=r"replica\.tampered"):
        list(replica.folded())


class Liar(ConsortiumSource):
    """A node that alters what it hands out."""

    lie = ""

    def fetch_checkpoint(self) -> bytes:
        note = super().fetch_checkpoint()
        if self.lie == "short quorum":
            parsed = parse_note(note)
            return replace(parsed, lines=parsed.lines[:2]).encode()
        if self.lie == "wrong root":
            lines = note.split(b"\n")
            lines[2] = lines[2][:3] + (b"A" if lines[2][3:4] != b"A" else b"B") + lines[2][4:]
            return b"\n".join(lines)
        if self.lie == "other size":
            return note.replace(b"\n%d\n" % len(self.consortium.leaves), b"\n3\n", 1)
        return note

    def fetch_tile(self, path: str) -> bytes:
        raw = super().fetch_tile(path)
        if self.lie == "tampered bundle":
            return bent(raw)
        return raw[:-2] if self.lie == "truncated bundle" else raw

    def fetch_blob(self, digest: bytes) -> bytes:
        return super().fetch_blob(digest) + (b"x" if self.lie == "tampered blob" else b"")


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ("short quorum", "tlog.quorum"),
        ("wrong root", "tlog.signature"),
        ("other size", "tlog.signature"),
        ("tampered bundle", "follow.root"),
        ("truncated bundle", "tlog.bundle"),
        ("tampered blob", "replica.blob"),
    ],
)
def test_a_lying_node_changes_nothing(
    world: Consortium, open_replica: Open, lie: str, code: str
) -> None:
    replica, liar = open_replica(world), Liar(world)
    liar.lie = lie
    with pytest.raises((Unproven, Malformed), match=code.replace(".", r"\.")):
        replica.sync(liar, now_of(world))
    assert replica.size == 0
    honest = ConsortiumSource(world)
    gained, lies = sync_any(replica, [liar, honest], now_of(world))
    assert gained == len(world.leaves)
    assert [err.code for _, err in lies] == [code]


def test_a_smaller_log_is_a_rollback(world: Consortium, open_replica: Open) -> None:
    replica, source = open_replica(world), ConsortiumSource(world)
    replica.sync(source, now_of(world))
    source.stuck_at = 3
    with pytest.raises(Unproven, match=r"follow\.rollback"):
        replica.sync(source, now_of(world))


def test_another_log_of_the_same_size_is_a_split_view(
    world: Consortium, open_replica: Open
) -> None:
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    other = Consortium().open_epochs()
    other.publish("nl-one", listings(4))
    assert len(other.leaves) == len(world.leaves)
    with pytest.raises(Unproven, match=r"follow\.split_view"):
        replica.sync(ConsortiumSource(other), now_of(world))
    other.publish("nl-one", listings(4))
    with pytest.raises(Unproven, match=r"follow\.root"):
        replica.sync(ConsortiumSource(other), now_of(other))


def test_old_cosignatures_are_noticed_then_refused(world: Consortium, open_replica: Open) -> None:
    replica, source = open_replica(world), ConsortiumSource(world)
    replica.sync(source, now_of(world))
    signed = world.now
    fresh = replica.freshness(TimeMs(signed + 60_000))
    assert (fresh.alarm, fresh.stale) == (False, False)
    alarm = replica.freshness(TimeMs(signed + FRESH_MS_MAX + 60_000))
    assert (alarm.alarm, alarm.stale) == (True, False)
    assert replica.freshness(TimeMs(signed + STALE_MS_MAX + 60_000)).stale
    frozen = ConsortiumSource(world, clock=lambda: signed)
    with pytest.raises(Unproven, match=r"follow\.stale"):
        replica.sync(frozen, TimeMs(signed + STALE_MS_MAX + 60_000))


def test_a_node_that_is_down_says_so(world: Consortium, open_replica: Open) -> None:
    replica, source = open_replica(world), ConsortiumSource(world, is_down=True)
    with pytest.raises(Unavailable):
        sync_any(replica, [source], now_of(world))
    with pytest.raises(Unavailable, match=r"replica\.no_source"):
        sync_any(replica, [], now_of(world))


def test_followers_go_along_with_policy_changes_one_by_one(
    world: Consortium, open_replica: Open
) -> None:
    behind = open_replica(world, name="behind")
    behind.sync(ConsortiumSource(world), now_of(world))
    for name, where in (("fr-five", "FR"), ("de-six", "DE"), ("es-seven", "ES")):
        application = agency_application(CHAIN, plan(name, where), keys_for(name, AGENCY_STAFF))
        world.keys[MemberId(name)] = keys_for(name, AGENCY_STAFF)
        voters = [MemberId(m) for m in world.keys if m != "cloud"]
        entry = world.must(Propose(world.header("nl-one"), application), Role.GOVERNOR)
        _approve(world, entry, voters)
    for leaving in ("nl-one", "ie-two", "ca-three"):
        chair = "nl-four"
        action = Propose(world.header(chair), RemoveAgency(MemberId(leaving)))
        entry = world.must(action, Role.GOVERNOR)
        _approve(world, entry, [m for m in world.keys if m not in (leaving, chair)])
    source = ConsortiumSource(world)
    behind.sync(source, now_of(world))
    assert behind.state.digest() == world.ledger.state.digest()
    # Read back from the disk, through the same steps; and from nothing, likewise.
    assert open_replica(world, name="behind").size == behind.size
    fresh = open_replica(world, None, name="fresh")
    fresh.sync(source, now_of(world))
    assert fresh.size == behind.size


@dataclass
class Reticent(ConsortiumSource):
    """Its heads lack the lines of these cosigner keys."""

    absent: set[bytes] = field(default_factory=set[bytes])

    def _signers(self, size: int) -> list[tuple[MemberId, bytes]]:
        return [pair for pair in super()._signers(size) if pair[1] not in self.absent]


@pytest.mark.parametrize("grows", [False, True], ids=["signed again", "grown"])
def test_what_leads_through_a_policy_change_is_kept(
    world: Consortium, open_replica: Open, grows: bool
) -> None:
    replica, source = open_replica(world), Reticent(world)
    replica.sync(source, now_of(world))
    old = world.key("nl-one", Role.COSIGNER)
    fresh = derived_key("nl-one", Role.COSIGNER, "node-2")
    kept = [key for key in world.keys[MemberId("nl-one")] if key.role is not Role.COSIGNER]
    world.keys[MemberId("nl-one")] = (*kept, fresh)
    keys = role_keys(CHAIN, MemberId("nl-one"), [*kept, fresh])
    changed_at = world.must(Keyset(world.header("nl-one"), 2, keys), Role.ROOT) + 1
    world.keys[MemberId("nl-one")] = (*kept, old, fresh)
    replica.sync(source, now_of(world))
    # From here on just enough sign, and of the old policy too few.
    source.absent = {old.public, world.key("nl-four", Role.COSIGNER).public}
    world.now = TimeMs(world.now + 5_000)
    if grows:
        world.publish("ie-two", listings(1, "more"))
    replica.sync(source, now_of(world))
    again = open_replica(world)
    assert again.size == replica.size == len(world.leaves)
    assert [size for size, _ in again.transitions()] == ([changed_at] if grows else [])


def _approve(world: Consortium, entry: int, voters: list[MemberId]) -> None:
    from accord.statements.bodies import Vote

    for agency in voters:
        world.say(Vote(world.header(agency), entry, approve=True), Role.GOVERNOR)


def test_a_platform_admitted_late_reads_what_was_released_before(
    world: Consortium, open_replica: Open
) -> None:
    world.keys[MemberId("cloud")] = ()
    from accord.agency.founding import PLATFORM_STAFF

    world.keys[MemberId("cloud")] = keys_for("cloud", PLATFORM_STAFF)
    early = open_replica(world, "cloud", name="early")
    source = ConsortiumSource(world)
    early.sync(source, now_of(world))
    assert batches(early) == []
    assert {e.unopened for e in early.folded() if isinstance(e.body, Publish)} == {NOT_RELEASED}
    world.admit_platform("cloud")
    early.sync(source, now_of(world))
    assert batches(early) == []
    assert {e.unopened for e in early.folded() if isinstance(e.body, Publish)} == {NO_KEY}
    generation = early.generation
    state = world.ledger.state
    missing = tuple(
        sorted(set(recipients_of(state, PLATFORMS)) - set(epoch_of(state, PLATFORMS).recipients))
    )
    publics = [(to, row.public) for to in missing if (row := state.get(KEYS, to.key_id))]
    blob = wrap_epoch(CHAIN, PLATFORMS, 1, world.epoch_keys[PLATFORMS, 1], publics, None)
    wrap = Wrap(world.header("ie-two"), PLATFORMS, 1, missing, sha256(blob))
    world.must(wrap, Role.KEEPER, blob)
    early.sync(source, now_of(world))
    assert batches(early) == [listings(3)]
    assert early.generation > generation
    late = open_replica(world, "cloud", name="late")
    late.sync(source, now_of(world))
    assert list(late.folded()) == list(early.folded())


def test_a_ciphertext_never_opens_to_two_lists(world: Consortium, open_replica: Open) -> None:
    """One wrap opens to the committed key, the other group's to another: it opens to the first or
    not at all, and who holds both keys sees what was done."""
    body, blob = world.publish_body("nl-one", listings(2, "two-faced"))
    parsed = parse_batch_blob(blob)
    other_key = b"\x05" * KEY_BYTES
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key = derive(world.epoch_keys[AGENCIES, 1], wrap_purpose(parsed.commitment))
    aad = wrap_aad(CHAIN, AGENCIES, 1, parsed.commitment)
    false_wrap = ChaCha20Poly1305(key).encrypt(NONCE, other_key, aad)
    wraps = (replace(parsed.wraps[0], wrapped=false_wrap), *parsed.wraps[1:])
    two_faced = encode_record(replace(parsed, wraps=wraps))
    entry = world.must(replace(body, blob_sha256=sha256(two_faced)), Role.ANALYST, two_faced)
    world.must(Approve(world.header("nl-one"), entry), Role.APPROVER)
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    faults = {e.index: e.faults for e in replica.folded() if isinstance(e.body, Publish)}
    assert faults[entry] == (Fault(AGENCIES, "confidential.commitment"),)
    assert batches(replica) == [listings(3), listings(2, "two-faced")]  # As the platforms see it.
    only = {pair: key for pair, key in replica.keyring.keys.items() if pair[0] == AGENCIES}
    with pytest.raises(Unproven, match=r"confidential\.commitment"):
        open_batch(CHAIN, replace(body, blob_sha256=sha256(two_faced)), two_faced, only)


def test_a_batch_that_is_not_a_batch_lists_nothing(world: Consortium, open_replica: Open) -> None:
    numbers = {AGENCIES: (1, world.epoch_keys[AGENCIES, 1])}
    blob = seal_batch(CHAIN, MemberId("nl-one"), batch_of(listings(2)), numbers)
    body, _ = world.publish_body("nl-one", listings(3), [AGENCIES])
    entry = world.must(replace(body, blob_sha256=sha256(blob)), Role.ANALYST, blob)
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    reasons = {e.index: e.unopened for e in replica.folded() if isinstance(e.body, Publish)}
    assert reasons[entry] == "confidential.count"


def test_more_signatures_than_needed_do_no_harm(world: Consortium, open_replica: Open) -> None:
    source = ConsortiumSource(world)
    note = parse_note(source.fetch_checkpoint())
    later = parse_note(source.checkpoint_at(len(world.leaves), world.now + 5_000))
    merged = merge_lines(note, later.lines)
    replica = open_replica(world)
    source.fetch_checkpoint = merged.encode  # type: ignore[method-assign]  # What it serves now.
    replica.sync(source, now_of(world))
    assert replica.size == len(world.leaves)


@pytest.mark.parametrize("grows", [0, 2])
def test_another_log_leaves_its_note_as_evidence(
    tmp_path: Path, open_replica: Open, grows: int
) -> None:
    """Two heads that a quorum signed for one size, also where ours has grown since."""
    ours, theirs = Consortium().open_epochs(), Consortium().open_epochs()
    replica = open_replica(ours)
    ours.publish("nl-one", listings(1))
    theirs.publish("nl-one", listings(1, "another"))
    if grows:
        ours.publish("nl-one", listings(1, "more"))
    replica.sync(ConsortiumSource(ours), now_of(ours))
    source = ConsortiumSource(theirs)
    for _ in range(2):
        with pytest.raises(Unproven, match=r"follow\.split_view"):
            replica.sync(source, now_of(theirs))
    assert replica.evidence() == [source.fetch_checkpoint()]
    assert open_replica(ours).evidence() == replica.evidence()


def test_a_node_that_lags_behind_leaves_no_evidence(world: Consortium, open_replica: Open) -> None:
    replica = open_replica(world)
    replica.sync(ConsortiumSource(world), now_of(world))
    with pytest.raises(Unproven, match=r"follow\.rollback"):
        replica.sync(ConsortiumSource(world, stuck_at=5), now_of(world))
    assert replica.evidence() == []
