"""Hostile files through a locked worker: each answered, in time, within memory. `make fuzz` is the
long form, with as many mutants as there is time for.
"""

import os
from collections.abc import Iterator

import pytest

from accord.fingerprint import (
    Decoding,
    Fingerprinted,
    Unhashable,
    UnhashableCode,
    fingerprint_bytes,
)
from film_bombs import film_forms
from fuzz_kit import BOMBS, SEEDS_DIRECTORY, forms, mutant, png_chunks
from fuzz_media import Campaign

MUTANTS = 1_200
SEED = 20_261_123
KEPT = sorted(SEEDS_DIRECTORY.glob("*.bin"))
# Work that the limit of CPU time ends, unless the machine is fast. Everything else ends by itself.
ENDLESS = {
    "gif: a million frames",
    "jpeg: a thousand scans of 7,000 x 7,000",
    "pdf: a million lines",
    "pdf: a thousand million tiles",
}
# PDFium makes all forms of a page before anything can be asked, and ends where memory does.
DEADLY = {"pdf: ten forms in each of ten forms"}


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    with Campaign() as shared:
        yield shared


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_in_time_and_within_memory(campaign: Campaign, name: str) -> None:
    answer = campaign.ask(name, BOMBS[name]())
    assert campaign.tally.broken == []
    ended = isinstance(answer, Unhashable) and answer.code in (
        UnhashableCode.TIMEOUT,
        UnhashableCode.VIDEO_TIMEOUT,
    )
    assert not ended or name in ENDLESS | DEADLY
    if name in DEADLY:
        return
    crashed = (UnhashableCode.CRASHED, UnhashableCode.VIDEO_CRASHED)
    assert isinstance(answer, Fingerprinted) or answer.code not in crashed


def test_mutants_are_answered_and_end_no_worker(campaign: Campaign) -> None:
    for number in range(MUTANTS):
        name, data = mutant(SEED, number)
        decoding = Decoding.SCALED if number % 4 == 0 else Decoding.EXACT
        campaign.ask(f"{name}, mutant {number} of seed {SEED}", data, decoding)
    tally = campaign.tally
    assert tally.broken == []
    assert [name for name, _ in tally.ended if name not in ENDLESS | DEADLY] == []
    # Damage that no decoder gets to see, or that none minds, would test nothing.
    assert tally.answers["fingerprinted"] > MUTANTS / 20
    assert tally.answers["image.not_decodable"] > MUTANTS / 12
    assert tally.answers["video.not_decodable"] > MUTANTS / 60
    assert tally.answers["image.unknown_format"] < MUTANTS / 4


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_file_that_once_ended_its_worker_is_answered_as_outside(
    campaign: Campaign, path: "os.PathLike[str]"
) -> None:
    with open(path, "rb") as file:
        data = file.read()
    assert campaign.ask(os.fspath(path), data) == fingerprint_bytes(data)


def test_a_mutant_is_made_by_its_numbers_alone() -> None:
    assert [mutant(1, n) for n in range(50)] == [mutant(1, n) for n in range(50)]
    assert mutant(1, 0) != mutant(2, 0)
    assert {mutant(3, n)[0] for n in range(900)} == set(forms()) | set(film_forms())
    assert [kind for kind, _ in png_chunks(forms()["png"])] == [b"IHDR", b"IDAT", b"IEND"]
