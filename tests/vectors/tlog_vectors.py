"""Writes vectors/tlog.json: `python tests/vectors/tlog_vectors.py`. Deterministic.

Keys are Ed25519 private keys whose 32 bytes are SHA-256 of `accord test key ` and the key's name.
Cases carry bytes in hex, texts as they are.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from accord.tlog import (  # noqa: E402 (after the path)
    Checkpoint,
    CosignerState,
    Frontier,
    Note,
    consortium_policy,
    encode_bundle,
    encode_tile,
    prove_consistency,
    prove_inclusion,
    root_at,
    sign_text,
    tile_at,
    tile_path,
    verify_checkpoint,
)
from accord.tlog.note import cosigned_message  # noqa: E402 (after the path)
from tlog_kit import ORIGIN, Signer, agencies, leaves, log_signer, store_of  # noqa: E402 (after the path)

FILE = ROOT / "vectors" / "tlog.json"
SIZE = 300
TIME_S = 1_700_000_000


def build() -> dict[str, Any]:
    """All cases of the file."""
    store = store_of(SIZE)
    return {
        "source": "docs/spec/log.md",
        "generator": "tests/vectors/tlog_vectors.py",
        "date": "2026-01-01",
        "entry": "leaf i hashes the ASCII text `entry <i>`, i from 0",
        "frontiers": [
            {
                "size": size,
                "root": root_at(store, size).hex(),
                "frontier": Frontier().extend(leaves(size)).encode().hex(),
            }
            for size in (0, 1, 2, 3, 7, 8, 255, 256, SIZE)
        ],
        "inclusion": [
            {"index": index, "size": size, "leaf": leaves(SIZE)[index].hex(), **proof_of(proof)}
            for index, size in (
                (0, 1),
                (0, 2),
                (6, 7),
                (4, 8),
                (255, 256),
                (256, SIZE),
                (299, SIZE),
            )
            for proof in [prove_inclusion(store, index, size)]
        ],
        "consistency": [
            {"old": old, "new": new, **proof_of(prove_consistency(store, old, new))}
            for old, new in ((1, 2), (3, 7), (4, 8), (6, 8), (7, 7), (256, SIZE), (299, SIZE))
        ],
        "tiles": [
            {"path": tile.path, "bytes": encode_tile(store, tile).hex()}
            for tile in (tile_at(0, 1, SIZE), tile_at(1, 0, SIZE))
        ],
        "paths": [[level, at, width, tile_path(level, at, width)] for level, at, width in PATHS],
        "bundle": {"entries": ["", "61", "6263"], "bytes": encode_bundle([b"", b"a", b"bc"]).hex()},
        "notes": notes(root_at(store, SIZE)),
        "cosigner_state": {
            "origin": ORIGIN,
            "size": SIZE,
            "time_s": TIME_S,
            "bytes": CosignerState(SIZE, root_at(store, SIZE), TIME_S).encode(ORIGIN).hex(),
        },
    }


PATHS = ((0, 0, 256), (0, 1234067, 256), (2, 999, 17), (-1, 1000, 1))


def proof_of(proof: tuple[bytes, ...]) -> dict[str, list[str]]:
    return {"proof": [item.hex() for item in proof]}


def notes(root: bytes) -> dict[str, Any]:
    """One checkpoint, its policy, and what each set of cosigners makes of it."""
    log, members, outside = (
        log_signer(),
        agencies(4),
        [Signer(f"witness.example/{i}") for i in "ab"],
    )
    named = [(f"agency-{index}", signer.key) for index, signer in enumerate(members)]
    plain = consortium_policy([log.key], named)
    both = consortium_policy(
        [log.key], named, [(n, s.key) for n, s in zip("ab", outside, strict=True)], 1
    )
    text = Checkpoint(ORIGIN, SIZE, root).encode()
    line = sign_text(text, log.key, log.sign)
    times = {signer.key.name: TIME_S + at for at, signer in enumerate((*members, *outside))}
    cases = []
    for policy, signers, code in (
        (plain, members[:3], None),
        (plain, members[1:], None),
        (plain, members[:2], "tlog.quorum"),
        (both, members[:3], "tlog.quorum"),
        (both, [*members[:3], outside[1]], None),
        (both, [*members[:2], *outside], "tlog.quorum"),
    ):
        lines = [signer.cosign(text, times[signer.key.name]) for signer in signers]
        note = Note(text, (line, *lines)).encode()
        case: dict[str, Any] = {"policy": policy.encode().decode(), "note": note.decode()}
        if code is None:
            verified = verify_checkpoint(note, policy)
            case["cosigned_at"] = [list(item) for item in verified.cosigned_at]
        cases.append({**case, "error": code})
    first = members[0]
    return {
        "log_key": log.key.encode(),
        "cosigner_key": first.key.encode(),
        "checkpoint": text.decode(),
        "log_line": line.encode(),
        "cosigned_message": cosigned_message(text, TIME_S).decode(),
        "cosigner_line": first.cosign(text, TIME_S).encode(),
        "cases": cases,
    }


def write() -> None:
    FILE.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
