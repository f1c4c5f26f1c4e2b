"""The measure of the lock's cost: what it measures, never how long that took."""

import sys

import pytest

from accord.cli.bench.locked import lock_rows
from pictures_kit import encoded, picture


@pytest.mark.skipif(sys.platform != "linux", reason="there is no lock elsewhere")
def test_files_go_through_a_locked_and_an_unlocked_worker() -> None:
    said: list[str] = []
    file = encoded(picture(4, (64, 48)), "JPEG")
    rows = lock_rows([("small", file)], 2, lambda what, *_: said.append(what))
    assert [row["file"] for row in rows] == ["start of a worker", "small"]
    assert said == ["locked decoders"]
    for row in rows:
        for way in ("locked", "unlocked"):
            cpu, wall = row[f"{way}_cpu_ms"], row[f"{way}_wall_ms"]
            assert isinstance(cpu, float)
            assert isinstance(wall, float)
            assert 0 < cpu < 5_000
            assert wall > 0
