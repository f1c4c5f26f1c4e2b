"""PhotoDNA values from an agency's list to a platform's answer. The values here are made up."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accord.agency.desk import listing_of
from accord.fingerprint import Fingerprinted
from accord.matching import Context
from accord.media import DecoderPool, Named, walk
from accord.registry.views import find, listing_view
from accord.scan.bulk import How, Scan
from accord.scan.bulk_state import BulkState
from accord.scan.contract import answer_view, parse_json_request
from accord.statements.batch import Listing
from accord.statements.bodies import Role, Rule
from accord.statements.rules import Action, Algorithm, Metric, Near
from accord.wire.errors import Malformed
from archives_kit import zipped
from consortium_kit import CLASS
from made_up_kit import install
from pictures_kit import encoded, picture
from registry_kit import clause, rule_set
from scan_kit import NL, Scene


def vector_of(seed: int, step: int = 0) -> bytes:
    """`step` on each of the 144 numbers: 12 times it by L2, 144 times by L1."""
    made = np.random.default_rng(seed).integers(20, 200, 144) + step
    return bytes(made.astype(np.uint8))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("photodna"))
    base = clause(agencies=2, sovereigns=2, classes=(CLASS,), exact=None)

    def near(within: int, metric: Metric, action: Action) -> Near:
        return Near(Algorithm.PHOTODNA, within, 0, action, alone=True, metric=metric)

    rules = rule_set(
        replace(base, name="close", near=(near(23, Metric.L2, Action.BLOCK),)),
        replace(base, name="wide", near=(near(288, Metric.L1, Action.REVIEW),)),
    )
    body = Rule(scene.consortium.header("nl-one"), NL, 2, rules)
    scene.consortium.must(body, Role.GOVERNOR)
    rows = [Listing(CLASS, photodna=vector_of(seed)) for seed in range(3)]
    # Equal values of two agencies corroborate; a third is listed by one alone.
    scene.consortium.publish("nl-one", rows)
    scene.consortium.publish("ie-two", rows[:2])
    scene.sync()
    yield scene
    scene.close()


def asked(scene: Scene, vector: bytes) -> dict[str, object]:
    raw = b'{"fingerprints": {"photodna": "%s"}}' % vector.hex().encode()
    query, facts = parse_json_request(raw)
    return answer_view(scene.screener.screen_query(query, facts.context))


@pytest.mark.parametrize(
    ("seed", "step", "decision", "distances"),
    [
        (0, 0, "match", {"close": 0, "wide": 0}),
        (0, 1, "match", {"close": 12, "wide": 144}),
        (1, 2, "match", {"wide": 288}),  # Thresholds are included: 24 by L2 is one too many.
        (1, 3, "no_match", {}),
        (2, 0, "no_match", {}),  # One agency alone certifies nothing.
        (9, 0, "no_match", {}),
    ],
)
def test_a_value_is_matched_by_the_metric_of_each_clause(
    scene: Scene, seed: int, step: int, decision: str, distances: dict[str, int]
) -> None:
    answer = asked(scene, vector_of(seed, step))
    assert answer["decision"] == decision
    reasons = answer["reasons"]
    assert isinstance(reasons, list)
    assert {reason["rule"]["clause"]: reason["distance"] for reason in reasons} == distances
    assert {reason["algorithm"] for reason in reasons} <= {"photodna"}
    listings = {reason["listing"] for reason in reasons}
    assert len(listings) == 2 * bool(distances), "the same value, listed by two agencies"
    assert answer["fingerprints"] == {"pdq": [], "photodna": vector_of(seed, step).hex()}
    action = "block" if "close" in distances else "review" if distances else "allow"
    assert answer["action"] == action


def test_it_is_found_by_its_value_and_shown_as_a_scheme(scene: Scene) -> None:
    snapshot = scene.screener.running.obligations.snapshot
    refs = [found.ref for found in find(snapshot, "photodna", vector_of(1))]
    assert len(refs) == 2
    view = listing_view(snapshot, refs[0])
    assert (view.schemes, view.equal_to) == (("photodna",), (refs[1],))
    with pytest.raises(Malformed, match=r"registry\.value"):
        find(snapshot, "photodna", bytes(143))


@pytest.mark.parametrize("value", ["", "00", "0" * 287, "g" * 288, 7, [0] * 144, [], ["00"]])
def test_a_value_of_another_form_is_refused(value: object) -> None:
    raw = json.dumps({"fingerprints": {"photodna": value}}).encode()
    with pytest.raises(Malformed, match=r"screen\.fingerprints"):
        parse_json_request(raw)


@pytest.fixture
def with_fingerprinter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A platform that has a fingerprinter (made up), under a rule that asks by it alone."""
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    scene = Scene(tmp_path / "home")
    scene.pool.close()
    scene.pool = scene.screener.pool = DecoderPool(1, fingerprinter=Named("made-up"))
    near = Near(Algorithm.PHOTODNA, 60, 0, Action.BLOCK, alone=True, metric=Metric.L2)
    rules = rule_set(clause(agencies=2, sovereigns=2, classes=(CLASS,), exact=None, near=near))
    body = Rule(scene.consortium.header("nl-one"), NL, 2, rules)
    scene.consortium.must(body, Role.GOVERNOR)
    found = scene.pool.fingerprint(jpeg(1, 95))
    assert isinstance(found, Fingerprinted)
    rows = [listing_of(found, CLASS)]
    assert rows[0].photodna == found.pdq[0].photodna is not None
    scene.consortium.publish("nl-one", rows)
    scene.consortium.publish("ie-two", rows)
    scene.sync()
    yield scene
    scene.close()


def jpeg(seed: int, quality: int = 60) -> bytes:
    return encoded(picture(seed, (480, 320)), "JPEG", quality=quality)


def test_a_file_that_arrives_as_bytes_is_matched_by_it(with_fingerprinter: Scene) -> None:
    screener = with_fingerprinter.screener
    screened = screener.screen_bytes(jpeg(1), Context())
    assert {reason.algorithm for reason in screened.decision.reasons} == {Algorithm.PHOTODNA}
    assert screener.screen_bytes(jpeg(2), Context()).decision.answer.value == "no-match"
    packed = screener.screen_bytes(zipped([jpeg(2), jpeg(1)]), Context())
    assert (packed.decision.answer.value, packed.decision.members) == ("match", (2,))
    # Asked again by what the answer says, every picture of the archive is asked again.
    said = answer_view(packed)["fingerprints"]
    assert isinstance(said, dict)
    assert len(said["photodna"]) == 2
    query, facts = parse_json_request(json.dumps({"fingerprints": said}).encode())
    assert screener.screen_query(query, facts.context).decision.answer.value == "match"


def test_a_scan_keeps_the_value_and_reads_what_never_had_one(
    with_fingerprinter: Scene, tmp_path: Path
) -> None:
    scene, path = with_fingerprinter, tmp_path / "1.jpg"
    path.write_bytes(jpeg(1))

    def scanned() -> tuple[How, str]:
        state = BulkState(tmp_path / "scan.sqlite")
        (answer,) = Scan(scene.screener, Context(), state).run(walk([path]))
        state.close()
        return answer.how, answer.decision

    scene.screener.pool = DecoderPool(1)
    assert scanned() == (How.READ, "undetermined"), "PDQ alone says nothing under this rule"
    scene.screener.pool.close()
    scene.screener.pool = scene.pool
    assert scanned() == (How.READ, "match")
    assert scanned() == (How.UNCHANGED, "match")
    scene.list_pictures(7)
    scene.sync()
    assert scanned() == (How.FINGERPRINTS, "match")
