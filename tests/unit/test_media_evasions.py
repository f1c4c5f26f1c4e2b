"""Every guise of a picture matches its plain twin, through a locked worker as uploads go.

What is said of many of them one by one is in `test_fingerprint_decode` and its neighbours; this
holds the whole table to one rule.
"""

from collections.abc import Iterator

import pytest

from accord.fingerprint import Fingerprinted, distance_bits
from accord.media import DecoderPool
from accord.wire.limits import PDQ_QUALITY_MIN, PDQ_THRESHOLD_MAX
from evasions_kit import DECOY, EVASIONS
from pictures_kit import encoded, picture
from reference_kit import reference_dir

PICTURE = picture(1)
# Where the picture lies behind something broken on purpose, which is then said, too.
NOT_WHOLE = {"pdf behind a gif"}


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1) as opened:
        yield opened


def looked_at(pool: DecoderPool, data: bytes) -> Fingerprinted:
    answer = pool.fingerprint(data)
    assert isinstance(answer, Fingerprinted), answer.code
    return answer


def nearest(answer: Fingerprinted, twin: bytes) -> int:
    views = [view for view in answer.pdq if view.quality >= PDQ_QUALITY_MIN]
    return min(distance_bits(view.bits, twin) for view in views)


@pytest.mark.parametrize("name", EVASIONS)
def test_a_picture_in_any_guise_matches_its_plain_twin(pool: DecoderPool, name: str) -> None:
    twin = looked_at(pool, encoded(PICTURE, "PNG")).main.bits
    answer = looked_at(pool, EVASIONS[name](PICTURE))
    assert nearest(answer, twin) <= PDQ_THRESHOLD_MAX
    assert (answer.unseen is None) != (name in NOT_WHOLE)


def test_the_decoy_is_another_picture(pool: DecoderPool) -> None:
    twin = looked_at(pool, encoded(PICTURE, "PNG")).main.bits
    assert nearest(looked_at(pool, encoded(DECOY, "PNG")), twin) > 60


def test_every_mode_of_the_references_picture_matches_its_original(pool: DecoderPool) -> None:
    folder = reference_dir("pdq", "misc-images", "modes")
    original = looked_at(pool, (folder / "original.jpg").read_bytes()).main.bits
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".md"]
    assert len(files) == 14
    for path in files:
        assert nearest(looked_at(pool, path.read_bytes()), original) <= PDQ_THRESHOLD_MAX, path.name
