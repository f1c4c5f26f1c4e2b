"""Films: what is kept of them, in which copies it is met again, and what is not seen of them."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from av.error import InvalidDataError
from PIL import Image

from accord.fingerprint import Examined, distance_bits, examine, examine_film
from accord.fingerprint.source import BytesSource
from accord.fingerprint.types import UnhashableCode, Unseen
from accord.fingerprint.video import examine_video
from accord.fingerprint.video_formats import CODECS, DEMUXERS, video_format_of
from accord.fingerprint.video_pixels import LastHashed, Luma, pdq_of_luma
from accord.wire.limits import PDQ_QUALITY_MIN, VIDEO_FRAMES_MAX
from archives_kit import zipped
from pictures_kit import encoded, picture
from video_kit import FORMS, UNREAD, animated, film, letterboxed, noise, walk

pytestmark = pytest.mark.slow

SECONDS = 3.0


@cache
def frames() -> list[Image.Image]:
    return list(walk(1, SECONDS))


def seen(data: bytes, pixels_max: int | None = None) -> Examined:
    source = BytesSource(data)
    found = examine_video(source) if pixels_max is None else examine_video(source, pixels_max)
    assert isinstance(found, Examined), found
    return found


@cache
def plain() -> bytes:
    return film(frames())


@cache
def original() -> Examined:
    return seen(plain())


def share(of: Examined, within: Examined) -> float:
    """How many of the frames of one film are met in another, any view of each."""
    nearest: dict[int, int] = {}
    for view in of.pdq:
        frames = view.look.frames
        asked = [view.bits, *(frames[at : at + 32] for at in range(0, len(frames), 32))]
        listed = [other.look.frames[:32] or other.bits for other in within.pdq]
        nearest[view.index] = min(distance_bits(bits, other) for bits in asked for other in listed)
    return sum(bits <= 31 for bits in nearest.values()) / len(nearest)


@pytest.mark.parametrize("form", sorted(set(FORMS) - {UNREAD}))
def test_every_container_and_codec_gives_the_same_film(form: str) -> None:
    found = seen(film(frames(), form))
    assert found.unseen is None
    assert found.facts.format in DEMUXERS
    assert (found.facts.width, found.facts.height) == (320, 192)
    assert abs(found.facts.duration_ms - 1000 * SECONDS) < 200
    assert share(found, original()) >= 0.95
    assert share(original(), found) >= 0.95  # MPEG-1 alone is not at 1: it says no times.


def half(frame: Image.Image) -> Image.Image:
    return frame.resize((160, 96))


def other_shape(frame: Image.Image) -> Image.Image:
    return frame.resize((480, 360))


@pytest.mark.parametrize("alter", [half, other_shape])
def test_another_size_and_bitrate_is_the_same_film(
    alter: Callable[[Image.Image], Image.Image],
) -> None:
    found = seen(film([alter(frame) for frame in frames()], quality=33, gop=13))
    assert share(found, original()) > 0.9
    assert share(original(), found) > 0.9


def test_a_clip_that_begins_anywhere_lies_within_its_film() -> None:
    found = seen(film(frames()[19:58], rate=24))
    assert share(found, original()) == 1.0
    assert 0.3 < share(original(), found) < 0.8


def test_another_film_has_nothing_in_common() -> None:
    found = seen(film(walk(2, SECONDS)))
    assert share(found, original()) == share(original(), found) == 0.0


@pytest.mark.parametrize("size", [(320, 320), (480, 192), (480, 320)])
def test_what_lies_within_bars_is_asked_with_as_well(size: tuple[int, int]) -> None:
    found = seen(film(letterboxed(frames(), size)))
    assert share(found, original()) > 0.9
    assert sum(len(view.look.frames) == 64 for view in found.pdq) > 0.8 * len(found.pdq)
    assert not any(view.look.frames for view in original().pdq)
    assert [view.index for view in found.pdq] == list(range(found.facts.frames))
    assert share(original(), found) > 0.8


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_film_is_seen_upright(degrees: int) -> None:
    turned = [frame.rotate(-degrees, expand=True) for frame in frames()]
    found = seen(film(turned, rotation=degrees))
    assert (found.facts.width, found.facts.height) == (320, 192)
    assert share(found, original()) == 1.0


@pytest.mark.parametrize("name", ["GIF", "WEBP"])
def test_an_animation_meets_its_film(name: str) -> None:
    found = examine(animated([half(frame) for frame in frames()[::5]], name, 5))
    assert isinstance(found, Examined)
    assert share(found, original()) > 0.8


def test_a_mirrored_film_is_met_by_its_variants() -> None:
    mirrored = [frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for frame in frames()]
    found = seen(film(mirrored))
    turned = [
        replace(view, bits=view.look.variants[:32]) for view in found.pdq if view.look.variants
    ]
    assert share(replace(found, pdq=tuple(turned)), original()) == 1.0


def test_a_frame_is_its_picture() -> None:
    still = examine(encoded(frames()[30], "PNG"))
    assert isinstance(still, Examined)
    assert share(still, original()) == 1.0


def test_what_stands_still_is_one_frame_and_what_is_black_is_none() -> None:
    still, black = [picture(5)] * 30, [Image.new("RGB", (320, 208))] * 30
    found = seen(film(black + still + black + [picture(6)] * 10 + still))
    assert found.facts.frames == 2
    assert [view.time_ms for view in found.pdq] == [1200, 3600]
    assert all(view.quality >= PDQ_QUALITY_MIN for view in found.pdq)


def test_a_film_without_detail_or_without_pictures_has_no_fingerprint() -> None:
    flat = film([Image.new("RGB", (320, 208), "grey")] * 10)
    assert examine_video(BytesSource(flat)) is UnhashableCode.VIDEO_TOO_FLAT


def test_a_restless_film_is_thinned_to_what_may_be_kept() -> None:
    found = seen(film(noise(7, 400, (96, 64)), "mp4 mpeg4", rate=10))
    assert VIDEO_FRAMES_MAX // 3 < found.facts.frames <= VIDEO_FRAMES_MAX
    times = [view.time_ms for view in found.pdq]
    assert min(b - a for a, b in pairwise(times)) >= 200


def test_beyond_the_budget_key_frames_alone_are_seen() -> None:
    data = film(frames(), gop=15)
    found = seen(data, pixels_max=4_000_000)
    assert 1 < found.facts.frames < original().facts.frames / 2
    assert share(found, original()) == 1.0
    assert found.unseen is None


@pytest.mark.parametrize("form", ["mp4 h264", "mkv h264", "flv h264", "ts h264"])
@pytest.mark.parametrize(("gop", "code"), [(50, None), (100, "video.too_large")])
def test_key_frames_far_apart_say_too_little_of_a_film(
    form: str, gop: int, code: str | None
) -> None:
    # Nothing is kept but key frames: what is shown between two is the same.
    shown = [picture(seed, (96, 64)) for seed in range(12)]
    always = {"sc_threshold": "0"}
    film_ = film((shown[n // 50] for n in range(600)), form, rate=1, gop=gop, options=always)
    found = seen(film_, 10_000_000)
    assert found.facts.frames == 600 // gop
    assert (None if found.unseen is None else found.unseen.code.value) == code
    assert seen(film_).unseen is None, "all of its frames were looked at"


def test_a_film_without_a_length_whose_rest_has_no_key_frame_is_not_all_seen() -> None:
    shown = (picture(5, (96, 64)) for _ in range(600))
    data = film(shown, "mpeg1", gop=600, options={"sc_threshold": "1000000000"})
    second = data.index(b"\0\0\1\0", data.index(b"\0\0\1\0") + 4)  # The first that is no key.
    data += 3 * data[second:]
    found = seen(data, 20_000_000)
    assert found.unseen is not None
    assert found.unseen.code is UnhashableCode.VIDEO_TOO_LARGE
    assert seen(data).unseen is None


@pytest.mark.parametrize("form", ["mp4 h264", "mkv h264"])
@pytest.mark.parametrize(("without", "code"), [(4, None), (9, "video.too_large")])
def test_a_long_film_whose_end_has_no_key_frame_is_not_all_seen(
    form: str, without: int, code: str | None
) -> None:
    # Two hours, a frame in 10 s: where seeks lead nowhere only at the end, they led through it.
    shown = [picture(seed, (96, 64)) for seed in range(12)]
    rate, always = Fraction(1, 10), {"sc_threshold": "0", "bf": "0"}
    keys = range(0, 720 - without, 2)
    frames_ = (shown[n // 60] for n in range(720))
    film_ = film(frames_, form, rate=rate, gop=10_000, options=always, keys=keys)
    found = seen(film_, 120_000_000)
    assert (None if found.unseen is None else found.unseen.code.value) == code
    assert seen(film_).unseen is None, "all of its frames were looked at"


def test_a_length_that_is_a_lie_hides_nothing_behind_the_last_key_frame() -> None:
    shown = [picture(seed, (96, 64)) for seed in range(2)]
    always = {"sc_threshold": "0"}
    film_ = bytearray(film((shown[n // 60] for n in range(120)), rate=1, gop=999, options=always))
    for box, scale_at, length_at in ((b"mvhd", 16, 20), (b"tkhd", None, 24), (b"mdhd", 16, 20)):
        at = film_.index(box)
        if scale_at is not None:
            scale = int.from_bytes(film_[at + scale_at : at + scale_at + 4])
        film_[at + length_at : at + length_at + 4] = (2 * scale).to_bytes(4)
    film_ = film_.replace(b"elst", b"free")
    assert seen(bytes(film_)).facts.frames == 2, "players show all of it"
    found = seen(bytes(film_), 10_000_000)
    assert found.facts.duration_ms == 2_000
    assert found.unseen is not None
    assert found.unseen.code is UnhashableCode.VIDEO_TOO_LARGE


def test_where_the_last_key_frame_is_not_found_again_the_rest_was_not_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = film(frames(), gop=15)
    assert seen(data, 4_000_000).unseen is None

    def lost(_stream: object, _time_ms: int) -> None:
        raise InvalidDataError(1, "no such place")

    monkeypatch.setattr("accord.fingerprint.video._Stream._seek", lost)
    found = seen(data, 4_000_000)
    assert found.unseen is not None
    assert found.unseen.code is UnhashableCode.VIDEO_TOO_LARGE


def test_a_frame_over_again_is_the_same_answer_at_once() -> None:
    random = np.random.default_rng(3)
    pixels = random.integers(16, 235, (300, 200), dtype=np.uint8)
    last = LastHashed()
    first = last.of(Luma(pixels, is_full=False))
    assert last.of(Luma(pixels.copy(), is_full=False)) is first
    again = last.of(Luma(pixels, is_full=True))
    assert again is not first
    assert again.fingerprint == pdq_of_luma(Luma(pixels, is_full=True)).fingerprint
    other = pixels.copy()
    other[1:64] = 235 - other[1:64]  # Rows that a glance does not meet.
    found = last.of(Luma(other, is_full=True))
    assert found.fingerprint == pdq_of_luma(Luma(other, is_full=True)).fingerprint
    assert found.fingerprint != again.fingerprint
    assert last.of(Luma(pixels.T.copy(), is_full=True)) is not found
    large = Luma(np.zeros((5_000, 2_001), np.uint8), is_full=True)
    assert last.of(large).fingerprint == last.of(large).fingerprint
    assert last.of(Luma(pixels, is_full=False)).fingerprint == first.fingerprint


def test_a_long_film_is_seen_by_seeking_through_it() -> None:
    shown = [picture(seed, (96, 64)) for seed in range(40)]
    data = film((shown[number // 30] for number in range(1200)), "mkv h264", rate=1, gop=5)
    found = seen(data, 120_000_000)
    assert found.unseen is None
    assert found.facts.frames == 40
    assert found.pdq[-1].time_ms >= 1_170_000


def test_a_truncated_film_says_so_and_keeps_what_it_showed() -> None:
    data = film(walk(1, 8), "mkv h264")
    found = seen(data[: len(data) // 2])
    assert found.unseen is not None
    assert found.unseen.code is UnhashableCode.VIDEO_TRUNCATED
    assert share(found, seen(data)) == 1.0


def test_a_film_beyond_the_budget_ends_where_its_packets_do_not_with_its_last_key_frame() -> None:
    shown = [picture(seed, (96, 64)) for seed in range(3)]
    always = {"sc_threshold": "0"}
    data = film((shown[n // 50] for n in range(149)), "mkv h264", rate=1, gop=50, options=always)
    assert seen(data, 1_000_000).unseen is None
    cut = seen(data[: len(data) // 2], 1_000_000)
    assert cut.unseen is not None
    assert cut.unseen.code is UnhashableCode.VIDEO_TRUNCATED


def test_damage_is_told() -> None:
    data = bytearray(film(frames(), "avi mpeg4"))
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    found = examine_video(BytesSource(bytes(data)))
    if isinstance(found, Examined):
        assert found.unseen is not None
        assert found.unseen.code is UnhashableCode.VIDEO_NOT_DECODABLE


@pytest.mark.parametrize("cut", [12, 100, 5_000])
def test_a_film_without_its_index_is_a_code(cut: int) -> None:
    found = examine_video(BytesSource(plain()[:cut]))
    assert isinstance(found, UnhashableCode)
    assert found.value.startswith("video.")


def test_a_codec_that_is_not_listed_is_not_opened() -> None:
    assert "utvideo" not in CODECS
    found = examine_video(BytesSource(film(frames()[:5], UNREAD)))
    assert found is UnhashableCode.VIDEO_CODEC


def test_content_decides_and_pictures_come_first() -> None:
    made = {video_format_of(film(frames()[:5], form)[:1024]) for form in FORMS if "av1" not in form}
    assert made == set(DEMUXERS)
    assert video_format_of(encoded(picture(1), "AVIF")[:1024]) is None
    for data in (b"", b"#EXTM3U\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"G" * 3):
        assert video_format_of(data) is None


def test_films_in_an_archive_are_seen() -> None:
    found = examine(zipped([encoded(picture(4), "PNG"), plain()]))
    assert isinstance(found, Examined)
    assert {view.member for view in found.pdq} == {1, 2}
    assert found.unseen is None
    assert found.facts.duration_ms == 0


def test_progress_is_told_as_the_film_goes() -> None:
    told: list[tuple[int, int]] = []
    examine_video(BytesSource(plain()), tell=lambda done, of: told.append((done, of)))
    assert len(told) == len(frames())
    assert told[0] == (0, 3000)
    assert told[-1] == (2960, 3000)


def test_a_film_that_is_not_in_memory_tells_of_what_else_it_is() -> None:
    data = film(frames(), "ts h264")
    plain = examine_film(BytesSource(data), lambda _done, _of: None)
    assert isinstance(plain, Examined)
    assert plain.unseen is None
    also = data[:150] + b"%PDF-" + data[155:]  # In what fills its first packet.
    hidden = zipped([encoded(picture(4), "PNG")])[:-2] + b"\xff\xff" + b"x" * 65_535
    long = examine_film(BytesSource(data + hidden), lambda _done, _of: None)
    assert isinstance(long, Examined)
    assert long.unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE), "behind a long remark"
    pdf = examine_film(BytesSource(also), lambda _done, _of: None)
    assert isinstance(pdf, Examined)
    assert pdf.unseen == Unseen(UnhashableCode.ARCHIVE_NOT_READABLE)
