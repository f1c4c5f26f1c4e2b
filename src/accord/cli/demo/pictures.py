"""The photographs of the demo, and what people do to photographs.

All are benign and show no people. They ship inside the scikit-image package, so nothing is
downloaded. Source: https://scikit-image.org/docs/stable/api/skimage.data.html, whose pages name
author and licence of each.
"""

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from accord.wire.errors import Malformed


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph and its provenance."""

    name: str
    file: str
    title: str
    credit: str

    def read(self) -> bytes:
        """The file's bytes. Raises: Malformed if the package or its photograph is not there."""
        try:
            return (_folder() / self.file).read_bytes()
        except OSError as err:
            raise _no_photographs() from err


COFFEE: Final = Photo("coffee", "coffee.png", "A cup of coffee", "Rachel Michetti, CC0")
ROCKET: Final = Photo(
    "rocket", "rocket.jpg", "A rocket on its pad at night", "SpaceX, public domain"
)
GALAXIES: Final = Photo(
    "galaxies",
    "hubble_deep_field.jpg",
    "Galaxies, Hubble eXtreme Deep Field",
    "NASA, public domain",
)
GRASS: Final = Photo("grass", "grass.png", "A lawn", "CC0")
GRAVEL: Final = Photo("gravel", "gravel.png", "Gravel", "CC0")
CAT: Final = Photo("cat", "chelsea.png", "Chelsea the cat", "Stefan van der Walt, CC0")
BRICK: Final = Photo("brick", "brick.png", "A brick wall", "CC0")
PHOTOS: Final = (COFFEE, ROCKET, GALAXIES, GRASS, GRAVEL, CAT, BRICK)


def _folder() -> Path:
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise _no_photographs()
    return Path(found.submodule_search_locations[0]) / "data"


def _no_photographs() -> Malformed:
    mend = "make setup, or install scikit-image, whose photographs the demo shows"
    return Malformed("demo.no_photographs", mend=mend)


def altered(raw: bytes) -> dict[str, bytes]:
    """The same picture as people pass it on. Shape: what was done -> JPEG bytes."""
    with Image.open(io.BytesIO(raw)) as opened:
        image = opened.convert("RGB")
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    overlay = image.copy()
    draw = ImageDraw.Draw(overlay)
    font = ImageFont.load_default(size=max(12, image.height // 24))
    draw.text((image.width // 40, image.height // 40), "lol", fill="white", font=font)
    return {
        "resized to 50 %": _jpeg(half, 90),
        "JPEG quality 50": _jpeg(image, 50),
        "brightened": _jpeg(ImageEnhance.Brightness(image).enhance(1.25), 90),
        "small text on it": _jpeg(overlay, 90),
    }


def taken_apart(raw: bytes) -> dict[str, bytes]:
    """Copies that no fingerprint of the whole picture meets. Shape: as `altered`."""
    with Image.open(io.BytesIO(raw)) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    part = image.crop((width * 3 // 10, height // 5, width * 9 // 10, height * 4 // 5))
    return {
        "mirrored": _jpeg(ImageOps.mirror(image), 90),
        "in a white border": _jpeg(ImageOps.expand(image, width // 8, "white"), 90),
        "cut to 60 % of each side": _jpeg(part, 90),
    }


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def credits_text() -> str:
    """Provenance of every photograph, a line each."""
    return "\n".join(f"{photo.title}: {photo.credit}" for photo in PHOTOS)
