"""Signed requests: RFC 9421 with Ed25519, in the one form that nodes accept.

Covered: method, authority, path, query, and the digest of the body where there is one. Parameters:
created, expires, nonce, keyid (the key id in hex), tag.
Not here: verifying (accord.node.auth), which shares these constants.
Source: RFC 9421, RFC 9530, docs/spec/http.md.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from http_message_signatures.algorithms import (
    ED25519,  # pyright: ignore[reportPrivateImportUsage] - its public place, re-exported.
)
from http_message_signatures.signatures import HTTPMessageSigner

from accord.client.home import PrivateKey

TAG: Final = "accord/v1"
COMPONENTS: Final = ("@method", "@authority", "@path", "@query")
BODY_COMPONENT: Final = "content-digest"
REQUEST_LIFE_S: Final = 60  # Below REQUEST_LIFE_S_MAX: a request is used at once or made again.
NONCE_BYTES: Final = 16


class FieldLines:
    """Header lines in the shape that the signature library asks for."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines = lines

    def items(self) -> list[tuple[str, str]]:
        return list(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._lines))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(name.lower() == n.lower() for n, _ in self._lines)

    def __setitem__(self, name: str, value: str) -> None:
        self._lines = [(n, v) for n, v in self._lines if n.lower() != name.lower()]
        self._lines.append((name, value))

    def __delitem__(self, name: str) -> None:
        self._lines = [(n, v) for n, v in self._lines if n.lower() != name.lower()]


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A request as the signature library reads it. `url` is absolute and encoded."""

    method: str
    url: str
    headers: FieldLines


def signed_headers(
    key: PrivateKey, method: str, url: str, body: bytes | None = None, now_s: int | None = None
) -> dict[str, str]:
    """The header fields that make a request this key's. Good for one use within a minute."""
    created = datetime.now(UTC) if now_s is None else datetime.fromtimestamp(now_s, UTC)
    message = SignedMessage(method, url, FieldLines([]))
    signer = HTTPMessageSigner(signature_algorithm=ED25519)
    prepared = signer.prepare(
        message,
        key_id=key.key_id.hex(),
        created=created,
        expires=created + timedelta(seconds=REQUEST_LIFE_S),
        nonce=os.urandom(NONCE_BYTES).hex(),
        label="accord",
        tag=TAG,
        covered_component_ids=COMPONENTS,
        body=body,
    )
    signer.apply(message, prepared, key.sign(prepared.signature_base))
    return dict(message.headers.items())
