"""A decoder worker: one file's bytes in, one answer out, over its standard pipes, until they close.

Run as `python -m accord.media.worker` by `accord.media.pool` alone. It loads every codec first,
then gives up memory, files and privileges, then says it is ready. It never sees a file's name and
writes nothing but answers.
Frames: 4 bytes length big-endian, then that many bytes. In: one byte that says how to decode
(`DECODING_BYTES`) and the file. Out: the single word `READY` once, then canonical CBOR as
`encode_answer` gives, one for each file in order.
"""

import ctypes
import resource
import signal
import sys
from typing import BinaryIO, Final

from PIL import Image, ImageCms

from accord.fingerprint import Decoding, Examined, UnhashableCode, examine
from accord.media.warmup import SAMPLES, scaled_sample
from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.limits import DECODE_WAIT_MS, DECODER_MEMORY_BYTES, IMAGE_BYTES_MAX
from accord.wire.record import dump_record, load_record

READY: Final = b"ready"
LENGTH_BYTES: Final = 4
DECODING_BYTES: Final = {Decoding.EXACT: b"e", Decoding.SCALED: b"s"}
ANSWER_BYTES_MAX: Final = 65_536  # 128 views of about 60 bytes each, eight times over.
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_FILES_OPEN_MAX: Final = 3  # The standard pipes; nothing is ever opened after the start.


def encode_answer(answer: Examined | UnhashableCode) -> bytes:
    if isinstance(answer, UnhashableCode):
        return cbor.encode({"code": answer.value})
    return cbor.encode({"examined": dump_record(answer)})


def parse_answer(raw: bytes) -> Examined | UnhashableCode:
    """Undoes `encode_answer`; the worker is not trusted. Raises: Malformed."""
    match cbor.parse(raw):
        case {"code": str() as code, **rest} if not rest:
            try:
                return UnhashableCode(code)
            except ValueError as err:
                raise Malformed("media.answer") from err
        case {"examined": examined, **rest} if not rest:
            return load_record(Examined, examined)
        case _:
            raise Malformed("media.answer")


def main() -> int:
    for sample in SAMPLES:
        examine(sample)
    examine(scaled_sample(), Decoding.SCALED)
    srgb = ImageCms.createProfile("sRGB")  # Colour management is loaded now, not by a hostile file.
    ImageCms.profileToProfile(Image.new("RGB", (1, 1)), srgb, srgb)
    inbox, outbox = sys.stdin.buffer, sys.stdout.buffer
    _give_up_powers()
    _send(outbox, READY)
    while (received := _receive(inbox)) is not None:
        decoding, data = received
        # The parent enforces the time limit; the alarm ends a worker whose parent is gone.
        signal.setitimer(signal.ITIMER_REAL, 2 * DECODE_WAIT_MS / 1000)
        try:
            answer = examine(data, decoding)
        except MemoryError:
            answer = UnhashableCode.TOO_LARGE
        except Exception:  # The process's top loop: this file failed, not we.
            answer = UnhashableCode.NOT_DECODABLE
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(outbox, encode_answer(answer))
    return 0


def _give_up_powers() -> None:
    # GAP(#5): Landlock and a seccomp allow-list go here; until then a taken-over decoder can
    # still make system calls such as opening sockets, though not regular files.
    for what, most in (
        (resource.RLIMIT_AS, DECODER_MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES_OPEN_MAX),
    ):
        resource.setrlimit(what, (most, most))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _receive(inbox: BinaryIO) -> tuple[Decoding, bytes] | None:
    head = inbox.read(LENGTH_BYTES + 1)
    size = int.from_bytes(head[:LENGTH_BYTES], "big") - 1
    decoding = next((d for d, sign in DECODING_BYTES.items() if sign == head[LENGTH_BYTES:]), None)
    if decoding is None or not 0 <= size <= IMAGE_BYTES_MAX:
        return None
    data = inbox.read(size)
    return (decoding, data) if len(data) == size else None


def _send(outbox: BinaryIO, payload: bytes) -> None:
    outbox.write(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
    outbox.flush()


if __name__ == "__main__":
    sys.exit(main())
