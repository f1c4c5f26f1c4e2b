"""The application's socket: the engine's requests in order, hostile bytes, who may connect."""

import asyncio
import stat
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.agency.founding import TRIAL_PARAMETERS
from accord.ledger.codes import RejectCode
from accord.node.abci_app import App, address_of
from accord.node.abci_proto import ABORT, ACCEPT, REJECT, Request, Response
from accord.node.abci_server import MESSAGE_BYTES_MAX, AbciServer
from accord.statements.bodies import Propose, Role
from accord.wire.errors import AccordError, Broken, Malformed
from accord.wire.limits import BLOCK_BYTES_MAX
from consortium_kit import CHAIN, Consortium

T = TypeVar("T")
FRIEND = "aa" * 20


@dataclass
class Door:
    """A server over a real socket, and what it did."""

    consortium: Consortium = field(default_factory=Consortium)
    halted: list[BaseException] = field(default_factory=list)
    commits: int = 0

    def __post_init__(self) -> None:
        self.app = App(self.consortium.ledger, 0, self.consortium.now)

    async def commit(self) -> None:
        self.app.pending()
        self.commits += 1
        self.app.committed()

    def talk(self, work: Callable[["Talk"], Awaitable[T]]) -> T:
        async def main() -> T:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "abci.sock"
                server = AbciServer(
                    lambda: self.app, self.commit, lambda who: who == FRIEND, self.halted.append
                )
                await server.start(path)
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    return await work(Talk(reader, writer))
                finally:
                    writer.close()
                    await server.close()
                    await asyncio.sleep(0)

        return asyncio.run(main())


@dataclass
class Talk:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, kind: str, **fields: Any) -> Any:  # noqa: ANN401 - protobuf messages.
        request = Request()
        message = getattr(request, kind)
        message.SetInParent()
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        return await self.send(request)

    async def send(self, request: Any) -> Any:  # noqa: ANN401
        raw = request.SerializeToString()
        self.writer.write(uvarint(len(raw)) + raw)
        return await self.answer()

    async def answer(self) -> Any:  # noqa: ANN401
        size = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        response = Response.FromString(await self.reader.readexactly(size))
        return getattr(response, response.WhichOneof("value"))


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def at(door: Door) -> Any:  # noqa: ANN401
    request = Request()
    request.finalize_block.time.seconds = (door.consortium.now + 5_000) // 1_000
    return request.finalize_block.time


def governed(consortium: Consortium, member: str = "nl-one") -> bytes:
    action = replace(TRIAL_PARAMETERS, proposal_life_ms=5_000)
    return consortium.sign(Propose(consortium.header(member), action), Role.GOVERNOR)


def test_a_chain_from_its_first_request_to_a_committed_block() -> None:
    door = Door()
    raw, forged = governed(door.consortium), b"noise"

    async def work(talk: Talk) -> None:
        assert (await talk.ask("echo", message="hello")).message == "hello"
        assert (await talk.ask("info")).last_block_height == 0
        first = await talk.ask("init_chain", chain_id=CHAIN)
        assert [item.power for item in first.validators] == [1, 1, 1, 1]
        assert (await talk.ask("check_tx", tx=raw)).code == 0
        assert (await talk.ask("check_tx", tx=forged)).code == RejectCode.MALFORMED
        request = Request()
        request.prepare_proposal.txs.extend([forged, raw])
        request.prepare_proposal.max_tx_bytes = BLOCK_BYTES_MAX
        request.prepare_proposal.time.CopyFrom(at(door))
        assert list((await talk.send(request)).txs) == [raw]
        for txs, verdict in (([raw], ACCEPT), ([raw, forged], REJECT), ([raw, raw], REJECT)):
            request = Request()
            request.process_proposal.txs.extend(txs)
            request.process_proposal.time.CopyFrom(at(door))
            assert (await talk.send(request)).result == verdict
        request = Request()
        request.finalize_block.txs.append(raw)
        request.finalize_block.height = 1
        request.finalize_block.time.CopyFrom(at(door))
        done = await talk.send(request)
        assert [(r.code, r.data, r.log) for r in done.tx_results] == [(0, bytes(8), "")]
        assert done.app_hash == door.consortium.ledger.app_hash()
        assert (await talk.ask("info")).last_block_height == 0
        assert (await talk.ask("commit")).retain_height == 0
        assert (await talk.ask("info")).last_block_height == 1

    door.talk(work)
    assert (door.commits, door.halted) == (1, [])


