"""Measures hashing, from a file's bytes to its fingerprint, beside what others do: same files, one
thread, in turns, so that a busy moment of the machine falls on all of them.

Files are JPEGs of the demo's photographs, brought to size. Units: CPU time of the thread, since a
platform pays for cores; a figure is the median over all rounds and photographs.
Not here: the lock of decoder workers (locked), the gateway around them (loop).
"""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from accord.cli.bench.figures import Report, Row, Section, quantile, rounded
from accord.cli.bench.locked import lock_rows
from accord.cli.bench.machine import describe_machine
from accord.cli.demo.pictures import PHOTOS
from accord.fingerprint import Decoding, Examined, distance_bits, examine
from accord.fingerprint.fold import fold_of
from accord.fingerprint.jpeg import parse_header, scale_for
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.upright import upright_strips
from accord.wire.errors import Broken, Malformed

SIZES: Final = (("12 MP", (4000, 3000)), ("2 MP", (1632, 1224)), ("512 px", (512, 384)))
FORMATS: Final = (("png", "PNG"), ("webp", "WEBP"), ("heif", "HEIF"), ("avif", "AVIF"))
QUALITY: Final = 85
_GRAIN: Final = 4  # Standard deviation of noise on what was enlarged: a sensor's, roughly.
_DRIFT_SIDES: Final = (200, 256, 320, 448, 512, 640, 800, 1024, 1280, 1632, 2048, 3000, 4000)
_DRIFT_QUALITIES: Final = (40, 60, 75, 85, 95)
_TURN_S: Final = 0.02
_REPEATS_MAX: Final = 20
Progress = Callable[[str, int, int], None]
Work = Callable[[], object]
SCALED: Final = "scaled"
EXACT: Final = "exact"
SCALED_DECODE: Final = "scaled decode alone"
FULL_DECODE: Final = "full decode alone"
SCALED_HASH: Final = "scaled transform alone"
EXACT_HASH: Final = "exact transform alone"
PEER: Final = "Pillow + pdqhash"


@dataclass(frozen=True, slots=True)
class Scale:
    rounds: int
    photographs: int
    with_peers: bool


def run(scale: Scale, directory: Path, progress: Progress) -> Report:
    """Raises: Malformed, without the photographs or where a peer is wanted and not installed."""
    machine = describe_machine(directory)
    photographs = _photographs()[: scale.photographs]
    peer = _peer() if scale.with_peers else None
    speeds, shares = [], []
    for name, size in SIZES:
        took: dict[str, list[float]] = {}
        files = [_jpeg(_sized(image, size), QUALITY, 2) for image in photographs]
        for place in range(scale.rounds):
            progress(f"hashing {name}", place + 1, scale.rounds)
            for data in files:
                _take_turns(_works(data, peer), took)
        speeds.append(_speed_row(name, took))
        shares.append(_share_row(name, took))
    sections = [
        Section("hash", "A JPEG's bytes to its fingerprint, CPU ms, one thread", tuple(speeds)),
        Section("share", "Where the time goes, CPU ms", tuple(shares)),
        Section("drift", "The scaled path, bits from the exact one", _drift(photographs, progress)),
        Section("formats", "Other formats, 2 MP, CPU ms", _formats(scale, photographs, progress)),
        Section(
            "lock",
            "What the decoders' lock costs, ms a file",
            lock_rows(_lock_files(photographs[0]), 20 * scale.rounds, progress),
        ),
    ]
    parameters: Row = {
        "kernel": kernel_of().name,
        "rounds": scale.rounds,
        "photographs": len(photographs),
        "jpeg_quality": QUALITY,
        "sampling": "4:2:0",
    }
    return Report(machine, parameters, tuple(sections))


def _lock_files(photograph: Image.Image) -> list[tuple[str, bytes]]:
    sizes = (("JPEG 400 x 300", (400, 300)), *((f"JPEG {name}", size) for name, size in SIZES))
    files = [(name, _jpeg(_sized(photograph, size), QUALITY, 2)) for name, size in sizes]
    out = io.BytesIO()
    _sized(photograph, (512, 384)).save(out, "AVIF", quality=QUALITY)  # Its decoder has threads.
    return [*files, ("AVIF 512 px", out.getvalue())]


