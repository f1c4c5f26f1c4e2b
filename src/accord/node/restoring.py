"""What a joining node believes of a snapshot: nothing that its own copy of the log does not prove.

First it follows the log as anybody does, from the genesis to a head that the quorum signed
(`joining`). So it knows every leaf, and by folding them the state at any size; a snapshot adds the
height that goes with a size, and the blobs.
Job: judge an offered snapshot against the proved leaves and the header's app hash; judge each chunk
leaf by leaf and blob by blob; hand the store what is proved.
Not here: networks (joining), disks (store), the engine's messages (state_sync).
Invariants: the store never holds an entry that was not proved; only a restoration that went to its
end leaves a height; whatever else happens leaves the store as it was founded.
Source: docs/spec/consensus.md section 9.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from accord.ledger.apply import apply
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.views import policy_of
from accord.node.snapshots import Carried, Snapshot, parse_chunk
from accord.statements.bodies import BLOB_KINDS
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.tlog.merkle import leaf_hash
from accord.tlog.policy import Policy, verify_checkpoint
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.ids import ChainId

LEAVES_AT_ONCE: Final = 1_024

Steps = Sequence[tuple[int, bytes]]  # Sizes at which the policy changed, and their signed heads.


class Proven(Protocol):
    """The log as the joining node proved it, from the genesis on."""

    def reach(self, size: int) -> None:
        """Follow on until at least so many entries are proved. Raises: Unavailable, Unproven."""
        ...

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Proved leaves."""
        ...

    def steps(self, size: int) -> Iterator[Steps]:
        """What each of the other nodes claims of policy changes up to `size`; nothing of it is
        proved. Raises: Unavailable, where none answers.
        """
        ...


class RestoringStore(Protocol):
    """Where the proved log goes. Raises: Unavailable, from each; the process then ends."""

    def founded(self) -> Ledger:
        """The ledger before this node's first block."""
        ...

    def begin_restoring(self) -> None:
        """As it was founded, and marked: opened again before the end, it begins anew."""
        ...

    def keep_restored(self, first: int, entries: Sequence["Restored"]) -> None:
        """Entries from `first` on, all or none; no block holds them yet."""
        ...

    def end_restoring(self, height: int, folded: "Folded") -> None:
        """The state, the policy changes and the block, in one transaction."""
        ...

    def blob_entry(self, digest: bytes) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Restored:
    """A proved entry: its leaf, its statement's digest, and the blob that it is first to name."""

    leaf: bytes
    digest: bytes
    blob: tuple[bytes, bytes] | None  # Its SHA-256, and the bytes.


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """The policy before a change, and the head that both quorums signed."""

    size: int
    before: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class Folded:
    """The ledger at a snapshot's size, and the policy changes on the way."""

    ledger: Ledger
    changes: tuple[PolicyChange, ...]


