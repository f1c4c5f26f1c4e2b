"""What the two HTTP interfaces document is what they do, whatever is asked: generated requests
against real servers, and never an answer that is not in the document.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accord.client.home import PrivateKey
from accord.client.signing import signed_headers
from accord.node.process import listen
from accord.scan.gateway import Gateway, create_app
from accord.statements.bodies import Role
from command_kit import until
from node_kit import Mirrored, NodeThread, caller, make_homes
from scan_kit import Scene, jpeg

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WAIT_MS = 5  # A long poll of a test is a short one.
asked = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Signed(AuthBase):
    """Requests as a member makes them."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        assert body is None or isinstance(body, bytes)
        url, method = request.url or "", request.method or ""
        request.headers.update(signed_headers(self._key, method, url, body))
        return request


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeThread]:
    directory = tmp_path_factory.mktemp("node")
    consortium = Mirrored()
    make_homes(directory, consortium)
    thread = NodeThread(directory, consortium)
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def node_schema(node: NodeThread) -> Any:  # noqa: ANN401  (the library's)
    return schemathesis.openapi.from_url(f"{node.url}/openapi.json")


@pytest.fixture(scope="module")
def gateway_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    scene = Scene(tmp_path_factory.mktemp("gateway"))
    scene.list_pictures(1)
    scene.sync()
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(create_app(Gateway(scene.screener)), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    until(lambda: server.started)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    yield schemathesis.openapi.from_url(f"{url}/openapi.json")
    server.should_exit = True
    thread.join(20)
    sock.close()
    scene.close()


def operations(schema: Any) -> list[Any]:  # noqa: ANN401  (the library's)
    return [found.ok() for found in schema.get_all_operations()]


def conforms(operation: Any, **how: Any) -> None:  # noqa: ANN401  (the library's)
    """Whatever is asked of it, as its schema says and as it does not."""
    takes = operation.path_parameters or operation.query or operation.body
    modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else [])]
    strategies = [operation.as_strategy(generation_mode=mode) for mode in modes]

    @asked
    @given(case=st.one_of(strategies))
    def ask(case: Case) -> None:
        if case.path == "/wait" and isinstance(case.query, dict):
            wanted = case.query.get("wait_ms")
            if wanted is None or (isinstance(wanted, int) and wanted > WAIT_MS):
                case.query["wait_ms"] = WAIT_MS
        case.call_and_validate(checks=CHECKS, **how)

    ask()


def test_the_node_answers_as_documented(node_schema: Any) -> None:  # noqa: ANN401
    for operation in operations(node_schema):
        conforms(operation)


def test_the_node_answers_members_as_documented(node: NodeThread, node_schema: Any) -> None:  # noqa: ANN401
    key = caller(node.consortium, "nl-one", Role.ANALYST)
    for operation in operations(node_schema):
        conforms(operation, auth=Signed(key))


def undocumented(value: object, schema: dict[str, Any], at: str = "") -> list[str]:
    """What an answer says that its schema does not."""
    if isinstance(value, list):
        return [name for item in value for name in undocumented(item, schema["items"], at)]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    found = [f"{at}.{name}" for name in value if name not in known]
    for name in set(value) & set(known):
        found += undocumented(value[name], known[name], f"{at}.{name}")
    return found


def test_the_gateway_documents_all_it_says(gateway_schema: Any) -> None:  # noqa: ANN401
    url, document = gateway_schema.get_base_url().rstrip("/"), gateway_schema.raw_schema
    for body in (jpeg(1), jpeg(2), b""):
        answer = httpx.post(f"{url}/v1/screen", content=body).json()
        own, _client = _answer_of(document, "/v1/screen", "post")["anyOf"]
        assert undocumented(answer, own) == []
    status = httpx.get(f"{url}/v1/status").json()
    assert undocumented(status, _answer_of(document, "/v1/status", "get")) == []


def _answer_of(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    answers = document["paths"][path][method]["responses"]["200"]
    schema = answers["content"]["application/json"]["schema"]
    assert isinstance(schema, dict)
    return schema


def test_the_gateway_answers_as_documented(gateway_schema: Any) -> None:  # noqa: ANN401
    for operation in operations(gateway_schema):
        conforms(operation)
