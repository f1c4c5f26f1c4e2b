"""The kernel's portable path compiled for this processor and for ARM: the answers of its twins.

For ARM it needs `aarch64-linux-gnu-gcc` and `qemu-aarch64` (Debian: gcc-aarch64-linux-gnu,
libc6-dev-arm64-cross, qemu-user), which scripts/arm.sh installs where it may; without them those
cases are skipped by name. The program is tests/native/replay.c, since there is no Python for that
processor to call the library from. What runs here only shows that the program is right: it is
compiled in a hurry.
"""

import ast
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from accord.fingerprint.fold import fold_of
from accord.fingerprint.patches import CIRCLE, REACH, TURN_REACH, WEIGHTS, NumpyPatchKernel
from accord.fingerprint.patches_native import apart
from accord.fingerprint.pdq import COSINES, STRIP_ROWS, Floats, NumpyKernel
from accord.fingerprint.spots import BLURS_USED
from accord.matching import index_kernel
from accord.matching.index_kernel import MATCH
from accord.matching.index_layout import nibble_table
from accord.matching.index_plan import plan_for
from accord.matching.index_ring import Ring
from accord.matching.vector_index import VECTOR_MATCH, VectorIndex, vector_distances
from accord.native import Path as Kernel
from accord.native import library
from accord.statements.rules import Metric
from accord.wire.errors import Broken
from pictures_kit import picture

TOP: Final = Path(__file__).parents[2]
MACHINE, INDEX, LOOK_UP, PIXELS, FOLD, VECTORS, PATCHES, APART = range(8)
PORTABLE: Final = 0
ROOM: Final = 100_000
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Target:
    """A compiler, and what runs what it makes."""

    name: str
    compiler: str
    runner: tuple[str, ...]
    extra: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        wanted = (self.compiler, *self.runner)
        names = [name for name in wanted if shutil.which(name) is None]
        if self.compiler not in names:  # A compiler may be there without a library to link.
            asked = [self.compiler, "-print-file-name=libc.a"]
            told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            names += [] if Path(told.strip()).is_absolute() else [f"libc.a of {self.compiler}"]
        return ", ".join(names)


TARGETS: Final = (
    Target("here", "gcc", (), ("-O1",)),
    Target("aarch64", "aarch64-linux-gnu-gcc", ("qemu-aarch64",)),
)
Run = Callable[[int, Sequence[int], Sequence[Any]], Iterator[bytes]]