def _works(data: bytes, peer: Callable[[object], object] | None) -> dict[str, Work]:
    """What is measured on a file. Parts are given what the whole would have at that point."""
    header = parse_header(data)
    scale = None if header is None else scale_for(header)
    if header is None or scale is None:
        raise Broken("bench.picture")  # Ours are all such that the scaled path takes them.
    width, height, _ = header

    def decode_scaled() -> Image.Image:
        image = JpegImageFile(io.BytesIO(data))
        image.draft("L", (width // scale, height // scale))
        image.load()
        return image

    def decode_whole() -> Image.Image:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    kernel = kernel_of()
    grey, whole = np.asarray(decode_scaled()), decode_whole()
    across, down = fold_of(width, scale), fold_of(height, scale)
    works: dict[str, Work] = {
        SCALED: lambda: examine(data, Decoding.SCALED),
        SCALED_DECODE: decode_scaled,
        SCALED_HASH: lambda: kernel.hashed(kernel.folded(grey, across, down)),
        EXACT: lambda: examine(data),
        FULL_DECODE: decode_whole,
        EXACT_HASH: lambda: kernel.hashed(kernel.grid(upright_strips(whole, 1), width, height)),
    }
    if peer is not None:
        works[PEER] = lambda: peer(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    return works


def _peer() -> Callable[[object], object]:
    """The reference, bound to Python. Raises: Malformed."""
    try:
        import pdqhash  # noqa: PLC0415  (an extra)
    except ImportError as err:
        raise Malformed("bench.peers", mend="pip install accord[bench]") from err
    found: Callable[[object], object] = pdqhash.compute
    return found


def _take_turns(works: dict[str, Work], took: dict[str, list[float]]) -> None:
    """Each first once for itself: who hashes file after file has code and tables at hand, and what
    ran before must not count. What is quick is done often enough to be read off a clock."""
    for name, work in works.items():
        began = time.thread_time()
        work()
        times = min(_REPEATS_MAX, 1 + int(_TURN_S / max(time.thread_time() - began, 1e-6)))
        began = time.thread_time()
        for _ in range(times):
            work()
        took.setdefault(name, []).append((time.thread_time() - began) * 1000 / times)


def _speed_row(name: str, took: dict[str, list[float]]) -> Row:
    p50 = {what: median(times) for what, times in took.items()}
    theirs = p50.get(PEER)
    return {
        "picture": name,
        "scaled_p50_ms": rounded(p50[SCALED]),
        "exact_p50_ms": rounded(p50[EXACT]),
        "pillow_pdqhash_p50_ms": None if theirs is None else rounded(theirs),
        "ratio_scaled": None if theirs is None else rounded(theirs / p50[SCALED]),
        "ratio_exact": None if theirs is None else rounded(theirs / p50[EXACT]),
        "scaled_decode_alone_ms": rounded(p50[SCALED_DECODE]),
        "scaled_to_its_decode": rounded(p50[SCALED] / p50[SCALED_DECODE]),
    }


def _share_row(name: str, took: dict[str, list[float]]) -> Row:
    p50 = {what: median(times) for what, times in took.items()}
    return {
        "picture": name,
        "scaled_decode_ms": rounded(p50[SCALED_DECODE]),
        "scaled_transform_ms": rounded(p50[SCALED_HASH]),
        "scaled_transform_share": rounded(p50[SCALED_HASH] / p50[SCALED]),
        "exact_decode_ms": rounded(p50[FULL_DECODE]),
        "exact_transform_ms": rounded(p50[EXACT_HASH]),
        "exact_transform_share": rounded(p50[EXACT_HASH] / p50[EXACT]),
    }


def _drift(photographs: Sequence[Image.Image], progress: Progress) -> tuple[Row, ...]:
    """Every photograph at every size, qualities and samplings in turn."""
    found: dict[str, list[int]] = {}
    exact: dict[str, int] = {}
    for number, image in enumerate(photographs):
        progress("drift", number + 1, len(photographs))
        for place, side in enumerate(_DRIFT_SIDES):
            height = max(1, side * image.height // image.width)
            for turn in range(2):
                count = number + place + turn
                quality = _DRIFT_QUALITIES[count % len(_DRIFT_QUALITIES)]
                data = _jpeg(_sized(image, (side, height)), quality, count % 3)
                scaled, whole = examine(data, Decoding.SCALED), examine(data)
                if not isinstance(scaled, Examined) or not isinstance(whole, Examined):
                    continue
                group = "up to 640 px" if side <= 640 else "larger"
                if scaled.is_exact:
                    exact[group] = exact.get(group, 0) + 1
                else:
                    bits = distance_bits(scaled.pdq[0].bits, whole.pdq[0].bits)
                    found.setdefault(group, []).append(bits)
    return tuple(
        {
            "pictures": group,
            "files": len(bits),
            "left_to_exact": exact.get(group, 0),
            "median_bits": rounded(median(bits)),
            "p95_bits": quantile(bits, 0.95),
            "max_bits": max(bits),
            "same": sum(bit == 0 for bit in bits),
        }
        for group, bits in found.items()
    )


def _formats(
    scale: Scale, photographs: Sequence[Image.Image], progress: Progress
) -> tuple[Row, ...]:
    rows: list[Row] = []
    _, size = SIZES[1]
    for name, codec in FORMATS:
        progress(f"hashing {name}", 0, 0)
        whole: list[float] = []
        alone: list[float] = []
        for image in photographs[:2]:
            out = io.BytesIO()
            _sized(image, size).save(out, codec)
            data = out.getvalue()

            def decode(data: bytes = data) -> None:
                with Image.open(io.BytesIO(data)) as opened:
                    opened.load()

            works: dict[str, Work] = {EXACT: partial(examine, data), FULL_DECODE: decode}
            took: dict[str, list[float]] = {}
            for _ in range(scale.rounds):
                _take_turns(works, took)
            whole += took[EXACT]
            alone += took[FULL_DECODE]
        rows.append(
            {
                "format": name,
                "exact_p50_ms": rounded(median(whole)),
                "decode_alone_p50_ms": rounded(median(alone)),
            }
        )
    return tuple(rows)


def _photographs() -> list[Image.Image]:
    """Raises: Malformed."""
    found: list[Image.Image] = []
    for photo in PHOTOS:
        with Image.open(io.BytesIO(photo.read())) as opened:
            found.append(opened.convert("RGB"))
    return found


def _sized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Enlarging leaves no detail where a camera has some: grain stands in for it."""
    sized = image.resize(size, Image.Resampling.LANCZOS)
    if size[0] <= image.width:
        return sized
    random = np.random.default_rng(size[0])
    grain = random.normal(0, _GRAIN, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(sized) + grain, 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, quality: int, sampling: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=sampling)
    return out.getvalue()
