"""A consensus key whose memory is behind what others saw it sign does not come up again."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from accord.client.home import Home, PrivateKey, create_home
from accord.ledger.genesis import encode_genesis
from accord.node.abci_app import address_of
from accord.node.comet_files import SIGNER_STATE_FILE
from accord.node.light import encode_vote
from accord.node.recalling import recall_votes
from accord.node.settings import Peer
from accord.statements.bodies import Role
from accord.wire.errors import Broken
from accord.wire.ids import MemberId
from consortium_kit import CHAIN, Consortium

BLOCK, PARTS = b"\x0a" * 32, b"\x0b" * 32


def commit(height: int, signers: list[PrivateKey]) -> dict[str, Any]:
    """As an engine says it."""
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
def engine(newest: int, commits: dict[int, dict[str, Any]]) -> Iterator[Peer]:
    """Another agency's node that serves these."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            height = int(asked.get("height", [str(newest)])[0])
            raw = json.dumps(commits.get(height, {"error": {"message": "pruned"}})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Peer(MemberId("ie-two"), "ab" * 20, "127.0.0.1:1", url)
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture
def home(tmp_path: Path, consortium: Consortium) -> Home:
    genesis = encode_genesis(consortium.founding.genesis)
    keys = consortium.keys[MemberId("nl-one")]
    return create_home(tmp_path / "h", "agency", MemberId("nl-one"), genesis, [], keys)


def remember(home: Home, height: int | None) -> None:
    file = home.path / SIGNER_STATE_FILE
    file.unlink(missing_ok=True)
    if height is not None:
        file.write_text(json.dumps({"height": str(height), "round": 0, "step": 3}))


@pytest.mark.parametrize(
    ("newest", "signed", "remembered", "is_old"),
    [
        (50, range(1, 51), 50, False),
        (50, range(1, 51), 51, False),  # Voted, and not decided yet.
        (50, range(1, 51), 49, True),
        (50, range(1, 51), 7, True),
        (50, range(1, 51), None, True),
        (50, range(1, 51), 0, True),
        (50, range(1, 48), 46, True),
        (50, range(1, 48), 47, False),
        (500, range(1, 11), 8, True),  # Down for long: just after what the memory knows.
        (500, range(1, 11), 10, False),
        (50, range(0), None, False),  # A new key.
        (50, range(0), 0, False),
    ],
)
def test_a_later_signature_than_the_memory_knows_is_found(
    home: Home,
    consortium: Consortium,
    newest: int,
    signed: range,
    remembered: int | None,
    is_old: bool,
) -> None:
    own, other = (consortium.key(name, Role.CONSENSUS) for name in ("nl-one", "ie-two"))
    commits = {
        height: commit(height, [other, *([own] if height in signed else [])])
        for height in range(1, newest + 1)
    }
    remember(home, remembered)
    with engine(newest, commits) as peer:
        if not is_old:
            recall_votes(home, [peer])
            return
        with pytest.raises(Broken, match=r"node\.signer_state_older"):
            recall_votes(home, [peer])


def test_silence_pruned_blocks_and_forgeries_stop_nobody(
    home: Home, consortium: Consortium
) -> None:
    own, other = (consortium.key(name, Role.CONSENSUS) for name in ("nl-one", "ie-two"))
    forged = commit(50, [other])
    line = forged["result"]["signed_header"]["commit"]["signatures"][0]
    line["validator_address"] = address_of(own.public).hex().upper()
    remember(home, 3)
    silent = Peer(MemberId("ca-three"), "cd" * 20, "127.0.0.1:1", "http://127.0.0.1:1")
    with engine(50, {50: forged}) as liar, engine(50, {50: commit(50, [other])}) as pruned:
        recall_votes(home, [silent, liar, pruned])
        refused = pytest.raises(Broken, match=r"node\.signer_state_older")
        with engine(50, {50: commit(50, [own])}) as honest, refused:
            recall_votes(home, [silent, liar, pruned, honest])
    recall_votes(home, [])
