"""`accord report`: what a platform tells others about a case."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from accord.cli.assemble import now_ms
from accord.cli.cases import CaseArg, Reviewer, opened
from accord.cli.governance import tell
from accord.cli.options import HomeOption, Json
from accord.cli.platform import PANEL
from accord.client.files import write_durably
from accord.wire.errors import Malformed

report_app = typer.Typer(no_args_is_help=True, help="Reports, webhooks and summaries of cases.")

Facts = Annotated[
    Path | None,
    typer.Option("--facts", help="JSON: what else you know of the upload; docs/spec/reports.md."),
]

_DRAFT = """Show the report as it would be sent. Nothing is sent.

Examples:

    accord report draft 5f0c1e2d3a4b5c6d7e8f --facts facts.json --home ./clouddrive
"""
_SUBMIT = """Report a confirmed case to the CyberTipline, once; say it again after any interruption.

Sends only where cases.toml says `send = true`, and to the test desk unless it says
`environment = "production"`. A test's report is thrown away there and leaves the case's tasks.

Examples:

    accord report submit 5f0c1e2d3a4b5c6d7e8f --as rev-7 --home ./clouddrive

    accord report submit 5f0c1e2d3a4b5c6d7e8f --as rev-7 --file file.bin --facts facts.json \\
        --home ./clouddrive
"""
_DONE = """Note that a report was made elsewhere, such as at a national desk's portal.

Examples:

    accord report done 5f0c1e2d3a4b5c6d7e8f "GB National desk" REF-17 --as rev-7 \\
        --home ./clouddrive
"""
_CORRECTED = """Note that a desk was told that a report of before no longer stands as it was made.

A report cannot be called back by a machine once it is finished: write to the desk, then say so.

Examples:

    accord report corrected 5f0c1e2d3a4b5c6d7e8f "US NCMEC: not-csam" MAIL-4 --as rev-7 \\
        --home ./clouddrive
"""
_DELIVER = """Send signed webhooks of what happened to cases since the last one that was taken.

Run it from a timer. What the receiver does not take is tried again with growing waits, in order.

Examples:

    accord report deliver --home ./clouddrive
"""
_SUMMARY = """A case for people, as JSON or PDF: no picture and no fingerprint in it.

Examples:

    accord report summary 5f0c1e2d3a4b5c6d7e8f --home ./clouddrive --json

    accord report summary 5f0c1e2d3a4b5c6d7e8f --pdf case.pdf --home ./clouddrive
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for name, text, command in (
        ("draft", _DRAFT, draft),
        ("submit", _SUBMIT, submit),
        ("done", _DONE, done),
        ("corrected", _CORRECTED, corrected),
        ("deliver", _DELIVER, deliver),
        ("summary", _SUMMARY, summary),
    ):
        report_app.command(name, help=text)(command)
    app.add_typer(report_app, name="report", rich_help_panel=PANEL)


def draft(case: CaseArg, home: HomeOption, facts: Facts = None, as_json: Json = False) -> None:
    from accord.scan.cases.settings import load_settings  # noqa: PLC0415
    from accord.scan.reports.cybertip import (  # noqa: PLC0415
        UploadFacts,
        file_details_xml,
        parse_facts,
        report_xml,
    )
    from accord.scan.reports.tipline import parse_settings  # noqa: PLC0415

    known = UploadFacts() if facts is None else parse_facts(facts.read_bytes())
    section = dict(load_settings(home).cybertipline) | {"send": True}  # Nothing is sent here.
    tipline = parse_settings(section, home)
    with opened(home) as (_, desk):
        found = desk.store.case(case)
    said = {
        "report": report_xml(found, tipline.reporter, known).decode(),
        "file_details": file_details_xml(found, "REPORT", "FILE", known).decode(),
        "voluntary_facts": known.filled(),
    }
    tell(as_json, said, f"{said['report']}\n{said['file_details']}")


