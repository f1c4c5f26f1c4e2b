"""Patches that say nothing of a picture: what anybody's shapes on plain grounds look like.

An oval on a ramp, a window, a stripe, a soft edge: two pictures that share nothing else share
these, and by them alone unrelated pictures meet. The table holds 32,768 such patches, of pages
drawn by code (scripts/plain_patches.py); no picture went into it. A listing keeps nothing near it.
A query needs none of this: what is in no listing is met by nothing.
Source: docs/spec/fingerprint.md, section 13; docs/adr/0016-mean-and-plain-patches.md.
"""

from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.fingerprint.dihedral import Bits
from accord.fingerprint.patches_native import apart
from accord.fingerprint.types import PDQ_BYTES

PLAIN_BITS: Final = 80  # A twelfth of photographs' patches lies so near, and most meetings.
_AT_ONCE: Final = 512
_FILE: Final = files("accord.fingerprint").joinpath("plain_patches.bin")
PLAIN: Final[Bits] = np.frombuffer(_FILE.read_bytes(), dtype=np.uint8).reshape(-1, PDQ_BYTES)


def is_plain(patches: Bits) -> NDArray[np.bool_]:
    """Shape: (n, 32), (n)."""
    nearest = [
        apart(patches[at : at + _AT_ONCE], PLAIN).min(axis=1)
        for at in range(0, len(patches), _AT_ONCE)
    ]
    return np.concatenate([np.empty(0, np.uint16), *nearest]) <= PLAIN_BITS
