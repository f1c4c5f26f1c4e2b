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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import pillow_heif
from PIL import IcoImagePlugin, Image, MpoImagePlugin, UnidentifiedImageError

from accord.fingerprint.allowance import Found
from accord.fingerprint.containers import (
    HEAD_WITHIN,
    ZIP_END_WITHIN,
    ContainerName,
    containers_of,
    may_have_zip_at_end,
    members_of,
)
from accord.fingerprint.embedded import beside
from accord.fingerprint.formats import ANIMATED, FORMATS, FormatName, format_of, has_track, is_cut
from accord.fingerprint.jpeg import scaled_fingerprint
from accord.fingerprint.jpeg2000 import has_all_tiles
from accord.fingerprint.ladder import Step
from accord.fingerprint.looking import NO_STEPS, Looking, variants_in
from accord.fingerprint.pixels import Shown, fingerprints_of, pdq_of, shown_of
from accord.fingerprint.second import is_used
from accord.fingerprint.source import BytesSource, Source
from accord.fingerprint.types import (
    VIEWS_MAX,
    Decoding,
    Digests,
    Examined,
    Fingerprint,
    Fingerprinted,
    FramePdq,
    Look,
    MediaFacts,
    Unhashable,
    UnhashableCode,
    Unseen,
    distance_bits,
)
from accord.fingerprint.upright import orientation_of, upright_size
from accord.fingerprint.video_formats import HEAD_BYTES, video_format_of
from accord.wire.limits import (
    ANIMATION_PIXELS_MAX,
    IMAGE_BYTES_MAX,
    IMAGE_FRAMES_MAX,
    IMAGE_PIXELS_MAX,
    IMAGE_SIDE_MAX,
    JPEG2000_PIXELS_MAX,
    LOOKS_MAX,
    PDQ_QUALITY_MIN,
    PICTURES_BESIDE_MAX,
    VIDEO_MEMBER_PIXELS_MAX,
    VIDEO_PIXELS_MAX,
)

__all__ = ["FORMATS", "digests_of", "examine", "examine_film", "fingerprint_bytes"]

Tell = Callable[[int, int], None]
_PLUGINS: Final = (IcoImagePlugin, MpoImagePlugin)  # Else loaded at first use, which is too late.
pillow_heif.register_heif_opener(thumbnails=False)  # HEIF alone: AVIF is Pillow's own.

_THUMBNAIL_BITS_MAX: Final = 60  # Another crop or size of its picture; others are 90 off or more.
_THUMBNAIL_PIXELS_MAX: Final = 4_000_000  # An EXIF block has 65,535 bytes.
ARCHIVE: Final = "archive"  # The format of `MediaFacts` where no picture is the file itself.
_TIME_MS_MAX: Final = 2**53
_LISTINGS: Final = frozenset({Decoding.LISTING, Decoding.LISTING_LARGE, Decoding.LISTING_BARE})
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
    return Fingerprinted(digests, answer.pdq, answer.facts, answer.is_exact, answer.unseen)


def digests_of(data: bytes) -> Digests:
    """MD5 and SHA-1 because the exchanged lists carry them; nothing here trusts them."""
    return digests_in([data])


def digests_in(parts: Iterable[bytes]) -> Digests:
    """`digests_of` a file that comes in parts."""
    md5, sha1 = hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    sha256 = hashlib.sha256()
    for part in parts:
        for digest in (md5, sha1, sha256):
            digest.update(part)
    return Digests(md5.digest(), sha1.digest(), sha256.digest())


def examine(
    data: bytes, decoding: Decoding = Decoding.EXACT, steps: frozenset[Step] = NO_STEPS
) -> Examined | UnhashableCode:
    """The part of `fingerprint_bytes` that runs decoders, as a worker runs it.

    `steps` beyond `full` are carried out on an exact decoding alone.
    """
    if decoding is Decoding.SCALED and (is_used() or steps - {Step.FULL}):
        decoding = Decoding.EXACT  # A scaled decoding has nothing to show another.
    looking = Looking(steps, decoding)
    answer = _examine(data, looking)
    if looking.is_short and isinstance(answer, Examined) and answer.unseen is None:
        answer = replace(answer, unseen=Unseen(UnhashableCode.LOOKS))
    if not is_used():
        return answer
    return _second_asked(answer)


