"""What apps put around and over pictures: borders, bars, captions, stickers, phone screens.

Everything is drawn by code; no app's own artwork is used.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Picture = Image.Image
Random = np.random.Generator
Alter = Callable[[Picture, Random], Picture]
_WORDS: Final = ("when", "you", "only", "wanted", "the", "sea", "and", "it", "rained", "all", "day")
_PHONE: Final = (720, 1520)
_INKS: Final = {
    "light": ("white", "#202020"),
    "dark": ("#101014", "#d0d0d0"),
    "chat": ("#e6ddd4", "#303030"),
}


def border(p: Picture, random: Random) -> Picture:
    """One colour, 4 to 10 % on each side."""
    edge = round(max(p.size) * random.uniform(0.04, 0.1))
    colour = ("white", "black", "#c8b090")[random.integers(3)]
    canvas = Image.new("RGB", (p.width + 2 * edge, p.height + 2 * edge), colour)
    canvas.paste(p, (edge, edge))
    return canvas


def letterbox(p: Picture, random: Random) -> Picture:
    """Black bars to a square, or beyond it."""
    side = round(max(p.size) * (1 if random.integers(2) else 1.15))
    canvas = Image.new("RGB", (max(p.width, side), max(p.height, side)), "black")
    canvas.paste(p, ((canvas.width - p.width) // 2, (canvas.height - p.height) // 2))
    return canvas


def story(p: Picture, random: Random) -> Picture:
    """An upright screen filled with a blurred enlargement of the picture itself."""
    width, height = 720, 1280
    scale = max(width / p.width, height / p.height)
    behind = p.resize((round(p.width * scale) + 1, round(p.height * scale) + 1))
    left, top = (behind.width - width) // 2, (behind.height - height) // 2
    behind = behind.crop((left, top, left + width, top + height))
    behind = ImageEnhance.Brightness(behind.filter(ImageFilter.GaussianBlur(30))).enhance(0.7)
    share = float(random.uniform(0.85, 1)) * min(width / p.width, height * 0.9 / p.height)
    inner = p.resize((round(p.width * share), round(p.height * share)), Image.Resampling.LANCZOS)
    behind.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return behind


def meme_bar(p: Picture, random: Random) -> Picture:
    """A white bar with text above, as long as a fifth of the picture."""
    bar = round(p.height * 0.2)
    canvas = Image.new("RGB", (p.width, p.height + bar), "white")
    canvas.paste(p, (0, bar))
    _write(ImageDraw.Draw(canvas), (0, 0, p.width, bar), "black", random)
    return canvas


def caption(share: float) -> Alter:
    """White text with black edges over a band of the picture."""

    def alter(p: Picture, random: Random) -> Picture:
        p = p.copy()
        high = round(p.height * share)
        top = round((p.height - high) * random.random())
        _write(ImageDraw.Draw(p), (0, top, p.width, top + high), "white", random)
        return p

    return alter


def emoji(share: float) -> Alter:
    """Faces over that share of the area in all, one to three of them."""

    def alter(p: Picture, random: Random) -> Picture:
        p = p.copy()
        draw = ImageDraw.Draw(p)
        count = int(random.integers(1, 4))
        size = round((share * p.width * p.height / count / 0.785) ** 0.5)
        for _ in range(count):
            x = int(random.integers(0, max(1, p.width - size)))
            y = int(random.integers(0, max(1, p.height - size)))
            _face(draw, x, y, size)
        return p

    return alter


def logo(share: float) -> Alter:
    """A badge in a corner, of that share of the area."""

    def alter(p: Picture, random: Random) -> Picture:
        p = p.copy()
        high = round((share * p.width * p.height / 2) ** 0.5)
        x = 0 if random.integers(2) else max(0, p.width - 2 * high)
        y = 0 if random.integers(2) else p.height - high
        draw = ImageDraw.Draw(p)
        draw.rounded_rectangle((x, y, x + 2 * high, y + high), high // 4, fill="#b01030")
        draw.ellipse(
            (x + high // 8, y + high // 8, x + high * 7 // 8, y + high * 7 // 8), fill="white"
        )
        _write(draw, (x + high, y, x + 2 * high, y + high), "white", random)
        return p

    return alter


def screenshot(kind: str) -> Alter:
    """A phone's screen with the picture across it, or in a speech bubble."""

    def alter(p: Picture, random: Random) -> Picture:
        paper, ink = _INKS[kind]
        screen = Image.new("RGB", _PHONE, paper)
        draw = ImageDraw.Draw(screen)
        width, height = _PHONE
        _bar(draw, ink)
        wide = width if kind != "chat" else round(width * 0.72)
        inner = _fitted(p, wide, round(height * 0.62))
        x = (width - inner.width) // 2 if kind != "chat" else width - inner.width - 24
        y = int(random.integers(230, 300))
        if kind == "chat":
            draw.rounded_rectangle((30, 130, 420, 210), 18, fill="white")
            _write(draw, (40, 135, 410, 205), ink, random)
            box = (x - 8, y - 8, x + inner.width + 8, y + inner.height + 60)
            draw.rounded_rectangle(box, 18, fill="#d9f7c4")
        else:
            draw.ellipse((20, 130, 100, 210), fill="#7090c0")
            _write(draw, (120, 130, 500, 200), ink, random)
        screen.paste(inner, (x, y))
        below = y + inner.height + 20
        for place in range(4):
            draw.ellipse(
                (20 + 90 * place, below + 60, 70 + 90 * place, below + 110), outline=ink, width=4
            )
        for line in range(3):
            _write(draw, (20, below + 130 + 50 * line, 640, below + 170 + 50 * line), ink, random)
        return screen

    return alter


