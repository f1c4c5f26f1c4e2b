"""Signed notes, their keys and lines; the published example of the Go reference."""

import pytest

from accord.tlog import (
    Algorithm,
    Note,
    NoteKey,
    SignatureLine,
    merge_lines,
    parse_note,
    parse_note_key,
    parse_signature_line,
    sign_text,
    verify_line,
)
from accord.tlog.note import (
    Cosignature,
    cosign_text,
    cosigned_message,
    parse_cosignature,
    parse_integer,
)
from accord.wire.errors import Broken, Malformed, Unproven
from tlog_kit import ORIGIN, Signer, agencies, log_signer

# golang.org/x/mod/sumdb/note, the package's own example.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    b"If you think cryptography is the answer to your problem,\n"
    b"then you don't know what your problem is.\n"
)
GO_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of https://c2sp.org/tlog-cosignature; its keys are not published.
C2SP_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
    "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dl"
    "rDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
TEXT = b"first\n\nthird\n"


def test_the_go_example_verifies() -> None:
    note = parse_note(GO_TEXT + b"\n" + GO_LINE.encode())
    key = parse_note_key(GO_KEY)
    assert (key.name, key.algorithm, key.encode()) == ("PeterNeumann", Algorithm.ED25519, GO_KEY)
    assert verify_line(note.lines[0], note.text, key) is None
    with pytest.raises(Unproven, match=r"^tlog\.signature\b"):
        verify_line(note.lines[0], note.text + b"\n", key)


def test_the_c2sp_cosignature_example_parses() -> None:
    note = parse_note(C2SP_NOTE.encode())
    assert note.encode() == C2SP_NOTE.encode()
    assert parse_cosignature(note.lines[1].signature).time_s == 1679315147
    assert cosigned_message(note.text, 1679315147).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_sign_encode_parse_verify() -> None:
    log, witness = log_signer(), Signer("w.example/1")
    note = Note(TEXT, (sign_text(TEXT, log.key, log.sign), witness.cosign(TEXT, 77)))
    again = parse_note(note.encode())
    assert again == note
    assert verify_line(again.lines[0], again.text, log.key) is None
    cosignature = verify_line(again.lines[1], again.text, witness.key)
    assert cosignature is not None
    assert cosignature.time_s == 77
    for line, key in ((note.lines[0], witness.key), (note.lines[1], log.key)):
        with pytest.raises(Unproven, match=r"^tlog\.signature\b"):
            verify_line(line, TEXT, key)


def test_a_key_s_name_is_part_of_it() -> None:
    log = log_signer()
    line = sign_text(TEXT, log.key, log.sign)
    with pytest.raises(Unproven, match=r"^tlog\.signature\b"):
        verify_line(line, TEXT, NoteKey("other", Algorithm.ED25519, log.key.key))


def test_a_cosignature_of_the_wrong_shape_does_not_verify() -> None:
    witness = Signer("w.example/1")
    good = witness.cosign(TEXT, 77)
    for payload in (good.signature[:-1], good.signature[8:], b"\xff" + good.signature[1:]):
        line = SignatureLine(good.name, good.key_hash, payload)
        with pytest.raises(Unproven, match=r"^tlog\.signature\b"):
            verify_line(line, TEXT, witness.key)


def test_a_signer_with_another_key_is_our_fault() -> None:
    log, witness = log_signer(), Signer("w.example/1")
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        sign_text(TEXT, log.key, witness.sign)
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        sign_text(TEXT, witness.key, witness.sign)
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        cosign_text(TEXT, log.key, 1, log.sign)
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        witness.cosign(TEXT, -1)


