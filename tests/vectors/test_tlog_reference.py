"""Other people's cases: transparency-dev/merkle, a Tessera log, and two independent verifiers."""

import importlib
import json
import re
from base64 import b64decode
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from accord.tlog import (
    Checkpoint,
    Frontier,
    Note,
    TileReader,
    bundles_for,
    leaf_hash,
    parse_bundle,
    parse_policy,
    prove_consistency,
    prove_inclusion,
    root_at,
    sign_text,
    tile_path,
    tiles_for,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from accord.wire.errors import Unproven
from reference_kit import find_reference, reference_dir
from tlog_kit import ORIGIN, agencies, leaves, log_signer, naive_root, policy_of, store_of

# Its roots are 12 bytes of text that equal each other; a root has 32 bytes here, so it is refused.
EXCEPTIONS = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"}


def cases(kind: str) -> list[Any]:
    """The cases of one folder, or one placeholder that is skipped by name."""
    folder = find_reference()
    base = folder / "tlog" / "merkle" if folder else Path("absent")
    files = sorted((base / kind).rglob("*.json"))
    names = [path.relative_to(base).as_posix() for path in files]
    return names or [pytest.param("", id=f"{kind}-is-not-here")]


def load(name: str) -> dict[str, Any]:
    path = reference_dir("tlog", "merkle") / name
    case: dict[str, Any] = json.loads(path.read_text())
    for field in ("root", "root1", "root2", "leafHash"):
        if field in case:
            case[field] = b64decode(case[field] or "")
    case["proof"] = [b64decode(item) for item in case["proof"] or []]
    return case


@pytest.mark.parametrize("name", cases("inclusion"))
def test_inclusion_case(name: str) -> None:
    case = load(name)
    place = case["leafIdx"], case["treeSize"], case["leafHash"], case["proof"], case["root"]
    if case["wantErr"]:
        with pytest.raises(Unproven):
            verify_inclusion(*place)
    else:
        verify_inclusion(*place)


@pytest.mark.parametrize("name", cases("consistency"))
def test_consistency_case(name: str) -> None:
    case = load(name)
    heads = case["size1"], case["root1"], case["size2"], case["root2"], case["proof"]
    if case["wantErr"] or name in EXCEPTIONS:
        with pytest.raises(Unproven):
            verify_consistency(*heads)
    else:
        verify_consistency(*heads)


@pytest.mark.parametrize("kind", ["subtreeinclusion", "subtreeconsistency"])
def test_subtree_cases(kind: str) -> None:
    pytest.skip(f"{kind}: Accord has no subtree proofs, only whole tree heads are signed")


def test_tessera_log() -> None:
    """Every checkpoint of the log, from its key down to its entries."""
    folder = reference_dir("tlog", "tessera")
    key = re.search(r'LOG_PUBLIC_KEY="(.+)"', (folder / "build_log.sh").read_text())
    assert key is not None
    policy = parse_policy(f"log {key[1]}\nquorum none\n".encode())
    log, frontier, heads = folder / "log", Frontier(), list[tuple[int, bytes]]()
    for size in range(16):
        raw = (log / f"checkpoint.{size}").read_bytes()
        verified = verify_checkpoint(raw, policy)
        assert (verified.size, verified.raw) == (size, raw)
        reader = TileReader(size, lambda tile: (log / tile.path).read_bytes())
        assert root_at(reader, size) == verified.root
        for bundle in bundles_for(size):
            entries = parse_bundle((log / bundle.path).read_bytes(), bundle.width)
            hashes = [leaf_hash(entry) for entry in entries]
            frontier = Frontier().extend(hashes)
        assert frontier.root() == verified.root
        for index in range(size):
            proof = prove_inclusion(reader, index, size)
            verify_inclusion(index, size, hashes[index], proof, verified.root)
        for old, root in heads[1:]:
            verify_consistency(old, root, size, verified.root, prove_consistency(reader, old, size))
        heads.append((size, verified.root))
    assert (log / "checkpoint").read_bytes() == raw


SIZE = 67
STORE = store_of(SIZE)
ROOTS = [naive_root(leaves(size)) for size in range(SIZE + 1)]


def oracle(name: str) -> ModuleType:
    """A module of another implementation, or a skip that names it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed")


def test_tlog_scales_accepts_our_proofs_and_no_others() -> None:
    theirs = oracle("tlog_scales.tlog")
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = list(prove_inclusion(STORE, index, size))
            theirs.InclusionProof(index, size, proof).check(leaves(SIZE)[index], ROOTS[size])
            wrong = index ^ 1 if index ^ 1 < size else index - 1
            if size > 1:
                with pytest.raises(theirs.InclusionProofInvalid):
                    theirs.InclusionProof(wrong, size, proof).check(
                        leaves(SIZE)[index], ROOTS[size]
                    )
        for old in range(1, size + 1):
            proof = list(prove_consistency(STORE, old, size))
            theirs.ConsistencyProof(old, size, proof).check(ROOTS[old], ROOTS[size])


def test_tlog_scales_reads_our_paths_and_checkpoints() -> None:
    tiles, signing, tlog = (oracle(f"tlog_scales.{name}") for name in ("tiles", "signing", "tlog"))
    for size in (1, 255, 256, 70_000):
        for tile in [*tiles_for(size), *bundles_for(size)]:
            width = tile.width if tile.width < 256 else 0
            assert "/".join(tiles.tile_path(tile.level, tile.index, width)) == tile.path
    assert tile_path(2, 10**9) == "/".join(tiles.tile_path(2, 10**9))
    log, cosigners = log_signer(), agencies(3)
    text = Checkpoint(ORIGIN, SIZE, ROOTS[SIZE]).encode()
    lines = (sign_text(text, log.key, log.sign), *(each.cosign(text, 99) for each in cosigners))
    note = Note(text, lines)
    assert verify_checkpoint(note.encode(), policy_of(cosigners, log)).size == SIZE
    head = tlog.Checkpoint.from_text(note.encode().decode())
    for signer in (log, *cosigners):
        vkey = signing.Vkey.from_string(signer.key.encode())
        assert vkey.serialize() == signer.key.encode()
        head.verify(vkey)


def test_pymerkle_builds_the_same_trees_and_proofs() -> None:
    theirs = oracle("pymerkle")
    tree = theirs.InmemoryTree(algorithm="sha256")
    for index in range(SIZE):
        tree.append_entry(f"entry {index}".encode())
    for size in range(1, SIZE + 1):
        assert tree.get_root(size) == ROOTS[size]
        for index in range(size):
            path = tree.prove_inclusion(index + 1, size).path
            assert path[0] == leaves(SIZE)[index]
            assert tuple(path[1:]) == prove_inclusion(STORE, index, size)
        for old in range(1, size + 1):
            # Its proofs carry other nodes than RFC 6962's, so they meet ours in the roots.
            tree.prove_consistency(old, size).verify(ROOTS[old], ROOTS[size], old, size)
