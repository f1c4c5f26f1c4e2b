"""Another agency's node, as far as joining engines read it, and what validators signed there."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from accord.client.home import PrivateKey
from accord.node.abci_app import address_of
from accord.node.light import encode_vote
from consortium_kit import CHAIN

BLOCK, PARTS = b"\x0a" * 32, b"\x0b" * 32
Serve = Callable[[str, dict[str, str]], dict[str, Any]]  # The answer to a path and its query.


def commit(height: int, signers: Sequence[PrivateKey]) -> dict[str, Any]:
    """A block that these signed, as an engine says it."""
    vote = encode_vote((height, 0), (BLOCK, 1, PARTS), (1_800_000_000, 7), CHAIN)
    lines = [
        {
            "block_id_flag": 2,
            "validator_address": address_of(key.public).hex().upper(),
            "timestamp": "2027-01-15T08:00:00.000000007Z",
            "signature": base64.b64encode(key.sign(vote)).decode(),
        }
        for key in signers
    ]
    block = {"hash": BLOCK.hex(), "parts": {"total": 1, "hash": PARTS.hex()}}
    body = {"height": str(height), "round": 0, "block_id": block, "signatures": lines}
    return {"result": {"signed_header": {"commit": body}}}


@contextmanager
def api(serve: Serve) -> Iterator[str]:
    """Another agency's node, as far as joining engines read it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            raw = json.dumps(serve(parts.path, dict(parse_qsl(parts.query)))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)
