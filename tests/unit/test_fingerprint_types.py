import pytest

from accord.fingerprint import (
    REASONS,
    Digests,
    Fingerprint,
    FramePdq,
    UnhashableCode,
    digests_of,
    distance_bits,
)
from accord.wire.errors import Malformed

BITS = bytes(range(32))


@pytest.mark.parametrize(
    ("bits", "quality", "code"),
    [
        (BITS[:31], 100, "fingerprint.length"),
        (BITS + b"\x00", 100, "fingerprint.length"),
        (BITS, -1, "fingerprint.quality"),
        (BITS, 101, "fingerprint.quality"),
    ],
)
def test_a_fingerprint_that_exists_is_valid(bits: bytes, quality: int, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Fingerprint(bits, quality)
    assert caught.value.code == code


def test_no_repr_shows_a_whole_fingerprint_or_digest() -> None:
    shown = repr(
        (Fingerprint(BITS, 70), FramePdq(3, 120, BITS, 70), Digests(BITS[:16], BITS[:20], BITS))
    )
    assert BITS[:3].hex() not in shown
    assert BITS[:2].hex() in shown


def test_distance_counts_differing_bits() -> None:
    assert distance_bits(bytes(32), b"\xff" * 32) == 256
    assert distance_bits(BITS, BITS) == 0
    assert distance_bits(bytes(32), b"\x81" + bytes(31)) == 2


def test_digests_are_the_well_known_ones() -> None:
    digests = digests_of(b"abc")
    assert digests.md5.hex() == "900150983cd24fb0d6963f7d28e17f72"
    assert digests.sha1.hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert digests.sha256.hex().startswith("ba7816bf8f01cfea414140de5dae2223")


def test_every_code_has_a_reason() -> None:
    assert set(REASONS) == set(UnhashableCode)
