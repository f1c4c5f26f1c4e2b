"""The recorded answer about the list: commitments, signed bytes, the file."""

import json
from pathlib import Path

from accord.audit.listed import AskedValue, check_asked, parse_signed_answer, signed_bytes
from accord.ledger.state import KeyRow
from accord.statements.bodies import Role
from accord.statements.rules import Algorithm, Metric
from accord.wire.ids import OperatorId, TimeMs

FILE = Path(__file__).parents[2] / "vectors" / "listed.json"


def test_an_answer_reads_and_verifies_as_recorded() -> None:
    known = json.loads(FILE.read_text())
    raw = known["file"].encode()
    signed = parse_signed_answer(raw)
    assert signed.encode() == raw
    assert signed_bytes(signed.agency, signed.answer).hex() == known["signed_bytes"]
    public = bytes.fromhex(known["public_key"])
    key = KeyRow(signed.agency, Role.ANALYST, OperatorId("ann"), public, TimeMs(0), None)
    answer = signed.verify(key, is_admitted=True)
    asked = [
        AskedValue(
            Algorithm(one["scheme"]),
            bytes.fromhex(one["value"]),
            one["metric"] and Metric(one["metric"]),
            one["distance"],
        )
        for one in known["asked"]
    ]
    check_asked(answer, bytes.fromhex(known["salt"]), asked)
    assert [item.listed.value for item in answer.values] == [
        one["listed"] for one in known["asked"]
    ]
    assert [item.commitment.hex() for item in answer.values] == [
        one["commitment"] for one in known["asked"]
    ]
    assert {one["listed"] for one in known["asked"]} == {
        "not-listed",
        "proposed",
        "listed",
        "listed-withdrawn",
    }
