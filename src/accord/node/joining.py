"""A node that joins by a snapshot: what it proves first, and where its engine finds headers.

1. Follow the log from the others' nodes, as anybody does: every entry hashed, folded, and under a
   head that the quorum signed.
2. The fold says which consensus keys order blocks. A block that more than two thirds of them signed
   is where the engine's light client begins, unless the operator names another.
3. Two private sockets, behind which two other agencies' nodes answer the light client's reads: the
   engine's RPC of no node is reachable from outside.
Nobody is trusted: what the light client accepts must have the app hash of our own fold.
Source: docs/spec/consensus.md section 9.
"""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from accord.client.home import Home
from accord.client.http import NodeClient
from accord.ledger.views import validators
from accord.node.abci_app import chain_for_engine
from accord.node.light import verify_commit
from accord.node.restoring import Steps
from accord.node.settings import Peer, Trust
from accord.replica.replica import Replica, sync_any
from accord.statements.bodies import Role
from accord.wire.errors import AccordError, Malformed, Unavailable, Unproven
from accord.wire.ids import TimeMs

JOINING_FILE: Final = "joining.sqlite"  # The proved log, until the node has one of its own.
DOORS: Final = 2  # The light client compares two sources.
PROVE_WAIT_S: Final = 60.0
AGAIN_S: Final = 1.0
ATTEMPTS: Final = 2  # Of one read: there are other nodes to ask.
REACH_TRIES: Final = 15
ASK_BYTES_MAX: Final = 65_536
READS: Final = {
    "commit": ("height",),
    "consensus_params": ("height",),
    "validators": ("height", "page", "per_page"),
}
NO_SUCH_METHOD: Final = -32_601
INTERNAL: Final = -32_603

Clock = Callable[[], TimeMs]
diagnostics = logging.getLogger(__name__)


class Joining:
    """The proved log of a node that has none yet. See `restoring.Proven`. One caller at a time."""

    def __init__(
        self,
        directory: Path,
        home: Home,
        peers: Sequence[Peer],
        clock: Clock,
        *,
        allow_trial: bool = False,
    ) -> None:
        """Raises: Malformed, where there is nobody to join; Unproven; Unavailable."""
        if not peers:
            raise Malformed("join.no_peers", mend="accord node peer")
        self._home = home
        self._clock = clock
        key = home.key(Role.COSIGNER)  # Any key of ours on the ledger; a node's home has this one.
        self.nodes = [NodeClient(peer.api, home.chain, key, attempts=ATTEMPTS) for peer in peers]
        self._replica = Replica(
            directory / JOINING_FILE, home.founding, None, allow_trial=allow_trial
        )

    def close(self) -> None:
        self._replica.close()
        for node in self.nodes:
            node.close()

    def prove(self, trust: Trust | None) -> Trust:
        """Follow to the newest head; the block to begin with. Raises: Unavailable, Unproven."""
        deadline = time.monotonic() + PROVE_WAIT_S
        while True:
            try:
                self._follow()
                return trust or self._find_trust()
            except (Unavailable, Unproven, Malformed) as err:
                if time.monotonic() > deadline:
                    raise
                diagnostics.warning("not yet to be joined: %s", err)
                time.sleep(AGAIN_S)

    def reach(self, size: int) -> None:
        """As `Proven`."""
        for _ in range(REACH_TRIES):
            if self._replica.size >= size:
                return
            self._follow()
            if self._replica.size < size:
                time.sleep(AGAIN_S)
        raise Unavailable("join.not_reached", have=self._replica.size, wanted=size)

    def leaves(self, first: int, end: int) -> list[bytes]:
        """As `Proven`."""
        return self._replica.leaves(first, end)

    def steps(self, size: int) -> Iterator[Steps]:
        """As `Proven`."""
        is_answered = False
        for node in self.nodes:
            with suppress(AccordError):
                sizes = [item for item in node.fetch_transitions() if item <= size]
                found = [(item, node.fetch_checkpoint_at(item)) for item in sizes]
                is_answered = True
                yield found
        if not is_answered:
            raise Unavailable("join.no_answer")

    def _follow(self) -> None:
        _, lies = sync_any(self._replica, self.nodes, self._clock())
        for source, err in lies:
            diagnostics.error("%s lies, or lags behind: %s", source, err)

    def _find_trust(self) -> Trust:
        """The oldest snapshot's block that the validators of our fold signed: the light client goes
        forward from there in one step, and backward block by block.
        """
        keys = sorted(validators(self._replica.state).values())
        chain = chain_for_engine(self._home.chain)
        last: AccordError = Unavailable("join.no_snapshot", mend="wait, or join by block sync")
        for node in self.nodes:
            try:
                heights = _heights(node.read_engine("snapshots", {}))
            except (Unavailable, Unproven, Malformed) as err:
                last = err
                continue
            for height in sorted(heights):
                try:
                    answer = node.read_engine("commit", {"height": height})
                    trust = verify_commit(answer.get("result"), chain, keys)
                except (Unavailable, Unproven, Malformed) as err:
                    last = err
                    continue
                if trust.height == height:
                    return trust
        raise last


