"""Pictures in PDFs, however a page shows them. What is drawn here is made up (`pdf_kit`)."""

import random
import zlib

import pytest
from fpdf import FPDF

from accord.fingerprint import Examined, UnhashableCode, Unseen, distance_bits, examine
from accord.fingerprint.pdf_measure import coded_size, pieces_together, unpacks_beyond
from accord.media import DecoderPool
from accord.wire.limits import PDF_DRAWN_MAX, PDF_PAGES_MAX
from archives_kit import zipped
from fuzz_documents import attaching, small_pdf, zeros
from pdf_kit import HELVETICA, RGB, TEXT, WAYS, WHOLE, cut, image, pages, shown
from pictures_kit import encoded, picture

PICTURE = picture(1, (600, 400))
PNG = encoded(PICTURE, "PNG")


def seen(data: bytes) -> Examined:
    answer = examine(data)
    assert isinstance(answer, Examined), answer
    return answer


TWIN = seen(PNG).pdq[0].bits


def nearest(answer: Examined) -> int:
    return min(distance_bits(view.bits, TWIN) for view in answer.pdq)


def locked(password: str) -> bytes:
    document = FPDF()
    document.add_page()
    document.image(PICTURE, 0, 0)
    document.set_encryption(owner_password="owner", user_password=password)
    return bytes(document.output())


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_seen_however_a_page_shows_it(way: str) -> None:
    answer = seen(WAYS[way](PICTURE))
    assert nearest(answer) <= 10
    assert (answer.facts.format, answer.unseen) == ("archive", None)
    assert [view.member for view in answer.pdq] == sorted(view.member for view in answer.pdq)


def test_a_jpeg_in_a_pdf_is_the_jpeg_to_the_bit() -> None:
    jpeg = encoded(picture(2, (1200, 900)), "JPEG")
    answer = seen(shown(RGB + b"/Filter/DCTDecode", jpeg, (1200, 900)))
    assert answer.pdq[0].bits == seen(jpeg).pdq[0].bits


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("at", [(0, 0), (-300, 50)])
def test_pieces_are_put_together_wherever_the_page_begins(turn: int, at: tuple[int, int]) -> None:
    page = b"/Rotate %d/MediaBox[%d %d %d %d]" % (turn, *at, at[0] + 600, at[1] + 400)
    box = (at[0] + 100, at[1] + 50, at[0] + 460, at[1] + 290)
    answer = seen(cut(PICTURE.rotate(turn, expand=True), 4, 5, box, page))
    assert nearest(answer) <= 10


def test_a_document_of_text_is_seen_page_by_page() -> None:
    content = [b"".join(TEXT % (20 + 30 * n, m * n) for n in range(12)) for m in range(80)]
    answer = seen(pages(content, HELVETICA))
    assert (len(answer.pdq), answer.unseen) == (PDF_DRAWN_MAX, None)
    blank = examine(pages([b""] * 3, b""))
    assert blank is UnhashableCode.ARCHIVE_NO_PICTURES


def test_pictures_that_come_again_are_seen_once_and_flat_ones_with_their_page() -> None:
    things = [
        image(PICTURE.size, RGB + b"/Filter/DCTDecode", encoded(PICTURE, "JPEG")),
        image((2, 2), RGB, bytes(12)),
    ]
    content = WHOLE + b" q 9 0 0 9 0 0 cm /J Do Q"
    answer = seen(pages([content] * 5, b"/XObject<</I 3 0 R/J 4 0 R>>", things))
    assert answer.unseen is None
    assert sum(view.bits == seen(encoded(PICTURE, "JPEG")).pdq[0].bits for view in answer.pdq) == 1


def test_what_is_locked_is_encrypted_and_an_empty_password_opens() -> None:
    assert examine(locked("secret")) is UnhashableCode.ARCHIVE_ENCRYPTED
    assert nearest(seen(locked(""))) <= 10
    packed = seen(zipped([PNG, locked("secret")]))
    assert packed.unseen == Unseen(UnhashableCode.ARCHIVE_ENCRYPTED, 2)


