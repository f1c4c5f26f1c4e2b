import bz2
import gzip
import lzma
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from accord.fingerprint import (
    Decoding,
    Examined,
    UnhashableCode,
    Unseen,
    distance_bits,
    examine,
)
from accord.fingerprint.types import VIEWS_MAX
from accord.wire.limits import ARCHIVE_BYTES_MAX, ARCHIVE_MEMBERS_MAX, IMAGE_FRAMES_MAX
from archives_kit import mended_7z, seven_zipped, tarred, zipped
from pictures_kit import encoded, oriented, picture
from video_kit import film, walk

PICTURES = [encoded(picture(seed), "PNG") for seed in (1, 2, 3)]
ODDITY = b"nothing that is read here"


def seen(data: bytes, decoding: Decoding = Decoding.EXACT) -> Examined:
    answer = examine(data, decoding)
    assert isinstance(answer, Examined), answer
    return answer


TWINS = [seen(data).pdq[0].bits for data in PICTURES]
FILM = film(walk(1, 8))
SHOWN = [view.bits for view in seen(FILM).pdq]


ARCHIVES: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "zip": zipped,
    "zip stored": lambda files: zipped(files, method=zipfile.ZIP_STORED),
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files)),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
    "tar.xz": lambda files: lzma.compress(tarred(files)),
    "7z": seven_zipped,
    "7z in a zip": lambda files: zipped([seven_zipped(files)]),
    "zip in a tar": lambda files: tarred([zipped(files)]),
}


def encrypted(files: Sequence[bytes]) -> bytes:
    """A zip that says of its first member that it is encrypted."""
    data = bytearray(zipped(files))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_picture_in_an_archive_is_seen_under_its_number(name: str) -> None:
    answer = seen(ARCHIVES[name](PICTURES))
    first = answer.pdq[0].member
    assert [view.bits for view in answer.pdq] == TWINS
    assert [view.member for view in answer.pdq] == [first, first + 1, first + 2]
    assert (answer.facts.format, answer.unseen) == ("archive", None)


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_is_no_picture_is_named_beside_those_that_are(name: str) -> None:
    answer = seen(ARCHIVES[name]([PICTURES[0], ODDITY, PICTURES[1]]))
    assert [view.bits for view in answer.pdq] == TWINS[:2]
    number = answer.pdq[0].member + 1
    assert answer.unseen == Unseen(UnhashableCode.UNKNOWN_FORMAT, number)
    assert answer.pdq[1].member == number + 1


def test_an_encrypted_member_is_undetermined_and_the_others_are_seen() -> None:
    answer = seen(encrypted(PICTURES))
    assert answer.unseen == Unseen(UnhashableCode.ARCHIVE_ENCRYPTED, 1)
    assert [view.bits for view in answer.pdq] == TWINS[1:]
    assert examine(encrypted(PICTURES[:1])) is UnhashableCode.ARCHIVE_ENCRYPTED


def test_an_office_document_is_its_pictures() -> None:
    parts = {
        "[Content_Types].xml": b"<?xml version='1.0'?><Types/>",
        "word/document.xml": b"\xef\xbb\xbf<?xml version='1.0'?><w/>",
        "word/media/image1.png": PICTURES[0],
    }
    answer = seen(zipped(list(parts.values()), list(parts)))
    assert [(view.member, view.bits) for view in answer.pdq] == [(3, TWINS[0])]
    assert answer.unseen is None
    del parts["word/media/image1.png"]
    assert examine(zipped(list(parts.values()), list(parts))) == "archive.no_pictures"
    # A plain archive's mark-up may be a drawing: it is nothing that was looked at.
    assert seen(zipped([b"<svg/>", PICTURES[0]])).unseen is not None


@pytest.mark.parametrize(
    "start",
    [b"Rar!\x1a\x07\x00", b"%PDF-1.7", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"],
)
def test_what_is_not_opened_says_so_alone_and_in_an_archive(start: bytes) -> None:
    data = start + bytes(600)
    assert examine(data) is UnhashableCode.ARCHIVE_NOT_READABLE
    unseen = seen(zipped([PICTURES[0], data])).unseen
    assert unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE, 2)


