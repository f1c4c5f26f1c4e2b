"""Slow, obvious twins of accord.tlog and keys from seeds, shared by its tests."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accord.tlog import (
    Algorithm,
    Frontier,
    NoteKey,
    Policy,
    Sign,
    completed_nodes,
    consortium_policy,
    leaf_hash,
)
from accord.tlog.note import SignatureLine, cosign_text
from accord.wire.keys import VerifyKey

ORIGIN = "accord-example"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def leaves(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(f"entry {index}".encode()) for index in range(count))


@cache
def naive_root(hashes: tuple[bytes, ...]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha(b"")
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:]))


def naive_path(index: int, hashes: tuple[bytes, ...]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1, word for word."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if index < k:
        return [*naive_path(index, hashes[:k]), naive_root(hashes[k:])]
    return [*naive_path(index - k, hashes[k:]), naive_root(hashes[:k])]


def naive_proof(old: int, hashes: tuple[bytes, ...], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2, word for word."""
    if old == len(hashes):
        return [] if whole else [naive_root(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if old <= k:
        return [*naive_proof(old, hashes[:k], whole), naive_root(hashes[k:])]
    return [*naive_proof(old - k, hashes[k:], False), naive_root(hashes[:k])]


class NodeStore:
    """A HashReader that keeps every completed node of one log, and refuses to rewrite one."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = Frontier()

    def grow(self, hashes: Sequence[bytes]) -> None:
        for node in completed_nodes(self.frontier, hashes):
            assert (node.level, node.index) not in self.nodes
            self.nodes[node.level, node.index] = node.hash
        self.frontier = self.frontier.extend(hashes)

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def store_of(count: int) -> NodeStore:
    store = NodeStore()
    store.grow(leaves(count))
    return store


class Signer:
    """A key that only tests hold, drawn from its name."""

    def __init__(self, name: str, algorithm: Algorithm = Algorithm.COSIGNATURE_V1) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(
            sha(b"accord test key " + name.encode())
        )
        raw = self._private.public_key().public_bytes_raw()
        self.key = NoteKey(name, algorithm, VerifyKey(raw))
        self.sign: Sign = self._private.sign

    def cosign(self, text: bytes, time_s: int) -> SignatureLine:
        return cosign_text(text, self.key, time_s, self.sign)


def log_signer() -> Signer:
    return Signer(ORIGIN, Algorithm.ED25519)


def agencies(count: int) -> list[Signer]:
    return [Signer(f"{ORIGIN}/agency-{index}") for index in range(count)]


def policy_of(cosigners: Sequence[Signer], *logs: Signer) -> Policy:
    named = [(signer.key.name.rpartition("/")[2], signer.key) for signer in cosigners]
    return consortium_policy([log.key for log in logs], named)


def flips(raw: bytes) -> Iterator[bytes]:
    """The same bytes with one bit flipped, for every bit."""
    for at, octet in enumerate(raw):
        for bit in range(8):
            yield raw[:at] + bytes([octet ^ 1 << bit]) + raw[at + 1 :]
