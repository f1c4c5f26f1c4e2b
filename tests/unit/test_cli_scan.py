"""How a scan explains itself on a terminal."""

import pytest
from typer.testing import CliRunner

from accord.cli.main import app
from accord.cli.scan import why


def reason(algorithm: str, distance: int) -> dict[str, object]:
    rule = {"title": "Uploads"}
    return {"rule": rule, "algorithm": algorithm, "distance": distance, "listing": "8/0"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"reasons": [reason("md5", 0)], "code": None}, "Uploads: same md5, listing 8/0"),
        ({"reasons": [reason("pdq", 12)], "code": None}, "Uploads: pdq, 12 bits off, listing 8/0"),
        (
            {"reasons": [], "code": "image.truncated"},
            "image.truncated (the file ends before its picture does)",
        ),
        ({"reasons": [], "code": "screen.no_list"}, "screen.no_list (no list yet: the first sync "),
        ({"reasons": [], "code": "not.known"}, "not.known"),
        ({"reasons": [], "code": None}, ""),
    ],
)
def test_why_is_in_words(answer: dict[str, object], words: str) -> None:
    assert why(answer).startswith(words)
    assert bool(why(answer)) is bool(words)


@pytest.mark.parametrize("decoding", ["listing", "listing-bare", "best"])
def test_stored_files_are_not_looked_at_as_listings_are(decoding: str) -> None:
    done = CliRunner().invoke(app, ["scan", ".", "--home", "none", "--decoding", decoding])
    assert done.exit_code == 2
    assert "scaled or exact" in done.output
