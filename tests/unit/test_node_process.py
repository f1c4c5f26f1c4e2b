"""The door of a node: a listening socket."""

import asyncio
import socket

import pytest

from accord.node.process import listen
from accord.wire.errors import Unavailable


def test_small_answers_are_sent_at_once() -> None:
    """Nagle's algorithm and a delayed acknowledgement together cost 40 ms of each answer."""

    async def serve_one(sock: socket.socket) -> int:
        set_: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            set_.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(accepted, sock=sock)
        async with server:
            _, writer = await asyncio.open_connection(*sock.getsockname())
            result = await set_
            writer.close()
            await writer.wait_closed()
            return result

    assert asyncio.run(serve_one(listen("127.0.0.1", 0))) == 1


def test_a_taken_port_is_refused_by_name() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(Unavailable) as refused:
            listen("127.0.0.1", first.getsockname()[1])
    assert refused.value.code == "node.port"