def test_attached_files_are_members_too() -> None:
    assert nearest(seen(attaching(PNG))) == 0
    assert nearest(seen(attaching(zipped([WAYS["jpeg"](PICTURE)])))) <= 4
    odd = examine(attaching(b"nothing that is read here"))
    assert odd is UnhashableCode.UNKNOWN_FORMAT


def test_content_decides_and_a_pdf_may_be_something_else_too() -> None:
    data = WAYS["jpeg"](PICTURE)
    other = encoded(picture(2), "JPEG")
    assert nearest(seen(b"\r\n" * 200 + data)) <= 4
    both = seen(other[:2] + b"\xff\xfe\x00\x0a%PDF-1.7" + other[2:] + data)
    assert both.pdq[0].bits == seen(other).pdq[0].bits
    assert nearest(both) <= 4
    archive = seen(data + zipped([other]))
    assert nearest(archive) <= 4
    assert archive.pdq[-1].bits == seen(other).pdq[0].bits
    assert seen(zipped([data])).unseen is None


def test_damage_is_answered() -> None:
    whole = small_pdf()
    assert nearest(seen(WAYS["deflate"](PICTURE))) <= 4
    for at in range(1, len(whole), 97):
        examine(whole[:at])
    assert examine(b"%PDF-1.7" + bytes(100)) is UnhashableCode.ARCHIVE_NOT_READABLE
    broken = WAYS["jpeg"](PICTURE).replace(b"\xff\xda", b"\xff\xd9")
    answer = examine(broken)
    assert answer is UnhashableCode.TRUNCATED or answer is UnhashableCode.NOT_DECODABLE


def test_pages_beyond_a_limit_are_unseen() -> None:
    many = seen(pages([TEXT % (200, n) * 3 for n in range(PDF_PAGES_MAX + 1)], HELVETICA))
    assert many.unseen is not None
    assert many.unseen.code is UnhashableCode.ARCHIVE_TOO_LARGE
    cuts = image((9, 9), RGB, random.Random(1).randbytes(243))
    twice = b"q 9 0 0 9 0 0 cm /I Do Q q 9 0 0 9 90 90 cm /I Do Q"
    drawn = seen(pages([twice] * (PDF_DRAWN_MAX + 1), b"/XObject<</I 3 0 R>>", [cuts]))
    assert drawn.unseen is not None
    assert drawn.unseen.code is UnhashableCode.ARCHIVE_TOO_LARGE


def test_it_goes_under_the_lock() -> None:
    with DecoderPool(1) as pool:
        for way in WAYS.values():
            data = way(PICTURE)
            assert pool.fingerprint(data).pdq == seen(data).pdq


def test_a_stream_is_counted_layer_by_layer() -> None:
    plain = b"stream\n" + zeros(5_000_000) + b"\nendstream"
    assert not unpacks_beyond(plain, 5_000_000)
    assert unpacks_beyond(plain, 4_999_999)
    assert unpacks_beyond(plain * 3, 14_000_000)
    twice = b"stream \r\n" + zlib.compress(zeros(5_000_000))
    assert unpacks_beyond(twice, 4_999_999)
    assert not unpacks_beyond(b"stream\nx\x9c nothing", 100)


def test_a_coded_picture_tells_its_size() -> None:
    for name in ("JPEG", "JPEG2000"):
        assert coded_size(encoded(picture(1, (70, 50)), name)) == (70, 50)
    assert coded_size(encoded(picture(1, (70, 50)), "JPEG", progressive=True)) == (70, 50)
    for odd in (b"", b"\xff\xd8\xff", PNG, b"\xff\xd8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"):
        assert coded_size(odd) == (0, 0)


def test_pieces_that_touch_are_one() -> None:
    left, right, far = (0.0, 0.0, 10.0, 10.0), (11.0, 0.0, 20.0, 10.0), (90.0, 90.0, 99.0, 99.0)
    assert pieces_together([left, far, right]) == [(0, 0, 20, 10)]
    assert pieces_together([left, far]) == []
    between = (8.0, 8.0, 92.0, 92.0)
    assert pieces_together([left, far, between]) == [(0, 0, 99, 99)]