def test_archives_in_archives_end_at_a_depth() -> None:
    data = PICTURES[0]
    for _ in range(4):
        data = zipped([data])
    assert [view.bits for view in seen(data).pdq] == TWINS[:1]
    assert examine(zipped([data])) is UnhashableCode.ARCHIVE_TOO_LARGE


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda d: zipped([d])]
)
def test_a_bomb_is_unpacked_to_a_limit(pack: Callable[[bytes], bytes]) -> None:
    assert examine(pack(bytes(ARCHIVE_BYTES_MAX + 1))) is UnhashableCode.ARCHIVE_TOO_LARGE


def test_members_bytes_and_pictures_are_counted_over_the_whole_upload() -> None:
    assert examine(zipped([b""] * (ARCHIVE_MEMBERS_MAX + 1))) is UnhashableCode.ARCHIVE_TOO_LARGE
    assert examine(tarred([b""] * (ARCHIVE_MEMBERS_MAX + 1))) is UnhashableCode.ARCHIVE_TOO_LARGE
    padded = [PICTURES[0] + bytes(40_000_000) for _ in range(3)]
    large = seen(zipped([zipped([data]) for data in padded]))
    assert [view.bits for view in large.pdq] == TWINS[:1] * 2
    assert large.unseen == Unseen(UnhashableCode.ARCHIVE_TOO_LARGE, 6)
    small = encoded(picture(1, (48, 48)), "PNG")
    many = seen(zipped([small] * (VIEWS_MAX + 2)))
    assert len(many.pdq) == VIEWS_MAX
    assert many.unseen == Unseen(UnhashableCode.ARCHIVE_TOO_LARGE, VIEWS_MAX + 1)


def test_notes_of_a_mac_and_empty_files_are_passed_over() -> None:
    note = b"\x00\x05\x16\x07" + bytes(200)
    assert seen(zipped([note, b"", PICTURES[0]])).unseen is None
    assert seen(zipped([note + bytes(5_000), PICTURES[0]])).unseen is not None


@pytest.mark.parametrize("name", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "7z"])
def test_damage_is_answered_and_never_hides_a_member(name: str) -> None:
    chance = random.Random(name)
    small = [encoded(picture(seed, (64, 48)), "PNG") for seed in (1, 2)]
    whole = ARCHIVES[name](small)
    twins = [seen(data).pdq[0].bits for data in small]
    for _ in range(150):
        data = bytearray(whole)
        match chance.randrange(3):
            case 0:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                del data[chance.randrange(1, len(data)) :]
            case _:
                at = chance.randrange(len(data))
                data[at : at + 4] = b"\xff\xff\xff\xff"
        answer = examine(mended_7z(bytes(data)) if name == "7z" else bytes(data))
        if name in ("zip", "7z") and isinstance(answer, Examined) and answer.unseen is None:
            assert [view.bits for view in answer.pdq] == twins


def test_a_picture_that_is_an_archive_too_is_both() -> None:
    for front in (encoded(picture(5), "JPEG"), PICTURES[2]):
        data = front + zipped(PICTURES[:2])
        for decoding in Decoding:
            answer = seen(data, decoding)
            assert [view.member for view in answer.pdq] == [0, 1, 2]
            assert [view.bits for view in answer.pdq[1:]] == TWINS[:2]
            assert answer.facts.format != "archive"
    hidden = seen(zipped([PICTURES[2] + zipped(PICTURES[:1])], method=zipfile.ZIP_STORED))
    assert [(view.member, view.bits) for view in hidden.pdq] == [(1, TWINS[2]), (2, TWINS[0])]
    assert hidden.unseen is None


@pytest.mark.parametrize(
    "front", [encoded(picture(5), "JPEG"), PICTURES[2], FILM], ids=["jpeg", "png", "film"]
)
@pytest.mark.parametrize("decoding", Decoding)
def test_an_archive_behind_a_picture_or_a_film_is_found_by_its_own_beginning(
    front: bytes, decoding: Decoding
) -> None:
    behind = seen(front + seven_zipped(PICTURES[:2]) + b"\xff\xd9", decoding)
    assert [view.bits for view in behind.pdq if view.member] == TWINS[:2]
    assert behind.unseen is None
    closed = seen(front + b"Rar!\x1a\x07\x01\x00" + bytes(600), decoding)
    assert closed.unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE, 0)
    assert {view.member for view in closed.pdq} == {0}


