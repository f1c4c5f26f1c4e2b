"""One picture in every guise in which it is known to slip past others that look at pictures.

Where a guise needs something to hide behind it is another picture, the decoy.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from archives_kit import seven_zipped, tarred, zipped
from fuzz_documents import attaching
from fuzz_kit import END, png
from ole2_kit import drawn, ole2, workbook
from pdf_kit import WAYS
from pictures_kit import FORMS, STORED_AS, encoded, oriented, picture

DECOY: Final = picture(77)


def _deep_png(image: Image.Image, colour: int) -> bytes:
    """16 bits a sample: RGB (2), grey with alpha (4), RGB with alpha (6)."""
    mode = {2: "RGB", 4: "LA", 6: "RGBA"}[colour]
    samples = np.asarray(image.convert(mode)).astype(">u2") * 257
    rows = samples.reshape(image.height, -1).view(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", *image.size, 16, colour, 0, 0, 0)
    return png([(b"IHDR", head), (b"IDAT", zlib.compress(raw)), END])


def _in_alpha(image: Image.Image, on: str) -> bytes:
    """Nothing but one colour, through which the background shows the picture."""
    grey = image.convert("L")
    alpha = grey if on == "black" else grey.point(lambda level: 255 - level)
    plain = Image.new("RGB", image.size, "white" if on == "black" else "black")
    plain.putalpha(alpha)
    return encoded(plain, "PNG")


def _from_above(image: Image.Image) -> bytes:
    """A BMP whose first row is the upper one: its height is negative."""
    data = bytearray(encoded(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    data[22:26] = struct.pack("<i", -image.height)
    return bytes(data)


def _second(name: str, **options: object) -> Callable[[Image.Image], bytes]:
    def made(image: Image.Image) -> bytes:
        rest = {"save_all": True, "append_images": [image.copy()]}
        return encoded(DECOY.copy(), name, **rest, **options)

    return made


def _thumbnail(image: Image.Image) -> bytes:
    """A decoy whose EXIF thumbnail is the picture."""
    plain, small = oriented(DECOY, 1, "JPEG"), encoded(image.resize((160, 104)), "JPEG")
    at = plain.index(b"\xff\xe1") + 2
    size = int.from_bytes(plain[at : at + 2], "big")
    block = plain[at + 2 : at + size] + small
    return plain[:at] + (len(block) + 2).to_bytes(2, "big") + block + plain[at + size :]


def ink_profile(is_reversed: bool) -> bytes:
    """A made-up ICC profile of four inks; reversed, no ink is black and all of it is white."""

    def tag(kind: bytes, body: bytes) -> bytes:
        return kind + bytes(4) + body

    corners = bytearray()
    for number in range(16):
        inks = [number >> 3 - ink & 1 for ink in range(4)]
        c, m, y, k = (1 - ink for ink in inks) if is_reversed else inks
        corners += _lab((1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k))
    same = bytes(range(256))
    matrix = struct.pack(">9i", *(65_536 * (n % 4 == 0) for n in range(9)))
    table = tag(b"mft1", bytes((4, 3, 2, 0)) + matrix + same * 4 + bytes(corners) + same * 3)
    white = tag(b"XYZ ", struct.pack(">3i", 63_190, 65_536, 54_061))
    text = tag(b"desc", struct.pack(">I", 5) + b"inks\0" + bytes(78))
    right = tag(b"text", b"made up\0")
    tags = {b"A2B0": table, b"wtpt": white, b"desc": text, b"cprt": right}
    at, listed, bodies = 128 + 4 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        listed += name + struct.pack(">II", at + len(bodies), len(body))
        bodies += padded
    head = struct.pack(">I4xI4s4s4s", at + len(bodies), 0x0240_0000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", 63_190, 65_536, 54_061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + listed + bodies


def _lab(red: int, green: int, blue: int) -> bytes:
    """Of a corner of the cube of colours, in 8 bits."""
    x = 0.436 * red + 0.385 * green + 0.143 * blue
    y = 0.222 * red + 0.717 * green + 0.061 * blue
    z = 0.014 * red + 0.097 * green + 0.714 * blue
    fx, fy, fz = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x / 0.9642, y, z / 0.8249)
    )
    values = (116 * fy - 16) * 2.55, 500 * (fx - fy) + 128, 200 * (fy - fz) + 128
    return bytes(min(255, max(0, round(value))) for value in values)


def _inks(image: Image.Image, name: str, is_reversed: bool) -> bytes:
    inks = image.convert("CMYK")
    if is_reversed:
        inks = inks.point(lambda level: 255 - level)
    return encoded(inks, name, icc_profile=ink_profile(is_reversed))


_JPEG: Final = FORMS["jpeg"]
_PARTS: Final = ("[Content_Types].xml", "word/document.xml", "word/media/image1.jpg")

EVASIONS: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    **FORMS,
    **{
        f"jpeg stored as orientation {turn}": lambda p, turn=turn: oriented(p, turn, "JPEG")
        for turn in STORED_AS
    },
    "jpeg 2000": lambda p: encoded(p, "JPEG2000"),
    "bmp from above": _from_above,
    "big tiff": lambda p: encoded(p, "TIFF", big_tiff=True),
    "png 16-bit colour": lambda p: _deep_png(p, 2),
    "png 16-bit grey with alpha": lambda p: _deep_png(p, 4),
    "png 16-bit colour with alpha": lambda p: _deep_png(p, 6),
    "png that shows on black alone": lambda p: _in_alpha(p, "black"),
    "png that shows on white alone": lambda p: _in_alpha(p, "white"),
    "jpeg of four inks with a profile": lambda p: _inks(p, "JPEG", False),
    "jpeg of reversed inks with a profile": lambda p: _inks(p, "JPEG", True),
    "tiff of four inks with a profile": lambda p: _inks(p, "TIFF", False),
    "tiff of reversed inks with a profile": lambda p: _inks(p, "TIFF", True),
    "second frame of a gif": _second("GIF"),
    "second frame of a webp": _second("WEBP"),
    "second frame of a png": _second("PNG"),
    "second frame of an avif": _second("AVIF", speed=9),
    "picture of a png that its animation leaves out": lambda p: encoded(
        p, "PNG", save_all=True, append_images=[DECOY, picture(78)], default_image=True
    ),
    "animation of a png that shows another picture at first": _second("PNG", default_image=True),
    "second page of a tiff": _second("TIFF"),
    "second picture of an mpo": _second("MPO"),
    "second picture of a heic": _second("HEIF"),
    "second picture of a heic, the first by name": _second("HEIF", primary_index=1),
    "second jpeg of two": lambda p: _JPEG(DECOY) + _JPEG(p),
    "smaller picture of an icon": lambda p: encoded(
        DECOY.resize((128, 128)),
        "ICO",
        sizes=[(128, 128), (96, 96)],
        append_images=[p.resize((96, 96))],
    ),
    "thumbnail of another jpeg": _thumbnail,
    "zip behind a jpeg": lambda p: _JPEG(DECOY) + zipped([_JPEG(p)]),
    "zip behind a png": lambda p: encoded(DECOY, "PNG") + zipped([_JPEG(p)]),
    "zip behind a gif": lambda p: encoded(DECOY, "GIF") + zipped([_JPEG(p)]),
    "zip behind nothing known": lambda p: b"MZ" + bytes(500) + zipped([_JPEG(p)]),
    "zip behind a pdf": lambda p: WAYS["jpeg"](DECOY) + zipped([_JPEG(p)]),
    "pdf behind a gif": lambda p: encoded(DECOY.resize((8, 8)), "GIF")[:13] + WAYS["jpeg"](p),
    "pdf that begins late": lambda p: b"\n" * 1_000 + WAYS["jpeg"](p),
    "zip": lambda p: zipped([_JPEG(p)]),
    "7z in a tar in a zip": lambda p: zipped([tarred([seven_zipped([_JPEG(p)])])]),
    "word document": lambda p: zipped([b"<Types/>", b"<w/>", _JPEG(p)], _PARTS),
    "old word document": lambda p: ole2({"WordDocument": bytes(9), "Data": drawn(p)["png"]}),
    "old workbook": lambda p: ole2({"Workbook": workbook(drawn(p)["bitmap"])}),
    "mail": lambda p: ole2({"__substg1.0_37010102": _JPEG(p)}),
    "attached to a pdf": lambda p: attaching(_JPEG(p)),
    **{f"pdf: {way}": made for way, made in WAYS.items()},
}
