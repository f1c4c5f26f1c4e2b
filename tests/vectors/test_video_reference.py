"""Frames of videos against the reference vPDQ's hashes of its own samples (ThreatExchange)."""

import io
from pathlib import Path

import av
import pytest

from accord.fingerprint import Examined, distance_bits
from accord.fingerprint.source import BytesSource
from accord.fingerprint.video import examine_video
from accord.fingerprint.video_pixels import luma_of, pdq_of_luma
from accord.wire.limits import PDQ_QUALITY_MIN
from reference_kit import reference_dir

BITS_MAX = 16  # The reference's own decoders and colour conversions differ.
BITS_MEAN = 5
SAME_FRAME_BITS = 31
NAMES = (
    "chair-19-sd-bar",
    "doorknob-hd-no-bar",
    "pattern-hd-no-bar",
    "pattern-sd-grey-bar",
    "test-padded-dimensions",
)


def expected(path: Path) -> list[tuple[int, bytes, float]]:
    """Quality, bits and time in s of each frame."""
    rows = [row.split(",") for row in path.with_suffix(".txt").read_text().splitlines()]
    return [(int(row[1]), bytes.fromhex(row[2]), float(row[3])) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_each_frame_has_the_references_hash(name: str) -> None:
    path = reference_dir("video") / f"{name}.mp4"
    wanted = expected(path)
    distances = []
    with av.open(io.BytesIO(path.read_bytes()), format="mov") as container:
        frames = container.decode(video=0)
        for frame, (quality, bits, time_s) in zip(frames, wanted, strict=True):
            found = pdq_of_luma(luma_of(frame)).fingerprint
            assert abs(found.quality - quality) <= 1
            assert frame.time == pytest.approx(time_s, abs=0.001)
            if min(quality, found.quality) >= PDQ_QUALITY_MIN:
                distances.append(distance_bits(found.bits, bits))
    assert max(distances) <= BITS_MAX
    assert sum(distances) / len(distances) <= BITS_MEAN


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_frames_stand_for_all_of_the_references(name: str) -> None:
    """Near-identical ones are merged, and every frame is still met by one that is kept."""
    path = reference_dir("video") / f"{name}.mp4"
    answer = examine_video(BytesSource(path.read_bytes()))
    assert isinstance(answer, Examined)
    assert answer.unseen is None
    detailed = [bits for quality, bits, _ in expected(path) if quality >= PDQ_QUALITY_MIN]
    met = [
        min(distance_bits(bits, view.bits) for view in answer.pdq) <= SAME_FRAME_BITS
        for bits in detailed
    ]
    assert sum(met) >= 0.8 * len(met)  # 85 % of 19 s by hand, thinned; 98 % and more of others.
    assert answer.facts.frames < len(detailed)
