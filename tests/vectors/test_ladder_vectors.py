"""vectors/ladder.json: regenerated to equal bytes, and answered alike by every kernel."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from accord.fingerprint.dihedral import variants_of
from accord.fingerprint.frames import boxes_of
from accord.fingerprint.patches import patches_of
from accord.fingerprint.patches_native import patch_kernel_of
from accord.fingerprint.pdq_native import kernel_of
from accord.native import LIBRARY, best_path
from accord.native import Path as KernelPath

FILE = Path(__file__).resolve().parents[2] / "vectors" / "ladder.json"
MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("ladder_vectors.py")))
CASES: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PATHS = [path for path in KernelPath if path <= best_path(LIBRARY)]


def hexes(rows: NDArray[Any]) -> list[str]:
    return [row.tobytes().hex() for row in rows]


def test_the_file_is_what_the_generator_writes() -> None:
    assert MADE["build"]() == CASES


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_kernel_gives_the_file(path: KernelPath) -> None:
    grey = MADE["drawn"]()
    kernel, pdq = patch_kernel_of(path), kernel_of(path)
    strips = (grey[top : top + 64, :, None] for top in range(0, len(grey), 64))
    frequencies = pdq.hashed(pdq.grid(strips, *MADE["SIZE"])).frequencies
    assert frequencies is not None
    assert [bits.hex() for bits in variants_of(frequencies)] == list(CASES["variants"].values())
    spots = kernel.spots(grey)
    assert len(spots) == CASES["spots"]["count"]
    assert hexes(spots[:12]) == CASES["spots"]["first"]
    assert kernel.turns(grey, spots[:12]).tolist() == CASES["turns"]
    found = patches_of(grey, 24, kernel, CASES["leaning"])
    assert hexes(found.bits) == [one["bits"] for one in CASES["patches"]]
    assert hexes(found.mirrored) == [one["mirrored"] for one in CASES["patches"]]
    assert found.is_turned.tolist() == [one["is_turned"] for one in CASES["patches"]]
    assert found.quality.tolist() == [one["quality"] for one in CASES["patches"]]


def test_the_pasted_picture_is_the_first_box_or_the_second() -> None:
    found = [list(box) for box in boxes_of(MADE["pasted"](MADE["drawn"]()))]
    assert found == CASES["boxes"]["found"]
    assert [30, 60, 270, 220] in found[:2]
