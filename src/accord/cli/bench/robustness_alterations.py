"""What people do to pictures, by name: each a function of a picture and of a random source.

A picture goes in as RGB and comes out as the bytes of a file, JPEG at quality 85 where the
alteration is not a format itself. The same picture, name and seed give the same file, as long as
Pillow's codecs stay the same. Crops to N % keep N % of each side; one-sided ones, of one side.
Not here: what is measured on them (robustness).
"""

import io
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from accord.cli.bench import robustness_drawn as drawn

pillow_heif.register_heif_opener(thumbnails=False)  # It is what writes HEIC too.

Picture = Image.Image
Random = np.random.Generator
Alter = Callable[[Picture, Random], Picture]
_QUALITY: Final = 85
_SMALLEST: Final = 16  # Pixels a side: nothing is altered to less.
_CROPS: Final = (95, 90, 80, 70, 50, 25)


def altered(name: str, picture: Picture, seed: int = 0) -> bytes:
    """The altered picture's file. `name` is one of `NAMES`."""
    if name in _FILES:
        return _FILES[name](picture)
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return _file(_ALTERATIONS[name](picture, random), "JPEG", quality=_QUALITY)


def _file(picture: Picture, codec: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, codec, **options)
    return out.getvalue()


def _through(picture: Picture, codec: str, **options: object) -> Picture:
    return Image.open(io.BytesIO(_file(picture, codec, **options))).convert("RGB")


def _to_size(picture: Picture, width: float, height: float) -> Picture:
    size = max(_SMALLEST, round(width)), max(_SMALLEST, round(height))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _resized(share: float) -> Alter:
    return lambda p, _: _to_size(p, p.width * share, p.height * share)


def _stretched(across: float) -> Alter:
    return lambda p, _: _to_size(p, p.width * across, p.height)


def _cut(picture: Picture, wide: float, high: float, x: float, y: float) -> Picture:
    """A part of the picture; x and y are how far along, 0 to 1."""
    width = max(_SMALLEST, round(picture.width * wide))
    height = max(_SMALLEST, round(picture.height * high))
    left, top = round((picture.width - width) * x), round((picture.height - height) * y)
    return picture.crop((left, top, left + width, top + height))


def _centred(percent: int) -> Alter:
    return lambda p, _: _cut(p, percent / 100, percent / 100, 0.5, 0.5)


def _one_sided(percent: int) -> Alter:
    def alter(p: Picture, random: Random) -> Picture:
        end = float(random.integers(2))
        if random.integers(2):
            return _cut(p, percent / 100, 1, end, 0)
        return _cut(p, 1, percent / 100, 0, end)

    return alter


def _anywhere(share: float) -> Alter:
    return lambda p, random: _cut(p, share, share, *random.random(2))


def _rotated(degrees: float) -> Alter:
    """All of it, on black."""
    return lambda p, _: p.rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def _rotated_cut(degrees: float) -> Alter:
    """The largest upright part of the same shape in which no corner is empty."""

    def alter(p: Picture, _: Random) -> Picture:
        turned = p.rotate(degrees, Image.Resampling.BICUBIC)
        angle = np.deg2rad(degrees)
        shorter, longer = sorted(p.size)
        share = 1 / (np.cos(angle) + np.sin(angle) * longer / shorter)
        return _cut(turned, share, share, 0.5, 0.5)

    return alter


def _turned(how: Image.Transpose) -> Alter:
    return lambda p, _: p.transpose(how)


def _enhanced(kind: Callable[[Picture], ImageEnhance._Enhance], factor: float) -> Alter:
    return lambda p, _: kind(p).enhance(factor)


def _by_curves(*curves: Callable[[float], float]) -> Alter:
    """A curve a channel, over 0 to 1."""
    table = [
        round(255 * min(1.0, max(0.0, curve(value / 255))))
        for curve in curves
        for value in range(256)
    ]
    return lambda p, _: p.point(table)


def _gamma(power: float) -> Alter:
    return _by_curves(*[lambda v: v**power] * 3)


def _sepia(p: Picture, _: Random) -> Picture:
    return ImageOps.colorize(p.convert("L"), (30, 15, 0), (255, 240, 200))


def _vignette(p: Picture, _: Random) -> Picture:
    y, x = np.mgrid[-1 : 1 : p.height * 1j, -1 : 1 : p.width * 1j]
    light = 1 - 0.35 * np.clip(x * x + y * y, 0, 2) / 2
    warm = ImageEnhance.Color(p).enhance(1.4)
    return Image.fromarray((np.asarray(warm) * light[:, :, None]).astype(np.uint8))


def _blurred(pixels: float) -> Alter:
    return lambda p, _: p.filter(ImageFilter.GaussianBlur(pixels))


