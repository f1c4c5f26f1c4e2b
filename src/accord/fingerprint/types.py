"""What a file's fingerprinting yields: values that are safe to log.

Not here: how they are computed (`decode`), where (`accord.media`). A fingerprint's repr shows two
bytes of it, never the whole. "Could not compute" is a type of its own, `Unhashable`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from accord.wire.errors import Malformed
from accord.wire.limits import ARCHIVE_MEMBERS_MAX, IMAGE_SIDE_MAX, VIDEO_FRAMES_MAX
from accord.wire.record import Count, Size, Text, Uint

PDQ_BYTES: Final = 32
PDQ_QUALITY_TOP: Final = 100
PHOTODNA_BYTES: Final = 144
LOOK_VALUES_MAX: Final = 1_024  # Values of one kind that one picture is asked with.
VIEWS_MAX: Final = VIDEO_FRAMES_MAX  # More than an animation's 64, each on white and on black.


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One PDQ fingerprint. Shape: 32 bytes in the order the reference prints hex.

    Units: quality 0 to 100, as the reference computes it.
    Raises: Malformed.
    """

    bits: Annotated[bytes, Size(PDQ_BYTES, PDQ_BYTES)]
    quality: Annotated[int, Uint(0, PDQ_QUALITY_TOP)]

    def __post_init__(self) -> None:
        if len(self.bits) != PDQ_BYTES:
            raise Malformed("fingerprint.length", got=len(self.bits))
        if not 0 <= self.quality <= PDQ_QUALITY_TOP:
            raise Malformed("fingerprint.quality", got=self.quality)

    def __repr__(self) -> str:
        return f"Fingerprint({self.bits[:2].hex()}.., quality={self.quality})"


def distance_bits(left: bytes, right: bytes) -> int:
    """Hamming distance of two PDQ bit strings. Units: bits, 0 to 256."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


class Decoding(StrEnum):
    """How a picture is brought to its fingerprint: docs/spec/fingerprint.md, section 10."""

    EXACT = "exact"  # From every pixel. The only one for a listing.
    LISTING = "listing"  # As EXACT, and with patches of the main picture for a listing to keep.
    LISTING_LARGE = "listing-large"  # And with so many that small parts are found by them.
    LISTING_BARE = "listing-bare"  # As LISTING, and without patches.
    SCALED = "scaled"  # From a small decoding where one was measured to do, else as EXACT.


@dataclass(frozen=True, slots=True)
class Look:
    """What a query also asks with, of one frame, as far as it was told to look: 32 bytes a value,
    one behind the other. Of `Decoding.LISTING` it is `patches` alone, those that a listing keeps.

    `variants` are the seven of `dihedral.Variant` but the upright one; `frames` are of rectangles
    in the picture, or of what lies within a film's bars, `patches` of squares, and `mirrored` what
    those are in the mirrored picture.
    """

    variants: Annotated[bytes, Size(0, 7 * PDQ_BYTES)] = b""
    frames: Annotated[bytes, Size(0, LOOK_VALUES_MAX * PDQ_BYTES)] = b""
    patches: Annotated[bytes, Size(0, LOOK_VALUES_MAX * PDQ_BYTES)] = b""
    mirrored: Annotated[bytes, Size(0, LOOK_VALUES_MAX * PDQ_BYTES)] = b""

    def __post_init__(self) -> None:
        if any(len(getattr(self, part)) % PDQ_BYTES for part in self.__slots__):
            raise Malformed("fingerprint.length")

    def __repr__(self) -> str:
        counts = (f"{len(getattr(self, part)) // PDQ_BYTES} {part}" for part in self.__slots__)
        return f"Look({', '.join(counts)})"


NO_LOOK: Final = Look()


@dataclass(frozen=True, slots=True)
class FramePdq:
    """PDQ of one frame of a file; a still picture is frame 0 at 0 ms.

    A frame whose transparency matters comes twice: first on white, then, with the same index,
    on black. `member` is the number of the file in an archive that shows it, 0 outside of one.
    `photodna` is there where a fingerprinter for it is in use and had a value for the frame.
    """

    index: Annotated[int, Uint(0, 2**31 - 1)]
    time_ms: Annotated[int, Uint(0, 2**53)]
    bits: Annotated[bytes, Size(PDQ_BYTES, PDQ_BYTES)]
    quality: Annotated[int, Uint(0, PDQ_QUALITY_TOP)]
    member: Annotated[int, Uint(0, ARCHIVE_MEMBERS_MAX + 1)] = 0
    photodna: Annotated[bytes, Size(PHOTODNA_BYTES, PHOTODNA_BYTES)] | None = None
    look: Look = NO_LOOK

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.bits, self.quality)

    def __repr__(self) -> str:
        return f"FramePdq({self.index}, {self.time_ms} ms, {self.fingerprint!r})"


@dataclass(frozen=True, slots=True)
class Digests:
    """Cryptographic digests of the file as received."""

    md5: Annotated[bytes, Size(16, 16)]
    sha1: Annotated[bytes, Size(20, 20)]
    sha256: Annotated[bytes, Size(32, 32)]

    def __repr__(self) -> str:
        return f"Digests(sha256={self.sha256[:2].hex()}..)"


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the file says it is, upright: `format` is a lower-case name of `decode.FORMATS`, or
    `archive`; sizes are then those of the first picture in it, `frames` is 1. Of a film it is a
    name of `video_formats.DEMUXERS`, `frames` are those kept, and only a film has a duration.
    """

    format: Annotated[str, Text(3, 8)]
    width: Annotated[int, Uint(1, IMAGE_SIDE_MAX)]
    height: Annotated[int, Uint(1, IMAGE_SIDE_MAX)]
    frames: Annotated[int, Uint(1, 2**31 - 1)]
    duration_ms: Annotated[int, Uint(0, 2**53)] = 0


