"""What a client asks and believes: base URLs that can be asked, errors that are only text."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.client.home import new_key
from accord.client.http import ATTEMPTS, NOT_YET, NodeClient, check_url
from accord.ledger.codes import RejectCode
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Rejected, Unavailable
from accord.wire.ids import ChainId, OperatorId

GOOD = ("http://127.0.0.1:8700", "https://node.example/", "http://[::1]:8700", "http://a/log")
BAD = (
    "",
    "node.example",
    "ftp://node.example",
    "http://",
    "http://[::1",
    "http://host:x",
    "http://host:99999",
    "http://host:0",
    "http://a..b",
    "http://exa mple",
    "http://xn--zzzzzz",
    "http://lo\ncal",
    f"http://{'a' * 300}",
    "http://host?x=1",
    "http://host#x",
    "http://[fe80::1%25eth0]:1",
)


@pytest.mark.parametrize("url", GOOD)
def test_a_base_url_is_kept(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_url(url)
    assert caught.value.code == "http.url"


def test_no_password_is_repeated() -> None:
    with pytest.raises(Malformed) as caught:
        check_url("http://user:secret@host:1")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(["http://", "https://", ""]))
def test_what_passes_can_be_asked(text: str, scheme: str) -> None:
    try:
        url = check_url(scheme + text)
    except Malformed:
        return

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody", request=request)

    transport = httpx.MockTransport(refuse)
    client = NodeClient(url, transport=transport, sleep=lambda _: None)
    with client, pytest.raises(Unavailable):
        client.fetch_genesis()


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error": {"code": "a.b", "message": "x\\u001b[2Jy"}}', "a.b", "x?[2Jy"),
        (b'{"error": {"code": "\\u001b[2J", "message": "x"}}', "http.status", None),
        (b'{"error": {"code": "a.' + b"a" * 99 + b'", "message": "x"}}', "http.status", None),
        (b"[" * 100_000, "http.status", None),
        (b"<html>", "http.status", None),
        (b'{"error": {"code": "a.b", "message": ["x"]}}', "a.b", "['x']"),
    ],
)
def test_what_a_server_says_is_a_code_and_text(body: bytes, code: str, message: str | None) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(400, content=body))
    with NodeClient("http://a", transport=transport) as client, pytest.raises(Malformed) as caught:
        client.fetch_genesis()
    assert caught.value.code == code
    assert caught.value.detail.get("message") == message


def submitter(answers: list[str]) -> NodeClient:
    """A node that refuses with these codes one after the other, and then takes it."""

    def answer(_: httpx.Request) -> httpx.Response:
        if not answers:
            return httpx.Response(200, json={"entry": 7})
        return httpx.Response(409, json={"error": {"code": answers.pop(0), "detail": {}}})

    key = new_key(Role.ROOT, OperatorId("safe"))
    transport = httpx.MockTransport(answer)
    return NodeClient("http://a", ChainId("c"), key, transport=transport, sleep=lambda _: None)


def test_what_a_node_a_block_behind_lacks_is_asked_again() -> None:
    with submitter(sorted(NOT_YET)[: ATTEMPTS - 1]) as client:
        assert client.submit(b"statement") == 7


def test_what_nobody_ever_said_is_refused_in_the_end() -> None:
    left = ["reject.unknown_proposal"] * (ATTEMPTS + 1)
    with submitter(left) as client, pytest.raises(Rejected, match=r"unknown_proposal"):
        client.submit(b"statement")
    assert len(left) == 1


@pytest.mark.parametrize("code", sorted({f"reject.{c.name.lower()}" for c in RejectCode} - NOT_YET))
def test_any_other_refusal_is_final(code: str) -> None:
    with submitter([code]) as client, pytest.raises(Rejected, match=code):
        client.submit(b"statement")


def test_what_may_come_is_named_as_the_ledger_names_it() -> None:
    assert {f"reject.{code.name.lower()}" for code in RejectCode} >= NOT_YET
