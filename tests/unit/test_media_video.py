"""Films through real locked workers: every container and codec, damage, and no further call."""

from collections.abc import Iterator
from functools import cache

import pytest
from PIL import Image

from accord.fingerprint import Fingerprinted, Unhashable, fingerprint_bytes
from accord.media import DecoderPool
from video_kit import FORMS, film, walk


@cache
def frames() -> list[Image.Image]:
    return list(walk(1, 1.0))


def checked(stream: bytes, section: int) -> bytes:
    """The section of a transport stream with the checksum that its bytes have now."""
    end = section + 3 + (int.from_bytes(stream[section + 1 : section + 3], "big") & 0xFFF) - 4
    crc = 0xFFFF_FFFF
    for byte in stream[section:end]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return stream[:end] + crc.to_bytes(4, "big") + stream[end + 4 :]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1) as pool:
        yield pool


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_locked_worker_answers_as_the_pure_function_does(pool: DecoderPool, form: str) -> None:
    data = film(frames(), form)
    assert pool.fingerprint(data) == fingerprint_bytes(data)


@pytest.mark.parametrize("form", ["mp4 h264", "mkv h264", "ts h264", "avi mpeg4", "flv", "ogg vp8"])
def test_damage_does_not_end_a_worker(pool: DecoderPool, form: str) -> None:
    data = film(frames()[:6], form)
    pool.fingerprint(data)
    pids = pool.worker_pids()
    for at in range(600, len(data), len(data) // 12):
        for damaged in (data[:at], data[:at] + b"\xff" * 9 + data[at + 9 :]):
            answer = pool.fingerprint(damaged)
            if isinstance(answer, Unhashable):
                assert answer.code.value.startswith("video.")
    assert pool.worker_pids() == pids


def test_a_broadcast_may_name_itself_in_any_characters(pool: DecoderPool) -> None:
    """FFmpeg has the C library turn them to UTF-8, which loads tables: all are loaded before."""
    data = film(frames()[:6], "ts h264")
    name = data.index(b"Service01")
    whole = pool.fingerprint(data)
    assert isinstance(whole, Fingerprinted)
    for first in [b"\x10\0" + bytes((n,)) for n in range(18)] + [bytes((n,)) for n in range(0x20)]:
        named = data[:name] + first + data[name + len(first) :]
        answer = pool.fingerprint(checked(named, data.rindex(b"\x42\xf0", 0, name)))
        assert isinstance(answer, Fingerprinted)
        assert answer.pdq == whole.pdq
