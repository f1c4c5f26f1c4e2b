"""The decoding sandbox: outside bytes reach image decoders only in worker processes.

Refuses to decode in the calling process, to wait without bound, and to let one file's hang or
crash touch another's answer.

Entry points: `DecoderPool`, `walk`, `read_file`; `named_in`, the fingerprinter a home names.
"""

from accord.media.films import LargeFilm, StoredFilm
from accord.media.fingerprinters import Named, load_named, named_in
from accord.media.pool import DecoderPool
from accord.media.walk import Unlisted, read_file, walk

__all__ = [
    "DecoderPool",
    "LargeFilm",
    "Named",
    "StoredFilm",
    "Unlisted",
    "load_named",
    "named_in",
    "read_file",
    "walk",
]
