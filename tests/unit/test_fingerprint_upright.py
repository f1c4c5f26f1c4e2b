import numpy as np
import pdqhash
import pytest
from PIL import Image

from accord.fingerprint.looking import Looking
from accord.fingerprint.pixels import fingerprints_of, pdq_of
from accord.fingerprint.upright import TURNS, upright_size, upright_strips
from pictures_kit import STORED_AS, picture

PICTURE = picture(1, (211, 149))


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_strips_are_the_turned_picture(orientation: int, mode: str) -> None:
    stored = PICTURE.convert(mode)
    turn = TURNS.get(orientation)
    wanted = np.asarray(stored if turn is None else stored.transpose(turn))
    strips = list(upright_strips(stored, orientation))
    assert {len(strip) for strip in strips[:-1]} == {64}
    seen = np.concatenate(strips)
    assert seen.shape[1::-1] == upright_size(stored, orientation)
    assert (seen[:, :, : len(stored.getbands())].squeeze() == wanted[: len(seen)]).all()


def test_a_view_outlives_its_picture() -> None:
    strips = list(upright_strips(PICTURE.copy(), 1))
    wanted = np.asarray(PICTURE)
    for _ in range(50):
        PICTURE.copy()  # Writes over what was given back.
    assert (np.concatenate(strips)[:, :, :3] == wanted).all()


@pytest.mark.parametrize("size", [(2500, 1800), (1025, 40), (5, 3000)])
def test_a_picture_of_any_size_has_the_references_bits(size: tuple[int, int]) -> None:
    """Beyond 16 MB the decoder's memory is in pieces; then strips are cut out."""
    large = picture(2, (400, 300)).resize(size)
    bits, quality = pdqhash.compute(np.asarray(large))
    found = pdq_of(large)
    assert (found.bits, found.quality) == (np.packbits(bits.astype("u1")).tobytes(), quality)
    assert pdq_of(large.convert("RGBA")) == found


def test_opaque_pictures_are_looked_at_whole_with_alpha_or_without() -> None:
    large = picture(2, (400, 300)).resize((1500, 1100), Image.Resampling.BICUBIC)
    opaque, pierced = large.convert("RGBA"), large.convert("RGBA")
    pierced.putpixel((0, 0), (0, 0, 0, 254))
    shown = fingerprints_of(large, Looking())
    assert fingerprints_of(opaque, Looking()) == shown
    assert fingerprints_of(pierced, Looking()) != shown  # Brought to 1,024 first.
