"""Whatever members sign, in whatever order: a verdict, never an error, and rows that read back."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.agency.founding import AGENCY_STAFF, PLATFORM_STAFF, TRIAL_PARAMETERS
from accord.client.home import PrivateKey
from accord.ledger.apply import SPEAKERS, Accepted, apply
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.membership import consortium
from accord.ledger.state import (
    AGENCIES_TABLE,
    AGENDA,
    FEEDBACK,
    KEYSETS,
    PLATFORMS,
    PROPOSALS,
    PUBLICATIONS,
    RULES,
    parse_row,
)
from accord.statements.bodies import (
    Accredit,
    Acknowledge,
    Action,
    AdmitAgency,
    AdmitPlatform,
    Approve,
    Attest,
    Body,
    Dispute,
    DisputeReason,
    Endorse,
    Epoch,
    Feedback,
    Header,
    Keyset,
    Propose,
    Publish,
    Recipient,
    RefRange,
    RemoveAgency,
    RemovePlatform,
    ReplaceKeys,
    Role,
    RoleKey,
    Rule,
    SuspendPlatform,
    Vote,
    Withdraw,
    Wrap,
)
from accord.statements.envelope import parse_transaction, seal_envelope
from accord.statements.feedback import recipients_sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, MemberId, TimeMs
from accord.wire.limits import (
    AGENCIES_MAX,
    FEEDBACK_DAY_STATEMENTS_MAX,
    FEEDBACK_DAY_WORDS_MAX,
    FEEDBACK_WORDS_MAX,
    PROPOSALS_OPEN_MAX,
)
from consortium_kit import CHAIN, Consortium, derived_key, founding, keys_for
from registry_kit import rule_set

MEMBERS = ("nl-one", "ie-two", "ca-three", "nl-four", "fr-five", "cloud", "drive", "agencies")
GROUPS = ("agencies", "platforms", "nobody")
WHERE = ("NL", "IE", "CA", "EU", "X-UNION")
PEOPLE = ("node", "keeper", "safe", "analyst-a", "governor", "scanner", "reporter", "late")


class Liar:
    """Members that say anything a record can hold, mostly near to what would be allowed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        lock_ms = self.rng.choice((0, 0, 5_000))
        self.world = Consortium(
            founding(parameters=replace(TRIAL_PARAMETERS, time_lock_ms=lock_ms))
        )
        if self.rng.random() < 0.8:
            self.world.open_epochs()
        if self.rng.random() < 0.5:
            self.world.admit_platform()

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def member(self) -> MemberId:
        return MemberId(self.rng.choice(MEMBERS))

    def speaker(self, kind: type[Body]) -> MemberId:
        """Mostly somebody who may say this."""
        if self.rng.random() < 0.1:
            return self.member()
        state = self.world.ledger.state
        is_platform = kind in (Attest, Feedback)
        rows = state.rows(PLATFORMS) if is_platform else state.rows(AGENCIES_TABLE)
        return MemberId(self.rng.choice([key.decode() for key, _ in rows] or ["cloud"]))

    def group(self) -> GroupId:
        return GroupId(self.rng.choice(GROUPS))

    def digest(self) -> bytes:
        return self.rng.choice((bytes(32), hashlib.sha256(self.rng.randbytes(1)).digest()))

    def index(self) -> int:
        return self.rng.choice((0, self.rng.randrange(60), 2**53))

    def entry(self) -> int:
        known = [
            int.from_bytes(key, "big") for key, _ in self.world.ledger.state.rows(PUBLICATIONS)
        ]
        return self.index() if self.rng.random() < 0.1 or not known else self.rng.choice(known)

    def near(self, number: int) -> int:
        return min(max(1, number + self.rng.choice((-1, 0, 1, 1, 1))), 2**31)

    def header(self, kind: type[Body]) -> Header:
        shift = 600_000
        if self.rng.random() < 0.1:
            shift = self.rng.choice((-1, 0, 3_600_000, 3_600_001, 2**52))
        after = max(0, min(self.world.now + shift, 2**53))
        return Header(self.speaker(kind), self.rng.randbytes(16), TimeMs(after))

    def private(self, member: str) -> PrivateKey:
        role = self.rng.choice(list(Role))
        return derived_key(member, role, self.rng.choice(PEOPLE))

    def keys(self, member: MemberId) -> tuple[RoleKey, ...]:
        """A keyset that is almost right."""
        staff = PLATFORM_STAFF if member in ("cloud", "drive") else AGENCY_STAFF
        pool = list(keys_for(member, staff))
        for _ in range(self.rng.choice((0, 0, 0, 1, 3))):
            pool.append(self.private(self.rng.choice((member, self.member()))))
        if self.rng.random() < 0.2:
            pool.pop(self.rng.randrange(len(pool)))
        if self.rng.random() < 0.3:
            pool.append(derived_key(member, Role.DECRYPTOR, f"spare-{self.rng.randrange(9)}"))
        keys = [key.role_key(CHAIN, member) for key in pool]
        if self.rng.random() < 0.2:
            at = self.rng.randrange(len(keys))
            noise = self.rng.randbytes(len(keys[at].public))
            keys[at] = RoleKey(keys[at].role, keys[at].operator, noise, keys[at].proof)
        return tuple(keys if self.rng.random() < 0.1 else sorted(keys))

    def refs(self) -> tuple[RefRange, ...]:
        some = {
            RefRange(
                self.entry(),
                self.rng.choice((0, 1, 2, 9_999)),
                self.rng.choice((1, 1, 2, 3, 10_000)),
            )
            for _ in range(self.rng.randrange(1, 4))
        }
        return tuple(sorted(some))

    def recipients(self, group: GroupId) -> tuple[Recipient, ...]:
        wanted = list(recipients_of(self.world.ledger.state, group))
        if self.rng.random() < 0.1:
            wanted.append(Recipient(self.member(), self.rng.randbytes(16)))
        if wanted and self.rng.random() < 0.1:
            wanted.pop()
        return tuple(sorted(set(wanted))) or (Recipient(self.member(), bytes(16)),)

    def where(self) -> tuple[JurisdictionId, ...]:
        return tuple(sorted({JurisdictionId(self.rng.choice(WHERE)) for _ in range(2)}))

    def action(self) -> Action:
        member = self.member()
        groups = tuple(sorted({self.group(), self.group()}))
        return self.rng.choice(
            (
                lambda: AdmitAgency(member, "A", self.where()[0], self.where(), self.keys(member)),
                lambda: RemoveAgency(member),
                lambda: AdmitPlatform(member, "P", self.where(), groups, self.keys(member)),
                lambda: SuspendPlatform(member),
                lambda: RemovePlatform(member),
                lambda: Accredit(member, self.where()[0]),
                lambda: ReplaceKeys(member, self.keys(member)),
                lambda: replace(
                    TRIAL_PARAMETERS,
                    time_lock_ms=self.rng.choice((0, 3_000, 2_592_000_000)),
                    proposal_life_ms=self.rng.choice((1_000, 60_000)),
                    agencies_min=self.rng.choice((1, 64)),
                    sovereigns_min=self.rng.choice((1, 64)),
                ),
            )
        )()

    def body(self) -> Body:
        kind = self.rng.choice((*SPEAKERS, Vote, Vote, Acknowledge, Acknowledge))
        state, header, group = self.world.ledger.state, self.header(kind), self.group()
        row = epoch_of(state, group)
        keyset = state.get(KEYSETS, header.member.encode())
        where = self.where()[0]
        rule = state.get(RULES, where.encode())
        number = self.near(row.number)
        pending = bytes(32) if row.pending is None else row.pending.commitment
        people = self.recipients(group)
        groups = tuple(sorted({AGENCIES, group}))
        epochs = tuple(max(1, epoch_of(state, name).number) for name in groups)
        if self.rng.random() < 0.1:
            epochs = (*epochs[1:], self.near(epochs[0]))[: self.rng.randrange(1, 3)]
        reason = DisputeReason.OTHER
        version = self.near(keyset.version if keyset else 0)
        makers: dict[type[Body], Callable[[], Body]] = {
            Publish: lambda: Publish(header, 3, groups, epochs, False, self.digest()),
            Approve: lambda: Approve(header, self.entry()),
            Endorse: lambda: Endorse(header, self.refs(), self.rng.randrange(3)),
            Dispute: lambda: Dispute(header, self.refs(), reason),
            Withdraw: lambda: Withdraw(header, self.refs(), reason),
            Keyset: lambda: Keyset(header, version, self.keys(header.member)),
            Rule: lambda: Rule(header, where, self.near(rule.version if rule else 0), rule_set()),
            Propose: lambda: Propose(header, self.action()),
            Vote: lambda: Vote(header, self.open_proposal(), self.rng.random() < 0.95),
            Epoch: lambda: Epoch(header, group, number, self.digest(), people, self.digest()),
            Acknowledge: lambda: Acknowledge(
                header, group, number, self.rng.choice((pending, pending, self.digest()))
            ),
            Wrap: lambda: Wrap(header, group, row.number or 1, people, self.digest()),
            Attest: lambda: self.attest(header),
            Feedback: lambda: Feedback(header, self.words(), self.hearers(), self.digest()),
        }
        return makers[kind]()

    def attest(self, header: Header) -> Attest:
        rules, root, receipts = self.digest(), self.digest(), self.digest()
        size, at_ms = self.index(), TimeMs(self.index())
        return Attest(header, size, root, rules, root, at_ms, self.index(), receipts, "b")

    def words(self) -> int:
        return self.rng.choice((1, 9_000, FEEDBACK_WORDS_MAX))

    def hearers(self) -> bytes:
        told = recipients_of(self.world.ledger.state, AGENCIES)
        return recipients_sha256(told[self.rng.random() < 0.1 :])

    def open_proposal(self) -> int:
        keys = [int.from_bytes(key, "big") for key, _ in self.world.ledger.state.rows(AGENDA)]
        return self.rng.choice([*keys, self.index()])

    def statement(self) -> bytes:
        body = self.body()
        role = SPEAKERS[type(body)] if self.rng.random() < 0.95 else self.rng.choice(list(Role))
        people = dict(AGENCY_STAFF) | dict(PLATFORM_STAFF)
        key = derived_key(body.header.member, role, people[role])
        if key.role is Role.DECRYPTOR:  # It cannot sign: somebody else signs in its name.
            key = PrivateKey(Role.ANALYST, key.operator, key.seed[:32])
        return seal_envelope(CHAIN, key.key_id, body, key.sign)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_any_statement_gets_a_verdict_and_every_row_reads_back(seed: int) -> None:
    liar = Liar(seed)
    state = liar.world.ledger.state
    said: list[tuple[TimeMs, bytes]] = []
    before = Ledger.founded(liar.world.founding.genesis)
    for raw_block in liar.world.blocks:
        before.finalize(raw_block[1], raw_block[0])
    now = liar.world.now
    for _ in range(120):
        now = TimeMs(now + liar.rng.choice((0, 1, 1_000, 61_000, 700_000)))
        liar.world.now = now
        statement = liar.statement()
        verdict = apply(state, CHAIN, statement, now)
        if isinstance(verdict, RejectCode):
            continue
        assert isinstance(verdict, Accepted)
        for write in verdict.writes:
            encoded = write.encoded()
            if encoded is not None:
                assert parse_row(write.table, encoded) == write.row
        state.commit(verdict.writes)
        said.append((now, statement))
    _check_bounds(liar)
    # Another node that hears only what was accepted comes to the very same state.
    for time_ms, statement in said:
        again = apply(before.state, CHAIN, statement, time_ms)
        assert isinstance(again, Accepted)
        before.state.commit(again.writes)
    assert before.state.digest() == state.digest()


