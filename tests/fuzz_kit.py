"""Hostile files of pictures and films: mutants of every accepted form, by seed, and bombs, by name.

All of it is made here from drawn pictures. A mutant keeps what a decoder checks first (a PNG's
CRCs and deflate stream, a RIFF's size), so that the damage reaches the code behind the check.
"""

import bz2
import gzip
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image

from accord.fingerprint.formats import FORMATS, format_of
from archives_kit import mended_7z, seven_zipped, tarred, zipped
from film_bombs import FILM_BOMBS, film_forms
from fuzz_documents import DOCUMENT_BOMBS, small_pdf
from ole2_kit import drawn, ole2, workbook
from pictures_kit import FORMS, animation, encoded, picture

SEEDS_DIRECTORY: Final = Path(__file__).parent / "seeds" / "media"

_EDGES: Final = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000)
_WIDE_EDGES: Final = (*_EDGES, 60_000, 0xFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_FILMS_SHARE: Final = 0.2
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_TYPES: Final = (
    b"IHDR PLTE IDAT IEND tRNS gAMA iCCP sRGB tEXt zTXt iTXt eXIf acTL fcTL fdAT pHYs".split()
)
_IDAT_BYTES_MAX: Final = 1 << 20


@cache
def forms() -> dict[str, bytes]:
    """One small file of every form, by name."""
    small = picture(3, (48, 32))
    files = {name: form(small) for name, form in FORMS.items()}
    for name in ("GIF", "WEBP", "PNG", "AVIF"):
        files[f"animated {name.lower()}"] = animation([1, 2], name)
    files["ico"] = encoded(small, "ICO", sizes=[(32, 32), (16, 16)])
    for name, kind in (("jpeg of several", "MPO"), ("tiff of several", "TIFF")):
        rest = [picture(4, (48, 32))]
        files[name] = encoded(small.copy(), kind, save_all=True, append_images=rest)
    files["jpeg2000"] = encoded(small, "JPEG2000")
    assert {format_of(data) for data in files.values()} == set(FORMATS)
    members = [files["png"], files["jpeg"]]
    files["zip"] = zipped(members)
    files["zip stored"] = zipped(members, method=zipfile.ZIP_STORED)
    files["tar"] = tarred(members)
    files["gzip"] = gzip.compress(files["tar"])
    files["bzip2"] = bz2.compress(files["tar"])
    files["xz"] = lzma.compress(files["tar"])
    files["ole2"] = ole2({"Workbook": workbook(drawn(small)["png"]), "Data": drawn(small)["jpeg"]})
    files["7z"] = seven_zipped(members)
    files["pdf"] = small_pdf()
    files["jpeg and zip"] = files["jpeg"] + files["zip"]
    files["jpeg and 7z"] = files["jpeg"] + files["7z"]
    files["motion photo"] = files["jpeg"] + film_forms()["film mp4 h264"]
    return files


def mutant(seed: int, number: int) -> tuple[str, bytes]:
    """The form and the bytes of one mutant, the same for the same two numbers."""
    chance = random.Random(f"{seed}:{number}")
    some = film_forms() if chance.random() < _FILMS_SHARE else forms()
    name = chance.choice(sorted(some))
    data = bytearray(some[name])
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not data:
            break
        if data.startswith(_PNG) and chance.random() < 0.8:
            data = _damage_png(chance, data)
        else:
            _damage(chance, data, name)
    if data[:4] == b"RIFF" and chance.random() < 0.8:
        data[4:8] = struct.pack("<I", max(0, len(data) - 8) & 0xFFFF_FFFF)
    if data[:2] == b"7z" and len(data) > 32 and chance.random() < 0.8:
        data[:] = mended_7z(bytes(data))
    return name, bytes(data)


def _damage(chance: random.Random, data: bytearray, name: str) -> None:
    """One change in place. Headers are short and decide most: half of the changes go there."""
    reach = min(len(data), chance.choice((96, 512, len(data))))
    at = chance.randrange(reach)
    match chance.randrange(8):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            data[at] = chance.choice(_EDGES) & 0xFF
        case 2 | 3:
            width, order = chance.choice((2, 4)), chance.choice(("big", "little"))
            edges = _WIDE_EDGES if width == 4 else _EDGES
            value = chance.choice(edges) & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "big" if order == "big" else "little")
        case 4:
            del data[at : at + chance.randrange(1, 64)]
        case 5:
            data[at:at] = data[at : at + chance.randrange(1, 64)] * chance.choice((1, 2, 50))
        case 6:
            known = forms() | film_forms()
            other = known[chance.choice(sorted(n for n in known if n[:3] == name[:3]))]
            start = chance.randrange(len(other))
            data[at : at + 64] = other[start : start + chance.randrange(1, 256)]
        case _:
            del data[chance.randrange(len(data)) :]


