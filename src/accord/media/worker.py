"""A decoder worker: one file's bytes in, one answer out, over its standard pipes, until they close.

Run as `python -m accord.media.worker` by `accord.media.pool` alone. It loads every codec first,
then gives up everything that decoding does not need (`lock`), then says it is ready and under
what. It never sees a file's name and writes nothing but answers.
Frames: 4 bytes length big-endian, then that many bytes. In: one byte that says how to decode
(`DECODING_BYTES`), one that says by which steps to look (`STEPS`), and the file; or `FILM_BYTE`, a
zero and a film's size, whose parts are asked for (`films`). Out: once, the word `READY` or
`REFUSED`, a space and words for people; then canonical CBOR as `encode_answer` gives, one for each
file in order.
"""

import codecs
import copy
import logging
import os
import signal
import sys
import time
import warnings
import xml.etree.ElementTree
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

import numpy as np
import pillow_heif
from av.subtitles import codeccontext, stream
from PIL import AvifImagePlugin, Image, ImageCms, ImageColor

from accord.fingerprint import (
    BytesSource,
    Decoding,
    Examined,
    Source,
    UnhashableCode,
    examine,
    examine_film,
    second,
)
from accord.fingerprint.ladder import Step
from accord.media.films import (
    BLOCK_BYTES,
    AskedSource,
    Progress,
    Wanted,
    Watched,
    encode_question,
)
from accord.media.fingerprinters import load, parse_argument
from accord.media.lock import Refused, limits_only, lock_down
from accord.media.warmup import FILM, SAMPLES, container_samples, load_charsets, scaled_sample
from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.limits import (
    DECODE_CPU_MS,
    DECODE_WAIT_MS,
    IMAGE_BYTES_MAX,
    LISTING_TIMES,
    VIDEO_CPU_MS,
    VIDEO_WAIT_MS,
)
from accord.wire.record import dump_record, load_record

READY: Final = b"ready"
REFUSED: Final = b"refused"
INSECURE: Final = "--insecure"
FINGERPRINTER: Final = "--fingerprinter="  # And `fingerprinters.Named` as an argument.
LENGTH_BYTES: Final = 4
NO_FINGERPRINTER: Final = "fingerprinter"  # How a refusal begins that is about it.
FILM_BYTE: Final = b"v"
FILM_SIZE_BYTES: Final = 8
_TELL_S: Final = 0.25  # The parent hears how far a film is, and that the worker is alive.
DECODING_BYTES: Final = {
    Decoding.EXACT: b"e",
    Decoding.LISTING: b"l",
    Decoding.LISTING_LARGE: b"L",
    Decoding.LISTING_BARE: b"b",
    Decoding.SCALED: b"s",
}
STEPS: Final = (Step.FULL, Step.FRAME, Step.PATCHES)  # By bit of the byte that says them.
HEAD_BYTES: Final = LENGTH_BYTES + 2
ANSWER_BYTES_MAX: Final = 2_000_000  # 255 views of 600 bytes, 16 of them with 70,000 more.
# What codecs import at first use, when no file can be opened any more.
_IMPORTED_LATE: Final = (copy, xml.etree.ElementTree, ImageColor, codeccontext, stream)
_TEXTS: Final = ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


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
    try:
        begin(sys.argv[1:])
    except Refused as err:
        _send(sys.stdout.buffer, REFUSED + f" {err}".encode())
        return 1
    return run(examine, limits_only if INSECURE in sys.argv[1:] else lock_down)


def begin(arguments: Sequence[str]) -> None:
    """Loads what decodes, and the fingerprinter that was named, if one was. Raises: Refused."""
    named = next(
        (a.removeprefix(FINGERPRINTER) for a in arguments if a.startswith(FINGERPRINTER)), ""
    )
    if named:
        try:
            second.use(load(parse_argument(named)))
        except Exception as err:  # Others' code, and nothing outside has been read yet.
            raise Refused(f"{NO_FINGERPRINTER}: {err!r}") from err
    warm_up()
    shown = examine(scaled_sample()) if named else None
    if isinstance(shown, Examined) and shown.pdq[0].photodna is None:
        raise Refused(f"{NO_FINGERPRINTER}: it has no value for a plain picture")


def warm_up() -> None:
    """Loads every codec and what it imports late, and makes Python quiet."""
    # A worker is one core's: by themselves they take as many as the machine has, and memory along.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1
    load_charsets()
    for sample in (*SAMPLES, FILM, *container_samples()):
        examine(sample)
    examine(scaled_sample(), Decoding.SCALED)
    examine(scaled_sample(96), Decoding.LISTING)  # Small: it takes a second for a large one.
    examine(scaled_sample(96), steps=frozenset(Step))
    _ = np.ones((256, 256)) @ np.ones(256)  # Linear algebra takes its memory at first use.
    examine_film(BytesSource(FILM), _say_no_more)
    srgb = ImageCms.createProfile("sRGB")  # Colour management is loaded now, not by a hostile file.
    ImageCms.profileToProfile(Image.new("RGB", (1, 1)), srgb, srgb)
    for text in _TEXTS:
        codecs.lookup(text)
    # Words for nobody: to put a process id or a line of source into them takes a system call.
    logging.disable()
    warnings.simplefilter("ignore")
    sys.unraisablehook = _say_nothing


def _say_no_more(_done_ms: int, _of_ms: int) -> None:
    """Of the sample's progress."""


