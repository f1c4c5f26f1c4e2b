"""Pairs of distinct pictures that have much in common: none may match the other.

One scene, backdrop, logo, sticker, caption or template, plain documents, charts, gradients, walls:
all drawn by code, the same every time.
Not here: what is said of them (robustness).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from accord.cli.bench.robustness_drawn import caption, emoji, logo, screenshot, waves

_SIZE: Final = (640, 480)


class Pair(NamedTuple):
    """`alike` show what any such picture shows around it: a listing keeps it out as common."""

    one: Image.Image
    other: Image.Image
    alike: tuple[Image.Image, ...] = ()


_LINES: Final = (
    "the",
    "minutes",
    "of",
    "our",
    "meeting",
    "were",
    "read",
    "and",
    "agreed",
    "by",
    "all",
)


def _other(seed: int, size: tuple[int, int] = _SIZE) -> Image.Image:
    return waves(np.random.default_rng(seed), size)


def on_screen(seed: int) -> Image.Image:
    """A picture on the screen of one app, always with the same words and buttons around it."""
    return screenshot("light")(_other(seed), np.random.default_rng(1))


def with_logo(seed: int) -> Image.Image:
    return logo(0.05)(_other(seed), np.random.default_rng(4))


def with_stickers(seed: int) -> Image.Image:
    return emoji(0.12)(_other(seed), np.random.default_rng(3))


def with_caption(seed: int) -> Image.Image:
    return caption(0.15)(_other(seed), np.random.default_rng(6))


def same_scene() -> Pair:
    """A shore below hills at another hour, with other trees, clouds and boats."""
    y, x = np.mgrid[0:480, 0:640]
    hills = 210 - 60 * np.sin(x[0] / 90) - 25 * np.sin(x[0] / 37)

    def at(seed: int, light: float) -> Image.Image:
        random = np.random.default_rng(seed)
        sky, hill, water = 235 * light - y / 6, 95 * light + y / 20, 120 * light + (y - 330) / 3
        tones = np.where(y < hills[None, :], sky, np.where(y < 330, hill, water))
        scene = Image.fromarray(tones.clip(0, 255).astype(np.uint8)).convert("RGB")
        draw = ImageDraw.Draw(scene)
        for _ in range(14):
            left, top, size = (
                int(random.integers(*ends)) for ends in ((0, 620), (8, 440), (12, 50))
            )
            tone = int(random.integers(30, 230))
            shape = draw.ellipse if random.integers(2) else draw.polygon
            corners = [(left, top), (left + size, top + size // 2), (left, top + size)]
            shape(
                corners if shape == draw.polygon else [left, top, left + size, top + size // 2],
                fill=(tone, tone, tone),
            )
        return scene

    return Pair(at(31, 1.0), at(32, 0.7))


def chart(seed: int) -> Image.Image:
    """Bars of other heights under one heading, on one grid."""
    random = np.random.default_rng(seed)
    page = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(page)
    draw.text((180, 10), "rain by month", "black", ImageFont.load_default(36))
    for line in range(8):
        draw.line((60, 70 + 50 * line, 620, 70 + 50 * line), "#c0c0c0", 2)
    for bar in range(12):
        high = int(random.integers(20, 340))
        draw.rectangle((70 + 46 * bar, 420 - high, 100 + 46 * bar, 420), fill="#3060a0")
    return page


def on_template(seed: int) -> Image.Image:
    """A picture under a bar that always says the same."""
    page = Image.new("RGB", (640, 640), "white")
    page.paste(_other(seed, (640, 520)), (0, 120))
    ImageDraw.Draw(page).text((20, 20), "when it rains", "black", ImageFont.load_default(70))
    return page


def documents() -> Pair:
    """Two plain pages of other words in one type."""

    def page(seed: int) -> Image.Image:
        random = np.random.default_rng(seed)
        paper = Image.new("RGB", (620, 877), "white")
        draw, font = ImageDraw.Draw(paper), ImageFont.load_default(18)
        for line in range(30):
            words = " ".join(random.choice(_LINES, 9))
            draw.text((50, 50 + 26 * line), words, "black", font)
        return paper

    return Pair(page(41), page(42))


def gradients() -> Pair:
    def sky(power: float) -> Image.Image:
        rise = np.linspace(0, 1, 480)[:, None] ** power * np.linspace(0.6, 1, 640)[None, :]
        return Image.fromarray((rise * 255).astype(np.uint8)).convert("RGB")

    return Pair(sky(1), sky(1.3))


def frames_and_windows() -> Pair:
    """A wall of windows, and another picture in a plain border: corners and bars in both."""
    wall = Image.new("RGB", (640, 480), "#807060")
    draw = ImageDraw.Draw(wall)
    random = np.random.default_rng(71)
    for x in range(20, 600, 100):
        for y in range(20, 440, 90):
            tone = int(random.integers(20, 60))
            draw.rectangle((x, y, x + 60, y + 55), fill=(tone, tone, tone + 20))
            draw.line((x + 30, y, x + 30, y + 55), "white", 3)
    page = Image.new("RGB", (760, 600), "white")
    page.paste(_other(72), (60, 60))
    return Pair(wall, page)


def checks() -> Pair:
    """Two walls of like tiles, of other sizes and colours."""

    def wall(size: int, seed: int) -> Image.Image:
        random = np.random.default_rng(seed)
        tones = random.integers(90, 160, (60, 60))
        tiles = np.kron(tones, np.ones((size, size)))[:480, :640].astype(np.uint8)
        tiles[::size], tiles[:, ::size] = 30, 30
        return Image.fromarray(tiles).convert("RGB")

    return Pair(wall(40, 51), wall(44, 52))


def same_background() -> Pair:
    """Another thing in front of the same soft backdrop."""

    def scene(seed: int) -> Image.Image:
        y, x = np.mgrid[0:480, 0:640]
        light = 120 + 60 * np.sin(x / 200) * np.cos(y / 160)
        back = Image.fromarray(light.astype(np.uint8)).convert("RGB")
        back.paste(_other(seed, (360, 300)), (140, 100))
        return back

    return Pair(scene(61), scene(62))


def _like(make: Callable[[int], Image.Image]) -> Callable[[], Pair]:
    return lambda: Pair(make(11), make(12), tuple(make(seed) for seed in range(13, 17)))


PAIRS: Final[dict[str, Callable[[], Pair]]] = {
    "one scene": same_scene,
    "one background": same_background,
    "one logo": lambda: Pair(with_logo(21), with_logo(22)),
    "documents": documents,
    "gradients": gradients,
    "windows and a border": frames_and_windows,
    "tiles": checks,
    "charts": _like(chart),
    "the same stickers": _like(with_stickers),
    "the same caption": _like(with_caption),
    "one app's screen": _like(on_screen),
    "one template": _like(on_template),
}
