"""Vectors of a log that goes on under a new genesis: over the chain that `ledger.json` records."""

import json
from typing import Any

from core_vectors import FOLDER, head

from accord.agency.founding import agency_application, continue_genesis
from accord.ledger.block import Ledger
from accord.ledger.genesis import Founding, parse_genesis
from accord.ledger.past import begin
from accord.tlog import leaf_hash, tree_root
from accord.wire.ids import ChainId, TimeMs
from consortium_kit import AGENCY_STAFF, FOUR, keys_for, plan
from continuing_kit import with_fresh_signers

CHAIN = ChainId("trial-vectors-2")


def write() -> None:
    (FOLDER / "past.json").write_text(json.dumps(past(), indent=1) + "\n")


def recorded() -> tuple[Founding, list[bytes], int]:
    """The recorded chain: its genesis, its leaves, its last block's time."""
    known = json.loads((FOLDER / "ledger.json").read_text())
    old = parse_genesis(known["genesis"].encode())
    ledger = Ledger.founded(old.genesis)
    leaves: list[bytes] = []
    for block in known["blocks"]:
        raws = [bytes.fromhex(raw) for raw in block["transactions"]]
        leaves += [item.leaf for item in ledger.finalize(raws, TimeMs(block["time_ms"])).logged]
    return old, leaves, known["blocks"][-1]["time_ms"]


def past() -> dict[str, Any]:
    old, leaves, time_ms = recorded()
    first = FOUR[0]
    keys = with_fresh_signers(keys_for(first.member, AGENCY_STAFF), CHAIN)
    newcomer = plan("fr-five", "FR")
    raw = continue_genesis(
        old,
        len(leaves),
        tree_root(map(leaf_hash, leaves)),
        CHAIN,
        TimeMs(time_ms + 60_000),
        old.genesis.parameters,
        [
            agency_application(CHAIN, first, keys),
            agency_application(CHAIN, newcomer, keys_for(newcomer.member, AGENCY_STAFF)),
        ],
    )
    founding = parse_genesis(raw, [_bytes_of_old()])
    start = begin(founding, leaves)
    return {
        **head("a log that goes on under a genesis of version 2; `ledger.json` is what it pins"),
        "continues": "ledger.json",
        "genesis": raw.decode(),
        "genesis_sha256": founding.digest.hex(),
        "size": start.frontier.size,
        "root": start.frontier.root().hex(),
        "state_digest": start.state.digest().hex(),
        "app_hash": Ledger.begun(founding, leaves).app_hash().hex(),
    }


def _bytes_of_old() -> bytes:
    genesis: str = json.loads((FOLDER / "ledger.json").read_text())["genesis"]
    return genesis.encode()