def _sharpened(p: Picture, _: Random) -> Picture:
    return p.filter(ImageFilter.UnsharpMask(2, 150, 3))


def _noisy(deviation: float) -> Alter:
    def alter(p: Picture, random: Random) -> Picture:
        pixels = np.asarray(p) + random.normal(0, deviation, (p.height, p.width, 3))
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    return alter


def _perspective(p: Picture, random: Random) -> Picture:
    """Each corner moves inwards by up to 8 % of the side."""
    w, h = p.size
    move = random.uniform(0.02, 0.08, (4, 2)) * (w, h)
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    inwards = corners + move * ((1, 1), (-1, 1), (-1, -1), (1, -1))
    rows = []
    for (x, y), (u, v) in zip(inwards, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    data = np.linalg.solve(np.array(rows), corners.ravel())
    return p.transform(p.size, Image.Transform.PERSPECTIVE, data.tolist(), Image.Resampling.BICUBIC)


def _chain(*steps: Alter) -> Alter:
    def alter(p: Picture, random: Random) -> Picture:
        for step in steps:
            p = step(p, random)
        return p

    return alter


def _again(quality: int) -> Alter:
    return lambda p, _: _through(p, "JPEG", quality=quality)


_FILES: Final[dict[str, Callable[[Picture], bytes]]] = {
    **{f"jpeg-{q}": partial(_file, codec="JPEG", quality=q) for q in (90, 70, 50, 30, 10)},
    "webp-60": lambda p: _file(p, "WEBP", quality=60),
    "heic-50": lambda p: _file(p, "HEIF", quality=50),
}
_ALTERATIONS: Final[dict[str, Alter]] = {
    "double-compression": _chain(_again(50), _resized(0.9), _again(60)),
    **{f"resize-{n}": _resized(n / 100) for n in (75, 50, 25, 10)},
    "aspect-wider": _stretched(1.2),
    "aspect-narrower": _stretched(0.85),
    "brightness-up": _enhanced(ImageEnhance.Brightness, 1.35),
    "brightness-down": _enhanced(ImageEnhance.Brightness, 0.65),
    "contrast-up": _enhanced(ImageEnhance.Contrast, 1.5),
    "contrast-down": _enhanced(ImageEnhance.Contrast, 0.6),
    "gamma-0.6": _gamma(0.6),
    "gamma-1.6": _gamma(1.6),
    "grey": lambda p, _: p.convert("L").convert("RGB"),
    "filter-sepia": _sepia,
    "filter-fade": _by_curves(
        lambda v: 0.15 + 0.8 * v, lambda v: 0.08 + 0.85 * v, lambda v: 0.2 + 0.65 * v
    ),
    "filter-vignette": _vignette,
    "blur-1": _blurred(1),
    "blur-2": _blurred(2),
    "sharpen": _sharpened,
    "noise-10": _noisy(10),
    "noise-20": _noisy(20),
    "flip": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotate-90": _turned(Image.Transpose.ROTATE_90),
    "rotate-180": _turned(Image.Transpose.ROTATE_180),
    **{f"rotate-{n}": _rotated(n) for n in (2, 5, 10)},
    **{f"rotate-{n}-cut": _rotated_cut(n) for n in (2, 5, 10)},
    "perspective": _perspective,
    **{f"crop-centred-{n}": _centred(n) for n in _CROPS},
    **{f"crop-one-sided-{n}": _one_sided(n) for n in _CROPS},
    **{f"crop-anywhere-{n}": _anywhere(n / 100) for n in _CROPS},
    **{f"crop-area-{n}": _anywhere((n / 100) ** 0.5) for n in (50, 25)},
    "border": drawn.border,
    "letterbox": drawn.letterbox,
    "story": drawn.story,
    "meme-bar": drawn.meme_bar,
    **{f"caption-{n}": drawn.caption(n / 100) for n in (5, 12, 20)},
    **{f"emoji-{n}": drawn.emoji(n / 100) for n in (5, 10, 20)},
    "logo-12": drawn.logo(0.12),
    "screenshot-light": drawn.screenshot("light"),
    "screenshot-dark": drawn.screenshot("dark"),
    "screenshot-chat": drawn.screenshot("chat"),
    "screenshot-crop": _chain(_anywhere(0.7), drawn.screenshot("light")),
    "collage": drawn.collage,
    "combination-mirrored-crop": _chain(
        _turned(Image.Transpose.FLIP_LEFT_RIGHT),
        _anywhere(0.75),
        _enhanced(ImageEnhance.Contrast, 1.2),
    ),
    "combination-framed-crop": _chain(_anywhere(0.8), drawn.caption(0.05), drawn.border),
    "combination-turned-text": _chain(_rotated_cut(4), drawn.caption(0.12), _resized(0.6)),
}
NAMES: Final = (*_FILES, *_ALTERATIONS)
