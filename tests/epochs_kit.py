"""Epoch and wrap statements without a ledger: whoever may read, and what the log then holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from accord.agency.sealing import SealedEpoch, seal_epoch, wrap_epoch
from accord.follow.keyring import Keyring, Opening
from accord.statements.bodies import Epoch, Header, Recipient, Role, Wrap
from accord.statements.confidential import load_decrypt_private
from accord.wire.digests import sha256
from accord.wire.ids import GroupId, MemberId, TimeMs
from consortium_kit import CHAIN, derived_key

GROUP = GroupId("platforms")
HEADER = Header(MemberId("nl-one"), bytes(16), TimeMs(0))


def recipient(member: str) -> tuple[Recipient, bytes]:
    key = derived_key(member, Role.DECRYPTOR, "scanner")
    return Recipient(MemberId(member), key.key_id), key.public


@dataclass
class Epochs:
    """A group's epochs as the log tells them."""

    log: list[tuple[Epoch | Wrap, bytes]] = field(default_factory=list)
    sealed: list[SealedEpoch] = field(default_factory=list)

    @property
    def number(self) -> int:
        return len(self.sealed)

    def open(self, members: Sequence[str], previous: bytes | None = None) -> SealedEpoch:
        to = sorted(recipient(member) for member in members)
        before = previous or (self.sealed[-1].key if self.sealed else None)
        sealed = seal_epoch(CHAIN, GROUP, self.number + 1, to, before)
        self.sealed.append(sealed)
        self.say_epoch(sealed, members)
        return sealed

    def say_epoch(self, sealed: SealedEpoch, members: Sequence[str]) -> None:
        people = tuple(sorted(recipient(member)[0] for member in members))
        digest = sha256(sealed.blob)
        body = Epoch(HEADER, GROUP, self.number, sealed.commitment, people, digest)
        self.log.append((body, sealed.blob))

    def wrap(self, members: Sequence[str], key: bytes | None = None) -> None:
        to = sorted(recipient(member) for member in members)
        blob = wrap_epoch(CHAIN, GROUP, self.number, key or self.sealed[-1].key, to, None)
        people = tuple(person for person, _ in to)
        self.log.append((Wrap(HEADER, GROUP, self.number, people, sha256(blob)), blob))

    def told_to(self, member: str) -> tuple[Keyring, list[Opening]]:
        """The keyring of a member that follows the log from its start."""
        ring = Keyring()
        return ring, [learn(ring, member, body, blob) for body, blob in self.log]


def learn(ring: Keyring, member: str, body: Epoch | Wrap, blob: bytes) -> Opening:
    seed = derived_key(member, Role.DECRYPTOR, "scanner").seed
    key_id, private = load_decrypt_private(seed)
    return ring.learn(CHAIN, MemberId(member), key_id, private, body, blob)
