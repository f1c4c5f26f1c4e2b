"""Our PDQ is the reference's to the last bit, on every path, whatever the size."""

import io

import numpy as np
import pdqhash
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from accord.cli.demo.pictures import PHOTOS
from accord.fingerprint.fold import fold_of
from accord.fingerprint.pdq import (
    GRID,
    NOTHING,
    SIDE_MIN,
    STRIP_ROWS,
    Hashed,
    Kernel,
    NumpyKernel,
    centres,
    luma_of,
    window_of,
)
from accord.fingerprint.pdq_native import kernel_of
from accord.native import LIBRARY, Path, best_path
from pictures_kit import picture

PATHS = [path for path in Path if path <= best_path(LIBRARY)]
KERNELS = [kernel_of(path) for path in PATHS]
Pixels = NDArray[np.uint8]


def hashed(kernel: Kernel, pixels: Pixels, rows: int = STRIP_ROWS) -> Hashed:
    height, width, _ = pixels.shape
    strips = (pixels[top : top + rows] for top in range(0, height, rows))
    return kernel.hashed(kernel.grid(strips, width, height))


def check(pixels: Pixels) -> None:
    """The same bits, quality and even frequencies as the reference on every path."""
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
    rgb = np.ascontiguousarray(rgb)
    bits, quality = pdqhash.compute(rgb)
    frequencies, _ = pdqhash.compute_float(rgb)
    for kernel in KERNELS:
        ours = hashed(kernel, pixels)
        assert ours.fingerprint.bits == np.packbits(bits.astype(np.uint8)).tobytes(), kernel.name
        assert ours.fingerprint.quality == quality, kernel.name
        assert ours.frequencies is not None
        assert (ours.frequencies.ravel() == frequencies[::-1].astype(np.float32)).all()


def made(seed: int, height: int, width: int, channels: int, kind: str) -> Pixels:
    random = np.random.default_rng(seed)
    shape = (height, width, channels)
    if kind == "noise":
        return random.integers(0, 256, shape, dtype=np.uint8)
    if kind == "flat":
        return np.full(shape, random.integers(0, 256), dtype=np.uint8)
    if kind == "stripes":  # Whole families of frequencies are nothing but rounding here.
        down, across = np.mgrid[0:height, 0:width]
        return np.repeat((((down + across) // 7) % 2 * 255)[..., None], channels, 2).astype("u1")
    steps = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.tile(steps, (height, 1))[..., None], channels, axis=2)


SIZES = st.one_of(
    st.tuples(st.integers(SIDE_MIN, 200), st.integers(SIDE_MIN, 200)),
    st.tuples(st.sampled_from([5, 63, 64, 65, 127, 128, 129, 256, 511]), st.integers(5, 700)),
    st.tuples(st.integers(5, 12), st.integers(1000, 2600)),
)


@given(
    seed=st.integers(0, 2**32),
    size=SIZES,
    turned=st.booleans(),
    channels=st.sampled_from([1, 3, 4]),
    kind=st.sampled_from(["noise", "flat", "stripes", "ramp"]),
)
def test_every_path_is_the_reference(
    seed: int, size: tuple[int, int], turned: bool, channels: int, kind: str
) -> None:
    height, width = size[::-1] if turned else size
    check(made(seed, height, width, channels, kind))


def test_photographs_are_the_references() -> None:
    for photo in PHOTOS:
        with Image.open(io.BytesIO(photo.read())) as image:
            check(np.asarray(image.convert("RGB")))
            check(np.asarray(image.convert("L"))[:, :, None])


def test_strips_may_have_any_height_of_sixteen_rows() -> None:
    pixels = made(1, 333, 201, 4, "noise")
    wanted = hashed(NumpyKernel(), pixels)
    for kernel in KERNELS[1:]:
        for rows in (16, 48, 336):
            assert hashed(kernel, pixels, rows).fingerprint == wanted.fingerprint


def test_luma_is_the_references_for_every_colour() -> None:
    """Three whole numbers and a division round as its doubles do."""
    red, green = np.mgrid[0:256, 0:256].astype(np.uint8)
    for blue in range(0, 256, 5):
        pixels = np.stack([red, green, np.full_like(red, blue)], axis=2)
        theirs = pixels[:, :, 0] * 0.299 + pixels[:, :, 1] * 0.587 + pixels[:, :, 2] * 0.114
        assert (luma_of(pixels) == theirs.astype(np.float32)).all()


@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(64, 400), st.integers(64, 400)),
    scale=st.sampled_from([1, 2, 4, 8]),
    flips=st.tuples(st.booleans(), st.booleans()),
)
def test_weights_give_the_same_on_every_path(
    seed: int, size: tuple[int, int], scale: int, flips: tuple[bool, bool]
) -> None:
    height, width = size
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    across = fold_of(width * scale - seed % scale, scale, flips[0])
    down = fold_of(height * scale - seed % scale, scale, flips[1])
    grids = [kernel.folded(grey, across, down) for kernel in KERNELS]
    assert all((grid == grids[0]).all() for grid in grids)


@given(size=st.integers(65, 5000), scale=st.sampled_from([1, 2, 4, 8]), flipped=st.booleans())
def test_weights_keep_what_is_level_and_what_rises(size: int, scale: int, flipped: bool) -> None:
    """A slope is read where the filter's cells lie, at the picture's own pixels."""
    size = max(size, 64 * scale)
    fold = fold_of(size, scale, flipped)
    blocks = np.arange(fold.size)
    level = [float(weights.sum()) for weights in fold.weight]
    assert np.allclose(level, 1, atol=1e-5)
    middle = slice(8, 56)  # Away from the ends, where windows are cut and blocks padded.
    places = blocks * scale + (scale - 1) / 2
    read = [
        float((weights * places[start : start + len(weights)]).sum())
        for start, weights in zip(fold.start, fold.weight, strict=True)
    ]
    window, ahead = window_of(size)
    lean = 2 * (ahead - (window - 1) / 2)  # An even box leans half a pixel, twice.
    wanted = centres(size) + lean
    wanted = size - 1 - wanted if flipped else wanted
    assert np.allclose(np.array(read)[middle], wanted[middle], atol=2e-2)


def test_weights_at_full_size_are_the_filter_but_for_rounding() -> None:
    pixels = np.asarray(picture(3, (331, 257)).convert("L"))
    exact = NumpyKernel().grid(iter([pixels[:, :, None]]), 331, 257)
    folded = NumpyKernel().folded(pixels, fold_of(331, 1), fold_of(257, 1))
    assert np.abs(exact - folded).max() < 1e-2


@pytest.mark.parametrize("size", [(4, 100), (100, 4), (1, 1)])
def test_what_the_reference_does_not_hash_has_no_bits(size: tuple[int, int]) -> None:
    bits, quality = pdqhash.compute(np.zeros((*size, 3), dtype=np.uint8))
    assert not bits.any()
    assert quality == NOTHING.fingerprint.quality == 0
    assert NOTHING.fingerprint.bits == bytes(32)


def test_the_grid_is_not_filtered_where_it_is_the_picture() -> None:
    pixels = made(2, GRID, GRID, 3, "noise")
    for kernel in KERNELS:
        grid = kernel.grid(iter([pixels]), GRID, GRID)
        assert (grid == luma_of(pixels)).all()
