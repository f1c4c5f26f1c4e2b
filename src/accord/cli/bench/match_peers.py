"""The indexes that others use, behind one interface, to be timed beside ours.

Each is used in its fastest form: MultiHash inside IDMap2 (bare it is two to four times slower), and
once more with the bands that suit a threshold of 31 best. Peers are optional: `accord[bench]`.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from accord.matching.index_kernel import MATCH, Matches
from accord.matching.index_plan import PDQ_BITS
from accord.registry.columns import Bytes
from accord.wire.errors import Malformed

TUNED: Final = "faiss MultiHash 11x23 nflip 2"
_VECTORS: Final = 1 << 16
_BLOCK: Final = 256  # Queries that Flat compares together: its best.


class Peer(Protocol):
    """An index of PDQs, in memory, asked for all rows within a threshold."""

    name: str

    def build(self, bits: Bytes) -> None: ...

    def ask(self, query: Bytes) -> object:
        """One query as this peer's users ask it. Shape: (1, 32)."""
        ...

    def search(self, queries: Bytes) -> Matches:
        """Many at once, in any order."""
        ...


class _Faiss:
    def __init__(self, faiss: Any, name: str, make: Callable[[Any], Any], threshold: int) -> None:  # noqa: ANN401  (faiss has no types)
        self.name = name
        self._faiss, self._make, self._threshold = faiss, make, threshold
        self._index: Any = None

    def build(self, bits: Bytes) -> None:
        self._index = self._make(self._faiss)
        if hasattr(self._index, "id_map"):
            self._index.add_with_ids(bits, np.arange(len(bits), dtype=np.int64))
        else:
            self._index.add(bits)

    def ask(self, query: Bytes) -> object:
        return self._index.range_search(query, self._threshold + 1)  # Its radius is excluded.

    def search(self, queries: Bytes) -> Matches:
        parts: list[Matches] = []
        for start in range(0, len(queries), _BLOCK):
            part = queries[start : start + _BLOCK]
            limits, distances, places = self._index.range_search(part, self._threshold + 1)
            parts.append(_matches(limits, distances, places, start))
        return np.concatenate(parts)


class _ThreatExchange:
    """As HMA uses it: hexadecimal text in, Python objects out."""

    name = "python-threatexchange PDQIndex"

    def __init__(self, module: Any) -> None:  # noqa: ANN401  (it is loaded by name)
        self._make = module.PDQIndex
        self._index: Any = None

    def build(self, bits: Bytes) -> None:
        self._index = self._make((row.tobytes().hex(), place) for place, row in enumerate(bits))

    def ask(self, query: Bytes) -> object:
        return self._index.query(query.tobytes().hex())

    def search(self, queries: Bytes) -> Matches:
        found = [
            (number, match.metadata, match.similarity_info.distance)
            for number, query in enumerate(queries)
            for match in self._index.query(query.tobytes().hex())
        ]
        return np.array(found, dtype=MATCH)


def _matches(
    limits: NDArray[Any], distances: NDArray[Any], places: NDArray[Any], start: int
) -> Matches:
    found = np.empty(len(places), dtype=MATCH)
    ends = limits.astype(np.int64)
    found["query"] = np.repeat(np.arange(len(ends) - 1), ends[1:] - ends[:-1]) + start
    found["place"], found["distance"] = places, distances
    return found


class FlatVectors:
    """faiss FlatL2: compares every vector, in floats."""

    name = "faiss FlatL2"

    def __init__(self, vectors: Bytes) -> None:
        faiss = _faiss()
        self._index = faiss.IndexFlatL2(vectors.shape[1])
        for start in range(0, len(vectors), _VECTORS):
            self._index.add(vectors[start : start + _VECTORS].astype(np.float32))

    def ask(self, query: Bytes, distance: int) -> int:
        """How many lie within the distance. Shape: (1, 144)."""
        limits, _, _ = self._index.range_search(query.astype(np.float32), distance**2 + 0.5)
        return int(limits[-1])


def peers(threshold: int, *, with_python: bool = True) -> Sequence[Peer]:
    """Every peer, on one thread; without those that keep Python objects, which take 1 KB a row.

    Raises: Malformed, where they are not installed.
    """
    faiss = _faiss()
    threatexchange = _module("threatexchange.signal_type.pdq.pdq_index")

    def multihash(bands: int, width: int, flips: int) -> Callable[[Any], Any]:
        def make(library: Any) -> Any:  # noqa: ANN401
            inner = library.IndexBinaryMultiHash(PDQ_BITS, bands, width)
            inner.nflip = flips
            index = library.IndexBinaryIDMap2(inner)
            index.kept = inner  # The wrapper does not own it.
            return index

        return make

    found: list[Peer] = [
        _Faiss(faiss, "faiss Flat", lambda f: f.IndexBinaryFlat(PDQ_BITS), threshold)
    ]
    if threshold == 31:  # What these are complete for.
        found += [
            _Faiss(faiss, "faiss MultiHash 16x16", multihash(16, 16, 1), threshold),
            _Faiss(faiss, TUNED, multihash(11, 23, 2), threshold),
        ]
    if threshold == 31 and with_python:
        found.append(_ThreatExchange(threatexchange))
    return found


def _faiss() -> Any:  # noqa: ANN401  (it has no types)
    faiss = _module("faiss")
    faiss.omp_set_num_threads(1)
    return faiss


def _module(name: str) -> Any:  # noqa: ANN401  (it is optional)
    try:
        return importlib.import_module(name)
    except ImportError as err:
        raise Malformed(
            "bench.peers", missing=err.name or "", mend="install accord[bench]"
        ) from err
