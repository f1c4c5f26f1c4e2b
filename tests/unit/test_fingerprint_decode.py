import time
import zlib

import pytest
from PIL import Image, ImageCms, ImageDraw

from accord.fingerprint import (
    Fingerprinted,
    Unhashable,
    UnhashableCode,
    Unseen,
    distance_bits,
    fingerprint_bytes,
)
from accord.wire.limits import (
    IMAGE_BYTES_MAX,
    IMAGE_FRAMES_MAX,
    PDQ_QUALITY_MIN,
    PDQ_THRESHOLD_MAX,
)
from pictures_kit import ALTERATIONS, FORMS, STORED_AS, animation, encoded, oriented, picture

PICTURE = picture(1)


def found(data: bytes) -> Fingerprinted:
    answer = fingerprint_bytes(data)
    assert isinstance(answer, Fingerprinted), answer.code
    return answer


def refused(data: bytes) -> str:
    answer = fingerprint_bytes(data)
    assert isinstance(answer, Unhashable), answer.facts
    return answer.code.value


TWIN = found(encoded(PICTURE, "PNG")).main


def bits_off(data: bytes) -> int:
    return distance_bits(found(data).main.bits, TWIN.bits)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_matches_its_plain_twin(form: str) -> None:
    answer = found(FORMS[form](PICTURE))
    assert distance_bits(answer.main.bits, TWIN.bits) <= 10
    assert answer.main.quality >= PDQ_QUALITY_MIN
    assert answer.facts.format == form.split(maxsplit=1)[0]
    assert (answer.facts.width, answer.facts.height) == PICTURE.size
    assert len(answer.pdq) == answer.facts.frames == 1


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_every_orientation_equals_its_upright_twin(name: str, orientation: int) -> None:
    answer = found(oriented(PICTURE, orientation, name))
    assert distance_bits(answer.main.bits, TWIN.bits) <= (0 if name in ("PNG", "TIFF") else 4)
    assert (answer.facts.width, answer.facts.height) == PICTURE.size


def test_a_damaged_exif_block_does_not_hide_a_picture() -> None:
    assert bits_off(encoded(PICTURE, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")) == 0


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_what_people_do_to_a_picture_leaves_it_matching(alteration: str) -> None:
    assert bits_off(encoded(ALTERATIONS[alteration](PICTURE), "PNG")) <= PDQ_THRESHOLD_MAX


def test_other_pictures_do_not_match() -> None:
    answers = [found(encoded(picture(seed), "PNG")).main for seed in range(12)]
    assert all(a.quality >= PDQ_QUALITY_MIN for a in answers)
    pairs = [(a, b) for a in answers for b in answers if a is not b]
    assert min(distance_bits(a.bits, b.bits) for a, b in pairs) > 60


def test_a_large_picture_matches_its_small_twin() -> None:
    large = picture(1).resize((2400, 1560), Image.Resampling.BICUBIC)
    assert bits_off(encoded(large, "JPEG")) <= 20


def test_transparency_is_seen_on_white_and_on_black() -> None:
    mask = Image.new("L", PICTURE.size, 0)
    ImageDraw.Draw(mask).ellipse((40, 12, 270, 196), fill=255)
    round_picture = PICTURE.copy()
    round_picture.putalpha(mask)
    answer = found(encoded(round_picture, "PNG"))
    assert [(view.index, view.time_ms) for view in answer.pdq] == [(0, 0), (0, 0)]
    for view, colour in zip(answer.pdq, ("white", "black"), strict=True):
        flat = Image.new("RGB", PICTURE.size, colour)
        flat.paste(PICTURE, mask=mask)
        assert view.bits == found(encoded(flat, "PNG")).main.bits


def test_a_cmyk_picture_is_read_through_its_profile() -> None:
    # An sRGB profile does not fit four channels, nor does noise: both fall back to subtraction.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all"):
        assert bits_off(encoded(PICTURE.convert("CMYK"), "JPEG", icc_profile=profile)) <= 4


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_gives_every_frame_with_its_time(name: str) -> None:
    answer = found(animation([5, 6, 7], name, shown_ms=120))
    assert [(view.index, view.time_ms) for view in answer.pdq] == [(0, 0), (1, 120), (2, 240)]
    assert answer.facts.frames == 3
    for view, seed in zip(answer.pdq, (5, 6, 7), strict=True):
        alone = found(encoded(picture(seed, (240, 160)), "PNG")).main
        assert distance_bits(view.bits, alone.bits) <= 12


def test_a_long_animation_is_sampled_evenly_from_first_to_last() -> None:
    frames = [picture(seed % 7, (32, 32)) for seed in range(150)]
    options = {"save_all": True, "append_images": frames[1:], "duration": 10, "lossless": True}
    answer = found(encoded(frames[0], "WEBP", **options))
    indexes = [view.index for view in answer.pdq]
    assert indexes == [place * 149 // 63 for place in range(IMAGE_FRAMES_MAX)]
    assert answer.pdq[-1].time_ms == 1490


def test_content_decides_not_what_the_file_claims_to_be() -> None:
    assert refused(b"BM" + encoded(PICTURE, "PNG")[2:]) == "image.not_decodable"
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == "image.unknown_format"
    assert refused(encoded(PICTURE, "PPM")) == "image.unknown_format"


def test_nothing_and_too_much_are_refused_unread() -> None:
    assert refused(b"") == "image.empty"
    assert refused(encoded(PICTURE, "PNG") + bytes(IMAGE_BYTES_MAX)) == "image.too_large"


def test_a_flat_picture_has_digests_but_no_fingerprint() -> None:
    answer = fingerprint_bytes(encoded(Image.new("RGB", (200, 200), "grey"), "PNG"))
    assert isinstance(answer, Unhashable)
    assert answer.code == UnhashableCode.TOO_FLAT
    assert answer.digests is not None


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3, 2)])
def test_tiny_pictures_are_answered(size: tuple[int, int]) -> None:
    assert refused(encoded(Image.new("RGB", size), "PNG")) == "image.too_flat"


