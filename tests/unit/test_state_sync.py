"""Snapshots through the application's socket, as the engine asks: offered, loaded, judged."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import bytes_kit
from accord.node import snapshots
from accord.node.abci_app import App
from accord.node.abci_proto import (
    ABORT,
    ACCEPT,
    REJECT_FORMAT,
    REJECT_SENDER,
    REJECT_SNAPSHOT,
    RETRY_CHUNK,
    Request,
    Response,
)
from accord.node.abci_server import AbciServer
from accord.node.restoring import Proven, Restoring
from accord.node.state_sync import Shelf, StateSync
from accord.node.store import Store
from snapshot_kit import History, ProvenLog, empty_store

LIAR, HONEST = "aa" * 20, "bb" * 20
EVERY = 2


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_CHUNK_BYTES_MAX", 2_000)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    made = History(tmp_path_factory.mktemp("history") / "one.db").open_epochs().publish(20, "a")
    return made.rotate_cosigner("ie-two", 2).publish(30, "b").idle(3)


@dataclass
class Door:
    """A node's application behind its socket, over this store."""

    store: Store
    proven: Proven | None = None
    halted: list[BaseException] = field(default_factory=list)
    anew: int = 0

    def __post_init__(self) -> None:
        self.app = App(self.store.ledger(), self.store.height, self.store.time_ms)
        restoring = None if self.proven is None else Restoring(self.store, self.proven)
        self.sync = StateSync(Shelf(self.store, EVERY), restoring, self._run, self._moved)

    async def _run(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives.
        return work()

    async def _moved(self) -> None:
        self.anew += 1
        self.app = App(self.store.ledger(), self.store.height, self.store.time_ms)

    async def _commit(self) -> None:
        self.app.committed()

    def talk(self, work: Callable[["Ask"], Awaitable[None]]) -> None:
        async def main() -> None:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "abci.sock"
                server = AbciServer(
                    lambda: self.app,
                    self._commit,
                    lambda _: True,
                    self.halted.append,
                    self.sync.answer,
                )
                await server.start(path)
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    await work(Ask(reader, writer))
                finally:
                    writer.close()
                    await server.close()
                    await asyncio.sleep(0)

        asyncio.run(main())


@dataclass
class Ask:
    """The engine's side of the socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __call__(self, kind: str, fill: Callable[[Any], object] = lambda _: None) -> Any:  # noqa: ANN401
        request = Request()
        message = getattr(request, kind)
        message.SetInParent()
        fill(message)
        raw = request.SerializeToString()
        self.writer.write(_uvarint(len(raw)) + raw)
        size = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        response = Response.FromString(await self.reader.readexactly(size))
        return getattr(response, response.WhichOneof("value"))

    async def offer(self, snapshot: Any, app_hash: bytes) -> int:  # noqa: ANN401
        def fill(message: Any) -> None:  # noqa: ANN401
            message.snapshot.CopyFrom(snapshot)
            message.app_hash = app_hash

        return int((await self("offer_snapshot", fill)).result)

    async def load(self, height: int, chunk: int, form: int = snapshots.FORMAT) -> bytes:
        def fill(message: Any) -> None:  # noqa: ANN401
            message.height, message.format, message.chunk = height, form, chunk

        return bytes((await self("load_snapshot_chunk", fill)).chunk)

    async def apply(self, index: int, chunk: bytes, sender: str) -> Any:  # noqa: ANN401
        def fill(message: Any) -> None:  # noqa: ANN401
            message.index, message.chunk, message.sender = index, chunk, sender

        return await self("apply_snapshot_chunk", fill)


def _uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def served(history: History) -> tuple[list[Any], dict[int, list[bytes]]]:
    """What an honest node offers, and the chunks of each height."""
    offers: list[Any] = []
    chunks: dict[int, list[bytes]] = {}

    async def work(ask: Ask) -> None:
        offers.extend((await ask("list_snapshots")).snapshots)
        for item in offers:
            chunks[item.height] = [await ask.load(item.height, at) for at in range(item.chunks)]
            assert await ask.load(item.height, item.chunks) == b""
            assert await ask.load(item.height, 0, snapshots.FORMAT + 1) == b""
        assert await ask.load(offers[0].height + 1, 0) == b""
        assert await ask.offer(offers[0], bytes(32)) == ABORT, "it has a log of its own"
        assert (await ask.apply(0, b"", HONEST)).result == ABORT

    door = Door(history.store)
    door.talk(work)
    assert door.halted == []
    return offers, chunks


def test_a_node_joins_by_what_another_serves(history: History, tmp_path: Path) -> None:
    offers, chunks = served(history)
    assert [item.height for item in offers] == list(history.shelf(EVERY).heights())
    newest = offers[0]
    app_hash = history.store.block(newest.height).app_hash
    door = Door(empty_store(history, tmp_path / "two.db"), history.proven())

    async def work(ask: Ask) -> None:
        assert await ask.offer(newest, app_hash) == ACCEPT
        assert (await ask("info")).last_block_height == 0
        for index, chunk in enumerate(chunks[newest.height]):
            assert (await ask.apply(index, chunk, HONEST)).result == ACCEPT
        info = await ask("info")
        assert (info.last_block_height, info.last_block_app_hash) == (newest.height, app_hash)
        assert info.app_version == 1, "or the engine does not believe that it is restored"

    door.talk(work)
    assert (door.anew, door.halted) == (2, [])
    door.store.close()


def test_a_liar_costs_time_only(history: History, tmp_path: Path) -> None:
    offers, chunks = served(history)
    newest, older = offers[:2]
    app_hash = history.store.block(newest.height).app_hash
    proven = ProvenLog(history.world.leaves, [[], list(history.notes)])
    door = Door(empty_store(history, tmp_path / "two.db"), proven)

    def bent(**fields: object) -> Any:  # noqa: ANN401
        made = type(newest)()
        made.CopyFrom(newest)
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    async def work(ask: Ask) -> None:
        assert await ask.offer(bent(format=2), app_hash) == REJECT_FORMAT
        for lie in (
            bent(metadata=b"noise"),
            bent(hash=bytes(32)),
            bent(chunks=newest.chunks + 1),
            bent(height=newest.height + 1),
        ):
            assert await ask.offer(lie, app_hash) == REJECT_SENDER
        for lie, said in ((newest, bytes(32)), (older, app_hash)):
            assert await ask.offer(lie, said) == REJECT_SNAPSHOT
        assert door.anew == 0
        assert await ask.offer(newest, app_hash) == ACCEPT
        for index, chunk in enumerate(chunks[newest.height]):
            for lie in (b"", bytes_kit.bent(chunk), chunks[newest.height][index - 1]):
                answer = await ask.apply(index, lie, LIAR)
                assert answer.result == RETRY_CHUNK
                assert list(answer.refetch_chunks) == [index]
                assert list(answer.reject_senders) == [LIAR]
            assert (await ask.apply(index, chunk, HONEST)).result == ACCEPT
        assert (await ask("info")).last_block_app_hash == app_hash

    door.talk(work)
    assert door.halted == []
    door.store.close()


def test_another_snapshot_may_follow_one_that_was_given_up(
    history: History, tmp_path: Path
) -> None:
    offers, chunks = served(history)
    newest, older = offers[:2]
    door = Door(empty_store(history, tmp_path / "two.db"), history.proven())

    async def work(ask: Ask) -> None:
        hashes = {item.height: history.store.block(item.height).app_hash for item in offers}
        assert await ask.offer(newest, hashes[newest.height]) == ACCEPT
        assert (await ask.apply(0, chunks[newest.height][0], HONEST)).result == ACCEPT
        for item in (older, newest):  # The engine died after the first was whole.
            assert await ask.offer(item, hashes[item.height]) == ACCEPT
            for index, chunk in enumerate(chunks[item.height]):
                assert (await ask.apply(index, chunk, HONEST)).result == ACCEPT
        assert (await ask("info")).last_block_height == newest.height

    door.talk(work)
    assert door.halted == []
    door.store.close()
