"""Hostile films: small ones of every container for mutants, and bombs, by name.

All of it is made here from drawn pictures. A stream of bytes that repeats what a decoder begins
with anew is a film without end; what a header says is damaged in place.
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Final

from PIL import Image

from pictures_kit import picture
from video_kit import FORMS, UNREAD, film


@cache
def film_forms() -> dict[str, bytes]:
    """One tiny film of every container and codec, by name."""
    frames = [picture(seed, (64, 64)) for seed in (1, 2, 3)]
    return {f"film {form}": film(frames, form) for form in sorted(set(FORMS) - {UNREAD})}


def _without_end(size: tuple[int, int], copies: int) -> bytes:
    """MPEG-1 whose one key frame begins again and again: no header says how often."""
    stream = film([picture(3, size) if size[0] < 500 else Image.new("RGB", size)], "mpeg1", gop=1)
    return stream * copies


def _flat(size: tuple[int, int], count: int) -> bytes:
    """Frames of one grey each, that refer to sixteen before them."""
    shades = (Image.new("RGB", size, (10 * n, 10 * n, 10 * n)) for n in range(count))
    return film(
        shades, "flv h264", gop=100, quality=40, options={"preset": "ultrafast", "refs": "16"}
    )


def _at(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """The bytes with `value` so far behind a mark."""
    at = data.index(mark) + offset
    return data[:at] + value + data[at + len(value) :]


def _long(ms: int) -> bytes:
    """A film of three frames that says it lasts so long."""
    data = film_forms()["film mp4 h264"]
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20)):
        data = _at(data, box, offset, struct.pack(">I", min(ms, 2**32 - 1)))
    return data


def _samples(count: int) -> bytes:
    """A film whose tables say that it has so many frames, all of one size."""
    data = film_forms()["film mp4 h264"]
    data = _at(data, b"stsz", 8, struct.pack(">II", 1, count))
    return _at(data, b"stts", 8, struct.pack(">III", 1, count, 1))


def _size(form: str, mark: bytes, offset: int, packed: bytes) -> bytes:
    return _at(film_forms()[form], mark, offset, packed)


def _boxes(depth: int) -> bytes:
    body = bytes(8)
    for _ in range(depth):
        body = struct.pack(">I4s", 8 + len(body), b"moov") + body
    return b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + body


def _tracks(count: int) -> bytes:
    """A film that names its one track again and again."""
    data = film_forms()["film mp4 h264"]
    at = data.index(b"trak") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    movie = data.index(b"moov") - 4
    length = int.from_bytes(data[movie : movie + 4], "big") + size * (count - 1)
    grown = data[:at] + data[at : at + size] * count + data[at + size :]
    return grown[:movie] + struct.pack(">I", length) + grown[movie + 4 :]


# What each must answer in time and memory is in the tests.
FILM_BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "film: a million frames of 16 x 16": lambda: _without_end((16, 16), 1_000_000),
    "film: 25,000 frames of 320 x 192": lambda: _without_end((320, 192), 25_000),
    "film: 1,000 frames of 4,000 x 2,304": lambda: _without_end((4_000, 2_304), 1_000),
    "film: six weeks of three frames": lambda: _long(2**32 - 1),
    "film: four thousand million samples": lambda: _samples(2**32 - 1),
    "film: a million samples of one byte": lambda: _samples(1_000_000),
    "film: 60,000 x 60,000, raw": lambda: _size(
        "film avi raw", b"strf", 12, struct.pack("<ii", 60_000, 60_000)
    ),
    "film: largest size, raw": lambda: _size(
        "film avi raw", b"strf", 12, struct.pack("<ii", 2**31 - 1, -(2**31))
    ),
    "film: 8K in H.264": lambda: _flat((7_680, 4_320), 1),
    "film: seventeen frames of 4,096 x 2,352 held at once": lambda: _flat((4_096, 2_352), 18),
    "film: grows from 16 x 16 to 4,000 x 2,304": lambda: (
        _without_end((16, 16), 3) + _without_end((4_000, 2_304), 3)
    ),
    "film: a thousand tracks": lambda: _tracks(1_000),
    "film: 100,000 boxes in one another": lambda: _boxes(100_000),
    "film: an index without end": lambda: (
        film_forms()["film avi mpeg4"] + b"idx1\xff\xff\xff\xff" + b"00dc\x10" * 2_000_000
    ),
    "film: nothing but stuffing": lambda: (
        film_forms()["film ts h264"] + (b"G\x1f\xff\x10" + b"\xff" * 184) * 200_000
    ),
    "film: elements of no size": lambda: film_forms()["film mkv h264"] + b"\xec\x80" * 5_000_000,
    "film: pages of sound": lambda: film_forms()["film ogg vp8"][:200] + b"OggS" * 2_000_000,
    "film: tags of no length": lambda: (
        film_forms()["film flv"] + (b"\x12" + bytes(10) + b"\0\0\0\x0b") * 1_000_000
    ),
}
