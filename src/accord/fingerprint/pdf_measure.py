"""What can be told of a PDF from its bytes and numbers alone, before PDFium unpacks anything.

Not here: PDFium (`pdf`).
Source: docs/spec/fingerprint.md, section 15.
"""

import re
import zlib
from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]  # Left, top, right, bottom, in points.

_TOUCHING_POINTS: Final = 2.0  # Between pieces that are seen as one picture.
_JPEG: Final = b"\xff\xd8\xff"
_SOF: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SIZ: Final = b"\xff\x4f\xff\x51"
_STREAM: Final = re.compile(rb"stream[^\r\n]*(?:\r\n|\r|\n)")
_LAYERS_MAX: Final = 4
_CHUNK_BYTES: Final = 1 << 20
_PACKED_CHUNK_BYTES: Final = 1 << 16


def pieces_together(boxes: Sequence[Box]) -> list[Box]:
    """What several boxes cover that touch, or nearly: a picture that was cut, as it may be."""
    groups: list[tuple[Box, int]] = []
    for box in boxes:
        merged, count = box, 1
        apart: list[tuple[Box, int]] = []
        for other, pieces in groups:
            if _touch(merged, other):
                merged, count = _around(merged, other), count + pieces
            else:
                apart.append((other, pieces))
        groups = [*apart, (merged, count)]
    return [box for box, count in groups if count > 1]


def _touch(one: Box, other: Box) -> bool:
    return all(
        one[side] <= other[side + 2] + _TOUCHING_POINTS
        and other[side] <= one[side + 2] + _TOUCHING_POINTS
        for side in (0, 1)
    )


def _around(one: Box, other: Box) -> Box:
    lows = [min(one[side], other[side]) for side in (0, 1)]
    highs = [max(one[side], other[side]) for side in (2, 3)]
    return lows[0], lows[1], highs[0], highs[1]


def coded_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG's or a JPEG 2000's header gives; zeros where it gives none."""
    at = data.find(_SIZ)
    if at >= 0 and not data.startswith(_JPEG):
        ends = [int.from_bytes(data[at + place : at + place + 4], "big") for place in (8, 12)]
        return ends[0], ends[1]
    at = len(_JPEG) - 1
    while data.startswith(_JPEG) and at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _SOF:
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            return width, height
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def unpacks_beyond(data: bytes, most: int) -> bool:
    """Whether what looks deflated comes to more bytes than `most`, all layers together."""
    for found in _STREAM.finditer(data):
        for layers in range(1, _LAYERS_MAX + 1):
            unpacked = _unpacked(data, found.end(), layers)
            head = next(unpacked, b"")
            for chunk in chain((head,), unpacked):
                most -= len(chunk)
                if most < 0:
                    return True
            if not _is_deflated(head):
                break
    return False


def _unpacked(data: bytes, start: int, layers: int) -> Iterator[bytes]:
    """What is left of a stream once so many layers are off; nothing, where it is not deflated."""
    if not _is_deflated(data[start : start + 2]):
        return iter(())
    ends = range(start, len(data), _PACKED_CHUNK_BYTES)
    layer = (data[at : at + _PACKED_CHUNK_BYTES] for at in ends)
    for _ in range(layers):
        layer = _inflated(layer)
    return layer


def _is_deflated(head: bytes) -> bool:
    return len(head) > 1 and head[0] & 0x0F == zlib.DEFLATED and (head[0] * 256 + head[1]) % 31 == 0


def _inflated(packed: Iterator[bytes]) -> Generator[bytes]:
    """In chunks of at most a megabyte, up to the end or the first damage."""
    decoder = zlib.decompressobj()
    try:
        for chunk in packed:
            left = chunk
            while left and not decoder.eof:
                unpacked = decoder.decompress(left, _CHUNK_BYTES)
                if unpacked:
                    yield unpacked
                left = decoder.unconsumed_tail
            if decoder.eof:
                return
    except zlib.error:
        return