class Restoring:
    """One snapshot after the other, until one is restored. One caller at a time."""

    def __init__(self, store: RestoringStore, proven: Proven) -> None:
        self._store = store
        self._proven = proven
        self._snapshot: Snapshot | None = None
        self._folded: Folded | None = None
        self._begins = 0  # Entries that the store was founded with.
        self._next = 0

    def judge(self, snapshot: Snapshot, app_hash: bytes) -> None:
        """See that the snapshot is of our log and is what the engine's header says.

        Raises: Unproven, where it lies; Unavailable, where nobody helps to prove it.
        """
        self._snapshot = self._folded = None
        self._proven.reach(snapshot.size)
        folded = self._fold(snapshot.size)
        ledger = folded.ledger
        if ledger.frontier.root() != snapshot.root or ledger.app_hash() != app_hash:
            raise Unproven("snapshot.other_state", height=snapshot.height, size=snapshot.size)
        self._snapshot, self._folded = snapshot, folded

    def begin(self) -> None:
        """Make room for the judged snapshot. Raises: Unavailable."""
        self._store.begin_restoring()
        self._begins = self._store.founded().frontier.size
        self._next = 0

    def take(self, index: int, raw: bytes) -> bool:
        """Keep the next chunk; whether it was the last one, and the node is restored.

        Raises: Unproven, where the chunk is not what the log says: ask somebody else for it.
        """
        snapshot, folded = self._snapshot, self._folded
        if snapshot is None or folded is None or index != self._next:
            raise Broken("snapshot.order", wanted=self._next, got=index)
        first, end = snapshot.first(index), snapshot.ends[index]
        entries = self._check(first, end, raw)
        kept = entries[max(0, self._begins - first) :]  # What it was founded with is there already.
        self._store.keep_restored(end - len(kept), kept)
        self._next += 1
        if self._next < len(snapshot.ends):
            return False
        self._store.end_restoring(snapshot.height, folded)
        # POINT OF NO RETURN. Crash from here: the store opens at the snapshot's height.
        self._snapshot = self._folded = None
        return True

    def _fold(self, size: int) -> Folded:
        last: Unproven | Malformed | None = None
        for steps in self._proven.steps(size):
            ledger = self._store.founded()
            begins = ledger.frontier.size
            if begins > size:
                raise Unproven("snapshot.other_state", size=size)
            try:
                return fold(ledger, self._leaves(begins, size), steps)
            except (Unproven, Malformed) as err:  # That node's steps; another may know better.
                last = err
        raise last or Unproven("snapshot.policy_change", size=size)

    def _leaves(self, first: int, end: int) -> Iterator[bytes]:
        for at in range(first, end, LEAVES_AT_ONCE):
            yield from self._proven.leaves(at, min(end, at + LEAVES_AT_ONCE))

    def _check(self, first: int, end: int, raw: bytes) -> list[Restored]:
        try:
            carried = parse_chunk(raw)
        except Malformed as err:
            raise Unproven("snapshot.chunk", first=first, why=err.code) from err
        if [leaf for leaf, _ in carried] != self._proven.leaves(first, end):
            raise Unproven("snapshot.chunk", first=first, why="leaves")
        entries: list[Restored] = []
        here: set[bytes] = set()
        for index, item in enumerate(carried, first):
            entry = _open(item)
            named = _blob_named(item[0])
            known = self._store.blob_entry(named) if named is not None else None
            # Kept by an earlier try of this chunk, or what the store was founded with: the same.
            is_first = named is not None and named not in here and (known is None or known == index)
            if (entry.blob is not None) != is_first:
                raise Unproven("snapshot.chunk", first=first, why="blobs")
            if entry.blob is not None:
                here.add(entry.blob[0])
            entries.append(entry)
        return entries


def fold(ledger: Ledger, leaves: Iterable[bytes], steps: Steps) -> Folded:
    """The ledger after these leaves, each policy change proved by the head that both quorums
    signed. `ledger` is used up.

    Raises: Unproven, where the steps are not the log's; Malformed.
    """
    chain, notes = ledger.chain, dict(steps)
    before = policy_of(ledger.state, chain)
    changes: list[PolicyChange] = []
    for leaf in leaves:
        entry = parse_entry(leaf)
        accepted = apply(ledger.state, chain, entry.statement, entry.time_ms)
        if isinstance(accepted, RejectCode):
            raise Broken("snapshot.fold", index=ledger.frontier.size, why=accepted.code)
        ledger.state.commit(accepted.writes)
        ledger.frontier = ledger.frontier.append(leaf_hash(leaf))
        note = notes.get(ledger.frontier.size)
        if note is None:
            continue
        after = policy_of(ledger.state, chain)
        if after != before:
            changes.append(_proved_change(ledger, chain, note, (before, after)))
            before = after
    if policy_of(ledger.state, chain) != before:
        raise Unproven("snapshot.policy_change", size=ledger.frontier.size)
    return Folded(ledger, tuple(changes))


def _proved_change(
    ledger: Ledger, chain: ChainId, note: bytes, policies: tuple[Policy, Policy]
) -> PolicyChange:
    """Raises: Unproven."""
    size = ledger.frontier.size
    for policy in policies:
        head = verify_checkpoint(note, policy, origin=chain)
        if (head.size, head.root) != (size, ledger.frontier.root()):
            raise Unproven("snapshot.policy_change", size=size)
    return PolicyChange(size, policies[0].encode(), note)


def _open(item: Carried) -> Restored:
    """An entry whose leaf is proved; its blob is the one it names. Raises: Unproven."""
    leaf, blob = item
    envelope = parse_envelope(parse_entry(leaf).statement)
    if blob is None:
        return Restored(leaf, envelope.digest, None)
    digest = sha256(blob)
    if digest != _blob_named(leaf):
        raise Unproven("snapshot.chunk", why="blob")
    return Restored(leaf, envelope.digest, (digest, blob))


def _blob_named(leaf: bytes) -> bytes | None:
    body = parse_envelope(parse_entry(leaf).statement).body
    return body.blob_sha256 if isinstance(body, BLOB_KINDS) else None
