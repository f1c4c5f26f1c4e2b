"""Pictures in old office documents, and files in mails. The files are made here (`ole2_kit`)."""

import random

import pytest

from accord.fingerprint import Examined, UnhashableCode, Unseen, distance_bits, examine
from accord.media import DecoderPool
from archives_kit import zipped
from ole2_kit import drawn, ole2, record, workbook
from pictures_kit import encoded, picture

PICTURE = picture(1)
PNG = encoded(PICTURE, "PNG")
TEXT = b"\0" * 24 + b"Minutes of a meeting about the garden fence. " * 200


def seen(data: bytes) -> Examined:
    answer = examine(data)
    assert isinstance(answer, Examined), answer
    return answer


TWIN = seen(PNG).pdq[0].bits


def distances(answer: Examined) -> list[int]:
    return [distance_bits(view.bits, TWIN) for view in answer.pdq]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("way", drawn(PICTURE))
@pytest.mark.parametrize("stream", ["Pictures", "Data", "Workbook"])
def test_a_picture_in_a_document_is_seen(stream: str, way: str, shuffled: bool) -> None:
    drawings = TEXT[:7] + drawn(PICTURE)[way] + drawn(picture(2))["jpeg"] + b"\0" * 7
    data = workbook(drawings) if stream == "Workbook" else drawings
    answer = seen(ole2({"WordDocument": TEXT, stream: data}, shuffled))
    assert distances(answer)[0] <= 4
    assert [view.member for view in answer.pdq] == [1, 2]
    assert (answer.facts.format, answer.unseen) == ("archive", None)


def test_files_in_a_mail_are_members() -> None:
    small = encoded(picture(1, (24, 24)), "JPEG", quality=30)
    attached = {"__substg1.0_37010102": PNG, "other": zipped([PNG]), "small": small}
    answer = seen(ole2({"body": TEXT, **attached}))
    assert distances(answer)[:2] == [0, 0]
    assert len(answer.pdq) == 3
    packed = seen(zipped([PNG, ole2(attached)]))
    assert len(packed.pdq) == 4


@pytest.mark.parametrize(
    "streams",
    [
        {"EncryptedPackage": bytes(5_000)},
        {"WordDocument": b"\xec\xa5" + bytes(8) + b"\0\x01" + bytes(5_000)},
        {"Workbook": b"\x09\x08\x04\0" + bytes(4) + b"\x2f\0\x04\0" + bytes(4)},
        {"Current User": bytes(12) + b"\xdf\xc4\xd1\xf3"},
    ],
    ids=lambda streams: str(next(iter(streams))),
)
def test_what_is_encrypted_says_so(streams: dict[str, bytes]) -> None:
    assert examine(ole2(streams)) is UnhashableCode.ARCHIVE_ENCRYPTED


def test_drawings_that_are_no_pictures_are_unseen() -> None:
    metafile = record(0x3D4, 0xF01A, bytes(600))
    answer = seen(ole2({"Pictures": metafile + drawn(PICTURE)["png"]}))
    assert answer.unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE, 1)
    assert distances(answer) == [0]
    assert examine(ole2({"WordDocument": TEXT})) is UnhashableCode.ARCHIVE_NO_PICTURES


def test_damage_is_answered_and_no_chain_goes_on_for_ever() -> None:
    whole = ole2({"Data": drawn(PICTURE)["jpeg"], "small": TEXT[:900]})
    chance = random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        at = chance.choice((chance.randrange(512), chance.randrange(len(data) - 2048, len(data))))
        data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), chance.randbytes(4)))
        examine(bytes(data))
    for at in range(8, len(whole), 499):
        cut = examine(whole[:at])
        assert isinstance(cut, UnhashableCode) or distances(cut) == distances(seen(whole))
    loop = bytearray(whole)
    loop[-2048:] = bytes(2048)  # Each sector follows itself, or the first.
    assert examine(bytes(loop)) is UnhashableCode.ARCHIVE_NOT_READABLE
    assert examine(whole[:8] + bytes(600)) is UnhashableCode.ARCHIVE_NOT_READABLE


def test_it_goes_under_the_lock() -> None:
    data = ole2({"Workbook": workbook(drawn(PICTURE)["bitmap"])})
    with DecoderPool(1) as pool:
        assert pool.fingerprint(data).pdq == seen(data).pdq


@pytest.mark.parametrize("stream", ["Workbook", "Book", "WordDocument", "Current User", "Data"])
def test_a_stream_that_is_a_picture_is_one_whatever_its_name(stream: str) -> None:
    jpeg = encoded(PICTURE, "JPEG")
    assert len(seen(ole2({stream: jpeg})).pdq) == 1
    assert len(seen(ole2({stream: b"no record" + jpeg})).pdq) == 1
    encrypted = seen(ole2({"EncryptedPackage": jpeg}))
    assert len(encrypted.pdq) == 1
    assert encrypted.unseen == Unseen(UnhashableCode.ARCHIVE_ENCRYPTED, 1)
