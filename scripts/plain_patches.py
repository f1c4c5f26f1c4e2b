#!/usr/bin/env python3
"""Makes the table of plain patches: what anybody's shapes on plain grounds look like around a spot.

    .venv/bin/python scripts/plain_patches.py [OUT]

Draws 23,000 pages by code (no picture goes in), takes their patches as a query would, and keeps the
32,768 that stand for most of the others: each patch joins the first one within 56 bits, or stands
for itself. It takes some five minutes on two cores. Listings leave out what is near the table
(docs/spec/fingerprint.md, section 13); another table is as valid, and only moves what is found.
"""

import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from accord.fingerprint.patches import patches_of
from accord.fingerprint.patches_native import apart, patch_kernel_of
from accord.fingerprint.resample import for_patches

KEPT = 32_768
JOINED_BITS = 56
WIDTH, HEIGHT = 480, 360
OUT = Path(__file__).parent.parent / "src/accord/fingerprint/plain_patches.bin"
Random = np.random.Generator
Values = np.ndarray
Points = list[tuple[float, float]]
_DOWN, _ACROSS = np.mgrid[0:HEIGHT, 0:WIDTH]


def page_of(values: Values) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def cloud(random: Random, power: float) -> Values:
    """Noise whose strength falls with its frequency, mean 0 and deviation 1."""
    square = np.fft.fftfreq(HEIGHT)[:, None] ** 2 + np.fft.rfftfreq(WIDTH)[None] ** 2
    square[0, 0] = 1
    waves = random.normal(size=square.shape) + 1j * random.normal(size=square.shape)
    waves /= square ** (power / 2)
    waves[0, 0] = 0
    values = np.fft.irfft2(waves, (HEIGHT, WIDTH))
    return values / values.std()


def ramp(random: Random, level: float, strength: float, is_round: bool) -> Values:
    """Light that falls off to one side, or from a point."""
    x, y = _ACROSS / WIDTH, _DOWN / WIDTH
    if is_round:
        return level + strength * np.hypot(x - random.random(), y - random.random())
    turn = random.uniform(0, 2 * np.pi)
    return level + strength * (np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.4))


def ground(random: Random, has_clouds: bool) -> Values:
    level, strength = random.uniform(30, 225), random.uniform(0, 170)
    kind = random.integers(5 if has_clouds else 4)
    if kind == 0:
        return np.full((HEIGHT, WIDTH), level)
    if kind == 4:
        return level + cloud(random, random.uniform(2.5, 4)) * random.uniform(5, 35)
    return ramp(random, level, float(random.choice([-1, 1])) * strength, kind == 2)


def place(random: Random) -> tuple[float, float]:
    return random.uniform(0.05, 0.95) * WIDTH, random.uniform(0.05, 0.95) * HEIGHT


def size(random: Random, least: float, most: float) -> float:
    return float(np.exp(random.uniform(np.log(least), np.log(most))))


def moved(points: Values, at: tuple[float, float], turn: float) -> Points:
    """Shape: points (2, n), around 0."""
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y = points
    return list(zip(at[0] + cosine * x - sine * y, at[1] + sine * x + cosine * y, strict=True))


def box(wide: float, high: float) -> Values:
    return np.array([[-wide, wide, wide, -wide], [-high, -high, high, high]])


def outline(random: Random, reach: float, is_smooth: bool) -> Values:
    """An oval, a smooth body, or a box, a bar, a polygon."""
    flat, kind = random.uniform(0.3, 1), random.integers(3 if is_smooth else 0, 6)
    if kind == 0:
        return box(reach, reach * flat)
    if kind == 1:
        return box(2 * reach, 0.08 * reach)
    if kind == 2:
        turns = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 8)))
        radii = random.uniform(0.4, 1, len(turns)) * reach
        return np.stack([radii * np.cos(turns), radii * np.sin(turns)])
    turns = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radii = np.ones(90)
    for wave in range(2, 2 + int(random.integers(0, 5)) if kind > 3 else 2):
        height = random.normal() * 0.35 / wave**1.3
        radii += height * np.cos(wave * turns + random.uniform(0, 2 * np.pi))
    radii = np.clip(radii, 0.25, 2) * reach
    return np.stack([radii * np.cos(turns), radii * flat * np.sin(turns)])


