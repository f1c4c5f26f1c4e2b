"""One tiny picture of each format and a tiny film: a worker loads every codec before its lock.

Generated once: 16 by 16 pixels or fewer of a colour ramp, the film 64 by 64; no photograph.
"""

import base64
import bz2
import ctypes
import gzip
import io
import lzma
import tarfile
import zipfile
from typing import Final

from PIL import Image

_TEXT: Final = (
    # jpeg
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVt"
    "VkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8"
    "fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAQABADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAA"
    "AAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAk"
    "M2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT"
    "lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QA"
    "HwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdh"
    "cRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hp"
    "anN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk"
    "5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDChtNvatWG029qvw2m3tVqG029qKmI+rf1t/ncMFi72P/Z",
    # cmyk jpeg
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAoHB4jHhkoIyEjLSsoMDxkQTw3Nzx7WF1JZJGAmZaPgIyKoLTmw6Cq2q2K"
    "jMj/y9ru9f///5vB////+v/m/f/4/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAAB"
    "AgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNi"
    "coIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SV"
    "lpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4E"
    "QwBNAFkASwAAPwCja9qo/ZfaqP8Ax7++f0rZrZte1H2X2rZ/49/fP6UVjWvatn7L7Uf8e/vn9KK2bXtR9l9qxv8A"
    "j398/pRX/9k=",
    # png
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAADFBMVEV40Hh4iHiwMKswMDeLXc8+AAAAHUlEQVR4"
    "nGP8z7CagYmBgYEAwXKtgYGRMRTGxQkAxg8DbWWe1mYAAAAASUVORK5CYII=",
    # 16-bit png
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAEEAAAAADcCh3hAAAAFklEQVR4nGNgYOBfIO+g94CJAQowGQA/dgIjWO0k"
    "YAAAAABJRU5ErkJggg==",
    # gif
    "R0lGODlhEAAQAIEAAHjQeHiIeLAwqzAwNyH5BAAEAAAALAAAAAAQABAAAAhBAAcIHChQgMGDBgkSRIhQ4UCGBx0W"
    "hChA4gCKFSVitLhRI8UBAUKKHDlSAMmTKFOeBMCypcuXMGPKnEmzpk2WAQEAIfkEAQQABAAsAAAAABAACQCBeNB4"
    "eIh4sDCrMDA3CCwABQgcKHCAwYMGCRJEiFDhQIYHHRaEOECiAIoVJWK0uFEjRQEEQoocOXJAQAA7",
    # webp
    "UklGRkAAAABXRUJQVlA4IDQAAADQAQCdASoIAAgAB0CWJbACdADzgwoEAAD+wCQtW4zWoV/BkQB5NhsBGSfCH5ed"
    "rAv4wwAA",
    # webp alpha
    "UklGRkYAAABXRUJQVlA4TDoAAAAvB8ABAM31IKL/AUaRJCn6LVzDMvm3eUIiIjIts2Cxc6rjjug3o5bsK/LMd/9A"
    "bw0FDtyepJE0SQgC",
    # bmp
    "Qk1OAAAAAAAAAD4AAAAoAAAABAAAAAQAAAABAAEAAAAAABAAAADEDgAAxA4AAAIAAAACAAAAAAAAAP///wDwAAAA"
    "UAAAAFAAAAAQAAAA",
    # tiff
    "SUkqAB4AAACABoZE8zkQqHVCnNEI9Rp5VLVhQEAACQAAAQMAAQAAAAQAAAABAQMAAQAAAAQAAAACAQMAAQAAAAgA"
    "AAADAQMAAQAAAAUAAAAGAQMAAQAAAAEAAAARAQQAAQAAAAgAAAAWAQMAAQAAAAQAAAAXAQQAAQAAABUAAAAcAQMA"
    "AQAAAAEAAAAAAAAA",
    # avif
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAA"
    "AAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAOgAAAChpaW5mAAAA"
    "AAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAA"
    "AAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQB"
    "AoMEAAAAQm1kYXQSAAoJGAz/2iAhoNCAMiscR4eF3dNNNMLFAQB1d4S31nqm2dT05glxuZpes7YlyDQzHTsi3LlG"
    "mP6i",
    # heif
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAAD4AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm"
    "4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    "AChjbGFwAAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAA"
    "AAAAAQABBYECAwWEAAAARm1kYXQAAAA6KAGvC0heqJD1/QivyzTs///e9eug/CN3dAfjTfNFwNkvDnU8oojBv7PW"
    "rDsfttsA6LowTvkgtHMnlg==",
)

