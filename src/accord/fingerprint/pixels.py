"""From a decoded frame of any mode to its fingerprints.

Not here: opening files (`decode`), which way up (`upright`), PDQ itself (`pdq`). Opaque RGB and
grey are looked at whole; all else is brought to 1,024 by area first, then to RGB, upright, and on
white and black where it is transparent.
Source: docs/spec/fingerprint.md, sections 3 to 7.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from accord.fingerprint.looking import Looking
from accord.fingerprint.pdq import NOTHING, SIDE_MIN, Hashed
from accord.fingerprint.pdq_native import kernel_of
from accord.fingerprint.second import is_used, second_of
from accord.fingerprint.types import NO_LOOK, Fingerprint, Look
from accord.fingerprint.upright import TURNS, orientation_of, upright_size, upright_strips

SIDE_MAX: Final = 1024  # Longest side of a picture that takes more than luma to see.
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
_WHITE: Final = (255, 255, 255, 255)
_BLACK: Final = (0, 0, 0, 255)
_KERNEL: Final = kernel_of()


@dataclass(frozen=True, slots=True)
class Shown:
    """What one upright, opaque picture comes to: its PDQ, and a PhotoDNA where one was made."""

    pdq: Fingerprint
    photodna: bytes | None = None
    look: Look = NO_LOOK


def fingerprints_of(frame: Image.Image, looking: Looking) -> tuple[Shown, ...]:
    """Of a loaded frame, upright: on white, and on black where that gives another PDQ."""
    whole = _to_resampled(frame)
    orientation = orientation_of(frame)
    if _is_opaque(whole):
        return (shown_of(whole, looking, orientation),)
    turn = TURNS.get(orientation)
    small = _to_colour(_shrink(whole), frame)
    found: list[Shown] = []
    for picture in _backed(small if turn is None else small.transpose(turn)):
        shown = shown_of(picture, looking)
        if all(shown.pdq.bits != known.pdq.bits for known in found):
            found.append(shown)
    return tuple(found)


def shown_of(picture: Image.Image, looking: Looking, orientation: int = 1) -> Shown:
    """Of a loaded, opaque RGB, RGBA or grey picture, turned upright."""
    hashed = hashed_of(picture, orientation)
    look = looking.at(picture, orientation, hashed)
    if not is_used():
        return Shown(hashed.fingerprint, look=look)
    turn = TURNS.get(orientation)
    small = _shrink(picture)
    photodna = second_of(small if turn is None else small.transpose(turn))
    return Shown(hashed.fingerprint, photodna, look)


def pdq_of(picture: Image.Image, orientation: int = 1) -> Fingerprint:
    """PDQ of a loaded, opaque RGB, RGBA or grey picture, turned upright, at its own size."""
    return hashed_of(picture, orientation).fingerprint


def hashed_of(picture: Image.Image, orientation: int = 1) -> Hashed:
    """`pdq_of`, with the frequencies behind it."""
    width, height = upright_size(picture, orientation)
    if min(width, height) < SIDE_MIN:
        return NOTHING
    return _KERNEL.hashed(_KERNEL.grid(upright_strips(picture, orientation), width, height))


def _to_resampled(frame: Image.Image) -> Image.Image:
    """The frame in a mode whose pixel values may be averaged."""
    if frame.mode.startswith("I;16"):
        # The high byte: 16 bits over the full range, as 16-bit colour is read too.
        wide: NDArray[np.uint16] = np.asarray(frame)
        return Image.fromarray((wide >> 8).astype(np.uint8))
    if frame.mode == "La":
        return frame.convert("LA")
    if frame.mode == "RGBa":
        return frame.convert("RGBA")
    if frame.mode in ("LA", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F"):
        return frame
    if frame.has_transparency_data:
        return frame.convert("RGBA")
    return frame if frame.mode in ("L", "RGB") else frame.convert("RGB")


def _is_opaque(frame: Image.Image) -> bool:
    """Whether colour or grey is all there is to see. The kernel looks at no fourth channel."""
    return frame.mode in ("L", "RGB") or (
        frame.mode == "RGBA" and frame.getchannel("A").getextrema() == (255, 255)
    )


def _shrink(frame: Image.Image) -> Image.Image:
    """At most 1,024 on the longest side, each pixel the mean of the area it covers."""
    longest = max(frame.size)
    if longest <= SIDE_MAX:
        return frame
    width, height = (max(1, (2 * s * SIDE_MAX + longest) // (2 * longest)) for s in frame.size)
    return frame.resize((width, height), Image.Resampling.BOX)


def _to_colour(small: Image.Image, frame: Image.Image) -> Image.Image:
    """RGB, L or a mode with alpha. `frame` gives the colour profile of a CMYK picture."""
    match small.mode:
        case "I" | "F":
            return Image.fromarray(_to_byte_range(np.asarray(small).astype(np.float64)))
        case "CMYK":
            return _cmyk_to_rgb(small, frame.info.get("icc_profile"))
        case "LAB":
            return _through_profile(small, _LAB) or small.convert("RGB")
        case "YCbCr":
            return small.convert("RGB")
        case _:
            return small


def _to_byte_range(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """32-bit and float samples to 0..255 by the narrowest usual full range that holds them."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        values = values * 255
    elif low >= 0 and 255 < high <= 65535:
        values = values / 257
    elif low < 0 or high > 65535:
        values = (values - low) * (255 / (high - low))
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _cmyk_to_rgb(small: Image.Image, profile: object) -> Image.Image:
    """By the embedded profile where it is a usable one, else by plain subtraction."""
    if isinstance(profile, bytes):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        except (OSError, ValueError, TypeError):
            return small.convert("RGB")
        return _through_profile(small, source) or small.convert("RGB")
    return small.convert("RGB")


def _through_profile(small: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image | None:
    """To sRGB, perceptual intent; None where the profile does not fit the picture."""
    try:
        return ImageCms.profileToProfile(small, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, ValueError):
        return None


def _backed(small: Image.Image) -> tuple[Image.Image, ...]:
    """The RGB pictures a viewer may show: one, or two where something shines through."""
    if small.mode not in ("LA", "RGBA"):
        return (small.convert("RGB"),)
    rgba = small.convert("RGBA")
    backdrops = (Image.new("RGBA", rgba.size, colour) for colour in (_WHITE, _BLACK))
    return tuple(Image.alpha_composite(back, rgba).convert("RGB") for back in backdrops)
