"""The distinct frames of any film: few, unlike one another, in order, far enough apart."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from accord.fingerprint import distance_bits
from accord.fingerprint.distinct import ALIKE_BITS, GAP_MS, Distinct

# Few bits that differ, so that frames are alike as often as not.
FRAMES = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 2**40 - 1)), max_size=200)


def shown(frames: list[tuple[int, int]], most: int) -> Distinct[int]:
    distinct: Distinct[int] = Distinct(most)
    time_ms = 0
    for number, (pause_ms, value) in enumerate(frames):
        time_ms += pause_ms
        if not distinct.is_due(time_ms):
            continue
        bits = value.to_bytes(32, "big")
        distinct.looked_at(time_ms)
        if distinct.is_new(bits):
            distinct.keep(time_ms, bits, number)
    return distinct


@given(FRAMES, st.integers(1, 9))
def test_what_is_kept_is_little_and_unlike(frames: list[tuple[int, int]], most: int) -> None:
    distinct = shown(frames, most)
    times = [time_ms for time_ms, _, _ in distinct.kept]
    assert len(times) <= most
    assert bool(times) == bool(frames)
    assert all(b - a >= distinct.gap_ms or distinct.gap_ms == GAP_MS for a, b in pairwise(times))
    values = [value.to_bytes(32, "big") for _, value, _ in distinct.kept]
    assert all(distance_bits(a, b) > ALIKE_BITS for a, b in combinations(values, 2))


@given(FRAMES)
def test_while_there_is_room_every_frame_that_was_due_is_near_a_kept_one(
    frames: list[tuple[int, int]],
) -> None:
    distinct = shown(frames, 10_000)
    assert distinct.gap_ms == GAP_MS
    kept = [value for _, value, _ in distinct.kept]
    due_ms = time_ms = 0
    for number, (pause_ms, value) in enumerate(frames):
        time_ms += pause_ms
        if number == 0 or time_ms >= due_ms:
            due_ms = time_ms + GAP_MS
            assert any((value ^ other).bit_count() <= ALIKE_BITS for other in kept)


@given(st.integers(2, 9), st.integers(10, 300))
def test_a_film_without_times_is_thinned_as_well(most: int, count: int) -> None:
    distinct: Distinct[int] = Distinct(most)
    for number in range(count):
        bits = (((1 << 20) - 1) << (20 * (number % 12))).to_bytes(32, "big")
        if distinct.is_new(bits):
            distinct.keep(0, bits, number)
    assert 1 <= len(distinct.kept) <= most


@given(st.integers(2, 9), st.integers(12, 60))
def test_a_clock_that_runs_backwards_hides_nothing(most: int, count: int) -> None:
    times = [0, 4_000, *range(200, 200 + 40 * count, 40)]
    pauses = [after - before for before, after in pairwise(times)]
    frames = [
        (pause, ((1 << 20) - 1) << (20 * (number % 12))) for number, pause in enumerate(pauses)
    ]
    assert [number for _, _, number in shown(frames, 12).kept] == list(range(12))
    assert len(shown(frames, most).kept) > most // 2
