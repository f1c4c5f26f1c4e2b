"""Ed25519 public keys that are safe to register, and the only way to verify with them.

Two Ed25519 libraries disagree on edge cases (low-order and non-canonical keys), and a validator
that accepts what another refuses forks the chain. So one pinned library verifies, and keys on
which libraries could disagree are refused before they are ever used.
Source: RFC 8032; C. Chalkias et al., "Taming the many EdDSAs", 2020.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import KeyId

ED25519_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 16
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class VerifyKey:
    """A public signing key. Shape: 32 bytes, canonical, not of low order."""

    raw: bytes

    def __post_init__(self) -> None:
        _check_point(self.raw)

    @property
    def key_id(self) -> KeyId:
        return key_id_of(self.raw)

    def verify(self, signed: bytes, signature: bytes) -> None:
        """Raises: Unproven."""
        try:
            _library_key(self.raw).verify(signature, signed)
        except InvalidSignature as err:
            raise Unproven("key.signature", key=self.key_id.hex()[:8]) from err

    def __repr__(self) -> str:
        return f"VerifyKey({self.raw[:4].hex()}..)"


def key_id_of(raw: bytes) -> KeyId:
    """First 16 bytes of SHA-256 over the public key's bytes, whatever its algorithm."""
    return KeyId(sha256(raw)[:KEY_ID_BYTES])


@lru_cache(maxsize=4096)
def _library_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=4096)
def _check_point(raw: bytes) -> None:
    """Refuse what is not a canonical point, or has low order. Raises: Malformed."""
    if len(raw) != ED25519_BYTES:
        raise Malformed("key.size", size=len(raw))
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        raise Malformed("key.not_canonical")
    x = _recover_x(y, raw[31] >> 7)
    point: _Point = (x, y)
    for _ in range(3):  # The cofactor is 8: a point of low order is the identity after 3 doublings.
        point = _add(point, point)
    if point == (0, 1):
        raise Malformed("key.low_order")


def _recover_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if (x * x - square) % _P:
        raise Malformed("key.not_a_point")
    if x == 0 and sign:
        raise Malformed("key.not_canonical")
    return _P - x if x & 1 != sign else x


def _add(p: _Point, q: _Point) -> _Point:
    product = _D * p[0] * q[0] * p[1] * q[1] % _P
    x = (p[0] * q[1] + p[1] * q[0]) * pow(1 + product, -1, _P)
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - product, -1, _P)
    return x % _P, y % _P
