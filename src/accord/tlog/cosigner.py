"""An agency's cosigner: it promises that a log only grows, and keeps the promise across crashes.

Order, always: check, persist, sign. A crash before the store has answered leaves nothing promised;
a crash after it leaves a head stored that nobody saw signed, which is signed when asked again.
Not here: gathering cosignatures (node), private keys (a callable), the clock (an argument).
Invariants, for the life of a store: never two roots for one size, never a smaller size after a
larger one, never an earlier time after a later one.
Source: https://c2sp.org/tlog-cosignature, docs/spec/log.md section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from accord.tlog.checkpoint import Checkpoint, parse_checkpoint
from accord.tlog.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from accord.tlog.note import (
    Algorithm,
    NoteKey,
    Sign,
    SignatureLine,
    cosign_text,
    parse_note,
    verify_line,
)
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from accord.wire.limits import LOG_SIZE_MAX

STATE_BYTES: Final = 8 + HASH_BYTES + 8 + HASH_BYTES


@dataclass(frozen=True, slots=True)
class CosignerState:
    """The last head a cosigner bound itself to, and when. Units: seconds since 1970 UTC."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    time_s: int = 0

    def encode(self, origin: str) -> bytes:
        """Shape: size (8 bytes big-endian), root (32), time (8), and a digest over origin and
        these (32) that gives a torn or foreign record away.
        """
        body = self.size.to_bytes(8, "big") + self.root + self.time_s.to_bytes(8, "big")
        return body + labelled_sha256("cosigner-state", origin.encode(), body)


def parse_cosigner_state(raw: bytes, origin: str) -> CosignerState:
    """Shape: as `CosignerState.encode`. Raises: Malformed, for a torn record as for any other."""
    if len(raw) != STATE_BYTES:
        raise Malformed("tlog.cosigner_state", bytes=len(raw))
    size, time_s = int.from_bytes(raw[:8], "big"), int.from_bytes(raw[40:48], "big")
    state = CosignerState(size, raw[8:40], time_s)
    if size > LOG_SIZE_MAX or time_s > LOG_SIZE_MAX or state.encode(origin) != raw:
        raise Malformed("tlog.cosigner_state")
    return state


class CosignerStore(Protocol):
    """Where one cosigner's state lives. One caller at a time; never shared by two cosigners, never
    restored from a backup older than the last signature.
    """

    def load(self) -> CosignerState | None:
        """The state persisted last, or, after a `persist` that raised, possibly the one before.
        None only for a store that has never been written; a record that is gone or does not parse
        raises Broken, because a cosigner that forgot must not sign again. Raises: Unavailable.
        """
        ...

    def persist(self, state: CosignerState) -> None:
        """Keep the state; on return it survives power loss. Repeating it changes nothing.
        Raises: Unavailable; the state may or may not be stored then.
        """
        ...


class Cosigner:
    """Signs heads of one log, each consistent with all it signed before."""

    __slots__ = ("_key", "_origin", "_store")

    def __init__(self, origin: str, key: NoteKey, store: CosignerStore) -> None:
        if key.algorithm is not Algorithm.COSIGNATURE_V1:
            raise Broken("tlog.signer", algorithm=key.algorithm)
        self._origin = origin
        self._key = key
        self._store = store

    def state(self) -> CosignerState:
        """Where a consistency proof must start from. Raises: Unavailable, Broken."""
        return self._store.load() or CosignerState()

    def recall(self, raw: bytes) -> None:
        """Look at a head that somebody else holds, before the first signature after a start. A disk
        that was restored whole, the node's store with it, knows nothing of what was signed since;
        other agencies' nodes do.

        Raises: Broken with `cosigner.state_older`, where our own key signed what is not remembered;
        Malformed, Unproven, for a note that shows nothing: its source errs or lies, we go on.
        """
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        if checkpoint.origin != self._origin:
            raise Unproven("tlog.origin")
        state = self.state()
        for line in note.lines:
            said = verify_line(line, note.text, self._key) if line.is_by(self._key) else None
            if said is None:
                continue
            is_forked = checkpoint.size == state.size and checkpoint.root != state.root
            if is_forked or checkpoint.size > state.size or said.time_s > state.time_s:
                raise Broken("cosigner.state_older", have=state.size, signed=checkpoint.size)

    def cosign(self, text: bytes, proof: Sequence[bytes], now_s: int, sign: Sign) -> SignatureLine:
        """This cosigner's line under the checkpoint `text`.

        `proof` is the consistency proof from `state().size`; empty for the same head again and
        for the first head of all. Signing a head again with a later time is how a log shows that
        it is not frozen.
        Raises: Malformed; Unproven, with nothing signed and nothing stored (`tlog.origin`,
        `tlog.rollback`, `tlog.split_view`, `tlog.consistency`); Unavailable, where the store did
        not answer or the clock is behind the last signature: ask again; Broken.
        """
        checkpoint = parse_checkpoint(text)
        # The store is read each time: after a write that failed, memory would be a guess.
        state = self.state()
        self._check(checkpoint, state, proof)
        if not state.time_s <= now_s <= LOG_SIZE_MAX:
            raise Unavailable("tlog.clock", behind_s=state.time_s - now_s)
        # Crash up to here: nothing was promised.
        self._store.persist(CosignerState(checkpoint.size, checkpoint.root, now_s))
        # POINT OF NO RETURN. Crash from here: the store holds the head; it is signed when asked.
        return cosign_text(text, self._key, now_s, sign)

    def _check(self, checkpoint: Checkpoint, state: CosignerState, proof: Sequence[bytes]) -> None:
        if checkpoint.origin != self._origin:
            raise Unproven("tlog.origin")
        if checkpoint.extensions:  # This cosigner answers for the tree and says nothing else.
            raise Malformed("tlog.extension", lines=len(checkpoint.extensions))
        if checkpoint.size < state.size:
            raise Unproven("tlog.rollback", have=state.size, got=checkpoint.size)
        if checkpoint.size == state.size and checkpoint.root != state.root:
            raise Unproven("tlog.split_view", size=state.size)
        if state.size in (0, checkpoint.size):  # Nothing to prove, so no proof.
            if proof:
                raise Unproven("tlog.consistency", old=state.size, new=checkpoint.size)
            return
        verify_consistency(state.size, state.root, checkpoint.size, checkpoint.root, proof)
