"""Reports: the exact form, once whatever crashes, only where switched on; webhooks; papers."""

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from accord.scan.cases.model import DAY_MS, Case, Disposition, Finding, TaskKind
from accord.scan.reports.cybertip import (
    Reporter,
    UploadFacts,
    file_details_xml,
    parse_facts,
    report_xml,
)
from accord.scan.reports.filing import Filed, FilingStore, Sending, file_report
from accord.scan.reports.summary import pdf_of, summary_of
from accord.scan.reports.tipline import BASES, Tipline, parse_settings
from accord.scan.reports.webhook import Deliverer, Hook, parse_hook, verify
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import TimeMs
from accord.wire.limits import WEBHOOK_TRIES_MAX
from cases_kit import START, Crashed, Desk, case_of, platform_home
from command_kit import refused, told
from tipline_kit import ReportDesk, faults, running_desk

WHO = Reporter("Ada", "Person", "desk@cloud.example", "Cloud Drive")
FACTS = UploadFacts(
    esp_identifier="u-1",
    screen_name="someone",
    profile_url="https://cloud.example/u-1",
    ip_address="192.0.2.7",
    event_ms=START,
    file_name="a.jpg",
    uploaded_ms=START,
    publicly_available=False,
    url="https://cloud.example/f/1",
)
FILE = b"a benign file"
SECRET = b"s" * 32


@pytest.fixture(scope="module")
def served() -> Iterator[ReportDesk]:
    with running_desk() as desk:
        yield desk


@pytest.fixture
def there(served: ReportDesk) -> ReportDesk:
    """The desk, as on its first day."""
    fresh = ReportDesk(url=served.url)
    served.__dict__.update(fresh.__dict__)
    return served


