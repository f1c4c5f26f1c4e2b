"""A node over HTTP: the public log, and for members blobs and statements.

Job: fetch bytes, sign requests, turn answers back into error families.
Verifies nothing: whoever uses the bytes does (accord.follow).
Reads are repeated when a node does not answer. A submission is repeated too: the node answers the
very same statement with the very same entry, so asking again is safe at any time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from accord.client.home import Home, PrivateKey
from accord.client.signing import signed_headers
from accord.statements.bodies import Role
from accord.wire.errors import AccordError, Malformed, Rejected, Unavailable, Unproven
from accord.wire.limits import (
    BLOB_BYTES_MAX,
    CHECKPOINT_BYTES_MAX,
    LONG_POLL_MS_MAX,
    POLICY_BYTES_MAX,
)

FAMILIES: Final[dict[int, type[AccordError]]] = {
    400: Malformed,
    403: Unproven,
    404: Malformed,
    409: Rejected,
    503: Unavailable,
}
TILE_BYTES_MAX: Final = 256 * (2 + 65_535)  # An entry bundle of the largest entries.
DOCUMENT_BYTES_MAX: Final = 8_000_000  # A genesis, or the list of members.
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.1  # Doubles: 0.1, 0.2, 0.4, 0.8 s.
# Machines first: a person's key signs statements, and requests only where there is no other.
CALLING_ROLES: Final = (Role.KEEPER, Role.SCANNER, Role.AUDITOR, Role.ANALYST, Role.GOVERNOR)

Signer = Home | PrivateKey | None


@dataclass(frozen=True, slots=True)
class _Ask:
    method: str
    path: str
    limit: int
    body: bytes | None = None
    signed: bool = False
    wait_s: float = ANSWER_S


def request_key(home: Home) -> PrivateKey:
    """The key of a home that signs its requests. Raises: Malformed, where there is none."""
    for role in CALLING_ROLES:
        for key in home.keys:
            if key.role is role:
                return key
    raise Malformed("home.no_such_key", role="one that may call a node")


class NodeClient:
    """One node, as one member or as nobody. Not for several threads at once.

    `base_url` defaults to the first node of a home. Raises: Malformed, Unproven, Rejected,
    Unavailable, from every method, as the node answered; Unavailable also when it did not.
    """

    def __init__(
        self,
        signer: Signer,
        base_url: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if isinstance(signer, Home):
            base_url = base_url or next(iter(signer.nodes), None)
            signer = request_key(signer)
        self._key = signer
        self._base = _check_url(base_url or "")
        self._sleep = sleep
        limits = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        self._http = httpx.Client(timeout=limits, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def base_url(self) -> str:
        return self._base

    def fetch_checkpoint(self) -> bytes:
        return self._ask(_Ask("GET", "/checkpoint", CHECKPOINT_BYTES_MAX))

    def fetch_transition(self, size: int) -> bytes:
        """The checkpoint at which the policy changed."""
        return self._ask(_Ask("GET", f"/checkpoint/{size}", CHECKPOINT_BYTES_MAX))

    def fetch_transitions(self) -> tuple[int, ...]:
        """The sizes at which the policy changed, as the node claims them."""
        value = self._json(_Ask("GET", "/transitions", DOCUMENT_BYTES_MAX))
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise Malformed("http.answer", path="/transitions")
        return tuple(value)

    def fetch_tile(self, path: str) -> bytes:
        """A tile or bundle by its C2SP path, such as `tile/0/000.p/7`."""
        return self._ask(_Ask("GET", f"/{path}", TILE_BYTES_MAX))

    def fetch_policy(self) -> bytes:
        return self._ask(_Ask("GET", "/policy", POLICY_BYTES_MAX))

    def fetch_genesis(self) -> bytes:
        return self._ask(_Ask("GET", "/genesis", DOCUMENT_BYTES_MAX))

    def wait(self, size: int, wait_s: float = LONG_POLL_MS_MAX / 1000) -> bytes:
        """The newest checkpoint, once it is larger than `size` or the time is over."""
        wait_ms = max(0, min(int(wait_s * 1000), LONG_POLL_MS_MAX))
        path = f"/wait?size={size}&wait_ms={wait_ms}"
        return self._ask(_Ask("GET", path, CHECKPOINT_BYTES_MAX, wait_s=wait_ms / 1000 + ANSWER_S))

    def fetch_blob(self, sha256: bytes) -> bytes:
        """The bytes a node gives for this digest; compare them before use."""
        return self._ask(_Ask("GET", f"/blob/{sha256.hex()}", BLOB_BYTES_MAX, signed=True))

    def members(self) -> dict[str, Any]:
        value = self._json(_Ask("GET", "/members", DOCUMENT_BYTES_MAX, signed=True))
        if not isinstance(value, dict):
            raise Malformed("http.answer", path="/members")
        return value

    def submit(self, transaction: bytes) -> int:
        """The entry's index: durable, and under a checkpoint that the quorum signed.

        Raises: Rejected, with the ledger's code; Unavailable, and then nobody knows yet whether
        it counts: submit the same bytes again, or look for them in the log.
        """
        ask = _Ask("POST", "/submit", DOCUMENT_BYTES_MAX, body=transaction, signed=True)
        match self._json(ask):
            case {"entry": int(entry)}:
                return entry
            case _:
                raise Malformed("http.answer", path="/submit")

    def _json(self, ask: _Ask) -> Any:  # noqa: ANN401 - a JSON document, matched by the caller.
        raw = self._ask(ask)
        try:
            return httpx.Response(200, content=raw).json()
        except ValueError as err:
            raise Malformed("http.answer", path=ask.path) from err

    def _ask(self, ask: _Ask) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                return self._once(ask)
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
                self._sleep(BACKOFF_S * 2**attempt)
        raise Unavailable("http.no_answer", path=ask.path)

    def _once(self, ask: _Ask) -> bytes:
        url = self._base + ask.path
        headers: dict[str, str] = {}
        if ask.signed:
            if self._key is None:
                raise Malformed("http.no_key", path=ask.path)
            headers = signed_headers(self._key, ask.method, url, ask.body)
        if ask.body is not None:
            headers["Content-Type"] = "application/octet-stream"
        timeout = httpx.Timeout(ask.wait_s, connect=CONNECT_S)
        try:
            with self._http.stream(
                ask.method, url, content=ask.body, headers=headers, timeout=timeout
            ) as answer:
                raw = _read(answer, ask)
        except httpx.HTTPError as err:
            # Its text may name hosts and ports, which are fine; its type is enough.
            raise Unavailable("http.no_answer", url=self._base, why=type(err).__name__) from err
        if answer.status_code == 200:
            return raw
        raise _error_of(answer.status_code, raw, ask)


def _read(answer: httpx.Response, ask: _Ask) -> bytes:
    got = bytearray()
    for chunk in answer.iter_bytes():
        got += chunk
        if len(got) > ask.limit:
            raise Malformed("http.answer_size", path=ask.path.partition("?")[0], limit=ask.limit)
    return bytes(got)


def _error_of(status: int, raw: bytes, ask: _Ask) -> AccordError:
    family = FAMILIES.get(status, Unavailable)
    try:
        value: object = httpx.Response(status, content=raw).json()
    except ValueError:
        value = None
    match value:
        case {"error": {"code": str(code), **rest}}:
            detail = rest
        case _:
            return family("http.status", status=status, path=ask.path.partition("?")[0])
    said = {name: str(detail[name])[:400] for name in ("message", "mend") if name in detail}
    if said.get("message") == code:
        del said["message"]
    return family(code[:80], **said)


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Malformed("http.url", url=url, wanted="http://host:port")
    return url.rstrip("/")
