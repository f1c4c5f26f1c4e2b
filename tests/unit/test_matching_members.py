"""An upload that holds several files: each is screened, and the strictest decides."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from accord.matching import Context, Decision, parts_of
from accord.matching.decision import Answer, Query
from accord.matching.members import strictest
from accord.scan.contract import answer_view, parse_json_request
from accord.statements.rules import Action
from accord.wire.errors import Malformed
from archives_kit import tarred, zipped
from scan_kit import Scene, jpeg

ODDITY = b"nothing that is read here"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home: Path = tmp_path_factory.mktemp("members")
    opened = Scene(home)
    opened.list_pictures(1, 2)
    opened.sync()
    yield opened
    opened.close()


def decided(scene: Scene, data: bytes) -> Decision:
    return scene.screener.screen_bytes(data, Context()).decision


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_the_strictest_member_decides_and_is_named(
    scene: Scene, pack: Callable[[Sequence[bytes]], bytes]
) -> None:
    found = decided(scene, pack([jpeg(3), jpeg(1), jpeg(4), jpeg(2)]))
    assert (found.answer, found.action, found.members) == (Answer.MATCH, Action.BLOCK, (2, 4))
    assert found.reasons
    found = decided(scene, pack([jpeg(3), jpeg(4)]))
    assert (found.answer, found.action, found.members) == (Answer.NO_MATCH, Action.ALLOW, ())


def test_what_was_not_looked_at_is_undetermined_whatever_else_was(scene: Scene) -> None:
    alone = decided(scene, ODDITY)
    found = decided(scene, zipped([jpeg(3), ODDITY]))
    assert (found.answer, found.members) == (Answer.UNDETERMINED, (2,))
    assert (found.action, found.code) == (alone.action, "image.unknown_format")
    match = decided(scene, zipped([jpeg(3), ODDITY, jpeg(1)]))
    assert (match.answer, match.action, match.members) == (Answer.MATCH, Action.BLOCK, (3,))
    assert match.code == "image.unknown_format"


def test_asked_again_by_its_fingerprints_a_file_is_no_better_looked_at(scene: Scene) -> None:
    screened = scene.screener.screen_bytes(zipped([jpeg(3), ODDITY]), Context())
    said = answer_view(screened)
    assert said["members"] == [2]
    query, facts = parse_json_request(json.dumps({"fingerprints": said["fingerprints"]}).encode())
    again = scene.screener.screen_query(query, facts.context).decision
    assert (again.answer, again.code) == (Answer.UNDETERMINED, "image.unknown_format")
    for odd in ("nothing", 7, []):
        raw = json.dumps({"fingerprints": {"md5": "00" * 16, "unseen": odd}}).encode()
        with pytest.raises(Malformed, match=r"screen\.fingerprints"):
            parse_json_request(raw)


def test_a_part_is_never_milder_than_it_is_alone(scene: Scene) -> None:
    files = [jpeg(1), jpeg(3), ODDITY]
    severity = [decided(scene, file).action.severity for file in files]
    for chosen in ((0, 1), (1, 2), (0, 2), (2, 1, 0)):
        found = decided(scene, zipped([files[at] for at in chosen]))
        assert found.action.severity == max(severity[at] for at in chosen)


def test_a_mild_match_does_not_soften_what_was_not_looked_at(scene: Scene) -> None:
    mild = replace(decided(scene, jpeg(1)), action=Action.ALLOW)
    harsh = replace(decided(scene, ODDITY), action=Action.BLOCK)
    joint = strictest(mild, [1, 2], [mild, harsh])
    assert (joint.answer, joint.action, joint.members) == (Answer.MATCH, Action.BLOCK, (1,))
    assert joint.reasons == mild.reasons


def test_one_whole_file_has_no_parts() -> None:
    assert parts_of(Query(undetermined="image.empty")) == ()
    with pytest.raises(Malformed, match=r"query\.members"):
        Query(members=(1,))