def _heights(answer: dict[str, Any]) -> list[int]:
    match answer:
        case {"heights": list(found)}:
            heights = [item for item in cast(list[object], found) if type(item) is int]
        case _:
            raise Malformed("http.answer", path="/engine/snapshots")
    return [height for height in heights if 0 < height < 2**62]


class LightDoor:
    """The engine's RPC as its light client expects it, answered by other agencies' nodes.

    Every answer is checked by the light client; a node that does not answer is passed over.
    """

    def __init__(self, nodes: Sequence[NodeClient]) -> None:
        self._nodes = list(nodes)  # Who did not answer comes last.

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["POST", "GET"])])

    async def _answer(self, request: Request) -> JSONResponse:
        number: Any = -1
        try:
            ask: Any = json.loads((await request.body())[:ASK_BYTES_MAX])
            number, method, params = ask["id"], str(ask["method"]), ask.get("params") or {}
            said = await run_in_threadpool(self._read, method, params)
        except (ValueError, KeyError, TypeError, AttributeError):
            said = {"error": {"code": NO_SUCH_METHOD, "message": "not a read"}}
        return JSONResponse({"jsonrpc": "2.0", "id": number, **said})

    def _read(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method not in READS:
            return {"error": {"code": NO_SUCH_METHOD, "message": "Method not found"}}
        ask = {name: int(params[name]) for name in READS[method] if params.get(name) is not None}
        said: dict[str, Any] = {"error": {"code": INTERNAL, "message": "no node answers"}}
        for node in self._nodes:
            try:
                answer = node.read_engine(method, ask)
            except AccordError:
                self._nodes = [*(other for other in self._nodes if other is not node), node]
                continue
            kept: dict[str, Any] = {
                name: answer[name] for name in ("result", "error") if name in answer
            }
            if "result" in kept:
                return kept
            said = kept or said
        return said


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A private unix socket."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(old)
    try:
        yield sock
    finally:
        sock.close()
        path.unlink(missing_ok=True)


class _Quiet(uvicorn.Server):
    """Uvicorn, with the signals left to the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_light(paths: Sequence[Path], nodes: Sequence[NodeClient]) -> None:
    """Answer behind each of these sockets, beginning with another node each, until cancelled."""
    servers: list[_Quiet] = []

    async def one(place: int, path: Path) -> None:
        at = place % len(nodes)
        door = LightDoor([*nodes[at:], *nodes[:at]])
        config = uvicorn.Config(
            door.app(), log_level="warning", access_log=False, lifespan="off", server_header=False
        )
        server = _Quiet(config)
        servers.append(server)
        with _listening(path) as sock:
            await server.serve(sockets=[sock])

    tasks = [asyncio.create_task(one(place, path)) for place, path in enumerate(paths)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for server in servers:
            server.should_exit = server.force_exit = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
