"""What the drive reads from the gateway: the contract's answers, and nothing that only looks so."""

import copy
import json
from typing import Any

import drive_kit  # noqa: F401  # isort: skip - makes `clouddrive` importable.
import pytest
from clouddrive.gateway import CannotScreen, parse_status, parse_verdict

from gateway_kit import NOTICE, StandInGateway

DIGEST = "ab" * 32


def answer(action: str = "block") -> dict[str, Any]:
    return StandInGateway(listed={DIGEST: action}).verdict(DIGEST, "NL")


def test_a_verdict_reads_as_the_contract_says() -> None:
    verdict = parse_verdict(json.dumps(answer()))
    assert (verdict.decision, verdict.action, verdict.code) == ("match", "block", None)
    (reason,) = verdict.reasons
    assert (reason.title, reason.version, reason.entry) == ("Uploads in NL", 1, 17)
    assert [(c.agency, c.entry) for c in reason.certified_by] == [
        ("nl-police", 12),
        ("ie-garda", 15),
    ]
    assert (verdict.reports[0].within_hours, verdict.preserve_days) == (24, 365)
    assert verdict.user_notice == (NOTICE,)
    assert verdict.fingerprints is not None


def test_what_is_kept_as_evidence_reads_the_same_and_has_no_fingerprint() -> None:
    verdict = parse_verdict(json.dumps(answer()))
    again = parse_verdict(verdict.facts)
    assert (again.key, again.reasons, again.facts) == (verdict.key, verdict.reasons, verdict.facts)
    assert DIGEST not in verdict.facts
    assert "5a5a" not in verdict.facts


def test_undetermined_fingerprints_are_not_kept_so_that_the_file_itself_is_looked_at_again() -> (
    None
):
    gateway = StandInGateway(unreadable={DIGEST: "review"})
    assert parse_verdict(json.dumps(gateway.verdict(DIGEST, "NL"))).fingerprints is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a.pop("decision"),
        lambda a: a.pop("action"),
        lambda a: a.update(action="let_through"),
        lambda a: a.update(decision="probably_not"),
        lambda a: a.update(reasons="none"),
        lambda a: a.update(duties=7),
        lambda a: a["duties"].update(preserve_days="long"),
        lambda a: a["duties"].update(report=[{"jurisdiction": "NL"}]),
        lambda a: a["reasons"][0].update(certified_by=[{"agency": 3}]),
        lambda a: a["reasons"][0].update(distance=True),
    ],
)
def test_an_answer_that_is_not_the_contracts_is_no_answer(spoil: Any) -> None:  # noqa: ANN401 - a way to break any field.
    spoilt = copy.deepcopy(answer())
    spoil(spoilt)
    with pytest.raises(CannotScreen):
        parse_verdict(json.dumps(spoilt))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "7", '"allow"', "[" * 100_000])
def test_bytes_that_are_no_answer_at_all(text: str) -> None:
    with pytest.raises(CannotScreen):
        parse_verdict(text)
    with pytest.raises(CannotScreen):
        parse_status(text)


def test_equal_verdicts_have_equal_keys_and_different_ones_do_not() -> None:
    one, same, other = answer(), answer(), answer("review")
    same["receipt"]["index"] = 99
    same["checkpoint"]["size"] = 99
    keys = [parse_verdict(json.dumps(a)).key for a in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


STATUS = {
    "platform": "p",
    "list": {"size": 3, "active_root": "00", "time_ms": 1, "stale": False, "active_count": 1},
    "rules": [{"jurisdiction": "NL", "version": 1, "entry": 2, "title": "t", "modality": "m"}],
    "receipts": {"size": 0},
}


def test_the_version_moves_with_the_active_list_and_with_the_rules_alone() -> None:
    def version(change: Any) -> str:  # noqa: ANN401 - a way to change any field.
        status = copy.deepcopy(STATUS)
        change(status)
        return parse_status(json.dumps(status)).version

    before = version(lambda s: None)
    assert version(lambda s: s["list"].update(size=9, time_ms=8)) == before
    assert version(lambda s: s["list"].update(active_root="01")) != before
    assert version(lambda s: s["rules"][0].update(version=2)) != before
    assert version(lambda s: s["rules"].clear()) != before
