"""The cosigner's promise, with a disk that breaks at every write."""

from dataclasses import replace
from itertools import pairwise, product

import pytest

from accord.tlog import (
    EMPTY_ROOT,
    Checkpoint,
    Cosigner,
    CosignerState,
    Note,
    SignatureLine,
    parse_cosigner_state,
    prove_consistency,
    verify_line,
)
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from tlog_kit import ORIGIN, Signer, flips, leaves, log_signer, naive_root, sha, store_of

SIZE = 20
STORE = store_of(SIZE)
KEY = Signer(f"{ORIGIN}/agency-0")
FAULTS = ("none", "lost", "stored-then-error", "torn")


def head(size: int, origin: str = ORIGIN) -> bytes:
    return Checkpoint(origin, size, naive_root(leaves(SIZE)[:size])).encode()


def forked(size: int) -> bytes:
    return Checkpoint(ORIGIN, size, sha(b"fork")).encode()


class Disk:
    """A CosignerStore over one record that survives restarts and breaks as told, once a write."""

    def __init__(self) -> None:
        self.record: bytes | None = None
        self.faults: list[str] = []

    def load(self) -> CosignerState | None:
        try:
            return None if self.record is None else parse_cosigner_state(self.record, ORIGIN)
        except Malformed as err:
            raise Broken("test.torn") from err

    def persist(self, state: CosignerState) -> None:
        fault = self.faults.pop(0) if self.faults else "none"
        new = state.encode(ORIGIN)
        if fault == "torn":
            self.record = new[:20] + (self.record or b"")[20:]
        elif fault != "lost":
            self.record = new
        if fault != "none":
            raise Unavailable("test.disk")


def ask(disk: Disk, text: bytes, old: int, new: int, now_s: int) -> SignatureLine:
    """A cosigner restarted from its disk, asked once with an honest proof."""
    proof = prove_consistency(STORE, min(old, new), new)
    return Cosigner(ORIGIN, KEY.key, disk).cosign(text, proof, now_s, KEY.sign)


def test_it_signs_a_growing_log_and_the_same_head_again() -> None:
    disk = Disk()
    for at, (old, new) in enumerate([(0, 0), (0, 3), (3, 3), (3, 8), (8, 8), (8, 20)]):
        line = ask(disk, head(new), old, new, 100 + at)
        cosignature = verify_line(line, head(new), KEY.key)
        assert cosignature is not None
        assert cosignature.time_s == 100 + at
        state = Cosigner(ORIGIN, KEY.key, disk).state()
        assert state == CosignerState(new, naive_root(leaves(SIZE)[:new]), 100 + at)


REFUSED = {
    "tlog.origin": (head(9, "other"), prove_consistency(STORE, 8, 9)),
    "tlog.rollback": (head(7), ()),
    "tlog.split_view": (forked(8), ()),
    "tlog.consistency": (forked(9), prove_consistency(STORE, 8, 9)),
}


@pytest.mark.parametrize("code", REFUSED)
def test_it_refuses_and_stores_nothing(code: str) -> None:
    disk = Disk()
    ask(disk, head(8), 0, 8, 100)
    before = disk.record
    text, proof = REFUSED[code]
    with pytest.raises(Unproven) as err:
        Cosigner(ORIGIN, KEY.key, disk).cosign(text, proof, 101, KEY.sign)
    assert (err.value.code, disk.record) == (code, before)


def test_it_refuses_a_proof_where_there_is_nothing_to_prove() -> None:
    disk = Disk()
    for _ in range(2):
        with pytest.raises(Unproven, match=r"^tlog\.consistency\b"):
            Cosigner(ORIGIN, KEY.key, disk).cosign(head(3), [bytes(32)], 100, KEY.sign)
        ask(disk, head(3), 0, 3, 100)


def test_it_says_nothing_about_extension_lines() -> None:
    with pytest.raises(Malformed, match=r"^tlog\.extension\b"):
        ask(Disk(), head(3) + b"more\n", 0, 3, 100)


def test_its_time_never_runs_backwards() -> None:
    disk = Disk()
    ask(disk, head(3), 0, 3, 100)
    for old, new in ((3, 3), (3, 8)):
        with pytest.raises(Unavailable, match=r"^tlog\.clock\b"):
            ask(disk, head(new), old, new, 99)
    ask(disk, head(3), 3, 3, 100)


