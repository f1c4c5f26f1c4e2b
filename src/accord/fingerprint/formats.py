"""Which picture format some bytes are, by content alone, before any decoder sees them.

Exactly one decoder is then opened: the name and the declared type of a file never matter.
Source: docs/spec/fingerprint.md, section 2.
"""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

FormatName: TypeAlias = Literal[
    "jpeg", "png", "gif", "webp", "bmp", "tiff", "avif", "heif", "ico", "jpeg2000"
]

# Our name, and the decoder's: Pillow's own, but for "HEIF", which pillow-heif registers.
FORMATS: Final[dict[FormatName, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "heif": "HEIF",
    "ico": "ICO",
    "jpeg2000": "JPEG2000",
}
ANIMATED: Final[frozenset[FormatName]] = frozenset({"png", "gif", "webp", "avif", "heif"})

_JP2: Final = b"\0\0\0\x0cjP  \r\n\x87\n"  # In its container,
_J2K: Final = b"\xff\x4f\xff\x51"  # and bare.
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_BRANDS_BYTES_MAX: Final = 1024  # A file type box lists a handful of 4-byte brands.


def format_of(data: bytes) -> FormatName | None:
    """The format the first bytes announce, or None for all that is not read here."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM":
        return "bmp"
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if data[:4] == b"\x00\x00\x01\x00" and data[4:6] != b"\x00\x00":
        return "ico"
    if data[:12] == _JP2 or data[:4] == _J2K:
        return "jpeg2000"
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    return None


def _iso_media(data: bytes) -> FormatName | None:
    """AVIF or HEIF by the file type box: the major brand decides, then the compatible ones."""
    end = min(int.from_bytes(data[:4], "big"), _BRANDS_BYTES_MAX, len(data))
    major, others = data[8:12], {data[at : at + 4] for at in range(16, end - 3, 4)}
    if major in _AVIF_BRANDS:
        return "avif"
    if major in (b"mif1", b"msf1") and others & _AVIF_BRANDS:
        return "avif"
    return "heif" if major in _HEIF_BRANDS or others & _HEIF_BRANDS else None


def is_cut(data: bytes, name: FormatName) -> bool:
    """Whether the container itself says that bytes are missing. Only names a failure's code."""
    if name == "webp":
        return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    if name == "png":
        return b"IEND" not in data[-4096:]
    if name == "jpeg":
        return b"\xff\xd9" not in data[-4096:]
    return name in ("avif", "heif") and _boxes_end(data) > len(data)


def has_track(data: bytes) -> bool:
    """Whether an ISO media file has pictures in time, besides those that lie side by side."""
    return any(data[at + 4 : at + 8] == b"moov" for at in _boxes(data))


def _boxes_end(data: bytes) -> int:
    """Where the last top-level box of an ISO media file says that it ends."""
    return max((at + _box_size(data, at) for at in _boxes(data)), default=0)


def _boxes(data: bytes) -> Iterator[int]:
    """Where each top-level box begins."""
    at = 0
    while at + 8 <= len(data):
        yield at
        at += _box_size(data, at)


def _box_size(data: bytes, at: int) -> int:
    size = int.from_bytes(data[at : at + 4], "big")
    # 0: to the end of the file. 1: a 64-bit size, which no picture here has.
    return size if size >= 8 else len(data) - at
