"""Inner pictures are found where apps put them; where there is none, nothing much is proposed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from accord.cli.bench.robustness_alterations import Alter, Picture
from accord.cli.bench.robustness_drawn import border, letterbox, meme_bar, screenshot, story
from accord.cli.demo.pictures import CAT, COFFEE, Photo
from accord.fingerprint.frames import BOXES_MAX, boxes_of
from accord.fingerprint.ladder import Step, asked_of
from accord.fingerprint.rehearsal import distances
from pictures_kit import encoded, opened, picture

FRAMES = {
    "border": border,
    "letterbox": letterbox,
    "story": story,
    "meme bar": meme_bar,
    "light": screenshot("light"),
    "dark": screenshot("dark"),
    "chat": screenshot("chat"),
}


def nearest_bits(framed: Picture, whole: Picture) -> int:
    asked = asked_of(opened(encoded(framed, "JPEG", quality=85)), frozenset({Step.FRAME}))
    listed = asked_of(whole, frozenset({Step.FULL})).full[:1]
    return int(distances(asked.frames, listed).min(initial=256))


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("photo", [CAT, COFFEE], ids=lambda photo: photo.name)
def test_an_inner_picture_is_found(name: str, photo: Photo) -> None:
    alter: Alter = FRAMES[name]
    whole = opened(photo.read())
    for seed in range(2):
        assert nearest_bits(alter(whole, np.random.default_rng(seed)), whole) <= 36


def test_a_mirrored_inner_picture_is_found() -> None:
    whole = opened(CAT.read())
    inner = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert nearest_bits(border(inner, np.random.default_rng(1)), whole) <= 36


def test_proposals_are_few_and_inside() -> None:
    for seed in range(6):
        grey = np.asarray(picture(seed).convert("L"))
        boxes = boxes_of(grey)
        assert len(boxes) <= BOXES_MAX
        for box in boxes:
            assert 0 <= box.left < box.right <= grey.shape[1]
            assert 0 <= box.top < box.bottom <= grey.shape[0]
            assert 0 < box.area < grey.size


@pytest.mark.parametrize("size", [(1, 1), (47, 300), (48, 48), (512, 512)])
def test_where_there_is_nothing_nothing_is_proposed(size: tuple[int, int]) -> None:
    assert boxes_of(np.full(size, 90, dtype=np.uint8)) == ()


def test_a_plain_inside_asks_nothing() -> None:
    """A rectangle in which there is nothing to see is found, and gives no fingerprint."""
    page = Image.new("RGB", (600, 600), "white")
    ImageDraw.Draw(page).rectangle((100, 150, 500, 450), fill="#405060")
    assert boxes_of(np.asarray(page.convert("L").resize((512, 512))))
    assert not len(asked_of(page, frozenset({Step.FRAME})).frames)
