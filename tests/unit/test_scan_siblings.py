"""What request processes of one gateway know of one another. No test here sleeps."""

import os
from pathlib import Path

from accord.scan.meter import Counts, Meter
from accord.scan.siblings import NOBODY, SILENT, SILENT_S, Siblings, Table, _name_of


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def counted(*decisions: str) -> Counts:
    meter = Meter()
    for decision in decisions:
        meter.screened(decision, "allow", 0.02)
    meter.refused("gateway.busy")
    return meter.counts()


def as_other(table: Table, siblings: Siblings, place: int, pid: int) -> None:
    """What we have said becomes another process' word."""
    ours = table.directory / _name_of(0, os.getpid())
    siblings.tell(None, counted("match", "no_match"))
    ours.rename(table.directory / _name_of(place, pid))


def test_counts_survive_json_and_add_up() -> None:
    counts = counted("match", "match", "no_match")
    again = Counts.from_json(counts.as_json())
    assert again == counts
    again.add(counts)
    assert again.screens["match", "allow"] == 4
    assert again.refusals["gateway.busy"] == 2
    assert sum(again.buckets) == 6
    text = Meter().text({}, [counts, again])
    assert 'accord_screens_total{decision="match",action="allow"} 6' in text
    assert "accord_screen_seconds_count 9" in text


def test_a_connection_is_for_one_that_holds_the_fewest(tmp_path: Path) -> None:
    Table(tmp_path, 3)
    one, two = (Siblings(tmp_path, place, 3) for place in range(2))
    one.hold(0)
    assert (one.ready(), one.holds_more(5)) == (1, False)  # Nobody else listens.
    two.hold(2)
    assert two.ready() == 2
    assert not one.holds_more(2)
    assert one.holds_more(3)
    assert two.holds_more(2)
    two.hold(NOBODY)
    assert not one.holds_more(3)


def test_what_a_process_counted_stays_when_it_has_ended(tmp_path: Path) -> None:
    table = Table(tmp_path, 2)
    siblings = Siblings(tmp_path, 0, 2)
    assert siblings.counts() == [Counts()]
    for pid in (11, 12, 13):
        as_other(table, siblings, 1, pid)
        before = sum(sum(counts.buckets) for counts in siblings.counts())
        word = (tmp_path / _name_of(1, pid)).read_bytes()
        table.clear(1, pid)
        assert sum(sum(counts.buckets) for counts in siblings.counts()) == before
        # A reader may still see the file for a moment.
        (tmp_path / _name_of(1, pid)).write_bytes(word)
        assert sum(sum(counts.buckets) for counts in siblings.counts()) == before
        (tmp_path / _name_of(1, pid)).unlink()
    assert before == 6
    table.clear(1, 99)  # It ended before it said anything.
    assert sum(sum(counts.buckets) for counts in siblings.counts()) == 6


def test_one_that_cannot_screen_or_is_silent_is_trouble(tmp_path: Path) -> None:
    clock = Clock()
    table = Table(tmp_path, 2)
    siblings = Siblings(tmp_path, 0, 2, clock)
    siblings.tell("screen.no_list", counted())
    assert siblings.trouble() is None  # We know of ourselves.
    as_other(table, siblings, 1, 11)
    assert siblings.trouble() is None
    clock.now_s += SILENT_S + 1
    assert siblings.trouble() == SILENT
    table.clear(1, 11)
    assert siblings.trouble() is None
    siblings.tell("screen.holes", counted())
    (tmp_path / _name_of(0, os.getpid())).rename(tmp_path / _name_of(1, 12))
    assert siblings.trouble() == "screen.holes"


def test_the_follower_says_what_troubles_it(tmp_path: Path) -> None:
    table, siblings = Table(tmp_path, 1), Siblings(tmp_path, 0, 1)
    assert siblings.follower_trouble() is None
    table.tell_follower("http.unreachable")
    assert siblings.follower_trouble() == "http.unreachable"
    table.tell_follower(None)
    assert siblings.follower_trouble() is None