class UnhashableCode(StrEnum):
    """Why there is no fingerprint. Stable; a reader answers Undetermined, never NoMatch."""

    EMPTY = "image.empty"
    UNKNOWN_FORMAT = "image.unknown_format"
    TOO_LARGE = "image.too_large"
    TRUNCATED = "image.truncated"
    NOT_DECODABLE = "image.not_decodable"
    TOO_FLAT = "image.too_flat"
    TIMEOUT = "image.timeout"
    CRASHED = "image.crashed"
    FINGERPRINTER = "image.fingerprinter"
    UNREADABLE = "file.unreadable"
    LOOKS = "image.too_many"
    ARCHIVE_ENCRYPTED = "archive.encrypted"
    ARCHIVE_NO_PICTURES = "archive.no_pictures"
    ARCHIVE_NOT_READABLE = "archive.not_readable"
    ARCHIVE_TOO_LARGE = "archive.too_large"
    VIDEO_CODEC = "video.codec"
    VIDEO_CRASHED = "video.crashed"
    VIDEO_NO_FRAMES = "video.no_frames"
    VIDEO_NOT_DECODABLE = "video.not_decodable"
    VIDEO_TIMEOUT = "video.timeout"
    VIDEO_TOO_FLAT = "video.too_flat"
    VIDEO_TOO_LARGE = "video.too_large"
    VIDEO_TRUNCATED = "video.truncated"


REASONS: Final[dict[UnhashableCode, str]] = {
    UnhashableCode.EMPTY: "the file has no bytes",
    UnhashableCode.UNKNOWN_FORMAT: "the content is none of the picture formats read here",
    UnhashableCode.TOO_LARGE: "more bytes, pixels or memory than the limits allow",
    UnhashableCode.TRUNCATED: "the file ends before its picture does",
    UnhashableCode.NOT_DECODABLE: "the picture's data is damaged or of an unsupported kind",
    UnhashableCode.TOO_FLAT: "too little detail to tell this picture from others",
    UnhashableCode.TIMEOUT: "decoding took longer than the limit",
    UnhashableCode.CRASHED: "the decoder died on this file",
    UnhashableCode.FINGERPRINTER: "the installed fingerprinter has no value for a picture of it",
    UnhashableCode.UNREADABLE: "not a regular file, or it may not be read",
    UnhashableCode.LOOKS: "more pictures in one file than frames and patches are looked for in",
    UnhashableCode.ARCHIVE_ENCRYPTED: "a file in the archive is encrypted",
    UnhashableCode.ARCHIVE_NO_PICTURES: "the archive or document holds no picture",
    UnhashableCode.ARCHIVE_NOT_READABLE: "an archive or document of a kind that is not opened here",
    UnhashableCode.ARCHIVE_TOO_LARGE: "more files, bytes, pictures or levels than are unpacked",
    UnhashableCode.VIDEO_CODEC: "the video is packed by a codec that is not read here",
    UnhashableCode.VIDEO_CRASHED: "the decoder died on this video",
    UnhashableCode.VIDEO_NO_FRAMES: "the video shows nothing: sound alone, or no whole frame",
    UnhashableCode.VIDEO_NOT_DECODABLE: "the video's data is damaged or of an unsupported kind",
    UnhashableCode.VIDEO_TIMEOUT: "decoding the video took longer than the limit",
    UnhashableCode.VIDEO_TOO_FLAT: "no frame of the video has the detail to tell it from others",
    UnhashableCode.VIDEO_TOO_LARGE: "more bytes, pixels, frames or memory than the limits allow",
    UnhashableCode.VIDEO_TRUNCATED: "the video ends long before it says that it does",
}


@dataclass(frozen=True, slots=True)
class Unseen:
    """The first part of a file that was not looked at, beside others that were, and why."""

    code: UnhashableCode
    member: Annotated[int, Uint(0, ARCHIVE_MEMBERS_MAX + 1)] = 0


@dataclass(frozen=True, slots=True)
class Examined:
    """The decoded half of an answer: what a decoder worker sends back.

    `pdq` has the main picture first and is of any quality; at least one of it reaches
    `PDQ_QUALITY_MIN`. Where it is not exact, its one view is `PDQ_DRIFT_MAX` bits from the exact
    one at most. `unseen`: whoever finds no match answers Undetermined.
    """

    pdq: Annotated[tuple[FramePdq, ...], Count(1, VIEWS_MAX)]
    facts: MediaFacts
    is_exact: bool = True
    unseen: Unseen | None = None


@dataclass(frozen=True, slots=True)
class Fingerprinted:
    """All fingerprints of one file, the main picture first. See `Examined`."""

    digests: Digests
    pdq: tuple[FramePdq, ...]
    facts: MediaFacts
    is_exact: bool = True
    unseen: Unseen | None = None

    @property
    def main(self) -> Fingerprint:
        """The fingerprint of the main picture; its quality may be below the floor."""
        return self.pdq[0].fingerprint


@dataclass(frozen=True, slots=True)
class Unhashable:
    """No fingerprint, and why; the digests are still there whenever the bytes were read."""

    code: UnhashableCode
    digests: Digests | None
