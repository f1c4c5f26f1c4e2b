"""SHA-256 and the labels that keep its uses apart."""

import hashlib


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def labelled_sha256(label: str, *parts: bytes) -> bytes:
    """A digest no other use of SHA-256 here can produce.

    Shape: SHA-256 over `accord/v1/<label>` and 0x00, then each part behind its 8-byte length.
    """
    state = hashlib.sha256(b"accord/v1/" + label.encode() + b"\x00")
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
