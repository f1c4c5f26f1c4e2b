"""What the agency's commands decide themselves: classes as written, a keeper's patience."""

import pytest

from accord.cli.agency import KEEPER_BACKOFF_S_MAX, KEEPER_PAUSE_S, keep, parse_class
from accord.statements.rules import ClassCode
from accord.wire.errors import Malformed, Unavailable, Unproven


def test_classes_as_people_write_them() -> None:
    assert parse_class("ncmec/A1") == ClassCode("ncmec", "", "A1")
    assert parse_class("interpol/eu/baseline") == ClassCode("interpol", "eu", "baseline")
    for wrong in ("", "A1", "a/b/c/d", "UPPER/A1", "ncmec/"):
        with pytest.raises(Malformed):
            parse_class(wrong)


def test_a_keeper_goes_on_after_a_node_was_away(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = ["ok", *["away"] * 6, "ok", "away"]
    waited: list[float] = []

    def step() -> bool:
        if outcomes.pop(0) == "away":
            raise Unavailable("test.away")
        return True

    keep(step, lambda: not outcomes, waited.append)
    pause, most = KEEPER_PAUSE_S, KEEPER_BACKOFF_S_MAX
    backoff = [min(pause * 2**miss, most) for miss in range(6)]
    assert waited == [pause, *backoff, pause, pause]
    assert backoff[-1] == most
    assert capsys.readouterr().err.count("test.away") == 2  # Once for each absence.


def test_a_keeper_stops_at_a_lie() -> None:
    def step() -> bool:
        raise Unproven("test.lie")

    with pytest.raises(Unproven):
        keep(step, lambda: False, lambda _: None)