def _second_asked(answer: Examined | UnhashableCode) -> Examined | UnhashableCode:
    """Unseen, where a view has no second fingerprint though one is made here."""
    lacking = (
        view.member
        for view in (answer.pdq if isinstance(answer, Examined) else ())
        if view.photodna is None and view.quality >= PDQ_QUALITY_MIN
    )
    member = next(lacking, None)
    if member is None or not isinstance(answer, Examined) or answer.unseen is not None:
        return answer
    return replace(answer, unseen=Unseen(UnhashableCode.FINGERPRINTER, member))


def examine_film(source: Source, tell: Tell) -> Examined | UnhashableCode:
    """`examine` of a film that is not in memory; `tell` hears how many ms of how many are seen."""
    from accord.fingerprint.video import examine_video  # noqa: PLC0415  (see `_examine_video`)

    answer = examine_video(source, tell=tell)
    if not isinstance(answer, Examined) or answer.unseen is not None:
        return answer
    end = source.read(max(0, source.size - ZIP_END_WITHIN), ZIP_END_WITHIN)
    if containers_of(source.read(0, HEAD_WITHIN)) or may_have_zip_at_end(end):
        return replace(answer, unseen=Unseen(UnhashableCode.ARCHIVE_NOT_READABLE))
    return _second_asked(answer) if is_used() else answer


def _examine(data: bytes, looking: Looking) -> Examined | UnhashableCode:
    if not data:
        return UnhashableCode.EMPTY
    if len(data) > IMAGE_BYTES_MAX:
        return UnhashableCode.TOO_LARGE
    containers = list(containers_of(data))
    if looking.decoding in _LISTINGS and "motion" in containers:
        containers.remove("motion")  # A photograph is listed alone, its film by itself.
    if not containers:
        return _examine_file(data, looking)
    if looking.decoding is Decoding.SCALED:
        looking.decoding = Decoding.EXACT  # One answer for all members: it says that it is exact.
    # A file may be a picture and an archive: then it is looked at as both.
    head = data[:HEAD_BYTES]
    is_shown = format_of(data) is not None or video_format_of(head) is not None
    shown = _examine_file(data, looking) if is_shown else None
    return _examine_members(data, containers, shown, looking)


def _examine_members(
    data: bytes,
    containers: Sequence[ContainerName],
    shown: Examined | UnhashableCode | None,
    looking: Looking,
) -> Examined | UnhashableCode:
    """Every picture in an archive, by member, after what the file itself shows, if anything."""
    views: list[FramePdq] = []
    facts: MediaFacts | None = None
    unseen: Unseen | None = None
    pixels = 0
    if isinstance(shown, Examined):
        views, facts, unseen = list(shown.pdq), shown.facts, shown.unseen
    elif shown is not None:
        unseen = Unseen(shown)
    for number, part in members_of(data, containers):
        is_full = pixels > ANIMATION_PIXELS_MAX or len(views) >= VIEWS_MAX
        answer = (
            UnhashableCode.ARCHIVE_TOO_LARGE if is_full else _examine_member(part.found, looking)
        )
        if isinstance(answer, UnhashableCode) and answer in part.excused:
            continue
        if isinstance(answer, UnhashableCode):
            unseen = unseen or Unseen(answer, number)
            if is_full:
                break
            continue
        if answer.unseen is not None:
            unseen = unseen or Unseen(answer.unseen.code, number)
        kept = answer.pdq[: VIEWS_MAX - len(views)]
        if len(kept) < len(answer.pdq):
            unseen = unseen or Unseen(UnhashableCode.ARCHIVE_TOO_LARGE, number)
        views += [replace(view, member=number) for view in kept]
        pixels += answer.facts.width * answer.facts.height * answer.facts.frames
        facts = facts or replace(answer.facts, format=ARCHIVE, frames=1, duration_ms=0)
    if facts is None:
        return UnhashableCode.ARCHIVE_NO_PICTURES if unseen is None else unseen.code
    return Examined(tuple(views), facts, unseen=unseen)


def _examine_member(found: Found, looking: Looking) -> Examined | UnhashableCode:
    if isinstance(found, UnhashableCode):
        return found
    if isinstance(found, Image.Image):
        return _examine_drawn(found, looking)
    return _examine_file(found, looking, VIDEO_MEMBER_PIXELS_MAX)


