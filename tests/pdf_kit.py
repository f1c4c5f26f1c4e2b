"""PDFs of what objects are given, and pages that show a picture in every way that a PDF has."""

import zlib
from collections.abc import Callable, Sequence
from typing import Final

from PIL import Image

from pictures_kit import encoded

RGB: Final = b"/ColorSpace/DeviceRGB/BitsPerComponent 8"
GREY: Final = b"/ColorSpace/DeviceGray/BitsPerComponent 8"
WHOLE: Final = b"q 600 0 0 400 0 0 cm /I Do Q"
TEXT: Final = b"BT /F 18 Tf 30 %d Td (Minutes of a meeting about the garden fence, page %d) Tj ET\n"
HELVETICA: Final = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


def pdf(objects: Sequence[bytes]) -> bytes:
    """Objects from number 1, which is the catalogue."""
    out, offsets = bytearray(b"%PDF-1.7\n"), list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(offsets) + 1, start)
    return bytes(out)


def stream(about: bytes, data: bytes) -> bytes:
    return b"<<%s/Length %d>>\nstream\n" % (about, len(data)) + data + b"\nendstream"


def pages(
    contents: Sequence[bytes], resources: bytes, things: Sequence[bytes] = (), page: bytes = b""
) -> bytes:
    """Pages of 600 by 400 with these contents; `things` are the objects from number 3 on."""
    first = 3 + len(things)
    kids = b" ".join(b"%d 0 R" % (first + 2 * n) for n in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d/MediaBox[0 0 600 400]>>" % (kids, len(contents)),
        *things,
    ]
    for number, content in enumerate(contents):
        at = first + 2 * number + 1
        head = b"<</Type/Page/Parent 2 0 R/Contents %d 0 R/Resources<<%s>>%s>>"
        objects += [head % (at, resources, page), stream(b"", content)]
    return pdf(objects)


def image(size: tuple[int, int], about: bytes, data: bytes) -> bytes:
    head = b"/Type/XObject/Subtype/Image/Width %d/Height %d" % size
    return stream(head + about, data)


def shown(about: bytes, data: bytes, size: tuple[int, int]) -> bytes:
    """A page filled by one image."""
    return pages([WHOLE], b"/XObject<</I 3 0 R>>", [image(size, about, data)])


Box = tuple[float, float, float, float]


def cut(
    picture: Image.Image,
    across: int,
    down: int,
    box: Box = (0, 0, 600, 400),
    page: bytes = b"",
) -> bytes:
    """A page on which a picture lies in pieces: `box` is its left, lower, right and upper side."""
    things: list[bytes] = []
    content = TEXT % (370, 1) if box != (0, 0, 600, 400) else b""
    left, low, right, high = box
    for row in range(down):
        for column in range(across):
            xs = [picture.width * at // across for at in (column, column + 1)]
            ys = [picture.height * at // down for at in (row, row + 1)]
            piece = picture.crop((xs[0], ys[0], xs[1], ys[1]))
            x0, x1 = (left + (right - left) * x / picture.width for x in xs)
            y1, y0 = (high - (high - low) * y / picture.height for y in ys)
            place = (x1 - x0, y1 - y0, x0, y0, len(things))
            content += b"q %.3f 0 0 %.3f %.3f %.3f cm /I%d Do Q\n" % place
            data = encoded(piece, "JPEG", quality=92)
            things.append(image(piece.size, RGB + b"/Filter/DCTDecode", data))
    names = b"".join(b"/I%d %d 0 R" % (n, 3 + n) for n in range(len(things)))
    return pages([content], HELVETICA + b"/XObject<<%s>>" % names, things, page)


def _within(form: bytes, picture: Image.Image) -> bytes:
    """A page whose one image lies in `form`, object 4; the image is object 3."""
    jpeg = image(picture.size, RGB + b"/Filter/DCTDecode", encoded(picture, "JPEG"))
    return pages([b"/A Do"], b"/XObject<</A 4 0 R>>", [jpeg, form])


_FORM: Final = stream(
    b"/Type/XObject/Subtype/Form/BBox[0 0 600 400]/Resources<</XObject<</I 3 0 R>>>>", WHOLE
)
_PATTERN: Final = stream(
    b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 600 400]/XStep 600/YStep 400"
    b"/Resources<</XObject<</I 3 0 R>>>>",
    WHOLE,
)


def _mosaic(picture: Image.Image) -> bytes:
    small = picture.resize((60, 40), Image.Resampling.BOX)
    content = b"".join(
        b"%.3f %.3f %.3f rg %d %d 10 10 re f\n"
        % (*(level / 255 for level in small.getpixel((x, y))), x * 10, 390 - y * 10)
        for y in range(40)
        for x in range(60)
    )
    return pages([content], b"")


# By name: how a page shows a picture.
WAYS: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    "jpeg": lambda p: shown(RGB + b"/Filter/DCTDecode", encoded(p, "JPEG"), p.size),
    "jpeg in hexadecimal": lambda p: shown(
        RGB + b"/Filter[/ASCIIHexDecode/DCTDecode]", encoded(p, "JPEG").hex().encode(), p.size
    ),
    "jpeg of four colours": lambda p: shown(
        b"/ColorSpace/DeviceCMYK/BitsPerComponent 8/Filter/DCTDecode",
        encoded(p.convert("CMYK"), "JPEG"),
        p.size,
    ),
    "jpeg, colours reversed and drawn reversed": lambda p: shown(
        RGB + b"/Decode[1 0 1 0 1 0]/Filter/DCTDecode",
        encoded(p.point(lambda level: 255 - level), "JPEG"),
        p.size,
    ),
    "jpeg 2000": lambda p: shown(b"/Filter/JPXDecode", encoded(p, "JPEG2000"), p.size),
    "deflate": lambda p: shown(RGB + b"/Filter/FlateDecode", zlib.compress(p.tobytes()), p.size),
    "plain samples": lambda p: shown(RGB, p.tobytes(), p.size),
    "grey": lambda p: shown(GREY, p.convert("L").tobytes(), p.size),
    "one bit": lambda p: shown(
        b"/ColorSpace/DeviceGray/BitsPerComponent 1", p.convert("1").tobytes(), p.size
    ),
    "palette": lambda p: shown(
        b"/ColorSpace[/Indexed/DeviceRGB 63<%s>]/BitsPerComponent 8"
        % bytes(p.quantize(64).getpalette() or []).ljust(192, b"\0")[:192].hex().encode(),
        p.quantize(64).tobytes(),
        p.size,
    ),
    "in the page itself": lambda p: pages(
        [
            b"q 600 0 0 400 0 0 cm BI /W %d /H %d /CS /RGB /BPC 8 ID " % p.size
            + p.tobytes()
            + b"\nEI Q"
        ],
        b"",
    ),
    "in a form": lambda p: _within(_FORM, p),
    "as a pattern": lambda p: pages(
        [b"/Pattern cs /P scn 0 0 600 400 re f"],
        b"/Pattern<</P 4 0 R>>",
        [image(p.size, RGB + b"/Filter/DCTDecode", encoded(p, "JPEG")), _PATTERN],
    ),
    "in 13 strips": lambda p: cut(p, 1, 13),
    "in 24 tiles on a page of text": lambda p: cut(p, 6, 4, (200, 40, 500, 240)),
    "as a mosaic": _mosaic,
}
