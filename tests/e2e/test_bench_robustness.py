"""One small run of the robustness benchmark, on photographs of the demo."""

import json
from pathlib import Path

from accord.cli.bench.robustness import Scale, run
from accord.cli.demo.pictures import CAT, ROCKET
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
        assert {row["by_any_step"], row["by_review"]} == {0}, row["pair"]
    assert {"full", "full_and_frame", "all"} <= set(found["ms"])
    assert "crop-anywhere-50" in result.as_text(is_derived=True)
