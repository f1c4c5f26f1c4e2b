"""What a rule file would change, why a decision was what it was, and the schema that is shipped."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accord.agency.founding import TRIAL_PARAMETERS
from accord.agency.lookback import Lookback, look_back, rule_diff
from accord.agency.rulefile import CERTIFICATION, CLAUSE, EXACT, NEAR, TOP, is_required
from accord.agency.ruleschema import rule_schema
from accord.cli.parameters import changed, lines_of
from accord.cli.rules import explained, field_changes
from accord.ledger.membership import consortium
from accord.ledger.state import RULES
from accord.matching import Answer, Context, decision_view, query_of
from accord.statements.rules import Action, Algorithm, Ceiling, ClassCode, Metric
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId
from accord.wire.record import dump_record
from scan_kit import CLOUD, Scene, looked_at

NL = JurisdictionId("NL")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def back_to(scene: Scene, size: int) -> Lookback:
    replica = scene.open_replica()
    replica.sync(scene.source, scene.clock())
    return look_back(
        scene.consortium.founding,
        iter(replica.folded()),
        replica.leaves,
        lambda index, _: index < size,
    )


def test_any_past_size_answers_as_it_did_then(scene: Scene) -> None:
    """Listed, then under milder rules, then withdrawn: three answers, whatever came later."""
    before = len(scene.consortium.leaves)
    entry = scene.list_pictures(1)
    listed = len(scene.consortium.leaves)
    scene.rule(2, Action.TAG)
    milder = len(scene.consortium.leaves)
    scene.withdraw(entry)
    query = query_of(looked_at(1))
    seen: list[tuple[str, str]] = []
    for size in (before, listed, milder, len(scene.consortium.leaves)):
        back = back_to(scene, size)
        assert back.size == size
        decision = back.screen(CLOUD, bytes(32)).decide(query, Context())
        seen.append((decision.answer.value, decision.action.value))
    assert seen == [
        ("no-match", "allow"),
        ("match", "block"),
        ("match", "tag"),
        ("no-match", "allow"),
    ]


def test_nothing_was_said_before_the_first_entry(scene: Scene) -> None:
    with pytest.raises(Malformed, match=r"rules\.before_the_log"):
        back_to(scene, 0)


def test_an_explanation_names_rule_listing_agencies_and_checkpoint(scene: Scene) -> None:
    entry = scene.list_pictures(1)
    back = back_to(scene, len(scene.consortium.leaves))
    screen = back.screen(CLOUD, bytes(range(32)))
    decision = screen.decide(query_of(looked_at(1)), Context())
    assert decision.answer is Answer.MATCH
    row = back.state.get(RULES, b"NL")
    assert row is not None
    rules: dict[str, Any] = {"NL": {"entry": row.entry, "rule_set": dump_record(row.rule_set)}}
    text = "\n".join(explained(decision_view(decision), rules, back.time_ms))
    for part in (row.rule_set.title, row.rule_set.legal_basis.text, f"listing {entry}/0", "nl-one"):
        assert part in text
    assert f"size {back.size}" in text
    assert looked_at(1).digests.sha256.hex() not in text


def test_a_diff_counts_what_would_be_screened(scene: Scene) -> None:
    scene.list_pictures(1, 2)
    back = back_to(scene, len(scene.consortium.leaves))
    row = back.state.get(RULES, b"NL")
    assert row is not None
    groups = consortium(back.state).groups
    snapshot = back.registry.snapshot()

    def counted(**changes: object) -> tuple[int, int, int]:
        clause = replace(row.rule_set.clauses[0], **changes)  # type: ignore[arg-type]  # By name.
        rules = replace(row.rule_set, clauses=(clause,))
        found = rule_diff(snapshot, back.state, NL, rules, groups)
        return found.gained, found.lost, found.kept

    certification = row.rule_set.clauses[0].certification
    assert counted() == (0, 0, 4)
    assert counted(certification=replace(certification, agencies=3)) == (0, 4, 0)
    assert counted(classes=(ClassCode("ncmec", "", "A1"),)) == (0, 4, 0)
    unset = rule_diff(snapshot, back.state, JurisdictionId("FR"), row.rule_set, groups)
    assert (unset.coverage, unset.gained) == (("no-rules", "active"), 4)


def test_a_diff_names_each_field_by_its_clause(scene: Scene) -> None:
    row = scene.consortium.ledger.state.get(RULES, b"NL")
    assert row is not None
    rules = row.rule_set
    clause = rules.clauses[0]
    near = replace(clause.near[0], threshold=9)
    changed_rules = replace(rules, title="Other", clauses=(replace(clause, near=(near,)),))
    assert field_changes(rules, rules) == []
    assert field_changes(rules, changed_rules) == [
        {"path": "title", "before": rules.title, "after": "Other"},
        {"path": f"clauses[{clause.name}].near[pdq].within", "before": 31, "after": 9},
    ]
    assert all(item["before"] is None for item in field_changes(None, rules))


def test_the_schema_that_is_shipped_is_the_one_made_and_has_every_field() -> None:
    page = Path(__file__).parents[2] / "docs" / "spec" / "rules.schema.json"
    schema = rule_schema()
    assert json.loads(page.read_text()) == schema
    clause = schema["properties"]["clauses"]["items"]
    near = clause["properties"]["near"]["oneOf"][0]
    for specs, part in (
        (TOP, schema),
        (CLAUSE, clause),
        (CERTIFICATION, clause["properties"]["certified_by"]),
        (EXACT, clause["properties"]["exact"]),
        (NEAR, near),
    ):
        assert list(specs) == list(part["properties"])
        assert part["required"] == [name for name, spec in specs.items() if is_required(spec)]
        assert part["additionalProperties"] is False


def test_parameters_are_written_and_read_as_text() -> None:
    texts = [
        "agencies_min=3",
        "ceilings=photodna/l2/80,pdq/hamming/20",
        "classes=uk/A,ncmec/A1,vics/us/1",
    ]
    found = changed(TRIAL_PARAMETERS, texts)
    assert found.ceilings == (
        Ceiling(Algorithm.PDQ, Metric.HAMMING, 20),
        Ceiling(Algorithm.PHOTODNA, Metric.L2, 80),
    )
    assert "classes = ncmec/A1,uk/A,vics/us/1" in list(lines_of(found))
    assert changed(TRIAL_PARAMETERS, [line.replace(" ", "") for line in lines_of(found)]) == found
    for wrong in (
        "agencies_min=x",
        "nothing=1",
        "ceilings=pdq/31",
        "ceilings=pdq/l1/3",
        "classes=A",
    ):
        with pytest.raises(Malformed):
            changed(TRIAL_PARAMETERS, [wrong])
