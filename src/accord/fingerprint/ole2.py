"""What an OLE2 file holds: pictures in old office documents, and files in mails and packages.

Streams are read whole, wherever their sectors lie and whatever their names say. One that begins
as a picture, film or container is that file; in all others pictures are found by their first
bytes, or by the record of a drawing that holds them.
Not here: what a picture shows (`decode`), which containers there are (`containers`).
Invariants: every entry of the directory is looked at, linked or not; no chain of sectors is
followed further than the file has sectors.
Source: [MS-CFB], [MS-ODRAW] 2.2.23 to 2.2.31, [MS-XLS] 2.4; docs/spec/fingerprint.md, section 15.
"""

import re
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from accord.fingerprint.allowance import Allowance, OverLimit, Part
from accord.fingerprint.embedded import end_of_jpeg
from accord.fingerprint.types import UnhashableCode
from accord.wire.limits import ARCHIVE_BYTES_MAX

SIGNATURE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LAST: Final = 0xFFFF_FFFA  # Sectors from here on are marks, such as the end of a chain.
_ENTRY_BYTES: Final = 128
_STREAM, _ROOT = 2, 5
_ENCRYPTED: Final = Part(UnhashableCode.ARCHIVE_ENCRYPTED)
_NOT_READABLE: Final = Part(UnhashableCode.ARCHIVE_NOT_READABLE)

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Records of drawings by version, instance and type: with one digest of the picture, or two.
_DIB, _TIFF = (b"\x80\x7a\x1f\xf0", b"\x90\x7a\x1f\xf0"), (b"\x40\x6e\x29\xf0", b"\x50\x6e\x29\xf0")
_METAFILES: Final = (
    *(b"\x40\x3d\x1a\xf0", b"\x50\x3d\x1a\xf0"),
    *(b"\x60\x21\x1b\xf0", b"\x70\x21\x1b\xf0"),
    *(b"\x20\x54\x1c\xf0", b"\x30\x54\x1c\xf0"),
)
# Bytes packed otherwise begin like a JPEG now and then: a fourth one of its own tells most.
_BEGINS: Final = re.compile(
    b"|".join(map(re.escape, (_PNG, *_DIB, *_TIFF, *_METAFILES)))
    + rb"|\xff\xd8\xff[\xc0-\xcf\xdb\xdd\xe0-\xef\xfe]"
)
_RECORD_BYTES: Final = 8
_DIGEST_BYTES: Final = 16
_INFO_BYTES: Final = 40  # BITMAPINFOHEADER.

_WORD_ENCRYPTED: Final = 0x01  # fEncrypted, in the high byte of the flags at 10.
_SHOW_ENCRYPTED: Final = b"\xdf\xc4\xd1\xf3"  # headerToken of CurrentUserAtom, at 12.
_DRAWINGS, _CONTINUE, _PASSWORD = 0x00EB, 0x003C, 0x002F  # Records of a workbook.


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str
    data: bytes


def ole2_parts(data: bytes, left: Allowance, is_file: Callable[[bytes], bool]) -> Iterator[Part]:
    """Every picture and file, stream by stream. `is_file`: whether bytes begin as one."""
    for stream in _streams(data):
        for part in _parts_of(stream, is_file):
            left.count()
            if isinstance(part.found, bytes):
                left.spend(len(part.found))
            yield part


def _parts_of(stream: _Stream, is_file: Callable[[bytes], bool]) -> Iterator[Part]:
    data = stream.data
    match stream.name:
        case "EncryptedPackage" | "EncryptedSummary":
            yield _ENCRYPTED
            if is_file(data):
                yield Part(data)
            return
        case _ if is_file(data):  # Before the names, which are anybody's to choose.
            yield Part(data)
            return
        case "WordDocument" if data[11:12] and data[11] & _WORD_ENCRYPTED:
            yield _ENCRYPTED
        case "Current User" if data[12:16] == _SHOW_ENCRYPTED:
            yield _ENCRYPTED
        case "Workbook" | "Book":
            drawings, is_encrypted = _drawings_of(data)
            data = drawings or data
            if is_encrypted:
                yield _ENCRYPTED
        case _:
            pass
    yield from pictures_in(data)


def pictures_in(data: bytes) -> Iterator[Part]:
    """Pictures among other bytes, by how they begin."""
    at = 0
    while (found := _BEGINS.search(data, at)) is not None:
        start, begin = found.start(), found.group()
        if begin.startswith(_JPEG):
            at = max(end_of_jpeg(data, start), start + len(_JPEG))
            yield Part(data[start:at])
        elif begin == _PNG:
            at = _end_of_png(data, start)
            yield Part(data[start:at])
        else:
            size = int.from_bytes(data[start + 4 : start + _RECORD_BYTES], "little")
            at = start + _RECORD_BYTES
            if at + size > len(data):  # Four bytes that happen to look like a record.
                continue
            digests = 2 if begin[0] & 0x10 else 1
            body = data[at + digests * _DIGEST_BYTES + 1 : at + size]
            at += size
            if begin in _METAFILES:
                yield _NOT_READABLE
            else:
                yield Part(body if begin in _TIFF else bmp_of(body))


