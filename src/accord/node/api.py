"""The node's HTTP API: public log, members' blobs and statements.

A handler is parse, decide, answer. Families become statuses in one table, `Broken` in none: it
ends the process.
Source: docs/spec/http.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accord.ledger.codes import RejectCode
from accord.ledger.views import Caller
from accord.node.auth import Gate, read_body
from accord.node.engine import Engine, Head
from accord.node.light_api import LightReads, add_light_reads
from accord.node.members import members_view, misbehaviour_view, splits_view
from accord.node.peers import Place, Signed
from accord.node.store import LogReader
from accord.statements.bodies import Epoch, Publish, Wrap
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.tlog.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, parse_tile_path
from accord.wire.errors import AccordError, Broken, Malformed, Rejected, Unavailable, Unproven
from accord.wire.limits import LONG_POLL_MS_MAX, LONG_POLLS_MAX, TRANSACTION_BYTES_MAX

STATUS: Final[dict[type[AccordError], int]] = {
    Malformed: 400,
    Unproven: 403,
    Rejected: 409,
    Unavailable: 503,
}
MENDS: Final[dict[str, str]] = {
    "http.signature": "sign with a key that the ledger knows and has not revoked",
    "http.signature_parameters": "send created, expires, nonce and keyid",
    "http.signature_life": "let expires follow created by at most five minutes",
    "http.signature_time": "set the clock, and sign each request when it is sent",
    "http.signed_before_start": "sign the request again",
    "http.replayed": "sign each request with a nonce of its own",
    "http.body_not_signed": "cover content-digest",
    "http.body_digest": "send the body that was signed",
    "http.body_size": "split the batch",
    "http.agencies_only": "ask an agency",
    "http.not_released": "ask the publishing agency for a grant",
    "node.no_quorum": "wait until more than two thirds of the agencies' cosigners are back",
    "node.busy": "send again later",
    "node.member_busy": "send again later, with less at once",
}
IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
MOVING: Final = {"Cache-Control": "no-cache"}
TEXT: Final = "text/plain; charset=utf-8"
OCTETS: Final = "application/octet-stream"

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "mend": {"type": "string"},
            },
        }
    },
}
_ERROR: Final = {"content": {"application/json": {"schema": _ERROR_SCHEMA}}}
_ODD: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A parameter that does not read", **_ERROR},
}
_ABSENT: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "Not a path of this log", **_ERROR},
    404: {"description": "Not there, or not there yet", **_ERROR},
}
_DOWN: Final[dict[int | str, dict[str, Any]]] = {
    503: {"description": "Not now; try again", **_ERROR},
}
_MEMBERS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "Malformed; mend it", **_ERROR},
    403: {"description": "No signature of a member in good standing, or not for them", **_ERROR},
    **_DOWN,
}


_SUBMITTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "In the log, durable, and under a checkpoint that the quorum signed",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["entry"],
                    "properties": {"entry": {"type": "integer"}},
                }
            }
        },
    },
    409: {"description": "The ledger's rules say no", **_ERROR},
}
_BODY: Final = {"required": True, "content": {OCTETS: {"schema": {"type": "string"}}}}


@dataclass(slots=True)
class Node:
    """What the handlers share. `counts` are by route and status, for operators."""

    engine: Engine
    log: LogReader
    genesis: bytes
    gate: Gate
    clock_s: Callable[[], int]
    halt: Callable[[Broken], None]
    signed: Signed | None = None  # What our own cosigner signs; None where all of them are here.
    light: LightReads | None = None  # For engines that join; None where there is no engine.
    counts: dict[tuple[str, int], int] = field(default_factory=dict)
    polls: int = 0
    # Of a log that goes on: what its genesis pins, and the earlier geneses by SHA-256 in hex.
    begins_at: int = 0
    earlier: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    def open_size(self) -> int:
        """How many entries readers may have: those that a quorum signed, or the genesis pins.

        Raises: Unavailable, where there are none yet.
        """
        return self.begins_at if self.engine.head is None and self.begins_at else self.head().size

    def head(self) -> Head:
        """Raises: Unavailable, before the first quorum."""
        if self.engine.head is None:
            raise Unavailable("node.no_quorum")
        return self.engine.head


def make_app(node: Node) -> FastAPI:
    """The API over a running engine."""
    app = FastAPI(
        title="Accord node",
        version="1",
        description="The public log (tiles, checkpoints, policy) and, for members, blobs and "
        "statements. Members sign requests: RFC 9421, docs/spec/http.md.",
        docs_url=None,
        redoc_url=None,
    )
    _handle_errors(app, node)
    _add_log(app, node)
    _add_checkpoints(app, node)
    if node.signed is not None:
        _add_cosignatures(app, node, node.signed)
    _add_members(app, node)
    if node.light is not None:
        add_light_reads(app, node.gate, node.light, _MEMBERS)
    _add_operators(app, node)
    return app


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    mend = MENDS.get(code)
    error = {"code": code, "message": message}
    return {"error": error | ({"mend": mend} if mend else {})}


def _handle_errors(app: FastAPI, node: Node) -> None:
    async def known(request: Request, err: Exception) -> Response:
        del request
        if not isinstance(err, AccordError):
            raise err
        headers = {"Retry-After": "1"} if isinstance(err, Unavailable) else {}
        return JSONResponse(error_body(err.code, str(err)), STATUS[type(err)], headers)

    async def routing(request: Request, err: Exception) -> Response:
        del request
        status = err.status_code if isinstance(err, HTTPException) else 400
        code = {404: "http.not_found", 405: "http.method"}.get(status, "http.request")
        message = str(err.detail) if isinstance(err, HTTPException) else "a parameter is wrong"
        return JSONResponse(error_body(code, message), status)

    for family in STATUS:
        app.add_exception_handler(family, known)
    app.add_exception_handler(HTTPException, routing)
    app.add_exception_handler(RequestValidationError, routing)
    app.add_middleware(_Counting, node=node)


class _Counting:
    """Counts answers by route and status; a `Broken` from a handler ends the process."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app = app
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                place = (getattr(scope.get("route"), "path", "other"), message["status"])
                self._node.counts[place] = self._node.counts.get(place, 0) + 1
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Broken as err:
            self._node.halt(err)
            raise


