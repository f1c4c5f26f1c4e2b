"""Benign films for tests: a slow walk over procedural pictures, or photographs of things."""

import hashlib
import io
import struct
from collections.abc import Callable, Container, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

from pictures_kit import picture

SIZE: Final = (320, 192)
RATE: Final = 25

# Every container with a codec that it is usual for: format, encoder, pixel format.
FORMS: Final[dict[str, tuple[str, str, str]]] = {
    "mp4 h264": ("mp4", "libx264", "yuv420p"),
    "mp4 hevc": ("mp4", "libx265", "yuv420p"),
    "mp4 av1": ("mp4", "libsvtav1", "yuv420p"),
    "mp4 mpeg4": ("mp4", "mpeg4", "yuv420p"),
    "mov prores": ("mov", "prores_ks", "yuv422p10le"),
    "mov mjpeg": ("mov", "mjpeg", "yuvj420p"),
    "mov rle": ("mov", "qtrle", "rgb24"),
    "mkv h264": ("matroska", "libx264", "yuv444p"),
    "mkv ffv1": ("matroska", "ffv1", "yuv420p"),
    "webm vp8": ("webm", "libvpx", "yuv420p"),
    "webm vp9": ("webm", "libvpx-vp9", "yuv420p"),
    "avi mpeg4": ("avi", "mpeg4", "yuv420p"),
    "avi msmpeg4": ("avi", "msmpeg4v2", "yuv420p"),
    "avi huffyuv": ("avi", "huffyuv", "yuv422p"),
    "avi raw": ("avi", "rawvideo", "bgr24"),
    "asf wmv2": ("asf", "wmv2", "yuv420p"),
    "asf wmv1": ("asf", "wmv1", "yuv420p"),
    "flv": ("flv", "flv", "yuv420p"),
    "flv h264": ("flv", "libx264", "yuv420p"),
    "ts h264": ("mpegts", "libx264", "yuv420p"),
    "ts mpeg2": ("mpegts", "mpeg2video", "yuv420p"),
    "vob mpeg2": ("vob", "mpeg2video", "yuv420p"),
    "ogg vp8": ("ogg", "libvpx", "yuv420p"),
    "avi utvideo": ("avi", "utvideo", "yuv420p"),
    "mpeg1": ("mpeg1video", "mpeg1video", "yuv420p"),
}
# Encoders at their quickest: what is tested is that a film is read.
QUICK: Final[dict[str, dict[str, str]]] = {
    "libsvtav1": {"preset": "11"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
}
UNREAD: Final = "avi utvideo"  # Its codec is none that is read.


def walk(
    seed: int, seconds: float = 4.0, size: tuple[int, int] = SIZE, rate: int = RATE
) -> Iterator[Image.Image]:
    """Shots of 2 s, each a window that moves over a larger picture and comes nearer."""
    shot, count = 2 * rate, round(seconds * rate)
    width, height = size
    for number in range(count):
        if number % shot == 0:
            whole = picture(1000 * seed + number // shot, (2 * width, 2 * height))
        share = number % shot / shot
        near = 1.0 - 0.2 * share
        left, top = round(0.5 * width * share), round(0.3 * height * share)
        box = (left, top, left + round(1.5 * width * near), top + round(1.5 * height * near))
        yield whole.resize(size, Image.Resampling.BILINEAR, box)


def film(
    frames: Iterable[Image.Image],
    form: str = "mp4 h264",
    *,
    rate: int | Fraction = RATE,
    gop: int = 50,
    quality: int | None = None,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    keys: Container[int] = (),
) -> bytes:
    """The frames as a file. `quality` is x264's constant rate factor; more is worse. `keys` are
    frames that are key frames in any case."""
    name, codec, pixels = FORMS[form]
    out = io.BytesIO()
    encoder = QUICK.get(codec, {}) | ({"crf": str(quality)} if quality is not None else {})
    stream = None
    with av.open(out, "w", format=name) as container:
        for number, picture_ in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=encoder | (options or {}))
                stream.width, stream.height = picture_.size
                stream.pix_fmt = pixels
                stream.codec_context.thread_count = 1
                stream.gop_size = gop
                if quality is None:
                    stream.bit_rate = 2_000_000
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_image(picture_).reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            if number in keys:
                frame.pict_type = PictureType.I
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
    return out.getvalue()


def write_large(path: Path, data: bytes, size: int) -> str:
    """An mp4 grown to `size` by a box that nobody reads, of which a disk keeps no bytes; its
    SHA-256 in hex."""
    spare = size - len(data)
    with path.open("wb") as file:
        file.write(data + struct.pack(">I4s", spare, b"free"))
        file.truncate(size)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def letterboxed(frames: Iterable[Image.Image], size: tuple[int, int]) -> Iterator[Image.Image]:
    """Each frame in the middle of a black one."""
    for frame in frames:
        canvas = Image.new("RGB", size, "black")
        canvas.paste(frame, ((size[0] - frame.width) // 2, (size[1] - frame.height) // 2))
        yield canvas


def altered(
    frames: Iterable[Image.Image], alter: Callable[[Image.Image], Image.Image]
) -> Iterator[Image.Image]:
    return (alter(frame) for frame in frames)


def animated(frames: list[Image.Image], name: str, rate: int) -> bytes:
    """The frames as an animated picture of Pillow's format `name`."""
    out = io.BytesIO()
    first, *rest = frames
    options: dict[str, object] = {"quality": 80} if name == "WEBP" else {}
    first.save(
        out, name, save_all=True, append_images=rest, duration=1000 // rate, loop=0, **options
    )
    return out.getvalue()


def noise(seed: int, count: int, size: tuple[int, int] = SIZE) -> Iterator[Image.Image]:
    """Frames of which none is like the one before."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield picture(int(random.integers(2**31)), size)
