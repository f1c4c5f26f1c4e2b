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


def main() -> None:
    if sys.argv[1:] == ["dies at start"]:
        os._exit(3)
    if sys.argv[1:] == ["is no worker"]:
        send(b"hello")
    send(b"ready")
    while True:
        data = read(int.from_bytes(read(4), "big"))  # How to decode, by which steps, the file.
        BEHAVIOURS[data[2:3]]()


if __name__ == "__main__":
    main()
