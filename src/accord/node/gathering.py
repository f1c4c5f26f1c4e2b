"""Cosignatures from many nodes, gathered over the heads of this node's own log.

Job: verify every line, merge those over our own roots, say when the quorums are there, and keep
what shows that somebody signed another root.
Not here: fetching (peers), our own cosigner (cosigning), disks and clocks.
Invariants: a note that comes out of here is over a root that this node computed itself, carries
only lines that verify, and satisfies every policy of its head; nobody else's root counts.
Source: docs/spec/log.md, docs/spec/consensus.md section 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from accord.node.cosigning import Cosigned
from accord.tlog.checkpoint import Checkpoint, parse_checkpoint
from accord.tlog.note import Note, NoteKey, SignatureLine, merge_lines, parse_note, verify_line
from accord.tlog.policy import Policy, verify_checkpoint
from accord.wire.errors import Unproven
from accord.wire.ids import ChainId
from accord.wire.limits import HEADS_GATHERED_MAX

RootAt = Callable[[int], bytes | None]  # Our own root at a size; None beyond our log.


@dataclass(frozen=True, slots=True)
class Split:
    """A cosigner's signature over another root than ours for a size: one of us two is wrong."""

    key: NoteKey
    size: int
    note: bytes


@dataclass(frozen=True, slots=True)
class Ahead:
    """A head beyond our own log: nothing can be said about it yet."""

    size: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a note brought: the size of a head that got a new line, or splits, or neither."""

    size: int | None = None
    splits: tuple[Split, ...] = ()


@dataclass(slots=True)
class _Head:
    text: bytes
    policies: tuple[Policy, ...]
    lines: dict[NoteKey, SignatureLine] = field(default_factory=dict)

    def keys(self) -> dict[tuple[str, bytes], NoteKey]:
        every = (witness.key for policy in self.policies for witness in policy.witnesses)
        return {(key.name, key.key_hash): key for key in every}


class Gathering:
    """The heads that wait for their quorum, and those just past it. One caller at a time."""

    def __init__(self, chain: ChainId, root_at: RootAt) -> None:
        self._chain = chain
        self._root_at = root_at
        self._heads: dict[int, _Head] = {}

    def expect(self, checkpoint: Checkpoint, policies: Sequence[Policy]) -> None:
        """A head of our own log, and the policies whose quorums it needs; sizes only grow."""
        if checkpoint.size not in self._heads:
            self._heads[checkpoint.size] = _Head(checkpoint.encode(), tuple(policies))
        while len(self._heads) > HEADS_GATHERED_MAX:
            self._heads.pop(min(self._heads))

    def add(self, raw: bytes) -> Taken | Ahead:
        """Take the lines of a note that another node hands over.

        Raises: Malformed; Unproven, for another chain or a line that does not verify: the source
        lies, and nothing of its note was taken.
        """
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        if checkpoint.origin != self._chain:
            raise Unproven("tlog.origin")
        root = self._root_at(checkpoint.size)
        if root is None:
            return Ahead(checkpoint.size)
        head = self._heads.get(checkpoint.size)
        if Checkpoint(self._chain, checkpoint.size, root).encode() != note.text:
            return Taken(splits=self._splits(note, checkpoint.size, raw))
        if head is None:
            return Taken()  # Long past, or never a head of ours.
        return Taken(checkpoint.size if self._merge(head, note) else None)

    def note(self, size: int) -> Cosigned | None:
        """The head of this size with all its lines, once every policy's quorum is among them."""
        head = self._heads.get(size)
        if head is None or not head.lines:
            return None
        lines = dict(sorted(head.lines.items()))
        note = Note(head.text, tuple(lines.values())).encode()
        for policy in head.policies:
            try:
                verify_checkpoint(note, policy, self._chain)
            except Unproven:
                return None
        return Cosigned(note, tuple(key.key.raw for key in lines))

    def have(self, size: int) -> int:
        """How many have signed the head of this size."""
        head = self._heads.get(size)
        return 0 if head is None else len(head.lines)

    def _merge(self, head: _Head, note: Note) -> bool:
        """Whether a line was new or later than the one there. Raises: Unproven."""
        keys = head.keys()
        fresh: dict[NoteKey, SignatureLine] = {}
        for line in note.lines:
            key = keys.get((line.name, line.key_hash))
            if key is not None:
                verify_line(line, note.text, key)
                fresh[key] = line
        changed = False
        for key, line in fresh.items():
            old = head.lines.get(key)
            merged = line if old is None else merge_lines(Note(head.text, (old,)), (line,)).lines[0]
            changed = changed or merged != old
            head.lines[key] = merged
        return changed

    def _splits(self, note: Note, size: int, raw: bytes) -> tuple[Split, ...]:
        """Who signed this other root, as far as we know their keys. Raises: Unproven."""
        keys: dict[tuple[str, bytes], NoteKey] = {}
        for head in self._heads.values():
            keys |= head.keys()
        found: list[Split] = []
        for line in note.lines:
            key = keys.get((line.name, line.key_hash))
            if key is not None:
                verify_line(line, note.text, key)
                found.append(Split(key, size, raw))
        return tuple(found)
