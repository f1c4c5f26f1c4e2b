"""Media bytes to fingerprints and digests: pure functions, no file system, no clock.

Refuses to guess: whatever cannot be computed is an `Unhashable` with a code, never an exception
and never an empty fingerprint. It decodes in the calling process: on bytes from outside use
`accord.media.DecoderPool`, which runs this in locked-down workers.

Entry points: `fingerprint_bytes`, `examine`, `digests_of`. Rules: docs/spec/fingerprint.md.
"""

from accord.fingerprint.decode import (
    FORMATS,
    answer_of,
    digests_in,
    digests_of,
    examine,
    examine_film,
    fingerprint_bytes,
)
from accord.fingerprint.distinct import ALIKE_BITS
from accord.fingerprint.source import BytesSource, Source
from accord.fingerprint.types import (
    PDQ_BYTES,
    REASONS,
    Decoding,
    Digests,
    Examined,
    Fingerprint,
    Fingerprinted,
    FramePdq,
    MediaFacts,
    Unhashable,
    UnhashableCode,
    Unseen,
    distance_bits,
)
from accord.fingerprint.video_formats import VIDEO_FORMATS

__all__ = [
    "ALIKE_BITS",
    "FORMATS",
    "PDQ_BYTES",
    "REASONS",
    "VIDEO_FORMATS",
    "BytesSource",
    "Decoding",
    "Digests",
    "Examined",
    "Fingerprint",
    "Fingerprinted",
    "FramePdq",
    "MediaFacts",
    "Source",
    "Unhashable",
    "UnhashableCode",
    "Unseen",
    "answer_of",
    "digests_in",
    "digests_of",
    "distance_bits",
    "examine",
    "examine_film",
    "fingerprint_bytes",
]
