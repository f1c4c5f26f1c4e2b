"""The receipts' log: durable before it is promised, provable, and forgetful of salts."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from accord.audit.lookups import LookupDay, count_lookups, is_alarming
from accord.audit.receipts import (
    LookupReceipt,
    Receipt,
    ReceiptMeta,
    bucket_of,
    commit_to,
    encode_scan_receipt,
    parse_receipt,
    parse_scan_receipt,
    receipts_key,
    receipts_origin,
    upload_mac,
)
from accord.matching import Query
from accord.matching.decision import Answer
from accord.scan.receipt_store import Pending, ReceiptStore
from accord.scan.receipts import ReceiptLog
from accord.statements.bodies import Role
from accord.statements.rules import Action, Algorithm, Scope, Service
from accord.tlog import (
    EMPTY_ROOT,
    Frontier,
    TileReader,
    leaf_hash,
    parse_bundle,
    parse_checkpoint,
    parse_note,
    prove_inclusion,
    verify_inclusion,
    verify_line,
)
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from accord.wire.keys import VerifyKey
from accord.wire.limits import RECEIPT_SECRETS_MS
from consortium_kit import CHAIN, derived_key

CLOUD = MemberId("cloud")
KEY = derived_key("cloud", Role.SCANNER, "scanner")
NOW = TimeMs(1_800_000_012_345)
STEPS = ("after leaves", "after nodes", "after secrets", "before commit", "after commit")


class Killed(BaseException):
    """The process died here: nothing after this line ran."""


def meta(**changes: object) -> ReceiptMeta:
    facts: dict[str, object] = {
        "bucket_ms": bucket_of(NOW),
        "scope": Scope.UPLOADS,
        "service": Service.HOSTING,
        "jurisdictions": (JurisdictionId("NL"),),
        "rules_sha256": bytes(32),
        "active_root": bytes(32),
        "size": 7,
        "build": "test",
        "decision": Answer.NO_MATCH,
        "action": Action.ALLOW,
        "code": None,
        "entries": (),
    }
    return ReceiptMeta(**(facts | changes))  # type: ignore[arg-type]  # Test data by name.


def query(number: int) -> Query:
    return Query(((Algorithm.SHA256, number.to_bytes(32, "big")),))


def pending(number: int) -> Pending:
    return Pending(b"leaf %d" % number, bytes(32), b"", NOW)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ReceiptLog]:
    opened = ReceiptLog(tmp_path / "receipts.sqlite", CHAIN, CLOUD, KEY)
    yield opened
    opened.close()


def proved(store: ReceiptStore) -> int:
    """The store's size, once its leaves, nodes and head agree with one another."""
    frontier = store.head()
    leaves = store.leaves(0, frontier.size + 10)
    assert len(leaves) == frontier.size
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert Frontier().extend(hashes) == frontier
    for index, leaf in enumerate(hashes):
        proof = prove_inclusion(store, index, frontier.size)
        verify_inclusion(index, frontier.size, leaf, proof, frontier.root())
        assert store.secret(index) is not None
    return frontier.size


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_any_two_lines_loses_nothing_acknowledged(tmp_path: Path, step: str) -> None:
    path, acknowledged, armed = tmp_path / "r.sqlite", 0, False

    def fault(now: str) -> None:
        if armed and now == step:
            raise Killed

    store = ReceiptStore(path, fault)
    for number in range(5):
        store.append([pending(number)])
        acknowledged += 1
    armed = True
    with pytest.raises(Killed):
        store.append([pending(100), pending(101)])
    # No close: the next process opens what stands there.
    again = ReceiptStore(path)
    size = proved(again)
    assert size in (acknowledged, acknowledged + 2)
    assert (size == acknowledged + 2) == (step == "after commit")
    assert again.append([pending(102)]) == size
    proved(again)
    again.close()
    store.close()


def test_two_processes_may_append_to_one_file(tmp_path: Path) -> None:
    one, two = ReceiptStore(tmp_path / "r.sqlite"), ReceiptStore(tmp_path / "r.sqlite")
    places = [store.append([pending(n)]) for n, store in enumerate((one, two, two, one))]
    assert places == [0, 1, 2, 3]
    assert proved(two) == 4
    one.close()
    two.close()


def test_screenings_at_once_share_a_commit(tmp_path: Path) -> None:
    gate, batches = threading.Event(), list[int]()

    class Slow(ReceiptStore):
        def append(self, batch: list[Pending]) -> int:  # type: ignore[override]  # Narrower here.
            batches.append(len(batch))
            gate.wait(5)
            return super().append(batch)

    log = ReceiptLog(tmp_path / "r.sqlite", CHAIN, CLOUD, KEY, open_store=Slow)
    jobs = [log.submit(meta(), query(n), None, NOW)[1] for n in range(40)]
    gate.set()
    assert sorted(job.result(5) for job in jobs) == list(range(40))
    assert len(batches) <= 3
    log.close()


def test_a_disk_that_fails_gives_no_promise_and_recovers(tmp_path: Path) -> None:
    broken = True

    class Faulty(ReceiptStore):
        def append(self, batch: list[Pending]) -> int:  # type: ignore[override]  # Narrower here.
            if broken:
                raise Unavailable("receipts.store")
            return super().append(batch)

    log = ReceiptLog(tmp_path / "r.sqlite", CHAIN, CLOUD, KEY, open_store=Faulty)
    with pytest.raises(Unavailable):
        log.record(meta(), query(1), None, NOW)
    broken = False
    assert log.record(meta(), query(1), None, NOW).index == 0
    log.close()


