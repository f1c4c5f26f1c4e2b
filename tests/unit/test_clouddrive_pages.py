"""What pages say and to whom; which requests reach them."""

import drive_kit  # noqa: F401  # isort: skip - makes `clouddrive` importable.
import pytest
from clouddrive.guard import is_same_origin, refusal
from clouddrive.limits import FORM_BYTES_MAX, SMALL_FORM_BYTES_MAX
from clouddrive.store import State
from starlette.datastructures import Headers

from clouddrive import wording

ACCUSING = ("illegal", "abuse", "crime", "criminal", "police", "offence", "suspect", "you have")


@pytest.mark.parametrize("decision", ["match", "undetermined"])
@pytest.mark.parametrize("state", list(State))
def test_every_state_has_words_that_accuse_nobody(state: State, decision: str) -> None:
    heading, lines = wording.explain(state, decision, "image.too_flat")
    assert heading
    assert lines
    text = " ".join((heading, *lines)).lower()
    assert not any(word in text for word in ACCUSING)


@pytest.mark.parametrize("state", [State.HELD, State.REFUSED, State.QUARANTINED, State.STORED])
def test_what_could_not_be_checked_is_said_in_words(state: State) -> None:
    _, lines = wording.explain(state, "undetermined", "image.too_flat")
    assert lines[0] == (
        "We could not check this file: the picture has too little detail, such as one plain colour."
    )
    assert "image." not in wording.could_not_check("image.never_heard_of")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # No browser: nobody's cookie or network place is abused.
        ({"sec-fetch-site": "same-origin", "origin": "http://here:1"}, True),
        ({"origin": "http://here:1"}, True),
        ({"origin": "http://elsewhere"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://here:1"}, False),
        ({"sec-fetch-site": "none"}, False),
    ],
)
def test_only_our_own_pages_may_post(headers: dict[str, str], allowed: bool) -> None:
    assert is_same_origin(Headers({"host": "here:1", **headers})) is allowed


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/upload", str(FORM_BYTES_MAX), None),
        ("/upload", str(FORM_BYTES_MAX + 1), 413),
        ("/notice/x/appeal", str(SMALL_FORM_BYTES_MAX + 1), 413),
        ("/upload", None, 411),
        ("/upload", "-1", 411),
        ("/upload", "1" * 40, 411),
    ],
)
def test_a_post_says_its_size_and_keeps_to_it(
    path: str, length: str | None, status: int | None
) -> None:
    headers = [] if length is None else [(b"content-length", length.encode())]
    answer = refusal({"type": "http", "method": "POST", "path": path, "headers": headers})
    assert (answer.status_code if answer else None) == status


def test_sizes_and_ages_read_well() -> None:
    assert [wording.size_text(n) for n in (5, 1_500, 2_340_000)] == ["5 bytes", "2 kB", "2.3 MB"]
    assert [wording.age_text(n * 1_000) for n in (-1, 59, 3_599, 90_000)] == [
        "0 s",
        "59 s",
        "59 min",
        "1 d",
    ]
