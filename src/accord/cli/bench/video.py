"""Measures films through a locked worker: how much faster than they play, in how much memory; and
how many of their frames another copy meets.

Films walk over the demo's photographs, a few seconds each, and are repeated to their length without
being encoded again. Units: CPU time of the worker, since a platform pays for cores.
Not here: pictures (hash), matching (match).
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from accord.cli.bench.figures import Report, Row, Section, rounded
from accord.cli.bench.machine import describe_machine
from accord.cli.demo.pictures import PHOTOS
from accord.fingerprint import PDQ_BYTES, Fingerprinted, FramePdq, distance_bits
from accord.fingerprint.pdq_native import kernel_of
from accord.media import DecoderPool, StoredFilm
from accord.wire.errors import Broken
from accord.wire.limits import PDQ_THRESHOLD_MAX

RATE: Final = 30
WALK_S: Final = 10  # Encoded once; longer films repeat it.
_SHOT_S: Final = 2
_KEYS_APART: Final = 60  # Frames, as cameras and platforms do.
_QUALITY: Final = "26"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One film of the table."""

    codec: str
    size: tuple[int, int]
    seconds: int

    @property
    def name(self) -> str:
        return f"{self.codec} {self.size[1]}p, {_length(self.seconds)}"


KINDS: Final = (
    Kind("h264", (854, 480), 30),
    Kind("h264", (854, 480), 120),
    Kind("h264", (1280, 720), 30),
    Kind("h264", (1920, 1080), 10),
    Kind("h264", (1920, 1080), 60),
    Kind("h264", (1920, 1080), 600),
    Kind("h264", (854, 480), 7_200),
    Kind("hevc", (1920, 1080), 60),
    Kind("vp9", (1280, 720), 30),
)
_ENCODERS: Final = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
_OPTIONS: Final = {
    "libx264": {"preset": "veryfast", "crf": _QUALITY},
    "libx265": {"preset": "ultrafast", "crf": _QUALITY, "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "32"},
}


def run(
    directory: Path, progress: Progress, kinds: Sequence[Kind] = KINDS, seconds: int = WALK_S
) -> Report:
    """`seconds` of each film that copies are made of. Raises: Malformed, without photographs."""
    machine = describe_machine(directory)
    rows: list[Row] = []
    for number, kind in enumerate(kinds):
        progress("watching films", number + 1, len(kinds))
        rows.append(_measured(kind, directory))
    copies = _copies(progress, seconds)
    sections = (
        Section("speed", "Films through a locked worker", tuple(rows)),
        Section("copies", f"Frames met, 480p H.264 of {seconds} s against its copies, %", copies),
    )
    return Report(machine, {"kernel": kernel_of().name, "rate": RATE}, sections)


def walk(size: tuple[int, int], seconds: int, first: int = 0) -> Iterator[Image.Image]:
    """Shots of 2 s, each a window that moves over a photograph and comes nearer."""
    frames = _SHOT_S * RATE
    whole = Image.new("RGB", size)
    for number in range(seconds * RATE):
        shot, place = divmod(number, frames)
        if place == 0:
            photo = PHOTOS[(first + shot) % len(PHOTOS)]
            with Image.open(io.BytesIO(photo.read())) as opened:
                whole = opened.convert("RGB")
        share = place / frames
        width, height = whole.width * (0.8 - 0.3 * share), whole.height * (0.8 - 0.3 * share)
        left, top = 0.2 * whole.width * share, 0.15 * whole.height * share
        box = (left, top, left + width, top + height)
        yield whole.resize(size, Image.Resampling.BILINEAR, box)


def encoded(frames: Iterable[Image.Image], codec: str, **options: str) -> bytes:
    """The frames as MP4."""
    images = iter(frames)
    first = next(images)
    out, encoder = io.BytesIO(), _ENCODERS[codec]
    with av.open(out, "w", format="mp4") as container:
        more = _OPTIONS[encoder] | options
        stream = cast(VideoStream, container.add_stream(encoder, rate=RATE, options=more))
        stream.width, stream.height = first.size
        stream.pix_fmt, stream.gop_size = "yuv420p", _KEYS_APART
        for number, image in enumerate(chain([first], images)):
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def repeated(data: bytes, seconds: int, times: int, path: Path) -> None:
    """A film of so many seconds so many times, one after another, as MP4 on a disk."""
    with av.open(str(path), "w", format="mp4") as out:
        stream, start = None, 0
        for _ in range(times):
            with av.open(io.BytesIO(data), "r", format="mov") as source:
                found = source.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(found)
                base = found.time_base or Fraction(1, 1000)
                for packet in source.demux(found):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts, packet.pts = packet.dts + start, packet.pts + start
                    packet.stream = stream
                    out.mux(packet)
                start += int(seconds / base)


def _measured(kind: Kind, directory: Path) -> Row:
    seconds = min(WALK_S, kind.seconds)
    data = encoded(walk(kind.size, seconds), kind.codec)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".mp4") as file:
        repeated(data, seconds, max(1, kind.seconds // seconds), Path(file.name))
        size = os.path.getsize(file.name)
        with DecoderPool(1) as pool:
            pool.check()
            (pid,) = pool.worker_pids()
            before_s = _cpu_s(pid)
            found = pool.fingerprint(StoredFilm(Path(file.name)))
            if not isinstance(found, Fingerprinted) or pool.worker_pids() != (pid,):
                raise Broken("bench.film")
            cpu_s, peak_mb = _cpu_s(pid) - before_s, _peak_mb(pid)
    return {
        "film": kind.name,
        "file_mb": rounded(size / 1e6),
        "kept_frames": found.facts.frames,
        "cpu_s": rounded(cpu_s),
        "times_real_time": rounded(kind.seconds / cpu_s),
        "resident_mb": round(peak_mb),
    }


def _copies(progress: Progress, seconds: int) -> tuple[Row, ...]:
    """Shares of frames within the threshold, both ways, of copies and of another film."""
    size = (854, 480)
    frames = list(walk(size, seconds))
    small = [frame.resize((426, 240)) for frame in frames]
    boxed = [_boxed(frame, (854, 854)) for frame in frames]
    films = {
        "itself": encoded(frames, "h264"),
        "240p, worse": encoded(small, "h264", crf="36"),
        "VP9": encoded(frames, "vp9"),
        "a clip, a third of it": encoded(frames[len(frames) // 3 : 2 * len(frames) // 3], "h264"),
        "letterboxed": encoded(boxed, "h264"),
        "another film": encoded(walk(size, _SHOT_S, 5), "h264"),
    }
    rows: list[Row] = []
    with DecoderPool(1) as pool:
        seen: dict[str, Fingerprinted] = {}
        for number, (name, data) in enumerate(films.items()):
            progress("comparing copies", number + 1, len(films))
            found = pool.fingerprint(data)
            if not isinstance(found, Fingerprinted):
                raise Broken("bench.film")
            seen[name] = found
    for name, found in seen.items():
        rows.append(
            {
                "copy": name,
                "of_its_frames": _met(found, seen["itself"]),
                "of_the_listing": _met(seen["itself"], found),
            }
        )
    return tuple(rows)


def _met(of: Fingerprinted, within: Fingerprinted) -> int:
    """How many per cent of the frames of one meet a frame of the other."""
    others = [value for view in within.pdq for value in _values(view)]
    met = sum(
        any(
            distance_bits(one, other) <= PDQ_THRESHOLD_MAX
            for one in _values(view)
            for other in others
        )
        for view in of.pdq
    )
    return round(100 * met / len(of.pdq))


def _values(view: FramePdq) -> list[bytes]:
    """A frame as a whole and, where it has bars, within them."""
    inner = view.look.frames[:PDQ_BYTES]
    return [view.bits, inner] if inner else [view.bits]


def _boxed(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, "black")
    canvas.paste(frame, ((size[0] - frame.width) // 2, (size[1] - frame.height) // 2))
    return canvas


def _length(seconds: int) -> str:
    for unit, name in ((3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000
