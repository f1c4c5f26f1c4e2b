"""What must always hold, checked where it happens, with nothing of the nodes' own bookkeeping.

The truth is the decided blocks, folded once here. Promises are what keys really signed: every key
reports what it signs. So a node that forgets, hurries or believes too much is seen by what it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accord.client.home import PrivateKey
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.views import policy_of, validators
from accord.node.abci_app import App
from accord.node.store import LogReader
from accord.statements.bodies import BLOB_KINDS, Body, Role
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope, parse_transaction
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.cosigner import parse_cosigner_state
from accord.tlog.merkle import EMPTY_ROOT, Frontier, leaf_hash
from accord.tlog.note import parse_note
from accord.tlog.policy import Policy, quorum_of
from accord.wire.digests import sha256
from accord.wire.ids import MemberId
from consortium_kit import CHAIN

if TYPE_CHECKING:
    from sim.node import SimNode
    from sim.sequencer import Block
    from sim.world import World

_COSIGNED = b"cosignature/v1\ntime "


@dataclass(frozen=True, slots=True, repr=False)
class SpiedKey(PrivateKey):
    """A private key that tells what it signs, before anybody else sees it."""

    tell: Callable[[bytes, bytes], None] = field(compare=False)

    def sign(self, message: bytes) -> bytes:
        self.tell(self.public, message)
        return PrivateKey.sign(self, message)


def spied(key: PrivateKey, tell: Callable[[bytes, bytes], None]) -> SpiedKey:
    return SpiedKey(key.role, key.operator, key.seed, tell)


class Oracle:
    """The truth, and who promised what."""

    def __init__(self, world: "World") -> None:
        self.world = world
        genesis = world.founding.genesis
        self.app = App(Ledger.founded(genesis), 0, genesis.time_ms)
        self.leaves: list[bytes] = []
        self.roots = [EMPTY_ROOT]  # By size.
        self.hashes = [self.app.info()[1]]  # By height.
        self.sizes = [0]  # By height.
        self.places: dict[bytes, int] = {}  # Statement -> its entry.
        self.kinds: dict[type[Body], list[int]] = {}  # Kind of statement -> its entries.
        self.signed: dict[tuple[int, bytes], set[bytes]] = {}  # Head -> keys that signed it.
        self.acknowledged: dict[bytes, int] = {}
        policy = policy_of(self.app.ledger.state, CHAIN)
        self.policies: dict[int, tuple[Policy, ...]] = {0: (policy,)}  # Old and new, at a change.
        self._updates: list[list[tuple[bytes, int]]] = [[]]
        self._keys = dict.fromkeys(validators(self.app.ledger.state).values(), 1)
        self._validators = [self._validators_now()] * 2  # By height; a change acts two blocks on.
        self._promises: dict[bytes, tuple[int, int]] = {}
        self._heads: dict[str, int] = {}  # The newest of whoever serves or believes some.
        self._frontier = Frontier()

    def must(self, holds: bool, what: str, *facts: object) -> None:
        if not holds:
            self.world.violate(what, *facts)

    # The chain.

    def see_decision(self, block: "Block") -> None:
        """More than two thirds accepted this: then it is good, to the last byte."""
        before = self.policies[self.sizes[-1]][-1]
        done = self.app.finalize(block.height, block.raws, block.time_ms)
        self.app.committed()
        refused = [item for item in done.result.verdicts if isinstance(item, RejectCode)]
        self.must(not refused, "a bad block was decided", block.height, *refused)
        for raw in block.raws:
            transaction = parse_transaction(raw)
            body = parse_envelope(transaction.envelope).body
            if isinstance(body, BLOB_KINDS):
                blob = transaction.blob or b""
                self.must(sha256(blob) == body.blob_sha256, "a block with a foreign blob")
        for item in done.result.logged:
            self.must(item.transaction.envelope not in self.places, "a replay was decided")
            self.places[item.transaction.envelope] = item.index
            self.kinds.setdefault(type(item.accepted.body), []).append(item.index)
            self.leaves.append(item.leaf)
            self._frontier = self._frontier.extend([leaf_hash(item.leaf)])
            self.roots.append(self._frontier.root())
        size, after = len(self.leaves), policy_of(self.app.ledger.state, CHAIN)
        if size > self.sizes[-1]:
            self.policies[size] = (after,) if after == before else (before, after)
        self.sizes.append(size)
        self.hashes.append(self.app.info()[1])
        self._updates.append([(item.public, item.power) for item in done.updates])
        self._keys.update({item.public: item.power for item in done.updates})
        standing = {public for public, power in self._keys.items() if power}
        wanted = set(validators(self.app.ledger.state).values())
        self.must(standing == wanted, "the engine has other validators", block.height)
        self._validators.append(self._validators_now())
        self.world.trace("decided", block.height, block.time_ms, size, self.roots[-1])

    def validators_at(self, height: int) -> tuple[MemberId, ...]:
        return self._validators[height - 1]

    def _validators_now(self) -> tuple[MemberId, ...]:
        return tuple(validators(self.app.ledger.state))

    def see_commit(
        self, name: MemberId, height: int, app_hash: bytes, updates: list[tuple[bytes, int]]
    ) -> None:
        """A node's application answered Commit."""
        node = self.world.nodes[name]
        self.world.trace("commit", name, height, app_hash)
        if node.is_faulty:
            return
        self.must(app_hash == self.hashes[height], "another app hash", name, height)
        self.must(updates == self._updates[height], "other validators", name, height)
        log = node.log
        self.must(
            log is not None and log.height >= height, "committed and not on disk", name, height
        )

    def see_store(self, name: MemberId, log: LogReader) -> None:
        """A node's disk, as anybody may read it now: it only ever grows, along the truth."""
        node = self.world.nodes[name]
        if node.is_faulty:
            return
        size = log.size
        self.must(size >= node.durable, "a disk went back", name, node.durable, size)
        self.must(log.root == self.roots[size], "another root on disk", name, size)
        for index in range(node.durable, size):
            self.must(log.leaf(index) == self.leaves[index], "another leaf", name, index)
        node.durable = size

    # Promises.

    def hears(self, member: MemberId) -> Callable[[bytes, bytes], None]:
        """For a `SpiedKey` of this member."""
        return lambda public, message: self._see_signature(member, public, message)

    def _see_signature(self, member: MemberId, public: bytes, message: bytes) -> None:
        if not message.startswith(_COSIGNED):
            return
        first, _, text = message.removeprefix(_COSIGNED).partition(b"\n")
        time_s, head = int(first), parse_checkpoint(text)
        self.signed.setdefault((head.size, head.root), set()).add(public)
        node = self.world.nodes.get(member)
        self.world.trace("signed", member, head.size, head.root, time_s)
        if node is None or node.is_faulty:
            return
        size, at_s = self._promises.get(public, (0, 0))
        self.must(head.size >= size, "a cosigner went back", member, size, head.size)
        self.must(time_s >= at_s, "a cosigner's time went back", member, at_s, time_s)
        self._promises[public] = (head.size, time_s)
        is_true = head.size <= len(self.leaves) and head.root == self.roots[head.size]
        self.must(is_true, "an honest cosigner signed another root", member, head.size)
        for change, needs in self.policies.items():
            passed = change >= head.size or len(needs) == 1
            passed = passed or self.has_quorum(change, self.roots[change])
            self.must(passed, "signed beyond a change without its quorums", member, change)
        self._see_promise_kept(node, head.size, head.root, time_s)

    def _see_promise_kept(self, node: "SimNode", size: int, root: bytes, time_s: int) -> None:
        """What is being signed is on disk: the block, and the cosigner's state."""
        log = node.log
        self.must(log is not None and log.size >= size, "signed before it is durable", size)
        try:
            state = parse_cosigner_state(node.state_file.read_bytes(), CHAIN)
        except FileNotFoundError:
            self.must(False, "signed without a memory", node.name)
            return
        kept = (state.size, state.root, state.time_s) == (size, root, time_s)
        self.must(kept, "signed before it is remembered", node.name, size)

    def has_quorum(self, size: int, root: bytes) -> bool:
        """Whether every policy that the head of this size needs was really satisfied."""
        by = self.signed.get((size, root), set())
        if size not in self.policies:
            return False
        return all(
            sum(witness.key.key.raw in by for witness in policy.witnesses)
            >= quorum_of(len(policy.witnesses))
            for policy in self.policies[size]
        )

    # What members and followers are told.

    def see_acknowledged(self, name: MemberId, raw: bytes, entry: int) -> None:
        statement = parse_transaction(raw).envelope
        self.world.trace("acknowledged", name, entry)
        is_there = (
            entry < len(self.leaves) and parse_entry(self.leaves[entry]).statement == statement
        )
        self.must(is_there, "acknowledged and not in the log", name, entry)
        is_safe = any(
            self.has_quorum(size, self.roots[size]) for size in self.policies if size > entry
        )
        self.must(is_safe, "acknowledged without a quorum", name, entry)
        self.must(self.acknowledged.setdefault(raw, entry) == entry, "acknowledged twice", entry)

    def see_rejected(self, name: MemberId, raw: bytes, code: RejectCode) -> None:
        is_there = parse_transaction(raw).envelope in self.places
        self.must(not is_there, "rejected and in the log", name, code.code)

    def see_head(self, who: str, raw: bytes) -> None:
        """A head that somebody honest serves or believes: one root per size, and a real quorum."""
        head = parse_checkpoint(parse_note(raw).text)
        self.must(head.size >= self._heads.get(who, 0), "a head went back", who, head.size)
        self._heads[who] = head.size
        is_true = head.size <= len(self.leaves) and head.root == self.roots[head.size]
        self.must(is_true, "another root for a size", who, head.size)
        self.must(self.has_quorum(head.size, head.root), "a head without a quorum", who, head.size)

    def see_followed(self, who: str, leaves: Sequence[bytes]) -> None:
        self.must(list(leaves) == self.leaves[: len(leaves)], "followed something else", who)

    # At the end.

    def see_node(self, name: MemberId) -> None:
        node = self.world.nodes[name]
        log = node.log
        if log is None:
            self.must(False, "not up at the end", name)
            return
        self.must(log.size == len(self.leaves), "not level at the end", name, log.size)
        for raw, entry in self.acknowledged.items():
            wanted = parse_transaction(raw).envelope
            found = parse_entry(log.leaf(entry) or b"").statement
            self.must(found == wanted, "acknowledged and gone", name, entry)
        liars = {
            key.public
            for member in (*self.world.liars, *self.world.faulty)
            for key in self.world.keys[member]
            if key.role is Role.COSIGNER
        }
        accused = {key for key, _, _ in log.splits()}
        self.world.count("evidence kept", len(log.splits()))
        self.must(accused <= liars, "an honest cosigner is accused", name)
        for key, size, note in log.splits():
            head = parse_checkpoint(parse_note(note).text)
            self.must(key in self.signed.get((size, head.root), ()), "false evidence", name)
