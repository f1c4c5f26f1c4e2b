"""Which video container some bytes are, by content alone, and what of FFmpeg may read it.

Not here: pictures (`formats`), decoding (`video`). Exactly one demuxer is opened; the name and the
declared type of a file never matter. What is not named here is not read: playlists and others
that name further files are none of these.
Source: docs/spec/fingerprint.md, section 17.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from accord.fingerprint.formats import format_of

VideoFormatName: TypeAlias = Literal[
    "mp4", "matroska", "avi", "mpegts", "mpegps", "mpeg", "flv", "asf", "ogg"
]
HEAD_BYTES: Final = 1024  # What `video_format_of` looks at, at most.
_HEAD_BYTES_MIN: Final = 12  # With fewer it is not told what follows `ftyp` or `RIFF`.

# Our name, and FFmpeg's demuxer.
DEMUXERS: Final[dict[VideoFormatName, str]] = {
    "mp4": "mov",  # QuickTime, MP4, 3GP, fragmented or not.
    "matroska": "matroska",  # WebM too.
    "avi": "avi",
    "mpegts": "mpegts",  # Of 188 or 192 bytes a packet.
    "mpegps": "mpeg",
    "mpeg": "mpegvideo",
    "flv": "flv",
    "asf": "asf",  # WMV.
    "ogg": "ogg",
}
VIDEO_FORMATS: Final = frozenset(DEMUXERS)
# Decoders by FFmpeg's names; AV1's is a library of its own.
CODECS: Final = frozenset(
    {
        *("h264", "hevc", "libdav1d", "vp8", "vp9", "vp6", "vp6f", "theora"),
        *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "h263", "flv"),
        *("wmv1", "wmv2", "wmv3", "vc1", "cinepak", "svq3", "qtrle", "png", "mjpeg"),
        *("prores", "dnxhd", "dvvideo", "ffv1", "huffyuv", "rawvideo"),
    }
)
# Frames that a decoder holds at once, its own included; for H.264 those that wait to be shown, too,
# and what was measured to come on top: with 28, frames of 11 Mpx took a worker 640 MB.
REFERENCES: Final = {"h264": 33, "hevc": 17, "libdav1d": 10, "vp9": 10}
REFERENCES_OF_OTHERS: Final = 4
_START: Final = b"\x00\x00\x01"
_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # QuickTime's.


class Magic(NamedTuple):
    """Bytes at an offset that say what a file is."""

    at: int
    bytes_: bytes
    name: VideoFormatName


_MAGICS: Final = (
    Magic(0, b"\x1a\x45\xdf\xa3", "matroska"),
    Magic(0, b"FLV\x01", "flv"),
    Magic(0, b"OggS", "ogg"),
    Magic(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    Magic(0, _START + b"\xba", "mpegps"),
    Magic(0, _START + b"\xb3", "mpeg"),
    Magic(4, b"ftyp", "mp4"),
)


def video_format_of(head: bytes) -> VideoFormatName | None:
    """The container that a file's first `HEAD_BYTES` announce; None for pictures and all else."""
    if format_of(head) is not None:
        return None
    if len(head) < _HEAD_BYTES_MIN:
        return None
    for magic in _MAGICS:
        if head[magic.at : magic.at + len(magic.bytes_)] == magic.bytes_:
            return magic.name
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in _ATOMS:
        return "mp4"
    for first, packet in ((0, 188), (4, 192)):
        places = (first, first + packet, first + 2 * packet)
        if all(head[place : place + 1] == b"G" for place in places):
            return "mpegts"
    return None