def _damage_png(chance: random.Random, data: bytearray) -> bytearray:
    """One change of one chunk, of their order or of the pixels before compression."""
    chunks = png_chunks(bytes(data))
    if not chunks:
        return data
    at = chance.randrange(len(chunks))
    kind, body = chunks[at]
    match chance.randrange(6):
        case 0:
            chunks.insert(chance.randrange(len(chunks)), (kind, body))
        case 1:
            del chunks[at]
        case 2:
            chunks[at] = (chance.choice(_PNG_TYPES), body)
        case 3 if kind in {b"IDAT", b"zTXt", b"iCCP"}:
            chunks[at] = (kind, _damage_deflated(chance, body))
        case _ if body:
            changed = bytearray(body)
            _damage(chance, changed, "png")
            chunks[at] = (kind, bytes(changed))
        case _:
            chunks[at] = (kind, chance.randbytes(chance.randrange(40)))
    return bytearray(png(chunks))


def _damage_deflated(chance: random.Random, body: bytes) -> bytes:
    try:
        plain = bytearray(zlib.decompressobj().decompress(body, _IDAT_BYTES_MAX))
    except zlib.error:
        return body
    for _ in range(chance.randrange(1, 9)):
        if plain:
            plain[chance.randrange(len(plain))] = chance.randrange(256)
    return zlib.compress(bytes(plain) * chance.choice((1, 1, 1, 40)), 1)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and body of each chunk, as far as they go."""
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_PNG)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 12 + int(size)
    return chunks


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, each with the right CRC."""
    parts = [_PNG]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body]
        parts.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def _header(width: int, height: int, depth: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def _zeros(size: int) -> bytes:
    """`size` zero bytes as a zlib stream, without ever holding or packing them all."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(size & 0xF_FFFF)) + packer.flush()
    return b"\x78\xda" + block * (size >> 20) + last + struct.pack(">HH", size % 65_521, 1)


def _flat_png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * samples * depth + 7) // 8
    return png([_header(width, height, depth, colour), (b"IDAT", _zeros(row * height)), END])


END: Final = (b"IEND", b"")
_TINY: Final = (b"IDAT", zlib.compress(bytes(64)))


def _text_bomb(kind: bytes, head: bytes) -> bytes:
    return png([_header(8, 8), (kind, head + _zeros(200_000_000)), _TINY, END])


def _gif(width: int, height: int, frames: int, frame: tuple[int, int]) -> bytes:
    """`frames` frames of zeros, each of the size `frame`, on a canvas."""
    one = encoded(Image.new("P", frame), "GIF")
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = b"\x21\xf9\x04\x04\x01\x00\x00\x00"
    pixels = one[one.index(b"\x2c" + bytes(4) + struct.pack("<HH", *frame)) + 10 : -1]
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + pixels
    return head + (control + image) * frames + b";"


def _tiff(
    entries: list[tuple[int, int, int, int]], after: bytes = b"", following: int = 0
) -> bytes:
    """Little-endian; entries of (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(entries))
        + body
        + struct.pack("<I", following)
        + after
    )


def _tiff_picture(width: int, height: int, compression: int, data: bytes) -> bytes:
    start = 8 + 2 + 12 * 9 + 4
    return _tiff(
        [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, compression),
            (262, 3, 1, 1),
            (273, 4, 1, start),
            (277, 3, 1, 1),
            (278, 4, 1, height),
            (279, 4, 1, len(data)),
        ],
        data,
    )


