"""What every request passes: same-origin posts, known sizes, headers that keep a browser strict."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clouddrive.limits import FORM_BYTES_MAX, SMALL_FORM_BYTES_MAX

_POLICY: Final = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_same_origin(headers: Headers) -> bool:
    """Whether a POST comes from our own pages, or from a program that is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def refusal(scope: Scope) -> PlainTextResponse | None:
    """The answer to a request that must not reach the app, or None."""
    if scope["method"] in ("GET", "HEAD"):
        return None
    headers = Headers(scope=scope)
    if not is_same_origin(headers):
        return PlainTextResponse("This must be sent from the drive's own pages.", 403)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        return PlainTextResponse("Say how large it is: a Content-Length header is needed.", 411)
    most = FORM_BYTES_MAX if scope["path"] == "/upload" else SMALL_FORM_BYTES_MAX
    if int(length) > most:
        text = f"Too large: at most {most // 1_000} kB can be sent at once."
        return PlainTextResponse(text, 413)
    return None


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", _POLICY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (refusal(scope) or self._app)(scope, receive, send_strict)
