"""One small run of the robustness benchmark, on photographs of the demo."""

import json
from pathlib import Path

from typer.testing import CliRunner

from accord.cli.bench.robustness import Scale, run
from accord.cli.bench.robustness_near import on_screen
from accord.cli.demo.pictures import CAT, ROCKET
from accord.cli.main import app
from accord.fingerprint.common_patches import parse_common
from pictures_kit import encoded, opened


def test_a_run_says_what_was_asked_for(tmp_path: Path) -> None:
    for photo in (CAT, ROCKET):
        large = opened(photo.read()).resize((704, 528))
        (tmp_path / f"{photo.name}.jpg").write_bytes(encoded(large, "JPEG", quality=90))
    (tmp_path / "notes.txt").write_text("no picture")
    names = ("jpeg-50", "crop-anywhere-50")
    result = run(Scale(tmp_path, None, names, 1, 1, 1, 24), lambda *_: None)
    found = json.loads(json.dumps(result.as_json(is_derived=True)))
    assert set(found["alterations"]) == set(names)
    assert {"full", "frame", "patches", "all"} <= set(found["alterations"]["jpeg-50"])
    assert found["alterations"]["jpeg-50"]["full"] == 1
    assert (
        found["alterations"]["crop-anywhere-50"] | {"full": 0, "all": 1, "asked": 1}
        == (found["alterations"]["crop-anywhere-50"])
    )
    assert found["false_positive"]["by_any_step"] == 0
    assert found["false_positive"]["pairs"] == 2
    for row in found["false_positive"]["near_duplicates"]:
        assert {row["by_any_step"], row["by_automatic"]} == {0}, row["pair"]
    assert {"full", "full_and_frame", "all"} <= set(found["ms"])
    assert "crop-anywhere-50" in result.as_text(is_derived=True)


def test_common_patches_are_written_and_left_out(tmp_path: Path) -> None:
    """As typed: the screens of one app, then a measurement without what they share."""
    for folder, seeds in (("screens", (13, 14)), ("corpus", (11,))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            file = tmp_path / folder / f"{seed}.png"
            file.write_bytes(encoded(on_screen(seed), "PNG"))
    corpus, screens, common = tmp_path / "corpus", tmp_path / "screens", tmp_path / "common.txt"
    bench = ["bench", "robustness", "--corpus", str(corpus)]
    asked = ["--distractors", str(screens), "--write-common", str(common)]
    done = CliRunner().invoke(app, [*bench, *asked])
    assert done.exit_code == 0, done.output
    count = len(parse_common(common.read_bytes()))
    assert count
    assert CliRunner().invoke(app, [*bench, *asked]).exit_code != 0  # It is there already.
    asked = ["--alterations", "jpeg-50", "--common", str(common), "--json"]
    done = CliRunner().invoke(app, [*bench, *asked])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["parameters"]["common_patches"] == count
    assert found["alterations"]["jpeg-50"]["full"] == 1
