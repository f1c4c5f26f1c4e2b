"""A fingerprinter that nobody needs a licence for: 144 sums of slopes, made up. It is NOT PhotoDNA.

Installed for a test as an entry point of `accord.fingerprinters` in a directory of its own, and
built as a C library of the shape that `accord.media.fingerprinters.open_library` calls.
"""

import subprocess
from pathlib import Path

import numpy as np

_CELLS = 6

MODULE = """
import ctypes, os, time
from made_up_grid import grid

def kind(behaviour="plain"):
    def fingerprinter(pixels, width, height):
        # The samples of every format come first, and are square.
        if behaviour == "plain" or width == height:
            return grid(pixels, width, height)
        if behaviour == "cannot":
            return None
        if behaviour == "raises":
            raise OSError("no such file")
        if behaviour == "hangs":
            while True:
                pass
        if behaviour == "crashes":
            ctypes.string_at(0)
        if behaviour == "escapes":
            os.listdir("/")
        return {"garbage": b"x" * 143, "text": "x" * 144, "equal": b"x" * 144}[behaviour]
    return fingerprinter

def broken():
    return lambda pixels, width, height: b"x"
"""

LIBRARY = """
#include <stdint.h>
/* Sums of levels of 12 by 12 cells: made up, and of no use to anybody. */
int compute(const uint8_t *rgb, int32_t width, int32_t height, uint8_t *out) {
    if (width < 12 || height < 12) return 1;
    for (int cell = 0; cell < 144; cell++) {
        long top = cell / 12 * height / 12, bottom = (cell / 12 + 1) * height / 12;
        long left = cell % 12 * width / 12, right = (cell % 12 + 1) * width / 12;
        long sum = 0;
        for (long y = top; y < bottom; y++)
            for (long x = left; x < right; x++) sum += rgb[3 * (y * width + x) + 1];
        out[cell] = (uint8_t)(sum / ((bottom - top) * (right - left)));
    }
    return 0;
}
"""


def grid(pixels: bytes, width: int, height: int) -> bytes | None:
    """Four sums of slopes in each of 6 by 6 cells."""
    if min(width, height) < 4 * _CELLS:
        return bytes(range(144))
    levels = np.frombuffer(pixels, np.uint8).reshape(height, width, 3).mean(axis=2)
    down, across = np.diff(levels[:, :-1], axis=0), np.diff(levels[:-1], axis=1)
    sums = []
    for rows in np.array_split(np.arange(height - 1), _CELLS):
        for columns in np.array_split(np.arange(width - 1), _CELLS):
            for slope in (down, across):
                cell = slope[np.ix_(rows, columns)]
                sums += [np.maximum(cell, 0).mean(), np.maximum(-cell, 0).mean()]
    return bytes(np.clip(np.array(sums) * 24, 0, 255).astype(np.uint8))


def install(directory: Path) -> Path:
    """A directory to be put on a worker's path, as an installed distribution lies there."""
    about = directory / "made_up-1.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    about.joinpath("entry_points.txt").write_text(
        "[accord.fingerprinters]\nmade-up = made_up:kind\nbroken = made_up:broken\n"
    )
    directory.joinpath("made_up.py").write_text(MODULE)
    source = Path(__file__).read_text()
    start, end = source.index("def grid"), source.index("def install")
    directory.joinpath("made_up_grid.py").write_text(
        "import numpy as np\n_CELLS = 6\n" + source[start:end]
    )
    return directory


def build_library(directory: Path) -> Path:
    source, built = directory / "made_up.c", directory / "made_up.so"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(built), str(source)], check=True)
    return built
