"""How commands say that they failed: in the words of docs/errors.md, on one line or as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accord.cli.failures import FAMILIES, explain, of_system, render
from accord.cli.meanings import meaning_of
from accord.ledger.codes import RejectCode
from accord.wire.errors import Broken, Malformed, Rejected, Unavailable, Unproven

FULL = Path("/dev/full")
ACCORD = [sys.executable, "-m", "accord.cli.main"]


def test_a_failure_names_code_cause_and_mend() -> None:
    err = Malformed("home.missing", path="x", empty="", mend="accord init")
    assert render(err, as_json=False) == (
        "accord: home.missing: no home there (path=x); mend: accord init"
    )
    assert json.loads(render(err, as_json=True)) == {
        "error": {
            "code": "home.missing",
            "message": "no home there",
            "detail": {"path": "x", "empty": ""},
            "mend": "accord init",
        }
    }


def test_who_failed_chooses_the_words_first() -> None:
    said = Rejected("reject.expired", message="too late", mend="be earlier")
    assert explain(said) == ("too late", "be earlier")
    unknown = Unproven("someday.later")
    assert explain(unknown) == ("could not be proved", "do not go on, and keep the evidence")
    assert explain(Unproven("follow.root"))[1] == "do not go on, and keep the evidence"
    assert explain(Unavailable("http.no_answer")) == ("the node did not answer", "try again")
    assert "stop and look" in explain(Broken("store.app_hash"))[1]


@pytest.mark.parametrize("code", list(RejectCode), ids=str)
def test_every_rejection_is_explained(code: RejectCode) -> None:
    words, _ = explain(Rejected(code.code))
    assert words.startswith("the ledger's rules say no: ")
    assert words != FAMILIES[1][1]


def test_a_meaning_is_for_a_terminal() -> None:
    meaning = meaning_of("reject.bad_rule_set")
    assert meaning is not None
    assert meaning.mend == "accord rules check"
    assert meaning_of("no.such_code") is None


def test_what_the_system_refuses_has_a_code() -> None:
    err = of_system(OSError(28, "No space left on device", "somewhere"))
    assert err.code == "cli.io"
    assert err.detail == {"path": "somewhere", "why": "No space left on device"}


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, a full device of Linux")
@pytest.mark.parametrize(
    "command", [["rules", "template", "uk"], ["fingerprint", "nowhere"], ["--help"], ["--version"]]
)
@pytest.mark.parametrize("buffering", ["", "1"])
def test_output_that_cannot_be_written_is_told(
    tmp_path: Path, command: list[str], buffering: str
) -> None:
    with FULL.open("wb") as full:
        found = subprocess.run(
            [*ACCORD, *command],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | {"PYTHONUNBUFFERED": buffering},
        )
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1].startswith("accord: cli.io: ")
    assert found.stderr.count("No space left on device") == 1
    assert "Traceback" not in found.stderr
    assert "Exception ignored" not in found.stderr
