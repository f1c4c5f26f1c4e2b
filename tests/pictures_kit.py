"""Benign procedural pictures for tests: the same seed, the same picture; all of PDQ quality >= 50.

Smooth waves and simple shapes: detailed enough to be told apart, robust enough to survive the
alterations below as a photograph does.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageEnhance

SIZE: Final = (320, 208)  # Multiples of 16: rotations of a JPEG of it are exact.
_KEPT_PIXELS_MAX: Final = 400_000  # Drawing takes longer than what most tests then do with it.


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """An RGB picture like no other seed's; the caller's own."""
    is_small = size[0] * size[1] <= _KEPT_PIXELS_MAX
    return _kept(seed, size).copy() if is_small else _drawn(seed, size)


@lru_cache(maxsize=128)
def _kept(seed: int, size: tuple[int, int]) -> Image.Image:
    return _drawn(seed, size)


def _drawn(seed: int, size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    canvas = np.zeros((height, width, 3))
    for _ in range(14):
        across, down = random.uniform(-9, 9, 2)
        phase = random.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (across * x + down * y) + phase)
        canvas += wave[..., None] * random.uniform(0.3, 1.0) * random.uniform(0.6, 1.0, 3)
    canvas = (canvas - canvas.min()) / (canvas.max() - canvas.min())
    image = Image.fromarray((40 + canvas * 175).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        left, top = random.integers(0, width), random.integers(0, height)
        wide, high = random.integers(width // 12, width // 4, 2)
        colour = tuple(int(c) for c in random.integers(0, 256, 3))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((int(left), int(top), int(left + wide), int(top + high)), fill=colour)
    return image


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """The picture as a file. `name` is Pillow's, such as JPEG."""
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """A file as an RGB picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def small_text(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).text((image.width // 10, image.height // 10), "holiday 2026", "white")
    return copy


ALTERATIONS: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "half the size": lambda p: p.resize((p.width // 2, p.height // 2)),
    "jpeg at 50": lambda p: Image.open(io.BytesIO(encoded(p, "JPEG", quality=50))),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.2),
    "small text": small_text,
}


def _wide_grey(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _lab(image: Image.Image) -> Image.Image:
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    return lab


def _float(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)


def _with_alpha(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.putalpha(255)
    return copy


# Every way a file can hold the same picture: bytes by what they are.
FORMS: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    "jpeg": lambda p: encoded(p, "JPEG", quality=92),
    "jpeg progressive": lambda p: encoded(p, "JPEG", quality=92, progressive=True),
    "jpeg grey": lambda p: encoded(p.convert("L"), "JPEG"),
    "jpeg cmyk": lambda p: encoded(p.convert("CMYK"), "JPEG"),
    "png": lambda p: encoded(p, "PNG"),
    "png palette": lambda p: encoded(p.quantize(64), "PNG"),
    "png palette with transparency": lambda p: encoded(p.quantize(64), "PNG", transparency=255),
    "png 1 bit": lambda p: encoded(p.convert("1"), "PNG"),
    "png grey": lambda p: encoded(p.convert("L"), "PNG"),
    "png grey alpha": lambda p: encoded(_with_alpha(p).convert("LA"), "PNG"),
    "png 16 bit": lambda p: encoded(_wide_grey(p), "PNG"),
    "png rgba": lambda p: encoded(_with_alpha(p), "PNG"),
    "webp": lambda p: encoded(p, "WEBP"),
    "webp lossless rgba": lambda p: encoded(_with_alpha(p), "WEBP", lossless=True),
    "gif": lambda p: encoded(p, "GIF"),
    "bmp": lambda p: encoded(p, "BMP"),
    "bmp palette": lambda p: encoded(p.quantize(64), "BMP"),
    "tiff": lambda p: encoded(p, "TIFF"),
    "tiff lzw": lambda p: encoded(p, "TIFF", compression="tiff_lzw"),
    "tiff cmyk": lambda p: encoded(p.convert("CMYK"), "TIFF"),
    "tiff ycbcr": lambda p: encoded(p.convert("YCbCr"), "TIFF", compression="jpeg"),
    "tiff lab": lambda p: encoded(_lab(p), "TIFF"),
    "tiff 16 bit": lambda p: encoded(_wide_grey(p), "TIFF"),
    "tiff 32 bit": lambda p: encoded(p.convert("I"), "TIFF"),
    "tiff float": lambda p: encoded(_float(p), "TIFF"),
    "tiff fax": lambda p: encoded(p.convert("1"), "TIFF", compression="group4"),
    "avif": lambda p: encoded(p, "AVIF", speed=9),
    "heif": lambda p: encoded(p, "HEIF"),
}

# EXIF orientation: what the stored pixels must be turned by so that a viewer shows them upright.
STORED_AS: Final[dict[int, Image.Transpose | None]] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(image: Image.Image, orientation: int, name: str = "PNG") -> bytes:
    """A file that a viewer shows as `image`, stored turned and tagged."""
    turn = STORED_AS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    # As bytes: from these pillow-heif makes the container's own rotation, which is what counts.
    return encoded(image if turn is None else image.transpose(turn), name, exif=exif.tobytes())


def animation(seeds: list[int], name: str, shown_ms: int = 100) -> bytes:
    """A GIF, WebP, PNG or AVIF with one picture a frame."""
    first, *rest = [picture(seed, (240, 160)) for seed in seeds]
    options = {"save_all": True, "append_images": rest, "duration": shown_ms}
    return encoded(first, name, **(options if name != "AVIF" else options | {"speed": 9}))