def test_what_was_queued_is_durable_after_close(tmp_path: Path) -> None:
    log = ReceiptLog(tmp_path / "r.sqlite", CHAIN, CLOUD, KEY)
    jobs = [log.submit(meta(), query(n), None, NOW)[1] for n in range(20)]
    log.close()
    assert all(job.done() for job in jobs)
    with pytest.raises(Unavailable, match=r"receipts\.closed"):
        log.record(meta(), query(1), None, NOW)
    store = ReceiptStore(tmp_path / "r.sqlite")
    assert proved(store) == 20
    store.close()


def test_a_promise_verifies_and_any_change_breaks_it(log: ReceiptLog) -> None:
    log.record(meta(), query(0), "u", NOW)
    promise = log.record(meta(), query(1), "upload-17", NOW)
    key = VerifyKey(KEY.public)
    promise.verify(key)
    raw = encode_scan_receipt(promise)
    assert parse_scan_receipt(raw) == promise
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            other = parse_scan_receipt(changed)
        except Malformed:
            continue
        if other.key_id != promise.key_id:  # Names a key; the signature does not cover it.
            continue
        with pytest.raises(Unproven):
            other.verify(key)


def test_the_log_is_served_as_a_signed_tiled_log(log: ReceiptLog) -> None:
    assert parse_checkpoint(parse_note(log.checkpoint()).text).root == EMPTY_ROOT
    promises = [log.record(meta(), query(n), None, NOW) for n in range(5)]
    note = parse_note(log.checkpoint())
    verify_line(note.lines[0], note.text, receipts_key(CHAIN, CLOUD, KEY.public))
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == (receipts_origin(CHAIN, CLOUD), 5)
    leaves = parse_bundle(log.tile("tile/entries/000.p/5"), 5)
    assert [promise.is_for(leaf) for promise, leaf in zip(promises, leaves, strict=True)]
    reader = TileReader(5, lambda tile: log.tile(tile.path))
    proof = prove_inclusion(reader, 3, 5)
    verify_inclusion(3, 5, promises[3].leaf, proof, checkpoint.root)
    with pytest.raises(Unavailable, match=r"receipts\.node"):
        log.tile("tile/entries/000.p/6")
    with pytest.raises(Malformed):
        log.tile("tile/../secrets")


def test_a_receipt_opens_with_its_salt_and_no_more_once_that_is_gone(log: ReceiptLog) -> None:
    promise = log.record(meta(), query(5), "upload-1", NOW)
    opening = log.opening(promise.index)
    assert opening is not None
    salt, mac = opening
    leaf = parse_bundle(log.tile("tile/entries/000.p/1"), 1)[0]
    receipt = parse_receipt(leaf)
    assert receipt.commitment == commit_to(salt, (5).to_bytes(32, "big"), mac)
    assert b"upload-1" not in leaf
    assert mac != upload_mac(bytes(32), "upload-1")
    assert log.forget(NOW) == 0
    assert log.forget(TimeMs(NOW + RECEIPT_SECRETS_MS + 1)) == 1
    assert log.opening(promise.index) is None
    assert parse_bundle(log.tile("tile/entries/000.p/1"), 1)[0] == leaf


def test_a_look_up_names_its_client_and_counts(log: ReceiptLog) -> None:
    day_ms = 86_400_000
    answers = [Answer.MATCH] * 3 + [Answer.NO_MATCH, Answer.UNDETERMINED]
    for place, answer in enumerate(answers):
        about = replace(meta(), bucket_ms=TimeMs(place // 4 * day_ms), decision=answer)
        leaf, job = log.submit(about, query(place), None, NOW, MemberId("small-forum"))
        assert job.result() == place
    log.record(meta(), query(9), None, NOW)  # The platform's own: not counted.
    leaves = parse_bundle(log.tile("tile/entries/000.p/6"), 6)
    receipt = parse_receipt(leaves[0])
    assert isinstance(receipt, LookupReceipt)
    assert (receipt.client, receipt.encode(), leaf_hash(leaves[4])) == (
        "small-forum",
        leaves[0],
        leaf,
    )
    assert isinstance(parse_receipt(leaves[5]), Receipt)
    small = MemberId("small-forum")
    found = count_lookups([*leaves, b"no receipt"])
    assert found == (LookupDay(0, small, 4, 3, 0), LookupDay(1, small, 1, 0, 1))
    unnamed = leaves[0].replace(b"small-forum", b"Small-Forum")
    with pytest.raises(Malformed):
        parse_receipt(unnamed)


@pytest.mark.parametrize(
    ("lookups", "matches", "alarms"),
    [(19, 19, False), (20, 20, True), (400, 20, True), (401, 20, False), (0, 0, False)],
)
def test_many_matches_of_few_look_ups_are_marked(lookups: int, matches: int, alarms: bool) -> None:
    assert is_alarming(lookups, matches) is alarms


def test_equal_files_leave_unlike_receipts(log: ReceiptLog) -> None:
    first, second = (log.record(meta(), query(9), "same", NOW) for _ in range(2))
    assert first.leaf != second.leaf