def _examine_drawn(image: Image.Image, looking: Looking) -> Examined | UnhashableCode:
    """A picture that is pixels already."""
    try:
        views = tuple(_view(0, 0, shown) for shown in fingerprints_of(image, looking))
    except MemoryError:
        return UnhashableCode.TOO_LARGE
    if all(view.quality < PDQ_QUALITY_MIN for view in views):
        return UnhashableCode.TOO_FLAT
    return Examined(views, MediaFacts(ARCHIVE, image.width, image.height, 1))


def _examine_file(
    data: bytes, looking: Looking, video_pixels_max: int = VIDEO_PIXELS_MAX
) -> Examined | UnhashableCode:
    """A file as the one picture, the pictures of one format, or the film that it begins as."""
    name = format_of(data)
    if name is None:
        return _examine_video(data, video_pixels_max)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if name == "jpeg" and looking.decoding is Decoding.SCALED:
                scaled = _examine_scaled(data)
                if scaled is not None:
                    return scaled
            with Image.open(io.BytesIO(data), formats=[FORMATS[name]]) as image:
                answer = _examine_image(image, name, data, looking)
    except _Refused as refusal:
        return refusal.code
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return UnhashableCode.TOO_LARGE
    except _DECODER_ERRORS as err:
        return _code_of(err, data, name)
    flat = all(view.quality < PDQ_QUALITY_MIN for view in answer.pdq)
    return UnhashableCode.TOO_FLAT if flat else answer


def _examine_video(data: bytes, pixels_max: int) -> Examined | UnhashableCode:
    if video_format_of(data[:HEAD_BYTES]) is None:
        return UnhashableCode.UNKNOWN_FORMAT
    # Here and not above: FFmpeg is large, and few of those who import this module decode at all.
    from accord.fingerprint.video import examine_video  # noqa: PLC0415

    return examine_video(BytesSource(data), pixels_max)


def _examine_scaled(data: bytes) -> Examined | None:
    """None where the exact path is to answer: what that says is the answer then."""
    try:
        found = scaled_fingerprint(data)
        if found is not None and _shows_more(data, found.fingerprint):
            return None
    except (*_DECODER_ERRORS, MemoryError):
        return None
    if found is None:
        return None
    pdq, look = found.fingerprint, Look(variants_in(found.hashed))
    view = FramePdq(0, 0, pdq.bits, pdq.quality, look=look)
    facts = MediaFacts("jpeg", found.width, found.height, 1)
    return Examined((view,), facts, is_exact=False)


def _code_of(err: Exception, data: bytes, name: FormatName) -> UnhashableCode:
    words = str(err).lower()
    early_end = isinstance(err, EOFError | struct.error) or any(w in words for w in _CUT_WORDS)
    if not isinstance(err, UnidentifiedImageError) and early_end:
        return UnhashableCode.TRUNCATED
    return UnhashableCode.TRUNCATED if is_cut(data, name) else UnhashableCode.NOT_DECODABLE