def flags() -> list[str]:
    """What the package is compiled with, but for what makes a library of it."""
    for node in ast.parse((TOP / "native" / "hook.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLAGS":
            return [flag for flag in ast.literal_eval(node.value) if flag != "-shared"]
    raise Broken("kernel.flags")


@pytest.fixture(scope="module", params=TARGETS, ids=lambda target: target.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    target: Target = request.param
    if target.missing:
        pytest.skip(f"{target.missing}: not there")
    program = tmp_path_factory.mktemp("replay") / target.name
    sources = [*sorted((TOP / "native").glob("*.c")), TOP / "tests" / "native" / "replay.c"]
    words = [target.compiler, *flags(), *target.extra, "-static", "-o", str(program)]
    subprocess.run([*words, *map(str, sources), "-lm"], check=True)

    def answers(what: int, numbers: Sequence[int], blobs: Sequence[Any]) -> Iterator[bytes]:
        parts = [np.array(numbers, dtype="<u8").tobytes(), *map(bytes_of, blobs)]
        case = struct.pack("<II", what, len(parts))
        case += b"".join(struct.pack("<Q", len(part)) + part for part in parts)
        done = subprocess.run(
            [*target.runner, str(program)], input=case, capture_output=True, check=True
        )
        said = memoryview(done.stdout)
        while said:
            (size,) = struct.unpack_from("<Q", said)
            yield bytes(said[8 : 8 + size])
            said = said[8 + size :]

    return answers


def bytes_of(value: Any) -> bytes:  # noqa: ANN401  (an array or bytes)
    return np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else bytes(value)


def near(random: np.random.Generator, bits: Bits, count: int, most: int) -> Bits:
    """Rows with up to `most` bits the other way."""
    found = np.unpackbits(bits[random.integers(0, len(bits), count)], axis=1)
    for row in found:
        row[random.choice(256, int(random.integers(0, most + 1)), replace=False)] ^= 1
    return np.packbits(found, axis=1)


def test_it_is_the_library_of_this_build(run: Run) -> None:
    (facts,) = run(MACHINE, [], [])
    abi, best = struct.unpack("<ii", facts)
    assert abi == library.ABI
    assert best >= PORTABLE  # Little-endian, as files are.


@pytest.mark.parametrize("count", [1, 2, 257, 5000])
def test_an_index_is_the_same_bytes(run: Run, count: int) -> None:
    random = np.random.default_rng(count)
    bits = random.integers(0, 256, (count, 32), dtype=np.uint8)
    bits[count // 2 :] = near(random, bits, count - count // 2, 8)
    twin = index_kernel.NumpyKernel()
    hashes = np.empty_like(bits)
    twin.permute(bits, hashes)
    said = run(INDEX, [count], [nibble_table(), bits])
    assert next(said) == hashes.tobytes()
    columns = twin.columns(hashes)
    for band in range(16):
        keys, nexts = columns[band], columns[(band + 1) % 16]
        order = np.argsort(keys, kind="stable")
        offsets = np.searchsorted(keys[order], np.arange(65537))
        assert next(said) == offsets.astype("<u4").tobytes()
        assert next(said) == nexts[order].tobytes()
        assert next(said) == order.astype("<u4").tobytes()


@pytest.mark.parametrize(
    ("threshold", "asked"), [(0, 40), (31, 1), (31, 40), (31, 3000), (44, 40), (60, 5), (256, 2)]
)
def test_look_ups_find_what_a_scan_finds(run: Run, threshold: int, asked: int) -> None:
    random = np.random.default_rng(threshold + asked)
    bits = random.integers(0, 256, (6000, 32), dtype=np.uint8)
    bits[3000:] = near(random, bits[:3000], 3000, 40)
    ring = Ring.build(np.arange(len(bits), dtype=np.uint32), bits, index_kernel.NumpyKernel())
    queries = near(random, bits, asked, 50)
    plan = plan_for(threshold)
    starts = [ring.layout.sections[1][0]]
    starts += [at for band in range(ring.layout.bands) for at in ring.layout.parts(band)]
    probes = len(plan.steps) if plan.is_worth(len(bits)) else 0
    numbers = [len(bits), ring.layout.bands, threshold, probes, ROOM, asked > 2000, *starts]
    blobs = [nibble_table(), ring.memory, plan.steps, plan.first, plan.budgets, queries]
    expected = {tuple(match) for match in ring.search(queries.tobytes(), threshold).tolist()}
    assert expected
    for said in run(LOOK_UP, numbers, blobs):
        found = [tuple(match) for match in np.frombuffer(said, dtype=MATCH).tolist()]
        assert len(found) == len(expected)
        assert set(found) == expected


def check_picture(said: Iterator[bytes], grid: Floats) -> None:
    twin = NumpyKernel().hashed(grid)
    assert twin.frequencies is not None
    assert next(said) == grid.tobytes()
    assert next(said) == twin.frequencies.tobytes()
    assert next(said) == twin.fingerprint.bits
    assert struct.unpack("<i", next(said)) == (twin.fingerprint.quality,)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (64, 64), (65, 64), (131, 300), (640, 97)])
def test_pictures_hash_to_the_last_bit(run: Run, size: tuple[int, int], channels: int) -> None:
    width, height = size
    random = np.random.default_rng(width)
    pixels = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
    strips = (pixels[top : top + STRIP_ROWS] for top in range(0, height, STRIP_ROWS))
    grid = NumpyKernel().grid(strips, width, height)
    said = run(PIXELS, [width, height, channels, STRIP_ROWS], [COSINES, pixels])
    check_picture(said, grid)


@pytest.mark.parametrize("size", [(512, 512), (1000, 777), (4000, 3000)])
def test_scaled_pictures_hash_to_the_last_bit(run: Run, size: tuple[int, int]) -> None:
    across, down = (fold_of(side, 2 if side < 1024 else 8) for side in size)
    random = np.random.default_rng(size[0])
    grey = random.integers(0, 256, (down.size, across.size), dtype=np.uint8)
    numbers = [across.size, across.weight.shape[1], down.size, down.weight.shape[1]]
    blobs = [COSINES, grey, across.start, across.weight, down.start, down.weight]
    check_picture(run(FOLD, numbers, blobs), NumpyKernel().folded(grey, across, down))


@pytest.mark.parametrize("shown", ["drawn", "noise", "flat"])
@pytest.mark.parametrize("size", [(24, 24), (61, 40), (320, 208), (480, 25)], ids=str)
def test_patches_are_the_same_to_the_last_bit(run: Run, size: tuple[int, int], shown: str) -> None:
    grey = np.asarray(picture(7, size).convert("L"))
    if shown == "noise":
        grey = np.random.default_rng(5).integers(0, 256, grey.shape, dtype=np.uint8)
    elif shown == "flat":
        grey = np.zeros_like(grey)
    twin = NumpyPatchKernel()
    spots = twin.spots(grey)
    turns = twin.turns(grey, spots)
    assert shown == "flat" or size != (320, 208) or len(spots) > 20
    halves = BLURS_USED.taps
    radius = [len(half) - 1 for half in halves]
    first = np.cumsum([0, *(len(half) for half in halves[:-1])]).tolist()
    shares = BLURS_USED.contrast, BLURS_USED.edge, BLURS_USED.scale
    blurs = struct.pack(f"<{2 * len(halves)}I3f", *radius, *first, *shares)
    reaches = np.array([TURN_REACH, REACH], dtype="<f4")
    tables = [np.concatenate(halves), BLURS_USED.powers, reaches, WEIGHTS, CIRCLE, COSINES]
    said = run(PATCHES, [*size, ROOM], [grey, blurs, *tables])
    expected = [spots, turns, *twin.hashed(grey, spots, turns[:, 0].clip(0))]
    assert list(said) == [part.tobytes() for part in expected]


def test_patches_lie_as_far_apart(run: Run) -> None:
    random = np.random.default_rng(9)
    some, others = (random.integers(0, 256, (count, 32), dtype=np.uint8) for count in (7, 11))
    others[3], others[4] = some[2], ~some[2]
    (said,) = run(APART, [], [some, others])
    assert said == apart(some, others, Kernel.NUMPY).astype("<u2").tobytes()


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("count", [1, 63, 5000])
def test_vectors_are_found_as_by_a_scan(run: Run, count: int, metric: Metric) -> None:
    random = np.random.default_rng(count)
    vectors = random.integers(0, 256, (count, 144), dtype=np.uint8)
    # Every other row lies around the first, from near to far: some on each side of the limit.
    reach = np.linspace(0, 24, len(vectors[::2]))[:, None]
    around = vectors[0] + random.uniform(-1, 1, (len(reach), 144)) * reach
    vectors[::2] = np.clip(around, 0, 255).astype(np.uint8)
    index = VectorIndex.build(np.arange(count, dtype=np.uint32), vectors)
    cells = index.cells
    moved = vectors[0].astype(np.int16) + random.integers(-6, 7, 144)
    query = np.clip(moved, 0, 255).astype(np.uint8)
    distance = 900 if metric is Metric.L1 else 100
    limit = distance if metric is Metric.L1 else distance * distance
    numbers = [count, -(-count // 4096), cells.shift, metric is Metric.L1, limit]
    numbers += [cells.budget(limit, metric), ROOM]
    boxes = [cells.codes, cells.zone_low, cells.zone_high, cells.field_low, cells.field_high]
    (said,) = run(VECTORS, numbers, [index.vectors, *boxes, cells.axes, cells.origin, query])
    apart = vector_distances(index.vectors, query, metric)
    places = np.flatnonzero(apart <= limit)
    assert len(places)
    found = np.sort(np.frombuffer(said, dtype=VECTOR_MATCH), order="place")
    assert found["place"].tolist() == places.tolist()
    assert found["distance"].tolist() == apart[places].tolist()
