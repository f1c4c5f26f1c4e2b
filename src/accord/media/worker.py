"""A decoder worker: one file's bytes in, one answer out, over its standard pipes, until they close.

Run as `python -m accord.media.worker` by `accord.media.pool` alone. It loads every codec first,
then gives up everything that decoding does not need (`lock`), then says it is ready and under
what. It never sees a file's name and writes nothing but answers.
Frames: 4 bytes length big-endian, then that many bytes. In: one byte that says how to decode
(`DECODING_BYTES`), one that says by which steps to look (`STEPS`), and the file. Out: once, the
word `READY` or `REFUSED`, a space and words for people; then canonical CBOR as `encode_answer`
gives, one for each file in order.
"""

import codecs
import copy
import logging
import os
import signal
import sys
import warnings
import xml.etree.ElementTree
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

import av.subtitles.stream
import pillow_heif
from PIL import AvifImagePlugin, Image, ImageCms, ImageColor

from accord.fingerprint import Decoding, Examined, UnhashableCode, examine, second
from accord.fingerprint.ladder import Step
from accord.media.fingerprinters import load, parse_argument
from accord.media.lock import Refused, limits_only, lock_down
from accord.media.warmup import FILM, SAMPLES, container_samples, load_charsets, scaled_sample
from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.limits import DECODE_CPU_MS, DECODE_WAIT_MS, IMAGE_BYTES_MAX, LISTING_TIMES
from accord.wire.record import dump_record, load_record

READY: Final = b"ready"
REFUSED: Final = b"refused"
INSECURE: Final = "--insecure"
FINGERPRINTER: Final = "--fingerprinter="  # And `fingerprinters.Named` as an argument.
LENGTH_BYTES: Final = 4
NO_FINGERPRINTER: Final = "fingerprinter"  # How a refusal begins that is about it.
DECODING_BYTES: Final = {Decoding.EXACT: b"e", Decoding.LISTING: b"l", Decoding.SCALED: b"s"}
STEPS: Final = (Step.FULL, Step.FRAME, Step.PATCHES)  # By bit of the byte that says them.
HEAD_BYTES: Final = LENGTH_BYTES + 2
ANSWER_BYTES_MAX: Final = 2_000_000  # 510 views of 450 bytes, 16 of them with 70,000 more.
# What codecs import at first use, when no file can be opened any more.
_IMPORTED_LATE: Final = (copy, xml.etree.ElementTree, ImageColor, av.subtitles.stream)
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
    examine(scaled_sample(), Decoding.LISTING)
    examine(scaled_sample(), steps=frozenset(Step))
    srgb = ImageCms.createProfile("sRGB")  # Colour management is loaded now, not by a hostile file.
    ImageCms.profileToProfile(Image.new("RGB", (1, 1)), srgb, srgb)
    for text in _TEXTS:
        codecs.lookup(text)
    # Words for nobody: to put a process id or a line of source into them takes a system call.
    logging.disable()
    warnings.simplefilter("ignore")
    sys.unraisablehook = _say_nothing


def _say_nothing(_: object) -> None:
    """Of an exception in a destructor."""


def run(
    look: Callable[[bytes, Decoding, frozenset[Step]], Examined | UnhashableCode],
    lock: Callable[[], str],
) -> int:
    """Locks the process and answers with `look` until the pipe closes."""
    inbox, outbox = sys.stdin.buffer, sys.stdout.buffer
    try:
        report = lock()
    except Refused as err:
        _send(outbox, REFUSED + f" {err}".encode())
        return 1
    _send(outbox, READY + f" {report}".encode())
    while (received := _receive(inbox)) is not None:
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
    return LISTING_TIMES if decoding is Decoding.LISTING else 1


def head_of(data: bytes, decoding: Decoding, steps: frozenset[Step]) -> bytes:
    """What goes before a file."""
    named = sum(1 << place for place, step in enumerate(STEPS) if step in steps)
    return (len(data) + 2).to_bytes(LENGTH_BYTES, "big") + DECODING_BYTES[decoding] + bytes([named])


def _receive(inbox: BinaryIO) -> tuple[Decoding, frozenset[Step], bytes] | None:
    head = inbox.read(HEAD_BYTES)
    size = int.from_bytes(head[:LENGTH_BYTES], "big") - 2
    sign, named = head[LENGTH_BYTES:-1], head[-1:]
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
