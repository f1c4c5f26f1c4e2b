"""Agencies at their desks: homes on disk, a ledger in memory, no sockets."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from accord.agency.keeper import Done, Keeper
from accord.agency.voice import Voice
from accord.client.home import Home, create_home
from accord.follow.keyring import Keyring
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import encode_genesis
from accord.ledger.state import State
from accord.statements.bodies import Epoch, Header, Role, Wrap
from accord.statements.confidential import load_decrypt_private
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.wire.digests import sha256
from accord.wire.errors import Rejected, Unavailable
from accord.wire.ids import ChainId, MemberId, TimeMs
from consortium_kit import CHAIN, Consortium


@dataclass
class Line:
    """A client to the consortium's ledger; remembers entries as a node does.

    `faults` says how the next submissions go: `ok`, `lost`, `stored-then-error`.
    """

    consortium: Consortium
    faults: list[str] = field(default_factory=list)
    entries: dict[bytes, int] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    one_by_one: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, transaction: bytes) -> int:
        with self.one_by_one:
            return self._submit(transaction)

    def _submit(self, transaction: bytes) -> int:
        fault = self.faults.pop(0) if self.faults else "ok"
        self.sent.append(transaction)
        if fault == "lost":
            raise Unavailable("test.lost")
        known = self.entries.get(sha256(transaction))
        if known is not None:
            return known
        verdict = self.consortium.block(transaction).verdicts[0]
        if isinstance(verdict, RejectCode):
            raise Rejected(verdict.code)
        self.entries[sha256(transaction)] = verdict
        if fault == "stored-then-error":
            raise Unavailable("test.stored")
        return verdict


@dataclass
class Book:
    """A member's view of the consortium's log, with its keyring."""

    consortium: Consortium
    member: MemberId
    keyring: Keyring = field(default_factory=Keyring)
    size: int = 0

    @property
    def chain(self) -> ChainId:
        return CHAIN

    @property
    def state(self) -> State:
        return self.consortium.ledger.state

    def sync(self) -> None:
        key = self.consortium.key(self.member, Role.DECRYPTOR)
        key_id, private = load_decrypt_private(key.seed)
        for leaf in self.consortium.leaves[self.size :]:
            body = parse_envelope(parse_entry(leaf).statement).body
            if isinstance(body, Epoch | Wrap):
                blob = self.consortium.blobs[body.blob_sha256]
                self.keyring.learn(CHAIN, self.member, key_id, private, body, blob)
            self.size += 1

    def entry_of(self, header: Header) -> int | None:
        for index, leaf in enumerate(self.consortium.leaves[: self.size]):
            if parse_envelope(parse_entry(leaf).statement).body.header == header:
                return index
        return None


@dataclass
class Agencies:
    """Everybody's home, voice and keeper over one consortium."""

    directory: Path
    consortium: Consortium

    def __post_init__(self) -> None:
        genesis = encode_genesis(self.consortium.founding.genesis)
        self.line = Line(self.consortium)
        self.homes: dict[MemberId, Home] = {
            member: create_home(self.directory / member, "agency", member, genesis, [], keys)
            for member, keys in self.consortium.keys.items()
        }
        self.books = {member: Book(self.consortium, member) for member in self.homes}
        self.keepers = {
            member: Keeper(self.voice(member), self.books[member]) for member in self.homes
        }

    def now(self) -> TimeMs:
        return self.consortium.now

    def voice(self, member: str) -> Voice:
        return Voice(self.homes[MemberId(member)], self.line, self.now)

    def step(self, *members: str, out_of_turn: bool = False) -> list[Done]:
        chosen = [MemberId(member) for member in members] or list(self.homes)
        return [done for m in chosen for done in self.keepers[m].step(out_of_turn=out_of_turn)]

    def settle(self, rounds: int = 6) -> None:
        """Let the keepers run until nobody has anything to do."""
        for _ in range(rounds):
            if not self.step():
                return
            self.consortium.now = TimeMs(self.consortium.now + 1_000)
