"""Bytes gone wrong, for certain: a byte that is set may have been that byte all along."""


def bent(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])
