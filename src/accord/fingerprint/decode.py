"""Bytes of a picture file to its fingerprints, digests and facts. Total: no exception leaves.

Not here: what happens to a frame's pixels (`pixels`), isolation and time limits (`accord.media`).
Invariants: limits are checked on the header, before a pixel is decoded; one decoder is opened,
chosen by content; a file that decodes only in part is no fingerprint at all.
One call at a time in a process: Python's warning filters are global.
Source: docs/spec/fingerprint.md.
"""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Final

import pillow_heif
from PIL import Image, UnidentifiedImageError

from accord.fingerprint.formats import ANIMATED, FORMATS, FormatName, format_of, is_cut
from accord.fingerprint.jpeg import scaled_fingerprint
from accord.fingerprint.pixels import fingerprints_of
from accord.fingerprint.types import (
    Decoding,
    Digests,
    Examined,
    Fingerprinted,
    FramePdq,
    MediaFacts,
    Unhashable,
    UnhashableCode,
)
from accord.fingerprint.upright import orientation_of, upright_size
from accord.wire.limits import (
    ANIMATION_PIXELS_MAX,
    IMAGE_BYTES_MAX,
    IMAGE_FRAMES_MAX,
    IMAGE_PIXELS_MAX,
    IMAGE_SIDE_MAX,
    PDQ_QUALITY_MIN,
)

__all__ = ["FORMATS", "digests_of", "examine", "fingerprint_bytes"]

pillow_heif.register_heif_opener(thumbnails=False)  # HEIF alone: AVIF is Pillow's own.

_TIME_MS_MAX: Final = 2**53
_CUT_WORDS: Final = ("truncated", "end of file", "end of data", "not enough data", "incomplete")
# What Pillow's and pillow-heif's decoders are documented, or by fuzzing known, to raise.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
)


class _Refused(Exception):  # A verdict on its way out of this module, no error.
    def __init__(self, code: UnhashableCode) -> None:
        super().__init__(code.value)
        self.code = code


def fingerprint_bytes(
    data: bytes, decoding: Decoding = Decoding.EXACT
) -> Fingerprinted | Unhashable:
    """All fingerprints of one file, or why there are none. Any bytes give one of the two."""
    return answer_of(digests_of(data), examine(data, decoding))


def answer_of(digests: Digests, answer: Examined | UnhashableCode) -> Fingerprinted | Unhashable:
    """The decoded half of an answer and the digests, as one."""
    if isinstance(answer, UnhashableCode):
        return Unhashable(answer, digests)
    return Fingerprinted(digests, answer.pdq, answer.facts, answer.is_exact)


def digests_of(data: bytes) -> Digests:
    """MD5 and SHA-1 because the exchanged lists carry them; nothing here trusts them."""
    return Digests(
        hashlib.md5(data, usedforsecurity=False).digest(),
        hashlib.sha1(data, usedforsecurity=False).digest(),
        hashlib.sha256(data).digest(),
    )


def examine(data: bytes, decoding: Decoding = Decoding.EXACT) -> Examined | UnhashableCode:
    """The part of `fingerprint_bytes` that runs decoders, as a worker runs it."""
    if not data:
        return UnhashableCode.EMPTY
    if len(data) > IMAGE_BYTES_MAX:
        return UnhashableCode.TOO_LARGE
    name = format_of(data)
    if name is None:
        return UnhashableCode.UNKNOWN_FORMAT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if name == "jpeg" and decoding is Decoding.SCALED:
                scaled = _examine_scaled(data)
                if scaled is not None:
                    return scaled
            with Image.open(io.BytesIO(data), formats=[FORMATS[name]]) as image:
                answer = _examine_image(image, name)
    except _Refused as refusal:
        return refusal.code
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return UnhashableCode.TOO_LARGE
    except _DECODER_ERRORS as err:
        return _code_of(err, data, name)
    flat = all(view.quality < PDQ_QUALITY_MIN for view in answer.pdq)
    return UnhashableCode.TOO_FLAT if flat else answer


def _examine_scaled(data: bytes) -> Examined | None:
    """None where the exact path is to answer: what that says is the answer then."""
    try:
        found = scaled_fingerprint(data)
    except (*_DECODER_ERRORS, MemoryError):
        return None
    if found is None:
        return None
    view = FramePdq(0, 0, found.fingerprint.bits, found.fingerprint.quality)
    facts = MediaFacts("jpeg", found.width, found.height, 1)
    return Examined((view,), facts, is_exact=False)


def _code_of(err: Exception, data: bytes, name: FormatName) -> UnhashableCode:
    words = str(err).lower()
    early_end = isinstance(err, EOFError | struct.error) or any(w in words for w in _CUT_WORDS)
    if not isinstance(err, UnidentifiedImageError) and early_end:
        return UnhashableCode.TRUNCATED
    return UnhashableCode.TRUNCATED if is_cut(data, name) else UnhashableCode.NOT_DECODABLE


def _examine_image(image: Image.Image, name: FormatName) -> Examined:
    _check_size(image)
    main = image.tell() if name in ANIMATED else 0  # HEIF names its primary picture.
    image.load()
    _check_size(image)  # A decoder may learn the true size only while it decodes.
    width, height = upright_size(image, orientation_of(image))
    views = [FramePdq(main, 0, f.bits, f.quality) for f in fingerprints_of(image)]
    frames = max(1, getattr(image, "n_frames", 1)) if name in ANIMATED else 1
    if frames > 1:
        if frames * width * height > ANIMATION_PIXELS_MAX:
            raise _Refused(UnhashableCode.TOO_LARGE)
        for index, time_ms in _sampled(image, name, main, frames):
            views += [FramePdq(index, time_ms, f.bits, f.quality) for f in fingerprints_of(image)]
    return Examined(tuple(views), MediaFacts(name, width, height, frames))


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > IMAGE_SIDE_MAX or width * height > IMAGE_PIXELS_MAX:
        raise _Refused(UnhashableCode.TOO_LARGE)
    if min(width, height) < 1:
        raise _Refused(UnhashableCode.NOT_DECODABLE)


def _sampled(
    image: Image.Image, name: FormatName, main: int, frames: int
) -> Iterator[tuple[int, int]]:
    """Loads each sampled frame but the main one in turn and says its index and time."""
    wanted = {place * (frames - 1) // (IMAGE_FRAMES_MAX - 1) for place in range(IMAGE_FRAMES_MAX)}
    if frames <= IMAGE_FRAMES_MAX:
        wanted = set(range(frames))
    in_turn = name in ("gif", "png")  # Their frames build on each other and carry durations only.
    elapsed_ms = 0.0
    for index in range(frames) if in_turn else sorted(wanted):
        if index == main:
            elapsed_ms += _shown_ms(image) if in_turn else 0
            continue
        image.seek(index)
        if index in wanted:
            _check_size(image)
            image.load()
            _check_size(image)
            stamp = elapsed_ms if in_turn else image.info.get("timestamp", 0)
            yield index, min(max(int(stamp), 0), _TIME_MS_MAX)
        elapsed_ms += _shown_ms(image) if in_turn else 0


def _shown_ms(image: Image.Image) -> float:
    return max(0.0, float(image.info.get("duration", 0)))
