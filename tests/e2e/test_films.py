"""A film from the agency's desk to a platform's gateway: re-encoded, cut, framed, animated."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from command_kit import House, founded, is_ready, run, running, screened, told, until
from pictures_kit import encoded
from video_kit import animated, film, letterboxed, walk

BY_FILM = """    near:
      - {within: 31, action: review}
      - {algorithm: vpdq, query_percent: 60, listed_percent: 20, action: review}
"""
BY_FRAME = """    near:
      - {within: 31, action: review}
      - {algorithm: vpdq, query_percent: 100, listed_percent: 0, action: review}
"""


@cache
def frames() -> list[Image.Image]:
    return list(walk(11, 6.0))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("films") / "trial") as made:
        yield made


def set_rules(house: House, directory: Path, near: str) -> None:
    template = run("rules", "template", "eu-member-state").stdout
    before, _ = template.replace("interpol/baseline", "test/T1").split("    near:")
    file = directory / "nl.yaml"
    file.write_text(before + near)
    run("rules", "set", file, "--jurisdiction", "NL", "--home", house.home("nl-one"))


def test_a_listed_film_is_met_in_its_copies(house: House, tmp_path: Path) -> None:
    set_rules(house, tmp_path, BY_FILM)
    nl, ie = house.home("nl-one"), house.home("ie-two")
    original = tmp_path / "film.mp4"
    original.write_bytes(film(frames()))
    shown = told("fingerprint", original)
    assert (shown["format"], shown["duration_ms"]) == ("mp4", 6000)
    assert shown["frames"][-1]["time_ms"] > 5000
    entry = str(told("publish", original, "--class", "test/T1", "--home", nl)["entries"][0])
    run("approve", entry, "--home", nl)
    run("endorse", entry, "--level", "one-person", "--home", ie)

    home = house.found_platform("films")
    house.admit(home)
    words = ("gateway", "--home", home, "--trial", "--port", "0", "--workers", "1")
    with running(tmp_path, *words) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        same = screened(url, original.read_bytes())
        assert (same["decision"], same["action"]) == ("match", "block")

        half = [frame.resize((160, 96)) for frame in frames()]
        copies = {
            "another size and bitrate": film(half, "mkv h264", quality=34, gop=15),
            "another codec": film(frames(), "webm vp9"),
            "a clip": film(frames()[40:115]),
            "letterboxed": film(letterboxed(frames(), (320, 320)), "mp4 mpeg4"),
            "mirrored": film([f.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for f in frames()]),
            "gif": animated(half[::5], "GIF", 5),
            "webp": animated(half[::5], "WEBP", 5),
        }
        for name, data in copies.items():
            answer = screened(url, data)
            assert (answer["decision"], answer["action"]) == ("match", "review"), name
            (reason,) = answer["reasons"]
            assert (reason["algorithm"], reason["listing"]) == ("vpdq", f"{entry}/0"), name

        others = {
            "another film": film(walk(12, 6.0)),
            "one of its frames": encoded(frames()[60], "PNG"),
            "that as a film": film([frames()[60]] * 50),
        }
        for name, data in others.items():
            assert screened(url, data)["decision"] == "no_match", name
        cut = film(walk(12, 6.0), "mkv h264")
        undetermined = screened(url, cut[: len(cut) // 3])
        assert (undetermined["decision"], undetermined["code"]) == (
            "undetermined",
            "video.truncated",
        )

        scanned = run("scan", tmp_path / "film.mp4", "--home", home, "--trial", status=None)
        assert "1 matched, 0 could not be looked at" in scanned.stdout

        set_rules(house, tmp_path, BY_FRAME)
        until(lambda: screened(url, others["one of its frames"])["decision"] == "match")
        assert gateway.stop() == 0


def test_a_frame_of_an_upload_meets_a_listed_picture(house: House, tmp_path: Path) -> None:
    set_rules(house, tmp_path, BY_FILM)
    nl, ie = house.home("nl-one"), house.home("ie-two")
    shown = list(walk(13, 4.0))
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(encoded(shown[60], "JPEG"))
    entry = str(told("publish", picture, "--class", "test/T1", "--home", nl)["entries"][0])
    run("approve", entry, "--home", nl)
    run("endorse", entry, "--level", "one-person", "--home", ie)
    home = house.found_platform("frames")
    house.admit(home)
    words = ("gateway", "--home", home, "--trial", "--port", "0", "--workers", "1")
    with running(tmp_path, *words) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        answer = screened(url, film(shown, "ts h264"))
        assert (answer["decision"], answer["reasons"][0]["algorithm"]) == ("match", "pdq")
        assert gateway.stop() == 0
