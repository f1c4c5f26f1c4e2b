"""Columns: however they grew and wherever their first rows lie, they answer the same."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.matching.index_column import column_kind, column_sections, open_column
from accord.matching.index_file import spans_of
from accord.registry.columns import Bytes, GrowingValues, Run, Values

WIDTH = 16
# Many equal values, many equal in their first eight bytes only, and extremes.
VALUE = st.builds(
    lambda head, tail: bytes([head]) * 8 + bytes([tail]) * 8,
    st.sampled_from([0, 1, 255]),
    st.sampled_from([0, 1, 255]),
) | st.binary(min_size=WIDTH, max_size=WIDTH)
COLUMN = st.lists(st.tuples(st.integers(1, 3), VALUE), max_size=40)


def arrays_of(column: list[tuple[int, bytes]]) -> Run:
    """Rows ascend by the given steps: not every row has a value."""
    rows = np.cumsum([step for step, _ in column], dtype=np.uint32)
    return Run.of(rows, bytes_of([value for _, value in column]))


def bytes_of(values: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, WIDTH)


def first(run: Run, count: int) -> Run:
    return Run.of(run.rows[:count], run.values[:count])


def check_same(values: Values, twin: Run) -> None:
    """Against loops that anybody can read."""
    held = dict(zip(twin.rows.tolist(), map(bytes, twin.values), strict=True))
    for value in {*held.values(), bytes(WIDTH), b"\2" * WIDTH}:
        assert values.equal_to(value).tolist() == [row for row in held if held[row] == value]
    assert len(values.equal_to(b"\0" * 20)) == 0
    asked = np.arange(int(twin.rows.max()) + 2 if len(twin) else 2, dtype=np.uint32)
    there, places = values.places_of(asked)
    assert [row for row in asked.tolist() if there[row]] == list(held)
    assert values.rows_at(places[there]).tolist() == list(held)
    assert [bytes(value) for value in values.at(places[there])] == list(held.values())
    assert [values.value_of(int(row)) for row in asked] == [held.get(int(row)) for row in asked]
    members, starts = values.equal_groups
    groups = [part.tolist() for part in np.split(members, starts)[1:]]
    expected: dict[bytes, list[int]] = {}
    for row, value in held.items():
        expected.setdefault(value, []).append(row)
    assert sorted(groups) == sorted(group for group in expected.values() if len(group) > 1)
    for row, value in list(held.items())[::3]:
        members, starts = values.equal_groups_of(np.array([row], dtype=np.uint32))
        found = [part.tolist() for part in np.split(members, starts)[1:]]
        assert (expected[value] in found) == (len(expected[value]) > 1)
        assert all(group in groups for group in found)
    for row in {0, *list(held)[::3], *list(held)[-2:]}:
        members, starts = values.equal_groups_since(row)
        found = [part.tolist() for part in np.split(members, starts)[1:]]
        late = [group for group in groups if group[-1] >= row]
        assert all(group in found for group in late), "every group with a late row"
        assert all(group in groups for group in found)
    whole = values.whole()
    for name in ("rows", "values", "keys", "order"):
        assert np.array_equal(getattr(whole, name), getattr(twin, name)), name


@given(
    COLUMN,
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(st.integers(0, 40), max_size=3),
    st.sampled_from([0, 3, 100]),
)
def test_where_the_first_rows_lie_does_not_show(
    column: list[tuple[int, bytes]], cuts: list[int], bases: list[int], fresh_rows: int
) -> None:
    twin = arrays_of(column)
    growing, done = GrowingValues(WIDTH, fresh_rows), 0
    for cut in sorted(min(cut, len(twin)) for cut in [*cuts, len(twin)]):
        growing.extend(twin.rows[done:cut], twin.values[done:cut])
        done = cut
        before = growing.freeze()
        held = len(before.base)
        for base in (min(wanted, len(twin)) for wanted in bases):
            longer = held < base <= done
            assert growing.adopt(first(twin, base)) == longer
            held = base if longer else held
        check_same(before, first(twin, done))
        check_same(growing.freeze(), first(twin, done))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_long_column_is_searched_by_where_its_keys_begin(seed: int, equal: int) -> None:
    source = np.random.default_rng(seed)
    keys = np.sort(source.integers(0, 2**64 - 1, 1 << 18, dtype=np.uint64))
    keys[1000 : 1000 + equal] = keys[1000]
    keys[-equal:] = np.uint64(2**64 - 1)
    nothing = np.empty((0, WIDTH), dtype=np.uint8)
    run = Run(np.empty(0, dtype=np.uint32), nothing, keys, np.empty(0, dtype=np.uint32))
    extremes = np.array([0, 2**64 - 1], dtype=np.uint64)
    asked = np.unique(np.concatenate([keys[::1000], keys[::777] + np.uint64(1), extremes]))
    low, counts = run.places_with(asked)
    assert np.array_equal(low, np.searchsorted(keys, asked))
    assert np.array_equal(counts, np.searchsorted(keys, asked, "right") - low)


@given(COLUMN, st.data())
def test_a_base_that_is_not_the_same_is_not_taken(
    column: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    twin = arrays_of([*column, (1, b"\7" * WIDTH)])
    growing = GrowingValues(WIDTH)
    growing.extend(twin.rows, twin.values)
    count = data.draw(st.integers(1, len(twin)))
    good = first(twin, count)
    place = data.draw(st.integers(0, count - 1))
    which = data.draw(st.sampled_from(["rows", "values", "keys", "order"]))
    bad = {name: getattr(good, name).copy() for name in ("rows", "values", "keys", "order")}
    bad[which].reshape(count, -1)[place, -1] ^= data.draw(st.integers(1, 255))
    assert not growing.adopt(Run(**bad))
    assert not growing.adopt(Run.empty(WIDTH))
    longer = Run.of(
        np.append(twin.rows, twin.rows[-1] + 1), np.append(twin.values, good.values[:1], 0)
    )
    assert not growing.adopt(longer)
    assert growing.adopt(good)
    check_same(growing.freeze(), twin)


@given(COLUMN)
def test_a_column_survives_its_bytes(column: list[tuple[int, bytes]]) -> None:
    run = arrays_of(column)
    layout, parts = column_sections(run)
    start, size = layout.sections[-1]
    memory = memoryview(bytearray(start + size))
    for (at, room), part in zip(layout.sections, parts, strict=True):
        memory[at : at + room] = part
    again = open_column(layout, memory)
    assert again.is_sorted()
    check_same(Values(again, Run.empty(WIDTH)), run)
    assert len(list(spans_of(memory, layout))) == 4
    kind = column_kind("md5", WIDTH)
    assert kind.layout(len(run), WIDTH) == layout
    assert kind.layout(len(run), WIDTH + 4) is None
    assert kind.agreed != column_kind("other", WIDTH).agreed
