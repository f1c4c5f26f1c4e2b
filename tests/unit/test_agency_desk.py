"""The desk: nothing weak is listed, nothing is published twice, every voice has its key."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from accord.agency import outbox
from accord.agency.desk import Desk, listing_of, parse_refs, split_batches
from accord.agency.rulefile import parse_rule_file, template
from accord.agency.voice import submit_ahead
from accord.fingerprint import (
    Digests,
    Fingerprinted,
    FramePdq,
    MediaFacts,
    Unhashable,
    UnhashableCode,
    digests_of,
)
from accord.fingerprint.types import Look
from accord.ledger.membership import agency
from accord.ledger.state import PROPOSALS, PUBLICATIONS, RULES, R, Reader, Table, index_key
from accord.statements.batch import Listing, Media, listings_of
from accord.statements.bodies import (
    Accredit,
    DisputeReason,
    Propose,
    Publish,
    RefRange,
    RemoveAgency,
    RemovePlatform,
)
from accord.statements.confidential import open_batch
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.wire.errors import Malformed, Rejected, Unavailable
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, MemberId, TimeMs
from accord.wire.limits import PDQ_QUALITY_MIN, STATEMENT_LIFE_MS, SUBMIT_AHEAD
from consortium_kit import CHAIN, CLASS, GROUPS, Consortium, listings
from desk_kit import Agencies, Book

PLATFORMS = GROUPS[1]
BITS = bytes(range(32))


@pytest.fixture
def house(tmp_path: Path) -> Agencies:
    agencies = Agencies(tmp_path, Consortium())
    agencies.settle()
    return agencies


def desk(house: Agencies, member: str = "nl-one") -> Desk:
    return Desk(house.voice(member), house.books[MemberId(member)])


def publishes(house: Agencies) -> list[tuple[int, Publish]]:
    bodies = [parse_envelope(parse_entry(leaf).statement).body for leaf in house.consortium.leaves]
    return [(i, body) for i, body in enumerate(bodies) if isinstance(body, Publish)]


def in_the_log(house: Agencies) -> list[Listing]:
    rows: list[Listing] = []
    for _, body in publishes(house):
        blob = house.consortium.blobs[body.blob_sha256]
        batch = open_batch(CHAIN, body, blob, house.books[MemberId("nl-one")].keyring.keys)
        assert batch is not None
        rows += listings_of(batch)
    return rows


def fingerprinted(
    bits: bytes = BITS, quality: int = 80, frames: int = 1, digests: Digests | None = None
) -> Fingerprinted:
    views = tuple(FramePdq(i, i, bits, quality) for i in range(frames))
    facts = MediaFacts("gif", 10, 10, frames)
    return Fingerprinted(digests or digests_of(b"a picture"), views, facts)


def test_a_fingerprinted_file_becomes_a_listing() -> None:
    listing = listing_of(fingerprinted(), CLASS)
    assert listing == Listing(
        CLASS,
        Media.IMAGE,
        BITS,
        80,
        md5=digests_of(b"a picture").md5,
        sha1=digests_of(b"a picture").sha1,
        sha256=digests_of(b"a picture").sha256,
    )
    still = listing_of(fingerprinted(frames=3), CLASS)
    assert (still.media, still.pdq, still.frames) == (Media.ANIMATION, BITS, ())


def test_what_moves_is_listed_by_its_distinct_frames() -> None:
    other, dull, inner = (bytes([n]) * 32 for n in (0x55, 0x33, 0xC6))
    alike = BITS[:31] + bytes([BITS[31] ^ 1])
    views = (
        FramePdq(0, 0, BITS, 80),
        FramePdq(1, 40, alike, 80),
        FramePdq(2, 80, dull, PDQ_QUALITY_MIN - 1),
        FramePdq(3, 120, other, 80, look=Look(frames=inner + bytes(32))),
    )
    for name, media in (("gif", Media.ANIMATION), ("mp4", Media.VIDEO)):
        facts = MediaFacts(name, 10, 10, 4)
        listing = listing_of(Fingerprinted(digests_of(b"a film"), views, facts), CLASS)
        assert (listing.media, listing.frames) == (media, (BITS, inner))
        assert listing.sha256 == digests_of(b"a film").sha256
        assert (listing.pdq, listing.pdq_quality) == ((BITS, 80) if name == "gif" else (None, None))
    one = Fingerprinted(digests_of(b"a film"), views[:1], MediaFacts("mp4", 10, 10, 1))
    still = listing_of(one, CLASS)
    assert (still.media, still.pdq, still.frames) == (Media.VIDEO, BITS, ())


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (fingerprinted(quality=PDQ_QUALITY_MIN - 1), "listing.low_quality"),
        (fingerprinted(bits=bytes(32)), "listing.flat"),
        (fingerprinted(bits=b"\xff" * 32), "listing.flat"),
        (fingerprinted(digests=digests_of(b"")), "listing.empty_file"),
        (Unhashable(UnhashableCode.TOO_FLAT, None), "listing.unhashable"),
    ],
)
def test_what_says_too_little_is_not_listed(found: Fingerprinted | Unhashable, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        listing_of(found, CLASS)
    assert caught.value.code == code


def test_publish_checks_listings_from_anywhere(house: Agencies) -> None:
    weak = [*listings(2), replace(listings(1, "x")[0], pdq=bytes(32))]
    for rows in (weak, []):
        with pytest.raises(Malformed):
            desk(house).publish(rows, [PLATFORMS])
    with pytest.raises(Malformed, match=r"desk\.group"):
        desk(house).publish(listings(1), [GroupId("nobody")])
    assert publishes(house) == []


def test_a_published_batch_opens_for_those_it_was_released_to(house: Agencies) -> None:
    done = desk(house).publish(listings(5), [PLATFORMS], urgent=True)
    assert in_the_log(house) == listings(5)
    ((entry, body),) = publishes(house)
    assert (done.entries, done.count, done.resumed) == ((entry,), 5, False)
    assert (body.groups, body.urgent) == ((AGENCIES, PLATFORMS), True)
    row = house.consortium.ledger.state.get(PUBLICATIONS, index_key(entry))
    assert row is not None
    assert row.operator == "analyst-a"


def test_batches_split_by_count_and_by_sealed_size() -> None:
    slim = [replace(row, pdq=None, pdq_quality=None, md5=None) for row in listings(10_001)]
    assert [batch.count for batch in split_batches(slim)] == [10_000, 1]
    full = listings(12_000)
    batches = split_batches([replace(row, sha1=bytes(20)) for row in full])
    assert sum(batch.count for batch in batches) == 12_000
    assert batches[0].count < 10_000


def wide(count: int) -> list[Listing]:
    """Of 96 patches each, so that few fill a batch."""
    bits = np.random.default_rng(1).integers(0, 256, (count, 96, 32), dtype=np.uint8)
    patches = [tuple(sorted(map(bytes, rows))) for rows in bits]
    return [replace(row, patches=own) for row, own in zip(listings(count), patches, strict=True)]


def test_batches_split_where_values_of_one_kind_alone_are_too_many() -> None:
    rows = [replace(row, photodna=bytes(range(144))) for row in listings(7_000)]
    for many in (rows, wide(300)):
        batches = split_batches(many)
        assert [row for batch in batches for row in listings_of(batch)] == many
        assert len(batches) == 2


@pytest.mark.parametrize("fault", ["lost", "stored-then-error"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_crash_between_batches_publishes_each_listing_once(
    house: Agencies, fault: str, at: int
) -> None:
    rows = wide(800)  # Three batches by their size.
    house.line.faults = ["ok"] * at + [fault]
    with pytest.raises(Unavailable):
        desk(house).publish(rows, [PLATFORMS])
    done = desk(house).publish(rows, [PLATFORMS])
    assert done.resumed
    assert len(done.entries) == 3
    assert Counter(in_the_log(house)) == Counter(rows)  # Several were under way, in any order.
    before = len(house.line.sent)
    assert desk(house).publish(rows, [PLATFORMS]).entries == done.entries
    assert len(house.line.sent) == before
    assert not list(house.homes[MemberId("nl-one")].path.glob("outbox/*/*.tx"))


@pytest.mark.parametrize("fault", ["lost", "stored-then-error"])
def test_a_statement_that_expired_meanwhile_is_sealed_anew_only_if_it_never_arrived(
    house: Agencies, fault: str
) -> None:
    house.line.faults = [fault]
    with pytest.raises(Unavailable):
        desk(house).publish(listings(3), [PLATFORMS])
    house.consortium.now = TimeMs(house.consortium.now + STATEMENT_LIFE_MS + 1)
    house.line.entries.clear()  # A node that no longer remembers: the log itself must tell.
    desk(house).publish(listings(3), [PLATFORMS])
    assert in_the_log(house) == listings(3)


def test_after_a_rotation_the_stored_batch_is_sealed_under_the_new_epoch(house: Agencies) -> None:
    house.consortium.admit_platform("cloud")
    house.settle()
    house.line.faults = ["lost"]
    with pytest.raises(Unavailable):
        desk(house).publish(listings(3), [PLATFORMS])
    desk_ = desk(house, "nl-one")
    entry = desk_.propose(RemovePlatform(MemberId("cloud")))
    for member in ("ie-two", "ca-three"):
        desk(house, member).vote(entry, approve=True)
    house.settle()
    desk_.publish(listings(3), [PLATFORMS])
    ((_, body),) = publishes(house)
    assert body.epochs == (1, 2)
    assert in_the_log(house) == listings(3)


def test_without_an_epoch_in_force_publishing_waits(tmp_path: Path) -> None:
    house = Agencies(tmp_path, Consortium())
    with pytest.raises(Unavailable, match=r"desk\.no_epoch_key"):
        desk(house).publish(listings(1), [])


def test_several_statements_are_under_way_at_once_and_answered_in_order(house: Agencies) -> None:
    """Each answer takes a block: whoever waits for one before the next publishes one a block."""
    line, together = house.line, threading.Barrier(SUBMIT_AHEAD)

    class Slow:
        def submit(self, transaction: bytes) -> int:
            together.wait(10)
            return line.submit(transaction)

    raws = [f"{number}".encode() for number in range(2 * SUBMIT_AHEAD)]
    answers = list(submit_ahead(Slow(), raws))
    assert [raw for raw, _ in answers] == raws
    assert all(isinstance(answer.exception(), Rejected | Malformed) for _, answer in answers)


def test_approvals_are_told_in_order_and_stop_at_the_first_refusal(house: Agencies) -> None:
    desk_ = desk(house)
    entries = [desk_.publish(listings(1, f"{n}"), []).entries[0] for n in range(3)]
    approvals = desk_.approve_each([*entries, 0])
    assert [next(approvals)[0] for _ in entries] == entries
    with pytest.raises(Rejected, match=r"reject\.unknown_entry"):
        next(approvals)


def test_a_rejection_that_sealing_anew_cannot_mend_is_told(house: Agencies) -> None:
    with pytest.raises(Rejected, match=r"reject\.unknown_entry"):
        desk(house).approve(0)


def test_a_publication_that_the_rules_refuse_is_sent_once(house: Agencies) -> None:
    gone = MemberId("nl-four")
    house.consortium.decide(Propose(house.consortium.header("nl-one"), RemoveAgency(gone)))
    before = len(house.line.sent)
    with pytest.raises(Rejected, match=r"reject\.member_suspended"):
        desk(house, gone).publish(listings(1), [PLATFORMS])
    assert len(house.line.sent) == before + 1


def test_other_listings_are_another_job(house: Agencies) -> None:
    desk(house).publish(listings(1), [])
    desk(house).publish(listings(1, "others"), [])
    assert in_the_log(house) == [*listings(1), *listings(1, "others")]


def test_another_group_is_another_job(house: Agencies) -> None:
    desk(house).publish(listings(1), [PLATFORMS])
    desk(house).publish(listings(1), [])
    assert [body.groups for _, body in publishes(house)] == [(AGENCIES, PLATFORMS), (AGENCIES,)]


def test_what_was_withdrawn_is_listed_again_only_when_told(house: Agencies) -> None:
    desk_ = desk(house)
    (first,) = desk_.publish(listings(3), []).entries
    assert desk_.publish(listings(3), []).entries == (first,)
    (second,) = desk_.publish(listings(3), [], again=True).entries
    assert second != first
    assert desk_.publish(listings(3), []).entries == (second,)


@dataclass
class Behind:
    """A view of the ledger that has no publication yet."""

    state: Reader

    def get(self, table: Table[R], key: bytes) -> R | None:
        return None if table is PUBLICATIONS else self.state.get(table, key)

    def rows(self, table: Table[R]) -> Iterator[tuple[bytes, R]]:
        return self.state.rows(table)


def test_again_publishes_nothing_twice_where_the_view_lags(
    house: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = desk(house).publish(listings(3), []).entries
    behind = Behind(house.consortium.ledger.state)
    with monkeypatch.context() as patched:
        patched.setattr(Book, "state", behind)
        assert desk(house).publish(listings(3), [], again=True).entries == (first,)
    assert desk(house).publish(listings(3), [], again=True).entries != (first,)


def test_again_goes_on_with_what_a_crash_left(house: Agencies) -> None:
    house.line.faults = ["stored-then-error"]
    with pytest.raises(Unavailable):
        desk(house).publish(listings(3), [])
    assert desk(house).publish(listings(3), [], again=True).resumed
    assert in_the_log(house) == listings(3)


def test_a_changed_outbox_is_refused(house: Agencies) -> None:
    desk(house).publish(listings(1), [])
    path = house.homes[MemberId("nl-one")].path
    (file,) = (path / outbox.OUTBOX).glob("*/0000.entry")
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("x")
    with pytest.raises(Malformed, match=r"outbox\.entry"):
        desk(house).publish(listings(1), [])


def test_the_whole_day_of_an_agency(house: Agencies) -> None:
    (entry,) = desk(house).publish(listings(10), [PLATFORMS]).entries
    state = house.consortium.ledger.state
    desk(house).approve(entry)
    row = state.get(PUBLICATIONS, index_key(entry))
    assert row is not None
    assert row.approved_by is not None
    other = desk(house, "ie-two")
    other.endorse(parse_refs([str(entry)], state), 1)
    other.dispute(parse_refs([f"{entry}/3-5"], state), DisputeReason.NOT_CSAM)
    desk(house).withdraw(parse_refs([f"{entry}/4"], state), DisputeReason.NOT_CSAM)
    with pytest.raises(Rejected, match=r"reject\.not_the_publisher"):
        other.withdraw(parse_refs([f"{entry}/4"], state), DisputeReason.NOT_CSAM)


def test_rules_follow_one_another_and_proposals_pass_by_vote(house: Agencies) -> None:
    state = house.consortium.ledger.state
    rules = parse_rule_file(template("eu-member-state").encode())
    for version in (1, 2):
        desk(house).set_rules(JurisdictionId("NL"), rules)
        row = state.get(RULES, b"NL")
        assert row is not None
        assert row.version == version
    entry = desk(house).propose(Accredit(MemberId("nl-one"), JurisdictionId("EU")))
    desk(house, "ie-two").vote(entry, approve=False)
    desk(house, "ca-three").vote(entry, approve=True)
    assert "EU" not in _where(house, "nl-one")
    desk(house, "nl-four").vote(entry, approve=True)
    assert "EU" in _where(house, "nl-one")
    assert state.get(PROPOSALS, index_key(entry)) is not None


def _where(house: Agencies, member: str) -> Sequence[str]:
    row = agency(house.consortium.ledger.state, MemberId(member))
    assert row is not None
    return row.jurisdictions


@pytest.mark.parametrize(
    "text", ["", "x", "1/", "1/2-", "01", "1/9-8", "1/0-10", "99", "1/10", "-1"]
)
def test_refs_that_name_nothing_are_refused(house: Agencies, text: str) -> None:
    (entry,) = desk(house).publish(listings(10), []).entries
    wrong = text.replace("1", str(entry), 1) if text.startswith("1/") else text
    with pytest.raises(Malformed):
        parse_refs([wrong], house.consortium.ledger.state)


def test_refs_as_people_write_them(house: Agencies) -> None:
    (entry,) = desk(house).publish(listings(10), []).entries
    state = house.consortium.ledger.state
    texts = [f"{entry}/3-5", f"{entry}/0", str(entry), f"{entry}/0"]
    assert parse_refs(texts, state) == (
        RefRange(entry, 0, 1),
        RefRange(entry, 0, 10),
        RefRange(entry, 3, 3),
    )
    with pytest.raises(Malformed, match=r"desk\.refs"):
        parse_refs([], state)
