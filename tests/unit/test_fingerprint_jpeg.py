"""The scaled decoding of a JPEG: when it answers, and how far from the exact path."""

import io
from statistics import median

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from accord.cli.bench.figures import quantile
from accord.cli.demo.pictures import PHOTOS
from accord.fingerprint import (
    Decoding,
    Examined,
    Fingerprinted,
    distance_bits,
    examine,
    fingerprint_bytes,
)
from accord.fingerprint.jpeg import Header, parse_header, scale_for
from accord.wire.limits import PDQ_DRIFT_MAX
from pictures_kit import FORMS, STORED_AS, encoded, oriented, picture
from reference_kit import reference_dir

PICTURE = picture(1, (640, 416))
PLAIN = encoded(PICTURE, "JPEG", quality=85)
FRAME = b"\xff\xc0"


def scaled(data: bytes) -> Examined:
    answer = examine(data, Decoding.SCALED)
    assert isinstance(answer, Examined), answer
    return answer


def drift_bits(data: bytes) -> int | None:
    """Bits between both paths; None where the exact one answered both times."""
    exact, fast = examine(data), scaled(data)
    assert isinstance(exact, Examined)
    assert fast.facts == exact.facts
    assert exact.is_exact
    if fast.is_exact:
        assert fast == exact
        return None
    (ours,), (theirs,) = fast.pdq, exact.pdq
    assert (ours.index, ours.time_ms) == (theirs.index, theirs.time_ms)
    assert abs(ours.quality - theirs.quality) <= 1
    return distance_bits(ours.bits, theirs.bits)


def check_drift(drifts: list[int]) -> None:
    assert median(drifts) == 0
    assert quantile(drifts, 0.95) <= 4
    assert max(drifts) <= PDQ_DRIFT_MAX


def test_photographs_drift_little_at_any_size_quality_and_sampling() -> None:
    drifts: list[int] = []
    for number, photo in enumerate(PHOTOS):
        with Image.open(io.BytesIO(photo.read())) as opened:
            image = opened.convert("RGB")
        for side in (200, 300, 512, 640, 800, 1100, 1632, 2100):
            height = side * image.height // image.width
            sized = image.resize((side, height), Image.Resampling.LANCZOS)
            options = {"quality": (40, 70, 85, 95)[(number + side) % 4], "subsampling": side % 3}
            found = drift_bits(encoded(sized, "JPEG", progressive=side % 2 == 1, **options))
            drifts += [] if found is None else [found]
    assert len(drifts) >= 50
    check_drift(drifts)


def test_reference_photographs_drift_little() -> None:
    files = sorted(reference_dir("photos").glob("*.jpg"))
    found = [drift_bits(file.read_bytes()) for file in files]
    drifts = [drift for drift in found if drift is not None]
    assert len(drifts) >= len(files) - 5
    check_drift(drifts)


def test_colours_beyond_what_a_screen_shows_drift_little() -> None:
    """Their luma is clipped differently in colour than in grey."""
    for seed in range(8):
        vivid = ImageEnhance.Color(picture(seed, (512, 384))).enhance(4)
        drift = drift_bits(encoded(vivid, "JPEG", quality=60))
        assert drift is not None
        assert drift <= PDQ_DRIFT_MAX


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_turned_picture_is_turned_in_the_grid(orientation: int) -> None:
    drift = drift_bits(oriented(PICTURE, orientation, "JPEG"))
    assert drift is not None
    assert drift <= 4
    assert scaled(oriented(PICTURE, orientation, "JPEG")).facts.width == PICTURE.width


def test_noise_is_left_to_the_exact_path() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    assert scaled(encoded(Image.fromarray(noise), "JPEG")).is_exact


