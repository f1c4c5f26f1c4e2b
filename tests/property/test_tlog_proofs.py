"""Every (index, size) and (old, new) pair up to 130, against the RFC's own recursion."""

import pytest

from accord.tlog import (
    EMPTY_ROOT,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from accord.wire.errors import Unproven
from tlog_kit import leaves, naive_path, naive_proof, naive_root, store_of

SIZES = 130
STORE = store_of(SIZES)
LEAVES = leaves(SIZES)
ROOTS = [naive_root(LEAVES[:size]) for size in range(SIZES + 1)]


def test_every_inclusion_proof() -> None:
    for size in range(1, SIZES + 1):
        for index in range(size):
            proof = prove_inclusion(STORE, index, size)
            assert list(proof) == naive_path(index, LEAVES[:size])
            verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size])
            if proof:
                with pytest.raises(Unproven, match=r"^tlog\.inclusion\b"):
                    verify_inclusion(index ^ 1, size, LEAVES[index], proof, ROOTS[size])
            for bad in ((*proof, ROOTS[1]), (ROOTS[1], *proof), proof[1:] if proof else [b""]):
                with pytest.raises(Unproven, match=r"^tlog\.inclusion\b"):
                    verify_inclusion(index, size, LEAVES[index], bad, ROOTS[size])


def test_every_consistency_proof() -> None:
    for new in range(1, SIZES + 1):
        for old in range(1, new + 1):
            proof = prove_consistency(STORE, old, new)
            assert list(proof) == naive_proof(old, LEAVES[:new])
            verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)
            for root1, root2 in ((EMPTY_ROOT, ROOTS[new]), (ROOTS[old], EMPTY_ROOT)):
                with pytest.raises(Unproven, match=r"^tlog\.consistency\b"):
                    verify_consistency(old, root1, new, root2, proof)
            for bad in ((*proof, ROOTS[1]), (ROOTS[1], *proof), proof[1:] if proof else [b""]):
                with pytest.raises(Unproven, match=r"^tlog\.consistency\b"):
                    verify_consistency(old, ROOTS[old], new, ROOTS[new], bad)
