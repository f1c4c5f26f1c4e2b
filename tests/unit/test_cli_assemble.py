"""A statement goes to the first node that answers; what a node decided is not asked again."""

import httpx
import pytest

from accord.cli.assemble import AnyNode
from accord.client.home import new_key
from accord.client.http import NodeClient
from accord.statements.bodies import Role
from accord.wire.errors import Rejected, Unavailable
from accord.wire.ids import ChainId, OperatorId

DOWN, NO = (503, "node.no_quorum"), (409, "reject.expired")


def node(status: int, code: str, asked: list[str], name: str) -> NodeClient:
    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(name)
        value = {"entry": 7} if status == 200 else {"error": {"code": code, "detail": {}}}
        return httpx.Response(status, json=value)

    transport = httpx.MockTransport(answer)
    key = new_key(Role.ROOT, OperatorId("safe"))
    chain = ChainId("trial-any")
    return NodeClient(f"http://{name}", chain, key, transport=transport, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("first", "second", "want", "asked"),
    [
        ((200, ""), DOWN, 7, {"one"}),
        (DOWN, (200, ""), 7, {"one", "two"}),
        (DOWN, DOWN, Unavailable, {"one", "two"}),
        (NO, (200, ""), Rejected, {"one"}),
    ],
)
def test_the_first_that_answers(
    first: tuple[int, str],
    second: tuple[int, str],
    want: int | type[Exception],
    asked: set[str],
) -> None:
    seen: list[str] = []
    with node(*first, seen, "one") as one, node(*second, seen, "two") as two:
        nodes = AnyNode([one, two])
        if isinstance(want, int):
            assert nodes.submit(b"statement") == want
        else:
            with pytest.raises(want):
                nodes.submit(b"statement")
    assert set(seen) == asked
