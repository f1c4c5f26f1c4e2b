"""PDQs to measure look-ups with, from a seed: what is listed, and what is asked.

`uniform`: of unrelated pictures. `clustered`: twenty variants of each picture, about 16 bits from
it. `photo`: of benign photographs. Every row of these begins as one of up to VIEWS_MAX views, each
a part of a photograph of the demo at a place, size and shape of its own, turned over or not,
brighter or darker, hashed; where more rows are wanted they are variants of views, as in
`clustered`. Photographs crowd some buckets of an index and leave others empty, as real lists do.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accord.cli.demo.pictures import PHOTOS
from accord.fingerprint.pdq import GRID
from accord.fingerprint.pdq_native import kernel_of
from accord.matching.index_layout import PDQ_BYTES
from accord.registry.columns import Bytes
from accord.wire.limits import PDQ_QUALITY_MIN

VIEWS_MAX: Final = 200_000  # 0.17 ms each.
_VARIANTS: Final = 20  # Of each picture.
_NEAR_SHARE: Final = 1000  # One query in so many is near a row.
_BLOCK: Final = 1 << 18
_LEAST: Final = 0.12  # Of a photograph's sides that a view shows.


def make_rows(kind: str, count: int, seed: int) -> Bytes:
    """Shape: (count, 32). Raises: Malformed, where the photographs are wanted and not there."""
    random = np.random.default_rng(seed)
    pictures = max(1, count // _VARIANTS)
    if kind == "photo":
        originals = _views(random, min(pictures, VIEWS_MAX))
    else:
        originals = random.integers(0, 256, (pictures, PDQ_BYTES), dtype=np.uint8)
    rows = np.empty((count, PDQ_BYTES), dtype=np.uint8)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        part = random.integers(0, 256, (size, PDQ_BYTES), dtype=np.uint8)
        if kind != "uniform":
            for _ in range(3):  # Each halves the bits that are set: one in 16 is left.
                part &= random.integers(0, 256, (size, PDQ_BYTES), dtype=np.uint8)
            part ^= originals[random.integers(0, len(originals), size)]
        rows[start : start + size] = part
    return rows


def make_queries(kind: str, rows: Bytes, count: int, seed: int) -> Bytes:
    """Pictures like those of the rows, but others; one in a thousand lies near a row."""
    if kind == "photo":
        queries = _views(np.random.default_rng(seed), count)
    else:
        queries = make_rows(kind, count, seed)
    random = np.random.default_rng(seed)
    near = np.arange(0, count, _NEAR_SHARE)
    queries[near] = near_rows(random, rows, len(near))
    return queries


def near_rows(random: np.random.Generator, rows: Bytes, count: int) -> Bytes:
    """Up to 40 bits from a row: some within the usual threshold, some just beyond."""
    bits = np.unpackbits(rows[random.integers(0, len(rows), count)], axis=1)
    for row in bits:
        row[random.choice(bits.shape[1], int(random.integers(0, 41)), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def _views(random: np.random.Generator, count: int) -> Bytes:
    """PDQs of parts of photographs that have detail enough to be listed."""
    kernel = kernel_of()
    photographs = [Image.open(io.BytesIO(photo.read())).convert("L") for photo in PHOTOS]
    found: list[bytes] = []
    while len(found) < count:
        photograph = photographs[int(random.integers(len(photographs)))]
        hashed = kernel.hashed(_view(random, photograph))
        if hashed.fingerprint.quality >= PDQ_QUALITY_MIN:
            found.append(hashed.fingerprint.bits)
    return np.frombuffer(bytearray(b"".join(found)), dtype=np.uint8).reshape(-1, PDQ_BYTES)


def _view(random: np.random.Generator, photograph: Image.Image) -> NDArray[np.float32]:
    """A part of a photograph, brought to the size at which PDQ is taken."""
    share = random.uniform(_LEAST, 1)
    width, height = photograph.width * share, photograph.height * share * random.uniform(0.6, 1)
    left = random.uniform(0, photograph.width - width)
    top = random.uniform(0, photograph.height - height)
    box = (left, top, left + width, top + height)
    part = photograph.resize((GRID, GRID), Image.Resampling.BOX, box=box)
    grey = np.asarray(part, dtype=np.float32) * np.float32(random.uniform(0.5, 1))
    return np.ascontiguousarray(grey[:, ::-1] if random.random() < 0.5 else grey)
