"""The recorded continuation: a genesis of version 2 and the state that it begins with."""

import json
from pathlib import Path

from accord.ledger.block import Ledger
from accord.ledger.genesis import parse_genesis
from accord.tlog import leaf_hash, tree_root
from accord.wire.ids import TimeMs

FOLDER = Path(__file__).parents[2] / "vectors"


def test_a_log_goes_on_as_recorded() -> None:
    old, new = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("ledger", "past"))
    earlier = old["genesis"].encode()
    ledger = Ledger.founded(parse_genesis(earlier).genesis)
    leaves: list[bytes] = []
    for block in old["blocks"]:
        raws = [bytes.fromhex(raw) for raw in block["transactions"]]
        leaves += [item.leaf for item in ledger.finalize(raws, TimeMs(block["time_ms"])).logged]
    founding = parse_genesis(new["genesis"].encode(), [earlier])
    assert founding.digest.hex() == new["genesis_sha256"]
    after = Ledger.begun(founding, leaves)
    assert (after.frontier.size, after.frontier.root().hex()) == (new["size"], new["root"])
    assert tree_root(map(leaf_hash, leaves)).hex() == new["root"]
    assert after.state.digest().hex() == new["state_digest"]
    assert after.app_hash().hex() == new["app_hash"]