def shaded(random: Random, at: tuple[float, float], reach: float) -> Values:
    """What a body is filled with: flat, lit from a side, from a point, or with a highlight."""
    level, kind = random.uniform(10, 245), random.integers(4)
    x, y = (_ACROSS - at[0]) / reach, (_DOWN - at[1]) / reach
    if kind == 0:
        return np.full((HEIGHT, WIDTH), level)
    strength = random.uniform(20, 150) * float(random.choice([-1, 1]))
    if kind == 1:
        turn = random.uniform(0, 2 * np.pi)
        return level + strength * (np.cos(turn) * x + np.sin(turn) * y)
    away = np.hypot(x - random.uniform(-0.6, 0.6), y - random.uniform(-0.6, 0.6))
    if kind == 2:
        return level + strength * away
    return level + strength * np.exp(-((away / random.uniform(0.1, 0.5)) ** 2) / 2)


def bodies(random: Random, count_max: int, has_clouds: bool) -> Image.Image:
    """Some bodies, sharp or soft, on a ground; sometimes grainy."""
    page = page_of(ground(random, has_clouds))
    for _ in range(int(random.integers(random.integers(1, count_max + 1)) + 1)):
        at, reach = place(random), size(random, 8, 180)
        mask = Image.new("L", (WIDTH, HEIGHT))
        turn = random.uniform(0, 2 * np.pi)
        ImageDraw.Draw(mask).polygon(
            moved(outline(random, reach, not has_clouds), at, turn), fill=255
        )
        soft = size(random, 0.5, reach / 3 + 2) if random.random() < 0.5 else 0.6
        fill = ground(random, True) if has_clouds else shaded(random, at, reach)
        page.paste(page_of(fill), (0, 0), mask.filter(ImageFilter.GaussianBlur(soft)))
    return grainy(random, page) if random.random() < 0.4 else page


def grainy(random: Random, page: Image.Image) -> Image.Image:
    return page_of(
        np.asarray(page) + cloud(random, random.uniform(0.5, 2.5)) * size(random, 0.3, 4)
    )


def built(random: Random) -> Image.Image:
    """Boxes, roofs, stripes, windows, wheels, arcs and strokes."""
    page = page_of(ground(random, False))
    draw = ImageDraw.Draw(page)
    for _ in range(int(random.integers(1, 5))):
        _MADE[int(random.integers(len(_MADE)))](random, draw)
    if random.random() < 0.5:
        page = page.filter(ImageFilter.GaussianBlur(float(random.choice([0.7, 1, 2]))))
    return grainy(random, page) if random.random() < 0.25 else page


def grey(random: Random) -> int:
    return int(random.integers(256))


def turned(random: Random) -> float:
    return float(random.choice([0, 0, random.uniform(-0.2, 0.2), random.uniform(0, 2 * np.pi)]))


def windows(random: Random, draw: ImageDraw.ImageDraw) -> None:
    """A box of rows and columns of smaller ones; of a single row, stripes; or the box alone."""
    at, turn, reach = place(random), turned(random), size(random, 15, 170)
    high = reach * random.uniform(0.3, 1)
    draw.polygon(moved(box(reach, high), at, turn), fill=grey(random))
    columns, rows = (int(count) for count in random.integers(1, 7, 2))
    inner, share = grey(random), random.uniform(0.2, 0.9)
    for row in range(rows):
        for column in range(columns):
            left, top = 2 * reach * column / columns - reach, 2 * high * row / rows - high
            cell = box(reach * share / columns, high * (share if rows > 1 else 1) / rows)
            middle = np.array([[left + reach / columns], [top + high / rows]])
            draw.polygon(moved(cell + middle, at, turn), fill=inner)


def roof(random: Random, draw: ImageDraw.ImageDraw) -> None:
    reach = size(random, 15, 170)
    high = reach * random.uniform(0.3, 1)
    top = random.uniform(-0.6, 0.6) * reach
    corners = np.array([[-reach, reach, top], [high, high, -high]])
    draw.polygon(moved(corners, place(random), turned(random)), fill=grey(random))


def wheel(random: Random, draw: ImageDraw.ImageDraw) -> None:
    (x, y), reach = place(random), size(random, 15, 170)
    radius = reach
    for _ in range(int(random.integers(1, 5))):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=grey(random))
        radius *= random.uniform(0.4, 0.9)
    spokes, colour = int(random.choice([0, 0, 3, 5, 8])), grey(random)
    width = int(1 + reach * random.uniform(0.02, 0.12))
    for turn in np.linspace(0, 2 * np.pi, spokes, endpoint=False) + turned(random):
        end = x + reach * np.cos(turn), y + reach * np.sin(turn)
        draw.line((x, y, *end), fill=colour, width=width)


