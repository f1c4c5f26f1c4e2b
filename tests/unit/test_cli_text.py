"""Text of others on a terminal: always one that can be written, never one that acts."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from accord.cli.text import cell, counted, encodable, one_line, printable

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} | set("\u202e\u2066")


@given(ANY)
def test_nothing_in_it_acts(text: str) -> None:
    shown = printable(text)
    assert not set(shown) & (CONTROLS - {"\n"})
    assert "\n" not in one_line(text)
    shown.encode()
    encodable(text).encode()


@given(ANY)
def test_any_text_is_a_cell(text: str) -> None:
    table = Table("one")
    table.add_row(cell(text))
    Console(file=io.StringIO(), width=200).print(table)


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"])))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == encodable(text) == text


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 listings"), (1, "1 listing"), (12_000, "12,000 listings")]
)
def test_counts_have_a_plural(count: int, words: str) -> None:
    assert counted(count, "listing") == words
