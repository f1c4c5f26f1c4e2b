"""Files inside files: what archives and documents hold, one member at a time, in memory.

Not here: what a member shows (`decode`), what PDFs hold (`pdf`). Members are numbered from 1 in
the order in which they lie, those of an archive inside an archive along with the rest; names are
never looked at but to tell an office document. Nothing is written, nothing of a member is kept
when the next is read.
Invariants: every member is either bytes, or a code that says why not; only what is empty, a
directory, a document's own mark-up or a Mac's note about a file is passed over.
Source: docs/spec/fingerprint.md, section 15.
"""

import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

from accord.fingerprint.allowance import Allowance, OverLimit, Part
from accord.fingerprint.formats import format_of
from accord.fingerprint.ole2 import SIGNATURE as OLE2
from accord.fingerprint.ole2 import ole2_parts
from accord.fingerprint.pdf import pdf_parts
from accord.fingerprint.seven_zip import SIGNATURE, seven_zip_parts
from accord.fingerprint.types import UnhashableCode
from accord.fingerprint.video_formats import HEAD_BYTES, video_format_of
from accord.wire.limits import ARCHIVE_DEPTH_MAX, ARCHIVE_MEMBERS_MAX

ContainerName: TypeAlias = Literal[
    "zip", "tar", "gzip", "bzip2", "xz", "7z", "ole2", "pdf", "motion", "closed"
]
Member: TypeAlias = tuple[int, Part]

