"""Parsers are total and exact; one flipped bit anywhere is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.tlog import (
    ENTRIES,
    Checkpoint,
    Frontier,
    Note,
    SignatureLine,
    Tile,
    TileReader,
    encode_bundle,
    encode_tile,
    leaf_hash,
    parse_bundle,
    parse_checkpoint,
    parse_cosigner_state,
    parse_frontier,
    parse_note,
    parse_note_key,
    parse_policy,
    parse_signature_line,
    parse_tile,
    parse_tile_path,
    prove_consistency,
    prove_inclusion,
    root_at,
    sign_text,
    tiles_for,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from accord.tlog.note import parse_base64, parse_cosignature, parse_integer
from accord.wire.errors import Malformed, Unproven
from tlog_kit import ORIGIN, agencies, flips, leaves, log_signer, naive_root, policy_of, store_of

SIZE = 70
STORE = store_of(SIZE)
LEAVES = leaves(SIZE)
ROOT = naive_root(LEAVES)
AGENCIES = agencies(4)
LOG = log_signer()
POLICY = policy_of(AGENCIES, LOG)
TEXT = Checkpoint(ORIGIN, SIZE, ROOT).encode()
LINES = (sign_text(TEXT, LOG.key, LOG.sign), *(each.cosign(TEXT, 7) for each in AGENCIES[:3]))
NOTE = Note(TEXT, LINES).encode()


def text_of(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda raw: parse(raw.decode("utf-8", "surrogateescape"))


# Each parser, something it accepts, and how what it gives is written again.
PARSERS: dict[str, tuple[Callable[[bytes], object], bytes, Callable[[object], bytes]]] = {
    "note": (parse_note, NOTE, lambda value: value.encode()),
    "checkpoint": (parse_checkpoint, TEXT, lambda value: value.encode()),
    "line": (
        text_of(parse_signature_line),
        LINES[1].encode().encode(),
        lambda value: value.encode().encode(),
    ),
    "key": (
        text_of(parse_note_key),
        LOG.key.encode().encode(),
        lambda value: value.encode().encode(),
    ),
    "cosignature": (parse_cosignature, LINES[1].signature, lambda value: value.encode()),
    "frontier": (parse_frontier, STORE.frontier.encode(), lambda value: value.encode()),
    "bundle": (lambda raw: parse_bundle(raw, 3), encode_bundle([b"", b"a", b"bc"]), encode_bundle),
    "tile": (lambda raw: parse_tile(raw, 2), bytes(range(64)), b"".join),
    "path": (
        text_of(parse_tile_path),
        Tile(ENTRIES, 1234, 5).path.encode(),
        lambda value: value.path.encode(),
    ),
    "integer": (text_of(parse_integer), b"1234", lambda value: str(value).encode()),
    "base64": (text_of(parse_base64), b"AAECAw==", None),
    "policy": (parse_policy, POLICY.encode(), None),
    "state": (lambda raw: parse_cosigner_state(raw, ORIGIN), bytes(80), None),
}


@st.composite
def damage(draw: st.DrawFn, good: bytes) -> bytes:
    """Noise, or something close to what parses: cut, doubled, spliced."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    at = draw(st.integers(0, len(good)))
    cut = draw(st.integers(0, 5))
    piece = draw(st.sampled_from([b"", b"\n", b"\n\n", b" ", b"0", b"=", b"\xe2\x80\x94 ", good]))
    return good[:at] + piece + draw(st.binary(max_size=3)) + good[at + cut :]


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
def test_only_malformed_leaves_a_parser_and_encoding_undoes_it(
    name: str, data: st.DataObject
) -> None:
    parse, good, encode = PARSERS[name]
    raw = data.draw(damage(good))
    try:
        value = parse(raw)
    except Malformed:
        return
    if encode is not None:
        assert encode(value) == raw


@pytest.mark.parametrize("name", [name for name, case in PARSERS.items() if case[2] is not None])
def test_every_single_bit_counts(name: str) -> None:
    """A flipped bit gives another value or none, never the same one."""
    parse, good, encode = PARSERS[name]
    value = parse(good)
    assert encode(value) == good
    for raw in flips(good):
        try:
            assert parse(raw) != value
        except Malformed:
            continue


NAME = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"),
    min_size=1,
    max_size=50,
)
LINE = st.builds(
    SignatureLine, NAME, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90)
)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50)


@given(
    WORDS,
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(WORDS, max_size=3),
    st.lists(LINE, min_size=1, max_size=4),
)
def test_notes_and_checkpoints_survive_the_trip(
    origin: str, size: int, root: bytes, extensions: list[str], lines: list[SignatureLine]
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    note = Note(checkpoint.encode(), tuple(lines))
    assert parse_checkpoint(note.text) == checkpoint
    assert parse_note(note.encode()) == note


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_survive_the_trip(entries: list[bytes]) -> None:
    assert list(parse_bundle(encode_bundle(entries), len(entries))) == entries


def test_every_bit_of_a_checkpoint() -> None:
    """With k of n lines there is none to spare: every flip is refused, in text and in lines."""
    assert verify_checkpoint(NOTE, POLICY).size == SIZE
    for raw in flips(NOTE):
        with pytest.raises((Malformed, Unproven)):
            verify_checkpoint(raw, POLICY)


def test_every_bit_of_a_leaf_and_of_its_proof() -> None:
    entry, index = b"entry 41", 41
    proof = prove_inclusion(STORE, index, SIZE)
    verify_inclusion(index, SIZE, leaf_hash(entry), proof, ROOT)
    for raw in flips(entry):
        with pytest.raises(Unproven):
            verify_inclusion(index, SIZE, leaf_hash(raw), proof, ROOT)
    for at, item in enumerate(proof):
        for raw in flips(item):
            bad = (*proof[:at], raw, *proof[at + 1 :])
            with pytest.raises(Unproven):
                verify_inclusion(index, SIZE, LEAVES[index], bad, ROOT)


def test_every_bit_of_a_consistency_proof_and_its_roots() -> None:
    old, old_root = 37, naive_root(LEAVES[:37])
    parts = (old_root, ROOT, *prove_consistency(STORE, old, SIZE))
    for at, item in enumerate(parts):
        for raw in flips(item):
            first, second, *proof = (*parts[:at], raw, *parts[at + 1 :])
            with pytest.raises(Unproven):
                verify_consistency(old, first, SIZE, second, proof)


def test_every_bit_of_a_tile() -> None:
    files = {tile: encode_tile(STORE, tile) for tile in tiles_for(SIZE)}
    assert root_at(TileReader(SIZE, files.__getitem__), SIZE) == ROOT
    for tile, good in files.items():
        for raw in flips(good):
            broken = {**files, tile: raw}
            assert root_at(TileReader(SIZE, broken.__getitem__), SIZE) != ROOT


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=300), st.integers(0, 300))
def test_a_frontier_carries_on_where_it_was_stored(hashes: list[bytes], cut: int) -> None:
    stored = Frontier().extend(hashes[:cut]).encode()
    assert parse_frontier(stored).extend(hashes[cut:]).root() == naive_root(tuple(hashes))
