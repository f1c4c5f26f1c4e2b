"""The fast index against a scan that anybody can read, on every kernel of this machine.

Rows are seeded: uniform, in clusters, and bent so that they crowd a few buckets.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from accord.matching.index_kernel import MATCH, Kernel, Matches, distances_of
from accord.matching.index_layout import BANDED_MIN, bit_order, permuted
from accord.matching.index_native import kernels
from accord.matching.index_plan import BANDS, PDQ_BITS, plan_for
from accord.matching.index_ring import Ring

Bits = NDArray[np.uint8]
THRESHOLDS = [*range(32), 36, 44, 60]
KERNELS = kernels()
ANY_KERNEL = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def uniform(random: np.random.Generator, count: int) -> Bits:
    return random.integers(0, 256, (count, 32), dtype=np.uint8)


def clustered(random: np.random.Generator, count: int) -> Bits:
    """A few pictures, each in many variants up to 60 bits away."""
    seeds = uniform(random, max(1, count // 50))
    return flipped(random, seeds[random.integers(0, len(seeds), count)], 60)


def skewed(random: np.random.Generator, count: int) -> Bits:
    """Most bands of an index hold one of three values, so that few buckets hold everything."""
    bands = random.integers(0, 65536, (count, BANDS), dtype=np.uint16)
    crowd = random.random((count, BANDS)) < 0.8
    bands[crowd] = random.choice(np.array([0, 0xFFFF, 1], np.uint16), int(crowd.sum()))
    return unpermuted(bands.view(np.uint8))


def identical(random: np.random.Generator, count: int) -> Bits:
    return np.repeat(uniform(random, 1), count, axis=0)


FAMILIES: list[Callable[[np.random.Generator, int], Bits]] = [
    uniform,
    clustered,
    skewed,
    identical,
]


def unpermuted(hashes: Bits) -> Bits:
    """The PDQs that an index would keep as `hashes`."""
    bits = np.unpackbits(hashes, axis=1)
    plain = np.empty_like(bits)
    plain[:, np.array(bit_order())] = bits
    return np.packbits(plain, axis=1)


def flipped(random: np.random.Generator, bits: Bits, most: int) -> Bits:
    """Each row with up to `most` bits the other way."""
    ranks = random.random((len(bits), PDQ_BITS)).argsort(axis=1)
    changes = ranks < random.integers(0, most + 1, (len(bits), 1))
    return np.packbits(np.unpackbits(bits, axis=1) ^ changes, axis=1)


def queries_for(random: np.random.Generator, bits: Bits, count: int) -> Bits:
    """Some near a row, at every distance that matters, and some near none."""
    near = flipped(random, bits[random.integers(0, len(bits), count)], 64) if len(bits) else bits
    return np.concatenate([near, uniform(random, count)])


def scan(bits: Bits, queries: Bits, threshold: int) -> Matches:
    """Every row within the threshold of each query, by query, distance and row."""
    parts = []
    for number, query in enumerate(queries):
        distances = distances_of(bits, query)
        places = np.flatnonzero(distances <= threshold)
        part = np.empty(len(places), dtype=MATCH)
        part["query"], part["place"], part["distance"] = number, places, distances[places]
        parts.append(part[np.lexsort((places, part["distance"]))])
    return np.concatenate(parts) if parts else np.empty(0, dtype=MATCH)


def check(ring: Ring, bits: Bits, queries: Bits, threshold: int) -> None:
    expected = scan(bits, queries, threshold)
    found = ring.search(queries.tobytes(), threshold)
    assert found.tolist() == expected.tolist()
    for number in range(0, len(queries), max(1, len(queries) // 5)):
        mine = expected[expected["query"] == number]
        single = ring.ask(queries[number].tobytes(), threshold)
        assert single["place"].tolist() == mine["place"].tolist()
        assert single["distance"].tolist() == mine["distance"].tolist()


@given(st.lists(st.integers(0, 16), min_size=16, max_size=16), st.integers(0, 255))
def test_the_lemma_names_a_band(distances: list[int], threshold: int) -> None:
    bands = np.array([distances], dtype=np.uint8)
    found = plan_for(threshold).finds(bands)
    assert sum(distances) > threshold or found.any()


@pytest.mark.parametrize("threshold", [0, 1, 15, 16, 31, 32, 36, 44, 47, 60, 63, 79])
def test_the_lemma_holds_where_it_is_tight(threshold: int) -> None:
    """Distances as even as can be, and as uneven, turned to begin at every band."""
    plan = plan_for(threshold)
    spread = [threshold * (j + 1) // 16 - threshold * j // 16 for j in range(16)]
    heaped = [max(0, min(16, threshold - 16 * j)) for j in range(16)]
    for shape, turn in product((spread, heaped, heaped[::-1], sorted(spread)), range(16)):
        assert plan.finds(np.roll(np.array([shape], dtype=np.uint8), turn, axis=1)).any()


@pytest.mark.parametrize("threshold", [0, 7, 15, 16, 31, 36, 44, 60])
def test_a_plan_probes_what_the_lemma_asks_and_nothing_twice(threshold: int) -> None:
    plan = plan_for(threshold)
    assert plan.budgets.sum() == threshold + 1
    for band in range(BANDS):
        steps = plan.steps[plan.first[band] : plan.first[band + 1]]
        budget, after = int(plan.budgets[band]), int(plan.budgets[(band + 1) % BANDS])
        masks = np.arange(65536, dtype=np.uint16)
        assert sorted(steps["mask"]) == list(masks[np.bitwise_count(masks) < budget])
        bits = np.bitwise_count(steps["mask"]).astype(np.int64)
        assert list(steps["slack"]) == list(budget + after - 1 - bits)
        assert set(steps["band"]) <= {band}


@ANY_KERNEL
@pytest.mark.parametrize("family", FAMILIES)
def test_it_finds_what_a_scan_finds(
    kernel: Kernel, family: Callable[[np.random.Generator, int], Bits]
) -> None:
    random = np.random.default_rng(81)
    bits = family(random, 6000)
    ring = Ring.build(np.arange(len(bits), dtype=np.uint32), bits, kernel)
    assert ring.layout.bands == BANDS
    few = kernel.name == "numpy" or family is identical
    for threshold in THRESHOLDS[:: 5 if few else 1]:
        check(ring, bits, queries_for(random, bits, 4 if few else 12), threshold)


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("family", [uniform, clustered, skewed])
@pytest.mark.parametrize("threshold", [0, 31, 36, 60, 79, 80, 256])
def test_thousands_at_once_find_the_same(
    kernel: Kernel, family: Callable[[np.random.Generator, int], Bits], threshold: int
) -> None:
    random = np.random.default_rng(82)
    bits = family(random, 400 if threshold == 256 else 20_000)
    ring = Ring.build(np.arange(len(bits), dtype=np.uint32), bits, kernel)
    queries = queries_for(random, bits, 1100)
    found = ring.search(queries.tobytes(), threshold)
    some = random.choice(len(queries), 60, replace=False)
    expected = scan(bits, queries[some], threshold)
    for place, number in enumerate(some):
        mine, wanted = found[found["query"] == number], expected[expected["query"] == place]
        assert mine["place"].tolist() == wanted["place"].tolist()
        assert mine["distance"].tolist() == wanted["distance"].tolist()
    assert (np.diff(found["query"].astype(np.int64)) >= 0).all()
    # And all that the one-by-one search finds.
    step = 500 if threshold < 80 else 2200
    parts = [ring.search(queries[i : i + step].tobytes(), threshold) for i in range(0, 2200, step)]
    assert sum(map(len, parts)) == len(found)


@ANY_KERNEL
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 64, 1024, BANDED_MIN - 1, BANDED_MIN, 4096])
@pytest.mark.parametrize("family", [uniform, identical])
def test_every_size_and_powers_of_two(
    kernel: Kernel, count: int, family: Callable[[np.random.Generator, int], Bits]
) -> None:
    random = np.random.default_rng(count)
    bits = family(random, count)
    ring = Ring.build(np.arange(count, dtype=np.uint32), bits, kernel)
    queries = np.concatenate([queries_for(random, bits, 3), bits[:2]])
    for threshold in (0, 1, 31, 60, 256):
        check(ring, bits, queries, threshold)


@ANY_KERNEL
def test_a_crowd_of_twins_is_found_whole(kernel: Kernel) -> None:
    """Half of all rows in one bucket of every band: more than any list has room for."""
    random = np.random.default_rng(83)
    bits = np.concatenate([identical(random, 9000), uniform(random, 9000)])
    bits = bits[random.permutation(len(bits))]
    ring = Ring.build(np.arange(len(bits), dtype=np.uint32), bits, kernel)
    twin = bits[np.flatnonzero((bits == bits[0]).all(axis=1))[0]]
    near = flipped(random, np.repeat(twin[None], 3, axis=0), 33)
    check(ring, bits, np.concatenate([near, uniform(random, 2)]), 31)
    if kernel.name != "numpy":
        many = np.concatenate([np.repeat(near, 7, axis=0), uniform(random, 2100)])
        found = ring.search(many.tobytes(), 31)
        assert found.tolist() == scan(bits, many[:21], 31).tolist()


@pytest.mark.parametrize("count", [0, 5, BANDED_MIN, 10_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_builds_the_same_bytes(
    count: int, family: Callable[[np.random.Generator, int], Bits]
) -> None:
    bits = family(np.random.default_rng(84), count)
    rows = np.arange(count, dtype=np.uint32) * 3
    built = {bytes(Ring.build(rows, bits, kernel).memory) for kernel in KERNELS}
    assert len(built) == 1


@given(st.binary(min_size=32, max_size=32))
def test_the_order_of_bits_keeps_distances(bits: bytes) -> None:
    row = np.frombuffer(bits, dtype=np.uint8).reshape(1, 32)
    again = permuted(row)
    assert np.array_equal(unpermuted(again), row)
    assert np.unpackbits(again).sum() == np.unpackbits(row).sum()
    for kernel in KERNELS:
        out = np.empty_like(row)
        kernel.permute(row, out)
        assert np.array_equal(out, again)
