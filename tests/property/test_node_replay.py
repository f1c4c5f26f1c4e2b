"""The same blocks give the same app hashes: replayed from a store, under any hash seed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.ledger.block import Ledger
from accord.node.store import Store
from accord.statements.bodies import (
    Accredit,
    AdmitAgency,
    Body,
    Endorse,
    Propose,
    RefRange,
    RemoveAgency,
    Role,
    Vote,
)
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from consortium_kit import FOUR, START_MS, Consortium, founding, plan

AGENCIES = [p.member for p in FOUR]
FIFTH: AdmitAgency = founding((*FOUR, plan("fr-five", "FR"))).genesis.agencies[-1]


def statement(consortium: Consortium, kind: int, member: str, number: int) -> bytes:
    """Some statement, which the ledger may or may not accept."""
    header = consortium.header(member)
    role = Role.GOVERNOR
    body: Body
    match kind:
        case 0:
            body = Propose(header, Accredit(MemberId(member), JurisdictionId("EU")))
        case 1:
            body = Propose(header, FIFTH)
        case 2:
            body = Propose(header, RemoveAgency(AGENCIES[number % 4]))
        case 3:
            body = Vote(header, number, approve=number % 5 != 0)
        case _:
            body, role = Endorse(header, (RefRange(number, 0, 1),), 1), Role.ANALYST
    return consortium.sign(body, role)


CHOICE = st.tuples(st.integers(0, 4), st.sampled_from(AGENCIES), st.integers(0, 12))
BLOCKS = st.lists(st.lists(CHOICE, min_size=1, max_size=5), min_size=1, max_size=8)


def store_blocks(path: Path, blocks: list[list[tuple[int, str, int]]]) -> list[str]:
    consortium = Consortium()
    store = Store(path, consortium.founding)
    ledger = store.ledger()
    hashes: list[str] = []
    for number, block in enumerate(blocks):
        raws = [statement(consortium, *choice) for choice in block]
        result = ledger.finalize(raws, TimeMs(START_MS + 10_000 * number))
        store.commit(result)
        hashes.append(result.app_hash.hex())
    store.close()
    return hashes


@given(BLOCKS)
@settings(max_examples=15, deadline=None)
def test_stored_blocks_replay_to_the_same_app_hashes(
    blocks: list[list[tuple[int, str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "node.db"
        hashes = store_blocks(path, blocks)
        store = Store(path, Consortium().founding)
        replayed = Ledger.founded(Consortium().founding.genesis)
        for height in range(1, store.height + 1):
            block = store.block(height)
            result = replayed.finalize(block.transactions, block.time_ms)
            assert result.app_hash.hex() == block.app_hash.hex() == hashes[height - 1]
        assert store.ledger().app_hash() == replayed.app_hash()
        store.close()


FIXED = [
    [(1, "nl-one", 0), (3, "ie-two", 0)],
    [(3, "ca-three", 0), (0, "nl-four", 1), (4, "ie-two", 3)],
    [(2, "ie-two", 3), (3, "nl-one", 3), (3, "ca-three", 3), (3, "nl-one", 2)],
]


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_hash_seed_changes_nothing(tmp_path: Path, seed: str) -> None:
    wanted = store_blocks(tmp_path / "here.db", FIXED)
    found = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "there.db")],
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(found.stdout) == wanted


if __name__ == "__main__":
    sys.stdout.write(json.dumps(store_blocks(Path(sys.argv[1]), FIXED)))
