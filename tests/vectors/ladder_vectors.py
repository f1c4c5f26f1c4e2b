"""Writes vectors/ladder.json: `python tests/vectors/ladder_vectors.py`. Deterministic.

The picture is drawn by the rule that the file states, so that nobody needs a decoder; floats are
their four bytes, little-endian, in hex.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from accord.fingerprint.dihedral import Variant, variants_of  # noqa: E402 (after the path)
from accord.fingerprint.frames import Grey, boxes_of  # noqa: E402 (after the path)
from accord.fingerprint.patches import NumpyPatchKernel, patches_of  # noqa: E402 (after the path)
from accord.fingerprint.pdq import NumpyKernel  # noqa: E402 (after the path)

FILE = ROOT / "vectors" / "ladder.json"
SIZE: Final = (240, 160)
SHAPES: Final = 70
LEANING: Final = 3
PASTED: Final = (30, 60, 300, 290)  # Left, top, width and height of a white page.
RULE: Final = (
    "s = 1; next() is s = (1103515245 s + 12345) mod 2^31, giving s >> 16. A grey picture of 128,"
    " 240 wide and 160 high, on which 70 shapes are drawn in turn: x = next() mod 240,"
    " y = next() mod 160, r = 4 + next() mod 28, v = next() mod 256; all pixels with"
    " (i - x)^2 + (j - y)^2 <= r^2 where next() is even, else those with |i - x| <= r and"
    " 2 |j - y| <= r, become v."
)


def drawn() -> Grey:
    """The picture of the rule. Shape: (160, 240)."""
    state = 1

    def following() -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return state >> 16

    width, height = SIZE
    grey = np.full((height, width), 128, dtype=np.uint8)
    j, i = np.mgrid[0:height, 0:width]
    for _ in range(SHAPES):
        x, y = following() % width, following() % height
        r, v = 4 + following() % 28, following() % 256
        disc = (i - x) ** 2 + (j - y) ** 2 <= r * r
        bar = (np.abs(i - x) <= r) & (2 * np.abs(j - y) <= r)
        grey[disc if following() % 2 == 0 else bar] = v
    return grey


def pasted(grey: Grey) -> Grey:
    left, top, width, height = PASTED
    page = np.full((height, width), 255, dtype=np.uint8)
    page[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    return page


def build() -> dict[str, Any]:
    """All cases of the file."""
    grey = drawn()
    kernel = NumpyPatchKernel()
    hashed = NumpyKernel().hashed(NumpyKernel().grid([grey[:, :, None]], *SIZE))
    assert hashed.frequencies is not None
    variants = variants_of(hashed.frequencies)
    spots = kernel.spots(grey)
    found = patches_of(grey, 24, kernel, LEANING)
    return {
        "source": "docs/spec/fingerprint.md, sections 11 to 13",
        "generator": "tests/vectors/ladder_vectors.py",
        "date": "2026-11-26",
        "picture": RULE,
        "variants": {kind.name.lower(): variants[kind].hex() for kind in Variant},
        "boxes": {
            "page": "white, 300 wide and 290 high, the picture's corner at column 30, row 60",
            "found": [list(box) for box in boxes_of(pasted(grey))],
        },
        "spots": {
            "fields": "x, y, scale, response",
            "count": len(spots),
            "first": [spot.tobytes().hex() for spot in spots[:12]],
        },
        "turns": kernel.turns(grey, spots[:12]).tolist(),
        "leaning": LEANING,
        "patches": [
            {
                "is_turned": bool(found.is_turned[at]),
                "quality": int(found.quality[at]),
                "bits": found.bits[at].tobytes().hex(),
                "mirrored": found.mirrored[at].tobytes().hex(),
            }
            for at in range(len(found))
        ],
    }


def write() -> None:
    FILE.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
