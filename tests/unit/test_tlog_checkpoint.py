"""The text of a checkpoint has one form."""

import pytest

from accord.tlog import EMPTY_ROOT, Checkpoint, parse_checkpoint
from accord.wire.errors import Malformed

TEXT = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_c2sp_example() -> None:
    checkpoint = parse_checkpoint(TEXT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.encode() == TEXT
    longer = parse_checkpoint(TEXT + b"one\ntwo words\n")
    assert longer.extensions == ("one", "two words")
    assert longer.encode() == TEXT + b"one\ntwo words\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        TEXT[:-1],
        TEXT + b"\n",
        TEXT + b"\nx\n",
        b"\n" + TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"20852163", b"020852163"),
        TEXT.replace(b"20852163", b"-1"),
        TEXT.replace(b"20852163", b"9223372036854775808"),
        TEXT.replace(b"20852163", b"0"),
        TEXT.replace(b"q2I=", b"q2J="),
        TEXT.replace(b"q2I=", b"q2I"),
        TEXT.replace(b"CsUYapGG", b"CsUY"),
        TEXT.replace(b"sofa", b"so\x00fa"),
        TEXT.replace(b"sofa", b"so\xfffa"),
        b"a\n1\n",
        b"x" * 70_000,
    ],
    ids=range(17),
)
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(Malformed, match=r"^tlog\."):
        parse_checkpoint(text)


def test_an_empty_log_has_its_one_root() -> None:
    empty = Checkpoint("log", 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.encode()) == empty


@pytest.mark.parametrize("origin", ["", "a\nb", "\ud800"])
def test_an_origin_is_one_line_of_text(origin: str) -> None:
    with pytest.raises(Malformed, match=r"^tlog\.checkpoint\b"):
        Checkpoint(origin, 0, EMPTY_ROOT)