@pytest.mark.parametrize(
    ("form", "between"),
    [
        ("JPEG", b""),
        ("JPEG", b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data"),
        ("HEIF", (len(FILM) + 8).to_bytes(4) + b"mpvd"),
    ],
    ids=["bare", "after a trailer", "in a box"],
)
def test_the_film_of_a_motion_photo_is_seen(form: str, between: bytes) -> None:
    photo = encoded(picture(1), form)
    data = photo + between + FILM
    for decoding in (Decoding.SCALED, Decoding.EXACT):
        answer = seen(data, decoding)
        assert answer.pdq[0].bits == seen(photo).pdq[0].bits
        assert [view.bits for view in answer.pdq if view.member == 1] == SHOWN
        assert answer.unseen is None
    assert [view.member for view in seen(zipped([PICTURES[0], data])).pdq[:3]] == [1, 2, 3]


@pytest.mark.parametrize(
    "decoding", [Decoding.LISTING, Decoding.LISTING_LARGE, Decoding.LISTING_BARE]
)
def test_a_motion_photo_is_listed_as_its_photograph(decoding: Decoding) -> None:
    photo = encoded(picture(1), "JPEG")
    assert seen(photo + FILM, decoding) == seen(photo, decoding)


def test_what_only_looks_like_a_film_behind_a_picture_is_none() -> None:
    for chance in (b"\0\0\0\x18ftyp\0\0\0\0", b"\x07\0\0\x18ftypisom", b"\0\0\0\x18ftypheic"):
        assert seen(PICTURES[0] + chance + bytes(600)).unseen is None
    many = seen(PICTURES[0] + 200 * b"\0\0\0\x18ftypheic" + FILM)
    assert many.unseen == Unseen(UnhashableCode.NOT_DECODABLE, 1), "not looked at to the end"
    cut = seen(PICTURES[0] + FILM[:200])
    assert cut.unseen is not None
    assert cut.unseen.member == 1


@pytest.mark.parametrize("decoding", Decoding)
@pytest.mark.parametrize("form", ["MPO", "one after the other"])
def test_a_jpegs_other_pictures_are_seen(form: str, decoding: Decoding) -> None:
    first, second = (encoded(picture(seed, (240, 240)), "JPEG") for seed in (1, 2))
    data = first + second
    if form == "MPO":
        other = picture(2, (240, 240))
        data = encoded(picture(1, (240, 240)), "MPO", save_all=True, append_images=[other])
    answer = seen(data, decoding)
    assert [view.index for view in answer.pdq] == [0, 1]
    assert distance_bits(answer.pdq[0].bits, seen(first).pdq[0].bits) <= 10
    assert distance_bits(answer.pdq[1].bits, seen(second).pdq[0].bits) <= 10
    cut = examine(data[:-2000], decoding)
    assert isinstance(cut, Examined)
    assert cut.unseen == Unseen(UnhashableCode.NOT_DECODABLE)


@pytest.mark.parametrize("decoding", Decoding)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_thumbnail_of_something_else_is_a_view(orientation: int, decoding: Decoding) -> None:
    def with_thumbnail(seed: int) -> bytes:
        plain = oriented(picture(1, (400, 300)), orientation, "JPEG")
        small = picture(seed, (400, 300)).resize((160, 120))
        thumbnail = oriented(small, orientation, "JPEG")
        # Whole JPEG data at the end of the EXIF block, where cameras write it.
        size = int.from_bytes(plain[plain.index(b"\xff\xe1") + 2 :][:2], "big")
        end = plain.index(b"\xff\xe1") + 2 + size
        head = plain[: plain.index(b"\xff\xe1") + 2]
        block = plain[len(head) + 2 : end] + thumbnail
        return head + (len(block) + 2).to_bytes(2, "big") + block + plain[end:]

    own, other = seen(with_thumbnail(1), decoding), seen(with_thumbnail(2), decoding)
    assert [view.index for view in own.pdq] == [0]
    assert [view.index for view in other.pdq] == [0, 1]
    alone = seen(encoded(picture(2, (400, 300)), "PNG")).pdq[0].bits
    assert distance_bits(other.pdq[1].bits, alone) <= 24


def test_every_page_of_a_tiff_is_seen_up_to_a_limit() -> None:
    pages = [picture(seed, (96, 64)) for seed in range(5)]
    for compression in ("raw", "tiff_lzw", "jpeg"):
        data = encoded(
            pages[0].copy(),
            "TIFF",
            save_all=True,
            append_images=[page.copy() for page in pages[1:]],
            compression=compression,
        )
        answer = seen(data)
        assert [view.index for view in answer.pdq] == [0, 1, 2, 3, 4]
        for view, page in zip(answer.pdq, pages, strict=True):
            assert distance_bits(view.bits, seen(encoded(page, "PNG")).pdq[0].bits) <= 8
    many = [Image.new("L", (8, 8))] * IMAGE_FRAMES_MAX
    assert (
        examine(encoded(pages[0], "TIFF", save_all=True, append_images=many)) == "image.too_large"
    )


def test_every_picture_of_an_icon_is_seen() -> None:
    large, small = picture(1, (128, 128)), picture(2, (64, 64))
    for form in ("png", "bmp"):
        data = encoded(
            large, "ICO", sizes=[(128, 128), (64, 64)], append_images=[small], bitmap_format=form
        )
        answer = seen(data)
        assert (answer.facts.format, answer.facts.width, answer.facts.frames) == ("ico", 128, 1)
        twins = [seen(encoded(p, "PNG")).pdq[0].bits for p in (large, small)]
        assert [view.index for view in answer.pdq if view.bits in twins] == [0, 1]


MADE_BY_7_ZIP = sorted((Path(__file__).parents[1] / "seeds" / "seven_zip").glob("*.7z"))
NOT_READ = {
    "bcj2": UnhashableCode.ARCHIVE_NOT_READABLE,
    "ppmd": UnhashableCode.ARCHIVE_NOT_READABLE,
    "locked": UnhashableCode.ARCHIVE_ENCRYPTED,
    "locked-names": UnhashableCode.ARCHIVE_ENCRYPTED,
}


@pytest.mark.parametrize("path", MADE_BY_7_ZIP, ids=lambda path: path.stem)
def test_what_7_zip_packed_is_read_or_says_why_not(path: Path) -> None:
    """Made by 7-Zip 26.02: pictures 1 to 3 as JPEG of quality 60, 64 by 48, and an empty file."""
    data = path.read_bytes()
    if path.stem in NOT_READ:
        assert examine(data) is NOT_READ[path.stem]
        return
    answer = seen(data)
    assert [view.member for view in answer.pdq] == [1, 2, 3]
    assert answer.unseen is None
    for seed, view in enumerate(answer.pdq, 1):
        twin = seen(encoded(picture(seed, (64, 48)), "JPEG", quality=60)).pdq[0].bits
        assert distance_bits(view.bits, twin) <= 4
    for at in range(32, len(data), 61):
        cut = examine(data[:at])
        assert isinstance(cut, UnhashableCode) or cut.unseen is not None


def test_a_7z_whose_file_is_not_what_was_packed_is_not_read() -> None:
    data = bytearray(seven_zipped(PICTURES[:2]))
    crc = data.rindex(b"\x0a\x01") + 2
    data[crc] ^= 1
    answer = seen(mended_7z(bytes(data)))
    assert answer.unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE, 1)
    assert [view.bits for view in answer.pdq] == TWINS[1:2]


def test_a_7z_with_too_much_in_it_ends_at_a_limit() -> None:
    small = [b"nothing"] * (ARCHIVE_MEMBERS_MAX + 1)
    assert examine(seven_zipped(small)) is UnhashableCode.ARCHIVE_TOO_LARGE
    large = seven_zipped([PICTURES[0], bytes(ARCHIVE_BYTES_MAX)])
    answer = seen(large)
    assert [view.bits for view in answer.pdq] == TWINS[:1]
    assert answer.unseen == Unseen(UnhashableCode.ARCHIVE_TOO_LARGE, 2)


def test_what_an_archive_holds_is_decoded_exactly_whatever_was_asked() -> None:
    large = encoded(picture(4, (900, 700)), "JPEG", quality=40)
    scaled = seen(large, Decoding.SCALED)
    assert not scaled.is_exact
    assert scaled.pdq[0].bits != seen(large).pdq[0].bits  # Else nothing would be shown here.
    for data in (zipped([large]), large + zipped(PICTURES[:1])):
        assert seen(data, Decoding.SCALED) == seen(data)