# Containers that are known and not opened here: what they hold is not known to be harmless.
_CLOSED: Final = b"Rar!\x1a\x07"
# The box that an MP4 begins with: a length, its name, a brand. One in 10^18 places by chance.
_FILM: Final = re.compile(rb"\0\0[\0-\3].ftyp[a-zA-Z0-9 ]{4}", re.DOTALL)
_OWN_BOX_WITHIN: Final = 16  # What a HEIC or a JPEG 2000 is says such a box before.
_OTHER_BOXES_MAX: Final = 100  # That begin pictures; the next one is looked at as a file anyway.
# Half of what `bytes.find` takes.
_RAR: Final = re.compile(re.escape(_CLOSED))
_SEVEN_ZIP: Final = re.compile(re.escape(SIGNATURE))
_PACKED: Final[tuple[tuple[bytes, ContainerName], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_ZIP_MEMBER: Final = b"PK\x01\x02"
_ZIP_END: Final = b"PK\x05\x06"
ZIP_END_WITHIN: Final = 22 + 65_535  # The end record and the longest comment.
_ZIP_ENCRYPTED: Final = 0x1
_DOCUMENT_PARTS: Final = frozenset({"[Content_Types].xml", "mimetype"})
_PDF: Final = b"%PDF-"
HEAD_WITHIN: Final = 1024  # Where a container but a zip begins, a PDF by its readers' custom.
_MARKUP: Final = (b"<", b"\xef\xbb\xbf<")
_MIMETYPE: Final = b"application/"
_MAC_NOTE: Final = b"\x00\x05\x16\x07"
_MAC_NOTE_BYTES_MAX: Final = 4096
_XZ_MEMORY_BYTES: Final = 100_000_000  # What a dictionary of xz's highest setting takes.
_ERRORS: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    KeyError,
    RuntimeError,  # What zipfile raises where a member is encrypted, or packed in a way it lacks.
)


def containers_of(data: bytes) -> tuple[ContainerName, ...]:
    """Every container that some bytes are to somebody: none, as a rule.

    One by its beginning; or else a PDF by what is near the beginning, a zip by its end, and what
    a picture or film carries behind it: 7z, RAR, the film of a phone's motion photo.
    """
    if data[:4] in (b"PK\x03\x04", _ZIP_END):
        return ("zip",)
    if data[257:262] == b"ustar":
        return ("tar",)
    if data.startswith(SIGNATURE):
        return ("7z",)
    if data.startswith(OLE2):
        return ("ole2",)
    if data.startswith(_CLOSED):
        return ("closed",)
    packed: ContainerName | None = next((n for magic, n in _PACKED if data.startswith(magic)), None)
    if packed is not None:
        return (packed,)
    found: list[ContainerName] = []
    if data.find(_PDF, 0, HEAD_WITHIN) >= 0:
        found.append("pdf")
    if has_zip_at_end(data):
        found.append("zip")
    if _is_shown(data):
        found += _carried_by(data)
    return tuple(found)


def _carried_by(data: bytes) -> Iterator[ContainerName]:
    """Unpackers look for 7z and RAR behind a program's code, and find them behind a picture."""
    if format_of(data) is not None and _film_behind(data) >= 0:
        yield "motion"
    if _SEVEN_ZIP.search(data):
        yield "7z"
    if _RAR.search(data):
        yield "closed"


def _film_behind(data: bytes) -> int:
    """Where a film begins in a picture, or -1."""
    for others, box in enumerate(_FILM.finditer(data, _OWN_BOX_WITHIN)):
        head = data[box.start() : box.start() + HEAD_BYTES]
        if video_format_of(head) is not None or others == _OTHER_BOXES_MAX:
            return box.start()
    return -1


def has_zip_at_end(data: bytes) -> bool:
    """Whether a zip's end record is where unpackers look for it, whatever comes before."""
    at = data.rfind(_ZIP_END, max(0, len(data) - ZIP_END_WITHIN))
    return at >= 0 and data.find(_ZIP_MEMBER, 0, at) >= 0


def may_have_zip_at_end(end: bytes) -> bool:
    """`has_zip_at_end` of a file of which only the last `ZIP_END_WITHIN` bytes are at hand: the
    files' records may lie anywhere before these. Of other files that are so large one in 65,000
    has the four bytes there by chance."""
    return end.rfind(_ZIP_END) >= 0


def members_of(data: bytes, names: Sequence[ContainerName]) -> Iterator[Member]:
    """Every member's number and its bytes, or why there are none; ends at the first limit."""
    left = Allowance()
    try:
        for name in names:
            yield from _opened(data, name, left, depth=1)
    except OverLimit:
        yield left.number, Part(UnhashableCode.ARCHIVE_TOO_LARGE)


def _opened(data: bytes, name: ContainerName, left: Allowance, depth: int) -> Iterator[Member]:
    if name == "closed" or depth > ARCHIVE_DEPTH_MAX:
        closed = name == "closed"
        code = UnhashableCode.ARCHIVE_NOT_READABLE if closed else UnhashableCode.ARCHIVE_TOO_LARGE
        yield left.number, Part(code)
        return
    walk = _WALKS.get(name, _tar_or_file)
    try:
        for found in walk(data, left):
            part = found if isinstance(found, Part) else Part(found)
            yield from _looked_into(part, left, depth)
    except _ERRORS:
        yield left.number, Part(UnhashableCode.ARCHIVE_NOT_READABLE)


def _looked_into(part: Part, left: Allowance, depth: int) -> Iterator[Member]:
    """A member, unless it is a container and no picture, and what it holds."""
    if not isinstance(part.found, bytes):
        yield left.number, part
        return
    inner = containers_of(part.found)
    if not inner or _is_shown(part.found):
        yield left.number, part
    for name in inner:
        yield from _opened(part.found, name, left, depth + 1)


def _is_shown(data: bytes) -> bool:
    return format_of(data) is not None or video_format_of(data[:HEAD_BYTES]) is not None


def _zip(data: bytes, left: Allowance) -> Iterator[bytes | UnhashableCode]:
    if data.count(_ZIP_MEMBER) > ARCHIVE_MEMBERS_MAX:  # Before a directory of millions is read.
        raise OverLimit
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        is_document = any(info.filename in _DOCUMENT_PARTS for info in infos)
        for info in infos:
            if info.is_dir() and info.file_size == 0:
                continue
            left.count()
            if info.flag_bits & _ZIP_ENCRYPTED:
                yield UnhashableCode.ARCHIVE_ENCRYPTED
                continue
            # Others' decoders give all they hold at once: no limit would reach them.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield UnhashableCode.ARCHIVE_NOT_READABLE
                continue
            try:
                with archive.open(info) as member:
                    found = left.take(member.read)
            except _ERRORS:
                yield UnhashableCode.ARCHIVE_NOT_READABLE
                continue
            if not _is_passed_over(found, is_document):
                yield found


def _tar(data: bytes, left: Allowance) -> Iterator[bytes | UnhashableCode]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            left.count()
            if not info.isreg():  # A link or a directory has no bytes of its own.
                continue
            member = archive.extractfile(info)
            if member is None:
                yield UnhashableCode.ARCHIVE_NOT_READABLE
                continue
            if info.size > len(data):
                raise tarfile.ReadError
            found = left.take(member.read)
            if not _is_passed_over(found, is_document=False):
                yield found


def _ole2(data: bytes, left: Allowance) -> Iterator[Part]:
    return ole2_parts(data, left, lambda part: _is_shown(part) or bool(containers_of(part)))


def _seven_zip(data: bytes, left: Allowance) -> Iterator[Part]:
    return seven_zip_parts(data[data.find(SIGNATURE) :], left)


def _motion(data: bytes, left: Allowance) -> Iterator[bytes]:
    """The seconds of film that a phone keeps behind a photograph."""
    left.count()
    yield left.take(io.BytesIO(data[_film_behind(data) :]).read)


def _tar_or_file(data: bytes, left: Allowance) -> Iterator[bytes | UnhashableCode]:
    """What a packed stream holds: a tar, whose members follow, or one file."""
    left.count()
    yield left.take(_unpacker(data))


def _unpacker(data: bytes) -> Callable[[int], bytes]:
    """Reads that many bytes of a packed stream, or what there is."""
    if data.startswith(b"\x1f\x8b"):
        return lambda size: _gunzipped(data, size)
    if data.startswith(b"BZh"):
        return bz2.BZ2File(io.BytesIO(data)).read
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    def read(size: int) -> bytes:
        found = decoder.decompress(data, size)
        if len(found) < size and (not decoder.eof or decoder.unused_data.strip(b"\0")):
            raise lzma.LZMAError  # Cut, or more streams than the first.
        return found

    return read


def _gunzipped(data: bytes, size: int) -> bytes:
    decoder = zlib.decompressobj(wbits=31)
    found = decoder.decompress(data, size)
    if len(found) < size and (not decoder.eof or decoder.unused_data.strip(b"\0")):
        raise zlib.error  # As above.
    return found


def _is_passed_over(found: bytes, is_document: bool) -> bool:
    if found.startswith(_MAC_NOTE) and len(found) <= _MAC_NOTE_BYTES_MAX:
        return True
    return not found or (is_document and found.startswith((*_MARKUP, _MIMETYPE)))


_Walk: TypeAlias = Callable[[bytes, Allowance], Iterator[bytes | UnhashableCode] | Iterator[Part]]
_WALKS: Final[dict[ContainerName, _Walk]] = {
    "zip": _zip,
    "tar": _tar,
    "pdf": pdf_parts,
    "ole2": _ole2,
    "7z": _seven_zip,
    "motion": _motion,
}
