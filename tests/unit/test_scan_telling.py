"""Feedback on its way: each word once in the log, whatever is refused, lost or crashes."""

import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accord.ledger.state import FEEDBACK, FeedbackRow, Write
from accord.replica.replica import Replica
from accord.scan.cases.model import Disposition, Finding, TaskKind
from accord.scan.cases.telling import (
    FeedbackQueue,
    ReplicaLedger,
    Speaker,
    TellingChore,
    Told,
    word_of,
)
from accord.statements.bodies import Feedback, Keyset, Role
from accord.statements.feedback import Reason, Word
from accord.wire.errors import Malformed, Rejected, Unavailable
from accord.wire.ids import ListingRef, MemberId, TimeMs
from accord.wire.limits import FEEDBACK_DAY_STATEMENTS_MAX
from cases_kit import Desk, case_of
from consortium_kit import CHAIN, Consortium, derived_key
from desk_kit import Line
from source_kit import ConsortiumSource, identity_of, now_of

CLOUD = MemberId("cloud")
YES = Finding(Disposition.CONFIRMED, viewed=True)
NO = Finding(Disposition.NOT_CSAM, viewed=True, reason="a chessboard")


@dataclass
class Node(ConsortiumSource):
    """A node that answers the very same statement with the very same entry, or not at all."""

    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.line = Line(self.consortium, self.faults)

    def submit(self, transaction: bytes) -> int:
        return self.line.submit(transaction)


@dataclass
class World:
    """A platform's reviewers, and an agency that listens."""

    directory: Path

    def __post_init__(self) -> None:
        self.consortium = Consortium()
        self.consortium.admit_platform()
        self.cases = Desk(self.directory)
        self.node = Node(self.consortium)
        self.speaker = Speaker(CHAIN, CLOUD, self.consortium.key("cloud", Role.REPORTER))
        self.replica = self.follow("cloud")

    def follow(self, member: str) -> Replica:
        path = self.directory / f"{member}.sqlite"
        who = identity_of(self.consortium, member)
        return Replica(path, self.consortium.founding, who, allow_trial=True)

    def close(self) -> None:
        self.replica.close()
        self.cases.store.close()

    def clock(self) -> TimeMs:
        return now_of(self.consortium)

    @property
    def queue(self) -> FeedbackQueue:
        return FeedbackQueue(self.cases.store, self.directory, self.cases.fault)

    def tell(self) -> Told:
        ledger = ReplicaLedger(self.replica, [self.node], self.clock)
        return self.queue.tell(self.speaker, ledger, self.clock)

    def decide(self, case_id: str, finding: Finding = YES, listing: str = "12/3") -> None:
        case = case_of(case_id, listings=[listing])
        self.cases.desk.take_in(case, [listing], None)
        self.cases.desk.claim(case_id, "rev-1")
        self.cases.desk.dispose(case_id, "rev-1", finding)

    def heard(self) -> list[tuple[str, str]]:
        """What an agency reads in the log, in order."""
        agency = self.follow("ie-two")
        agency.sync(ConsortiumSource(self.consortium), self.clock())
        said = [e for e in agency.folded() if isinstance(e.body, Feedback)]
        assert all(entry.unopened is None for entry in said)
        agency.close()
        return [(str(w.ref), w.reason.value) for entry in said for w in entry.words]

    def pending(self) -> int:
        return len(self.cases.store.tasks(kind=TaskKind.FEEDBACK, pending=True))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_reviewed_cases_are_told_once_however_many_files(world: World) -> None:
    assert world.tell() == Told((), 0, 0)
    for number in range(3):
        world.decide(f"c{number}")
    world.decide("d1", NO, "15/0")
    assert (world.pending(), world.queue.waiting()) == (4, 2)
    told = world.tell()
    assert (len(told.entries), told.words, told.left) == (1, 2, 0)
    assert world.heard() == [("12/3", "confirmed"), ("15/0", "false-near")]
    assert (world.pending(), world.queue.waiting()) == (0, 0)
    (task,) = world.cases.store.tasks("d1", TaskKind.FEEDBACK)
    assert task.outcome == f'{{"entry":{told.entries[0]}}}'
    world.decide("c9")
    assert world.pending() == 1
    assert world.tell() == Told((), 0, 0)
    assert world.pending() == 0, "the agencies know already"
    assert len(world.node.line.sent) == 1


def test_what_an_appeal_turned_is_another_word(world: World) -> None:
    world.decide("c1", NO)
    world.tell()
    world.cases.desk.appeal("c1", "support", "ticket")
    world.cases.desk.claim("c1", "rev-2")
    world.cases.desk.dispose("c1", "rev-2", YES)
    world.tell()
    assert world.heard() == [("12/3", "false-near"), ("12/3", "confirmed")]


def test_what_was_turned_before_it_was_told_is_not_told(world: World) -> None:
    world.decide("c1", NO)
    world.cases.desk.appeal("c1", "support", "ticket")
    world.cases.desk.claim("c1", "rev-2")
    world.cases.desk.dispose("c1", "rev-2", YES)
    world.tell()
    assert world.heard() == [("12/3", "confirmed")]