@pytest.fixture
def world(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def confirmed(world: Desk, *, viewed: bool = True, case_id: str = "c1") -> Case:
    world.desk.take_in(case_of(case_id), ["12/3"], None)
    world.desk.claim(case_id, "rev-1")
    return world.desk.dispose(case_id, "rev-1", Finding(Disposition.CONFIRMED, viewed=viewed))


def tipline(there: ReportDesk, environment: str = "production") -> Tipline:
    return Tipline(environment, there.url, "esp", "secret", WHO, ("NCMEC",))


def submit(
    world: Desk, there: ReportDesk, environment: str = "production", data: bytes | None = FILE
) -> Filed:
    sending = Sending(tipline(there, environment), world.directory, fault=world.fault)
    return file_report(world.desk, "c1", "rev-1", FACTS, data, sending)


def pending(world: Desk) -> int:
    return len(world.store.tasks("c1", TaskKind.REPORT, pending=True))


@pytest.mark.parametrize("facts", [FACTS, UploadFacts()])
def test_documents_are_in_the_documented_order(world: Desk, facts: UploadFacts) -> None:
    case = confirmed(world)
    report = fromstring(report_xml(case, WHO, facts))
    details = fromstring(file_details_xml(case, "7", "f0", facts))
    assert faults(report) == faults(details) == []
    hashes = {item.get("hashType"): item.text for item in details.findall("originalFileHash")}
    assert hashes == {"MD5": "11" * 16, "SHA1": "22" * 20, "SHA256": "33" * 32}
    lines = [item.text or "" for item in details.findall("additionalInfo")]
    assert any("near: 4 hamming of 31" in line and "listing 12/3" in line for line in lines)
    assert details.find("industryClassification") is None, "only its signatories may say that"
    assert "5a5a" not in "".join(lines), "a match's value is no original hash"


@pytest.mark.parametrize("viewed", [True, False])
def test_it_says_truly_whether_anybody_viewed_the_file(world: Desk, viewed: bool) -> None:
    case = confirmed(world, viewed=viewed)
    details = fromstring(file_details_xml(case, "7", "f0", FACTS))
    assert details.findtext("fileViewedByEsp") == str(viewed).lower()
    words = fromstring(report_xml(case, WHO, FACTS)).findtext("additionalInfo") or ""
    assert ("Nobody viewed" in words) is not viewed


def test_the_desk_of_these_tests_refuses_another_order(world: Desk) -> None:
    report = fromstring(report_xml(confirmed(world), WHO, FACTS))
    for element in (report, report[0]):
        children = list(element)
        element[:] = [*children[1:], children[0]]
        assert faults(report)
        element[:] = children
    assert not faults(report)


def test_the_five_steps_make_one_report_and_finish_the_tasks(
    world: Desk, there: ReportDesk
) -> None:
    before = confirmed(world)
    world.now += 3 * DAY_MS
    filed = submit(world, there)
    assert there.asked == ["status", "submit", "upload", "fileinfo", "finish"]
    assert there.finished() == [filed.report_id]
    report = there.reports[filed.report_id]
    assert list(report["files"].values()) == [FILE]
    assert pending(world) == 0
    assert b"reportDoneResponse" in filed.receipt
    after = world.store.case("c1")
    assert after.preserve_until_ms == world.now + 365 * DAY_MS > before.preserve_until_ms
    again = submit(world, there)
    assert (again.report_id, again.was_filed) == (filed.report_id, True)
    assert len(there.asked) == 5, "the desk is not asked again"


def test_a_test_report_leaves_the_tasks(world: Desk, there: ReportDesk) -> None:
    confirmed(world)
    submit(world, there, "test")
    assert pending(world) == 1
    submit(world, there)
    assert pending(world) == 0


STEPS = (
    "before intent",
    "after intent kept",
    "after submit",
    "before opened",
    "after opened kept",
    "after upload",
    "after fileinfo",
    "before finishing",
    "after finishing kept",
    "after finish",
    "before finished",
    "after finished kept",
    "before tasks",
    "before task",
    "after task",
)


@pytest.mark.parametrize("forgets", [False, True], ids=["soon", "a-day-later"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_reports_once_and_loses_nothing(
    world: Desk, there: ReportDesk, step: str, forgets: bool
) -> None:
    confirmed(world)
    world.steps.clear()
    assert world.crashes(step, lambda: submit(world, there)), world.steps
    world.again()
    if forgets:
        there.forget_unfinished()
    submit(world, there)
    assert len(there.finished()) == 1
    assert pending(world) == 0
    assert submit(world, there).was_filed
    assert len(there.finished()) == 1


@pytest.mark.parametrize("step", ["status", "submit", "upload", "fileinfo", "finish", "retract"])
def test_an_answer_that_is_lost_reports_once(world: Desk, there: ReportDesk, step: str) -> None:
    confirmed(world)
    if step == "retract":  # Only what a crash left open is retracted.
        assert world.crashes("after upload", lambda: submit(world, there))
        world.again()
    there.lost.append(step)
    with pytest.raises(Unavailable, match=r"report\.desk"):
        submit(world, there)
    submit(world, there)
    assert len(there.finished()) == 1
    assert pending(world) == 0


def test_a_desk_that_is_down_costs_nothing(world: Desk, there: ReportDesk) -> None:
    confirmed(world)
    there.down = True
    with pytest.raises(Unavailable, match=r"report\.desk"):
        submit(world, there)
    there.down = False
    submit(world, there)
    assert len(there.finished()) == 1


def test_two_processes_do_not_file_at_once(world: Desk, there: ReportDesk) -> None:
    confirmed(world)
    with (
        closing(FilingStore(world.directory)) as store,
        store.exclusive(),
        pytest.raises(Unavailable, match=r"report\.busy"),
    ):
        submit(world, there)
    assert there.asked == []


def test_only_confirmed_cases_with_a_duty_are_reported(world: Desk, there: ReportDesk) -> None:
    world.desk.take_in(case_of(), [], None)
    with pytest.raises(Malformed, match=r"report\.not_decided"):
        submit(world, there)
    world.desk.claim("c1", "rev-1")
    world.desk.dispose("c1", "rev-1", Finding(Disposition.NOT_CSAM, True, "chess"))
    with pytest.raises(Malformed, match=r"report\.not_decided"):
        submit(world, there)
    other = replace(tipline(there), duties=("NCA",))
    confirmed(world, case_id="c2")
    with pytest.raises(Malformed, match=r"report\.no_duty"):
        file_report(world.desk, "c2", "rev-1", FACTS, None, Sending(other, world.directory))
    assert there.asked == []


def test_nothing_is_sent_without_being_switched_on(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    whole: dict[str, Any] = {
        "send": True,
        "username": "esp",
        "password_file": "pw",
        "email": "a@b.example",
        "first_name": "A",
        "last_name": "B",
        "platform": "C",
        "duties": ["NCMEC"],
    }
    usual = parse_settings(whole, tmp_path)
    assert (usual.environment, usual.base) == ("test", BASES["test"])
    assert parse_settings(whole | {"environment": "production"}, tmp_path).base.startswith(
        "https://report."
    )
    for bad, code in (
        ({"send": False}, "report.off"),
        ({"send": "true"}, "report.off"),
        ({"environment": "prod"}, "report.settings"),
        ({"email": ""}, "report.settings"),
        ({"duties": "NCMEC"}, "report.settings"),
        ({"password_file": "none"}, "report.settings"),
        ({"url": "https://elsewhere.example"}, "report.settings"),
        ({"url": "http://127.0.0.1:1", "environment": "production"}, "report.settings"),
        ({"more": 1}, "report.settings"),
    ):
        with pytest.raises(Malformed, match=code.replace(".", r"\.")):
            parse_settings(whole | bad, tmp_path)
    with pytest.raises(Malformed, match=r"report\.off"):
        parse_settings({}, tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"more": 1}',
        b'{"url": "https://x.example/a b"}',
        b'{"event_name": "Sent"}',
        b'{"event_ms": "1"}',
        b'{"event_ms": true}',
        b'{"screen_name": 7}',
        b'{"publicly_available": "no"}',
        b'{"file_name": "a\\u0000b"}',
    ],
)
def test_facts_that_the_desk_would_refuse_are_refused_here(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"report\.facts"):
        parse_facts(raw)


def test_facts_are_counted(world: Desk) -> None:
    assert (UploadFacts().filled(), FACTS.filled()) == (0, 9)
    assert parse_facts(b'{"url": "https://x.example"}').filled() == 1


def test_webhooks_arrive_signed_in_order_and_after_a_crash_with_the_same_id(
    world: Desk, there: ReportDesk
) -> None:
    confirmed(world)
    hook = Hook(f"{there.url}/hook", SECRET)
    with closing(Deliverer(world.directory, hook, world.fault)) as deliverer:
        world.crash_at = "taken"
        with pytest.raises(Crashed):
            deliverer.deliver(world.store, world.clock())
    world.crash_at = ""
    with closing(Deliverer(world.directory, hook)) as deliverer:
        with pytest.raises(Unavailable, match=r"webhook\.store"):
            Deliverer(world.directory, hook)
        assert deliverer.deliver(world.store, world.clock()).taken == 3
        assert deliverer.deliver(world.store, world.clock()).taken == 0
    ids = [verify(SECRET, headers, body, world.now // 1000) for headers, body in there.hooks]
    assert ids == ["case_1", "case_1", "case_2", "case_3"]
    kinds = [json.loads(body)["type"] for _, body in there.hooks[1:]]
    assert kinds == ["case.opened", "case.claimed", "case.disposed"]
    headers, body = there.hooks[0]
    with pytest.raises(Unproven, match=r"webhook\.signature"):
        verify(SECRET, headers, body + b" ", world.now // 1000)
    with pytest.raises(Unproven, match=r"webhook\.signature"):
        verify(b"t" * 32, headers, body, world.now // 1000)
    with pytest.raises(Unproven, match=r"webhook\.timestamp"):
        verify(SECRET, headers, body, world.now // 1000 + 301)


def test_webhooks_wait_longer_each_time_and_are_given_up_by_name(
    world: Desk, there: ReportDesk
) -> None:
    world.desk.take_in(case_of(), [], None)
    there.hook_status = 500
    waits: list[int] = []
    with closing(Deliverer(world.directory, Hook(f"{there.url}/hook", SECRET))) as deliverer:
        for _ in range(WEBHOOK_TRIES_MAX - 1):
            did = deliverer.deliver(world.store, world.clock())
            assert did.next_ms is not None
            early = deliverer.deliver(world.store, TimeMs(did.next_ms - 1))
            assert (early.taken, early.next_ms) == (0, did.next_ms)
            waits.append(did.next_ms - world.now)
            world.now = did.next_ms
        assert waits == sorted(waits)
        assert deliverer.deliver(world.store, world.clock()).given_up == 1
        assert deliverer.given_up() == [1]
        there.hook_status = 204
        world.desk.claim("c1", "rev-1")
        assert deliverer.deliver(world.store, world.clock()).taken == 1
    assert len(there.hooks) == WEBHOOK_TRIES_MAX + 1


def test_hooks_that_are_not_safe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("whsec_" + base64.b64encode(SECRET).decode())
    (tmp_path / "short").write_text("whsec_" + base64.b64encode(b"s" * 8).decode())
    (tmp_path / "junk").write_text("whsec_!")
    url = "https://hooks.example/x"
    assert parse_hook({"url": url, "secret_file": "s"}, tmp_path).secret == SECRET
    for bad in (
        {},
        {"url": "http://hooks.example", "secret_file": "s"},
        {"url": url, "secret_file": "short"},
        {"url": url, "secret_file": "junk"},
        {"url": url, "secret_file": "none"},
        {"url": url, "secret_file": "s", "more": 1},
    ):
        with pytest.raises(Malformed, match=r"webhook\.settings"):
            parse_hook(bad, tmp_path)


def test_a_summary_has_the_facts_and_no_fingerprint(world: Desk) -> None:
    confirmed(world)
    world.desk.hold("c1", "counsel", "order \u2116 17")
    case = world.store.case("c1")
    said = summary_of(case, world.store.trail("c1"), world.store.tasks("c1"))
    text = json.dumps(said)
    assert "listing 12/3" in text
    for value in ("5a5a", "1111", "3333"):
        assert value not in text
    pdf = pdf_of(said)
    assert pdf.startswith(b"%PDF-")
    assert b"/Subtype /Image" not in pdf
    assert pdf == pdf_of(said)


def test_reports_at_the_command_line(tmp_path: Path, there: ReportDesk) -> None:
    home = platform_home(tmp_path)
    world = Desk(home)
    confirmed(world)
    at = ("--home", home)
    assert refused("report", "submit", "c1", "--as", "rev-1", *at) == "report.off"
    (home / "pw").write_text("secret")
    (home / "hook").write_text("whsec_" + base64.b64encode(SECRET).decode())
    (home / "cases.toml").write_text(
        '[cybertipline]\nsend = true\nusername = "esp"\npassword_file = "pw"\n'
        'email = "a@b.example"\nfirst_name = "A"\nlast_name = "B"\nplatform = "C"\n'
        f'duties = ["NCMEC"]\nurl = "{there.url}"\n'
        f'[webhook]\nurl = "{there.url}/hook"\nsecret_file = "hook"\n'
    )
    assert "<report>" in told("report", "draft", "c1", *at)["report"]
    assert there.asked == []
    said = told("report", "submit", "c1", "--as", "rev-1", *at)
    assert (said["environment"], said["was_filed"]) == ("test", False)
    assert told("report", "submit", "c1", "--as", "rev-1", *at)["was_filed"]
    (home / "pw").write_text("wrong")
    confirmed(world, case_id="c2")
    assert refused("report", "submit", "c2", "--as", "rev-1", *at) == "report.credentials"
    told("report", "done", "c1", "US NCMEC", "REF-1", "--as", "rev-1", *at)
    again = ("report", "done", "c1", "US NCMEC", "REF-1", "--as", "rev-1")
    assert refused(*again, *at) == "report.no_duty"
    assert told("report", "deliver", *at)["taken"] == 7
    assert told("report", "summary", "c1", "--pdf", tmp_path / "c1.pdf", *at)["case"] == "c1"
    assert (tmp_path / "c1.pdf").read_bytes().startswith(b"%PDF-")
    assert refused("report", "draft", "c9", *at) == "cases.unknown"
