"""Films through real locked workers: every container and codec, damage, and no further call."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

import worker_kit
from accord.fingerprint import (
    Fingerprinted,
    Unhashable,
    UnhashableCode,
    digests_of,
    fingerprint_bytes,
)
from accord.media import DecoderPool, StoredFilm, read_file
from accord.media.films import (
    BLOCK_BYTES,
    AskedSource,
    SourceFailed,
    Wanted,
    Watched,
    encode_question,
    parse_question,
)
from accord.wire import cbor
from accord.wire.errors import Malformed, Unavailable
from video_kit import FORMS, film, walk

pytestmark = pytest.mark.slow


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


def of_size(size: int) -> bytes:
    """What the odd workers take for a film of theirs."""
    return b"\x1a\x45\xdf\xa3" + bytes(size - 4)


def odd(wait_ms: int = 5_000, **options: int) -> DecoderPool:
    return DecoderPool(1, argv=worker_kit.ARGV, wait_ms=wait_ms, **options)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (100, "image.too_flat"),  # It got its block.
        (101, "image.too_flat"),  # It said how far it was.
        (102, "video.crashed"),
        (103, "video.crashed"),
        (104, "video.timeout"),
        (105, "video.crashed"),
        (106, "video.timeout"),
        (107, "video.timeout"),
        (108, "image.too_flat"),  # Beyond the end there is nothing, and no harm.
    ],
)
def test_a_worker_that_dies_hangs_or_lies_about_a_film(size: int, code: str) -> None:
    told: list[tuple[int, int]] = []
    data = of_size(size)
    with odd(wait_ms=300, film_wait_ms=600) as pool:
        started = time.monotonic()
        answer = pool.fingerprint(data, progress=lambda done, of: told.append((done, of)))
        assert answer == Unhashable(UnhashableCode(code), digests_of(data))
        assert time.monotonic() - started < 3.0
        again = pool.fingerprint(b"a")
        assert isinstance(again, Unhashable)
        assert again.code is UnhashableCode.TOO_FLAT
    assert told == ([(5, 10)] if size == 101 else [])


def test_of_several_workers_one_is_left_to_pictures() -> None:
    with (
        DecoderPool(2, argv=worker_kit.ARGV, wait_ms=1_500, queue_wait_ms=100) as pool,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(pool.fingerprint, of_size(106))
        while not first.running():
            time.sleep(0.001)
        time.sleep(0.05)  # Until it has the place: nothing outside tells.
        with pytest.raises(Unavailable) as caught:
            pool.fingerprint(of_size(106))
        assert caught.value.code == "media.busy"
        answer = pool.fingerprint(b"a")
        assert isinstance(answer, Unhashable)
        assert answer.code is UnhashableCode.TOO_FLAT
        assert not first.done()


def test_a_film_on_a_disk_is_read_a_part_at_a_time(pool: DecoderPool, tmp_path: Path) -> None:
    data = film(walk(4, 4.0), "mov rle")  # Large for what it is.
    assert len(data) > 4_000_000
    path = tmp_path / "film"
    path.write_bytes(data)
    found = read_file(path, bytes_max=1_000)
    assert found == StoredFilm(path)
    assert isinstance(found, StoredFilm)
    told: list[tuple[int, int]] = []
    answer = pool.fingerprint(found, progress=lambda done, of: told.append((done, of)))
    assert answer == fingerprint_bytes(data)
    with path.open("r+b") as file:
        file.truncate(1_000_000)
        with found.opened() as opened:
            file.truncate(100)
            with pytest.raises(SourceFailed):
                opened.read(0, 200)
    path.unlink()
    assert pool.fingerprint(found) == Unhashable(UnhashableCode.UNREADABLE, None)
    known = digests_of(b"made while it came")
    answer = pool.fingerprint(found, digests=known)
    assert answer == Unhashable(UnhashableCode.UNREADABLE, known), "what is listed by them is met"
    path.write_bytes(bytes(2_000))
    assert read_file(path, bytes_max=1_000) == Unhashable(UnhashableCode.TOO_LARGE, None)


def test_questions_are_exact() -> None:
    for question in (Wanted(0), Wanted(2**40), Watched(1, 2)):
        assert parse_question(encode_question(question)) == question
    assert parse_question(cbor.encode({"code": "image.too_flat"})) is None
    for odd_one in (
        {"wanted": -1},
        {"wanted": 1, "more": 1},
        {"watched": 1},
        {"watched": [1, 2, 3]},
    ):
        with pytest.raises(Malformed):
            parse_question(cbor.encode(odd_one))


def test_blocks_are_asked_for_once_while_they_are_near() -> None:
    data = bytes(range(251)) * 20_000
    asked: list[int] = []

    def ask(number: int) -> bytes:
        asked.append(number)
        return data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]

    source = AskedSource(len(data), ask)
    assert source.read(BLOCK_BYTES - 10, 20) == data[BLOCK_BYTES - 10 : BLOCK_BYTES + 10]
    assert source.read(0, 100) == data[:100]
    assert source.read(len(data) - 5, 100) == data[-5:]
    assert source.read(len(data), 5) == b""
    assert asked == [0, 1, 4]


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


def test_films_that_wait_their_turn_keep_no_picture_waiting() -> None:
    asyncio.run(_pictures_pass_films())


async def _pictures_pass_films() -> None:
    with DecoderPool(2, argv=worker_kit.ARGV, wait_ms=1_500, queue_wait_ms=1_000) as pool:
        films = [asyncio.create_task(pool.fingerprint_async(of_size(106))) for _ in range(4)]
        await asyncio.sleep(0)  # All are handed over.
        started = time.monotonic()
        answer = await pool.fingerprint_async(b"a")
        assert isinstance(answer, Unhashable)
        assert time.monotonic() - started < 0.9
        assert not any(task.done() for task in films)
        await asyncio.gather(*films, return_exceptions=True)