def _examine_image(image: Image.Image, name: FormatName, data: bytes, looking: Looking) -> Examined:
    _check_size(image, name)
    if name == "jpeg2000" and not has_all_tiles(data):
        raise _Refused(UnhashableCode.NOT_DECODABLE)
    main = image.tell() if name in ANIMATED else 0  # HEIF names its primary picture.
    image.load()
    _check_size(image)  # A decoder may learn the true size only while it decodes.
    width, height = upright_size(image, orientation_of(image))
    views = [_view(main, 0, shown) for shown in fingerprints_of(image, looking)]
    frames = max(1, getattr(image, "n_frames", 1)) if name in ANIMATED else 1
    if frames > 1:
        if frames * width * height > ANIMATION_PIXELS_MAX:
            raise _Refused(UnhashableCode.TOO_LARGE)
        # A film's moments are alike: some of them stand for all where each costs so much.
        every = -(-min(frames, IMAGE_FRAMES_MAX) // (LOOKS_MAX // 2))
        for place, (index, time_ms) in enumerate(_sampled(image, name, main, frames), 1):
            further = looking if place % every == 0 else Looking(decoding=looking.decoding, left=0)
            views += [_view(index, time_ms, shown) for shown in fingerprints_of(image, further)]
    unseen: Unseen | None = None
    if name == "heif" and has_track(data):  # A sequence, of which the decoder knows nothing.
        unseen = Unseen(UnhashableCode.NOT_DECODABLE)
    if name in ("tiff", "ico"):
        pages = _pages(image) if name == "tiff" else _icons(image)
        views += _views_of(pages, 1, width * height, looking)
    elif name == "jpeg":
        more, unseen = _beside(data, views[0].fingerprint, image, looking)
        views += more
    return Examined(tuple(views), MediaFacts(name, width, height, frames), unseen=unseen)


def _view(index: int, time_ms: int, shown: Shown) -> FramePdq:
    return FramePdq(
        index,
        time_ms,
        shown.pdq.bits,
        shown.pdq.quality,
        photodna=shown.photodna,
        look=shown.look,
    )


def _views_of(
    pictures: Iterator[Image.Image], start: int, pixels: int, looking: Looking
) -> Iterator[FramePdq]:
    """Views of pictures in one file, which have no order in time, from index `start`."""
    for index, picture in enumerate(pictures, start):
        _check_size(picture)
        pixels += picture.width * picture.height
        if index >= IMAGE_FRAMES_MAX or pixels > ANIMATION_PIXELS_MAX:
            raise _Refused(UnhashableCode.TOO_LARGE)
        picture.load()
        _check_size(picture)
        for shown in fingerprints_of(picture, looking):
            yield _view(index, 0, shown)


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """Every page of a TIFF but the first."""
    for index in range(1, IMAGE_FRAMES_MAX + 1):
        try:
            image.seek(index)
        except EOFError:
            return
        yield image


def _icons(image: Image.Image) -> Iterator[Image.Image]:
    """Every picture of an icon but the largest, which is the first."""
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        for index in range(1, len(image.ico.entry)):
            yield image.ico.frame(index)


def _shows_more(data: bytes, main: Fingerprint) -> bool:
    """Whether a JPEG carries more than one picture. Cheap for the many that do not."""
    found = beside(data, 1)
    if found.after:
        return True
    if not found.thumbnail:
        return False
    with Image.open(io.BytesIO(data), formats=[FORMATS["jpeg"]]) as image:
        return _other_thumbnail(found.thumbnail, main, image, Looking()) is not None


def _beside(
    data: bytes, main: Fingerprint, image: Image.Image, looking: Looking
) -> tuple[list[FramePdq], Unseen | None]:
    """A JPEG's other pictures: a thumbnail that shows something else, and what follows its end."""
    found = beside(data, PICTURES_BESIDE_MAX + 1)
    views: list[FramePdq] = []
    unseen: Unseen | None = None
    thumbnail = _other_thumbnail(found.thumbnail, main, image, looking)
    if thumbnail is not None:
        views.append(_view(1, 0, thumbnail))
    if len(found.after) > PICTURES_BESIDE_MAX:
        unseen = Unseen(UnhashableCode.TOO_LARGE)
    pixels = image.width * image.height
    for part in found.after[:PICTURES_BESIDE_MAX]:
        try:
            picture = Image.open(io.BytesIO(part), formats=[FORMATS["jpeg"]])
        except UnidentifiedImageError:
            continue  # Three bytes that happen to look like a beginning.
        try:
            index = views[-1].index + 1 if views else 1
            views += list(_views_of(iter((picture,)), index, pixels, looking))
        except _DECODER_ERRORS:
            unseen = unseen or Unseen(UnhashableCode.NOT_DECODABLE)
        pixels += picture.width * picture.height
    return views, unseen


def _other_thumbnail(
    thumbnail: bytes, main: Fingerprint, image: Image.Image, looking: Looking
) -> Shown | None:
    """What comes of an EXIF thumbnail if it plainly shows something else than its picture."""
    if not thumbnail:
        return None
    try:
        small = Image.open(io.BytesIO(thumbnail), formats=[FORMATS["jpeg"]])
        if small.width * small.height > _THUMBNAIL_PIXELS_MAX:
            return None
        plain, turn = small.convert("RGB"), orientation_of(image)
        found = pdq_of(plain, turn)
    except _DECODER_ERRORS:
        return None
    is_other = distance_bits(found.bits, main.bits) > _THUMBNAIL_BITS_MAX
    is_other = is_other and found.quality >= PDQ_QUALITY_MIN
    return shown_of(plain, looking, turn) if is_other else None


def _check_size(image: Image.Image, name: FormatName | None = None) -> None:
    width, height = image.size
    if name == "jpeg2000" and width * height > JPEG2000_PIXELS_MAX:
        raise _Refused(UnhashableCode.TOO_LARGE)
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