def collage(p: Picture, random: Random) -> Picture:
    """Beside another picture, drawn here, of the same height."""
    other = waves(random, (max(64, p.width * 3 // 4), p.height))
    canvas = Image.new("RGB", (p.width + other.width, p.height))
    is_first = bool(random.integers(2))
    canvas.paste(p, (0 if is_first else other.width, 0))
    canvas.paste(other, (p.width if is_first else 0, 0))
    return canvas


def waves(random: Random, size: tuple[int, int]) -> Picture:
    """Smooth waves of every direction and some shapes: a picture like no other."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    field = np.zeros((size[1], size[0], 3))
    for _ in range(12):
        across, down, phase = random.uniform(-12, 12, 3)
        field += np.sin(6.283 * (across * x + down * y) + phase)[..., None] * random.uniform(
            0.2, 1, 3
        )
    field = (field - field.min()) / (field.max() - field.min())
    picture = Image.fromarray((field * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(10):
        left, top = int(random.integers(size[0])), int(random.integers(size[1]))
        wide, high = (int(n) for n in random.integers(8, max(size) // 4, 2))
        colour = tuple(int(c) for c in random.integers(0, 256, 3))
        shape = draw.ellipse if random.integers(2) else draw.rectangle
        shape((left, top, left + wide, top + high), fill=colour)
    return picture


def _fitted(p: Picture, width: int, height: int) -> Picture:
    scale = min(width / p.width, height / p.height)
    size = max(16, round(p.width * scale)), max(16, round(p.height * scale))
    return p.resize(size, Image.Resampling.LANCZOS)


def _bar(draw: ImageDraw.ImageDraw, ink: str) -> None:
    """Clock, signal and battery at the top, buttons at the bottom."""
    draw.text((30, 20), "12:34", fill=ink, font=ImageFont.load_default(30))
    draw.rectangle((640, 26, 690, 48), outline=ink, width=3)
    for place in range(4):
        draw.rectangle((560 + 16 * place, 48 - 6 * place, 570 + 16 * place, 50), fill=ink)
    for place in range(3):
        x = 140 + 210 * place
        draw.rectangle((x, 1460, x + 30, 1490), outline=ink, width=4)


def _write(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], ink: str, random: Random
) -> None:
    """Words that fill a box in one or two lines."""
    left, top, right, bottom = box
    lines = 2 if bottom - top > 60 else 1
    size = max(6, (bottom - top) * 8 // (10 * lines))
    font = ImageFont.load_default(size)
    for line in range(lines):
        words, begin = "", int(random.integers(len(_WORDS)))
        for place in range(20):
            longer = f"{words} {_WORDS[(begin + place) % len(_WORDS)]}".strip()
            if draw.textlength(longer, font=font) > right - left - 4:
                break
            words = longer
        edge = max(1, size // 14) if ink == "white" else 0
        at = left + 2, top + line * (bottom - top) // lines
        draw.text(at, words or "ok", fill=ink, font=font, stroke_width=edge, stroke_fill="black")


def _face(draw: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    draw.ellipse(
        (x, y, x + size, y + size), fill="#ffcc33", outline="#a07000", width=max(1, size // 40)
    )
    for eye in (0.3, 0.62):
        left, top = x + size * eye, y + size * 0.3
        draw.ellipse((left, top, left + size * 0.1, top + size * 0.16), fill="#402000")
    mouth = (x + size * 0.25, y + size * 0.35, x + size * 0.75, y + size * 0.8)
    draw.arc(mouth, 20, 160, fill="#402000", width=max(2, size // 16))