GOOD = C2SP_NOTE.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + b"x\n",
        GOOD.replace(b"\n\n", b"\n"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"example", b"ex\tample", 1),
        GOOD.replace(b"example", b"ex\xffample", 1),
        GOOD.replace("\u2014".encode(), b"-"),
        GOOD.replace(b"w1 ", b"w1  "),
        GOOD.replace(b"w1 ", b"w+1 "),
        GOOD.replace(b"w1 ", b""),
        GOOD.replace(b"qnA==", b"qnB=="),
        GOOD.replace(b"qnA==", b"qnA"),
        GOOD.replace(b"qnA==", b"qn A=="),
        GOOD.replace(b"w1 ", "w\u00a01 ".encode()),
        GOOD.replace(b"w1 ", b"w" * 256 + b" "),
        b"text\n\n" + "\u2014 name AAAAAA==\n".encode(),
        b"text\n\n" + "\u2014 name AAAAAAA=\n".encode() * 129,
        b"t" * 70_000 + b"\n\n" + "\u2014 name AAAAAAA=\n".encode(),
    ],
    ids=range(21),
)
def test_a_note_has_one_form(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"^tlog\."):
        parse_note(raw)


def test_a_note_needs_text_and_lines() -> None:
    line = parse_note(GOOD).lines[0]
    for text, lines in ((b"no newline", (line,)), (b"", (line,)), (TEXT, ())):
        with pytest.raises(Malformed):
            Note(text, lines)


@pytest.mark.parametrize("line", ["", "\u2014 a", "\u2014 a AAAAAAA=", "- a AAAAAAA=\n", "\n"])
def test_a_line_ends_itself(line: str) -> None:
    with pytest.raises(Malformed):
        parse_signature_line(line)


def test_a_line_may_not_be_endless() -> None:
    with pytest.raises(Malformed, match=r"^tlog\.note_size\b"):
        parse_signature_line("\u2014 a " + "A" * 70_000 + "\n")


def test_merging_keeps_one_line_per_key_and_the_latest_time() -> None:
    log, (first, second) = log_signer(), agencies(2)
    note = Note(TEXT, (sign_text(TEXT, log.key, log.sign), first.cosign(TEXT, 10)))
    merged = merge_lines(note, [first.cosign(TEXT, 9), second.cosign(TEXT, 5), note.lines[0]])
    assert merged.lines == (*note.lines, second.cosign(TEXT, 5))
    later = merge_lines(merged, [first.cosign(TEXT, 11), second.cosign(TEXT, 5)])
    assert later.lines == (note.lines[0], first.cosign(TEXT, 11), second.cosign(TEXT, 5))
    assert merge_lines(later, merged.lines) == later


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        GO_KEY + "=",
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("PeterNeumann", "Peter Neumann"),
        GO_KEY.replace("PeterNeumann", ""),
        GO_KEY.replace("+ARpc", "+Bhpc"),
        GO_KEY[:-4],
        "a+00000000+AQ==",
    ],
)
def test_a_key_text_has_one_form(text: str) -> None:
    with pytest.raises(Malformed):
        parse_note_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\x7f", "\ud800", "n" * 256])
def test_key_names_fit_a_signature_line(name: str) -> None:
    with pytest.raises(Malformed, match=r"^tlog\.key_name\b"):
        NoteKey(name, Algorithm.ED25519, log_signer().key.key)


def test_one_key_under_two_uses_has_two_hashes() -> None:
    key = log_signer().key
    other = NoteKey(ORIGIN, Algorithm.COSIGNATURE_V1, key.key)
    assert key.key_hash != other.key_hash
    assert parse_note_key(other.encode()) == other


@pytest.mark.parametrize("text", ["0", "1", "9223372036854775807"])
def test_integers(text: str) -> None:
    assert str(parse_integer(text)) == text


@pytest.mark.parametrize(
    "text", ["", "00", "01", "+1", "-1", "1 ", "1_0", "\u0661", "9223372036854775808", "1" * 20]
)
def test_other_integers_are_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"^tlog\.integer\b"):
        parse_integer(text)


def test_a_cosignature_is_seventy_two_bytes() -> None:
    value = Cosignature(2**63 - 1, bytes(64))
    assert parse_cosignature(value.encode()) == value
    for raw in (b"", value.encode() + b"\0", (2**63).to_bytes(8, "big") + bytes(64)):
        with pytest.raises(Malformed, match=r"^tlog\.cosignature\b"):
            parse_cosignature(raw)