def arc(random: Random, draw: ImageDraw.ImageDraw) -> None:
    (x, y), reach = place(random), size(random, 15, 170)
    high = reach * random.uniform(0.3, 1)
    begin, length = random.uniform(0, 360, 2)
    width = int(1 + reach * random.uniform(0.05, 0.4))
    around = (x - reach, y - high, x + reach, y + high)
    draw.arc(around, begin, begin + length, fill=grey(random), width=width)


def stroke(random: Random, draw: ImageDraw.ImageDraw) -> None:
    points, reach = [place(random)], size(random, 15, 170)
    for turn in random.uniform(0, 2 * np.pi, random.integers(1, 5)):
        x, y = points[-1]
        points.append((x + reach * np.cos(turn), y + reach * np.sin(turn)))
    width = int(1 + reach * random.uniform(0.05, 0.4))
    draw.line(points, fill=grey(random), width=width, joint="curve")


def rounded(random: Random, draw: ImageDraw.ImageDraw) -> None:
    (x, y), reach = place(random), size(random, 15, 170)
    high = reach * random.uniform(0.3, 1)
    around = (x - reach, y - high, x + reach, y + high)
    draw.rounded_rectangle(around, int(high * random.uniform(0.1, 0.8)), fill=grey(random))


_MADE: tuple[Callable[[Random, ImageDraw.ImageDraw], None], ...] = (
    *(windows, windows, windows),
    *(roof, wheel, arc, stroke, rounded),
)
_PAGES: tuple[tuple[Callable[[Random], Image.Image], int], ...] = (
    (lambda random: bodies(random, 9, True), 7_000),
    (lambda random: bodies(random, 4, False), 8_000),
    (built, 8_000),
)


def page(kind: int, number: int) -> Image.Image:
    """The same page for the same numbers."""
    return _PAGES[kind][0](np.random.default_rng([kind, number]))


def patches_on(work: tuple[int, int]) -> Values:
    """Of a page, and of every second one's half of each side, as of a crop. Shape: (n, 32)."""
    kind, number = work
    whole = page(kind, number)
    found = [patches_of(for_patches(whole), 100, patch_kernel_of()).bits]
    if number % 2 == 0:
        x, y = (
            np.random.default_rng([9, kind, number]).random(2) * (WIDTH / 2, HEIGHT / 2)
        ).astype(int)
        part = whole.crop((int(x), int(y), int(x) + WIDTH // 2, int(y) + HEIGHT // 2))
        found.append(patches_of(for_patches(part), 60, patch_kernel_of()).bits)
    return np.concatenate(found)


def standing_for_most(patches: Values, kept: int) -> Values:
    """Shape: patches (n, 32), in a random order; at most `kept` of them."""
    leaders, counts, count = np.empty_like(patches), np.zeros(len(patches), np.int64), 0
    for at in range(0, len(patches), 256):
        first = count  # Of this block's own leaders.
        for patch in left_of(patches[at : at + 256], leaders[:first], counts):
            bits = apart(patch[None], leaders[first:count])[0]
            if len(bits) and bits.min() <= JOINED_BITS:
                counts[first + bits.argmin()] += 1
                continue
            leaders[count], counts[count] = patch, 1
            count += 1
    order = np.argsort(-counts[:count], kind="stable")
    return leaders[order[:kept]]


def left_of(patches: Values, leaders: Values, counts: Values) -> Values:
    """Those that join none of the leaders so far; the others are counted with theirs."""
    if not len(leaders):
        return patches
    bits = apart(patches, leaders)
    nearest = bits.argmin(axis=1)
    joins = bits[np.arange(len(patches)), nearest] <= JOINED_BITS
    np.add.at(counts, nearest[joins], 1)
    return patches[~joins]


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    works = [(kind, number) for kind, (_, count) in enumerate(_PAGES) for number in range(count)]
    with get_context("spawn").Pool() as pool:
        found = np.concatenate(pool.map(patches_on, works, chunksize=50))
    order = np.random.default_rng(3).permutation(len(found))
    table = standing_for_most(found[order], KEPT)
    out.write_bytes(table.tobytes())
    sys.stdout.write(f"{len(found)} patches on {len(works)} pages, {len(table)} kept: {out}\n")


if __name__ == "__main__":
    main()
