"""What a 7z archive holds, one file at a time, by the standard library's decompressors.

Read are archives packed by copying, LZMA, LZMA2, deflate or bzip2, with or without the filters of
the standard library before LZMA2. Whatever else 7-Zip knows (PPMd, BCJ2, Zstandard ...) is a code.
Not here: what a file shows (`decode`), archives in archives (`containers`). Names, times and empty
files are not read: only what has bytes is numbered.
Invariants: a file is given out whole and with the checksum that the archive has for it, or a code
is; a dictionary is never larger than what is unpacked with it.
Source: 7zFormat.txt of the LZMA SDK; docs/spec/fingerprint.md, section 15.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from accord.fingerprint.allowance import Allowance, OverLimit, Part
from accord.fingerprint.types import UnhashableCode
from accord.wire.limits import ARCHIVE_MEMBERS_MAX, SEVEN_ZIP_HEADER_BYTES_MAX

SIGNATURE: Final = b"7z\xbc\xaf\x27\x1c"
_START_BYTES: Final = 32
_CODERS_MAX: Final = 4  # Coders of one folder; 7-Zip itself makes 4 at most.
_HEADERS_MAX: Final = 4  # Headers that are packed again.
_DICTIONARY_BYTES_MIN: Final = 4_096

_END, _HEADER, _PROPERTIES, _STREAMS, _FILES = 0x00, 0x01, 0x02, 0x04, 0x05
_PACK, _CODERS, _PARTS, _SIZE, _CRC = 0x06, 0x07, 0x08, 0x09, 0x0A
_FOLDER, _CODERS_SIZE, _PARTS_COUNT, _PACKED_HEADER = 0x0B, 0x0C, 0x0D, 0x17

_COPY, _LZMA2, _LZMA = b"\x00", b"\x21", b"\x03\x01\x01"
_DEFLATE, _BZIP2, _AES = b"\x04\x01\x08", b"\x04\x02\x02", b"\x06\xf1\x07\x01"
_DELTA: Final = b"\x03"
_FILTERS: Final = {
    b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}


class _NotRead(Exception):
    """A way to pack that is not read here, and the code for what is packed so."""

    def __init__(self, code: UnhashableCode = UnhashableCode.ARCHIVE_NOT_READABLE) -> None:
        super().__init__(code.value)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Coder:
    method: bytes
    properties: bytes


@dataclass(slots=True)
class _Folder:
    """What was packed together. `coders`: the last one first meets the packed bytes; empty where
    they do not form a chain. `size` of all it holds; `parts`: size and checksum of each file.
    """

    coders: tuple[_Coder, ...]
    packed_streams: int
    sizes: list[int] = field(default_factory=list[int])
    out: int = 0
    crc: int | None = None
    parts: list[tuple[int, int | None]] = field(default_factory=list[tuple[int, int | None]])

    @property
    def size(self) -> int:
        return self.sizes[self.out]


@dataclass(slots=True)
class _Archive:
    """Where the packed bytes of each folder lie."""

    folders: list[_Folder] = field(default_factory=list[_Folder])
    starts: list[int] = field(default_factory=list[int])  # Of packed streams, and the end.


class _Reader:
    """Reads a header front to back. Raises: ValueError, where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise ValueError("a header ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """As many of the first byte's high bits are set as bytes follow, low ones first."""
        first = self.byte()
        follow = next((n for n in range(8) if not first & 0x80 >> n), 8)
        low = int.from_bytes(self.take(follow), "little")
        return low | (first & (0x7F >> follow)) << 8 * follow

    def count(self) -> int:
        """How many of something there are. Raises: OverLimit."""
        found = self.number()
        if found > ARCHIVE_MEMBERS_MAX:
            raise OverLimit
        return found

    def expect(self, wanted: int) -> None:
        if self.byte() != wanted:
            raise ValueError("a header of another form")

    def checksums(self, count: int) -> list[int | None]:
        """One for each of `count`, where there is one."""
        defined = [True] * count
        if self.byte() == 0:
            bits = self.take((count + 7) // 8)
            defined = [bool(bits[n // 8] & 0x80 >> n % 8) for n in range(count)]
        return [int.from_bytes(self.take(4), "little") if known else None for known in defined]


def seven_zip_parts(data: bytes, left: Allowance) -> Iterator[Part]:
    """Every file with bytes, in the order of the archive."""
    try:
        archive = _archive_of(data)
    except _NotRead as err:
        yield Part(err.code)
        return
    stream = 0
    for folder in archive.folders:
        start, end = archive.starts[stream], archive.starts[stream + folder.packed_streams]
        stream += folder.packed_streams
        yield from _files_of(folder, data[start:end], left)


def _files_of(folder: _Folder, packed: bytes, left: Allowance) -> Iterator[Part]:
    code, read = UnhashableCode.ARCHIVE_NOT_READABLE, None
    try:
        read = _unpacker(folder, packed)
    except _NotRead as err:
        code = err.code
    for size, crc in folder.parts:
        if size == 0:
            continue
        left.count()
        if read is None:
            yield Part(code)
            continue
        left.spend(size)
        file = read(size)
        yield Part(code if crc is not None and zlib.crc32(file) != crc else file)


def _archive_of(data: bytes) -> _Archive:
    """Raises: ValueError, _NotRead, OverLimit, and what decompressors do."""
    offset, size = (int.from_bytes(data[at : at + 8], "little") for at in (12, 20))
    header = data[_START_BYTES + offset : _START_BYTES + offset + size]
    crc = int.from_bytes(data[28:32], "little")
    for _ in range(_HEADERS_MAX):
        if not header and size == 0:
            return _Archive()
        if len(header) != size or zlib.crc32(header) != crc:
            raise ValueError("a damaged header")
        reader = _Reader(header)
        kind = reader.byte()
        if kind == _HEADER:
            return _main(reader, len(data))
        if kind != _PACKED_HEADER:
            break
        archive = _streams(reader, len(data))
        (folder,) = archive.folders
        ((size, known),) = folder.parts
        if size > SEVEN_ZIP_HEADER_BYTES_MAX:
            raise OverLimit
        header = _unpacker(folder, data[archive.starts[0] : archive.starts[-1]])(size)
        crc = zlib.crc32(header) if known is None else known
    raise ValueError("no header")


def _main(reader: _Reader, end: int) -> _Archive:
    kind = reader.byte()
    if kind == _PROPERTIES:
        raise _NotRead
    if kind in (_END, _FILES):  # Nothing but empty files.
        return _Archive()
    if kind != _STREAMS:
        raise _NotRead
    return _streams(reader, end)


def _streams(reader: _Reader, end: int) -> _Archive:
    archive = _Archive()
    kind = reader.byte()
    if kind == _PACK:
        archive.starts = _packed(reader, end)
        kind = reader.byte()
    if kind == _CODERS:
        archive.folders = _folders(reader)
        kind = reader.byte()
    if kind == _PARTS:
        _parts(reader, archive.folders)
        kind = reader.byte()
    if kind != _END or sum(f.packed_streams for f in archive.folders) > len(archive.starts) - 1:
        raise ValueError("streams of another form")
    for folder in archive.folders:
        if sum(size for size, _ in folder.parts) > folder.size:
            raise ValueError("files are larger than what holds them")
    return archive


def _packed(reader: _Reader, end: int) -> list[int]:
    starts = [_START_BYTES + reader.number()]
    count = reader.count()
    reader.expect(_SIZE)
    for _ in range(count):
        starts.append(starts[-1] + reader.number())
    kind = reader.byte()
    if kind == _CRC:
        reader.checksums(count)
        kind = reader.byte()
    if kind != _END or starts[-1] > end:
        raise ValueError("packed streams of another form")
    return starts


def _folders(reader: _Reader) -> list[_Folder]:
    reader.expect(_FOLDER)
    count = reader.count()
    reader.expect(0)  # In place.
    folders = [_folder(reader) for _ in range(count)]
    reader.expect(_CODERS_SIZE)
    for folder in folders:
        folder.sizes = [reader.number() for _ in folder.sizes]
    kind = reader.byte()
    if kind == _CRC:
        for folder, crc in zip(folders, reader.checksums(count), strict=True):
            folder.crc = crc
        kind = reader.byte()
    if kind != _END:
        raise ValueError("folders of another form")
    for folder in folders:
        folder.parts = [(folder.size, folder.crc)]
    return folders


def _folder(reader: _Reader) -> _Folder:
    count = reader.number()
    if not 0 < count <= _CODERS_MAX:
        raise _NotRead
    coders: list[_Coder] = []
    ins = outs = 0
    for _ in range(count):
        about = reader.byte()
        method = reader.take(about & 0x0F)
        takes, gives = (reader.count(), reader.count()) if about & 0x10 else (1, 1)
        coders.append(_Coder(method, reader.take(reader.count()) if about & 0x20 else b""))
        ins, outs = ins + takes, outs + gives
    bound = [(reader.number(), reader.number()) for _ in range(outs - 1)]
    packed = ins - len(bound)
    if packed > 1:
        for _ in range(packed):
            reader.number()
    sizes = [0] * outs
    if ins != count or outs != count:
        return _Folder((), packed, sizes)
    # A chain: from the coder that gives what is wanted to the one that takes the packed bytes.
    out = next((n for n in range(outs) if n not in [given for _, given in bound]), 0)
    chain = [out]
    taken = dict(bound)
    while chain[-1] in taken and len(chain) < count:
        chain.append(taken[chain[-1]])
    is_chain = sorted(chain) == list(range(count))
    return _Folder(tuple(coders[n] for n in chain) if is_chain else (), packed, sizes, out)


def _parts(reader: _Reader, folders: Sequence[_Folder]) -> None:
    counts = [1] * len(folders)
    kind = reader.byte()
    if kind == _PARTS_COUNT:
        counts = [reader.count() for _ in folders]
        kind = reader.byte()
    for folder, count in zip(folders, counts, strict=True):
        sizes = [reader.number() for _ in range(count - 1)] if kind == _SIZE else []
        rest = folder.size - sum(sizes)
        if rest < 0 or (count > 1 and kind != _SIZE):
            raise ValueError("files are larger than what holds them")
        crc = folder.crc if count == 1 else None
        folder.parts = [(size, crc) for size in ([*sizes, rest] if count else [])]
    if kind == _SIZE:
        kind = reader.byte()
    if kind == _CRC:
        unknown = [f for f in folders if len(f.parts) != 1 or f.crc is None]
        found = iter(reader.checksums(sum(len(folder.parts) for folder in unknown)))
        for folder in unknown:
            folder.parts = [(size, next(found)) for size, _ in folder.parts]
        kind = reader.byte()
    if kind != _END:
        raise ValueError("files of another form")


_Read: TypeAlias = Callable[[int], bytes]


def _unpacker(folder: _Folder, packed: bytes) -> _Read:
    """Reads that many bytes of what a folder holds. Raises: _NotRead; EOFError and what
    decompressors do, when it reads.
    """
    if any(coder.method == _AES for coder in folder.coders):
        raise _NotRead(UnhashableCode.ARCHIVE_ENCRYPTED)
    if not folder.coders:
        raise _NotRead
    *filters, last = folder.coders
    if last.method == _LZMA2:
        chain = [
            *map(_filter, filters),
            {"id": lzma.FILTER_LZMA2, "dict_size": _dictionary(folder)},
        ]
        return _whole(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), packed)
    if filters:
        raise _NotRead
    match last.method:
        case m if m == _LZMA:
            chain = [_lzma(last.properties, folder)]
            return _whole(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), packed)
        case m if m == _BZIP2:
            return _whole(bz2.BZ2Decompressor(), packed)
        case m if m == _DEFLATE:
            return _inflating(packed)
        case m if m == _COPY:
            return _Reader(packed).take
        case _:
            raise _NotRead


def _dictionary(folder: _Folder) -> int:
    """More than all that is unpacked is never looked back at."""
    return max(_DICTIONARY_BYTES_MIN, folder.size)


def _filter(coder: _Coder) -> dict[str, int]:
    if coder.method == _DELTA and len(coder.properties) == 1:
        return {"id": lzma.FILTER_DELTA, "dist": coder.properties[0] + 1}
    if coder.method not in _FILTERS or coder.properties:
        raise _NotRead
    return {"id": _FILTERS[coder.method]}


def _lzma(properties: bytes, folder: _Folder) -> dict[str, int]:
    if len(properties) != 5:
        raise ValueError("properties of another length")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    said = int.from_bytes(properties[1:], "little")
    size = max(_DICTIONARY_BYTES_MIN, min(said, folder.size))
    return {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": size}


def _whole(decoder: lzma.LZMADecompressor | bz2.BZ2Decompressor, packed: bytes) -> _Read:
    given = [packed]

    def read(size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            more = decoder.decompress(given.pop() if given else b"", size - len(found))
            if not more and (decoder.eof or decoder.needs_input):
                raise EOFError
            found += more
        return bytes(found)

    return read


def _inflating(packed: bytes) -> _Read:
    decoder = zlib.decompressobj(wbits=-15)
    left = [packed]

    def read(size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            more = decoder.decompress(left[0], size - len(found))
            left[0] = decoder.unconsumed_tail
            if not more:
                raise EOFError
            found += more
        return bytes(found)

    return read
