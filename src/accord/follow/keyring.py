"""A member's epoch keys, rebuilt from the log's epoch and wrap statements and their blobs.

Feed it every accepted epoch and wrap statement in log order. A number may be opened again while
no epoch of that number is in force, never after; so the newest epoch statement of a number is
the one that batches are sealed under, and it replaces what was learned of the older ones.
Invariants: a key is held only if it fits the commitment of its epoch statement; holding a key
means holding every earlier one that its chain of `previous` leads to; nothing here raises for
what a member wrote, so a garbled epoch stops nobody.
Source: docs/spec/confidentiality.md, section Epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from accord.statements.bodies import Epoch, Wrap
from accord.statements.confidential import (
    EpochBlob,
    epoch_commitment,
    open_epoch,
    open_previous,
    parse_epoch_blob,
)
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, GroupId, MemberId


class Opening(StrEnum):
    """What a member's key made of an epoch or wrap blob."""

    OPENED = "opened"
    NOT_FOR_US = "not_for_us"
    GARBLED = "garbled"  # Addressed to us, but not what its statement commits to.


@dataclass(frozen=True, slots=True)
class _Generation:
    """One epoch as last stated. `stub` is its blob without the wraps, which are the bulk of it.

    `chain` is where it was stated: a log that continues another leads to keys of the old chain.
    """

    chain: ChainId
    commitment: bytes
    stub: EpochBlob | None
    key: bytes | None = None
    is_sound: bool = False  # Our key opens it, and its `previous` leads to the epoch before.

    def __repr__(self) -> str:
        return f"_Generation(held={self.key is not None}, sound={self.is_sound})"


class Keyring:
    """One member's epoch keys by group and number. One writer."""

    def __init__(self) -> None:
        self._generations: dict[tuple[GroupId, int], _Generation] = {}
        self._keys: dict[tuple[GroupId, int], bytes] = {}

    def __repr__(self) -> str:
        return f"Keyring(epochs={len(self._generations)}, held={len(self._keys)})"

    @property
    def keys(self) -> Mapping[tuple[GroupId, int], bytes]:
        """Every key held, for `confidential.open_batch`; a live, read-only view."""
        return MappingProxyType(self._keys)

    def key_of(self, group: GroupId, number: int) -> bytes | None:
        return self._keys.get((group, number))

    def is_sound(self, group: GroupId, number: int, commitment: bytes) -> bool:
        """Whether that very epoch opened for us and leads to all history: worth acknowledging."""
        known = self._generations.get((group, number))
        return known is not None and known.commitment == commitment and known.is_sound

    def learn(
        self,
        chain: ChainId,
        member: MemberId,
        key_id: bytes,
        private: MLKEM768X25519PrivateKey,
        body: Epoch | Wrap,
        raw: bytes,
    ) -> Opening:
        """Take in a statement with its blob. Repeats change nothing; a member with several
        decryptor keys calls once for each.

        Raises: Unproven if `raw` is not the blob the body commits to: fetch it elsewhere.
        """
        if sha256(raw) != body.blob_sha256:
            raise Unproven("keyring.blob_digest", group=body.group, number=body.number)
        place = (body.group, body.number)
        blob = _blob_of(body, raw)
        if isinstance(body, Epoch):
            self._note(place, chain, body.commitment, blob)
        known = self._generations.get(place)
        if known is None:
            return Opening.NOT_FOR_US  # A wrap of an epoch nobody stated: the ledger refuses it.
        if blob is None:
            return Opening.GARBLED
        try:
            key = open_epoch(chain, blob, known.commitment, member, key_id, private)
        except Unproven:
            return Opening.GARBLED
        if key is None:
            return Opening.NOT_FOR_US
        self._hold(place, key)
        return Opening.OPENED if self._generations[place].is_sound else Opening.GARBLED

    def _note(
        self,
        place: tuple[GroupId, int],
        chain: ChainId,
        commitment: bytes,
        blob: EpochBlob | None,
    ) -> None:
        known = self._generations.get(place)
        if known is not None and known.commitment == commitment:
            return
        stub = None if blob is None else replace(blob, wraps=())
        self._generations[place] = _Generation(chain, commitment, stub)
        self._keys.pop(place, None)

    def _hold(self, place: tuple[GroupId, int], key: bytes) -> None:
        """Keep a key that fits its commitment, and every earlier key it leads to."""
        group, number = place
        while True:
            known = self._generations[group, number]
            if known.key is not None:
                return
            before = self._before(group, number, known, key)
            is_sound = number == 1 or before is not None
            self._generations[group, number] = replace(known, key=key, is_sound=is_sound)
            self._keys[group, number] = key
            if before is None:
                return
            number, key = number - 1, before

    def _before(self, group: GroupId, number: int, known: _Generation, key: bytes) -> bytes | None:
        """The key of the epoch before, if it is the one that its own statement committed to."""
        older = self._generations.get((group, number - 1))
        if older is None or known.stub is None:
            return None
        try:
            before = open_previous(known.chain, known.stub, key)
        except Unproven:
            return None
        if before is None:
            return None
        wanted = epoch_commitment(older.chain, group, number - 1, before)
        return before if wanted == older.commitment else None


def _blob_of(body: Epoch | Wrap, raw: bytes) -> EpochBlob | None:
    """The parsed blob, or None where it is not one or is about another epoch."""
    try:
        blob = parse_epoch_blob(raw)
    except Malformed:
        return None
    return blob if (blob.group, blob.number) == (body.group, body.number) else None