STEPS = [
    "before telling",
    "after telling",
    "before submit",
    "after submit",
    "before told",
    "after told",
    "before settling",
    "after settling",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_anywhere_loses_no_word_and_says_none_twice(world: World, step: str) -> None:
    world.decide("c1")
    world.decide("c2", NO, "15/0")
    assert world.cases.crashes(step, world.tell), f"{step} is never reached"
    world.cases.again()
    world.tell()
    assert world.heard() == [("12/3", "confirmed"), ("15/0", "false-near")]
    assert (world.pending(), world.queue.waiting()) == (0, 0)
    assert len(set(world.node.line.sent)) == 1, "the very same bytes"


@pytest.mark.parametrize("fault", ["lost", "stored-then-error"])
def test_a_node_that_did_not_answer_is_asked_with_the_same_bytes(world: World, fault: str) -> None:
    world.decide("c1")
    world.node.faults.append(fault)
    with pytest.raises(Unavailable):
        world.tell()
    assert world.queue.waiting() == 1
    assert world.tell().words == 1
    assert world.heard() == [("12/3", "confirmed")]
    assert len(set(world.node.line.sent)) == 1


def test_a_statement_that_expired_unheard_is_made_anew(world: World) -> None:
    world.decide("c1")
    world.node.faults.append("lost")
    with pytest.raises(Unavailable):
        world.tell()
    world.consortium.now = TimeMs(world.consortium.now + 3_600_000)
    assert world.tell().words == 1
    assert world.heard() == [("12/3", "confirmed")]
    assert len(set(world.node.line.sent)) == 2


def test_one_that_was_heard_and_expired_since_is_found_in_the_log(world: World) -> None:
    world.decide("c1")
    world.node.faults.append("stored-then-error")
    with pytest.raises(Unavailable):
        world.tell()
    world.consortium.now = TimeMs(world.consortium.now + 3_600_000)
    world.node.line.entries.clear()  # A node that has forgotten what it answered.
    (entry,) = world.tell().entries
    assert world.heard() == [("12/3", "confirmed")]
    assert entry == len(world.consortium.leaves) - 1


def test_an_agencys_new_key_is_sealed_to_though_it_came_in_between(world: World) -> None:
    world.decide("c1")
    world.node.faults.append("lost")
    with pytest.raises(Unavailable):
        world.tell()
    one = MemberId("nl-one")
    fresh = derived_key(one, Role.DECRYPTOR, "another")
    kept = [key for key in world.consortium.keys[one] if key.role is not Role.DECRYPTOR]
    rows = tuple(sorted(key.role_key(CHAIN, one) for key in [*kept, fresh]))
    world.consortium.must(Keyset(world.consortium.header(one), 2, rows), Role.ROOT)
    assert world.tell().words == 1
    assert world.heard() == [("12/3", "confirmed")]


def test_over_the_quota_the_rest_stays_owed_until_tomorrow(world: World) -> None:
    world.decide("c1")
    day = world.consortium.now // 86_400_000
    row = FeedbackRow(day, FEEDBACK_DAY_STATEMENTS_MAX, 288)
    world.consortium.ledger.state.commit([Write(FEEDBACK.name, b"cloud", row)])
    with pytest.raises(Rejected, match=r"reject\.feedback_quota"):
        world.tell()
    assert (world.queue.waiting(), world.pending(), world.heard()) == (1, 1, [])
    world.consortium.now = TimeMs(world.consortium.now + 86_400_000)
    assert world.tell().words == 1
    assert world.heard() == [("12/3", "confirmed")]


def test_two_reviewers_who_finish_at_once_are_both_heard_once(world: World) -> None:
    world.decide("c1")
    world.decide("c2", NO, "15/0")
    told: list[Told] = []
    threads = [threading.Thread(target=lambda: told.append(world.tell())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(item.words for item in told) == 2
    assert world.heard() == [("12/3", "confirmed"), ("15/0", "false-near")]


def test_a_listing_that_matches_too_much_is_told_too(world: World) -> None:
    world.cases.store.hold_noisy({"12/3": 5_000}, world.clock())
    assert world.tell().words == 1
    assert world.heard() == [("12/3", "noisy")]


def chore_of(world: World) -> TellingChore:
    ledger = ReplicaLedger(world.replica, [world.node], world.clock)
    return TellingChore(world.queue, world.speaker, ledger, world.clock, 300_000)


def test_the_gateway_tells_by_itself_and_not_all_the_time(world: World) -> None:
    chore = chore_of(world)
    assert not chore(), "nothing is owed"
    world.decide("c1")
    assert chore()
    world.decide("c2", NO, "15/0")
    assert not chore(), "five minutes are not over"
    world.consortium.now = TimeMs(world.consortium.now + 300_000)
    assert chore()
    assert world.heard() == [("12/3", "confirmed"), ("15/0", "false-near")]
    assert chore.told == 2


def test_what_the_gateway_cannot_tell_now_waits_and_stops_nothing(world: World) -> None:
    chore = chore_of(world)
    world.decide("c1")
    world.node.faults += ["lost", "lost"]
    assert chore()
    assert not chore(), "not at once again"
    world.consortium.now = TimeMs(world.consortium.now + 300_000)
    assert chore()
    world.consortium.now = TimeMs(world.consortium.now + 300_000)
    assert chore()
    assert world.heard() == [("12/3", "confirmed")]


def test_the_gateway_does_not_wait_for_another_process(world: World) -> None:
    world.decide("c1")
    descriptor = os.open(world.directory / "feedback.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    chore = chore_of(world)
    assert chore()
    assert world.heard() == []
    os.close(descriptor)
    world.consortium.now = TimeMs(world.consortium.now + 300_000)
    assert chore()
    assert world.heard() == [("12/3", "confirmed")]


def test_words_are_read_as_the_cases_write_them() -> None:
    assert word_of("12/3 pdq", "false-near") == Word(
        ListingRef(12, 3), "pdq", True, Reason.FALSE_NEAR
    )
    assert word_of("12/3 md5", "confirmed").is_near is False
    assert word_of("12/3", "noisy") == Word(ListingRef(12, 3), "", False, Reason.NOISY)
    with pytest.raises(Malformed):
        word_of("lost", "noisy")
