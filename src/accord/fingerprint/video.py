"""Bytes of a video file to the fingerprints of its distinct frames. Total, as `decode` is.

A film is watched once, from its beginning. Where all its frames can be decoded within a budget,
they are; else its key frames alone, and of a long film some hundred of these, spread over it by
seeking. What is decoded is counted, never timed, so the same bytes give the same answer anywhere.
Not here: which frames are kept (`distinct`), their pixels (`video_pixels`), isolation and time
limits (`accord.media`). Only the bytes of the file itself are ever read, through `Source`.
Invariants: memory does not depend on a film's length; what could not be looked at is `unseen`.
Source: docs/spec/fingerprint.md, section 17.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from accord.fingerprint.dihedral import bits_of, mirrored
from accord.fingerprint.distinct import Distinct
from accord.fingerprint.looking import variants_in
from accord.fingerprint.pdq import Hashed
from accord.fingerprint.source import Source
from accord.fingerprint.types import (
    Examined,
    FramePdq,
    Look,
    MediaFacts,
    UnhashableCode,
    Unseen,
)
from accord.fingerprint.video_formats import (
    CODECS,
    DEMUXERS,
    HEAD_BYTES,
    REFERENCES,
    REFERENCES_OF_OTHERS,
    VideoFormatName,
    video_format_of,
)
from accord.fingerprint.video_pixels import (
    Bars,
    LastHashed,
    Luma,
    Margins,
    luma_of,
    pdq_of_luma,
    photodna_of,
    small_of,
    trimmed,
)
from accord.wire.limits import (
    PDQ_QUALITY_MIN,
    VIDEO_ALL_STREAMS_MAX,
    VIDEO_BYTES_MAX,
    VIDEO_FRAME_PIXELS_MAX,
    VIDEO_FRAMES_MAX,
    VIDEO_KEYS_MAX,
    VIDEO_PIXELS_MAX,
    VIDEO_REFERENCE_BYTES_MAX,
    VIDEO_STREAMS_MAX,
)

av.logging.set_level(None)  # Words for nobody.

_FRAME_PIXELS_MIN: Final = 100_000  # What the smallest frame costs of the budget: 60 us or so.
_PACKET_PIXELS: Final = 2_000  # And a packet of which nothing is decoded.
_SEEK_STRIDE_MS: Final = 2_000  # Nearer targets than that are reached by reading on.
_KEYS_APART_MS_MAX: Final = 60_000  # Encoders make a key frame every 2 to 10 s, 20 at the most.
_SEEKS_WITHOUT: Final = 8  # Seeks in a row that lead nowhere: the film is read on instead.
_DAMAGED_MAX: Final = 100  # Packets of a stream that may fail before the rest is left alone.
_ENDS_EARLY_SHARE: Final = 10  # A film may end a tenth of its length before it says, and 2 s.
_ENDS_EARLY_MS: Final = 2_000
_BUFFER_BYTES: Final = 262_144
_TIME_MS_MAX: Final = 2**53
_OPTIONS: Final = {
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "none",
    "max_streams": str(VIDEO_ALL_STREAMS_MAX),
    "probesize": "5000000",  # Bytes, and below microseconds: where headers do not say enough.
    "analyzeduration": "2000000",
}
_PICTURES: Final = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails


Tell = Callable[[int, int], None]  # How many ms of how many are seen; at every decoded frame.


def _say_nothing(_done_ms: int, _of_ms: int) -> None:
    """For those who do not wait."""


def examine_video(
    source: Source, pixels_max: int = VIDEO_PIXELS_MAX, tell: Tell = _say_nothing
) -> Examined | UnhashableCode:
    """The distinct frames of a film, or why there are none.

    Units: `pixels_max` is what may be decoded of it whole, and again of key frames.
    """
    name = video_format_of(source.read(0, HEAD_BYTES))
    if name is None:
        return UnhashableCode.UNKNOWN_FORMAT
    if source.size > VIDEO_BYTES_MAX:
        return UnhashableCode.VIDEO_TOO_LARGE
    viewing = _Viewing(source, name, pixels_max, tell)
    try:
        viewing.watch()
    except MemoryError:
        viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
    except (FFmpegError, ValueError, OSError, OverflowError, ArithmeticError):
        viewing.amiss(UnhashableCode.VIDEO_NOT_DECODABLE)
    return viewing.answer()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A kept frame, and what lies within the bars that were known when it was seen."""

    whole: Hashed
    photodna: bytes | None
    inner: Hashed | None
    bars: Margins | None
    small: Luma | None  # The frame, where it may have bars that were not known yet.

    def look(self, bars: Bars) -> Look:
        """What a query also asks with, where a film has these bars in all."""
        known, inner = bars.left(), self.inner
        if known is None:
            return Look(variants_in(self.whole))
        if self.bars is None or not bars.are_nearly(self.bars):
            small = self.small
            inner = None if small is None else pdq_of_luma(trimmed(small, bars.scaled_to(small)))
        if inner is None or inner.frequencies is None:
            return Look(variants_in(self.whole))
        if inner.fingerprint.quality < PDQ_QUALITY_MIN:
            return Look(variants_in(self.whole))
        upright = inner.frequencies[None]
        both = bits_of(np.concatenate([upright, mirrored(upright)]))
        return Look(variants_in(self.whole), both.tobytes())