def _octets(content: bytes, headers: dict[str, str]) -> Response:
    return Response(content, media_type=OCTETS, headers=headers)


def _text(content: bytes, headers: dict[str, str]) -> Response:
    return Response(content, media_type=TEXT, headers=headers)


def _raw(kind: str, what: str) -> dict[int | str, dict[str, Any]]:
    binary = {"type": "string", "format": "binary"}
    schema = {"text/plain": {"type": "string"}, "application/json": {"type": "object"}}
    return {200: {"description": what, "content": {kind: {"schema": schema.get(kind, binary)}}}}


def _add_log(app: FastAPI, node: Node) -> None:
    @app.get(
        "/tile/{path:path}",
        response_class=Response,
        responses=_raw(OCTETS, "The tile or entry bundle, C2SP tlog-tiles") | _ABSENT | _DOWN,
        tags=["log"],
        summary="A tile of hashes, or of entries",
    )
    async def tile(path: str) -> Response:
        wanted = parse_tile_path(f"tile/{path}")
        size = node.open_size()
        height = 0 if wanted.level == ENTRIES else wanted.level * TILE_HEIGHT
        if wanted.index * TILE_WIDTH + wanted.width > size >> height:
            raise HTTPException(404, "beyond the checkpoint")
        # What has the same name has the same bytes for ever, a partial tile too.
        return _octets(node.log.tile(wanted), IMMUTABLE)

    @app.get(
        "/genesis",
        response_class=Response,
        responses=_raw("application/json", "The exact bytes; compare their SHA-256"),
        tags=["log"],
        summary="The genesis file",
    )
    async def genesis() -> Response:
        return Response(node.genesis, media_type="application/json", headers=IMMUTABLE)

    @app.get(
        "/earlier/{sha256}",
        response_class=Response,
        responses=_raw("application/json", "The exact bytes; compare their SHA-256") | _ABSENT,
        tags=["log"],
        summary="An earlier genesis, that this one continues",
    )
    async def earlier(sha256: str) -> Response:
        if sha256 not in node.earlier:
            raise HTTPException(404, "no such genesis here")
        raw = node.earlier[sha256]
        return Response(raw, media_type="application/json", headers=IMMUTABLE)


