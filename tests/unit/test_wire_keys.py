"""Public keys on which libraries disagree are refused before they are used."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accord.wire.errors import Malformed, Unproven
from accord.wire.keys import VerifyKey, key_id_of

# Low-order and non-canonical encodings: "Taming the many EdDSAs", table of small-order points.
LOW_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("raw", LOW_ORDER)
def test_a_key_of_low_order_is_refused(raw: str) -> None:
    with pytest.raises(Malformed, match="key"):
        VerifyKey(bytes.fromhex(raw))


@pytest.mark.parametrize("raw", [b"", b"\x00" * 31, b"\x02" + b"\x00" * 31, b"\xff" * 32])
def test_a_key_that_is_no_point_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed, match="key"):
        VerifyKey(raw)


def test_a_real_key_verifies_and_only_its_own_signature() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    key = VerifyKey(private.public_key().public_bytes_raw())
    key.verify(b"said", private.sign(b"said"))
    assert key.key_id == key_id_of(key.raw)
    for said, signature in ((b"other", private.sign(b"said")), (b"said", b"\x00" * 64)):
        with pytest.raises(Unproven, match=r"key\.signature"):
            key.verify(said, signature)
