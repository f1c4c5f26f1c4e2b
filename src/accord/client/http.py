"""A node over HTTP: the public log, and for members blobs and statements.

Job: fetch bytes, sign requests, turn answers back into error families.
Verifies nothing: whoever uses the bytes does (accord.follow).
Reads are repeated when a node does not answer. A submission is repeated too: the node answers the
very same statement with the very same entry, so asking again is safe at any time. So is one refused
for what another member has only just said (`NOT_YET`): this node may be a block behind the quorum.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from accord.client.home import PrivateKey
from accord.client.signing import signed_headers
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import parse_note
from accord.wire.errors import AccordError, Malformed, Rejected, Unavailable, Unproven
from accord.wire.ids import ChainId
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
CODE_RE: Final = re.compile(r"(?=.{3,80}$)[a-z0-9_]+(\.[a-z0-9_]+)+")
TILE_BYTES_MAX: Final = 256 * (2 + 65_535)  # An entry bundle of the largest entries.
DOCUMENT_BYTES_MAX: Final = 8_000_000  # A genesis, or the list of members.
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.1  # Doubles: 0.1, 0.2, 0.4, 0.8 s.
NOT_YET: Final = frozenset(  # The next block may bring what these miss.
    {
        "reject.unknown_entry",
        "reject.not_approved",
        "reject.unknown_proposal",
    }
)


@dataclass(frozen=True, slots=True)
class _Ask:
    method: str
    path: str
    limit: int
    body: bytes | None = None
    signed: bool = False
    wait_s: float = ANSWER_S


class NodeClient:
    """One node, as the member whose `key` signs, or as nobody. Threads may share it.

    Also a `replica.LogSource`. Raises: Malformed, Unproven, Rejected, Unavailable, from every
    method, as the node answered; Unavailable also when it did not.
    """

    def __init__(
        self,
        base_url: str,
        chain: ChainId | None = None,
        key: PrivateKey | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._base = check_url(base_url)
        self._chain = chain
        self._key = key
        self._sleep = sleep
        self._attempts = attempts
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
    def name(self) -> str:
        """Its base URL."""
        return self._base

    def fetch_checkpoint(self) -> bytes:
        return self._ask(_Ask("GET", "/checkpoint", CHECKPOINT_BYTES_MAX))

    def fetch_checkpoint_at(self, size: int) -> bytes:
        """The checkpoint at which the policy changed."""
        return self._ask(_Ask("GET", f"/transition/{size}", CHECKPOINT_BYTES_MAX))

    def fetch_transitions(self) -> list[int]:
        """The sizes at which the policy changed, ascending, as the node claims them."""
        value = self._json(_Ask("GET", "/transitions", DOCUMENT_BYTES_MAX))
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise Malformed("http.answer", path="/transitions")
        return list(value)

    def fetch_tile(self, path: str) -> bytes:
        """A tile or bundle by its C2SP path, such as `tile/0/000.p/7`."""
        return self._ask(_Ask("GET", f"/{path}", TILE_BYTES_MAX))

    def fetch_policy(self) -> bytes:
        return self._ask(_Ask("GET", "/policy", POLICY_BYTES_MAX))

    def fetch_genesis(self) -> bytes:
        return self._ask(_Ask("GET", "/genesis", DOCUMENT_BYTES_MAX))

    def fetch_earlier(self, sha256: str) -> bytes:
        """A genesis that the node's own continues, as the node claims; compare its SHA-256."""
        return self._ask(_Ask("GET", f"/earlier/{sha256}", DOCUMENT_BYTES_MAX))

    def wait(self, size: int, timeout_ms: int = LONG_POLL_MS_MAX) -> int:
        """The log's size as the node claims it, once it is above `size` or the time is up.

        Raises: Unproven, where it is the log of another chain.
        """
        wait_ms = max(0, min(timeout_ms, LONG_POLL_MS_MAX))
        path = f"/wait?size={size}&wait_ms={wait_ms}"
        ask = _Ask("GET", path, CHECKPOINT_BYTES_MAX, wait_s=wait_ms / 1000 + ANSWER_S)
        claimed = parse_checkpoint(parse_note(self._ask(ask)).text)
        if self._chain not in (None, claimed.origin):
            raise Unproven("http.chain", got=claimed.origin)
        return claimed.size

    def fetch_blob(self, digest: bytes) -> bytes:
        """The bytes a node gives for this digest; compare them before use."""
        return self._ask(_Ask("GET", f"/blob/{digest.hex()}", BLOB_BYTES_MAX, signed=True))

    def members(self) -> dict[str, Any]:
        value = self._json(_Ask("GET", "/members", DOCUMENT_BYTES_MAX, signed=True))
        if not isinstance(value, dict):
            raise Malformed("http.answer", path="/members")
        return value

    def read_engine(self, what: str, numbers: dict[str, int]) -> dict[str, Any]:
        """What an agency's node says of its consensus engine, to agencies; a claim."""
        query = "&".join(f"{name}={number}" for name, number in numbers.items())
        path = f"/engine/{what}" + (f"?{query}" if query else "")
        value = self._json(_Ask("GET", path, DOCUMENT_BYTES_MAX, signed=True))
        if not isinstance(value, dict):
            raise Malformed("http.answer", path=path.partition("?")[0])
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
        except (ValueError, RecursionError) as err:
            raise Malformed("http.answer", path=ask.path) from err

    def _ask(self, ask: _Ask) -> bytes:
        for attempt in range(self._attempts):
            try:
                return self._once(ask)
            except (Unavailable, Rejected) as err:
                is_passing = isinstance(err, Unavailable) or err.code in NOT_YET
                if not is_passing or attempt == self._attempts - 1:
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
        raise error_of(answer.status_code, raw, ask.path)


def _read(answer: httpx.Response, ask: _Ask) -> bytes:
    got = bytearray()
    for chunk in answer.iter_bytes():
        got += chunk
        if len(got) > ask.limit:
            raise Malformed("http.answer_size", path=ask.path.partition("?")[0], limit=ask.limit)
    return bytes(got)


def error_of(status: int, raw: bytes, path: str) -> AccordError:
    """A server's refusal as the error it means."""
    family = FAMILIES.get(status, Unavailable)
    try:
        value: object = httpx.Response(status, content=raw).json()
    except (ValueError, RecursionError):
        value = None
    match value:
        case {"error": {"code": str(code), **rest}} if CODE_RE.fullmatch(code):
            detail = rest
        case _:
            return family("http.status", status=status, path=path.partition("?")[0])
    said = {name: _plain(detail[name]) for name in ("message", "mend") if name in detail}
    if said.get("message") == code:
        del said["message"]
    return family(code, **said)


def _plain(value: object) -> str:
    """What a stranger's server says, fit for a diagnostic: short, and nothing that acts."""
    return "".join(mark if mark.isprintable() else "?" for mark in str(value)[:400])


def check_url(url: str) -> str:
    """A server's base URL as it is stored. Raises: Malformed.

    Whatever passes can be asked: the client library and the resolver raise errors of their own.
    """
    shown = url.rpartition("@")[2][:200]  # Never somebody's password.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
        httpx.URL(url).host.encode("idna")
    except (ValueError, httpx.InvalidURL) as err:
        raise Malformed("http.url", url=shown, wanted="http://host:port") from err
    is_base = parts.scheme in {"http", "https"} and host and not (parts.query or parts.fragment)
    if not is_base or port == 0 or "@" in parts.netloc or any(mark in host for mark in " %"):
        raise Malformed("http.url", url=shown, wanted="http://host:port")
    return url.rstrip("/")