def _check_bounds(liar: Liar) -> None:
    """What an attacker could make grow does not, and books agree with each other."""
    state = liar.world.ledger.state
    agenda = dict(state.rows(AGENDA))
    live = {key for key, row in state.rows(PROPOSALS) if row.status.value in ("open", "passed")}
    assert set(agenda) == live
    for member in MEMBERS:
        mine = [row for row in agenda.values() if row.proposer == member]
        assert len(mine) <= PROPOSALS_OPEN_MAX
    assert consortium(state).agencies_ever <= AGENCIES_MAX
    assert any(row.standing.value == "admitted" for _, row in state.rows(AGENCIES_TABLE))
    for group in consortium(state).groups:
        row = epoch_of(state, group)
        assert {item.member for item in row.recipients} <= set(MEMBERS)
    for _, said in state.rows(FEEDBACK):
        assert said.words <= FEEDBACK_DAY_WORDS_MAX
        assert said.statements <= FEEDBACK_DAY_STATEMENTS_MAX


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_statements_are_noise_proof_as_whole_blocks_too(seed: int) -> None:
    """A proposer orders anything: garbage, halves of transactions, one statement many times."""
    liar = Liar(seed)
    world = liar.world
    for _ in range(6):
        said: list[bytes] = []
        for _ in range(liar.rng.randrange(6)):
            raw = liar.rng.choice([raw for _, block in world.blocks for raw in block] or [b"none"])
            cut = liar.rng.randrange(len(raw) + 1)
            said += [raw, raw[:cut], liar.rng.randbytes(liar.rng.randrange(40)), raw[cut:]]
        foreseen = list(world.ledger.foresee(said, TimeMs(world.now + 1_000)))
        result = world.block(*said)
        verdicts = [v if isinstance(v, RejectCode) else None for v in result.verdicts]
        assert verdicts == foreseen


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_transaction_parses_or_is_malformed(noise: bytes) -> None:
    for raw in (noise, b"\x82" + noise, b"\x82\x58" + noise + b"\xf6"):
        try:
            parse_transaction(raw)
        except Malformed:
            continue
