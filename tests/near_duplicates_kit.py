"""Pairs of distinct pictures that have much in common, drawn by code: none may match the other."""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from accord.cli.bench.robustness_drawn import logo, screenshot, waves

Pair = tuple[Image.Image, Image.Image]
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


def _other(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    return waves(np.random.default_rng(seed), size)


def on_screen(seed: int) -> Image.Image:
    """A picture on the screen of one app, always with the same words and buttons around it."""
    return screenshot("light")(_other(seed), np.random.default_rng(1))


def same_logo() -> Pair:
    mark = logo(0.05)
    first, second = (mark(_other(seed), np.random.default_rng(4)) for seed in (21, 22))
    return first, second


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

    return page(41), page(42)


def gradients() -> Pair:
    def sky(power: float) -> Image.Image:
        rise = np.linspace(0, 1, 480)[:, None] ** power * np.linspace(0.6, 1, 640)[None, :]
        return Image.fromarray((rise * 255).astype(np.uint8)).convert("RGB")

    return sky(1), sky(1.3)


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
    return wall, page


def checks() -> Pair:
    """Two walls of like tiles, of other sizes and colours."""

    def wall(size: int, seed: int) -> Image.Image:
        random = np.random.default_rng(seed)
        tones = random.integers(90, 160, (60, 60))
        tiles = np.kron(tones, np.ones((size, size)))[:480, :640].astype(np.uint8)
        tiles[::size], tiles[:, ::size] = 30, 30
        return Image.fromarray(tiles).convert("RGB")

    return wall(40, 51), wall(44, 52)


def same_background() -> Pair:
    """Another thing in front of the same soft backdrop."""

    def scene(seed: int) -> Image.Image:
        y, x = np.mgrid[0:480, 0:640]
        light = 120 + 60 * np.sin(x / 200) * np.cos(y / 160)
        back = Image.fromarray(light.astype(np.uint8)).convert("RGB")
        back.paste(_other(seed, (360, 300)), (140, 100))
        return back

    return scene(61), scene(62)


PAIRS: Final[dict[str, Callable[[], Pair]]] = {
    "one logo": same_logo,
    "documents": documents,
    "gradients": gradients,
    "windows and a border": frames_and_windows,
    "tiles": checks,
    "one background": same_background,
}
# What many pictures show around them: a listing keeps it out by what it knows to be common.
TEMPLATES: Final = {"an app's screen": on_screen, "a caption": on_template}
