"""RFC 6962 Merkle trees: hashes, the frontier a writer keeps, proofs and their verifiers.

Not here: tiles (tiles), who signed a root (policy), where hashes are stored (a HashReader).
Invariants: a verifier raises or proves; a frontier grown leaf by leaf or at once is the same.
A proof does not authenticate the tree size: take size and root from a signed note only.
Source: RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4, docs/spec/log.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from accord.wire.errors import Malformed, Unproven
from accord.wire.limits import LOG_SIZE_MAX

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """The hash of the full subtree over leaves [index * 2**level, (index + 1) * 2**level)."""

    level: int
    index: int
    hash: bytes


class HashReader(Protocol):
    """Where a prover finds subtree hashes."""

    def node(self, level: int, index: int) -> bytes:
        """The hash of a full subtree, as in `Node`; asked only for subtrees inside the tree size
        given to the prover. Repeatable, no effect. Raises: Unavailable, Malformed.
        """
        ...


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """Everything a writer must keep to go on growing a tree: one hash per set bit of the size.

    Shape: `hashes` are the roots of the full subtrees that tile [0, size), largest first.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LOG_SIZE_MAX or len(self.hashes) != self.size.bit_count():
            raise Malformed("tlog.frontier", size=self.size, hashes=len(self.hashes))
        if any(len(item) != HASH_BYTES for item in self.hashes):
            raise Malformed("tlog.frontier", size=self.size)

    def append(self, leaf: bytes) -> "Frontier":
        """`leaf` is a leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The frontier after these leaf hashes; linear in their count."""
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            stack.append(leaf)
            carry = size
            while carry & 1:
                right = stack.pop()
                stack[-1] = node_hash(stack[-1], right)
                carry >>= 1
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        return _fold(self.hashes)

    def encode(self) -> bytes:
        """Shape: size (8 bytes big-endian), then the hashes, 32 bytes each."""
        return self.size.to_bytes(8, "big") + b"".join(self.hashes)


def parse_frontier(raw: bytes) -> Frontier:
    """Shape: as `Frontier.encode`. Raises: Malformed."""
    if len(raw) < 8 or (len(raw) - 8) % HASH_BYTES:
        raise Malformed("tlog.frontier", bytes=len(raw))
    hashes = tuple(raw[at : at + HASH_BYTES] for at in range(8, len(raw), HASH_BYTES))
    return Frontier(int.from_bytes(raw[:8], "big"), hashes)


def completed_nodes(frontier: Frontier, leaves: Iterable[bytes]) -> Iterator[Node]:
    """Every full subtree that appending these leaf hashes completes, leaves included.

    A store that keeps them all can serve any tile and any proof; each is yielded exactly once in
    the life of a log, children before parents.
    """
    size, stack = frontier.size, list(frontier.hashes)
    for leaf in leaves:
        stack.append(leaf)
        level, index = 0, size
        yield Node(level, index, leaf)
        while index & 1:
            right = stack.pop()
            stack[-1] = node_hash(stack[-1], right)
            level, index = level + 1, index >> 1
            yield Node(level, index, stack[-1])
        size += 1


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return Frontier().extend(leaves).root()


def root_at(reader: HashReader, size: int) -> bytes:
    """The root of the first `size` leaves. Raises: Malformed, for a size that cannot be."""
    _check_range(0, size)
    return _range_root(reader, 0, size) if size else EMPTY_ROOT


def frontier_at(reader: HashReader, size: int) -> Frontier:
    """The frontier of the first `size` leaves. Raises: Malformed, for a size that cannot be."""
    _check_range(0, size)
    return Frontier(size, tuple(_subtrees(reader, 0, size)))


def prove_inclusion(reader: HashReader, index: int, size: int) -> tuple[bytes, ...]:
    """The sibling hashes from leaf `index` up to the root at `size`. Raises: Malformed."""
    _check_range(index, size)
    if index == size:
        raise Malformed("tlog.range", low=index, high=size)
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(reader, middle, end))
            end = middle
        else:
            path.append(_range_root(reader, start, middle))
            start = middle
    return tuple(reversed(path))


def prove_consistency(reader: HashReader, old: int, new: int) -> tuple[bytes, ...]:
    """What shows that the tree at `new` begins with the tree at `old`; empty where there is
    nothing to show (equal sizes, or an empty old tree). Raises: Malformed.
    """
    _check_range(old, new)
    if old in (0, new):
        return ()
    start, end, whole, path = 0, new, True, list[bytes]()
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(reader, middle, end))
            end = middle
        else:
            path.append(_range_root(reader, start, middle))
            start, whole = middle, False
    if not whole:  # A whole old tree is a subtree of the new one: the verifier has its root.
        path.append(_range_root(reader, start, end))
    return tuple(reversed(path))


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """The leaf hash stands at `index` in the tree with this size and root. Raises: Unproven."""
    if not 0 <= index < size <= LOG_SIZE_MAX or not _are_hashes(leaf, root, *proof):
        raise Unproven("tlog.inclusion", index=index, size=size)
    here, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Unproven("tlog.inclusion", index=index, size=size)
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            while not here & 1:  # A right edge climbs for free up to its first left sibling.
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    if last != 0 or found != root:
        raise Unproven("tlog.inclusion", index=index, size=size)


def verify_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """The tree (size2, root2) begins with the tree (size1, root1).

    An empty first tree proves nothing and is refused: who holds nothing has nothing to compare.
    Raises: Unproven.
    """
    if not 0 < size1 <= size2 <= LOG_SIZE_MAX or not _are_hashes(root1, root2, *proof):
        raise Unproven("tlog.consistency", old=size1, new=size2)
    if size1 == size2:
        if proof or root1 != root2:
            raise Unproven("tlog.consistency", old=size1, new=size2)
        return
    # A full old tree is itself the first node of the path.
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    here, last = size1 - 1, size2 - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    if not path or not proof:
        raise Unproven("tlog.consistency", old=size1, new=size2)
    found1 = found2 = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Unproven("tlog.consistency", old=size1, new=size2)
        if here & 1 or here == last:
            found1, found2 = node_hash(sibling, found1), node_hash(sibling, found2)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            found2 = node_hash(found2, sibling)
        here, last = here >> 1, last >> 1
    if last != 0 or found1 != root1 or found2 != root2:
        raise Unproven("tlog.consistency", old=size1, new=size2)


def _check_range(low: int, high: int) -> None:
    if not 0 <= low <= high <= LOG_SIZE_MAX:
        raise Malformed("tlog.range", low=low, high=high)


def _are_hashes(*items: bytes) -> bool:
    return all(len(item) == HASH_BYTES for item in items)


def _split(width: int) -> int:
    """The largest power of two below `width`: where RFC 6962 parts a tree."""
    return 1 << ((width - 1).bit_length() - 1)


def _subtrees(reader: HashReader, start: int, end: int) -> Iterator[bytes]:
    """The full subtrees that tile [start, end), left to right; `start` is a split point."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield reader.node(level, start >> level)
        start += 1 << level


def _range_root(reader: HashReader, start: int, end: int) -> bytes:
    return _fold(tuple(_subtrees(reader, start, end)))


def _fold(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root