def _add_checkpoints(app: FastAPI, node: Node) -> None:
    note = _raw("text/plain", "A signed note, C2SP tlog-checkpoint") | _DOWN

    @app.get("/checkpoint", response_class=Response, responses=note, tags=["log"])
    async def checkpoint() -> Response:
        """The newest head that the quorum signed."""
        return _text(node.head().note, MOVING)

    @app.get("/transition/{size}", response_class=Response, responses=note | _ABSENT, tags=["log"])
    async def transition(size: Annotated[int, Path(ge=0, lt=2**63)]) -> Response:
        """The head at which the policy changed, signed by the old and the new quorum."""
        change = node.log.transition(size)
        if change is None or change[1] is None:
            raise HTTPException(404, "the policy did not change at this size")
        return _text(change[1], IMMUTABLE)

    @app.get("/transitions", tags=["log"], responses=_DOWN)
    async def transitions() -> list[int]:
        """The sizes at which the policy changed, ascending."""
        return list(node.log.transitions())

    @app.get(
        "/policy",
        response_class=Response,
        responses=_raw("text/plain", "C2SP tlog-policy") | _DOWN,
        tags=["log"],
    )
    async def policy() -> Response:
        """Who must have signed the newest checkpoint. A claim: derive it from the genesis."""
        return _text(node.head().policy, MOVING)

    @app.get("/wait", response_class=Response, responses=note | _ODD, tags=["log"])
    async def wait(
        size: Annotated[int, Query(ge=0, lt=2**63)],
        wait_ms: Annotated[int, Query(ge=0, le=LONG_POLL_MS_MAX)] = LONG_POLL_MS_MAX,
    ) -> Response:
        """The newest checkpoint, as soon as it is larger than `size`, or after `wait_ms`."""
        if node.polls >= LONG_POLLS_MAX:
            raise Unavailable("http.busy")
        node.polls += 1
        try:
            await node.engine.wait_beyond(size, wait_ms / 1000)
        finally:
            node.polls -= 1
        return _text(node.head().note, MOVING)


def _add_cosignatures(app: FastAPI, node: Node, signed: Signed) -> None:
    @app.get("/cosignatures", tags=["log"], responses=_DOWN)
    async def cosignatures(
        size: Annotated[int, Query(ge=-1, lt=2**63)] = -1,
        time_s: Annotated[int, Query(ge=-1, lt=2**63)] = -1,
        wait_ms: Annotated[int, Query(ge=0, le=LONG_POLL_MS_MAX)] = 0,
    ) -> dict[str, list[str]]:
        """What this agency's cosigner signed after (size, time), oldest first; for other nodes."""
        if node.polls >= LONG_POLLS_MAX:
            raise Unavailable("http.busy")
        node.polls += 1
        try:
            notes = await signed.beyond(Place(size, time_s), wait_ms / 1000)
        finally:
            node.polls -= 1
        return {"notes": [raw.decode() for raw in notes]}


