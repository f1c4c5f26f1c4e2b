"""The engine's questions about snapshots, answered: what we offer, and what we make of others'.

Job: translate between the engine's messages and `snapshots` and `restoring`; keep in mind where
chunks end.
Not here: what is believed (restoring), protobuf's framing (abci_server).
A liar costs time only: a chunk that is not the log's is asked for elsewhere and its sender is not
asked again; a snapshot that is not the log's is passed over.
Source: docs/spec/consensus.md section 9; CometBFT v0.39.4, spec/abci, State Sync.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from accord.node.abci_proto import (
    ABORT,
    ACCEPT,
    REJECT_FORMAT,
    REJECT_SENDER,
    REJECT_SNAPSHOT,
    RETRY_CHUNK,
)
from accord.node.restoring import Restoring
from accord.node.snapshots import (
    FORMAT,
    Snapshot,
    encode_chunk,
    grow_ends,
    offered_heights,
    parse_snapshot,
)
from accord.node.store import LogReader
from accord.wire.errors import Malformed, Unavailable, Unproven

KNOWN_MAX: Final = 16  # Snapshots whose chunk ends are kept in memory.

T = TypeVar("T")
Run = Callable[[Callable[[], T]], Awaitable[T]]
diagnostics = logging.getLogger(__name__)


class Shelf:
    """The snapshots that a store can serve. One caller at a time."""

    def __init__(self, log: LogReader, interval: int) -> None:
        self._log = log
        self._interval = interval
        self._known: dict[int, Snapshot] = {}

    def heights(self) -> tuple[int, ...]:
        """What is offered, newest first."""
        heights = offered_heights(self._log.height, self._interval)
        return tuple(h for h in heights if (self._log.head_of_block(h) or (0,))[0])

    def offered(self) -> list[Snapshot]:
        return [snapshot for h in self.heights() if (snapshot := self.find(h)) is not None]

    def find(self, height: int) -> Snapshot | None:
        """The snapshot of a height, also of one that is offered no more; None of an empty log."""
        if not self._interval or height % self._interval or height < 1:
            return None
        if height not in self._known:
            found = self._log.head_of_block(height)
            if found is None or not found[0]:
                return None
            size, root = found
            ends = self._ends(size)
            while len(self._known) >= KNOWN_MAX:
                del self._known[min(self._known)]
            self._known[height] = Snapshot(height, size, root, ends)
        return self._known[height]

    def chunk(self, height: int, index: int) -> bytes | None:
        """The bytes of a chunk; None where there is none of that number."""
        snapshot = self.find(height)
        if snapshot is None or index >= len(snapshot.ends):
            return None
        return encode_chunk(self._log.carried(snapshot.first(index), snapshot.ends[index]))

    def _ends(self, size: int) -> tuple[int, ...]:
        """From the largest smaller snapshot on: all its chunks but the last are this one's too."""
        smaller = [item for item in self._known.values() if item.size <= size]
        ends = max(smaller, key=lambda item: item.size).ends if smaller else ()
        first = ends[-2] if len(ends) > 1 else 0
        return grow_ends(ends, self._log.entry_sizes(first, size))


class StateSync:
    """Answers the four requests. `run` does what takes long on the one writer's thread."""

    def __init__(
        self,
        shelf: Shelf,
        restoring: Restoring | None,
        run: "Run[Any]",
        moved: Callable[[], Awaitable[None]],
    ) -> None:
        """`restoring` is there while the node still may join by a snapshot; `moved` is awaited
        when the store began anew or was restored.
        """
        self._shelf = shelf
        self._restoring = restoring
        self._run = run
        self._moved = moved

    async def answer(self, kind: str, ask: Any, answer: Any) -> None:  # noqa: ANN401 - protobuf.
        """Raises: Broken; Unavailable, where the own store fails."""
        match kind:
            case "list_snapshots":
                for item in await self._run(self._shelf.offered):
                    answer.snapshots.add(
                        height=item.height,
                        format=FORMAT,
                        chunks=len(item.ends),
                        hash=item.digest(),
                        metadata=item.metadata(),
                    )
            case "load_snapshot_chunk":
                if ask.format == FORMAT:
                    height, index = ask.height, ask.chunk
                    answer.chunk = await self._run(lambda: self._shelf.chunk(height, index)) or b""
            case "offer_snapshot":
                answer.result = await self._offered(ask.snapshot, ask.app_hash)
            case _:
                await self._chunk(ask, answer)

    async def _offered(self, offer: Any, app_hash: bytes) -> int:  # noqa: ANN401 - protobuf.
        restoring = self._restoring
        if restoring is None:
            return ABORT
        if offer.format != FORMAT:
            return REJECT_FORMAT
        try:
            snapshot = parse_snapshot(offer.height, offer.chunks, offer.hash, offer.metadata)
        except Malformed as err:
            diagnostics.error("an offered snapshot does not parse: %s", err)
            return REJECT_SENDER
        try:
            await self._run(lambda: restoring.judge(snapshot, app_hash))
        except (Unproven, Unavailable, Malformed) as err:
            diagnostics.error("the snapshot of height %s is passed over: %s", snapshot.height, err)
            return REJECT_SNAPSHOT
        await self._run(restoring.begin)
        await self._moved()
        return ACCEPT

    async def _chunk(self, ask: Any, answer: Any) -> None:  # noqa: ANN401 - protobuf.
        restoring = self._restoring
        if restoring is None:
            answer.result = ABORT
            return
        try:
            is_last = await self._run(lambda: restoring.take(ask.index, ask.chunk))
        except Unproven as err:
            diagnostics.error(
                "chunk %s of %s is asked for elsewhere: %s", ask.index, ask.sender, err
            )
            answer.result = RETRY_CHUNK
            answer.refetch_chunks.append(ask.index)
            answer.reject_senders.append(ask.sender)
            return
        answer.result = ACCEPT
        if is_last:
            await self._moved()
