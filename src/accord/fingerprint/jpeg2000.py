"""Whether a JPEG 2000 has all of its tiles: its decoder leaves those that are missing blank.

Not here: decoding (`decode`).
Source: ITU-T T.800, A.4.2 and A.5.1.
"""

from typing import Final

_SIZ: Final = b"\xff\x4f\xff\x51"
_SOT: Final = b"\xff\x90"
_TILES_MAX: Final = 65_535


def has_all_tiles(data: bytes) -> bool:
    """By the parts of tiles that lie in the codestream; False, where that cannot be told."""
    at = data.find(_SIZ) + 2
    if at < 2:
        return False
    sides = [_number(data, at + place) for place in (6, 10, 14, 18, 22, 26, 30, 34)]
    right, bottom, _, _, wide, high, left, top = sides
    if not wide or not high or right <= left or bottom <= top:
        return False
    tiles = -(-(right - left) // wide) * -(-(bottom - top) // high)
    if tiles > _TILES_MAX:
        return False
    while at + 4 <= len(data) and data[at : at + 2] != _SOT:  # The main header.
        at += 2 + max(2, _number(data, at + 2, 2))
    seen: set[int] = set()
    while data[at : at + 2] == _SOT:
        seen.add(_number(data, at + 4, 2))
        size = _number(data, at + 6)
        if size == 0:  # The last one, up to the end.
            break
        at += size
    return len(seen) == tiles


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "big")