def _add_members(app: FastAPI, node: Node) -> None:
    @app.get(
        "/blob/{sha256}",
        response_class=Response,
        responses=_raw(OCTETS, "The blob") | _ABSENT | _MEMBERS,
        tags=["members"],
    )
    async def blob(request: Request, sha256: str) -> Response:
        """A blob by its SHA-256 in hex, for members of a group it was released to."""
        caller = node.gate.admit(request, node.engine.state).caller
        try:
            digest = bytes.fromhex(sha256)
        except ValueError as err:
            raise Malformed("http.digest") from err
        entry = node.log.blob_entry(digest) if digest.hex() == sha256 else None
        if entry is None or entry >= node.open_size():
            raise HTTPException(404, "no such blob here")
        if not _may_read(node.log, entry, caller):
            raise Unproven("http.not_released")
        content = node.log.blob(digest)
        if content is None:
            raise HTTPException(404, "no such blob here")
        return _octets(content, {"Cache-Control": "private, no-store"})

    @app.post(
        "/submit",
        response_class=JSONResponse,
        responses=_SUBMITTED | _MEMBERS,
        openapi_extra={"requestBody": _BODY},
        tags=["members"],
    )
    async def submit(request: Request) -> Response:
        """Order a transaction. The same statement again gives the same entry again."""
        admitted = node.gate.admit(request, node.engine.state)
        raw = admitted.check_body(await read_body(request, TRANSACTION_BYTES_MAX))
        verdict = await node.engine.submit(raw)
        if isinstance(verdict, RejectCode):
            raise Rejected(verdict.code)
        return JSONResponse({"entry": verdict})

    @app.get("/members", responses=_MEMBERS, tags=["members"])
    async def members(request: Request) -> dict[str, Any]:
        """Members, keys, epochs, proposals, as this node sees them."""
        node.gate.admit(request, node.engine.state)
        view = members_view(node.engine.state, node.engine.chain)
        return view | {
            "misbehaviour": misbehaviour_view(node.log.misbehaviour()),
            "splits": splits_view(node.log.splits()),
        }


def _may_read(log: LogReader, entry: int, caller: Caller) -> bool:
    if caller.is_agency:
        return True
    leaf = log.leaf(entry)
    if leaf is None:
        return False
    match parse_envelope(parse_entry(leaf).statement).body:
        case Publish(groups=groups):
            return not set(groups).isdisjoint(caller.groups)
        case Epoch(group=group) | Wrap(group=group):
            return group in caller.groups
        case _:
            return False


def _add_operators(app: FastAPI, node: Node) -> None:
    @app.get("/healthz", tags=["operators"], responses=_DOWN)
    async def healthz() -> dict[str, Any]:
        """Whether the node takes statements: it runs, and a quorum signed when last asked."""
        gauges = node.engine.gauges()
        if gauges["accord_node_halted"]:
            raise Unavailable("node.halted")
        if not gauges["accord_node_quorum"]:
            raise Unavailable("node.no_quorum")
        return {"ok": True, "chain": node.engine.chain, "size": node.head().size}

    @app.get("/status", tags=["operators"])
    async def status() -> dict[str, Any]:
        """How far this node is: its last block, its log, the newest head that a quorum signed."""
        head = node.engine.head
        return {
            "chain": node.engine.chain,
            "height": node.log.height,
            "log_size": node.log.size,
            "log_root": node.log.root.hex(),
            "cosigned_size": 0 if head is None else head.size,
            "quorum": bool(node.engine.gauges()["accord_node_quorum"]),
        }

    @app.get("/metrics", response_class=PlainTextResponse, tags=["operators"])
    async def metrics() -> str:
        """Prometheus text."""
        gauges = dict(node.engine.gauges())
        head = node.engine.head
        if head is not None:
            gauges["accord_node_checkpoint_size"] = head.size
            gauges["accord_node_checkpoint_age_seconds"] = node.clock_s() - head.cosigned_s
        gauges["accord_node_long_polls"] = node.polls
        lines = [f"{name} {value:g}" for name, value in gauges.items()]
        for (route, status), count in sorted(node.counts.items()):
            labels = f'route="{route}",status="{status}"'
            lines.append(f"accord_node_requests_total{{{labels}}} {count}")
        return "\n".join(lines) + "\n"
