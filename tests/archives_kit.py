"""Archives in memory, of what members are given."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence


def zipped(files: Sequence[bytes], names: Sequence[str] = (), method: int = 8) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, data in enumerate(files):
            archive.writestr(names[number] if names else f"{number}.jpg", data)
    return out.getvalue()


def tarred(files: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, data in enumerate(files):
            about = tarfile.TarInfo(f"{number}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def number_7z(value: int) -> bytes:
    """A number as 7z writes it, always in its longest form."""
    return b"\xff" + value.to_bytes(8, "little")


def seven_zipped(files: Sequence[bytes], packed: bytes | None = None, size: int = 0) -> bytes:
    """A 7z with one folder packed by LZMA2 and a header that is not packed.

    `packed`: what to hold instead, said to be one file of `size` bytes.
    """
    sizes = [len(data) for data in files] if packed is None else [size]
    crcs = b"".join(zlib.crc32(data).to_bytes(4, "little") for data in files)
    if packed is None:
        packed = lzma.compress(
            b"".join(files), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]
        )
    number = number_7z
    header = b"\x01\x04"
    header += b"\x06" + number(0) + number(1) + b"\x09" + number(len(packed)) + b"\x00"
    header += b"\x07\x0b" + number(1) + b"\x00" + number(1) + b"\x21\x21" + number(1) + b"\x18"
    header += b"\x0c" + number(sum(sizes)) + b"\x00"
    header += b"\x08\x0d" + number(len(sizes)) + b"\x09" + b"".join(map(number, sizes[:-1]))
    header += (b"\x0a\x01" + crcs if files else b"") + b"\x00\x00\x00"
    start = len(packed).to_bytes(8, "little") + len(header).to_bytes(8, "little") + bytes(4)
    return mended_7z(b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(4) + start + packed + header)


def mended_7z(data: bytes) -> bytes:
    """The same with the checksums that its headers should have, as far as they are there."""
    offset, size = (int.from_bytes(data[at : at + 8], "little") for at in (12, 20))
    crc = zlib.crc32(data[32 + offset : 32 + offset + size])
    start = data[12:28] + crc.to_bytes(4, "little")
    return data[:8] + zlib.crc32(start).to_bytes(4, "little") + start + data[32:]
