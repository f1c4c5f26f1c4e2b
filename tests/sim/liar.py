"""A byzantine agency: it has its real keys and knows everything that was ever said. It runs no
node; whoever asks it gets lies, each asker others.
"""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from accord.client.home import PrivateKey
from accord.ledger.views import cosigner_key
from accord.node.store import Misbehaviour
from accord.statements.bodies import Publish, Role
from accord.statements.entries import parse_entry
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_envelope,
    parse_transaction,
)
from accord.tlog.checkpoint import Checkpoint, parse_checkpoint
from accord.tlog.note import Note, cosign_text, parse_note
from accord.tlog.tiles import encode_bundle, parse_bundle, parse_tile_path
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX
from consortium_kit import CHAIN
from sim.oracle import spied
from sim.sequencer import Block, address_of

if TYPE_CHECKING:
    from sim.world import World

LIE_BYTES_MAX = 300


class Liar:
    """One lying agency: as cosigner, as validator, as server, as member."""

    def __init__(self, world: "World", name: MemberId) -> None:
        self.world = world
        self.name = name
        keys = {key.role: key for key in world.keys[name]}
        self._private: PrivateKey = spied(keys[Role.COSIGNER], world.oracle.hears(name))
        self._key = cosigner_key(CHAIN, name, self._private.public)
        self._address = address_of(keys[Role.CONSENSUS].public)
        self._confession: list[Misbehaviour] = []

    # As a cosigner: its key signs whatever it likes.

    def cosign(self, size: int, root: bytes) -> bytes:
        text = Checkpoint(CHAIN, size, root).encode()
        time_s = self.world.now_ms() // 1000 + self.world.rng.randint(-200, 200)
        line = cosign_text(text, self._key, time_s, self._private.sign)
        return Note(text, (line,)).encode()

    def note(self) -> bytes:
        """A head that should count for nothing, or for one true line."""
        rng, oracle = self.world.rng, self.world.oracle
        size = rng.choice([len(oracle.leaves), rng.randint(1, len(oracle.leaves) + 5)])
        heads = self.world.heads
        match rng.randint(0, 6):
            case 0 | 1:  # It does not always lie.
                size = min(size, len(oracle.leaves))
                return self.cosign(size, oracle.roots[size])
            case 2:  # Another log, for whoever asks.
                return self.cosign(size, rng.randbytes(32))
            case 3 if heads:  # The others' lines under another head.
                real = parse_note(rng.choice(heads))
                head = replace(parse_checkpoint(real.text), root=rng.randbytes(32))
                return Note(head.encode(), real.lines).encode()
            case 4 if heads:  # A real head, a bit of it turned.
                return self.bend(rng.choice(heads))
            case 5 if heads:  # A real head of old.
                return rng.choice(heads)
        return rng.randbytes(rng.randint(0, LIE_BYTES_MAX))

    def bend(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        bent = bytearray(raw)
        bent[self.world.rng.randrange(len(bent))] ^= 1 << self.world.rng.randrange(8)
        return bytes(bent)

    # As a node.

    async def serve(self, caller: str, path: str, params: dict[str, int]) -> bytes:
        del caller, params
        if path == "/cosignatures":
            notes = [
                self.note().decode(errors="replace") for _ in range(self.world.rng.randint(0, 3))
            ]
            return json.dumps({"notes": notes}).encode()
        return self.read(path)

    def read(self, path: str) -> bytes:
        """A lie, the truth with a bit turned, or nothing: blobs and leaves may be withheld."""
        world, rng = self.world, self.world.rng
        world.count("lie")
        if path == "/checkpoint" and world.heads and rng.random() < 0.4:
            return world.heads[-1]  # The truth, to lie about what is under it.
        if path.startswith(("/checkpoint", "/transition/")):
            return self.note()
        if path == "/transitions":
            return json.dumps(sorted(rng.sample(range(100), 3))).encode()
        if rng.random() < 0.2:
            raise Unavailable("peer.status", url=self.name, status=404)
        honest = [node for node in world.nodes.values() if node.is_up]
        if not honest or rng.random() < 0.1:
            return rng.randbytes(rng.randint(0, LIE_BYTES_MAX))
        try:
            real = rng.choice(honest).read(path)
        except Malformed:
            return b""
        if path.startswith("/tile/entries/") and rng.random() < 0.7:
            return self._at_another_time(real, parse_tile_path(path[1:]).width)
        return self.bend(real) if rng.random() < 0.6 else real

    def _at_another_time(self, bundle: bytes, width: int) -> bytes:
        """Leaves that every fold accepts, and that nobody signed: the last one said later."""
        *leaves, last = parse_bundle(bundle, width)
        entry = parse_entry(last)
        return encode_bundle([*leaves, replace(entry, time_ms=TimeMs(entry.time_ms + 1)).encode()])

    async def submit(self, raw: bytes) -> int:
        """It says yes and passes nothing on; nobody honest asks it."""
        del raw
        return 0

    # As a validator.

    def propose(self, height: int) -> Block | None:
        """A block that no honest node may accept, a good one, or none."""
        world, rng, oracle = self.world, self.world.rng, self.world.oracle
        waiting = [raw for process in world.processes() for raw in process.mempool]
        chosen = list(dict.fromkeys(waiting))[: rng.randint(0, 3)]
        if rng.random() < 0.3:
            return None
        bad = self._bad_transactions(chosen)
        if rng.random() < 0.8:
            chosen[rng.randint(0, len(chosen)) :] = bad
            world.count("bad block")
        self._confession.append(
            Misbehaviour("duplicate-vote", self._address, self.name, height, TimeMs(0))
        )
        return Block(height, world.chain.block_time(), tuple(chosen), oracle.hashes[-1], ())

    def _bad_transactions(self, waiting: list[bytes]) -> list[bytes]:
        world, rng = self.world, self.world.rng
        old = [raw for block in world.chain.blocks for raw in block.raws]
        good = rng.choice(waiting) if waiting else world.speech.publish(self.name)
        match rng.randint(0, 6):
            case 0 if old:  # A replay.
                return [rng.choice(old)]
            case 1:  # The same twice.
                return [good, good]
            case 2:  # A bit turned, perhaps the blob's.
                return [self.bend(good)]
            case 3:  # Another blob than the leaf's, or none.
                return [self._with_foreign_blob(rng.random() < 0.5)]
            case 4:  # Too many.
                return [rng.randbytes(8)] * (BLOCK_TRANSACTIONS_MAX + 1)
            case 5:  # Too much.
                return [bytes(BLOCK_BYTES_MAX)]
        return [rng.randbytes(rng.randint(0, LIE_BYTES_MAX))]

    def _with_foreign_blob(self, withheld: bool) -> bytes:
        own = parse_transaction(self.world.speech.publish(self.name))
        other = parse_transaction(self.world.speech.publish(self.name))
        assert isinstance(parse_envelope(own.envelope).body, Publish)
        return encode_transaction(Transaction(own.envelope, None if withheld else other.blob))

    def confess(self) -> tuple[Misbehaviour, ...]:
        """The double votes that the others caught it at since they were last asked."""
        caught, self._confession = tuple(self._confession), []
        return caught

    # As a member.

    def statement(self) -> bytes:
        """Something to submit that nobody should take, or should take once."""
        world, rng = self.world, self.world.rng
        old = [raw for block in world.chain.blocks for raw in block.raws]
        good = world.speech.say(self.name)
        match rng.randint(0, 4):
            case 0:
                return good
            case 1 if old:
                return rng.choice(old)
            case 2:
                return self.bend(good)
            case 3:
                return self._with_foreign_blob(rng.random() < 0.5)
        return rng.randbytes(rng.randint(0, LIE_BYTES_MAX))
