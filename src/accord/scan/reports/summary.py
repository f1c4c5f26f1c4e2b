"""A case on paper: JSON and PDF, text only. No picture and no value of a fingerprint in it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fpdf import FPDF

from accord.scan.cases.model import Case
from accord.scan.cases.store import KeptTask
from accord.scan.reports.cybertip import match_lines

Json = dict[str, object]


def summary_of(case: Case, trail: Sequence[dict[str, object]], tasks: Sequence[KeptTask]) -> Json:
    """The facts of a case that people read."""
    return {
        "case": case.id,
        "version": case.version,
        "state": case.state.value,
        "action": case.action,
        "opened": _moment(case.opened_ms),
        "effective": _moment(case.effective_ms),
        "report_due": _moment(case.report_due_ms),
        "preserve_until": _moment(case.preserve_until_ms),
        "disposition": case.disposition and case.disposition.value,
        "reason": case.reason,
        "reviewer": case.reviewer,
        "viewed": case.viewed,
        "sightings": case.sightings,
        "holds": list(case.holds),
        "appeal": case.appeal,
        "file_held": bool(case.quarantined),
        "matches": match_lines(case),
        "checkpoint": case.record.get("checkpoint"),
        "tasks": [
            {
                "kind": item.task.kind.value,
                "subject": item.task.subject,
                "due": _moment(item.task.due_ms),
                "done": _moment(item.done_ms),
            }
            for item in tasks
        ],
        "trail": [
            {"time": _moment(row["time_ms"]), "who": row["who"], "what": row["what"]}
            for row in trail
        ],
    }


def pdf_of(summary: Json) -> bytes:
    """The same as PDF. The same summary gives the same bytes."""
    pdf = FPDF()
    pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))  # When, the trail says.
    pdf.set_title(f"Case {summary['case']}")
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 14)
    _line(pdf, f"Case {summary['case']}")
    for name, value in summary.items():
        rows = value if isinstance(value, list) else None
        pdf.set_font("Helvetica", "B" if rows is not None else "", 9)
        _line(
            pdf, name.replace("_", " ") if rows is not None else f"{_label(name)}: {_flat(value)}"
        )
        pdf.set_font("Helvetica", "", 9)
        for row in rows or ():
            _line(pdf, f"  {_flat(row)}")
    return bytes(pdf.output())


def _label(name: str) -> str:
    return name.replace("_", " ")


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return "none" if value in (None, "") else str(value)


def _line(pdf: FPDF, text: str) -> None:
    """The fonts that every reader has know Latin-1 only: other signs are shown as `?`."""
    shown = text.encode("latin-1", "replace").decode("latin-1")
    pdf.multi_cell(0, 5, shown, new_x="LMARGIN", new_y="NEXT")


def _moment(time_ms: object) -> str | None:
    if not isinstance(time_ms, int):
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
