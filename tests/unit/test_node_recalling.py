"""A consensus key whose memory is behind what others saw it sign does not come up again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accord.client.home import Home, create_home
from accord.ledger.genesis import encode_genesis
from accord.node.abci_app import address_of
from accord.node.comet_files import SIGNER_STATE_FILE
from accord.node.recalling import recall_votes
from accord.node.settings import Peer
from accord.statements.bodies import Role
from accord.wire.errors import Broken
from accord.wire.ids import MemberId
from consortium_kit import Consortium
from light_kit import api, commit


@contextmanager
def engine(newest: int, commits: dict[int, dict[str, Any]]) -> Iterator[Peer]:
    """Another agency's node that serves these."""
    pruned = {"error": {"message": "pruned"}}
    with api(lambda _, asked: commits.get(int(asked.get("height", newest)), pruned)) as url:
        yield Peer(MemberId("ie-two"), "ab" * 20, "127.0.0.1:1", url)


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
