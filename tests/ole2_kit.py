"""OLE2 files of what streams are given, as old office programs wrote them: sectors of 512 bytes."""

import struct
from collections.abc import Mapping
from typing import Final

from PIL import Image

from pictures_kit import encoded

_END, _TABLE, _FREE = 0xFFFF_FFFE, 0xFFFF_FFFD, 0xFFFF_FFFF
_SMALL: Final = 4096


def ole2(streams: Mapping[str, bytes], shuffled: bool = False) -> bytes:
    """`shuffled`: the sectors of each stream lie back to front."""
    sectors: list[bytes] = []
    following: list[int] = []

    def placed(data: bytes) -> int:
        parts = [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        if not parts:
            return _END
        first = len(sectors)
        places = [*range(first, first + len(parts))]
        if shuffled:
            parts.reverse()
            places.reverse()
        sectors.extend(parts)
        following.extend([0] * len(parts))
        for place, after in zip(places, [*places[1:], _END], strict=True):
            following[place] = after
        return places[0]

    small, small_next = bytearray(), list[int]()
    entries = []
    for number, (name, data) in enumerate(streams.items(), 1):
        if len(data) >= _SMALL:
            first = placed(data)
        else:
            first = len(small) // 64
            count = -(-len(data) // 64)
            small_next += [*range(first + 1, first + count), _END]
            small += data.ljust(64 * count, b"\0")
        after = number + 1 if number < len(streams) else _FREE
        entries.append(_entry(name, 2, first, len(data), after))
    table = struct.pack(f"<{len(small_next)}I", *small_next)
    padding = struct.pack("<I", _FREE) * (-len(small_next) % 128)
    small_table = placed(table + padding) if small else _END
    root = _entry("Root Entry", 5, placed(bytes(small)), len(small))
    directory = placed(b"".join((root, *entries)).ljust(512, b"\0"))
    tables = 1
    while (len(sectors) + tables) > 128 * tables:
        tables += 1
    fat = [*following, *[_TABLE] * tables]
    fat += [_FREE] * (128 * tables - len(fat))
    places = [*range(len(sectors), len(sectors) + tables)]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack(
        "<HHHHH6xIIIIIIIII",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        tables,
        directory,
        0,
        _SMALL,
        small_table,
        1,
        _END,
        0,
    )
    head += struct.pack("<109I", *places, *[_FREE] * (109 - tables))
    return head + b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat)


def _entry(name: str, kind: int, first: int, size: int, after: int = _FREE) -> bytes:
    text = name.encode("utf-16-le")
    about = struct.pack("<HBB", len(text) + 2, kind, 1)
    links = struct.pack("<III", _FREE, after, 1 if kind == 5 else _FREE)
    return text.ljust(64, b"\0") + about + links + bytes(36) + struct.pack("<IQ", first, size)


def record(instance: int, kind: int, body: bytes) -> bytes:
    """A record of a drawing."""
    return struct.pack("<HHI", instance << 4, kind, len(body)) + body


def drawn(picture: Image.Image) -> dict[str, bytes]:
    """The ways a drawing holds a picture, each as its record."""
    bitmap = encoded(picture, "BMP")[14:]
    return {
        "jpeg": record(0x46A, 0xF01D, bytes(17) + encoded(picture, "JPEG")),
        "png": record(0x6E1, 0xF01E, bytes(33) + encoded(picture, "PNG")),
        "bitmap": record(0x7A8, 0xF01F, bytes(17) + bitmap),
        "bitmap of a palette": record(
            0x7A9, 0xF01F, bytes(33) + encoded(picture.quantize(64), "BMP")[14:]
        ),
        "tiff": record(0x6E4, 0xF029, bytes(17) + encoded(picture, "TIFF")),
    }


def workbook(drawings: bytes) -> bytes:
    """A sheet's stream: the drawings are cut into records of at most 8,224 bytes."""
    records = [struct.pack("<HH", 0x0809, 16) + bytes(16)]
    for number, at in enumerate(range(0, len(drawings), 8_224)):
        part = drawings[at : at + 8_224]
        records.append(struct.pack("<HH", 0x003C if number else 0x00EB, len(part)) + part)
    return b"".join((*records, struct.pack("<HH", 0x000A, 0)))
