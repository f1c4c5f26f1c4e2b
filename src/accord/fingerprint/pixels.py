"""From a decoded frame of any mode to the small RGB pictures that PDQ sees.

Not here: opening files (`decode`). The order is fixed: palette and bit modes to colour, area
resampling to 1,024, wide ranges and colour spaces to RGB, orientation, alpha on white and black.
Source: docs/spec/fingerprint.md, sections 3 to 6.
"""

import io
from typing import Final

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image, ImageCms

from accord.fingerprint.types import Fingerprint

SIDE_MAX: Final = 1024  # Longest side PDQ sees; its own filter goes on to 64 by 64 from there.
ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final[dict[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
_WHITE: Final = (255, 255, 255, 255)
_BLACK: Final = (0, 0, 0, 255)


def fingerprints_of(frame: Image.Image) -> tuple[Fingerprint, ...]:
    """PDQ of a loaded frame, upright: on white, and on black where that gives other bits."""
    found: list[Fingerprint] = []
    for picture in _opaque(_upright(_to_colour(_shrink(_to_resampled(frame)), frame), frame)):
        fingerprint = pdq_of(picture)
        if all(fingerprint.bits != known.bits for known in found):
            found.append(fingerprint)
    return tuple(found)


def pdq_of(picture: Image.Image) -> Fingerprint:
    """PDQ of an RGB picture as it is."""
    bits, quality = pdqhash.compute(np.asarray(picture))
    return Fingerprint(np.packbits(bits.astype(np.uint8)).tobytes(), int(quality))


def orientation_of(frame: Image.Image) -> int:
    """EXIF orientation 1 to 8 that is still to be applied; 1 where it is absent or damaged."""
    try:
        value = frame.getexif().get(ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, OSError, KeyError, IndexError, TypeError, OverflowError):
        return 1  # A damaged EXIF block is no reason to miss the picture.
    return value if isinstance(value, int) and value in _UPRIGHT else 1


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


def _upright(small: Image.Image, frame: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(orientation_of(frame))
    return small if turn is None else small.transpose(turn)


def _opaque(small: Image.Image) -> tuple[Image.Image, ...]:
    """The RGB pictures a viewer may show: one, or two where something shines through."""
    if small.mode not in ("LA", "RGBA"):
        return (small.convert("RGB"),)
    rgba = small.convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest == 255:
        return (rgba.convert("RGB"),)
    backdrops = (Image.new("RGBA", rgba.size, colour) for colour in (_WHITE, _BLACK))
    return tuple(Image.alpha_composite(back, rgba).convert("RGB") for back in backdrops)
