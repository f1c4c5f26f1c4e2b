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

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures.algorithms import (
    ED25519,  # pyright: ignore[reportPrivateImportUsage] - its public place, re-exported.
)
from http_message_signatures.digests import ContentDigest
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageVerifier
from starlette.requests import Request

from accord.client.signing import BODY_COMPONENT, COMPONENTS, TAG, FieldLines, SignedMessage
from accord.ledger.state import Reader
from accord.ledger.views import Caller, caller_of
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import KeyId
from accord.wire.limits import (
    NONCE_CHARS_MAX,
    NONCES_MAX,
    REQUEST_CLOCK_SKEW_S,
    REQUEST_LIFE_S_MAX,
)

ClockS = Callable[[], int]


class _Keys(HTTPSignatureKeyResolver):
    """Answers with the keys of members in good standing, and remembers whose it was."""

    def __init__(self, state: Reader) -> None:
        self._state = state
        self.caller: Caller | None = None

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            raw = KeyId(bytes.fromhex(key_id))
        except ValueError:
            return None
        self.caller = caller_of(self._state, raw)
        if self.caller is None or raw.hex() != key_id:
            return None
        return Ed25519PublicKey.from_public_bytes(self.caller.key.public)


class _Verifier(HTTPMessageVerifier):
    """The library's verifier, without its clock: `Gate` checks times, by the node's."""

    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        del sig_input, max_age


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose head is proven: who sent it, and the digest that its body must have."""

    caller: Caller
    content_digest: str | None

    def check_body(self, body: bytes) -> bytes:
        """The body, seen to be the signed one. Raises: Unproven."""
        if self.content_digest is None:
            raise Unproven("http.body_not_signed")
        try:
            ContentDigest.verify(self.content_digest, body)
        except InvalidSignature as err:
            raise Unproven("http.body_digest") from err
        return body


class Gate:
    """Admits signed requests, each once. One event loop."""

    def __init__(self, clock_s: ClockS) -> None:
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._nonces: set[tuple[str, str]] = set()
        self._expiries: list[tuple[int, tuple[str, str]]] = []

    def admit(self, request: Request, state: Reader) -> Admitted:
        """Raises: Unproven, Unavailable."""
        keys = _Keys(state)
        verifier = _Verifier(signature_algorithm=ED25519, key_resolver=keys)
        try:
            (found,) = verifier.verify(
                _message(request), max_age=None, expect_tag=TAG, require_components=COMPONENTS
            )
        except (HTTPMessageSignaturesException, ValueError) as err:
            raise Unproven("http.signature") from err
        if keys.caller is None:
            raise Unproven("http.signature")
        self._check_once(found.parameters)
        digest = found.covered_components.get(f'"{BODY_COMPONENT}"')
        return Admitted(keys.caller, digest)

    def _check_once(self, parameters: dict[str, int | str]) -> None:
        now = self._clock_s()
        match parameters:
            case {
                "created": int(created),
                "expires": int(expires),
                "nonce": str(nonce),
                "keyid": str(key_id),
            } if 0 < len(nonce) <= NONCE_CHARS_MAX:
                pass
            case _:
                raise Unproven("http.signature_parameters")
        if not 0 <= expires - created <= REQUEST_LIFE_S_MAX:
            raise Unproven("http.signature_life", limit_s=REQUEST_LIFE_S_MAX)
        if created > now + REQUEST_CLOCK_SKEW_S or expires < now - REQUEST_CLOCK_SKEW_S:
            raise Unproven("http.signature_time", behind_s=now - created)
        if created < self._started_s:
            raise Unavailable("http.signed_before_start")
        self._forget(now)
        if (key_id, nonce) in self._nonces:
            raise Unproven("http.replayed")
        if len(self._nonces) >= NONCES_MAX:
            raise Unavailable("http.busy")
        self._nonces.add((key_id, nonce))
        heapq.heappush(self._expiries, (expires + REQUEST_CLOCK_SKEW_S, (key_id, nonce)))

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


def _message(request: Request) -> SignedMessage:
    """The request as it came over the wire. The scheme is not signed: proxies end TLS."""
    scope = request.scope
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    url = f"http://{request.headers.get('host', '')}{path}" + (f"?{query}" if query else "")
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return SignedMessage(request.method, url, FieldLines(lines))
