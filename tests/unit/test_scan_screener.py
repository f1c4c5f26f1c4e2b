"""The screener: the newest list, swapped under running queries, and the attester beside it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.audit.verdict import Outcome
from accord.fingerprint import Unhashable, UnhashableCode
from accord.matching import Context, query_of
from accord.matching.decision import Answer
from accord.scan.attesting import Attester
from accord.scan.contract import parse_fingerprints
from accord.scan.following import Following
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screener
from accord.statements.bodies import Attest
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.statements.rules import Action
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import JurisdictionId, TimeMs
from accord.wire.limits import ATTEST_ANCHOR_MS, STALE_MS_MAX
from audit_kit import HOUR_MS, evidence_on, judged
from consortium_kit import CHAIN
from scan_kit import CLOUD, Scene, jpeg, looked_at


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path)
    yield opened
    opened.close()


def attestations(scene: Scene) -> list[Attest]:
    bodies = [parse_envelope(parse_entry(leaf).statement).body for leaf in scene.consortium.leaves]
    return [body for body in bodies if isinstance(body, Attest)]


def test_without_a_list_nothing_is_answered(scene: Scene) -> None:
    with pytest.raises(Unavailable, match=r"screen\.no_list"):
        scene.screener.screen_found(looked_at(1), Context())
    assert scene.receipts.head().size == 0


def test_a_listed_picture_matches_and_leaves_a_receipt(scene: Scene) -> None:
    entry = scene.list_pictures(1, 2)
    scene.sync()
    hit = scene.screener.screen_bytes(jpeg(1), Context(), "upload-1")
    assert (hit.decision.answer, hit.decision.action) == (Answer.MATCH, Action.BLOCK)
    assert {reason.ref.entry for reason in hit.decision.reasons} >= {entry}
    assert hit.receipt.index == 0
    miss = scene.screener.screen_bytes(jpeg(3), Context())
    assert miss.decision.answer is Answer.NO_MATCH
    assert scene.receipts.head().size == 2


def test_what_could_not_be_looked_at_is_undetermined_and_has_a_receipt(scene: Scene) -> None:
    scene.list_pictures(1)
    scene.sync()
    for code in UnhashableCode:
        answer = scene.screener.screen_found(Unhashable(code, None), Context()).decision
        assert (answer.answer, answer.code) == (Answer.UNDETERMINED, code.value)
    digests = {"sha256": "00" * 32}
    asked = scene.screener.screen_query(parse_fingerprints(digests), Context()).decision
    assert (asked.answer, asked.code) == (Answer.UNDETERMINED, "query.digests_only")
    assert scene.receipts.head().size == len(UnhashableCode) + 1


def test_a_jurisdiction_that_is_not_the_platforms_is_refused_before_any_work(scene: Scene) -> None:
    scene.sync()
    with pytest.raises(Malformed, match=r"decision\.jurisdiction"):
        scene.screener.screen_bytes(b"", Context(jurisdictions=(JurisdictionId("DE"),)))
    assert scene.pool.worker_pids() == ()


def test_a_list_two_days_old_is_called_stale_and_goes_on(scene: Scene) -> None:
    scene.list_pictures(1)
    scene.sync()
    assert not scene.screener.screen_found(looked_at(1), Context()).decision.stale
    scene.later_ms = STALE_MS_MAX + 60_000
    old = scene.screener.screen_found(looked_at(1), Context()).decision
    assert (old.stale, old.answer) == (True, Answer.MATCH)


def test_a_clock_that_lags_the_ledger_dates_nothing_before_the_list(scene: Scene) -> None:
    following = scene.following()
    scene.list_pictures(1)
    following.once()
    block_ms = scene.screener.running.obligations.now_ms
    scene.later_ms = -3 * HOUR_MS
    found = scene.screener.screen_found(looked_at(1), Context())
    assert (found.receipt.time_ms, found.decision.stale) == (block_ms, False)
    assert found.decision.answer is Answer.MATCH
    scene.later_ms = 0
    scene.consortium.now = TimeMs(scene.consortium.now + 2 * HOUR_MS)
    following.once()  # Anchors the receipt.
    judged(evidence_on(scene, presented=[found]), Outcome.OK)


def test_the_list_is_swapped_while_queries_run(scene: Scene) -> None:
    scene.sync()
    query, stop, seen = query_of(looked_at(1)), threading.Event(), list[tuple[int, Answer]]()

    def ask() -> None:
        while not stop.is_set():
            found = scene.screener.screen_query(query, Context())
            seen.append((found.decision.checkpoint.size, found.decision.answer))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    sizes = [scene.screener.running.screen.checkpoint.size]
    scene.list_pictures(1)
    listed_at = len(scene.consortium.leaves)
    assert scene.sync()
    for version in (2, 3, 4):
        scene.rule(version, Action.BLOCK if version % 2 else Action.QUARANTINE)
        assert scene.sync()
        sizes.append(scene.screener.running.screen.checkpoint.size)
    last = sizes[-1]
    while not any(size == last for size, _ in seen[-50:]):
        assert all(thread.is_alive() for thread in threads)
    stop.set()
    for thread in threads:
        thread.join()
    for size, answer in seen:
        assert (answer is Answer.MATCH) == (size >= listed_at)
    assert scene.receipts.head().size == len(seen)


def test_another_process_sees_what_the_follower_wrote(scene: Scene, tmp_path: Path) -> None:
    reader = scene.open_replica()
    receipts = ReceiptLog(tmp_path / "other.sqlite", CHAIN, CLOUD, scene.key)
    other = Screener(reader, CLOUD, receipts, scene.pool, scene.clock)
    assert not other.refresh()
    scene.sync()
    assert other.refresh()
    before = other.running
    assert not other.refresh()
    scene.list_pictures(4)
    scene.sync()
    assert other.refresh()
    assert other.running.version != before.version
    found = other.screen_found(looked_at(4), Context()).decision
    assert found.answer is Answer.MATCH
    receipts.close()
    reader.close()


def test_a_dispute_changes_the_lists_version_though_not_its_active_root(scene: Scene) -> None:
    entry = scene.list_pictures(5)
    scene.sync()
    before = scene.screener.running
    scene.dispute(entry)
    assert scene.sync()
    after = scene.screener.running
    assert after.obligations.active_root == before.obligations.active_root
    assert after.version != before.version
    assert scene.screener.screen_found(looked_at(5), Context()).decision.answer is Answer.MATCH


def test_attests_once_per_change_and_never_because_of_itself(scene: Scene) -> None:
    following = scene.following()
    following.once()
    for _ in range(5):
        scene.later_ms += 60_000
        following.once()
    assert len(attestations(scene)) == 1
    scene.list_pictures(1)
    for _ in range(5):
        scene.later_ms += 60_000
        following.once()
    said = attestations(scene)
    assert len(said) == 2
    running = scene.screener.running
    assert said[-1].active_root == running.obligations.active_root
    assert said[-1].size >= len(scene.consortium.leaves) - 1


def test_a_burst_of_changes_is_one_attestation(scene: Scene) -> None:
    following = scene.following()
    following.once()
    scene.later_ms -= 10_000  # Each block is a second: the gap is not over after these.
    for version in (2, 3, 4):
        scene.later_ms -= 1_000
        scene.rule(version, Action.BLOCK if version % 2 else Action.REVIEW)
        following.once()
    assert len(attestations(scene)) == 1
    assert scene.attester.wait_ms(scene.screener, scene.clock())
    scene.later_ms += 60_000
    following.once()
    assert len(attestations(scene)) == 2


def test_an_attestation_that_did_not_get_through_is_said_again(scene: Scene) -> None:
    following = scene.following()
    scene.source.refuses_submit = True
    following.once()
    assert attestations(scene) == []
    scene.source.refuses_submit = False
    following.once()
    assert attestations(scene) == []  # Not before the gap is over.
    scene.later_ms += 60_000
    following.once()
    assert len(attestations(scene)) == 1


def test_receipts_are_anchored_within_the_hour_if_there_are_any(scene: Scene) -> None:
    following = scene.following()
    following.once()
    following.once()
    scene.consortium.now = TimeMs(scene.consortium.now + ATTEST_ANCHOR_MS + 60_000)
    following.once()
    assert len(attestations(scene)) == 1
    scene.screener.screen_found(looked_at(1), Context())
    following.once()
    assert [said.receipts_size for said in attestations(scene)] == [0, 1]


def test_a_restart_does_not_say_again_what_the_ledger_knows(scene: Scene) -> None:
    scene.following().once()
    scene.sync()
    scene.attester = Attester(CHAIN, CLOUD, scene.key, scene.receipts)
    scene.following().once()
    assert len(attestations(scene)) == 1


def test_a_node_that_is_down_leaves_the_list_in_place(scene: Scene) -> None:
    scene.list_pictures(1)
    following = scene.following()
    following.once()
    scene.source.is_down = True
    with pytest.raises(Unavailable):
        following.once()
    assert scene.screener.screen_found(looked_at(1), Context()).decision.answer is Answer.MATCH


def test_a_chore_of_the_following_thread_is_done_each_round_and_its_news_folded(
    scene: Scene,
) -> None:
    news: list[str] = []

    def chore() -> bool:
        scene.list_pictures(1)
        scene.replica.sync(scene.source, scene.clock())  # As one that submits does.
        news.clear()
        return True

    following = Following(
        scene.replica,
        scene.screener,
        None,
        [scene.source],
        on_news=lambda: news.append("told"),
        chore=chore,
    )
    assert following.once()
    assert scene.screener.running.screen.checkpoint.size == scene.replica.size
    assert scene.screener.running.obligations.active_count == 2
    assert news
