"""A small real gateway that speaks the HTTP contract and decides by a set of SHA-256 digests.

For tests of whoever calls a gateway: the test says which digests are listed and with what action.
Source: docs/spec/gateway.md.
"""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

NOTICE = "The rule of this place asks us not to store this file."


@dataclass
class StandInGateway:
    """What the test controls, and what it can look at afterwards."""

    listed: dict[str, str] = field(default_factory=dict)  # SHA-256 hex to action.
    unreadable: dict[str, str] = field(default_factory=dict)  # SHA-256 hex to action.
    token: str | None = None
    available: bool = True
    answer_override: str | None = None
    refuse_fingerprints: bool = False
    preserve_always: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/v1/screen", self.screen, methods=["POST"])
        app.add_api_route("/v1/status", self.status, methods=["GET"])
        return app

    def _refusal(self, request: Request) -> Response | None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "gateway.token")
        if not self.available:
            return _error(503, "gateway.list_missing", {"retry-after": "0"})
        return None

    async def screen(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        body = await request.body()
        if request.headers["content-type"] == "application/json":
            if self.refuse_fingerprints:
                return _error(400, "screen.fingerprints")
            asked = json.loads(body)
            digest = asked["fingerprints"]["sha256"]
            places, scope, form = asked.get("jurisdictions", []), asked["scope"], "fingerprints"
        else:
            digest = hashlib.sha256(body).hexdigest()
            places = request.query_params.getlist("jurisdiction")
            scope, form = request.query_params.get("scope", "uploads"), "bytes"
        self.calls.append({"scope": scope, "form": form, "jurisdictions": places})
        if self.answer_override is not None:
            return Response(self.answer_override, media_type="application/json")
        return JSONResponse(self.verdict(digest, places[0] if places else "NL"))

    def verdict(self, digest: str, place: str) -> dict[str, Any]:
        action = self.listed.get(digest) or self.unreadable.get(digest) or "allow"
        matched = digest in self.listed
        undetermined = digest in self.unreadable
        reason = {
            "jurisdiction": place,
            "rule": {"title": f"Uploads in {place}", "version": 1, "entry": 17, "clause": "known"},
            "listing": "12/3",
            "algorithm": "pdq",
            "distance": 4,
            "disputed": False,
            "action": action,
            "certified_by": [
                {"agency": "nl-police", "entry": 12},
                {"agency": "ie-garda", "entry": 15},
            ],
        }
        duty = {"jurisdiction": place, "to": "National report desk", "within_hours": 24}
        reports = matched and action in ("quarantine", "block")
        return {
            "decision": "match" if matched else "undetermined" if undetermined else "no_match",
            "action": action,
            "code": "image.too_flat" if undetermined else None,
            "conflict": False,
            "reasons": [reason] if matched else [],
            "duties": {
                "report": [duty] if reports else [],
                "preserve_days": 365 if reports or self.preserve_always else 0,
                "user_notice": [NOTICE] if matched else [],
            },
            "checkpoint": {"size": 31 + len(self.listed), "root": "00" * 32, "stale": False},
            "fingerprints": {
                "pdq": [{"bits": "5a" * 32, "quality": 100}],
                "md5": None,
                "sha1": None,
                "sha256": digest,
            },
            "receipt": {
                "index": len(self.calls),
                "leaf": "00" * 32,
                "time_ms": now_ms(),
                "key_id": "00" * 16,
                "signature": "",
            },
        }

    async def status(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        active = json.dumps(sorted(self.listed.items())).encode()
        listed = {
            "size": 31 + len(self.listed),
            "root": "00" * 32,
            "time_ms": now_ms() - 4_000,
            "cosigned_ms": now_ms() - 3_000,
            "stale": False,
            "active_count": len(self.listed),
            "active_root": hashlib.sha256(active).hexdigest(),
        }
        rule = {"jurisdiction": "NL", "version": 1, "entry": 17, "title": "Uploads in NL"}
        return JSONResponse(
            {
                "platform": "clouddrive",
                "list": listed,
                "rules": [rule | {"modality": "required"}],
                "receipts": {"size": len(self.calls), "root": "00" * 32},
            }
        )


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    error = {"code": code, "message": "stand-in", "mend": "none"}
    return JSONResponse({"error": error}, status, headers)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def running_gateway(gateway: StandInGateway, port: int = 0) -> Iterator[StandInGateway]:
    """The stand-in on a loopback port, in a thread, until the block ends; sets its `url`."""
    listener = socket.create_server(("127.0.0.1", port))
    gateway.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(gateway.app(), log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
