"""Hashes, frontiers and the ends of what can be proved; all pairs are in tests/property."""

import pytest

from accord.tlog import (
    EMPTY_ROOT,
    Frontier,
    completed_nodes,
    frontier_at,
    leaf_hash,
    parse_frontier,
    prove_consistency,
    prove_inclusion,
    root_at,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from accord.wire.errors import Malformed, Unproven
from tlog_kit import leaves, naive_root, store_of

SIZES = 130
STORE = store_of(SIZES)
LEAVES = leaves(SIZES)
ROOTS = [naive_root(LEAVES[:size]) for size in range(SIZES + 1)]


def test_known_answers_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex().startswith("e3b0c44298fc1c14")
    assert leaf_hash(b"").hex().startswith("6e340b9cffb37a98")


def test_roots_and_frontiers_agree_with_the_recursion() -> None:
    frontier = Frontier()
    for size in range(SIZES + 1):
        assert frontier.root() == tree_root(LEAVES[:size]) == root_at(STORE, size) == ROOTS[size]
        assert frontier == Frontier().extend(LEAVES[:size]) == frontier_at(STORE, size)
        assert parse_frontier(frontier.encode()) == frontier
        if size < SIZES:
            frontier = frontier.append(LEAVES[size])


def test_growing_in_any_steps_is_the_same_tree() -> None:
    for cut in range(SIZES + 1):
        half = Frontier().extend(LEAVES[:cut])
        assert half.extend(LEAVES[cut:]) == STORE.frontier
        both = [*completed_nodes(Frontier(), LEAVES[:cut]), *completed_nodes(half, LEAVES[cut:])]
        assert {(node.level, node.index): node.hash for node in both} == STORE.nodes
        assert len(both) == len(STORE.nodes) == sum(SIZES >> level for level in range(8))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, -15), (0, 2**63)])
def test_impossible_places_are_unproven(index: int, size: int) -> None:
    with pytest.raises(Unproven, match=r"^tlog\.inclusion\b"):
        verify_inclusion(index, size, LEAVES[0], (), ROOTS[1])
    with pytest.raises(Malformed, match=r"^tlog\.range\b"):
        prove_inclusion(STORE, index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (2, 1), (-1, 1), (1, 2**63)])
def test_an_empty_or_larger_old_tree_is_unproven(old: int, new: int) -> None:
    with pytest.raises(Unproven, match=r"^tlog\.consistency\b"):
        verify_consistency(old, ROOTS[0], new, ROOTS[1], ())


def test_both_roots_of_a_consistency_proof_count() -> None:
    """The old tree is no power of two, so its root is not part of the path."""
    proof = prove_consistency(STORE, 6, 11)
    verify_consistency(6, ROOTS[6], 11, ROOTS[11], proof)
    for old_root, new_root in ((ROOTS[5], ROOTS[11]), (ROOTS[6], ROOTS[12])):
        with pytest.raises(Unproven, match=r"^tlog\.consistency\b"):
            verify_consistency(6, old_root, 11, new_root, proof)


def test_nothing_to_prove_needs_no_hashes() -> None:
    assert prove_consistency(STORE, 0, 7) == prove_consistency(STORE, 7, 7) == ()
    with pytest.raises(Malformed, match=r"^tlog\.range\b"):
        prove_consistency(STORE, 8, 7)


@pytest.mark.parametrize(
    "raw", [b"", bytes(7), bytes(7) + b"\x01", bytes(8) + bytes(32), bytes(9), b"\xff" * 8]
)
def test_a_frontier_has_one_hash_for_each_bit_of_its_size(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"^tlog\.frontier\b"):
        parse_frontier(raw)


def test_a_short_hash_is_no_frontier() -> None:
    with pytest.raises(Malformed, match=r"^tlog\.frontier\b"):
        Frontier(1, (b"short",))
