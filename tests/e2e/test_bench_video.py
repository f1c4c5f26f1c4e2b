"""`accord bench video` on two small films: its columns, and that copies meet and others do not."""

from pathlib import Path

from accord.cli.bench import video
from accord.cli.bench.video import Kind
from accord.cli.demo.pictures import PHOTOS


def test_films_are_measured_and_copies_meet(tmp_path: Path) -> None:
    assert PHOTOS
    small = (Kind("h264", (320, 180), 2), Kind("vp9", (320, 180), 4))
    told: list[str] = []
    report = video.run(tmp_path, lambda what, _done, _of: told.append(what), small, seconds=2)
    figures = report.as_json()["figures"]
    assert [row["film"] for row in figures["speed"]] == ["h264 180p, 2 s", "vp9 180p, 4 s"]
    assert all(row["kept_frames"] > 1 and row["times_real_time"] > 0 for row in figures["speed"])
    copies = {row["copy"]: row for row in figures["copies"]}
    assert copies["itself"]["of_its_frames"] == copies["itself"]["of_the_listing"] == 100
    assert copies["another film"]["of_its_frames"] == 0
    assert copies["VP9"]["of_its_frames"] > 60
    assert set(told) == {"watching films", "comparing copies"}
    assert not list(tmp_path.iterdir())
