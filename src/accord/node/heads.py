"""This node's signed heads: its own cosigner's lines, those of others, and the quorum's notes.

Job: sign each head of the own log in order, gather, store a head once its quorums are there.
Not here: the network (peers), consensus (comet_engine), the cosigner's promise (tlog.cosigner).
Invariants: nothing is signed beyond a policy change whose head lacks its two quorums, or followers
could not get past it; heads that are stored only grow.
A crash anywhere forgets lines in memory only: each node signs its newest head again when it starts.
Source: docs/spec/log.md section 6, docs/spec/consensus.md section 4.
"""

import logging
from collections import deque
from collections.abc import Sequence

from accord.ledger.state import State
from accord.ledger.views import policy_of
from accord.node.cosigning import Cosigned, Cosigning
from accord.node.engine import Head
from accord.node.gathering import Ahead, Gathering, Split, Taken
from accord.node.store import Store
from accord.tlog.checkpoint import Checkpoint
from accord.tlog.merkle import root_at
from accord.tlog.note import Note, NoteKey
from accord.tlog.policy import Policy, freshness_ms, parse_policy, verify_checkpoint
from accord.wire.errors import Broken
from accord.wire.ids import ChainId
from accord.wire.limits import COSIGN_AGAIN_MS, HEADS_GATHERED_MAX

diagnostics = logging.getLogger(__name__)


class Heads:
    """One caller at a time; every method may write to disk."""

    def __init__(self, chain: ChainId, store: Store, cosigning: Cosigning, state: State) -> None:
        self._chain = chain
        self._store = store
        self._cosigning = cosigning
        self._gathering = Gathering(chain, self._root_at)
        self._policy = policy_of(state, chain)
        changes = store.policy_changes()
        self._before = {size: parse_policy(text) for size, text, _ in changes}
        self._unsigned = {size for size, _, is_signed in changes if not is_signed}
        self._waiting: deque[int] = deque()
        self._gate: int | None = None
        self._signed: tuple[int, int] | None = None  # Size and time of our last line.
        self._dirty: set[int] = set()
        self._stored = -1
        self._split_keys: dict[int, set[NoteKey]] = {}
        for size in sorted({*self._unsigned, store.size}):
            self._await(size)

    def stored(self, now_s: int) -> Head | None:
        """The newest head on disk; None before the first."""
        found = self._store.head()
        if found is None:
            return None
        self._stored = found[0]
        return self._as_head(found[0], found[1], now_s)

    def grew(self, size: int, state: State, policy_before: bytes | None) -> None:
        """A block was committed that ends at `size`."""
        if policy_before is not None:
            self._before[size] = parse_policy(policy_before)
            self._unsigned.add(size)
            self._policy = policy_of(state, self._chain)
        self._await(size)

    def sign_next(self, now_s: int) -> bytes | None:
        """Our cosigner's line under the next head, as a note; None where there is nothing to sign
        now, or our cosigner abstains. Raises: Broken, where its memory is.
        """
        size = self._next(now_s)
        if size is None:
            return None
        checkpoint = Checkpoint(self._chain, size, self._must_root(size))
        lines = self._cosigning.sign(checkpoint, self._policies(size), now_s)
        if not lines:
            if not self._waiting and self._gate is None:
                self._waiting.append(size)  # Perhaps its disk has room again next time.
            return None
        self._signed = (size, now_s)
        raw = Note(checkpoint.encode(), tuple(line for _, line in lines)).encode()
        self._note(self._gathering.add(raw))
        return raw

    def take(self, raw: bytes) -> Taken | Ahead:
        """What another node's note brings. Raises: Malformed, Unproven; Broken, where more than a
        third of the agencies signed another root than ours: we are not where they are.
        """
        taken = self._gathering.add(raw)
        self._note(taken)
        return taken

    def publish(self, now_s: int, *, improve: bool) -> Head | None:
        """Store what has its quorums; the newest head if it moved. With `improve` also more lines
        under the head that is already there.
        """
        ready: list[tuple[int, Cosigned]] = []
        for size in sorted(self._dirty):
            if size == self._stored and not improve and size not in self._unsigned:
                continue
            self._dirty.discard(size)  # The next line marks it again.
            cosigned = self._gathering.note(size)
            if cosigned is not None and (size >= self._stored or size in self._unsigned):
                ready.append((size, cosigned))
        for size, cosigned in ready:
            if size in self._unsigned or size == ready[-1][0]:
                self._store.publish(size, cosigned.note, cosigned.signers)
                # POINT OF NO RETURN. Crash from here: the next start finds this head.
                self._unsigned.discard(size)
        return self.stored(now_s) if ready else None

    def recall(self, raw: bytes) -> None:
        """As `Cosigning.recall`."""
        self._cosigning.recall(raw)

    def blocked_at(self) -> int | None:
        """The policy change whose head we signed and that still lacks a quorum."""
        return self._gate if self._gate in self._unsigned else None

    def _await(self, size: int) -> None:
        self._gathering.expect(
            Checkpoint(self._chain, size, self._must_root(size)), self._policies(size)
        )
        self._waiting.append(size)
        while len(self._waiting) > HEADS_GATHERED_MAX:
            oldest = next((s for s in self._waiting if s not in self._unsigned), None)
            if oldest is None:
                return
            self._waiting.remove(oldest)

    def _next(self, now_s: int) -> int | None:
        """The size to sign now, in order; a change holds up what follows it."""
        if self._gate is not None and self._gate not in self._unsigned:
            self._gate = None
        last = self._signed
        is_due = last is not None and now_s - last[1] >= COSIGN_AGAIN_MS // 1000
        if self._gate is not None:
            return self._gate if is_due or last is None or last[0] != self._gate else None
        if self._waiting:
            size = self._waiting.popleft()
            self._gate = size if size in self._unsigned else None
            return size
        return last[0] if is_due and last is not None else None

    def _policies(self, size: int) -> Sequence[Policy]:
        after = self._policy_at(size)
        return (self._before[size], after) if size in self._unsigned else (after,)

    def _policy_at(self, size: int) -> Policy:
        later = [at for at in self._before if at > size]
        return self._before[min(later)] if later else self._policy

    def _as_head(self, size: int, note: bytes, now_s: int) -> Head:
        policy = self._policy_at(size)
        verified = verify_checkpoint(note, policy, self._chain)
        age_ms = freshness_ms(verified, policy, now_s * 1000)
        return Head(size, note, policy.encode(), now_s - age_ms // 1000)

    def _note(self, taken: Taken | Ahead) -> None:
        if isinstance(taken, Ahead):
            return
        if taken.size is not None:
            self._dirty.add(taken.size)
        for split in taken.splits:
            self._record(split)

    def _record(self, split: Split) -> None:
        """Keep the proof; stop where so many contradict us that at least one of them is honest."""
        diagnostics.error("cosigner %s signed another root for %s", split.key.name, split.size)
        self._store.keep_split(split.key.key.raw, split.size, split.note)
        keys = self._split_keys.setdefault(split.size, set())
        keys.add(split.key)
        # Of those who must sign this head: who is no member any more halts nobody.
        signers = {witness.key for witness in self._policy_at(split.size).witnesses}
        others = len(keys & signers)
        if others > (len(signers) - 1) // 3:
            raise Broken("node.diverged", size=split.size, others=others, of=len(signers))

    def _root_at(self, size: int) -> bytes | None:
        return root_at(self._store, size) if size <= self._store.size else None

    def _must_root(self, size: int) -> bytes:
        root = self._root_at(size)
        if root is None:
            raise Broken("node.head_gone", size=size)
        return root
