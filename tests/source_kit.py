"""A test consortium's log as a node would serve it, with a node's long poll and submit.

Checkpoints are signed by every agency's cosigner at whatever moment the source's clock says. To
try a lying node, subclass it or set `stuck_at`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from accord.client.home import PrivateKey
from accord.ledger.apply import FOLDS, apply
from accord.ledger.codes import RejectCode
from accord.ledger.past import begin
from accord.ledger.state import State
from accord.ledger.views import cosigner_key, cosigners, policy_of
from accord.replica.replica import Identity
from accord.statements.bodies import Role
from accord.statements.confidential import load_decrypt_private
from accord.statements.entries import parse_entry
from accord.tlog import (
    Checkpoint,
    Frontier,
    Note,
    NoteKey,
    Policy,
    completed_nodes,
    encode_bundle,
    encode_tile,
    leaf_hash,
    parse_tile_path,
    root_at,
)
from accord.tlog.note import cosign_text
from accord.wire.errors import Rejected, Unavailable
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import Consortium

POLL_S = 0.005


@dataclass
class ConsortiumSource:
    """`replica.LogSource`, and what a gateway asks of a node beyond it."""

    consortium: Consortium
    clock: Callable[[], int] | None = None  # ms since 1970; the consortium's own time if None.
    name: str = "kit"
    stuck_at: int | None = None  # Serves this older size only, as a frozen node would.
    submitted: list[bytes] = field(default_factory=list[bytes])
    is_down: bool = False
    refuses_submit: bool = False
    asked: int = 0
    folds: frozenset[int] = FOLDS

    def __post_init__(self) -> None:
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._frontier = Frontier()
        self._chain = self.consortium.chain
        self._start = self.consortium.founding.begins_at
        leaves = self.consortium.leaves[: self._start]
        self._state: State = begin(self.consortium.founding, leaves).state
        self._policies: list[tuple[int, Policy]] = [(0, policy_of(self._state, self._chain))]
        self._cosigners: dict[int, tuple[tuple[MemberId, NoteKey], ...]] = {
            0: cosigners(self._state, self._chain)
        }

    # What a replica asks.

    def fetch_checkpoint(self) -> bytes:
        return self.checkpoint_at(self._catch_up())

    def fetch_transitions(self) -> list[int]:
        self._catch_up()
        return [size for size, _ in self._policies[1:]]

    def fetch_checkpoint_at(self, size: int) -> bytes:
        self._catch_up()
        return self.checkpoint_at(size)

    def fetch_tile(self, path: str) -> bytes:
        self._ask()
        tile = parse_tile_path(path)
        if tile.level < 0:
            first = tile.index * 256
            return encode_bundle(self.consortium.leaves[first : first + tile.width])
        return encode_tile(self, tile)

    def fetch_blob(self, digest: bytes) -> bytes:
        self._ask()
        return self.consortium.blobs[digest]

    # What a gateway asks too.

    def wait(self, size: int, timeout_ms: int) -> int:
        """The log's size, as soon as it is above `size` or the time is up."""
        deadline = time.monotonic() + timeout_ms / 1000
        while (now := self._size()) <= size and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return now

    def submit(self, transaction: bytes) -> int:
        """The entry's index. Raises: Rejected."""
        self._ask()
        if self.refuses_submit:
            raise Unavailable("kit.submit")
        self.submitted.append(transaction)
        verdict = self.consortium.block(transaction).verdicts[0]
        if isinstance(verdict, RejectCode):
            raise Rejected(verdict.code)
        return verdict

    # The kit's own.

    def node(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]

    def checkpoint_at(self, size: int, at_ms: int | None = None) -> bytes:
        """A checkpoint of the first `size` entries, signed by everybody it could concern."""
        text = Checkpoint(str(self._chain), size, root_at(self, size)).encode()
        at_ms = self._now() if at_ms is None else at_ms
        lines = []
        for member, public in self._signers(size):
            private = self._private(public)
            key = cosigner_key(self._chain, member, public)
            lines.append(cosign_text(text, key, at_ms // 1000, private.sign))
        return Note(text, tuple(lines)).encode()

    def _signers(self, size: int) -> list[tuple[MemberId, bytes]]:
        """Cosigners of the policy in force at `size`, and of the one just before it."""
        known = sorted(at for at in self._cosigners if at <= size)
        last = known[-2:] if known[-1] == size else known[-1:]
        found_keys = {(member, key.key.raw) for at in last for member, key in self._cosigners[at]}
        return sorted(found_keys)

    def _private(self, public: bytes) -> PrivateKey:
        every = (key for keys in self.consortium.keys.values() for key in keys)
        return next(k for k in every if k.role is Role.COSIGNER and k.public == public)

    def _now(self) -> int:
        return self.consortium.now if self.clock is None else self.clock()

    def _ask(self) -> None:
        self.asked += 1
        if self.is_down:
            raise Unavailable("kit.down")

    def _size(self) -> int:
        self._ask()
        count = len(self.consortium.leaves)
        return count if self.stuck_at is None else min(self.stuck_at, count)

    def _catch_up(self) -> int:
        """Fold what the consortium has logged since, and say how far the log goes."""
        self._ask()
        fresh = self.consortium.leaves[self._frontier.size :]
        hashes = [leaf_hash(leaf) for leaf in fresh]
        for node in completed_nodes(self._frontier, hashes):
            self._nodes[node.level, node.index] = node.hash
        for size, leaf in enumerate(fresh, self._frontier.size + 1):
            if size <= self._start:
                continue
            entry = parse_entry(leaf)
            accepted = apply(self._state, self._chain, entry.statement, entry.time_ms, self.folds)
            assert not isinstance(accepted, RejectCode), accepted
            self._state.commit(accepted.writes)
            policy = policy_of(self._state, self._chain)
            if policy != self._policies[-1][1]:
                self._policies.append((size, policy))
                self._cosigners[size] = cosigners(self._state, self._chain)
        self._frontier = self._frontier.extend(hashes)
        size = self._frontier.size
        return size if self.stuck_at is None else min(self.stuck_at, size)


def identity_of(consortium: Consortium, member: str) -> Identity:
    """A member's eyes: the decryptor key it was admitted with."""
    private = consortium.key(member, Role.DECRYPTOR)
    key_id, opened = load_decrypt_private(private.seed)
    return Identity(MemberId(member), key_id, opened)


def now_of(consortium: Consortium) -> TimeMs:
    """A clock for a follower: just after the newest block."""
    return TimeMs(consortium.now + 1_000)
