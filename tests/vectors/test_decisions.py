"""The decisions of vectors/decisions.json, from the inputs that stand there."""

import json
from pathlib import Path

from decisions_kit import decision_of, facts_of, screen_of, world_of

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "decisions.json"


def test_every_decision_is_as_written() -> None:
    document = json.loads(VECTORS.read_text(encoding="ascii"))
    screen = screen_of(world_of(document["world"]))
    assert facts_of(screen) == document["facts"]
    for case in document["cases"]:
        assert decision_of(screen, case) == case["decision"], case["name"]
    assert len(document["cases"]) == 19
