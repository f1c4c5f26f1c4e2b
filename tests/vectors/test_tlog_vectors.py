"""vectors/tlog.json read back as another implementation would, and regenerated to equal bytes."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from accord.tlog import (
    Algorithm,
    Frontier,
    leaf_hash,
    parse_bundle,
    parse_checkpoint,
    parse_cosigner_state,
    parse_frontier,
    parse_note_key,
    parse_policy,
    parse_signature_line,
    parse_tile,
    parse_tile_path,
    tile_path,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
    verify_line,
)
from accord.wire.errors import Unproven
from tlog_kit import Signer

FILE = Path(__file__).resolve().parents[2] / "vectors" / "tlog.json"
CASES: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
LEAVES = [leaf_hash(f"entry {index}".encode()) for index in range(300)]


def root_of(size: int) -> bytes:
    return Frontier().extend(LEAVES[:size]).root()


def unhex(items: list[str]) -> list[bytes]:
    return [bytes.fromhex(item) for item in items]


def test_the_file_is_what_its_generator_writes() -> None:
    built = runpy.run_path(str(Path(__file__).with_name("tlog_vectors.py")))["build"]()
    assert built == CASES


def test_frontiers() -> None:
    for case in CASES["frontiers"]:
        frontier = parse_frontier(bytes.fromhex(case["frontier"]))
        assert frontier == Frontier().extend(LEAVES[: case["size"]])
        assert frontier.root().hex() == case["root"]


def test_proofs() -> None:
    for case in CASES["inclusion"]:
        leaf, root = bytes.fromhex(case["leaf"]), root_of(case["size"])
        verify_inclusion(case["index"], case["size"], leaf, unhex(case["proof"]), root)
    for case in CASES["consistency"]:
        old, new = case["old"], case["new"]
        verify_consistency(old, root_of(old), new, root_of(new), unhex(case["proof"]))


def test_tiles_paths_and_bundles() -> None:
    for case in CASES["tiles"]:
        tile = parse_tile_path(case["path"])
        hashes = parse_tile(bytes.fromhex(case["bytes"]), tile.width)
        if tile.level == 0:
            assert list(hashes) == LEAVES[tile.index * 256 : tile.index * 256 + tile.width]
        else:
            assert hashes == (root_of(256),)
    for level, index, width, path in CASES["paths"]:
        assert tile_path(level, index, width) == path
    bundle = CASES["bundle"]
    assert list(parse_bundle(bytes.fromhex(bundle["bytes"]), 3)) == unhex(bundle["entries"])


def test_notes_and_policies() -> None:
    notes = CASES["notes"]
    text = notes["checkpoint"].encode()
    log_key, cosigner_key = parse_note_key(notes["log_key"]), parse_note_key(notes["cosigner_key"])
    assert verify_line(parse_signature_line(notes["log_line"]), text, log_key) is None
    assert verify_line(parse_signature_line(notes["cosigner_line"]), text, cosigner_key)
    assert Signer(log_key.name, Algorithm.ED25519).key == log_key
    assert notes["cosigned_message"].endswith(notes["checkpoint"])
    for case in notes["cases"]:
        policy = parse_policy(case["policy"].encode())
        if case["error"] is None:
            verified = verify_checkpoint(case["note"].encode(), policy)
            assert [list(item) for item in verified.cosigned_at] == case["cosigned_at"]
            assert verified.root == parse_checkpoint(text).root == root_of(verified.size)
        else:
            with pytest.raises(Unproven) as err:
                verify_checkpoint(case["note"].encode(), policy)
            assert err.value.code == case["error"]


def test_cosigner_state() -> None:
    case = CASES["cosigner_state"]
    state = parse_cosigner_state(bytes.fromhex(case["bytes"]), case["origin"])
    assert (state.size, state.root, state.time_s) == (300, root_of(300), case["time_s"])
