"""Documents that ask for a lot, by name. What each must answer, and in what, is in the tests."""

import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Final

from PIL import Image

from archives_kit import seven_zipped
from ole2_kit import ole2
from pdf_kit import GREY, HELVETICA, RGB, TEXT, WHOLE, image, pages, pdf, shown, stream
from pictures_kit import encoded, picture


def zeros(size: int, byte: bytes = b"\0") -> bytes:
    """`size` equal bytes as a zlib stream, without ever holding or packing them all."""
    packer = zlib.compressobj(9)
    block = byte * (1 << 20)
    parts = [packer.compress(block) for _ in range(size >> 20)]
    return b"".join((*parts, packer.compress(byte * (size & 0xF_FFFF)), packer.flush()))


def _deflated(content: bytes) -> bytes:
    """A document of one page with this packed content."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 400]/Contents 4 0 R/Resources<<>>>>"
    kids = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    return pdf([_CATALOGUE, kids, page, stream(b"/Filter/FlateDecode", content)])


def _forms(levels: int, each: int) -> bytes:
    """Forms that each draw the next one several times."""
    things = [
        stream(
            b"/Type/XObject/Subtype/Form/BBox[0 0 600 400]/Resources<</XObject<</A %d 0 R>>>>"
            % (4 + level),
            b"/A Do\n" * each,
        )
        for level in range(levels)
    ]
    last = stream(b"/Type/XObject/Subtype/Form/BBox[0 0 600 400]", b"0 0 9 9 re f")
    return pages([b"/A Do"], b"/XObject<</A 3 0 R>>", [*things, last])


def _one_page_again(count: int) -> bytes:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 400]>>"
    kids = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b"3 0 R " * count, count)
    return pdf([_CATALOGUE, kids, page])


def _pattern() -> bytes:
    tile = stream(
        b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.01/YStep 0.01"
        b"/Resources<<>>",
        b"0 0 1 1 re f",
    )
    fill = b"/Pattern cs /P scn 0 0 600 400 re f\n"
    return pages([fill * 50], b"/Pattern<</P 3 0 R>>", [tile])


def _jpeg_2000(side: int) -> bytes:
    """A picture whose header says another size than its data has."""
    data = bytearray(encoded(picture(3, (64, 64)), "JPEG2000"))
    at = data.index(b"ihdr") + 4
    data[at : at + 8] = struct.pack(">II", side, side)
    at = data.index(b"\xff\x51") + 6  # SIZ: the size, then the origin, then that of a tile.
    data[at : at + 8] = struct.pack(">II", side, side)
    data[at + 16 : at + 24] = struct.pack(">II", side, side)
    return bytes(data)


def _jpeg(side: int) -> bytes:
    data = bytearray(encoded(picture(3, (64, 64)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def _lzma2_zeros() -> bytes:
    """More zeros than anybody unpacks: one chunk that resets, and the same again."""
    block = lzma.compress(bytes(1 << 26), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    return block[:-1] * 15 + b"\0"


def _shared(streams: int) -> bytes:
    """Many entries for what is there once."""
    data = bytearray(ole2({"one": bytes(5_000_000), **{f"s{n}": b"" for n in range(streams)}}))
    for number in range(streams):
        at = data.index(f"s{number}\0".encode("utf-16-le")[:-1])
        data[at + 116 : at + 128] = struct.pack("<IQ", 0, 5_000_000)
    return bytes(data)


def _again_7z(depth: int) -> bytes:
    data = encoded(picture(1, (64, 64)), "PNG")
    for _ in range(depth):
        data = seven_zipped([data])
    return data


def _attached(depth: int) -> bytes:
    data = encoded(picture(1, (64, 64)), "PNG")
    for _ in range(depth):
        data = attaching(data)
    return data


def attaching(data: bytes) -> bytes:
    """A PDF without pages to which a file is attached."""
    names = b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(a)3 0 R]>>>>>>"
    about = b"<</Type/Filespec/F(a)/UF(a)/EF<</F 4 0 R>>>>"
    params = b"/Type/EmbeddedFile/Params<</Size %d>>" % len(data)
    return pdf([names, b"<</Type/Pages/Kids[]/Count 0>>", about, stream(params, data)])


def small_pdf() -> bytes:
    """A little of everything, for mutants."""
    small = picture(3, (48, 32))
    things = [
        image(small.size, RGB + b"/Filter/DCTDecode", encoded(small, "JPEG")),
        image(
            small.size, GREY + b"/Filter/FlateDecode", zlib.compress(small.convert("L").tobytes())
        ),
        stream(
            b"/Type/XObject/Subtype/Form/BBox[0 0 600 400]/Resources<</XObject<</I 4 0 R>>>>", WHOLE
        ),
    ]
    content = (
        TEXT % (300, 1) + b"q 200 0 0 100 9 9 cm /I Do Q /A Do\n1 0 0 rg 9 9 90 90 re f\n/S sh\n"
    )
    shading = (
        b"/Shading<</S<</ShadingType 2/ColorSpace/DeviceRGB/Coords[0 0 600 400]"
        b"/Function<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>>>>>"
    )
    return pages(
        [content, TEXT % (200, 2)], HELVETICA + shading + b"/XObject<</I 3 0 R/A 5 0 R>>", things
    )


_CATALOGUE: Final = b"<</Type/Catalog/Pages 2 0 R>>"
_DEFLATE: Final = b"/Filter/FlateDecode"

DOCUMENT_BOMBS: dict[str, Callable[[], bytes]] = {
    "pdf: a picture of 60,000 x 60,000": lambda: shown(
        RGB + _DEFLATE, zlib.compress(bytes(64)), (60_000, 60_000)
    ),
    "pdf: a picture of 7,000 x 7,000 of zeros": lambda: shown(
        RGB + _DEFLATE, zeros(147_000_000), (7_000, 7_000)
    ),
    "pdf: a picture of more pixels than it says": lambda: shown(
        RGB + _DEFLATE, zeros(500_000_000), (64, 64)
    ),
    "pdf: a fax of 30,000 x 1,600 without data": lambda: shown(
        b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/CCITTFaxDecode"
        b"/DecodeParms<</K -1/Columns 30000/Rows 1600>>",
        b"\0",
        (30_000, 1_600),
    ),
    "pdf: a page of 500 MB": lambda: _deflated(zeros(500_000_000, b" ")),
    "pdf: a page packed twice": lambda: pages([b""], b"").replace(
        b"<</Length 0>>\nstream\n",
        b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>\nstream\n" % len(_TWICE) + _TWICE,
    ),
    "pdf: ten forms in each of ten forms": lambda: _forms(10, 10),
    "pdf: a million pages": lambda: _one_page_again(1_000_000),
    "pdf: a million lines": lambda: _deflated(zlib.compress(b"0 0 m 600 400 l S\n" * 1_000_000)),
    "pdf: a thousand million tiles": _pattern,
    "pdf: a page without end": lambda: pages([WHOLE], b"", (), b"/MediaBox[0 0 1e30 1e30]"),
    "pdf: a page that holds itself": lambda: pdf(
        [_CATALOGUE, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"]
    ),
    "pdf: a jpeg 2000 of 60,000 x 60,000": lambda: shown(
        b"/Filter/JPXDecode", _jpeg_2000(60_000), (64, 64)
    ),
    "pdf: a jpeg of 65,500 x 65,500": lambda: shown(
        RGB + b"/Filter/DCTDecode", _jpeg(65_500), (64, 64)
    ),
    "pdf: a fax of 60,000 x 60,000 in hexadecimal": lambda: shown(
        b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter[/AHx/CCF]"
        b"/DecodeParms[null<</K -1/Columns 60000/Rows 60000>>]",
        b"00>",
        (64, 64),
    ),
    "pdf: attached to a pdf, ten times": lambda: _attached(10),
    "pdf: 2,000 pages of text": lambda: pages(
        [TEXT % (200, number) for number in range(2_000)], HELVETICA
    ),
    "jpeg 2000: 60,000 x 60,000": lambda: _jpeg_2000(60_000),
    "jpeg 2000: 4,400 x 4,400 around a small picture": lambda: _jpeg_2000(4_400),
    "jpeg 2000: 4,400 x 4,400": lambda: encoded(
        Image.linear_gradient("L").resize((4_400, 4_400)).convert("RGB"), "JPEG2000"
    ),
}
_ZEROS_7Z: Final = 1_000_000_000
DOCUMENT_BOMBS |= {
    "7z: a thousand million zeros": lambda: seven_zipped([], _lzma2_zeros(), _ZEROS_7Z),
    "7z: 45 MB of zeros that end early": lambda: seven_zipped([], _lzma2_zeros()[:900], 45_000_000),
    "7z: a million files": lambda: seven_zipped([b""] * 1_000_000),
    "7z: a file that is larger than all": lambda: seven_zipped([], b"\0", 2**63),
    "ole2: a million beginnings of jpegs": lambda: ole2({"Data": b"\xff\xd8\xff\xe0" * 10**6}),
    "ole2: a thousand streams in the same sectors": lambda: _shared(1_000),
    "7z: in a 7z, five times": lambda: _again_7z(5),
}
_TWICE: Final = zlib.compress(zeros(500_000_000))
