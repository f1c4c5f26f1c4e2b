"""PDQ against the reference implementation's own pictures and values (facebook/ThreatExchange)."""

import json
from pathlib import Path

import pytest

from accord.fingerprint import Fingerprinted, Unhashable, distance_bits, fingerprint_bytes
from reference_kit import reference_dir

OWN_DECODER_BITS = 10  # To the C++ reference, at quality 80 and more.
PYTHON_REFERENCE_BITS = 16  # To the Python reference, whose own values lie that far from C++.
SAME_PICTURE_BITS = 31


def found(path: Path) -> Fingerprinted:
    answer = fingerprint_bytes(path.read_bytes())
    assert isinstance(answer, Fingerprinted), answer.code
    return answer


def cpp_values(folder: Path) -> dict[str, bytes]:
    rows = (folder / "PDQMD5TestData.csv").read_text().splitlines()[1:]
    split = [row.split(",") for row in rows]
    return {
        name.split("data/")[1]: bytes.fromhex(value) for name, value in split if "data/" in name
    }


def test_the_python_references_values_are_met() -> None:
    folder = reference_dir("pdq")
    expected = json.loads((folder / "expected.json").read_text())["expected"]
    met = 0
    for name, value in expected.items():
        answer = fingerprint_bytes((folder / name).read_bytes())
        if isinstance(answer, Unhashable):
            assert answer.code == "image.too_flat"  # Three of them have a quality below 5.
            continue
        assert answer.main.quality >= 80
        assert distance_bits(answer.main.bits, bytes.fromhex(value)) <= PYTHON_REFERENCE_BITS
        met += 1
    assert met == len(expected) - 3


def test_the_cpp_references_values_are_met() -> None:
    folder = reference_dir("pdq")
    for name, value in cpp_values(folder).items():
        answer = fingerprint_bytes((folder / name).read_bytes())
        if isinstance(answer, Fingerprinted):
            assert distance_bits(answer.main.bits, value) <= OWN_DECODER_BITS


def test_pictures_of_1024_or_less_are_exact() -> None:
    folder = reference_dir("pdq")
    values = cpp_values(folder)
    for name in ("shrink-a-lot", "square-128x128", "square-256x256", "square-512x512"):
        answer = found(folder / "bridge-mods" / f"{name}.jpg")
        assert answer.main.bits == values[f"bridge-mods/{name}.jpg"]


def test_all_colour_modes_of_one_picture_match_one_another() -> None:
    files = sorted(reference_dir("pdq", "misc-images", "modes").glob("*.*g")) + sorted(
        reference_dir("pdq", "misc-images", "modes").glob("*.webp")
    )
    assert len(files) == 14
    bits = [found(file).main.bits for file in files]
    assert max(distance_bits(a, b) for a in bits for b in bits) <= SAME_PICTURE_BITS


@pytest.mark.parametrize("other", ["bridge-mods", "dih"])
def test_alterations_match_and_turned_pictures_do_not(other: str) -> None:
    """PDQ itself is not blind to turns; looking in eight directions is the matcher's work."""
    folder = reference_dir("pdq")
    original = found(folder / "bridge-mods" / "aaa-orig.jpg").main.bits
    for file in sorted((folder / other).glob("*.jpg")):
        near = distance_bits(found(file).main.bits, original) <= SAME_PICTURE_BITS
        assert near == (other == "bridge-mods" or file.name.startswith("bridge-1"))