_FILM_TEXT: Final = (
    # mp4 of h264, two frames of tiles of a ramp, with a time of creation
    "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDEAAAAIZnJlZQAAAvttZGF0AAACUAYF//9M3EXpvebZSLeWLNgg"
    "2SPu73gyNjQgLSBjb3JlIDE2NSAtIEguMjY0L01QRUctNCBBVkMgY29kZWMgLSBDb3B5bGVmdCAyMDAzLTIwMjUgLSBo"
    "dHRwOi8vd3d3LnZpZGVvbGFuLm9yZy94MjY0Lmh0bWwgLSBvcHRpb25zOiBjYWJhYz0xIHJlZj0xIGRlYmxvY2s9MTow"
    "OjAgYW5hbHlzZT0weDM6MHgxMTMgbWU9aGV4IHN1Ym1lPTcgcHN5PTEgcHN5X3JkPTEuMDA6MC4wMCBtaXhlZF9yZWY9"
    "MCBtZV9yYW5nZT0xNiBjaHJvbWFfbWU9MSB0cmVsbGlzPTEgOHg4ZGN0PTEgY3FtPTAgZGVhZHpvbmU9MjEsMTEgZmFz"
    "dF9wc2tpcD0xIGNocm9tYV9xcF9vZmZzZXQ9LTIgdGhyZWFkcz0xIGxvb2thaGVhZF90aHJlYWRzPTEgc2xpY2VkX3Ro"
    "cmVhZHM9MCBucj0wIGRlY2ltYXRlPTEgaW50ZXJsYWNlZD0wIGJsdXJheV9jb21wYXQ9MCBjb25zdHJhaW5lZF9pbnRy"
    "YT0wIGJmcmFtZXM9MCB3ZWlnaHRwPTAga2V5aW50PTEga2V5aW50X21pbj0xIHNjZW5lY3V0PTQwIGludHJhX3JlZnJl"
    "c2g9MCByYz1jcmYgbWJ0cmVlPTAgY3JmPTQwLjAgcWNvbXA9MC42MCBxcG1pbj0wIHFwbWF4PTY5IHFwc3RlcD00IGlw"
    "X3JhdGlvPTEuNDAgYXE9MToxLjAwAIAAAABHZYiEN4cuyaSstyu38FV/JnhRUJl0Ifj7NKiU64qQZcw1hGCpvjry7M7A"
    "i6GFjdjarGsRtkB1GOySmEHY2xiX+363hwUKv1UAAABQZYiCBX92Oc1Hi1hwor/7JJFIicfLwobQsb/jk+p/Ls9QxGvw"
    "5F03/n5FuuKvbXc6OfMuIot2MCm2TE+aQDBcv8RLnigoWWao+Es84Mg9CWEAAAMIbW9vdgAAAGxtdmhkAAAAAOV7aYDl"
    "e2mAAAAD6AAAAZAAAQAAAQAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAAjJ0cmFrAAAAXHRraGQAAAAD5XtpgOV7aYAAAAABAAAAAAAAAZAAAAAAAAAA"
    "AAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAABAAAAAAEAAAABAAAAAAAAkZWR0cwAAABxlbHN0"
    "AAAAAAAAAAEAAAGQAAAAAAABAAAAAAGqbWRpYQAAACBtZGhkAAAAAOV7aYDle2mAAAAoAAAAEABVxAAAAAAALWhkbHIA"
    "AAAAAAAAAHZpZGUAAAAAAAAAAAAAAABWaWRlb0hhbmRsZXIAAAABVW1pbmYAAAAUdm1oZAAAAAEAAAAAAAAAAAAAACRk"
    "aW5mAAAAHGRyZWYAAAAAAAAAAQAAAAx1cmwgAAAAAQAAARVzdGJsAAAAqXN0c2QAAAAAAAAAAQAAAJlhdmMxAAAAAAAA"
    "AAEAAAAAAAAAAAAAAAAAAAAAAEAAQABIAAAASAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "GP//AAAAL2F2Y0MBZBAK/+EAEmdkEAqsuITQgAAAAwCAAAAFAgEABmjuA5LIsP34+AAAAAAUYnRydAAAAAAAADr8AAAA"
    "AAAAABhzdHRzAAAAAAAAAAEAAAACAAAIAAAAABxzdHNjAAAAAAAAAAEAAAABAAAAAgAAAAEAAAAcc3RzegAAAAAAAAAA"
    "AAAAAgAAAp8AAABUAAAAFHN0Y28AAAAAAAAAAQAAADAAAABidWR0YQAAAFptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABt"
    "ZGlyYXBwbAAAAAAAAAAAAAAAAC1pbHN0AAAAJal0b28AAAAdZGF0YQAAAAEAAAAATGF2ZjYyLjEyLjEwMg=="
)
# What a broadcast's names may be written in: FFmpeg asks the C library, which then opens a file.
_CHARSETS: Final = (
    "ISO6937",
    "KSC_5601",
    "GB2312",
    "BIG5",
    *(f"ISO-8859-{n}" for n in range(1, 17)),
)

