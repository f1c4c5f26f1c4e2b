"""What members say: real signed statements, from whom and about what the seed says.

Batches and epoch keys are noise under true headers: the ledger is blind, and real sealing would
draw on randomness that no seed controls.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from accord.agency.founding import AGENCY_STAFF, TRIAL_PARAMETERS, agency_application
from accord.client.home import PrivateKey, role_keys
from accord.ledger.epochs import recipients_of
from accord.ledger.state import KEYSETS
from accord.statements.bodies import (
    Acknowledge,
    Approve,
    Body,
    Dispute,
    DisputeReason,
    Endorse,
    Epoch,
    Header,
    Keyset,
    Propose,
    Publish,
    RefRange,
    RemoveAgency,
    Role,
    Vote,
    Withdraw,
)
from accord.statements.confidential import (
    HPKE_WRAP_BYTES,
    WRAP_BYTES,
    BatchBlob,
    CipherSuite,
    EpochBlob,
    GroupWrap,
    MemberWrap,
)
from accord.wire.digests import sha256
from accord.wire.ids import AGENCIES, MemberId, TimeMs
from accord.wire.record import encode_record
from consortium_kit import CHAIN, Consortium, derived_key, keys_for, plan

if TYPE_CHECKING:
    from sim.world import World

NEWCOMER = plan("fr-five", "FR")
NEWCOMER_KEYS = keys_for(NEWCOMER.member, AGENCY_STAFF)
APPLICATION = agency_application(CHAIN, NEWCOMER, NEWCOMER_KEYS)
BATCH_BYTES_MAX = 3_000


class Speech:
    """Statements by anybody, at the world's time."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._kit = Consortium(world.founding)
        self._kit.keys[NEWCOMER.member] = NEWCOMER_KEYS

    def _sign(self, body: Body, role: Role, blob: bytes | None = None) -> bytes:
        return self._kit.sign(body, role, blob)

    def _header(self, member: MemberId) -> Header:
        self._kit.now = TimeMs(self.world.now_ms())
        return self._kit.header(member)

    def prelude(self) -> tuple[tuple[bytes, ...], ...]:
        """Two blocks that put a first epoch in force."""
        rng, opener = self.world.rng, self.world.founders[0]
        recipients = recipients_of(self.world.oracle.app.ledger.state, AGENCIES)
        wraps = tuple(
            MemberWrap(to.member, to.key_id, rng.randbytes(HPKE_WRAP_BYTES)) for to in recipients
        )
        blob = encode_record(EpochBlob(1, AGENCIES, 1, CipherSuite.X1, wraps, None))
        commitment = rng.randbytes(32)
        epoch = Epoch(self._header(opener), AGENCIES, 1, commitment, recipients, sha256(blob))
        heard = (
            self._sign(Acknowledge(self._header(member), AGENCIES, 1, commitment), Role.KEEPER)
            for member in self.world.founders[: 2 * len(self.world.founders) // 3 + 1]
        )
        return (self._sign(epoch, Role.KEEPER, blob),), tuple(heard)

    def publish(self, member: MemberId) -> bytes:
        rng = self.world.rng
        wraps = (GroupWrap(AGENCIES, 1, rng.randbytes(WRAP_BYTES)),)
        sealed = rng.randbytes(rng.randint(16, BATCH_BYTES_MAX))
        blob = encode_record(BatchBlob(1, member, CipherSuite.X1, rng.randbytes(32), sealed, wraps))
        body = Publish(self._header(member), 3, (AGENCIES,), (1,), False, sha256(blob))
        return self._sign(body, Role.ANALYST, blob)

    def say(self, member: MemberId) -> bytes:
        """Anything that a member may say, though not always when it may."""
        rng, header = self.world.rng, self._header(member)
        kinds = self.world.oracle.kinds
        batches, votes = kinds.get(Publish, []), kinds.get(Propose, [])
        entry = rng.choice(batches) if batches else 0
        refs = (RefRange(entry, 0, rng.randint(1, 3)),)
        match rng.randint(0, 9):
            case 0 | 1 | 2 | 3:
                return self.publish(member)
            case 4 | 5:
                return self._sign(Approve(header, entry), Role.APPROVER)
            case 6:
                return self._sign(Endorse(header, refs, rng.randint(0, 2)), Role.ANALYST)
            case 7:
                return self._sign(Dispute(header, refs, DisputeReason.OTHER), Role.ANALYST)
            case 8:
                return self._sign(Withdraw(header, refs, DisputeReason.OTHER), Role.ANALYST)
        if votes and rng.random() < 0.5:
            return self.vote(member, rng.choice(votes), approve=False)
        limits = replace(TRIAL_PARAMETERS, proposal_life_ms=rng.randint(60_000, 90_000))
        return self._sign(Propose(header, limits), Role.GOVERNOR)

    def admit(self, member: MemberId) -> bytes:
        return self._sign(Propose(self._header(member), APPLICATION), Role.GOVERNOR)

    def remove(self, member: MemberId, other: MemberId) -> bytes:
        return self._sign(Propose(self._header(member), RemoveAgency(other)), Role.GOVERNOR)

    def vote(self, member: MemberId, entry: int, *, approve: bool) -> bytes:
        return self._sign(Vote(self._header(member), entry, approve), Role.GOVERNOR)

    def rotate(self, member: MemberId) -> tuple[PrivateKey, bytes]:
        """A keyset with another cosigner key, and that key."""
        row = self.world.oracle.app.ledger.state.get(KEYSETS, member.encode())
        version = 1 if row is None else row.version
        fresh = derived_key(member, Role.COSIGNER, f"node-{version}")
        kept = [key for key in self.world.keys[member] if key.role is not Role.COSIGNER]
        keys = role_keys(CHAIN, member, [*kept, fresh])
        return fresh, self._sign(Keyset(self._header(member), version + 1, keys), Role.ROOT)
