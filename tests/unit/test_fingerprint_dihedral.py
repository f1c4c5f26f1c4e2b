"""The eight variants against pictures that are really mirrored and turned."""

import numpy as np
import pytest
from PIL import Image

from accord.fingerprint.dihedral import Variant, bits_of, variants_of
from accord.fingerprint.pdq import Floats
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.types import distance_bits
from pictures_kit import picture
from reference_kit import reference_dir

KERNEL = kernel_of()
TURNED = {
    Variant.UPRIGHT: None,
    Variant.MIRRORED: Image.Transpose.FLIP_LEFT_RIGHT,
    Variant.FLIPPED: Image.Transpose.FLIP_TOP_BOTTOM,
    Variant.HALF_TURN: Image.Transpose.ROTATE_180,
    Variant.TRANSPOSED: Image.Transpose.TRANSPOSE,
    Variant.QUARTER_TURN: Image.Transpose.ROTATE_270,  # Pillow counts against the clock.
    Variant.THREE_QUARTER_TURN: Image.Transpose.ROTATE_90,
    Variant.TRANSVERSED: Image.Transpose.TRANSVERSE,
}


def frequencies_of(image: Image.Image) -> Floats:
    grey = np.asarray(image.convert("L"))[:, :, None]
    strips = [grey[top : top + 64] for top in range(0, len(grey), 64)]
    found = KERNEL.hashed(KERNEL.grid(strips, image.width, image.height)).frequencies
    assert found is not None
    return found


@pytest.mark.parametrize("variant", list(Variant))
def test_a_variant_is_the_fingerprint_of_the_turned_picture(variant: Variant) -> None:
    turn = TURNED[variant]
    for seed in range(3):
        image = picture(seed)
        there = frequencies_of(image if turn is None else image.transpose(turn))
        expected = bits_of(there[None]).tobytes()
        distances = [distance_bits(found, expected) for found in variants_of(frequencies_of(image))]
        assert distances[variant] <= 32
        assert min(d for v, d in enumerate(distances) if v != variant) > 60


def test_upright_is_pdq_itself() -> None:
    hashed = KERNEL.hashed(np.random.default_rng(3).random((64, 64), dtype=np.float32) * 255)
    assert hashed.frequencies is not None
    assert variants_of(hashed.frequencies)[Variant.UPRIGHT] == hashed.fingerprint.bits


def test_the_turned_samples_of_the_reference_are_found() -> None:
    folder = reference_dir("pdq", "dih")
    asked = variants_of(frequencies_of(Image.open(folder / "bridge-1-original.jpg")))
    found = set()
    for path in sorted(folder.glob("*.jpg")):
        listed = bits_of(frequencies_of(Image.open(path))[None]).tobytes()
        distances = [distance_bits(bits, listed) for bits in asked]
        assert min(distances) <= 20
        found.add(distances.index(min(distances)))
    assert found == set(Variant)
