"""Mutated evidence convicts nobody: it is fine still, or cannot be judged."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.audit.evidence import Evidence
from accord.audit.receipts import parse_receipt, parse_scan_receipt
from accord.audit.verdict import Outcome, verdict
from accord.matching import Context
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs
from audit_kit import HOUR_MS, evidence_on
from scan_kit import Scene, looked_at


@cache
def honest() -> tuple[Evidence, Evidence]:
    """Evidence on one honest platform, from two moments."""
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(Path(directory))
        following = scene.following()
        following.once()
        presented = [scene.screener.screen_found(looked_at(1), Context())]
        early = evidence_on(scene, presented=presented)
        scene.list_pictures(1)
        scene.consortium.now = TimeMs(scene.consortium.now + HOUR_MS // 4)
        following.once()
        presented += [scene.screener.screen_found(looked_at(n), Context()) for n in (1, 2, 1)]
        scene.consortium.now = TimeMs(scene.consortium.now + 2 * HOUR_MS)
        following.once()
        following.once()
        late = evidence_on(scene, presented=presented, later_ms=HOUR_MS)
        scene.close()
    for evidence in (early, late):
        assert verdict(evidence).outcome is Outcome.OK
    return early, late


def flipped(raw: bytes, at: int) -> bytes:
    place = at % (8 * len(raw))
    octet = raw[place // 8] ^ 1 << place % 8
    return raw[: place // 8] + bytes([octet]) + raw[place // 8 + 1 :]


def shuffled(items: Sequence[bytes], how: str, at: int) -> list[bytes]:
    """Items with one flipped, dropped, doubled or swapped with its neighbour."""
    rows = list(items)
    place = at % len(rows)
    match how:
        case "flip":
            rows[place] = flipped(rows[place], at // len(rows))
        case "drop":
            del rows[place]
        case "double":
            rows.insert(place, rows[place])
        case "swap":
            rows[place - 1], rows[place] = rows[place], rows[place - 1]
        case _:
            rows[place] = rows[place][: at % max(1, len(rows[place]))]
    return rows


@settings(deadline=None)
@given(
    target=st.sampled_from(["leaves", "receipts_leaves", "scan_receipts"]),
    how=st.sampled_from(["flip", "drop", "double", "swap", "cut"]),
    at=st.integers(0, 10**9),
)
def test_mutated_leaves_and_promises_convict_nobody(target: str, how: str, at: int) -> None:
    evidence = honest()[1]
    rows: Sequence[bytes] = getattr(evidence, target)
    mutated = replace(evidence, **{target: shuffled(rows, how, at)})  # type: ignore[arg-type]
    found = verdict(mutated)
    assert found.outcome is not Outcome.VIOLATION, found.encode().decode()
    if target != "scan_receipts" and getattr(mutated, target) != list(rows):
        assert found.outcome is Outcome.CANNOT_JUDGE


@settings(deadline=None)
@given(at=st.integers(0, 10**6), cut=st.booleans())
def test_a_mutated_head_convicts_nobody(at: int, cut: bool) -> None:
    evidence = honest()[1]
    note = evidence.receipts_note
    assert note is not None
    mutated = note[: at % len(note)] if cut else flipped(note, at)
    found = verdict(replace(evidence, receipts_note=mutated))
    assert found.outcome is not Outcome.VIOLATION, found.encode().decode()


@settings(deadline=None)
@given(
    st.sampled_from(["receipts_note", "receipts_leaves", "scan_receipts", "leaves", "root"]),
    st.sampled_from(["receipts_note", "receipts_leaves", "scan_receipts", "leaves", "root"]),
)
def test_genuine_pieces_of_other_moments_convict_nobody(one: str, two: str) -> None:
    early, late = honest()
    mixed = replace(late, **{name: getattr(early, name) for name in (one, two)})
    assert verdict(mixed).outcome is not Outcome.VIOLATION


@given(st.binary(max_size=400), st.integers(0, 10**6))
def test_parsers_are_total(noise: bytes, at: int) -> None:
    evidence = honest()[1]
    leaf = bytes(evidence.receipts_leaves[0])
    promise = bytes(evidence.scan_receipts[0])
    assert parse_receipt(leaf).encode() == leaf
    for parse, raw in ((parse_receipt, leaf), (parse_scan_receipt, promise)):
        for near_miss in (noise, raw + noise + b"!", flipped(raw, at)):
            try:
                parse(near_miss)
            except Malformed:
                continue
