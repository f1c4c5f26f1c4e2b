"""Decoder workers that misbehave on request: real processes with the real protocol.

The file's first byte says what to do. Run as a script with the name of one behaviour, or none.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

ARGV: Final = (sys.executable, "-S", "-E", __file__)
ANSWER: Final = b"\xa1dcodenimage.too_flat"  # {"code": "image.too_flat"}


def send(payload: bytes) -> None:
    os.write(1, len(payload).to_bytes(4, "big") + payload)


def read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def stall() -> None:
    os.write(1, b"\x00\x00")  # Half of a length.
    time.sleep(3600)


BEHAVIOURS: Final[dict[bytes, Callable[[], object]]] = {
    b"a": lambda: send(ANSWER),
    b"h": lambda: time.sleep(3600),
    b"k": lambda: os.kill(os.getpid(), 9),
    b"p": lambda: os.kill(os.getpid(), signal.SIGPROF),  # What the limit of CPU time sends.
    b"x": lambda: os._exit(0),
    b"j": lambda: send(b"no CBOR"),
    b"b": lambda: os.write(1, b"\xff\xff\xff\xff"),
    b"2": lambda: os.write(1, (len(ANSWER).to_bytes(4, "big") + ANSWER) * 2),
    b"s": stall,
}


def asked(question: bytes) -> bytes:
    """What the parent answers to a question about a film."""
    send(question)
    return read(int.from_bytes(read(4), "big"))


def film_of(block: bytes) -> None:
    send(ANSWER if asked(b"\xa1fwanted\x00") == block else b"no CBOR")


def for_ever() -> None:
    while True:
        asked(b"\xa1fwanted\x00")


# By a film's size.
FILMS: Final[dict[int, Callable[[], object]]] = {
    100: lambda: film_of(b"\x1a\x45\xdf\xa3" + bytes(96)),
    101: lambda: asked(b"\xa1gwatched\x82\x05\x0a") or send(ANSWER),  # 5 of 10 ms.
    102: lambda: film_of(b""),
    103: lambda: asked(b"\xa1fwanted\x20") or send(ANSWER),  # Block -1.
    104: lambda: os.kill(os.getpid(), signal.SIGPROF),
    105: lambda: os.kill(os.getpid(), 9),
    106: lambda: time.sleep(3600),
    107: for_ever,
    108: lambda: asked(b"\xa1fwanted\x19\xff\xff") or send(ANSWER),  # Beyond its end.
}


def main() -> None:
    if sys.argv[1:] == ["dies at start"]:
        os._exit(3)
    if sys.argv[1:] == ["is no worker"]:
        send(b"hello")
    send(b"ready")
    while True:
        data = read(int.from_bytes(read(4), "big"))  # How to decode, by which steps, the file.
        if data[:1] == b"v":
            FILMS[int.from_bytes(data[2:], "big")]()
        else:
            BEHAVIOURS[data[2:3]]()


if __name__ == "__main__":
    main()