def bmp_of(dib: bytes) -> bytes:
    """A bitmap as memory has it, as the file that it would be."""
    head = int.from_bytes(dib[:4], "little")
    bits = int.from_bytes(dib[14:16], "little")
    compression, colours = dib[16:20], int.from_bytes(dib[32:36], "little")
    palette = 4 * (colours or (1 << bits if bits <= 8 else 0))
    masks = 12 if compression == b"\x03\0\0\0" and head == _INFO_BYTES else 0
    start = 14 + head + masks + palette
    sizes = (14 + len(dib)).to_bytes(4, "little"), bytes(4), (start % 2**32).to_bytes(4, "little")
    return b"".join((b"BM", *sizes, dib))


def _end_of_png(data: bytes, start: int) -> int:
    at = start + len(_PNG)
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size
        if kind == b"IEND":
            break
    return min(at, len(data))


def _drawings_of(workbook: bytes) -> tuple[bytes, bool]:
    """What a workbook's records of drawings come to, put together, and whether it is encrypted."""
    found, at, is_encrypted = bytearray(), 0, False
    is_drawing = False
    while at + 4 <= len(workbook):
        kind, size = (int.from_bytes(workbook[at + n : at + n + 2], "little") for n in (0, 2))
        is_encrypted = is_encrypted or kind == _PASSWORD
        is_drawing = kind == _DRAWINGS or (is_drawing and kind == _CONTINUE)
        if is_drawing:
            found += workbook[at + 4 : at + 4 + size]
        at += 4 + size
    return bytes(found), is_encrypted


class _File:
    """Sectors and chains of one file. Raises: ValueError, IndexError, where they make no sense."""

    def __init__(self, data: bytes) -> None:
        shift = _number(data, 30, 2)
        if shift not in (9, 12):
            raise ValueError("sectors of another size")
        self._data, self._size = data, 1 << shift
        self._count = max(0, len(data) - self._size) // self._size + 1
        tables = [_number(data, 76 + 4 * n) for n in range(109)]
        following, each = _number(data, 68), self._size // 4
        for _ in range(self._count):
            if following >= _LAST:
                break
            more = self._numbers(self.sector(following))
            tables += more[: each - 1]
            following = more[each - 1]
        used = [table for table in tables if table < _LAST]
        if len(used) > self._count:
            raise ValueError("more tables than sectors")
        self._next = self._numbers(b"".join(map(self.sector, used)))

    def sector(self, number: int) -> bytes:
        start = (number + 1) * self._size
        if number >= self._count:
            raise ValueError("a sector beyond the end")
        return self._data[start : start + self._size].ljust(self._size, b"\0")

    def chain(self, first: int) -> bytes:
        return b"".join(self.sector(number) for number in _followed(first, self._next))

    def numbers(self, first: int) -> "array[int]":
        return self._numbers(self.chain(first))

    @staticmethod
    def _numbers(data: bytes) -> "array[int]":
        found = array("I", data)
        if sys.byteorder == "big":
            found.byteswap()
        return found


def _streams(data: bytes) -> Iterator[_Stream]:
    """Every stream of the directory. Raises: as `_File`; OverLimit."""
    file = _File(data)
    directory = file.chain(_number(data, 48))
    entries = [
        directory[at : at + _ENTRY_BYTES]
        for at in range(0, len(directory) - _ENTRY_BYTES + 1, _ENTRY_BYTES)
    ]
    roots = [entry for entry in entries if entry[66] == _ROOT]
    small = file.chain(_number(roots[0], 116)) if roots else b""
    small_next = file.numbers(_number(data, 60)) if small else array("I")
    cutoff, left = _number(data, 56), ARCHIVE_BYTES_MAX
    for entry in entries:
        size, first = _number(entry, 120), _number(entry, 116)
        if entry[66] != _STREAM or size == 0:
            continue
        left -= size
        if left < 0:
            raise OverLimit
        name = entry[: max(0, _number(entry, 64, 2) - 2)][:62].decode("utf-16-le", "replace")
        if size >= cutoff:
            yield _Stream(name, file.chain(first)[:size])
        else:
            places = _followed(first, small_next)
            yield _Stream(name, b"".join(small[64 * n : 64 * n + 64] for n in places)[:size])


def _followed(first: int, following: "array[int]") -> Iterator[int]:
    number = first
    for _ in range(len(following)):
        if number >= _LAST:
            return
        yield number
        number = following[number]
    if number < _LAST:
        raise ValueError("a chain without end")


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "little")