def test_only_configured_peers_may_connect() -> None:
    async def work(talk: Talk) -> list[int]:
        paths = [f"/p2p/filter/id/{FRIEND}", f"/p2p/filter/id/{'bb' * 20}", "/p2p/filter/addr/::1"]
        return [(await talk.ask("query", path=path)).code for path in paths]

    assert Door().talk(work) == [0, 1, 0]


def test_snapshots_are_declined_and_the_rest_is_answered() -> None:
    async def work(talk: Talk) -> None:
        for kind in ("offer_snapshot", "apply_snapshot_chunk"):
            assert (await talk.ask(kind)).result == ABORT
        for kind in ("flush", "list_snapshots", "load_snapshot_chunk", "extend_vote"):
            await talk.ask(kind)
        assert (await talk.ask("verify_vote_extension")).result == ACCEPT

    door = Door()
    door.talk(work)
    assert door.halted == []


def test_a_double_vote_is_recorded_with_its_agency() -> None:
    door = Door()
    key = door.consortium.key("ca-three", Role.CONSENSUS).public

    async def work(talk: Talk) -> None:
        request = Request()
        for address, kind in ((address_of(key), 1), (bytes(20), 9)):
            item = request.finalize_block.misbehavior.add(type=kind, height=4)
            item.validator.address = address
            item.time.CopyFrom(at(door))
        request.finalize_block.height = 1
        request.finalize_block.time.CopyFrom(at(door))
        await talk.send(request)

    door.talk(work)
    known, unknown = door.app.pending().misbehaviour
    assert (known.kind, known.agency, known.height) == ("duplicate-vote", "ca-three", 4)
    assert (unknown.kind, unknown.agency) == ("unknown", None)


def test_a_block_out_of_order_ends_the_process() -> None:
    async def work(talk: Talk) -> None:
        with pytest.raises(asyncio.IncompleteReadError):
            await talk.ask("finalize_block", height=7)

    door = Door()
    door.talk(work)
    (err,) = door.halted
    assert isinstance(err, Broken)


NOISE = st.one_of(
    st.binary(max_size=64),
    st.binary(min_size=1, max_size=64).map(lambda raw: uvarint(len(raw)) + raw),
    st.integers(MESSAGE_BYTES_MAX, 2**40).map(uvarint),
)


@given(NOISE)
@settings(max_examples=60, deadline=None)
def test_hostile_bytes_are_answered_refused_or_waited_for(noise: bytes) -> None:
    door = Door(CONSORTIUM)
    before = door.app.info()

    async def work(talk: Talk) -> None:
        talk.writer.write(noise)
        talk.writer.write_eof()
        await talk.reader.read()

    door.talk(work)
    for err in door.halted:
        assert isinstance(err, Malformed | Broken), err
        assert isinstance(err, AccordError)
    assert door.app.info() == before
    assert door.commits == 0


CONSORTIUM = Consortium()


@pytest.mark.parametrize("length", [uvarint(MESSAGE_BYTES_MAX + 1), b"\xff" * 6])
def test_a_length_over_the_limit_is_refused_before_it_is_read(length: bytes) -> None:
    async def work(talk: Talk) -> bytes:
        talk.writer.write(length)
        return await talk.reader.read()

    door = Door()
    assert door.talk(work) == b""
    (err,) = door.halted
    assert isinstance(err, Malformed)
    assert err.code == "abci.length"