class _File(io.RawIOBase):
    """A source as FFmpeg reads it."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._source.size - self._at)
        found = self._source.read(self._at, left if size < 0 else min(size, left))
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at


@dataclass
class _Viewing:
    """One file being watched."""

    source: Source
    name: VideoFormatName
    pixels_max: int
    tell: Tell
    views: list[FramePdq] = field(default_factory=list[FramePdq])
    code: UnhashableCode | None = None
    size: tuple[int, int] = (0, 0)  # Of the first frame, upright: width, height.
    duration_ms: int = 0
    spent: int = 0  # In pixels.
    looked: bool = False

    def amiss(self, code: UnhashableCode) -> None:
        """Something of the file was not seen; the first reason is told."""
        self.code = self.code or code

    def watch(self) -> None:
        """Every stream of pictures in the file, one after another."""
        number = 0
        while number < VIDEO_STREAMS_MAX:
            with self._opened() as container:
                streams = container.streams.video
                if len(streams) > VIDEO_STREAMS_MAX:
                    self.amiss(UnhashableCode.VIDEO_TOO_LARGE)
                if number >= len(streams):
                    return
                _Stream(self, container, streams[number]).watch()
            number += 1

    def _opened(self) -> InputContainer:
        return av.open(
            _File(self.source),
            mode="r",
            format=DEMUXERS[self.name],
            options=dict(_OPTIONS),
            metadata_errors="replace",
            buffer_size=_BUFFER_BYTES,
        )

    def answer(self) -> Examined | UnhashableCode:
        if not self.views:
            dull = UnhashableCode.VIDEO_TOO_FLAT if self.looked else UnhashableCode.VIDEO_NO_FRAMES
            return self.code or dull
        width, height = self.size
        facts = MediaFacts(self.name, width, height, self.views[-1].index + 1, self.duration_ms)
        unseen = None if self.code is None else Unseen(self.code)
        return Examined(tuple(self.views), facts, unseen=unseen)

    def take(self, frames: Distinct[_Kept], bars: Bars) -> None:
        """The kept frames of a stream as views."""
        start = self.views[-1].index + 1 if self.views else 0
        left = VIDEO_FRAMES_MAX - start
        if len(frames.kept) > left:
            self.amiss(UnhashableCode.VIDEO_TOO_LARGE)
        for index, (time_ms, _, kept) in enumerate(frames.kept[:left], start):
            found = kept.whole.fingerprint
            view = FramePdq(index, time_ms, found.bits, found.quality, 0, kept.photodna)
            self.views.append(replace(view, look=kept.look(bars)))


class _Stream:
    """One stream of pictures of the file."""

    def __init__(self, viewing: _Viewing, container: InputContainer, stream: VideoStream) -> None:
        self._viewing = viewing
        self._container = container
        self._stream = stream
        self._distinct: Distinct[_Kept] = Distinct(VIDEO_FRAMES_MAX)
        self._bars = Bars()
        self._hashed = LastHashed()
        self._damaged = 0
        self._newest_ms = -1
        self._spent = 0
        self._apart_ms_max = _TIME_MS_MAX  # Between two frames; of key frames, less.
        self._duration_ms = _duration_ms(container, stream)
        viewing.duration_ms = max(viewing.duration_ms, self._duration_ms)

    def watch(self) -> None:
        stream, viewing = self._stream, self._viewing
        if stream.codec_context.name not in CODECS:
            viewing.amiss(UnhashableCode.VIDEO_CODEC)
            return
        pixels_max = _frame_pixels_max(stream)
        if stream.width * stream.height > pixels_max:
            viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
            return
        stream.codec_context.thread_count = 1
        stream.thread_type = "NONE"
        stream.codec_context.options = {"max_pixels": str(pixels_max)}
        try:
            is_whole = self._expected_pixels() <= viewing.pixels_max and self._watch_all()
            if not is_whole:
                self._watch_keys()
        finally:
            viewing.duration_ms = max(viewing.duration_ms, self._newest_ms)
            viewing.take(self._distinct, self._bars)

    def _expected_pixels(self) -> int:
        """What it costs to decode and to hash everything, as far as the file tells."""
        rate = self._stream.average_rate or self._stream.guessed_rate or 0
        frames = self._stream.frames or int(self._duration_ms * rate / 1000)
        return 2 * frames * max(_FRAME_PIXELS_MIN, self._stream.width * self._stream.height)

    def _watch_all(self) -> bool:
        """Whether the budget did for every frame."""
        for packet in self._packets():
            for frame in self._decoded(packet):
                self._view(frame)
            if self._spent > self._viewing.pixels_max:
                return False
        self._check_end(self._newest_ms)
        return True

    def _watch_keys(self) -> None:
        """Key frames, on from where the film is: far apart by seeking, else by reading on."""
        self._spent = 0
        self._stream.codec_context.skip_frame = "NONKEY"
        self._stream.discard = Discard.nonkey
        stride_ms = (self._duration_ms - max(0, self._newest_ms)) // VIDEO_KEYS_MAX
        self._apart_ms_max = max(_KEYS_APART_MS_MAX, 2 * stride_ms)
        if stride_ms >= _SEEK_STRIDE_MS and self._watch_far_apart(stride_ms):
            self._check_rest()
            return
        if self._spent:  # Seeks led nowhere; where to is not known.
            self._container.seek(0)
        reached_ms = 0
        for packet in self._packets():
            reached_ms = max(reached_ms, self._shown_ms(packet))
            for frame in self._decoded(packet):
                self._view(frame)
            if self._spent > self._viewing.pixels_max:
                self._viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
                return
        self._check_apart(reached_ms)
        self._check_end(self._check_rest())

    def _check_rest(self) -> int:
        """What follows the last key frame: some demuxers pass over it where key frames alone are
        asked for, and the length that a film says may be a lie. Nothing of it is decoded. How far
        it goes; ms."""
        self._stream.discard = Discard.default
        reached_ms, enough_ms = 0, max(0, self._newest_ms) + self._apart_ms_max
        try:
            self._seek(max(0, self._newest_ms))
        except FFmpegError:  # No form that was tried fails here; what follows is not known then.
            self._viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
            return reached_ms
        for packet in self._packets():
            reached_ms = max(reached_ms, self._shown_ms(packet))
            if self._spent > self._viewing.pixels_max:
                self._viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
            if reached_ms > enough_ms or self._spent > self._viewing.pixels_max:
                break
        self._check_apart(reached_ms)
        return reached_ms

    def _watch_far_apart(self, stride_ms: int) -> bool:
        """Whether seeking led through the film."""
        target_ms, without = max(0, self._newest_ms), 0
        while target_ms < self._duration_ms and without < _SEEKS_WITHOUT:
            before_ms = self._newest_ms
            frame = self._frame_at(target_ms)
            if frame is not None:
                self._view(frame)
            without = 0 if self._newest_ms > before_ms else without + 1
            target_ms = max(target_ms, self._newest_ms) + stride_ms
            if self._spent > self._viewing.pixels_max:
                self._viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
                return True
        return without < _SEEKS_WITHOUT

    def _frame_at(self, time_ms: int) -> VideoFrame | None:
        """The key frame at or before a moment, or the first one after it."""
        stream = self._stream
        try:
            self._seek(time_ms)
        except FFmpegError:
            return None
        for packet in self._packets():
            frames = self._decoded(packet)
            with suppress(FFmpegError, EOFError):
                frames += stream.codec_context.decode(None)  # It need not wait for what follows.
            if frames:
                return frames[0]
            stream.codec_context.flush_buffers()
        return None

    def _seek(self, time_ms: int) -> None:
        """To the key frame at or before a moment. Raises: FFmpegError."""
        stream, base = self._stream, self._stream.time_base
        if base is not None:
            at = int(time_ms / 1000 / base) + (stream.start_time or 0)
            self._container.seek(at, stream=stream)

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        try:
            for packet in self._container.demux(self._stream):
                self._pay(_PACKET_PIXELS)
                yield packet
        except EOFError:
            self._viewing.amiss(UnhashableCode.VIDEO_TRUNCATED)
        except FFmpegError:
            self._viewing.amiss(UnhashableCode.VIDEO_NOT_DECODABLE)

    def _decoded(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        if self._damaged > _DAMAGED_MAX:
            return []
        try:
            frames = self._stream.decode(packet)
        except EOFError:
            return []
        except FFmpegError:
            self._damaged += 1
            self._viewing.amiss(UnhashableCode.VIDEO_NOT_DECODABLE)
            return []
        return frames

    def _pay(self, pixels: int) -> None:
        self._spent += pixels
        self._viewing.spent += pixels

    def _view(self, frame: VideoFrame) -> None:
        """Keeps a frame if it is sound, due, detailed and new."""
        viewing = self._viewing
        self._pay(max(_FRAME_PIXELS_MIN, frame.width * frame.height))
        time_ms = self._time_ms(frame.pts)
        self._check_apart(time_ms)
        self._newest_ms = max(self._newest_ms, time_ms)
        viewing.tell(time_ms, self._duration_ms)
        if frame.is_corrupt:
            viewing.amiss(UnhashableCode.VIDEO_NOT_DECODABLE)
            return
        if frame.width * frame.height > VIDEO_FRAME_PIXELS_MAX:
            viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)
            return
        if not self._distinct.is_due(time_ms):
            return
        self._pay(max(_FRAME_PIXELS_MIN, frame.width * frame.height))
        luma = luma_of(frame)
        if not viewing.looked:
            height, width = luma.pixels.shape
            viewing.looked, viewing.size = True, (width, height)
        whole = self._hashed.of(luma)
        found = whole.fingerprint
        self._distinct.looked_at(time_ms)
        if found.quality >= PDQ_QUALITY_MIN and self._distinct.is_new(found.bits):
            bars = self._bars.seen(luma)
            inner = None if bars is None else pdq_of_luma(trimmed(luma, bars))
            small = small_of(luma) if self._bars.may_be() else None
            kept = _Kept(whole, photodna_of(frame), inner, bars, small)
            self._distinct.keep(time_ms, found.bits, kept)

    def _check_apart(self, time_ms: int) -> None:
        """Where a film has so few key frames, what lies between was not looked at."""
        if time_ms - max(0, self._newest_ms) > self._apart_ms_max:
            self._viewing.amiss(UnhashableCode.VIDEO_TOO_LARGE)

    def _shown_ms(self, packet: "Packet[VideoStream]") -> int:
        return self._time_ms(packet.dts if packet.pts is None else packet.pts)

    def _time_ms(self, stamp: int | None) -> int:
        base = self._stream.time_base
        if stamp is None or base is None:
            return max(0, self._newest_ms)
        time_ms = int((stamp - (self._stream.start_time or 0)) * base * 1000)
        return min(max(0, time_ms), _TIME_MS_MAX)

    def _check_end(self, reached_ms: int) -> None:
        """A film that ends long before it says is cut, or lies."""
        early_ms = self._duration_ms - max(self._newest_ms, reached_ms)
        if self._stream.disposition & _PICTURES:
            return
        if early_ms > self._duration_ms // _ENDS_EARLY_SHARE + _ENDS_EARLY_MS:
            self._viewing.amiss(UnhashableCode.VIDEO_TRUNCATED)


def _frame_pixels_max(stream: VideoStream) -> int:
    """How large a frame may be for those that its decoder holds to have room."""
    held = REFERENCES.get(stream.codec_context.name, REFERENCES_OF_OTHERS)
    shape = stream.codec_context.format
    bits = 16 if shape is None else max(8, shape.padded_bits_per_pixel)
    return min(VIDEO_FRAME_PIXELS_MAX, VIDEO_REFERENCE_BYTES_MAX * 8 // (held * bits))


def _duration_ms(container: InputContainer, stream: VideoStream) -> int:
    """What the file says; 0 where it says nothing."""
    if stream.duration is not None and stream.time_base is not None:
        duration_ms = int(stream.duration * stream.time_base * 1000)
    elif container.duration is not None:
        duration_ms = container.duration * 1000 // av.time_base
    else:
        duration_ms = 0
    return min(max(0, duration_ms), _TIME_MS_MAX)
