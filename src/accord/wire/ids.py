"""One type per quantity, so that a mistake is a type error."""

import re
from dataclasses import dataclass
from typing import Final, NewType

from accord.wire.errors import Malformed

TimeMs = NewType("TimeMs", int)  # Block time in ms since 1970 UTC; never a local clock in a fold.
MemberId = NewType("MemberId", str)  # An agency or a platform: `[a-z][a-z0-9-]{1,31}`.
GroupId = NewType("GroupId", str)  # A release group, same alphabet as a member id.
ChainId = NewType("ChainId", str)  # Also the origin of the log's checkpoints.
JurisdictionId = NewType("JurisdictionId", str)  # ISO 3166-1 alpha-2, or a named union such as EU.
OperatorId = NewType("OperatorId", str)  # A person's pseudonym at one member.
EntryIndex = NewType("EntryIndex", int)  # 0-based place of an entry in the log.
KeyId = NewType("KeyId", bytes)  # First 16 bytes of SHA-256 over the public key.

TRIAL_PREFIX: Final = "trial-"  # A solo consortium; followers refuse it unless told.
AGENCIES: Final = GroupId("agencies")  # The group every agency and nobody else belongs to.

NAME_RE: Final = re.compile(r"[a-z][a-z0-9-]{1,31}")
CHAIN_RE: Final = re.compile(r"[a-z][a-z0-9.-]{2,62}")
JURISDICTION_RE: Final = re.compile(r"[A-Z]{2}|[A-Z][A-Z0-9-]{2,15}")

REF_BYTES: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class ListingRef:
    """One listing: the publish entry it came in and its place there."""

    entry: int
    ordinal: int

    def encode(self) -> bytes:
        """Shape: 8 + 4 bytes big-endian, so that byte order is log order."""
        return self.entry.to_bytes(8, "big") + self.ordinal.to_bytes(4, "big")

    def __str__(self) -> str:
        return f"{self.entry}/{self.ordinal}"


def parse_ref(raw: bytes) -> ListingRef:
    """Shape: 12 bytes as `ListingRef.encode` gives. Raises: Malformed."""
    if len(raw) != REF_BYTES:
        raise Malformed("wire.ref", size=len(raw))
    return ListingRef(int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))


def parse_ref_text(text: str) -> ListingRef:
    """`entry/ordinal` as people write it. Raises: Malformed."""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,18})/(0|[1-9][0-9]{0,9})", text)
    if match is None:
        raise Malformed("wire.ref", hint="entry/ordinal, such as 17/0")
    return ListingRef(int(match[1]), int(match[2]))
