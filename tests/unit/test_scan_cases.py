"""Cases: one reviewer at a time, deadlines, holds, tasks, and crashes between any two writes."""

import random
import sqlite3
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from accord.scan.cases.certificate import verify_certificate
from accord.scan.cases.model import DAY_MS, HOUR_MS, Case, Disposition, Finding, State, TaskKind
from accord.scan.cases.quarantine import NamedKey, Quarantine
from accord.scan.cases.settings import Sending, load_settings
from accord.scan.cases.store import CaseStore, Deed
from accord.wire.errors import AccordError, Malformed, Unproven
from accord.wire.ids import TimeMs
from accord.wire.keys import VerifyKey
from cases_kit import (
    IDENTITY,
    KEY,
    REPORTER,
    SIGNER,
    START,
    Desk,
    case_of,
    match,
    open_sealed,
    platform_home,
)
from command_kit import refused, run, told

YES = Finding(Disposition.CONFIRMED, viewed=True)
NO = Finding(Disposition.NOT_CSAM, viewed=True, reason="a chessboard")
UNSURE = Finding(Disposition.UNSURE, viewed=False, reason="too small")
FILE = b"a benign file" * 100


@pytest.fixture
def world(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def decided(world: Desk, finding: Finding = YES, case_id: str = "c1") -> Case:
    world.desk.take_in(case_of(case_id), ["12/3"], FILE)
    world.desk.claim(case_id, "rev-1")
    return world.desk.dispose(case_id, "rev-1", finding)


def reported(world: Desk, case_id: str = "c1") -> None:
    deed = Deed("rev-1", "reported", world.clock(), {})
    assert world.store.finish_task(case_id, TaskKind.REPORT, "US NCMEC", deed)


def revealed(world: Desk) -> bytes:
    with world.desk.reveal("c1", "rev-1") as sealed:
        return open_sealed(sealed.read(), str(IDENTITY))


def test_a_case_is_kept_with_its_file_which_only_the_named_key_opens(world: Desk) -> None:
    kept = world.desk.take_in(case_of(), ["12/3"], FILE)
    assert kept.quarantined
    assert world.files() == ["c1.age"]
    raw = (world.directory / "quarantine/c1.age").read_bytes()
    assert FILE[:13] not in raw
    assert open_sealed(raw, f"# a comment\n{IDENTITY}\n") == FILE
    with pytest.raises(Malformed, match=r"cases\.identity"):
        open_sealed(raw, "nothing")
    with pytest.raises(Malformed, match=r"cases\.recipient"):
        Quarantine(world.directory, KEY.__class__("bad", "age1nonsense"))


def test_a_file_that_was_changed_is_not_handed_out(world: Desk) -> None:
    world.desk.take_in(case_of(), [], FILE)
    with pytest.raises(Malformed, match=r"cases\.not_claimed"):
        world.desk.reveal("c1", "rev-1")
    world.desk.claim("c1", "rev-1")
    assert revealed(world) == FILE
    assert world.store.trail("c1")[-1]["what"] == "file taken"
    (world.directory / "quarantine/c1.age").write_bytes(b"other")
    with pytest.raises(Unproven, match=r"cases\.quarantine_changed"):
        world.desk.reveal("c1", "rev-1")


def test_two_reviewers_at_once(world: Desk) -> None:
    """Twenty threads over two connections: exactly one gets the case."""
    world.desk.take_in(case_of(), [], None)
    other = Desk(world.directory)
    got: list[str] = []
    refused: list[str] = []
    gate = threading.Barrier(20)

    def reach(number: int) -> None:
        desk = (world, other)[number % 2].desk
        gate.wait()
        try:
            desk.claim("c1", f"rev-{number}")
            got.append(f"rev-{number}")
        except Malformed as err:
            refused.append(err.code)

    threads = [threading.Thread(target=reach, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [world.store.case("c1").claimed_by]
    assert refused == ["cases.claimed"] * 19


def test_a_claim_ends_and_the_late_reviewer_decides_nothing(world: Desk) -> None:
    world.desk.take_in(case_of(), [], None)
    seen = world.desk.claim("c1", "rev-1").version
    world.now += world.desk.lease_ms - 1
    with pytest.raises(Malformed, match=r"cases\.claimed"):
        world.desk.claim("c1", "rev-2")
    world.now += 1
    world.desk.claim("c1", "rev-2")
    with pytest.raises(Malformed, match=r"cases\.not_claimed"):
        world.desk.dispose("c1", "rev-1", YES)
    with pytest.raises(Malformed, match=r"cases\.version"):
        world.desk.dispose("c1", "rev-2", YES, seen)
    assert world.desk.dispose("c1", "rev-2", YES, seen + 1).reviewer == "rev-2"


def test_deadlines_count_from_the_effective_time(world: Desk) -> None:
    world.desk.take_in(case_of(), [], None)
    world.now += 20 * HOUR_MS
    world.desk.claim("c1", "rev-1")
    done = world.desk.dispose("c1", "rev-1", YES)
    (task,) = world.store.tasks("c1", TaskKind.REPORT)
    assert task.task.due_ms == done.report_due_ms == START + 24 * HOUR_MS


def test_what_is_due_first_comes_first(world: Desk) -> None:
    for number in (3, 1, 2):
        world.desk.take_in(case_of(f"c{number}", START + number), [], None)
    assert [case.id for case in world.store.cases(State.OPEN)] == ["c1", "c2", "c3"]
    assert [case.id for case in world.store.cases(limit=1)] == ["c1"]


def test_each_disposition_leaves_its_tasks(world: Desk) -> None:
    wanted = {
        Disposition.CONFIRMED: {TaskKind.REPORT, TaskKind.FEEDBACK},
        Disposition.NOT_CSAM: {TaskKind.FEEDBACK, TaskKind.NOTIFY},
        Disposition.OTHER_CATEGORY: {TaskKind.REPORT, TaskKind.FEEDBACK},
    }
    for number, (disposition, kinds) in enumerate(wanted.items()):
        category = "extremism" if disposition is Disposition.OTHER_CATEGORY else ""
        decided(world, Finding(disposition, True, "why", category), f"c{number}")
        left = world.store.tasks(f"c{number}", pending=True)
        assert {task.task.kind for task in left} == kinds


@pytest.mark.parametrize(
    "finding",
    [
        Finding(Disposition.NOT_CSAM, True),
        Finding(Disposition.NOT_CSAM, True, "why", category="x"),
        Finding(Disposition.OTHER_CATEGORY, True, "why"),
        Finding(Disposition.NOT_CSAM, True, "two\nlines"),
        Finding(Disposition.NOT_CSAM, True, "x" * 501),
    ],
)
def test_a_finding_that_says_too_little_or_too_much_changes_nothing(
    world: Desk, finding: Finding
) -> None:
    world.desk.take_in(case_of(), [], None)
    before = world.desk.claim("c1", "rev-1")
    with pytest.raises(Malformed):
        world.desk.dispose("c1", "rev-1", finding)
    assert world.store.case("c1") == before


def test_who_was_unsure_or_is_appealed_against_does_not_judge_again(world: Desk) -> None:
    back = decided(world, UNSURE)
    assert (back.state, back.claimed_by, back.unsure) == (State.OPEN, "", ("rev-1",))
    with pytest.raises(Malformed, match=r"cases\.other_reviewer"):
        world.desk.claim("c1", "rev-1")
    world.desk.claim("c1", "rev-2")
    world.desk.dispose("c1", "rev-2", YES)
    assert world.desk.appeal("c1", "support", "ticket-881").state is State.OPEN
    with pytest.raises(Malformed, match=r"cases\.other_reviewer"):
        world.desk.claim("c1", "rev-2")
    world.desk.claim("c1", "rev-3")
    turned = world.desk.dispose("c1", "rev-3", NO)
    assert turned.viewed
    kinds = {task.task.kind for task in world.store.tasks("c1", pending=True)}
    assert kinds == {TaskKind.FEEDBACK, TaskKind.NOTIFY}, "the report that was not made is off"
    assert {row["verdict"] for row in world.store.feedback()} == {"negative"}


def turned(world: Desk, reviewer: str, finding: Finding) -> list[str]:
    """After an appeal: what there is to tell desks that had a report."""
    world.now += 1
    world.desk.appeal("c1", "support", "ticket")
    world.desk.claim("c1", reviewer)
    world.desk.dispose("c1", reviewer, finding)
    return [task.task.subject for task in world.store.tasks("c1", TaskKind.CORRECT, pending=True)]


def test_a_report_that_was_made_and_turns_out_wrong_is_corrected_at_its_desk(world: Desk) -> None:
    decided(world)
    reported(world)
    off, on = "US NCMEC: not-csam", "US NCMEC: confirmed"
    assert turned(world, "rev-2", YES) == [], "it stands"
    assert turned(world, "rev-3", NO) == [off]
    (task,) = world.store.tasks("c1", TaskKind.CORRECT)
    assert task.task.due_ms == world.now
    assert turned(world, "rev-4", YES) == [], "nobody had told the desk yet"
    assert turned(world, "rev-5", NO) == [off]
    deed = Deed("rev-5", "corrected", world.clock(), {"reference": "MAIL-4"})
    assert world.store.finish_task("c1", TaskKind.CORRECT, off, deed)
    assert turned(world, "rev-6", NO) == [], "it knows"
    assert turned(world, "rev-7", YES) == [on]
    deed = replace(deed, time_ms=world.clock())
    assert world.store.finish_task("c1", TaskKind.CORRECT, on, deed)
    assert turned(world, "rev-8", NO) == [off], "once more"
    counts = world.store.task_counts()
    assert counts["correct"] == {"pending": 1, "done": 1}
    assert counts["report"] == {"pending": 0, "done": 1}


def test_a_report_that_was_not_made_needs_no_correction(world: Desk) -> None:
    decided(world)
    assert turned(world, "rev-2", NO) == []


def test_an_uploader_is_told_after_the_delay_that_is_set(world: Desk) -> None:
    world.desk = replace(world.desk, notify_after_ms=DAY_MS)
    decided(world, NO)
    (task,) = world.store.tasks("c1", TaskKind.NOTIFY)
    assert task.task.due_ms == world.now + DAY_MS
    assert world.store.task_counts()["notify"] == {"pending": 1, "done": 0}


def test_nothing_is_destroyed_under_a_hold_too_early_or_unreported(world: Desk) -> None:
    decided(world)
    world.desk.hold("c1", "counsel", "order 17")
    world.now += 400 * DAY_MS
    for code, mend in (
        ("cases.held", lambda: world.desk.release("c1", "counsel", "order 17")),
        ("cases.unreported", lambda: reported(world)),
    ):
        with pytest.raises(Malformed, match=code.replace(".", r"\.")):
            world.desk.destroy("c1", "rev-1", SIGNER)
        mend()
    world.now = START + 365 * DAY_MS - 1
    with pytest.raises(Malformed, match=r"cases\.preserved"):
        world.desk.destroy("c1", "rev-1", SIGNER)
    assert world.files() == ["c1.age"]
    world.now += 1
    done = world.desk.destroy("c1", "rev-1", SIGNER)
    assert (done.state, world.files()) == (State.DESTROYED, [])
    told = verify_certificate(done.certificate, VerifyKey(REPORTER.public))
    assert (told.case, told.key_name, told.destroyed_ms) == ("c1", "test-2026", world.now)
    forged = done.certificate.replace('"reviewer": "rev-1"', '"reviewer": "rev-9"')
    with pytest.raises(Unproven):
        verify_certificate(forged, VerifyKey(REPORTER.public))
    for junk in ("", "{}", "[]", '{"signature": 1}', done.certificate[:-20]):
        with pytest.raises(Malformed, match=r"cases\.certificate"):
            verify_certificate(junk, VerifyKey(REPORTER.public))


def test_a_crash_at_each_step_of_taking_in_loses_no_case_and_makes_no_second(
    tmp_path: Path,
) -> None:
    trace = Desk(tmp_path / "trace")
    trace.desk.take_in(case_of(), ["12/3"], FILE)
    for number, step in enumerate(dict.fromkeys(trace.steps)):
        world = Desk(tmp_path / str(number))
        assert world.crashes(step, partial(world.desk.take_in, case_of(), ["12/3"], FILE))
        world.again().take_in(case_of(), ["12/3"], FILE)  # No answer was given: it comes again.
        (case,) = world.store.cases()
        assert case.quarantined
        sealed = (tmp_path / str(number) / "quarantine/c1.age").read_bytes()
        assert open_sealed(sealed, str(IDENTITY)) == FILE, step


def test_a_crash_at_each_step_of_destroying_ends_in_one_certificate(tmp_path: Path) -> None:
    trace = Desk(tmp_path / "trace")
    decided(trace)
    reported(trace)
    trace.now += 400 * DAY_MS
    trace.steps.clear()
    trace.desk.destroy("c1", "rev-1", SIGNER)
    for number, step in enumerate(dict.fromkeys(trace.steps)):
        world = Desk(tmp_path / str(number))
        decided(world)
        reported(world)
        world.now += 400 * DAY_MS
        assert world.crashes(step, partial(world.desk.destroy, "c1", "rev-1", SIGNER)), step
        world.again()
        halfway = world.store.case("c1")
        assert halfway.certificate == "" or not world.files(), "a certificate and a file"
        if halfway.state is State.DECIDED:
            world.desk.destroy("c1", "rev-1", SIGNER)
        else:
            world.desk.resume("rev-1", SIGNER)
        case = world.store.case("c1")
        assert (case.state, world.files()) == (State.DESTROYED, [])
        verify_certificate(case.certificate, VerifyKey(REPORTER.public))
        assert world.desk.resume("rev-1", SIGNER) == []


def test_a_crash_in_a_disposition_leaves_all_of_it_or_nothing(tmp_path: Path) -> None:
    for number, step in enumerate(("after case", "after trail", "before disposed")):
        world = Desk(tmp_path / str(number))
        world.desk.take_in(case_of(), [], None)
        world.desk.claim("c1", "rev-1")
        assert world.crashes(step, partial(world.desk.dispose, "c1", "rev-1", YES))
        world.again()
        assert world.store.case("c1").state is State.OPEN
        assert world.store.tasks("c1") == []
        assert [row["what"] for row in world.store.trail("c1")] == ["opened", "claimed"]
        world.desk.dispose("c1", "rev-1", YES)
        assert len(world.store.tasks("c1")) == 3


@pytest.mark.parametrize(
    ("finding", "matches", "wanted"),
    [
        (YES, [match()], {"12/3 pdq": "confirmed"}),
        (
            Finding(Disposition.CONFIRMED, True, category="A2"),
            [match()],
            {"12/3 pdq": "wrong-class"},
        ),
        (NO, [match()], {"12/3 pdq": "false-near"}),
        (NO, [match(algorithm="md5")], {"12/3 md5": "not-csam"}),
        (
            NO,
            [match(), match(algorithm="md5"), match("15/0")],
            {"12/3 pdq": "not-csam", "12/3 md5": "not-csam", "15/0 pdq": "false-near"},
        ),
    ],
)
def test_agencies_hear_whether_the_listing_or_the_match_was_wrong(
    world: Desk, finding: Finding, matches: list[dict[str, object]], wanted: dict[str, str]
) -> None:
    case = case_of()
    world.desk.take_in(replace(case, record=dict(case.record) | {"matches": matches}), [], None)
    world.desk.claim("c1", "rev-1")
    world.desk.dispose("c1", "rev-1", finding)
    assert {row["listing"]: row["reason"] for row in world.store.feedback()} == wanted


def test_a_flood_of_the_same_upload_is_one_case_and_of_feedback_one_line(world: Desk) -> None:
    for _ in range(50):
        world.desk.take_in(case_of("c1"), ["12/3"], None)
    (case,) = world.store.cases()
    assert case.sightings == 50
    for number in range(60):
        case_id = f"d{number}"
        world.desk.take_in(case_of(case_id, listings=["12/3"]), ["12/3"], None)
        world.desk.claim(case_id, "rev-1")
        world.desk.dispose(case_id, "rev-1", NO)
    (line,) = world.store.feedback()
    assert line == {
        "listing": "12/3 pdq",
        "verdict": "negative",
        "reason": "false-near",
        "files": 60,
    }
    assert world.store.matched(TimeMs(START)) == {"12/3": 110}


def deed_of(world: Desk, what: str, who: str, finding: Finding) -> None:
    match what:
        case "claim":
            world.desk.claim("c1", who)
        case "dispose":
            world.desk.dispose("c1", who, finding)
        case "hold":
            world.desk.hold("c1", who, "order")
        case "release":
            world.desk.release("c1", who, "order")
        case "appeal":
            world.desk.appeal("c1", who, "ticket")
        case "report":
            reported(world)
        case _:
            world.desk.destroy("c1", who, SIGNER)


DEEDS = {
    "claim": 6,
    "dispose": 6,
    "hold": 1,
    "release": 2,
    "appeal": 1,
    "report": 2,
    "destroy": 1,
}


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_deeds_keeps_the_invariants(world: Desk, seed: int) -> None:
    """A seeded walk: whatever people try in whatever order, refusals change nothing."""
    rng = random.Random(seed)
    world.desk.take_in(case_of(), ["12/3"], FILE)
    for _ in range(60):
        who, before = f"rev-{rng.randrange(3)}", world.store.case("c1")
        world.now += rng.choice([1, HOUR_MS, 40 * DAY_MS])
        what = rng.choices(list(DEEDS), list(DEEDS.values()))[0]
        try:
            deed_of(world, what, who, rng.choice([YES, NO, UNSURE]))
        except (AccordError, AssertionError):
            assert world.store.case("c1") == before, what
            continue
        after = world.store.case("c1")
        is_gone = after.state is State.DESTROYED
        assert is_gone == (world.files() == []) == bool(after.certificate)
        if what == "destroy":
            assert not before.holds
            assert world.now >= before.preserve_until_ms
        if what == "dispose":
            assert before.claimed_by == who
            assert before.claimed_until_ms > world.now


def test_settings_say_what_does_not_fit(tmp_path: Path) -> None:
    assert load_settings(tmp_path).key is None
    good = '[quarantine]\nname = "k"\nrecipient = "age1x"\n[review]\nlease_minutes = 5\n'
    (tmp_path / "cases.toml").write_text(good)
    settings = load_settings(tmp_path)
    assert (settings.key, settings.lease_ms) == (NamedKey("k", "age1x"), 300_000)
    assert settings.feedback == Sending(by_itself=False, every_ms=300_000)
    (tmp_path / "cases.toml").write_text("[review]\nnotify_after_hours = 24\n")
    assert load_settings(tmp_path).notify_after_ms == DAY_MS
    (tmp_path / "cases.toml").write_text("[feedback]\nsend = true\nevery_minutes = 60\n")
    assert load_settings(tmp_path).feedback == Sending(by_itself=True, every_ms=3_600_000)
    for bad in (
        "[",
        "[quarantine]\nname = 1",
        "[other]",
        "review = 3",
        "[review]\nlease_minutes = 0",
        "[review]\nlease_minutes = 5\nmore = 1",
        "[review]\nnotify_after_hours = -1",
        '[review]\nnotify_after_hours = "a day"',
        "[feedback]\nsend = 1",
        "[feedback]\nevery_minutes = 4",
        "[feedback]\nevery_minutes = 1441",
        "[feedback]\nmore = 1",
        "#" * 70_000,
    ):
        (tmp_path / "cases.toml").write_text(bad)
        with pytest.raises(Malformed, match=r"cases\.settings"):
            load_settings(tmp_path)


def test_the_file_is_the_owners_alone(world: Desk) -> None:
    world.desk.take_in(case_of(), [], FILE)
    for name in ("cases.sqlite", "quarantine/c1.age"):
        assert (world.directory / name).stat().st_mode & 0o077 == 0
    world.store.close()
    raw = sqlite3.connect(world.directory / "cases.sqlite")
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    assert CaseStore(world.directory / "cases.sqlite").case("c1").id == "c1"


def test_the_queue_at_the_command_line(tmp_path: Path) -> None:
    home = platform_home(tmp_path)
    world = Desk(home)
    world.now = time.time_ns() // 1_000_000 - 400 * DAY_MS
    world.desk.take_in(case_of("c1", world.now), ["12/3"], FILE)
    (home / "cases.toml").write_text(
        f'[quarantine]\nname = "{KEY.name}"\nrecipient = "{KEY.recipient}"\n'
    )
    (home / "id.txt").write_text(str(IDENTITY))
    at = ("--home", home)
    me = ("--as", "rev-1", *at)
    assert [row["case"] for row in told("cases", "list", *at)["cases"]] == ["c1"]
    assert refused("cases", "list", "--state", "lost", *at) == "cases.state"
    assert refused("cases", "show", "c9", *at) == "cases.unknown"
    assert refused("cases", "dispose", "c1", "confirmed", "--viewed", *me) == "cases.not_claimed"
    assert told("cases", "claim", "c1", *me)["claimed_by"] == "rev-1"
    assert refused("cases", "claim", "c1", "--as", "rev-2", *at) == "cases.claimed"
    out = tmp_path / "out"
    told("cases", "extract", "c1", "--identity", home / "id.txt", "--out", out, *me)
    assert out.read_bytes() == FILE
    assert refused("cases", "dispose", "c1", "maybe", "--viewed", *me) == "cases.disposition"
    said = told("cases", "dispose", "c1", "not-csam", "--viewed", "--reason", "chess", *me)
    assert (said["state"], said["disposition"]) == ("decided", "not-csam")
    kinds = [task["kind"] for task in told("cases", "tasks", *at)["tasks"]]
    assert kinds == ["notify", "feedback", "feedback"]
    counts = told("cases", "tasks", *at)["counts"]
    assert counts["notify"] == {"pending": 1, "done": 0}, "every false positive is counted"
    assert told("cases", "notified", "c1", *me)["done"]
    assert told("cases", "tasks", *at)["counts"]["notify"] == {"pending": 0, "done": 1}
    assert (
        refused("report", "corrected", "c1", "US NCMEC: not-csam", "M-4", *me) == "report.no_duty"
    )
    assert not told("cases", "notified", "c1", *me)["done"]
    assert len(told("cases", "feedback", *at)["feedback"]) == 2
    told("cases", "hold", "c1", "order", *me)
    assert refused("cases", "destroy", "c1", *me) == "cases.held"
    told("cases", "release", "c1", "order", *me)
    told("cases", "appeal", "c1", "ticket-881", *me)
    told("cases", "claim", "c1", "--as", "rev-2", *at)
    two = ("--as", "rev-2", *at)
    told("cases", "dispose", "c1", "not-csam", "--viewed", "--reason", "chess", *two)
    signed = told("cases", "destroy", "c1", *two)["certificate"]
    verify_certificate(signed, VerifyKey(REPORTER.public))
    assert "rev-2: destroyed" in run("cases", "show", "c1", *at).stdout
    assert told("cases", "show", "c1", *at)["appeal"] == "ticket-881"
