"""The gateway: the HTTP service that a platform calls for every upload.

A handler parses, decides, answers; families become statuses in one table.
Invariants: no body is read before its caller and its size are known to be welcome; more work than
can be done soon is turned away with Retry-After, never queued without bound.
Not here: the process and its signals (serve), what answers look like (contract).
Source: docs/spec/gateway.md.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from accord.client.verifying import received
from accord.fingerprint import Digests
from accord.matching import Context, Query
from accord.scan.bodies import FILM_TOO_LARGE, SLOW, TOO_LARGE, Bodies
from accord.scan.cases.intake import TakeIn, needs_case
from accord.scan.cases.quarantine import Lying
from accord.scan.contract import Asked, answer_view, parse_facts, parse_json_request, status_view
from accord.scan.following import Following
from accord.scan.lookups import Lookup, Lookups, lookup_view
from accord.scan.meter import Meter
from accord.scan.openapi import LOG, SCREEN, STATUS
from accord.scan.screener import Screened, Screener
from accord.scan.siblings import Siblings
from accord.scan.spool import SpooledFilm
from accord.wire.errors import AccordError, Malformed, Rejected, Unavailable, Unproven
from accord.wire.limits import SCREEN_JSON_BYTES_MAX

diagnostics = logging.getLogger("accord.gateway")
Timed = tuple[Screened, float]  # And how many seconds it took, from the whole body on.
STATUS_OF: Final[dict[type[AccordError], int]] = {
    Malformed: 400,
    Unproven: 403,
    Rejected: 409,
    Unavailable: 503,
}
# What is said where the error itself says nothing; the code says it to programs.
WORDS: Final[dict[type[AccordError], str]] = {
    Malformed: "not acceptable as given",
    Unproven: "could not be proved",
    Rejected: "the ledger's rules say no",
    Unavailable: "not available now",
}
STATUS_WORDS: Final = {
    401: "the bearer token is missing or wrong",
    404: "no such path",
    405: "no such method on this path",
}
STATUS_OF_CODE: Final = {TOO_LARGE: 413, FILM_TOO_LARGE: 413, SLOW: 408}
RETRY_AFTER_S: Final = {"screen.no_list": 5, "gateway.spool_busy": 5, "gateway.spool": 30}
FILMS_HELD_AT_ONCE: Final = 2  # In quarantine: threads are shared, and each is at it for a while.
_FACTS: Final = frozenset({"jurisdiction", "scope", "service", "upload"})
_ONCE: Final = _FACTS - {"jurisdiction"}


@dataclass
class Gateway:
    """What the handlers share. `following` is None where somebody else keeps the list current,
    `siblings` where no other process answers at this address."""

    screener: Screener
    following: Following | None = None
    token: str | None = None
    meter: Meter = field(default_factory=Meter)
    bodies: Bodies = field(default_factory=Bodies)
    siblings: Siblings | None = None
    cases: TakeIn | None = None  # Opens a case before a match is answered.
    lookups: Lookups | None = None  # For clients that do not hold the list.
    holding: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(FILMS_HELD_AT_ONCE)
    )

    def check_token(self, request: Request) -> None:
        """Raises: HTTPException 401."""
        if self.token is None:
            return
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            raise HTTPException(401, "gateway.token", {"WWW-Authenticate": "Bearer"})

    async def screen(self, request: Request) -> Response:
        lookup = await self._lookup_of(request)
        how = self._screen_json if _is_json(request) else self._screen_file
        screened, took_s = await how(request, lookup)
        decision = screened.decision
        self.meter.screened(decision.answer.value, decision.action.value, took_s)
        return JSONResponse(answer_view(screened) if lookup is None else lookup_view(screened))

    async def _screen_json(self, request: Request, lookup: Lookup | None) -> Timed:
        if request.query_params:
            raise Malformed("screen.facts", hint="in the JSON document, not in the query")
        self.screener.check(Context())
        async with self.bodies.whole(request, SCREEN_JSON_BYTES_MAX) as body:
            began = time.monotonic()
            if lookup is not None:
                lookup.proven.check_body(body)
            query, facts = parse_json_request(body)
            if lookup is not None:
                screened = await self._look_up_query(lookup, query, facts)
            else:
                screened = await self.screener.screen_query_async(
                    query, facts.context, facts.upload
                )
                await self._take_in(screened, facts, None)
            return screened, time.monotonic() - began

    async def _screen_file(self, request: Request, lookup: Lookup | None) -> Timed:
        asked = _facts_of(request)
        if lookup is not None:
            asked = lookup.limited(asked)
        self.screener.check(asked.context)
        async with self.bodies.file(request) as body:
            began = time.monotonic()
            digests = None if isinstance(body, bytes) else body.digests
            if lookup is not None:
                _check_signed(lookup, body)
                screened = await self._look_up_file(lookup, body, digests, asked)
            else:
                screened = await self.screener.screen_bytes_async(
                    body, asked.context, asked.upload, digests=digests
                )
                await self._take_in(screened, asked, body)
            return screened, time.monotonic() - began

    async def _take_in(
        self, screened: Screened, asked: Asked, body: bytes | SpooledFilm | None
    ) -> None:
        if self.cases is None:
            return
        if not isinstance(body, SpooledFilm):
            await asyncio.to_thread(self.cases, screened, asked.upload, body)
        elif needs_case(screened.decision):
            async with self.holding:
                held = Lying(body, body.digests.sha256)
                await asyncio.to_thread(self.cases, screened, asked.upload, held)

    async def _lookup_of(self, request: Request) -> Lookup | None:
        """A client's request; None for the platform's own. Raises: HTTPException 401; Unproven,
        Unavailable."""
        if self.lookups is None or "signature-input" not in request.headers:
            self.check_token(request)
            return None
        message = received(request.method, request.scope)
        return await asyncio.to_thread(self.lookups.admit, message)

    async def _look_up_query(self, lookup: Lookup, query: Query, facts: Asked) -> Screened:
        facts = lookup.limited(facts)
        self.screener.check(facts.context)
        await asyncio.to_thread(lookup.charge, query, is_due=False)
        screened = await self.screener.screen_query_async(
            query, facts.context, facts.upload, client=lookup.client.name
        )
        return await _noted(lookup, screened)

    async def _look_up_file(
        self, lookup: Lookup, body: bytes | SpooledFilm, digests: Digests | None, asked: Asked
    ) -> Screened:
        screened = await self.screener.screen_bytes_async(
            body, asked.context, asked.upload, digests=digests, client=lookup.client.name
        )
        await asyncio.to_thread(lookup.charge, screened.query, is_due=True)
        return await _noted(lookup, screened)

    async def status(self, request: Request) -> Response:
        self.check_token(request)
        screener = self.screener
        head = screener.receipts.head()
        now_ms = screener.clock()
        return JSONResponse(status_view(screener.platform, screener.running, head, now_ms))

    async def checkpoint(self, request: Request) -> Response:
        self.check_token(request)
        note = self.screener.receipts.checkpoint()
        return Response(note, media_type="text/plain; charset=utf-8")

    async def tile(self, request: Request, path: str) -> Response:
        self.check_token(request)
        try:
            raw = self.screener.receipts.tile(f"tile/{path}")
        except Unavailable as err:
            if err.code != "receipts.node":
                raise
            raise HTTPException(404, "gateway.not_found") from err
        immutable = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(raw, media_type="application/octet-stream", headers=immutable)

    async def healthz(self) -> Response:
        """200 while all that answer here can screen. Says nothing that needs a token."""
        following, siblings = self.following, self.siblings
        if following is not None and following.halted is not None:
            return JSONResponse({"ok": False, "why": following.halted.code}, 503)
        running = self.screener.running
        if siblings is not None and (why := siblings.trouble()) is not None:
            return JSONResponse({"ok": False, "why": why}, 503)
        stale = running.is_stale(self.screener.clock())
        said: dict[str, Any] = {"ok": True, "size": running.screen.checkpoint.size, "stale": stale}
        if siblings is not None:
            said["processes"] = {"ready": siblings.ready(), "wanted": siblings.places}
        return JSONResponse(said)

    def trouble(self) -> str | None:
        """Why this process cannot screen."""
        if self.following is not None and self.following.halted is not None:
            return self.following.halted.code
        try:
            self.screener.running  # noqa: B018  (it raises)
        except Unavailable as err:
            return err.code
        return None

    async def metrics(self, request: Request) -> Response:
        self.check_token(request)
        others = () if self.siblings is None else self.siblings.counts()
        text = self.meter.text(self._gauges(), others)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _gauges(self) -> dict[str, tuple[str, float | int]]:
        screener, following = self.screener, self.following
        gauges: dict[str, tuple[str, float | int]] = {
            "accord_receipts": ("Receipts in the platform's log.", screener.receipts.head().size)
        }
        try:
            running, now_ms = screener.running, screener.clock()
        except Unavailable:
            gauges["accord_list_ready"] = ("Whether there is a list to screen with.", 0)
            return gauges
        age_s = max(0, now_ms - running.cosigned_ms) / 1000
        lag_s = max(0, running.obligations.now_ms - now_ms) / 1000
        gauges |= {
            "accord_list_ready": ("Whether there is a list to screen with.", 1),
            "accord_list_age_seconds": ("Age of the newest quorum on the list.", age_s),
            "accord_clock_behind_seconds": ("By how much this clock lags the ledger's.", lag_s),
            "accord_list_stale": ("Whether the list is stale.", int(running.is_stale(now_ms))),
            "accord_list_size": ("Ledger entries in the list.", running.screen.checkpoint.size),
            "accord_list_active": ("Listings to match.", running.obligations.active_count),
        }
        if following is not None:
            # Among several processes it is another one that follows.
            theirs = None if self.siblings is None else self.siblings.follower_trouble()
            gauges["accord_follow_trouble"] = (
                "Whether the last round of following failed.",
                int((following.trouble or theirs) is not None),
            )
        if self.lookups is not None:
            held, alarming = self.lookups.figures()
            gauges["accord_clients_held"] = ("Clients that wait for a person to look.", held)
            gauges["accord_clients_alarming"] = ("Clients with many matches today.", alarming)
        if self.bodies.spool is not None:
            gauges["accord_spool_bytes"] = (
                "Disk that this process holds for films under way.",
                self.bodies.spool.held_bytes,
            )
        if self.siblings is not None:
            gauges["accord_gateway_processes"] = (
                "Processes that accept requests.",
                self.siblings.ready(),
            )
        return gauges


def create_app(gateway: Gateway) -> FastAPI:
    """The ASGI application. It starts and stops `gateway.following`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if gateway.following is not None:
            gateway.following.start()
        yield
        if gateway.following is not None:
            gateway.following.stop()

    app = FastAPI(
        title="Accord gateway",
        version="1",
        description="Screens files against the consortium's list. See docs/spec/gateway.md.",
        lifespan=lifespan,
        docs_url=None,  # Its page would load scripts from elsewhere.
        redoc_url=None,
    )
    routes: list[tuple[str, str, Callable[..., Awaitable[Response]], dict[str, Any]]] = [
        ("POST", "/v1/screen", gateway.screen, SCREEN),
        ("GET", "/v1/status", gateway.status, STATUS),
        ("GET", "/log/checkpoint", gateway.checkpoint, LOG),
        ("GET", "/log/tile/{path:path}", gateway.tile, LOG),
        ("GET", "/healthz", gateway.healthz, {}),
        ("GET", "/metrics", gateway.metrics, {}),
    ]
    for method, path, handler, about in routes:
        app.add_api_route(path, handler, methods=[method], response_class=Response, **about)

    async def on_family(_: Request, err: Exception) -> Response:
        if not isinstance(err, AccordError):
            raise err
        gateway.meter.refused(err.code)
        return error_answer(err)

    async def on_status(_: Request, err: Exception) -> Response:
        if not isinstance(err, HTTPException):
            raise err
        codes = {404: "gateway.not_found", 405: "gateway.method"}
        code = codes.get(err.status_code, str(err.detail))
        words = STATUS_WORDS.get(err.status_code)
        return _error(err.status_code, code, "", dict(err.headers or {}), words)

    async def on_gone(_: Request, __: Exception) -> Response:
        gateway.meter.refused("gateway.gone")
        return Response(status_code=400)  # Nobody hears it.

    app.add_exception_handler(ClientDisconnect, on_gone)
    for family in STATUS_OF:
        app.add_exception_handler(family, on_family)
    app.add_exception_handler(HTTPException, on_status)
    return app