def _jpeg(width: int, height: int) -> bytes:
    """A picture whose header says another size than its data has."""
    data = bytearray(forms()["jpeg"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG that goes over all its blocks again and again, each time for nothing."""
    data = bytearray(encoded(picture(3, (64, 64)).convert("L"), "JPEG", progressive=True))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    # A refinement of one band; its data is missing and read as zeros.
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x05\x02"
    table = data[data.index(b"\xff\xc4", first) : second] if b"\xff\xc4" in data[first:] else b""
    return bytes(data[:second]) + bytes(table) + scan * scans + b"\xff\xd9"


def _boxes_with_size(form: str, side: int) -> bytes:
    """An AVIF or HEIF whose container and codec disagree about the size."""
    data = bytearray(forms()[form])
    at = data.index(b"ispe")
    data[at + 8 : at + 16] = struct.pack(">II", side, side)
    return bytes(data)


def _webp_canvas(width: int, height: int) -> bytes:
    still = forms()["webp"][12:]
    extended = b"VP8X" + struct.pack("<II", 10, 0x10)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + extended + still
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bmp(width: int, height: int, compression: int, data: bytes) -> bytes:
    bits = 8 if compression else 24
    palette = bytes(1024) if bits == 8 else b""
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return head + about + palette + data


# Small files that ask for a lot. What each must answer in time and memory is in the tests.
BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "png: 60,000 x 60,000": lambda: png([_header(60_000, 60_000), _TINY, END]),
    "png: largest size": lambda: png([_header(2**31 - 1, 2**31 - 1), _TINY, END]),
    "png: 13,000 x 13,000 of zeros": lambda: _flat_png(13_000, 13_000, 1, 0),
    "png: 30,000 x 1,666 of zeros": lambda: _flat_png(30_000, 1_666),
    "png: 7,071 x 7,071 of zeros": lambda: _flat_png(7_071, 7_071, 8, 0),
    "png: 7,071 x 7,071 in 16 bit": lambda: _flat_png(7_071, 7_071, 16, 2),
    "png: more pixels than it says": lambda: png(
        [_header(8, 8), (b"IDAT", _zeros(500_000_000)), END]
    ),
    "png: a text of 200 MB": lambda: _text_bomb(b"zTXt", b"a\0\0"),
    "png: an international text of 200 MB": lambda: _text_bomb(b"iTXt", b"a\0\1\0\0\0"),
    "png: a profile of 200 MB": lambda: _text_bomb(b"iCCP", b"a\0\0"),
    "png: 200,000 empty chunks": lambda: png(
        [_header(8, 8), *[(b"tEXt", b"a\0")] * 200_000, _TINY, END]
    ),
    "png: four thousand million frames": lambda: png(
        [_header(64, 64), (b"acTL", struct.pack(">II", 2**32 - 1, 0)), _TINY, END]
    ),
    "gif: 60,000 x 60,000": lambda: _gif(60_000, 60_000, 1, (8, 8)),
    "gif: a million frames": lambda: _gif(16, 16, 1_000_000, (1, 1)),
    "gif: 20,000 frames on 7,000 x 7,000": lambda: _gif(7_000, 7_000, 20_000, (1, 1)),
    "gif: 1,000 frames of 500 x 500": lambda: _gif(500, 500, 1_000, (500, 500)),
    "webp: largest canvas": lambda: _webp_canvas(2**24, 2**24),
    "webp: 16,383 x 3,000 around a small picture": lambda: _webp_canvas(16_383, 3_000),
    "tiff: 60,000 x 60,000": lambda: _tiff_picture(60_000, 60_000, 8, zlib.compress(bytes(64))),
    "tiff: 7,000 x 7,000 of zeros": lambda: _tiff_picture(7_000, 7_000, 8, _zeros(49_000_000)),
    "tiff: more pixels than it says": lambda: _tiff_picture(8, 8, 8, _zeros(500_000_000)),
    "tiff: tags without end": lambda: _tiff([(256, 4, 0xFFFF_FFFF, 8), (257, 4, 1, 8)]),
    "tiff: a page that follows itself": lambda: _tiff([(256, 4, 1, 8)], following=8),
    "jpeg: 65,500 x 65,500": lambda: _jpeg(65_500, 65_500),
    "jpeg: 7,000 x 7,000 without data": lambda: _jpeg(7_000, 7_000),
    "jpeg: a thousand scans of 7,000 x 7,000": lambda: _many_scans(7_000, 1_000),
    "jpeg: 20,000 markers": lambda: b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20_000 + b"\xff\xd9",
    "heif: 60,000 x 60,000": lambda: _boxes_with_size("heif", 60_000),
    "heif: 7,000 x 7,000 around a small picture": lambda: _boxes_with_size("heif", 7_000),
    "avif: 60,000 x 60,000": lambda: _boxes_with_size("avif", 60_000),
    "avif: 7,000 x 7,000 around a small picture": lambda: _boxes_with_size("avif", 7_000),
    "bmp: 60,000 x 60,000": lambda: _bmp(60_000, 60_000, 0, b""),
    "bmp: upside down and largest": lambda: _bmp(2**31 - 1, -(2**31), 0, b""),
    "bmp: run lengths of 7,000 x 7,000": lambda: _bmp(7_000, 7_000, 1, b"\xff\0" * 200_000),
    "zip in a zip in a zip": lambda: b"PK\3\4" + _zeros(50_000_000),
    **DOCUMENT_BOMBS,
    **FILM_BOMBS,
    "jpeg: 50 MB of zeros behind it": lambda: forms()["jpeg"] + bytes(49_000_000),
    "jpeg: four million films behind it that are pictures": lambda: (
        forms()["jpeg"] + b"\0\0\0\x18ftypheic" * 4_000_000
    ),
    "jpeg: films behind films": lambda: forms()["jpeg"] + film_forms()["film mp4 h264"] * 2_000,
    "video without end": lambda: (
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0\0\0\0mdat" + bytes(64)
    ),
    "matroska without end": lambda: b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + bytes(1000),
}