def submit(
    case: CaseArg,
    reviewer: Reviewer,
    home: HomeOption,
    file: Annotated[
        Path | None, typer.Option(help="The file, as `accord cases extract` gave it.")
    ] = None,
    facts: Facts = None,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.settings import load_settings  # noqa: PLC0415
    from accord.scan.reports.cybertip import UploadFacts, parse_facts  # noqa: PLC0415
    from accord.scan.reports.filing import Sending, file_report, filing_view  # noqa: PLC0415
    from accord.scan.reports.tipline import parse_settings  # noqa: PLC0415

    tipline = parse_settings(load_settings(home).cybertipline, home)
    known = UploadFacts() if facts is None else parse_facts(facts.read_bytes())
    data = None if file is None else file.read_bytes()
    with opened(home) as (_, desk):
        filed = file_report(desk, case, reviewer, known, data, Sending(tipline, home))
    text = f"report {filed.report_id}, {filed.environment}"
    tell(as_json, filing_view(filed), text + (", made before" if filed.was_filed else ""))


def done(
    case: CaseArg,
    subject: Annotated[str, typer.Argument(help="As `accord cases tasks` names it.")],
    reference: Annotated[str, typer.Argument(help="What the desk called it.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.model import (  # noqa: PLC0415
        TaskKind,
        check_name,
        check_text,
        reported,
    )
    from accord.scan.cases.store import Deed  # noqa: PLC0415

    now = now_ms()
    facts = {"subject": subject, "reference": check_text(reference, is_needed=True)}
    deed = Deed(check_name(reviewer), "reported", now, facts)
    with opened(home) as (_, desk):
        was = desk.store.finish_task(
            case, TaskKind.REPORT, subject, deed, lambda found: (reported(found, now), ())
        )
    if not was:
        raise Malformed("report.no_duty", mend="accord cases tasks")
    tell(as_json, {"case": case, "subject": subject, "done": True}, "Noted.")


def corrected(
    case: CaseArg,
    subject: Annotated[str, typer.Argument(help="As `accord cases tasks` names it.")],
    reference: Annotated[str, typer.Argument(help="Where it was said.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.model import TaskKind, check_name, check_text  # noqa: PLC0415
    from accord.scan.cases.store import Deed  # noqa: PLC0415

    facts = {"subject": subject, "reference": check_text(reference, is_needed=True)}
    deed = Deed(check_name(reviewer), "corrected", now_ms(), facts)
    with opened(home) as (_, desk):
        was = desk.store.finish_task(case, TaskKind.CORRECT, subject, deed)
    if not was:
        raise Malformed("report.no_duty", mend="accord cases tasks")
    tell(as_json, {"case": case, "subject": subject, "done": True}, "Noted.")


def deliver(home: HomeOption, as_json: Json = False) -> None:
    from accord.scan.cases.settings import load_settings  # noqa: PLC0415
    from accord.scan.reports.webhook import Deliverer, parse_hook  # noqa: PLC0415

    hook = parse_hook(load_settings(home).webhook, home)
    with opened(home) as (_, desk), closing(Deliverer(home, hook)) as deliverer:
        did = deliverer.deliver(desk.store, now_ms())
        lost = deliverer.given_up()
    said = {"taken": did.taken, "given_up": did.given_up, "next_ms": did.next_ms, "lost": lost}
    waits = "" if did.next_ms is None else "; the receiver does not take the next"
    tell(as_json, said, f"{did.taken} taken, {did.given_up} given up{waits}")


def summary(
    case: CaseArg,
    home: HomeOption,
    pdf: Annotated[Path | None, typer.Option(help="Write a PDF there.")] = None,
    as_json: Json = False,
) -> None:
    from accord.scan.reports.summary import pdf_of, summary_of  # noqa: PLC0415

    with opened(home) as (_, desk):
        found = desk.store.case(case)
        said = summary_of(found, desk.store.trail(case), desk.store.tasks(case))
    if pdf is not None:
        write_durably(pdf, pdf_of(said), mode=0o600)
    text = "\n".join(f"{name}: {value}" for name, value in said.items())
    tell(as_json, said, text if pdf is None else str(pdf))
