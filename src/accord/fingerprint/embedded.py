"""Pictures a JPEG carries beside its own: a thumbnail in its EXIF block, others after its end.

Not here: decoding (`decode`). Only whole JPEGs are meant; where there is none, nothing is found.
Source: docs/spec/fingerprint.md, section 3.
"""

import re
from dataclasses import dataclass
from typing import Final

_START: Final = b"\xff\xd8\xff"
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # That ends what a scan has coded.
_END, _SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_EXIF: Final = b"Exif\x00"


@dataclass(frozen=True, slots=True)
class Beside:
    """`thumbnail`: of EXIF, or empty. `after`: JPEGs that follow, with whatever follows each."""

    thumbnail: bytes = b""
    after: tuple[bytes, ...] = ()


def beside(data: bytes, after_max: int) -> Beside:
    """What a JPEG carries besides the picture that a viewer shows; `after_max` at most follow."""
    if data.find(_START, 2) < 0:
        return Beside()
    thumbnail, end = _walk(data)
    after: list[bytes] = []
    while len(after) < after_max:
        start = data.find(_START, end)
        if start < 0:
            break
        after.append(data[start:])
        _, length = _walk(after[-1])
        end = start + max(length, len(_START))
    return Beside(thumbnail, tuple(after))


def end_of_jpeg(data: bytes, start: int) -> int:
    """Where the JPEG ends that begins there."""
    return _walk(data, start)[1]


def _walk(data: bytes, start: int = 0) -> tuple[bytes, int]:
    """The EXIF thumbnail, or nothing, and where the picture ends."""
    thumbnail, at = b"", start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _END:
            return thumbnail, at + 2
        if marker == 0xFF:  # Padding before a marker.
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _APP1 and data.startswith(_EXIF, at + 4):
            segment = data[at + 4 : at + 2 + size]
            inside = segment.find(_START)
            thumbnail = segment[inside:] if inside >= 0 else thumbnail
        at += 2 + size
        if marker == _SCAN:
            found = _MARKER.search(data, at)
            at = len(data) if found is None else found.start()
    ends_here = data[at : at + 2] == b"\xff\xd9"
    return thumbnail, at + 2 if ends_here else min(at, len(data))