def bomb(width: int, height: int) -> bytes:
    """A 1-bit PNG of any size in a few KB, made without ever holding its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return len(body).to_bytes(4, "big") + kind + body + check.to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(13_000, 13_000), (60_000, 500), (500, 60_000), (8_000, 7_000)])
def test_a_bomb_is_refused_from_its_header(size: tuple[int, int]) -> None:
    data = bomb(*size)
    assert len(data) < 60_000
    started = time.process_time()
    assert refused(data) == "image.too_large"
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "bmp", "tiff lzw", "avif", "heif", "gif"])
def test_a_file_cut_anywhere_is_no_fingerprint_or_the_whole_one(form: str) -> None:
    data = FORMS[form](picture(1, (96, 64)))
    whole = found(data).pdq
    for at in [*range(1, 40), *range(40, len(data), max(1, len(data) // 60))]:
        answer = fingerprint_bytes(data[:at])
        if isinstance(answer, Fingerprinted):  # Only what follows the last pixel was cut.
            assert answer.pdq == whole
            assert at > len(data) - 64
        else:
            assert answer.code in ("image.truncated", "image.not_decodable", "image.unknown_format")
    if form != "tiff lzw":  # A TIFF's parts may lie in any order: nothing says where it ends.
        assert refused(data[: len(data) // 2]) == "image.truncated"


def test_an_animation_with_a_broken_later_frame_is_no_fingerprint() -> None:
    data = animation([1, 2, 3], "PNG")
    last = data.rindex(b"fdAT")
    assert refused(data[: last + 40]) == "image.truncated"


def test_a_second_picture_in_a_jpeg_or_tiff_is_a_view_and_no_frame() -> None:
    options = {"save_all": True, "append_images": [picture(2)]}
    for name, form in (("TIFF", "tiff"), ("MPO", "jpeg")):
        answer = found(encoded(PICTURE, name, **options))
        assert (answer.facts.format, answer.facts.frames, len(answer.pdq)) == (form, 1, 2)
        assert distance_bits(answer.main.bits, TWIN.bits) <= 4


def test_the_track_of_a_heif_is_unseen() -> None:
    plain = encoded(PICTURE, "HEIF")
    answer = found(plain + (8).to_bytes(4, "big") + b"moov")
    assert answer.main == found(plain).main
    assert answer.unseen == Unseen(UnhashableCode.NOT_DECODABLE)
    assert found(plain).unseen is None
    film = found(encoded(PICTURE, "AVIF", save_all=True, append_images=[picture(2)], speed=9))
    assert film.unseen is None


def test_jpeg_2000_has_a_limit_of_its_own() -> None:
    for width, height, code in ((5_001, 4_000, "too_large"), (5_000, 4_000, "not_decodable")):
        data = bytearray(encoded(picture(1, (64, 64)), "JPEG2000"))
        for at in (data.index(b"ihdr") + 4, data.index(b"\xff\x51") + 6):
            sides = (height, width) if data[at - 4 : at] == b"ihdr" else (width, height)
            data[at : at + 8] = b"".join(side.to_bytes(4, "big") for side in sides)
        assert refused(bytes(data)) == f"image.{code}"


def test_a_jpeg_2000_without_one_of_its_tiles_is_no_fingerprint() -> None:
    for options in ({}, {"tile_size": (64, 64)}, {"tile_size": (100, 90), "no_jp2": True}):
        data = encoded(PICTURE, "JPEG2000", **options)
        assert bits_off(data) == 0
        at = data.index(b"\xff\x90")
        assert refused(data[:at] + data[at + int.from_bytes(data[at + 6 : at + 10], "big") :])
