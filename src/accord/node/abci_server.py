"""The application's door for CometBFT: length-delimited protobuf over a private unix socket.

Job: read a request, ask `App`, write the answer, one request at a time over all connections.
Not here: any rule. What goes wrong here ends the process, a message that does not parse too: the
engine on the other end is our own, and a block answered by guess would be a fork.
Source: CometBFT v0.39.4, spec/abci; docs/spec/consensus.md.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from accord.ledger.codes import RejectCode
from accord.node.abci_app import App, Update, holder_of
from accord.node.abci_proto import (
    ABORT,
    ACCEPT,
    MISBEHAVIOUR_KINDS,
    RECHECK,
    REJECT,
    Request,
    Response,
)
from accord.node.store import Misbehaviour
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs

MESSAGE_BYTES_MAX: Final = 32_000_000  # A full block is 4 MB; a mempool's worth of candidates more.
VERSION: Final = "accord/1"
APP_VERSION: Final = 1

diagnostics = logging.getLogger(__name__)


SNAPSHOT_KINDS: Final = frozenset(
    {"list_snapshots", "offer_snapshot", "load_snapshot_chunk", "apply_snapshot_chunk"}
)

Answer = Callable[[str, Any, Any], Awaitable[None]]  # Fills a response; kind, request, response.


class AbciServer:
    """Serves one engine over one socket."""

    def __init__(
        self,
        app: Callable[[], App],
        commit: Callable[[], Awaitable[int | None]],
        is_peer: Callable[[str], bool],
        halt: Callable[[BaseException], None],
        snapshots: Answer | None = None,
    ) -> None:
        """`commit` makes the pending block durable, and may say from which block on the engine
        must keep all; `halt` gets what must end the process; `snapshots` answers what concerns
        them, without it there are none.
        """
        self._app = app
        self._commit = commit
        self._is_peer = is_peer
        self._halt = halt
        self._snapshots = snapshots
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self, path: Path) -> None:
        """Listen; only this user may connect."""
        old = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path)
        finally:
            os.umask(old)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.hang_up()

    async def hang_up(self) -> None:
        """End every connection; on return no request is being answered."""
        for writer in list(self._connections):
            writer.close()
        async with self._turn:
            return

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                raw = await _read_message(reader)
                if raw is None:
                    return
                writer.write(await self._answer(raw))
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return
        except BaseException as err:  # The loop's top: no further block is answered.
            self._halt(err)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, raw: bytes) -> bytes:
        try:
            request = Request.FromString(raw)
        except DecodeError as err:
            raise Malformed("abci.message") from err
        kind = request.WhichOneof("value")
        if kind is None:
            raise Malformed("abci.kind")
        response = Response()
        async with self._turn:
            if kind == "commit":
                response.commit.retain_height = await self._commit() or 0
            elif kind in SNAPSHOT_KINDS and self._snapshots is not None:
                answer = getattr(response, kind)
                answer.SetInParent()
                await self._snapshots(kind, getattr(request, kind), answer)
            else:
                answer_request(self._app(), self._is_peer, kind, getattr(request, kind), response)
        encoded: bytes = response.SerializeToString()
        return _uvarint(len(encoded)) + encoded


def answer_request(
    app: App,
    is_peer: Callable[[str], bool],
    kind: str,
    ask: Any,  # noqa: ANN401 - a protobuf message; its class is made at run time.
    response: Any,  # noqa: ANN401
) -> None:
    """Fill `response` with the application's answer to anything but Commit. Raises: Broken."""
    match kind:
        case "echo":
            response.echo.message = ask.message
        case "info":
            height, app_hash = app.info()
            response.info.version, response.info.app_version = VERSION, APP_VERSION
            response.info.last_block_height = height
            response.info.last_block_app_hash = app_hash
        case "init_chain":
            updates, app_hash = app.init_chain(ask.chain_id)
            response.init_chain.app_hash = app_hash
            _add_updates(response.init_chain.validators, updates)
        case "check_tx":
            response.check_tx.code = app.admit(ask.tx, again=ask.type == RECHECK)
        case "prepare_proposal":
            chosen = app.prepare(list(ask.txs), _time_ms(ask.time), ask.max_tx_bytes)
            response.prepare_proposal.txs.extend(chosen)
        case "process_proposal":
            refusal = app.process(list(ask.txs), _time_ms(ask.time))
            if refusal is not None:
                diagnostics.warning("refused a proposed block: %s", refusal.code)
            response.process_proposal.result = ACCEPT if refusal is None else REJECT
        case "finalize_block":
            _finalize(app, ask, response.finalize_block)
        case "query":
            response.query.code = _filter(is_peer, ask.path)
        case "offer_snapshot" | "apply_snapshot_chunk":
            getattr(response, kind).result = ABORT  # This node keeps none and takes none.
        case "verify_vote_extension":
            response.verify_vote_extension.result = ACCEPT
        case _:  # Flush, and what answers with nothing.
            getattr(response, kind).SetInParent()


def _finalize(app: App, ask: Any, answer: Any) -> None:  # noqa: ANN401 - protobuf messages.
    state = app.ledger.state
    seen = [
        Misbehaviour(
            kind=MISBEHAVIOUR_KINDS.get(item.type, "unknown"),
            address=item.validator.address,
            agency=holder_of(state, item.validator.address),
            height=item.height,
            time_ms=_time_ms(item.time),
        )
        for item in ask.misbehavior
    ]
    done = app.finalize(ask.height, list(ask.txs), _time_ms(ask.time), seen)
    for verdict in done.result.verdicts:
        # Code and data are hashed into the next header; the index is the only data there is.
        if isinstance(verdict, RejectCode):
            answer.tx_results.add(code=verdict.value)
        else:
            answer.tx_results.add(code=0, data=verdict.to_bytes(8, "big"))
    _add_updates(answer.validator_updates, done.updates)
    answer.app_hash = done.result.app_hash


def _add_updates(field: Any, updates: tuple[Update, ...]) -> None:  # noqa: ANN401 - as above.
    for update in updates:
        item = field.add(power=update.power)
        item.pub_key.ed25519 = update.public


def _filter(is_peer: Callable[[str], bool], path: str) -> int:
    """Whether a peer may connect: 0 for yes. Its address does not matter, its node id does."""
    *_, what, value = ("", *path.split("/"))
    return 1 if what == "id" and not is_peer(value) else 0


def _time_ms(time: Any) -> TimeMs:  # noqa: ANN401 - as above.
    return TimeMs(time.seconds * 1000 + time.nanos // 1_000_000)


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next message; None at the end of the connection. Raises: Malformed."""
    size = shift = 0
    while True:
        byte = await reader.read(1)
        if not byte:
            return None
        size |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
        shift += 7
        if shift > 28:
            raise Malformed("abci.length")
    if size > MESSAGE_BYTES_MAX:
        raise Malformed("abci.length", bytes=size, limit=MESSAGE_BYTES_MAX)
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError:
        return None


def _uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
