"""Write vectors/decisions.json: `python tests/vectors/decision_vectors.py` from the tree's root.

Fingerprints are SHA-256 of labels and their bit flips: they are of no picture.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from accord.ledger.membership import parameters as parameters_of  # noqa: E402
from accord.statements.rules import Action, Algorithm, Modality, Near, Report  # noqa: E402
from accord.wire import record  # noqa: E402
from decisions_kit import decision_of, facts_of, screen_of, world_of  # noqa: E402  # Path first.
from registry_kit import (  # noqa: E402  # Path first.
    A1,
    B2,
    NOW,
    World,
    clause,
    flip,
    pdq_of,
    rule_set,
)

Json = dict[str, Any]
MD5 = bytes(range(16))
SHA1 = bytes(range(20))
CONTEXT = {"jurisdictions": [], "scope": "uploads", "service": "hosting", "stale": False}


def listed(seed: int, code: object = A1, **more: str) -> Json:
    values = {"pdq": pdq_of(seed).hex(), "pdq_quality": 90}
    return {"class": record.dump_record(code), **values, **more}


def said(kind: str, member: str, entry: int, level: int | None = None, first: int = 0) -> Json:
    step = {"kind": kind, "member": member, "entry": entry, "first": first, "count": 1}
    return step if level is None else {**step, "level": level}


def world() -> Json:
    wide = Near(Algorithm.PDQ, 31, 80, Action.BLOCK, alone=True)
    rules = {
        "AT": rule_set(clause(2, 2), undetermined=Action.REVIEW, stale=Action.TAG),
        "BE": rule_set(
            clause(1, 1, classes=(A1, B2), near=wide),
            report=Report("Police", 4),
            preserve_days=365,
            user_notice="Your file was removed.",
            undetermined=Action.QUARANTINE,
        ),
        "CY": rule_set(modality=Modality.PROHIBITED),
        "DE": rule_set(clause(2, 1, 1, exact=Action.TAG), modality=Modality.PERMITTED),
        "EE": rule_set(valid_from_ms=NOW + 1_000_000),
    }
    publish = {"kind": "publish", "groups": ["clouds"]}
    return {
        "agencies": [
            {"name": "ada", "sovereign": "AT", "jurisdictions": ["AT"]},
            {"name": "bea", "sovereign": "BE", "jurisdictions": ["BE", "EU"]},
            {"name": "ben", "sovereign": "BE", "jurisdictions": ["BE"]},
            {"name": "cyd", "sovereign": "CY", "jurisdictions": ["CY"]},
        ],
        "parameters": record.dump_record(parameters_of(World().state)),
        "platform": {"jurisdictions": ["AT", "BE", "CY", "DE", "EE", "FI"], "groups": ["clouds"]},
        "rules": {
            name: {"version": 1, "entry": 100 + i, "rule_set": record.dump_record(rules[name])}
            for i, name in enumerate(sorted(rules))
        },
        "entries": [
            {
                **publish,
                "member": "ada",
                "listings": [
                    listed(1, md5=MD5.hex()),
                    listed(2, sha1=SHA1.hex()),
                    listed(3, B2),
                    listed(4),
                ],
            },
            said("approve", "ada", 0),
            said("endorse", "cyd", 0, level=1),
            said("endorse", "ben", 0, level=0, first=1),
            {**publish, "member": "bea", "listings": [listed(4), listed(5)]},
            said("approve", "bea", 4),
            said("dispute", "bea", 0, first=1),
            said("withdraw", "bea", 4, first=1),
            {**publish, "member": "ben", "listings": [listed(6)]},
        ],
    }


def asked(
    name: str,
    frames: list[tuple[bytes, int]],
    digests: list[tuple[str, bytes]] | None = None,
    undetermined: str | None = None,
    **context: object,
) -> Json:
    query = {
        "digests": [[algorithm, value.hex()] for algorithm, value in digests or []],
        "frames": [[bits.hex(), quality] for bits, quality in frames],
        "undetermined": undetermined,
    }
    return {"name": name, "query": query, "context": {**CONTEXT, **context}}


def cases() -> list[Json]:
    one, two, calm = pdq_of(1), pdq_of(2), {"jurisdictions": ["AT", "BE", "DE", "EE", "FI"]}
    found: list[Json] = []
    for distance in (0, 31, 32):
        found.append(asked(f"near at {distance} bits", [(flip(one, distance), 100)], **calm))
    found += [
        asked("near and confirmed by a digest", [(flip(two, 9), 95)], [("sha1", SHA1)], **calm),
        asked("exact", [], [("md5", MD5)], **calm),
        asked("exact where a jurisdiction prohibits", [], [("md5", MD5)]),
        asked("prohibited and permitted", [(one, 100)], jurisdictions=["CY", "DE"]),
        asked("disputed at home, not elsewhere", [(two, 100)], jurisdictions=["AT", "BE"]),
        asked("another class", [(pdq_of(3), 100)], **calm),
        asked("vouched for by an equal fingerprint", [(pdq_of(4), 100)], jurisdictions=["AT"]),
        asked("withdrawn", [(pdq_of(5), 100)], **calm),
        asked("never approved", [(pdq_of(6), 100)], **calm),
        asked("several frames", [(pdq_of(9), 90), (flip(one, 5), 40), (flip(one, 8), 60)], **calm),
        asked("no frame is good enough", [(one, 30)], **calm),
        asked("could not look", [], undetermined="image.truncated", **calm),
        asked("could not look, but the digest", [], [("md5", MD5)], "image.too_flat", **calm),
        asked("a stale list", [(pdq_of(9), 100)], stale=True, **calm),
        asked("another service", [(one, 100)], service="messaging", **calm),
        asked("nothing there", [(pdq_of(9), 100)], [("md5", bytes(16))], **calm),
    ]
    return found


def write() -> None:
    scene = world()
    screen = screen_of(world_of(scene))
    document = {
        "source": "docs/spec/registry.md and docs/spec/decisions.md",
        "generator": "tests/vectors/decision_vectors.py",
        "date": "2026-11-22",
        "note": "Entry i has block time 1700000000000 + i; the log root is bytes 0 to 31.",
        "world": scene,
        "facts": facts_of(screen),
        "cases": [{**case, "decision": decision_of(screen, case)} for case in cases()],
    }
    text = json.dumps(document, indent=1, ensure_ascii=True) + "\n"
    (ROOT / "vectors" / "decisions.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    write()
