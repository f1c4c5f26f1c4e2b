"""What is no listing: values that many files share though they show nothing, refused by name.

`check_listing` is asked before a batch is signed; the registry asks `PLACEHOLDERS` again, since
another software may have signed it.
Source: docs/spec/registry.md, section Gates.
"""

from collections.abc import Mapping
from hashlib import md5, sha1, sha256
from typing import Final

from accord.statements.batch import Listing
from accord.wire.errors import Malformed
from accord.wire.limits import PDQ_QUALITY_MIN

# A PDQ compares with its median: 128 of 256 bits are set, but for the ties of a flat picture.
PDQ_SET_BITS_MIN: Final = 64
PDQ_SET_BITS_MAX: Final = 192
_EMPTY: Final = frozenset({"md5", "sha1", "sha256"})  # The first of each is of no bytes.
_PDQ_BYTES: Final = 32
_PHOTODNA_BYTES: Final = 144

# No row with one of these is ever active: digests of files without content, fingerprints of one
# value throughout.
PLACEHOLDERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "md5": tuple(md5(blank, usedforsecurity=False).digest() for blank in (b"", b"\0", b"\n")),
    "sha1": tuple(sha1(blank, usedforsecurity=False).digest() for blank in (b"", b"\0", b"\n")),
    "sha256": tuple(sha256(blank).digest() for blank in (b"", b"\0", b"\n")),
    "pdq": tuple(bytes([byte]) * _PDQ_BYTES for byte in (0x00, 0xFF, 0x55, 0xAA)),
    "photodna": tuple(bytes([byte]) * _PHOTODNA_BYTES for byte in range(256)),
}


def check_listing(listing: Listing) -> None:
    """Raises: Malformed for a listing that would match what it must not, with a mend."""
    for scheme, values in PLACEHOLDERS.items():
        value: bytes | None = getattr(listing, scheme)
        if value in values and value == values[0] and scheme in _EMPTY:
            raise Malformed("listing.empty_file", mend="leave it out: it is the digest of no bytes")
        if value in values and scheme != "pdq":
            mend = "leave it out: many files that show nothing have this value"
            raise Malformed("listing.placeholder", scheme=scheme, mend=mend)
    if listing.pdq is not None:
        bits = int.from_bytes(listing.pdq, "big").bit_count()
        is_plain = listing.pdq in PLACEHOLDERS["pdq"]
        if is_plain or not PDQ_SET_BITS_MIN <= bits <= PDQ_SET_BITS_MAX:
            mend = "leave it out: it would match every plain picture"
            raise Malformed("listing.flat", set_bits=bits, mend=mend)
    if listing.pdq_quality is not None and listing.pdq_quality < PDQ_QUALITY_MIN:
        mend, got = "list it by its digests alone", listing.pdq_quality
        raise Malformed("listing.low_quality", got=got, at_least=PDQ_QUALITY_MIN, mend=mend)