def error_answer(err: AccordError) -> Response:
    """A family as an HTTP answer."""
    status = next((code for family, code in STATUS_OF.items() if isinstance(err, family)), 500)
    headers: dict[str, str] = {}
    status = STATUS_OF_CODE.get(err.code, status)
    if "retry_after_s" in err.detail:
        status, headers["Retry-After"] = 429, str(err.detail["retry_after_s"])
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S.get(err.code, 1))
    mend = str(err.detail.get("mend", ""))
    facts = {name: value for name, value in err.detail.items() if name != "mend"}
    message = ", ".join(f"{name}: {value}" for name, value in facts.items())
    words = next((words for family, words in WORDS.items() if isinstance(err, family)), None)
    return _error(status, err.code, mend, headers, message or words)


def _error(
    status: int, code: str, mend: str, headers: dict[str, str], message: str | None = None
) -> Response:
    error = {"code": code, "message": message or code, "mend": mend}
    return JSONResponse({"error": error}, status, headers)


def _check_signed(lookup: Lookup, body: bytes | SpooledFilm) -> None:
    """Raises: Unproven."""
    if isinstance(body, bytes):
        lookup.proven.check_body(body)
    else:
        lookup.proven.check_digest(body.digests.sha256)


async def _noted(lookup: Lookup, screened: Screened) -> Screened:
    """For a client: nothing of the platform's own follows, no case and no local layer.

    Raises: Unproven, for what the client is not to be told.
    """
    if await asyncio.to_thread(lookup.note, screened):
        diagnostics.warning("client %s is held: see accord clients usage", lookup.client.name)
        raise Unproven("clients.held", client=lookup.client.name)  # Nor is it told what tripped it.
    return screened


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json"


def _facts_of(request: Request) -> Asked:
    params = request.query_params
    unknown = sorted(set(params) - _FACTS)
    if unknown or any(len(params.getlist(name)) > 1 for name in _ONCE):
        raise Malformed("screen.facts", known=",".join(sorted(_FACTS)))
    return parse_facts(
        list(params.getlist("jurisdiction")),
        params.get("scope"),
        params.get("service"),
        params.get("upload"),
    )
