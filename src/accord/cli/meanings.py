"""What an error code means in words: the tables of docs/errors.md, which a wheel carries along.

One source, so that what a person reads on a terminal and what the page says cannot differ.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGE = "errors.md"
_ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| [^|]* \| ([^|]*?) *\|(?: ([^|]*?) *\|)?$", re.MULTILINE)


class Meaning(NamedTuple):
    """A row of the page; `mend` is empty where it names none."""

    words: str
    mend: str


@cache
def _meanings() -> dict[str, Meaning]:
    here = Path(__file__)
    for page in (here.with_name(PAGE), here.parents[3] / "docs" / PAGE):
        try:
            text = page.read_text("utf-8")
        except OSError:
            continue
        return {
            code: Meaning(words.replace("`", ""), mend.replace("`", ""))
            for code, words, mend in _ROW.findall(text)
        }
    return {}


def meaning_of(code: str) -> Meaning | None:
    """None for a code of a newer node, or where the page was left out."""
    return _meanings().get(code)
