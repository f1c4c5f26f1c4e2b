"""What a client asks and believes: base URLs that can be asked, errors that are only text."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.client.http import NodeClient, check_url
from accord.wire.errors import Malformed, Unavailable

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