SAMPLES: Final = tuple(base64.b64decode(text) for text in _TEXT)

FILM: Final = base64.b64decode(_FILM_TEXT)


def load_charsets() -> None:
    """Loads the C library's tables of characters and keeps them; no harm where there are none."""
    opened = getattr(ctypes.CDLL(None), "iconv_open", None)
    if opened is None:
        return
    opened.restype = ctypes.c_void_p
    for name in _CHARSETS:
        opened(b"UTF-8", name.encode())


def scaled_sample(side: int = 512) -> bytes:
    """A JPEG large and detailed enough for a scaled decoding: gradients, each turned."""
    ramp = Image.linear_gradient("L")
    tile = ramp.resize((32, 32))
    picture = Image.new("L", (side, side))
    for at in range(0, side * side // 32, 32):
        picture.paste(tile.rotate(at // 32 % 4 * 90), (at % side, at // side * 32))
    out = io.BytesIO()
    picture.save(out, "JPEG")
    return out.getvalue()


_PDF: Final = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 90]/Contents 4 0 R/Resources<</Font<<
/F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>/G<</Type/Font/Subtype/TrueType/BaseFont/Other>>
>>/XObject<</I 5 0 R/J 5 0 R>>>>>>endobj
4 0 obj<</Length 114>>stream
BT /F 9 Tf 9 9 Td (a) Tj /G 9 Tf (b) Tj ET q 40 0 0 40 0 0 cm /I Do Q q 40 0 0 40 40 40 cm /J Do Q
0 0 m 9 9 l S
endstream endobj
5 0 obj<</Type/XObject/Subtype/Image/Width 2/Height 2/ColorSpace/DeviceGray/BitsPerComponent 8
/Length 4>>stream
0099
endstream endobj
trailer<</Root 1 0 R>>
"""


def container_samples() -> tuple[bytes, ...]:
    """Files that hold others, each way: what opens them imports and looks up at first use."""
    small = SAMPLES[0]
    zipped, tarred, pages, icon, wavelets = (io.BytesIO() for _ in range(5))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", small)
        archive.writestr("\u00fc", small)
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        about = tarfile.TarInfo("a" * 200)  # Two kinds of header.
        about.size = len(small)
        archive.addfile(about, io.BytesIO(small))
    picture = Image.linear_gradient("L")
    picture.save(pages, "TIFF", save_all=True, append_images=[picture])
    picture.save(wavelets, "JPEG2000")
    picture.save(icon, "ICO", sizes=[(16, 16), (32, 32)])
    packed = tuple(pack(tarred.getvalue()) for pack in (gzip.compress, bz2.compress, lzma.compress))
    several = small + small  # As cameras write them.
    made = (zipped, tarred, pages, icon, wavelets)
    return (*(file.getvalue() for file in made), *packed, several, _PDF)
