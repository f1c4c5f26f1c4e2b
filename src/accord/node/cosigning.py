"""Cosigning: every agency whose home is here signs the heads of this node's log.

Job: find the cosigner keys, hand each its own consistency proof, gather the lines.
Refuses: a head that the quorums asked for did not sign.
Each agency's promise (never two roots for one size, never a smaller size) is kept in its own
home, `cosigner.state`, by `accord.tlog.cosigner`.
Source: docs/spec/log.md section 6.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.client.files import write_durably
from accord.client.home import HOME_FILE, Home, PrivateKey, open_home
from accord.ledger.views import cosigner_key
from accord.node.store import LogReader
from accord.statements.bodies import Role
from accord.tlog.checkpoint import Checkpoint
from accord.tlog.cosigner import Cosigner, CosignerState, parse_cosigner_state
from accord.tlog.merkle import prove_consistency
from accord.tlog.note import Note, NoteKey, SignatureLine
from accord.tlog.policy import Policy, verify_checkpoint
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId

STATE_FILE = "cosigner.state"
Homes = Callable[[], Sequence[Home]]

diagnostics = logging.getLogger(__name__)


class StateFile:
    """A `CosignerStore` in an agency's home.

    `signed` is the size of a head that the node holds this cosigner's signature for: a state that
    is gone, or older than that, came from a backup and must not sign.
    """

    def __init__(self, path: Path, origin: str, signed: int | None) -> None:
        self._path = path
        self._origin = origin
        self._signed = signed

    def load(self) -> CosignerState | None:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            if self._signed is not None:
                raise Broken("cosigner.state_gone", mend="a new cosigner key by keyset") from None
            return None
        except OSError as err:
            raise Unavailable("cosigner.store") from err
        try:
            state = parse_cosigner_state(raw, self._origin)
        except Malformed as err:
            raise Broken("cosigner.state_damaged", mend="a new cosigner key by keyset") from err
        if state.size < (self._signed or 0):
            raise Broken("cosigner.state_older", have=state.size, signed=self._signed or 0)
        return state

    def persist(self, state: CosignerState) -> None:
        try:
            write_durably(self._path, state.encode(self._origin))
        except OSError as err:
            raise Unavailable("cosigner.store") from err
        self._signed = max(state.size, self._signed or 0)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A note that satisfies every policy asked for, and the public keys that signed it."""

    note: bytes
    signers: tuple[bytes, ...]


class Cosigning:
    """The cosigners at hand. One caller at a time; `homes` is asked again when a key is missing."""

    def __init__(self, chain: ChainId, homes: Homes, log: LogReader) -> None:
        self._chain = chain
        self._homes = homes
        self._log = log
        self._local: dict[NoteKey, tuple[Cosigner, PrivateKey]] = {}

    def cosign(
        self,
        checkpoint: Checkpoint,
        required: Sequence[Policy],
        asked: Sequence[Policy],
        now_s: int,
    ) -> Cosigned:
        """The checkpoint signed by all local cosigners that `asked` names, seen to satisfy each
        of `required`.

        Raises: Unavailable, where a quorum is not there; Broken, where a cosigner's memory is.
        """
        text = checkpoint.encode()
        signed = self.sign(checkpoint, asked, now_s)
        lines = [line for _, line in signed]
        signers = [key.key.raw for key, _ in signed]
        if not lines:
            raise Unavailable("node.no_quorum", have=0)
        note = Note(text, tuple(lines)).encode()
        for policy in required:
            try:
                verify_checkpoint(note, policy, self._chain)
            except Unproven as err:
                raise Unavailable("node.no_quorum", **err.detail) from err
        return Cosigned(note, tuple(signers))

    def sign(
        self, checkpoint: Checkpoint, asked: Sequence[Policy], now_s: int
    ) -> list[tuple[NoteKey, SignatureLine]]:
        """The lines of those local cosigners that `asked` names and that do not abstain.

        Raises: Broken, where a cosigner's memory is.
        """
        wanted = sorted({witness.key for policy in asked for witness in policy.witnesses})
        if any(key not in self._local for key in wanted):
            self._local |= self._open()
        text = checkpoint.encode()
        lines = ((key, self._line(key, checkpoint, text, now_s)) for key in wanted)
        return [(key, line) for key, line in lines if line is not None]

    def recall(self, raw: bytes) -> None:
        """Look at a head that another node holds, before the first signature after a start.

        Raises: Broken, where a local cosigner signed it and does not remember; Malformed, Unproven,
        for a note that shows nothing.
        """
        self._local |= self._open()
        for cosigner, _ in self._local.values():
            cosigner.recall(raw)

    def _line(
        self, key: NoteKey, checkpoint: Checkpoint, text: bytes, now_s: int
    ) -> SignatureLine | None:
        """This cosigner's line, or None if it is not here or abstains."""
        if key not in self._local:
            return None
        cosigner, private = self._local[key]
        try:
            old = min(cosigner.state().size, checkpoint.size)
            proof = prove_consistency(self._log, old, checkpoint.size)
            return cosigner.cosign(text, proof, now_s, private.sign)
        except (Unavailable, Unproven) as err:
            diagnostics.warning("cosigner %s abstains: %s", key.name, err)
            return None

    def _open(self) -> Mapping[NoteKey, tuple[Cosigner, PrivateKey]]:
        found: dict[NoteKey, tuple[Cosigner, PrivateKey]] = {}
        for home in self._homes():
            for private in home.keys:
                if private.role is not Role.COSIGNER or home.chain != self._chain:
                    continue
                key = cosigner_key(self._chain, home.member, private.public)
                if key in self._local:
                    continue
                signed = self._log.cosigned(private.public)
                store = StateFile(home.path / STATE_FILE, self._chain, signed)
                found[key] = (Cosigner(self._chain, key, store), private)
        return found


def homes_beside(directory: Path, chain: ChainId) -> tuple[Home, ...]:
    """The agencies' homes that stand beside a node's directory. Raises: Malformed, Unproven."""
    files = sorted(directory.resolve().parent.glob(f"*/{HOME_FILE}"))
    homes = (open_home(file.parent) for file in files)
    return tuple(home for home in homes if home.kind == "agency" and home.chain == chain)
