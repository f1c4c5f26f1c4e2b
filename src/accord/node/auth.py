"""Who calls: request signatures, their time, their nonce, and the member behind the key.

Order: parse the signature, find the key on the ledger, verify, check time and nonce; only then is
a body read, and its digest compared. A request counts once.
Nonces live in memory. After a restart the node refuses requests that were signed before it
started, so that forgetting them opens nothing.
Source: docs/spec/http.md, section Signatures.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from accord.client.verifying import Proven, received, verify_request
from accord.ledger.state import Reader
from accord.ledger.views import Caller, caller_of
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import KeyId
from accord.wire.limits import NONCES_MAX, REQUEST_CLOCK_SKEW_S

ClockS = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose head is proven: who sent it, and what its body must be."""

    caller: Caller
    proven: Proven

    def check_body(self, body: bytes) -> bytes:
        """The body, seen to be the signed one. Raises: Unproven."""
        return self.proven.check_body(body)


class Gate:
    """Admits signed requests, each once. One event loop."""

    def __init__(self, clock_s: ClockS) -> None:
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._nonces: set[tuple[KeyId, str]] = set()
        self._expiries: list[tuple[int, tuple[KeyId, str]]] = []

    def admit(self, request: Request, state: Reader) -> Admitted:
        """Raises: Unproven, Unavailable."""

        def public_of(key_id: KeyId) -> bytes | None:
            caller = caller_of(state, key_id)
            return None if caller is None else caller.key.public

        proven = verify_request(received(request.method, request.scope), public_of)
        caller = caller_of(state, proven.key_id)
        if caller is None:
            raise Unproven("http.signature")
        self._check_once(proven)
        return Admitted(caller, proven)

    def _check_once(self, proven: Proven) -> None:
        now = self._clock_s()
        proven.check_time(now)
        if proven.created_s < self._started_s:
            raise Unavailable("http.signed_before_start")
        self._forget(now)
        used = (proven.key_id, proven.nonce)
        if used in self._nonces:
            raise Unproven("http.replayed")
        if len(self._nonces) >= NONCES_MAX:
            raise Unavailable("http.busy")
        self._nonces.add(used)
        heapq.heappush(self._expiries, (proven.expires_s + REQUEST_CLOCK_SKEW_S, used))

    def _forget(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] < now:
            self._nonces.discard(heapq.heappop(self._expiries)[1])


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, refused as soon as it is seen to be too long. Raises: Malformed."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > limit:
        raise Malformed("http.body_size", limit=limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Malformed("http.body_size", limit=limit)
    return bytes(body)