def test_a_flat_picture_is_left_to_the_exact_path() -> None:
    faint = PICTURE.point(lambda value: 120 + value // 32)
    assert examine(encoded(faint, "JPEG"), Decoding.SCALED) == examine(encoded(faint, "JPEG"))


@pytest.mark.parametrize("form", FORMS)
def test_every_other_form_is_exact(form: str) -> None:
    is_small = form in ("jpeg", "jpeg progressive", "jpeg grey")
    answer = scaled(FORMS[form](picture(1, (384, 256))))
    assert answer.is_exact != is_small


def test_unusual_jpegs_are_exact() -> None:
    exact = [
        encoded(PICTURE, "JPEG", keep_rgb=True),
        encoded(PICTURE.convert("CMYK"), "JPEG"),
        encoded(PICTURE.resize((640, 70)), "JPEG"),
        encoded(PICTURE.resize((180, 120)), "JPEG"),
    ]
    for data in exact:
        assert scaled(data).is_exact
    with_others = encoded(PICTURE, "MPO", save_all=True, append_images=[picture(2)])
    assert scaled(with_others).is_exact  # Its other pictures are looked at as well.


def patched(marker: bytes, offset: int, value: int) -> bytes:
    at = PLAIN.index(marker) + 2 + offset
    return PLAIN[:at] + bytes((value,)) + PLAIN[at + 1 :]


def test_a_header_says_what_is_unusual() -> None:
    assert parse_header(PLAIN) == Header(640, 416, has_app1=False)
    turned = parse_header(oriented(PICTURE, 6, "JPEG"))
    assert turned is not None
    assert turned.has_app1
    at = PLAIN.index(FRAME)
    unusual = {
        "12 bits": patched(FRAME, 2, 12),
        "no lines yet": patched(FRAME, 3, 0)[: at + 6] + b"\0" + PLAIN[at + 7 :],
        "four components": patched(FRAME, 7, 4),
        "colours finer than luma": patched(FRAME, 12, 0x44),
        "components by other names": patched(b"\xff\xe0", 2, ord("X"))[:at]
        + patched(FRAME, 8, ord("R"))[at:],
        "lossless": PLAIN[:at] + b"\xff\xc3" + PLAIN[at + 2 :],
        "arithmetic": PLAIN[:at] + b"\xff\xc9" + PLAIN[at + 2 :],
        "two frames": PLAIN[:at] + PLAIN[at : at + 19] + PLAIN[at:],
        "adobe's RGB": PLAIN[:2] + b"\xff\xee\x00\x0eAdobe" + bytes(7) + PLAIN[2:],
        "no scan": PLAIN[: PLAIN.index(b"\xff\xda")],
        "nothing": b"",
    }
    assert unusual["no lines yet"][at + 5 : at + 7] == b"\0\0"
    for name, data in unusual.items():
        assert parse_header(data) is None, name


def test_a_cut_or_garbled_header_is_answered() -> None:
    end = PLAIN.index(b"\xff\xda") + 14
    for at in range(end):
        parse_header(PLAIN[:at])
        parse_header(PLAIN[:at] + b"\xff" + PLAIN[at + 1 : end])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_file_cut_anywhere_is_answered_as_by_the_exact_path(options: dict[str, bool]) -> None:
    data = encoded(picture(1, (256, 200)), "JPEG", **options)
    for at in [*range(2, len(data), max(1, len(data) // 50)), len(data) - 1]:
        exact, fast = fingerprint_bytes(data[:at]), fingerprint_bytes(data[:at], Decoding.SCALED)
        if isinstance(exact, Fingerprinted):
            assert isinstance(fast, Fingerprinted)
            assert distance_bits(fast.main.bits, exact.main.bits) <= PDQ_DRIFT_MAX
        else:
            assert fast == exact


def test_scans_that_are_missing_drift_little() -> None:
    """A progressive file may end early and whole: a decoder then smooths what it does not know."""
    data = encoded(PICTURE, "JPEG", quality=90, progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for at in scans[2:]:
        drift = drift_bits(data[:at] + b"\xff\xd9")
        assert drift is None or drift <= PDQ_DRIFT_MAX


def test_the_coarsest_scale_keeps_four_means_a_cell() -> None:
    sides = {(4000, 3000): 8, (1632, 1224): 4, (1024, 768): 2, (512, 384): 1, (2048, 3000): 8}
    for (width, height), scale in sides.items():
        assert scale_for(Header(width, height, has_app1=False)) == scale
    for width, height in ((191, 400), (4000, 400), (30_001, 8000), (9000, 9000)):
        assert scale_for(Header(width, height, has_app1=False)) is None
