"""`accord bench match`, small: what it reports has the promised shape. No time is judged."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from accord.cli.bench.match import OurPeer, Scale, _check_answers, run
from accord.cli.bench.match_peers import peers
from accord.cli.bench.match_rows import make_queries, make_rows
from accord.matching.index_kernel import Matches, distances_of
from accord.registry.columns import Bytes
from accord.wire.errors import Broken, Malformed

LOOKED = {
    "index",
    "kind",
    "listings",
    "us_p50",
    "us_p99",
    "us_cpu",
    "bulk_us",
    "matches_per_query",
    "build_s",
    "bytes_per_fingerprint",
    "times_ours",
    "ratio_to_tuned_faiss",
    "bulk_ratio_to_tuned_faiss",
}


def test_a_small_run_reports_every_figure(tmp_path: Path) -> None:
    told: list[str] = []
    scale = Scale(3000, 400, 31, ("uniform", "photo"), "none", vectors=500)
    report = run(scale, tmp_path, lambda what, _done, _total: told.append(what))
    figures = json.loads(json.dumps(report.as_json()))["figures"]
    assert [(row["index"], row["kind"]) for row in figures["match"]] == [
        ("Accord", "uniform"),
        ("Accord, mapped file", "uniform"),
        ("Accord", "photo"),
        ("Accord, mapped file", "photo"),
    ]
    assert all(set(row) == LOOKED for row in figures["match"])
    assert all(row["us_p50"] > 0 and row["bulk_us"] > 0 for row in figures["match"])
    changes = figures["changes"]
    assert [row["kind"] for row in changes] == ["uniform", "photo"]
    assert {"open_ms", "open_and_check_ms", "delta_10000_adds_us", "merge_s"} <= set(changes[0])
    assert told[0] == "uniform: making rows"
    assert [row["index"] for row in figures["vectors"]] == ["Accord"]


def test_rows_and_queries_are_what_they_are_called() -> None:
    for kind, most in (("uniform", 0), ("clustered", 1500)):
        rows = make_rows(kind, 2000, 1)
        assert np.array_equal(rows, make_rows(kind, 2000, 1))
        queries = make_queries(kind, rows, 2000, 2)
        near = [bool((distances_of(rows, query) <= 40).any()) for query in queries]
        assert near[0]
        assert near[1000]
        assert sum(near) == 2, "one in a thousand"
        twins = sum(bool((distances_of(rows, row) <= 60).sum() > 1) for row in rows)
        assert twins >= most
        assert bool(twins) == bool(most)


def test_photographs_give_rows_that_are_like_no_chance() -> None:
    rows = make_rows("photo", 3000, 1)
    assert np.array_equal(rows, make_rows("photo", 3000, 1))
    assert not np.array_equal(rows, make_rows("photo", 3000, 2))
    assert len({row.tobytes() for row in rows}) == len(rows)
    twins = sum(bool((distances_of(rows, row) <= 60).sum() > 1) for row in rows[:300])
    assert twins > 250
    # Pictures crowd some buckets of an index: two of them share one more often than by chance.
    keys = make_queries("photo", rows, 3000, 2).view(np.uint16)[:, 15]
    shared = (np.bincount(keys).astype(np.int64) ** 2).sum() / len(keys) - 1
    assert shared > 2 * len(keys) / 65536


def test_an_index_that_answers_otherwise_is_caught() -> None:
    class Lossy(OurPeer):
        def search(self, queries: Bytes) -> Matches:
            return super().search(queries)[1:]

    rows = make_rows("uniform", 3000, 3)
    good = OurPeer(31)
    good.build(rows)
    _check_answers([good], rows, 31)
    bad = Lossy(31)
    bad.build(rows)
    with pytest.raises(Broken, match=r"bench\.answers"):
        _check_answers([good, bad], rows, 31)


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(Malformed, match=r"bench\.peers"):
        peers(31)


def test_peers_give_the_answers_of_a_scan() -> None:
    pytest.importorskip("faiss")
    pytest.importorskip("threatexchange")
    rows = make_rows("clustered", 3000, 4)
    found = peers(31)
    assert len(found) == 4
    for peer in found:
        peer.build(rows)
    _check_answers(found, rows, 31)
