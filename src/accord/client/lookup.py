"""A gateway over HTTP, as a client that does not hold the list: signed look-ups, answers checked.

Not here: fingerprinting (media), what a gateway answers (scan).
Source: docs/spec/gateway.md, section Clients.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from accord.client.files import write_durably
from accord.client.home import ED25519_SEED_BYTES, PrivateKey
from accord.client.http import CONNECT_S, check_url, error_of
from accord.client.signing import signed_headers
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import OperatorId
from accord.wire.limits import LOOKUP_WAIT_S_MAX

ANSWER_S: Final = 60.0  # A decoder gives up on a file after 10 s, and may have a queue before it.
ANSWER_BYTES_MAX: Final = 1_000_000
DECISIONS: Final = frozenset({"match", "no_match", "undetermined"})
TRIES: Final = 3
_CLIENT: Final = OperatorId("client")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of each file besides its fingerprints. Empty: what one is registered for."""

    jurisdictions: tuple[str, ...] = ()
    scope: str = "uploads"
    service: str = "hosting"


def store_client_key(file: Path) -> PrivateKey:
    """A fresh key in a new file, for its owner only. Raises: Malformed, if there is one."""
    if file.exists():
        raise Malformed("lookup.key_exists", path=str(file), mend="another name")
    key = PrivateKey(Role.SCANNER, _CLIENT, os.urandom(ED25519_SEED_BYTES))
    write_durably(file, key.seed.hex().encode() + b"\n", mode=0o600)
    return key


def load_client_key(file: Path) -> PrivateKey:
    """Raises: Malformed."""
    try:
        is_open = file.stat().st_mode & 0o077
        seed = bytes.fromhex(file.read_text("ascii").strip())
    except (OSError, ValueError) as err:
        raise Malformed("lookup.key", path=str(file), why=type(err).__name__) from err
    if is_open:
        raise Malformed("lookup.key_mode", path=str(file), mend="chmod 600")
    if len(seed) != ED25519_SEED_BYTES:
        raise Malformed("lookup.key", path=str(file))
    return PrivateKey(Role.SCANNER, _CLIENT, seed)


class LookupClient:
    """One gateway, as the client whose `key` signs. Each request is signed anew when it is sent.

    Raises: Malformed, Unproven, Unavailable, as the gateway answered; Unavailable also when it did
    not. One that says when to come again is asked again then, if that is soon.
    """

    def __init__(
        self,
        base_url: str,
        key: PrivateKey,
        sleep: Callable[[float], None],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base = check_url(base_url)
        self._key = key
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
        self._http.close()

    def ask(self, fingerprints: dict[str, object], facts: Facts) -> dict[str, Any]:
        """By fingerprints: the file stays here."""
        asked: dict[str, object] = {
            "fingerprints": fingerprints,
            "jurisdictions": list(facts.jurisdictions),
            "scope": facts.scope,
            "service": facts.service,
        }
        return self._answer("/v1/screen", json.dumps(asked).encode(), "application/json")

    def send(self, data: bytes, facts: Facts) -> dict[str, Any]:
        """By the file's bytes."""
        words = [("jurisdiction", name) for name in facts.jurisdictions]
        words += [("scope", facts.scope), ("service", facts.service)]
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in words)
        return self._answer(f"/v1/screen?{query}", data, "application/octet-stream")

    def _answer(self, path: str, body: bytes, kind: str) -> dict[str, Any]:
        for _ in range(TRIES - 1):
            status, wait_s, raw = self._once(path, body, kind)
            if wait_s is None or wait_s > LOOKUP_WAIT_S_MAX:
                break
            self._sleep(wait_s)
        else:
            status, wait_s, raw = self._once(path, body, kind)
        if status != 200:
            err = error_of(status, raw, path)
            if wait_s is not None:
                raise type(err)(err.code, **err.detail, retry_after_s=int(wait_s))
            raise err
        return _answer_of(raw)

    def _once(self, path: str, body: bytes, kind: str) -> tuple[int, float | None, bytes]:
        url = self._base + path
        headers = signed_headers(self._key, "POST", url, body) | {"Content-Type": kind}
        received = bytearray()
        try:
            with self._http.stream("POST", url, content=body, headers=headers) as answer:
                for chunk in answer.iter_bytes():
                    received += chunk
                    if len(received) > ANSWER_BYTES_MAX:
                        raise Malformed("http.answer_size", path="/v1/screen")
        except httpx.HTTPError as err:
            raise Unavailable("http.no_answer", url=self._base, why=type(err).__name__) from err
        after = answer.headers.get("retry-after", "")
        soon = answer.status_code in (429, 503) and after.isascii() and after.isdigit()
        return answer.status_code, float(after[:9]) if soon else None, bytes(received)


def _answer_of(raw: bytes) -> dict[str, Any]:
    """Raises: Malformed."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise Malformed("http.answer", path="/v1/screen") from err
    match value:
        case {"decision": str(decision), "action": str(), "reasons": list()} if (
            decision in DECISIONS
        ):
            return dict(value)
        case _:
            raise Malformed("http.answer", path="/v1/screen")


def titles(answer: dict[str, Any]) -> Sequence[str]:
    """The rules that an answer names."""
    found: list[str] = []
    for reason in answer["reasons"]:
        match reason:
            case {"rule": {"title": str(title)}, "algorithm": str(algorithm)}:
                found.append(f"{title} ({algorithm})")
            case _:
                continue
    return found
