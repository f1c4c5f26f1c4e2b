"""A consortium for tests: real keys, a real ledger, statements by anybody at any time.

Keys are derived from names, so every run signs the same bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from accord.agency.founding import (
    AGENCY_STAFF,
    PLATFORM_STAFF,
    PLATFORMS_GROUP,
    TRIAL_PARAMETERS,
    AgencyPlan,
    agency_application,
    make_genesis,
    platform_application,
)
from accord.agency.sealing import SealedEpoch, seal_batch, seal_epoch
from accord.client.home import ED25519_SEED_BYTES, PrivateKey
from accord.ledger.block import BlockResult, Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.genesis import Founding, parse_genesis
from accord.ledger.state import KEYS
from accord.statements.batch import Listing, batch_of
from accord.statements.bodies import (
    Acknowledge,
    Approve,
    Body,
    Epoch,
    Header,
    Parameters,
    Propose,
    Publish,
    Role,
    Vote,
)
from accord.statements.confidential import DECRYPT_PRIVATE_BYTES
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.statements.rules import ClassCode
from accord.wire.digests import sha256
from accord.wire.ids import (
    AGENCIES,
    ChainId,
    GroupId,
    JurisdictionId,
    MemberId,
    OperatorId,
    TimeMs,
)

CHAIN = ChainId("trial-tests.example")
START_MS = TimeMs(1_800_000_000_000)
GROUPS = (AGENCIES, PLATFORMS_GROUP)
CLASS = ClassCode("test", "", "T1")


def derived_key(member: str, role: Role, operator: str) -> PrivateKey:
    size = DECRYPT_PRIVATE_BYTES if role is Role.DECRYPTOR else ED25519_SEED_BYTES
    seed = hashlib.shake_256(f"{member}/{role.value}/{operator}".encode()).digest(size)
    return PrivateKey(role, OperatorId(operator), seed)


def keys_for(member: str, staff: Sequence[tuple[Role, str]]) -> tuple[PrivateKey, ...]:
    return tuple(derived_key(member, role, operator) for role, operator in staff)


def plan(member: str, sovereign: str) -> AgencyPlan:
    where = JurisdictionId(sovereign)
    return AgencyPlan(MemberId(member), member.title(), where, (where,))


FOUR = (plan("nl-one", "NL"), plan("ie-two", "IE"), plan("ca-three", "CA"), plan("nl-four", "NL"))


def founding(
    plans: Sequence[AgencyPlan] = FOUR, parameters: Parameters = TRIAL_PARAMETERS
) -> Founding:
    applications = [agency_application(CHAIN, p, keys_for(p.member, AGENCY_STAFF)) for p in plans]
    return parse_genesis(make_genesis(CHAIN, START_MS, parameters, applications))


def listings(count: int, seed: str = "listing") -> list[Listing]:
    """Listings of random-looking, meaningless fingerprints."""
    rows = (hashlib.shake_256(f"{seed}/{i}".encode()).digest(100) for i in range(count))
    return [
        Listing(CLASS, pdq=raw[:32], pdq_quality=90, md5=raw[32:48], sha256=raw[48:80])
        for raw in rows
    ]


@dataclass
class Consortium:
    """A ledger and everybody's keys. `say` submits one statement in a block of its own."""

    founding: Founding = field(default_factory=founding)
    now: TimeMs = field(default_factory=lambda: TimeMs(START_MS + 1_000))

    def __post_init__(self) -> None:
        self.ledger = Ledger.founded(self.founding.genesis)
        self.keys = {
            a.agency: keys_for(a.agency, AGENCY_STAFF) for a in self.founding.genesis.agencies
        }
        self.epoch_keys: dict[tuple[GroupId, int], bytes] = {}
        self.blocks: list[tuple[TimeMs, tuple[bytes, ...]]] = []
        self.leaves: list[bytes] = []
        self.blobs: dict[bytes, bytes] = {}
        self._ids = 0

    @property
    def chain(self) -> ChainId:
        return self.founding.genesis.chain

    @property
    def agencies(self) -> list[MemberId]:
        return [a.agency for a in self.founding.genesis.agencies]

    def header(self, member: str) -> Header:
        self._ids += 1
        number = hashlib.sha256(b"id" + self._ids.to_bytes(8, "big")).digest()[:16]
        return Header(MemberId(member), number, TimeMs(self.now + 600_000))

    def key(self, member: str, role: Role) -> PrivateKey:
        return next(key for key in self.keys[MemberId(member)] if key.role is role)

    def sign(self, body: Body, role: Role, blob: bytes | None = None) -> bytes:
        key = self.key(body.header.member, role)
        envelope = seal_envelope(self.chain, key.key_id, body, key.sign)
        return encode_transaction(Transaction(envelope, blob))

    def block(self, *transactions: bytes) -> BlockResult:
        self.now = TimeMs(self.now + 1_000)
        result = self.ledger.finalize(transactions, self.now)
        self.blocks.append((result.time_ms, transactions))
        for item in result.logged:
            self.leaves.append(item.leaf)
            if item.transaction.blob is not None:
                self.blobs[sha256(item.transaction.blob)] = item.transaction.blob
        return result

    def say(self, body: Body, role: Role, blob: bytes | None = None) -> int | RejectCode:
        return self.block(self.sign(body, role, blob)).verdicts[0]

    def must(self, body: Body, role: Role, blob: bytes | None = None) -> int:
        verdict = self.say(body, role, blob)
        assert not isinstance(verdict, RejectCode), verdict.code
        return verdict

    def open_epoch(self, group: GroupId, opener: str = "nl-one") -> SealedEpoch:
        """A new epoch by one keeper, acknowledged by all."""
        state = self.ledger.state
        current = epoch_of(state, group)
        recipients = recipients_of(state, group)
        publics = [(to, k.public) for to in recipients if (k := state.get(KEYS, to.key_id))]
        previous = self.epoch_keys.get((group, current.number))
        number = current.number + 1
        sealed = seal_epoch(self.chain, group, number, publics, previous)
        body = Epoch(
            self.header(opener), group, number, sealed.commitment, recipients, sha256(sealed.blob)
        )
        self.must(body, Role.KEEPER, sealed.blob)
        for agency in self.agencies:
            if epoch_of(state, group).pending is not None:
                ack = Acknowledge(self.header(agency), group, number, sealed.commitment)
                self.must(ack, Role.KEEPER)
        self.epoch_keys[group, number] = sealed.key
        return sealed

    def open_epochs(self) -> "Consortium":
        for group in GROUPS:
            self.open_epoch(group)
        return self

    def publish_body(
        self, agency: str, rows: Sequence[Listing], groups: Sequence[GroupId] = GROUPS
    ) -> tuple[Publish, bytes]:
        numbers = {group: epoch_of(self.ledger.state, group).number for group in groups}
        epochs = {g: (n, self.epoch_keys.get((g, n), bytes(32))) for g, n in numbers.items()}
        blob = seal_batch(self.chain, MemberId(agency), batch_of(rows), epochs)
        body = Publish(
            header=self.header(agency),
            count=len(rows),
            groups=tuple(groups),
            epochs=tuple(numbers[group] for group in groups),
            urgent=False,
            blob_sha256=sha256(blob),
        )
        return body, blob

    def publish(self, agency: str, rows: Sequence[Listing], *, approve: bool = True) -> int:
        body, blob = self.publish_body(agency, rows)
        entry = self.must(body, Role.ANALYST, blob)
        if approve:
            self.must(Approve(self.header(agency), entry), Role.APPROVER)
        return entry

    def admit_platform(self, member: str = "cloud", jurisdictions: Sequence[str] = ("NL",)) -> None:
        self.keys[MemberId(member)] = keys_for(member, PLATFORM_STAFF)
        where = [JurisdictionId(name) for name in jurisdictions]
        action = platform_application(
            self.chain, MemberId(member), member.title(), where, self.keys[MemberId(member)]
        )
        self.decide(Propose(self.header(self.agencies[0]), action))

    def decide(self, proposal: Propose) -> int:
        """Put a proposal and let every agency vote for it until it passes."""
        entry = self.must(proposal, Role.GOVERNOR)
        for agency in self.agencies:
            if agency != proposal.header.member:
                self.say(Vote(self.header(agency), entry, approve=True), Role.GOVERNOR)
        return entry
