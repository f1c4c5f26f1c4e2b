"""Signed requests, the other side: what a request proves, before anybody believes it.

Pure but for the caller's clock: who remembers nonces, and what a key may do, is the caller's.
Not here: signing (signing), nodes and their members (node.auth), gateways and clients (scan).
Source: RFC 9421, RFC 9530, docs/spec/http.md, section Signatures.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures.algorithms import (
    ED25519,  # pyright: ignore[reportPrivateImportUsage] - its public place, re-exported.
)
from http_message_signatures.digests import ContentDigest
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageVerifier

from accord.client.signing import BODY_COMPONENT, COMPONENTS, TAG, FieldLines, SignedMessage
from accord.wire.errors import Unproven
from accord.wire.ids import KeyId
from accord.wire.limits import NONCE_CHARS_MAX, REQUEST_CLOCK_SKEW_S, REQUEST_LIFE_S_MAX

PublicOf = Callable[[KeyId], bytes | None]


@dataclass(frozen=True, slots=True)
class Proven:
    """What the head of a request proves: the key that signed it, once, and for when.

    Units: seconds since 1970. `content_digest` is what its body must have.
    """

    key_id: KeyId
    nonce: str
    created_s: int
    expires_s: int
    content_digest: str | None

    def check_time(self, now_s: int) -> None:
        """Raises: Unproven."""
        if (
            self.created_s > now_s + REQUEST_CLOCK_SKEW_S
            or self.expires_s < now_s - REQUEST_CLOCK_SKEW_S
        ):
            raise Unproven("http.signature_time", behind_s=now_s - self.created_s)

    def check_body(self, body: bytes) -> bytes:
        """The body, seen to be the signed one. Raises: Unproven."""
        if self.content_digest is None:
            raise Unproven("http.body_not_signed")
        try:
            ContentDigest.verify(self.content_digest, body)
        except InvalidSignature as err:
            raise Unproven("http.body_digest") from err
        return body

    def check_digest(self, sha256: bytes) -> None:
        """`check_body` for one of which only the SHA-256 is known: the signature must cover that
        digest and no other. Raises: Unproven."""
        if self.content_digest is None:
            raise Unproven("http.body_not_signed")
        if self.content_digest.strip() != f"sha-256=:{b64encode(sha256).decode()}:":
            raise Unproven("http.body_digest")


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, public_of: PublicOf) -> None:
        self._public_of = public_of
        self.found: KeyId | None = None

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            raw = KeyId(bytes.fromhex(key_id))
        except ValueError:
            return None
        public = self._public_of(raw)
        if public is None or raw.hex() != key_id:
            return None
        self.found = raw
        return Ed25519PublicKey.from_public_bytes(public)


class _Verifier(HTTPMessageVerifier):
    """The library's verifier, without its clock: `Proven.check_time` looks, by the caller's."""

    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        del sig_input, max_age


def verify_request(message: SignedMessage, public_of: PublicOf) -> Proven:
    """`public_of` gives the key of an id that may sign, None for any other. Raises: Unproven."""
    keys = _Keys(public_of)
    verifier = _Verifier(signature_algorithm=ED25519, key_resolver=keys)
    try:
        (found,) = verifier.verify(
            message, max_age=None, expect_tag=TAG, require_components=COMPONENTS
        )
    except (HTTPMessageSignaturesException, ValueError) as err:
        raise Unproven("http.signature") from err
    if keys.found is None:
        raise Unproven("http.signature")
    digest = found.covered_components.get(f'"{BODY_COMPONENT}"')
    return proven_of(keys.found, found.parameters, digest)


def proven_of(
    key_id: KeyId, parameters: Mapping[str, int | str], content_digest: str | None
) -> Proven:
    """What the parameters of a signature that verified say. Raises: Unproven."""
    match parameters:
        case {
            "created": int(created),
            "expires": int(expires),
            "nonce": str(nonce),
            "keyid": str(),
        } if 0 < len(nonce) <= NONCE_CHARS_MAX:
            pass
        case _:
            raise Unproven("http.signature_parameters")
    if not 0 <= expires - created <= REQUEST_LIFE_S_MAX:
        raise Unproven("http.signature_life", limit_s=REQUEST_LIFE_S_MAX)
    return Proven(key_id, nonce, created, expires, content_digest)


def received(method: str, scope: Mapping[str, Any]) -> SignedMessage:
    """A request as it came over the wire, from an ASGI scope. The scheme is not signed: proxies end
    TLS."""
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    host = next((value for name, value in lines if name.lower() == "host"), "")
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    url = f"http://{host}{path}" + (f"?{query}" if query else "")
    return SignedMessage(method, url, FieldLines(lines))