def _say_nothing(_: object) -> None:
    """Of an exception in a destructor."""


def run(
    look: Callable[[bytes, Decoding, frozenset[Step]], Examined | UnhashableCode],
    lock: Callable[[], str],
    watch: Callable[[Source, Progress], Examined | UnhashableCode] = examine_film,
) -> int:
    """Locks the process and answers until the pipe closes: with `look`, of films with `watch`."""
    inbox, outbox = sys.stdin.buffer, sys.stdout.buffer
    try:
        report = lock()
    except Refused as err:
        _send(outbox, REFUSED + f" {err}".encode())
        return 1
    _send(outbox, READY + f" {report}".encode())
    while (received := _receive(inbox)) is not None:
        if isinstance(received, int):
            _send(outbox, encode_answer(_watched(inbox, outbox, received, watch)))
            continue
        decoding, steps, data = received
        # The parent enforces the wall time; the alarm ends a worker whose parent is gone.
        times = times_of(decoding)
        signal.setitimer(signal.ITIMER_REAL, 2 * times * DECODE_WAIT_MS / 1000)
        signal.setitimer(signal.ITIMER_PROF, times * DECODE_CPU_MS / 1000)  # SIGPROF ends us.
        try:
            answer = look(data, decoding, steps)
        except MemoryError:
            answer = UnhashableCode.TOO_LARGE
        except Exception:  # The process's top loop: this file failed, not we.
            answer = UnhashableCode.NOT_DECODABLE
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(outbox, encode_answer(answer))
    return 0


def times_of(decoding: Decoding) -> int:
    """How many times the usual time a file may take."""
    return LISTING_TIMES if decoding in (Decoding.LISTING, Decoding.LISTING_LARGE) else 1


def head_of(data: bytes, decoding: Decoding, steps: frozenset[Step]) -> bytes:
    """What goes before a file."""
    named = sum(1 << place for place, step in enumerate(STEPS) if step in steps)
    return (len(data) + 2).to_bytes(LENGTH_BYTES, "big") + DECODING_BYTES[decoding] + bytes([named])


def film_head_of(size: int) -> bytes:
    """What says that a film of so many bytes is to be asked for."""
    length = (2 + FILM_SIZE_BYTES).to_bytes(LENGTH_BYTES, "big")
    return length + FILM_BYTE + b"\0" + size.to_bytes(FILM_SIZE_BYTES, "big")


class _TooLong(Exception):
    """A film took more CPU than one may."""


def _watched(
    inbox: BinaryIO,
    outbox: BinaryIO,
    size: int,
    watch: Callable[[Source, Progress], Examined | UnhashableCode],
) -> Examined | UnhashableCode:
    """A film's answer: each decoded frame has the time of a picture, and all have a limit."""
    begun_s, told_s = time.process_time(), time.monotonic()

    def asked(question: Wanted | Watched) -> bytes:
        _send(outbox, encode_question(question))
        length = int.from_bytes(inbox.read(LENGTH_BYTES), "big")
        found = inbox.read(length)
        if len(found) < length or length > BLOCK_BYTES:
            os._exit(0)  # The parent is gone.
        return found

    def tell(done_ms: int, of_ms: int) -> None:
        nonlocal told_s
        if time.process_time() - begun_s > VIDEO_CPU_MS / 1000:
            raise _TooLong
        signal.setitimer(signal.ITIMER_PROF, DECODE_CPU_MS / 1000)
        if time.monotonic() - told_s >= _TELL_S:
            told_s = time.monotonic()
            asked(Watched(done_ms, of_ms))

    signal.setitimer(signal.ITIMER_REAL, 2 * VIDEO_WAIT_MS / 1000)
    signal.setitimer(signal.ITIMER_PROF, DECODE_CPU_MS / 1000)
    try:
        answer = watch(AskedSource(size, lambda number: asked(Wanted(number))), tell)
    except _TooLong:
        answer = UnhashableCode.VIDEO_TIMEOUT
    except MemoryError:
        answer = UnhashableCode.VIDEO_TOO_LARGE
    except Exception:  # The film's top loop, as `run` is a file's: it failed, not we.
        answer = UnhashableCode.VIDEO_NOT_DECODABLE
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return answer


def _receive(inbox: BinaryIO) -> tuple[Decoding, frozenset[Step], bytes] | int | None:
    """How to decode and to look, and a file; or a film's size."""
    head = inbox.read(HEAD_BYTES)
    size = int.from_bytes(head[:LENGTH_BYTES], "big") - 2
    sign, named = head[LENGTH_BYTES:-1], head[-1:]
    if sign == FILM_BYTE:
        return int.from_bytes(inbox.read(size), "big") if size == FILM_SIZE_BYTES else None
    decoding = next((d for d, known in DECODING_BYTES.items() if known == sign), None)
    if decoding is None or len(head) < HEAD_BYTES or not 0 <= size <= IMAGE_BYTES_MAX:
        return None
    steps = frozenset(step for place, step in enumerate(STEPS) if named[0] >> place & 1)
    data = inbox.read(size)
    return (decoding, steps, data) if len(data) == size else None


def _send(outbox: BinaryIO, payload: bytes) -> None:
    outbox.write(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
    outbox.flush()


if __name__ == "__main__":
    os._exit(main())  # The interpreter's own end would ask for more than a locked process may.