def test_a_log_s_key_cannot_cosign_and_a_wrong_key_stays_at_home() -> None:
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        Cosigner(ORIGIN, log_signer().key, Disk())
    with pytest.raises(Broken, match=r"^tlog\.signer\b"):
        Cosigner(ORIGIN, KEY.key, Disk()).cosign(head(1), (), 1, Signer("other").sign)


@pytest.mark.parametrize("faults", [*product(FAULTS, repeat=3)], ids="-".join)
def test_no_crash_makes_it_break_its_promise(faults: tuple[str, ...]) -> None:
    """Three writes that may each break, between them every demand an attacker could make."""
    disk, signed = Disk(), list[tuple[int, bytes, int]]()
    disk.faults = list(faults)
    demands = [head(size) for size in (3, 8, 8, 5, 20)]
    demands[1:1] = [forked(3), forked(8)]
    demands[4:4] = [forked(20), head(3)]
    for now_s, text in enumerate([*demands, *demands]):
        size = int(text.split(b"\n")[1])
        try:
            held = (disk.load() or CosignerState()).size
            line = ask(disk, text, held, size, now_s)
        except (Unproven, Unavailable, Broken):
            continue
        assert verify_line(line, text, KEY.key) is not None
        signed.append((size, text, now_s))
    for (size1, text1, _), (size2, text2, _) in pairwise(signed):
        assert size1 <= size2
        assert size1 != size2 or text1 == text2
    assert all(time1 < time2 for (_, _, time1), (_, _, time2) in pairwise(signed))
    if "torn" not in faults:  # Once healed, the head it is bound to is signed when asked again.
        bound = disk.load()
        assert bound is not None
        text = Checkpoint(ORIGIN, bound.size, bound.root).encode()
        assert ask(disk, text, bound.size, bound.size, 10_000)
        assert not signed or bound.size >= signed[-1][0]


def test_the_state_record() -> None:
    state = CosignerState(8, naive_root(leaves(8)), 1_700_000_000)
    raw = state.encode(ORIGIN)
    assert parse_cosigner_state(raw, ORIGIN) == state
    assert parse_cosigner_state(CosignerState().encode("x"), "x").root == EMPTY_ROOT
    for bad in (b"", raw[:-1], raw + b"\0", *flips(raw)):
        with pytest.raises(Malformed, match=r"^tlog\.cosigner_state\b"):
            parse_cosigner_state(bad, ORIGIN)
    with pytest.raises(Malformed, match=r"^tlog\.cosigner_state\b"):
        parse_cosigner_state(raw, "other")


def test_a_memory_out_of_a_backup_is_noticed_by_what_others_hold() -> None:
    """The disk forgot everything after the head of size 3, and the node's store with it."""
    disk = Disk()
    ask(disk, head(3), 0, 3, 100)
    backup = disk.record
    seen = {size: ask(disk, head(size), 3, size, 100 + size) for size in (3, 8)}
    notes = {size: Note(head(size), (line,)).encode() for size, line in seen.items()}
    cosigner = Cosigner(ORIGIN, KEY.key, disk)
    for note in notes.values():
        cosigner.recall(note)  # It remembers all that it signed.
    disk.record = backup
    for note in notes.values():  # A later head; and the same one at a later time.
        with pytest.raises(Broken, match=r"cosigner\.state_older"):
            cosigner.recall(note)
    disk.record = None
    with pytest.raises(Broken, match=r"cosigner\.state_older"):
        cosigner.recall(notes[3])
    disk.record = CosignerState(8, sha(b"fork"), 1_000).encode(ORIGIN)  # Restored, then led astray.
    with pytest.raises(Broken, match=r"cosigner\.state_older"):
        cosigner.recall(notes[8])


def test_notes_of_others_halt_no_cosigner() -> None:
    disk = Disk()
    line = ask(disk, head(3), 0, 3, 100)
    cosigner = Cosigner(ORIGIN, KEY.key, disk)
    other = Signer(f"{ORIGIN}/agency-1")
    stranger = Cosigner(ORIGIN, other.key, Disk()).cosign(head(8), (), 500, other.sign)
    cosigner.recall(Note(head(8), (stranger,)).encode())
    forged = replace(line, signature=next(flips(line.signature)))
    for text, lines in ((head(3), (forged,)), (head(8), (line,)), (forked(3), (line,))):
        with pytest.raises(Unproven):
            cosigner.recall(Note(text, lines).encode())
    with pytest.raises(Malformed):
        cosigner.recall(b"noise")
    with pytest.raises(Unproven, match=r"tlog\.origin"):
        cosigner.recall(Note(head(3, "other"), (line,)).encode())
