"""What is asked of the pictures of one file beside their fingerprints: the ladder, as far as told.

A query looks further at up to so many pictures of a file; a listing gets patches of its main one.
Not here: the steps themselves (ladder), what a picture's pixels are (pixels).
Invariants: a picture that was to be looked at further and was not is told, never passed over.
Source: docs/spec/fingerprint.md, sections 11 to 13.
"""

from dataclasses import dataclass
from typing import Final

from PIL import Image

from accord.fingerprint.dihedral import variants_of
from accord.fingerprint.ladder import LISTED_LARGE, LISTED_MAX, Step, listed_patches, looked_at
from accord.fingerprint.pdq import Hashed
from accord.fingerprint.resample import grey_of
from accord.fingerprint.types import Decoding, Look
from accord.fingerprint.upright import TURNS
from accord.wire.limits import LOOKS_MAX, PDQ_QUALITY_MIN

_LISTED: Final = {Decoding.LISTING: LISTED_MAX, Decoding.LISTING_LARGE: LISTED_LARGE}
NO_STEPS: Final = frozenset[Step]()


@dataclass(slots=True)
class Looking:
    """One file's. `left` pictures may still be looked at further."""

    steps: frozenset[Step] = NO_STEPS
    decoding: Decoding = Decoding.EXACT
    left: int = LOOKS_MAX
    is_short: bool = False  # There was one more than that.

    def at(self, picture: Image.Image, orientation: int, hashed: Hashed) -> Look:
        """Of a loaded, opaque RGB, RGBA or grey picture and what it came to."""
        if self.decoding in _LISTED:
            is_first, self.left = self.left == LOOKS_MAX, 0
            grey = _upright(picture, orientation) if is_first else None
            return (
                Look()
                if grey is None
                else Look(patches=listed_patches(grey, _LISTED[self.decoding]))
            )
        variants = variants_in(hashed)
        if not self.steps & {Step.FRAME, Step.PATCHES}:
            return Look(variants)
        if not self.left:
            self.is_short = True
            return Look(variants)
        self.left -= 1
        return looked_at(_upright(picture, orientation), self.steps, variants)


def variants_in(hashed: Hashed) -> bytes:
    """The bits of all ways to lay a picture down but the upright one, where it shows enough."""
    if hashed.frequencies is None or hashed.fingerprint.quality < PDQ_QUALITY_MIN:
        return b""
    return b"".join(variants_of(hashed.frequencies)[1:])


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Grey, at the size that the steps look at."""
    turn = TURNS.get(orientation)
    grey = grey_of(picture)
    return grey if turn is None else grey.transpose(turn)
