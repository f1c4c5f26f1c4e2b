"""A second fingerprint of every picture, by a licensed fingerprinter, where a process uses one.

PhotoDNA's 144 bytes are matched here and not made here: whoever may make them brings what does.
Not here: finding and loading it (`accord.media.fingerprinters`), what it is shown (`pixels`).
Invariants: nothing is used that `use` was not given; whatever it does short of ending the process
is either a value or None.
Source: docs/spec/fingerprint.md, section 16.
"""

from typing import Final, Protocol

from PIL import Image

from accord.fingerprint.types import PHOTODNA_BYTES


class Fingerprinter(Protocol):
    """What an installed fingerprinter is. One call at a time, in a process that has no files."""

    def __call__(self, pixels: bytes, width: int, height: int, /) -> bytes | None:
        """The 144 bytes of one picture, or None where it has none, such as a picture too small.

        Shape: `pixels` are `height` rows of `width` pixels of R, G, B, a byte each, no padding,
        the first row the upper one; at most 1,024 on a side.
        """


_used: Final[list[Fingerprinter]] = []  # One or none. Of the process, as its codecs are.


def use(fingerprinter: Fingerprinter | None) -> None:
    """From here on every picture in this process is shown to it, too; None ends that."""
    _used[:] = [] if fingerprinter is None else [fingerprinter]


def is_used() -> bool:
    return bool(_used)


def second_of(upright: Image.Image) -> bytes | None:
    """Its value for an opaque picture; None where none is used, or it gave no value."""
    if not _used:
        return None
    rgb = upright.convert("RGB")
    try:
        found = _used[0](rgb.tobytes(), rgb.width, rgb.height)
    except Exception:  # Others' code: whatever it raises, there is no value.
        return None
    # A value of equal bytes is what a picture without detail gets, and so do all others of them.
    is_value = isinstance(found, bytes) and len(found) == PHOTODNA_BYTES and len(set(found)) > 1
    return found if is_value else None
