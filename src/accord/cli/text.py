"""Text of others on a terminal: titles, file names and messages are shown and never obeyed."""

from typing import Final

from rich.text import Text

# Control characters would move the cursor or write over what was said before. C0 but for the line
# feed, DEL, C1, and the marks that turn the direction of writing.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A
} | {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def printable(text: str) -> str:
    """The text with what is no text escaped: bytes of file names, and controls."""
    return encodable(text).translate(_CONTROLS)


def encodable(text: str) -> str:
    """The text, where each byte of a file name that is no text is escaped in JSON's way."""
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")


def cell(value: object) -> Text:
    """A cell of a table: no markup, no controls, one line."""
    return Text(one_line(str(value)))


def counted(count: int, what: str) -> str:
    """`1 listing`, `2 listings`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")
