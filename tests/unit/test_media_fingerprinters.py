"""A licensed fingerprinter beside PDQ: found by name alone, run under the lock, never believed.

What is installed here is made up (`made_up_kit`).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli.main import app
from accord.fingerprint import (
    Decoding,
    Examined,
    Fingerprinted,
    Unhashable,
    UnhashableCode,
    Unseen,
    digests_of,
    examine,
    second,
)
from accord.matching import parts_of, query_of
from accord.media import DecoderPool, Named, load_named, named_in
from accord.media.fingerprinters import load, parse_argument
from accord.statements.rules import Algorithm
from accord.wire.errors import Malformed, Unavailable
from archives_kit import zipped
from made_up_kit import build_library, grid, install
from pictures_kit import animation, encoded, oriented, picture
from video_kit import film, letterboxed, walk

pytestmark = pytest.mark.slow

PICTURE = picture(1, (480, 320))
JPEG = encoded(PICTURE, "JPEG", quality=90)
VALUE = grid(PICTURE.tobytes(), *PICTURE.size)


def made_up(behaviour: str = "plain") -> Named:
    return Named("made-up", (("behaviour", behaviour),))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return directory


@pytest.fixture
def in_use() -> Iterator[None]:
    second.use(grid)
    yield
    second.use(None)


def looked_at(named: Named, data: bytes) -> Fingerprinted | Unhashable:
    with DecoderPool(1, fingerprinter=named) as pool:
        assert "seccomp" in pool.check()
        return pool.fingerprint(data, Decoding.SCALED)


def test_an_installed_one_sees_every_picture_under_the_lock(installed: Path) -> None:
    assert installed
    answer = looked_at(made_up(), encoded(PICTURE, "PNG"))
    assert isinstance(answer, Fingerprinted)
    assert (answer.pdq[0].photodna, answer.is_exact, answer.unseen) == (VALUE, True, None)
    with DecoderPool(1) as pool:  # Installed and not named: not there.
        plain = pool.fingerprint(encoded(PICTURE, "PNG"))
    assert isinstance(plain, Fingerprinted)
    assert plain.pdq[0].photodna is None


@pytest.mark.parametrize("behaviour", ["cannot", "raises", "garbage", "text", "equal"])
def test_a_picture_without_its_value_is_not_looked_at_whole(
    installed: Path, behaviour: str
) -> None:
    assert installed
    answer = looked_at(made_up(behaviour), JPEG)
    assert isinstance(answer, Fingerprinted)
    assert answer.unseen == Unseen(UnhashableCode.FINGERPRINTER)
    assert query_of(answer).undetermined == "image.fingerprinter"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("hangs", UnhashableCode.TIMEOUT),
        ("crashes", UnhashableCode.CRASHED),
        ("escapes", UnhashableCode.CRASHED),
    ],
)
def test_one_that_dies_takes_its_worker_along_and_no_more(
    installed: Path, behaviour: str, code: UnhashableCode
) -> None:
    assert installed
    answer = looked_at(made_up(behaviour), JPEG)
    assert isinstance(answer, Unhashable)
    assert answer.code is code
    assert answer.digests is not None


@pytest.mark.parametrize(
    "named",
    [
        Named("broken"),
        Named("absent"),
        Named("made-up", (("unknown", "x"),)),
        Named("library", (("path", "/nowhere.so"), ("symbol", "compute"))),
    ],
    ids=lambda named: str(named.name),
)
def test_one_that_does_not_load_or_work_starts_no_worker(installed: Path, named: Named) -> None:
    assert installed
    with DecoderPool(1, fingerprinter=named) as pool:
        with pytest.raises(Unavailable) as caught:
            pool.fingerprint(JPEG)
        assert caught.value.code == "media.fingerprinter"


def test_a_c_library_is_called_by_its_symbol(tmp_path: Path) -> None:
    built = build_library(tmp_path)
    named = Named("library", (("path", str(built)), ("symbol", "compute")))
    answer = looked_at(named, encoded(PICTURE, "PNG"))
    assert isinstance(answer, Fingerprinted)
    direct = load(named)
    assert answer.pdq[0].photodna == direct(PICTURE.tobytes(), *PICTURE.size)
    assert direct(bytes(3 * 8 * 8), 8, 8) is None


@pytest.mark.usefixtures("in_use")
def test_it_is_shown_pictures_upright_as_rgb_and_small() -> None:
    shown: list[tuple[int, int, int]] = []

    def noting(pixels: bytes, width: int, height: int, /) -> bytes | None:
        shown.append((len(pixels), width, height))
        return grid(pixels, width, height)

    second.use(noting)
    for orientation in (1, 3, 6):
        answer = examine(oriented(PICTURE, orientation))
        assert isinstance(answer, Examined)
        assert answer.pdq[0].photodna == VALUE
    grey = examine(encoded(PICTURE.convert("L"), "PNG"))
    large = examine(encoded(picture(2, (1500, 1000)), "JPEG"))
    assert isinstance(grey, Examined)
    assert isinstance(large, Examined)
    assert shown[:4] == [(3 * 480 * 320, 480, 320)] * 4
    assert shown[4] == (3 * 1024 * 683, 1024, 683)
    frames = examine(animation([1, 2, 3], "GIF"))
    assert isinstance(frames, Examined)
    assert len({view.photodna for view in frames.pdq}) == 3
    shown.clear()
    turned = [frame.rotate(-90, expand=True) for frame in letterboxed(walk(1, 1.0), (320, 320))]
    seen = examine(film(turned, rotation=90))
    assert isinstance(seen, Examined)
    assert seen.unseen is None
    assert {(width, height) for _, width, height in shown} == {(320, 320)}
    assert None not in {view.photodna for view in seen.pdq}


@pytest.mark.usefixtures("in_use")
def test_values_go_with_the_files_of_an_archive() -> None:
    files = [encoded(picture(seed), "PNG") for seed in (1, 2)]
    answer = examine(zipped([*files, b"nothing that is read here"]))
    assert isinstance(answer, Examined)
    query = query_of(Fingerprinted(digests_of(b""), answer.pdq, answer.facts, unseen=answer.unseen))
    assert query.vector_members == (1, 2)
    parts = dict(parts_of(query))
    assert [parts[n].vectors for n in (1, 2)] == [
        ((Algorithm.PHOTODNA, view.photodna),) for view in answer.pdq
    ]
    assert parts[3].vectors == ()


def test_settings_are_a_name_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "fingerprinter.toml"
    assert named_in(tmp_path) is None
    path.write_text('name = "library"\n[settings]\npath = "/a.so"\nsymbol = "f"\n')
    named = named_in(tmp_path)
    assert named == Named("library", (("path", "/a.so"), ("symbol", "f")))
    assert parse_argument(named.as_argument()) == named
    for wrong in (
        "",
        "name = 7",
        'name = "A B"',
        'name = "a"\nother = 1',
        'name = "a"\nsettings = 1',
        'name = "a"\n[settings]\nx = 1',
        'name = "a"\n[settings]\n"x-y" = "z"',
        f'name = "a"\n[settings]\nx = "{"y" * 1025}"',
        "name = ",
    ):
        path.write_text(wrong)
        with pytest.raises(Malformed, match=r"fingerprinter\.settings"):
            load_named(path)
    for text in ("", "7", "[1, 2, 3]", '["a"]'):
        with pytest.raises(Malformed, match=r"fingerprinter\.settings"):
            parse_argument(text)


def test_the_command_prints_both(installed: Path, tmp_path: Path) -> None:
    assert installed
    path, settings = tmp_path / "a.png", tmp_path / "fingerprinter.toml"
    path.write_bytes(encoded(PICTURE, "PNG"))
    settings.write_text('name = "made-up"\n')
    done = CliRunner().invoke(app, ["fingerprint", str(path), "--fingerprinter", str(settings)])
    assert done.exit_code == 0, done.output
    frames = json.loads(done.stdout)["frames"]
    assert VALUE is not None
    assert [frame["photodna"] for frame in frames] == [VALUE.hex()]
