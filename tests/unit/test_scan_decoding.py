"""A scaled decoding settles only what the exact one could not decide otherwise."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accord.fingerprint import Decoding, Fingerprint, Fingerprinted, fingerprint_bytes
from accord.matching import Context, Query, query_of
from accord.matching.decision import Answer
from accord.media import walk
from accord.scan.bulk import How, Scan
from accord.scan.bulk_state import BulkState
from accord.scan.screener import Screener
from accord.statements.rules import Scope
from accord.wire.limits import PDQ_DRIFT_MAX, PDQ_THRESHOLD_MAX
from scan_kit import CLOUD, Scene, jpeg, looked_at

ANYWHERE = Context()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path / "home")
    opened.list_pictures(1)
    opened.sync()
    yield opened
    opened.close()


def with_flipped(bits: bytes, places: list[int]) -> bytes:
    number = int.from_bytes(bits, "big")
    for place in places:
        number ^= 1 << place
    return number.to_bytes(32, "big")


def test_a_match_is_exact_and_a_stranger_scaled(scene: Scene) -> None:
    scaled = fingerprint_bytes(jpeg(1), Decoding.SCALED)
    assert isinstance(scaled, Fingerprinted)
    assert not scaled.is_exact  # So this test is about something.
    screener = scene.screener
    asked = [screener.screen_bytes(jpeg(seed), ANYWHERE) for seed in (1, 2)]
    asked += [asyncio.run(screener.screen_bytes_async(jpeg(seed), ANYWHERE)) for seed in (1, 2)]
    assert [one.query.is_exact for one in asked] == [True, False] * 2
    assert [one.decision.answer for one in asked] == [Answer.MATCH, Answer.NO_MATCH] * 2
    assert asked[0].query == query_of(looked_at(1))


def test_a_platform_may_decode_everything_whole(scene: Scene) -> None:
    screener = Screener(
        scene.replica, CLOUD, scene.receipts, scene.pool, scene.clock, decoding=Decoding.EXACT
    )
    screener.refresh()
    assert screener.screen_bytes(jpeg(2), ANYWHERE).query == query_of(looked_at(2))


def test_whatever_the_drift_could_bring_near_is_decoded_whole(scene: Scene) -> None:
    """Exact at the threshold, scaled as far beyond it as it drifts: still asked again."""
    screen = scene.screener.running.screen
    listed = looked_at(1).main.bits
    random = np.random.default_rng(4)
    for distance in range(0, 80, 3):
        places = [int(place) for place in random.permutation(256)[:distance]]
        frame = Fingerprint(with_flipped(listed, places), 100)
        near = screen.may_match(Query(frames=(frame,), is_exact=False), ANYWHERE)
        assert near == (distance <= PDQ_THRESHOLD_MAX + PDQ_DRIFT_MAX)
        is_match = screen.decide(Query(frames=(frame,)), ANYWHERE).answer is Answer.MATCH
        assert is_match == (distance <= PDQ_THRESHOLD_MAX)


def test_a_digest_or_a_quality_at_the_floor_is_decoded_whole(scene: Scene) -> None:
    screen = scene.screener.running.screen
    stranger = query_of(looked_at(2))
    assert not screen.may_match(stranger, ANYWHERE)
    assert screen.may_match(replace(stranger, digests=query_of(looked_at(1)).digests), ANYWHERE)
    for quality, is_settled in ((55, True), (54, False), (0, False)):
        frame = Fingerprint(stranger.frames[0].bits, quality)
        assert screen.may_match(Query(frames=(frame,)), ANYWHERE) != is_settled


def test_a_scan_reads_again_what_a_new_listing_comes_near(scene: Scene, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for seed in (2, 3):
        (files / f"{seed}.jpg").write_bytes(jpeg(seed))

    def scan() -> list[tuple[How, str]]:
        state = BulkState(tmp_path / "scan.sqlite")
        try:
            answers = Scan(scene.screener, Context(scope=Scope.STORED), state).run(walk([files]))
            return [(answer.how, answer.decision) for answer in answers]
        finally:
            state.close()

    assert scan() == [(How.READ, "no_match")] * 2
    scene.list_pictures(3)
    scene.sync()
    assert scan() == [(How.FINGERPRINTS, "no_match"), (How.READ, "match")]
    scene.list_pictures(4)
    scene.sync()
    assert scan() == [(How.FINGERPRINTS, "no_match"), (How.FINGERPRINTS, "match")]
