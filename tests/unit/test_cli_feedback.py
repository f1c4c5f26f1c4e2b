"""What agencies see of feedback, what the public sees, and how long withdrawals took."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accord.client.home import create_home
from accord.ledger.genesis import encode_genesis
from accord.replica.replica import Replica
from accord.statements.bodies import Attest, Dispute, DisputeReason, RefRange, Role, Withdraw
from accord.statements.feedback import Reason, Word
from accord.tlog import Frontier, leaf_hash
from accord.wire.ids import MemberId, TimeMs
from command_kit import refused, run, told
from consortium_kit import Consortium, listings
from feedback_kit import feedback_body, word
from source_kit import ConsortiumSource, identity_of, now_of


@dataclass
class World:
    """A consortium in memory, and homes on disk whose copies of the log are current."""

    directory: Path

    def __post_init__(self) -> None:
        self.consortium = Consortium().open_epochs()
        self.consortium.admit_platform()
        self.entry = self.consortium.publish("nl-one", listings(3))
        self.other = self.consortium.publish("ie-two", listings(2, "more"))

    def home(self, member: str, kind: str = "agency") -> tuple[str | Path, ...]:
        path = self.directory / member
        if not path.exists():
            genesis = encode_genesis(self.consortium.founding.genesis)
            keys = self.consortium.keys[MemberId(member)]
            create_home(path, kind, MemberId(member), genesis, (), keys)
        who = identity_of(self.consortium, member)
        replica = Replica(path / "replica.sqlite", self.consortium.founding, who, allow_trial=True)
        replica.sync(ConsortiumSource(self.consortium), now_of(self.consortium))
        replica.close()
        return ("--home", path, "--no-sync", "--trial")

    def say(self, *words: Word) -> None:
        body, blob = feedback_body(self.consortium, words)
        self.consortium.must(body, Role.REPORTER, blob)

    def dispute(self, agency: str, entry: int, ordinal: int = 0) -> None:
        refs = (RefRange(entry, ordinal, 1),)
        body = Dispute(self.consortium.header(agency), refs, DisputeReason.NOT_CSAM)
        self.consortium.must(body, Role.ANALYST)

    def withdraw(self, entry: int) -> int:
        refs = (RefRange(entry, 0, 2),)
        body = Withdraw(self.consortium.header("nl-one"), refs, DisputeReason.OTHER)
        return self.consortium.must(body, Role.ANALYST)

    def attest(self) -> int:
        leaves = self.consortium.leaves
        root = Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root()
        header, nothing = self.consortium.header("cloud"), bytes(32)
        body = Attest(header, len(leaves), root, nothing, nothing, TimeMs(0), 0, nothing, "b")
        return self.consortium.must(body, Role.SCANNER)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    return World(tmp_path)


def rows(said: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in said["rows"]]


def test_an_agency_sees_feedback_and_disputes_by_listing(world: World) -> None:
    first, second = f"{world.entry}/0", f"{world.other}/1"
    world.say(word(first, Reason.FALSE_NEAR, "pdq"), word(second), word("2/0"))
    world.dispute("ca-three", world.entry)
    world.dispute("nl-four", world.other)
    at = world.home("ca-three")
    said = told("feedback", *at)
    names = ("listing", "agency", "false_positives", "affirmative", "reasons")
    assert rows(said, *names) == [
        (first, "nl-one", 1, 0, {"false-near": 1}),
        (second, "ie-two", 0, 1, {"confirmed": 1}),
        (f"{world.other}/0", "ie-two", 0, 0, {}),
    ]
    disputes = [[it["agency"] for it in row["disputes"]] for row in said["rows"]]
    assert disputes == [["ca-three"], [], ["nl-four"]]
    assert said["uncounted"] == [{"platform": "cloud", "why": "unknown", "count": 1}]
    text = run("feedback", *at).stdout
    assert f"{first} nl-one: false-near 1; disputed by ca-three (not-csam)" in text
    assert "uncounted: 1 of cloud, unknown" in text


def test_feedback_is_counted_by_what_is_asked(world: World) -> None:
    world.say(
        word(f"{world.entry}/0", Reason.FALSE_NEAR, "pdq"),
        word(f"{world.entry}/1", Reason.NOT_CSAM, "md5"),
        word(f"{world.other}/1"),
    )
    at = world.home("nl-one")
    said = told("feedback", "--by", "agency", "--by", "algorithm", *at)
    assert rows(said, "agency", "algorithm", "negative") == [
        ("nl-one", "md5", 1),
        ("nl-one", "pdq", 1),
        ("ie-two", "sha256", 0),
    ]
    said = told("feedback", "--by", "platform", "--agency", "nl-one", *at)
    assert rows(said, "platform", "negative") == [("cloud", 2)]
    said = told("feedback", "--listing", f"{world.entry}/1", *at)
    assert rows(said, "listing", "negative") == [(f"{world.entry}/1", 1)]
    said = told("feedback", "--algorithm", "pdq", "--platform", "cloud", "--limit", "1", *at)
    assert (len(said["rows"]), said["not_shown"]) == (1, 0)
    assert told("feedback", "--limit", "2", *at)["not_shown"] == 1
    assert "Nothing." in run("feedback", "--agency", "nobody", *at).stdout
    assert refused("feedback", "--by", "colour", *at) == "cli.by"
    assert refused("feedback", "--listing", "17", *at) == "wire.ref"


def test_a_platform_hears_nothing_of_what_platforms_say(world: World) -> None:
    at = world.home("cloud", "platform")
    for command in ("feedback", "counts"):
        assert refused(command, *at) == "cli.not_an_agency"


def test_the_public_sees_numbers_and_nothing_else(world: World) -> None:
    world.say(word(f"{world.entry}/0", Reason.FALSE_NEAR, "pdq"), word(f"{world.entry}/1"))
    for agency in ("nl-one", "ie-two"):
        world.dispute(agency, world.entry)
    at = world.home("nl-one")
    said = told("counts", *at)
    one = next(row for row in said["agencies"] if row["agency"] == "nl-one")
    assert (one["listings"], one["disputed"], one["upheld"]) == (3, 1, 1)
    assert one["false_positive_rate"] == 0.5
    other = next(row for row in said["agencies"] if row["agency"] == "ie-two")
    assert other["false_positive_rate"] is None
    statuses = {(row["agency"], row["status"], row["listings"]) for row in said["listings"]}
    assert ("nl-one", "disputed", 1) in statuses
    shown = json.dumps(said)
    assert "cloud" not in shown
    assert not any(row.pdq is not None and row.pdq.hex() in shown for row in listings(3))
    assert f"{world.entry}/" not in shown
    text = run("counts", *at).stdout
    assert "nl-one: 3 listings, 0 withdrawn, 1 disputed, 1 upheld; false-positive rate 0.5" in text


def test_anybody_sees_how_long_a_withdrawal_took(world: World) -> None:
    at = world.home("cloud", "platform")
    assert run("withdrawals", *at).stdout == "No listing was withdrawn.\n"
    entry = world.withdraw(world.entry)
    at = world.home("cloud", "platform")
    said = told("withdrawals", "--open", *at)
    (row,) = said["withdrawals"]
    assert (row["entry"], row["listings"], row["open"], row["agency"]) == (entry, 2, True, "nl-one")
    assert (said["open"], said["done"], said["median_ms"]) == (1, 0, None)
    assert said["oldest_open_ms"] == row["took_ms"]
    assert "cloud to follow" in run("withdrawals", *at).stdout
    attested = world.attest()
    at = world.home("cloud", "platform")
    said = told("withdrawals", *at)
    (row,) = said["withdrawals"]
    assert row["platforms"] == [
        {"platform": "cloud", "entry": attested, "took_ms": 1_000, "excused": False}
    ]
    assert (said["open"], said["longest_ms"], row["took_ms"]) == (0, 1_000, 1_000)
    assert told("withdrawals", "--open", *at)["withdrawals"] == []
    assert "1 done: median 1 s, longest 1 s" in run("withdrawals", *at).stdout
