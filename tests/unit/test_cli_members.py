"""`accord members`: a governor sees what a vote is about."""

from typing import Any

from accord.cli.members import proposal_row

AGENCIES = {"ca-three", "ie-two", "nl-one"}


def proposal(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a JSON document.
    said: dict[str, Any] = {
        "entry": 12,
        "kind": "admit-platform",
        "action": {"platform": "drive", "title": "Cloud Drive", "jurisdictions": ["NL", "IE"]},
        "proposer": "nl-one",
        "ballots": {"nl-one": True, "ie-two": False},
        "status": "open",
        "due_ms": None,
    }
    return said | changes


def test_it_says_what_it_would_do_and_who_has_not_spoken() -> None:
    row = proposal_row(proposal(), AGENCIES)
    assert row["what"] == "admit-platform: platform drive, title Cloud Drive, jurisdictions NL, IE"
    assert row["votes"] == "yes: nl-one; no: ie-two; open: ca-three"
    assert row["status"] == "open"


def test_what_passed_says_from_when_it_holds() -> None:
    row = proposal_row(proposal(status="passed", due_ms=1_800_000_000_000), AGENCIES)
    assert row["status"] == "passed, in force 2027-01-15 08:00 UTC"
    assert row["votes"] == "yes: nl-one; no: ie-two"
