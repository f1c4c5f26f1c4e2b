"""Films on their way to a worker: a part at a time, asked for by the worker, over its pipe.

A worker has no files. Of a film it asks for the parts that it wants, and gets them one by one;
neither side ever holds more than some blocks, however large the film. It says how far it is the
same way. Every question is answered before the next one, so nothing is ever under way twice.
Not here: the worker's process (`process`), what is decoded (`accord.fingerprint.video`).
Source: docs/spec/fingerprint.md, section 9; docs/adr/0014-films-by-question.md.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from accord.fingerprint.containers import containers_of
from accord.fingerprint.video_formats import HEAD_BYTES, video_format_of
from accord.wire import cbor
from accord.wire.errors import Malformed

BLOCK_BYTES: Final = 1 << 20
_BLOCKS_KEPT: Final = 8
Progress: TypeAlias = Callable[[int, int], None]  # How many ms of how many are seen.


def nobody(_done_ms: int, _of_ms: int) -> None:
    """Who hears how far a film is, as a rule."""


def is_film(data: bytes) -> bool:
    """Whether a file in memory is looked at as a film alone, and not as an archive, too."""
    if video_format_of(data[:HEAD_BYTES]) is None:
        return False
    return not containers_of(data)


class SourceFailed(Exception):  # Told to the pool, which turns it into a code.
    """A film's bytes could not be read, or are fewer than they were."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A worker's question for a block of its film."""

    number: int


@dataclass(frozen=True, slots=True)
class Watched:
    """How far a worker is, in ms of film."""

    done_ms: int
    of_ms: int


def encode_question(question: Wanted | Watched) -> bytes:
    if isinstance(question, Wanted):
        return cbor.encode({"wanted": question.number})
    return cbor.encode({"watched": [question.done_ms, question.of_ms]})


def parse_question(raw: bytes) -> Wanted | Watched | None:
    """None for what is no question, but an answer. Raises: Malformed."""
    match cbor.parse(raw):
        case {"wanted": int() as number, **rest} if not rest and number >= 0:
            return Wanted(number)
        case {"watched": [int() as done, int() as of], **rest} if not rest:
            return Watched(done, of)
        case {"wanted": _} | {"watched": _}:
            raise Malformed("media.answer")
        case _:
            return None


class AskedSource:
    """A film whose blocks are asked for; the last few are kept, since demuxers go to and fro."""

    def __init__(self, size: int, ask: Callable[[int], bytes]) -> None:
        self.size = size
        self._ask = ask
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        parts: list[bytes] = []
        while offset < end:
            number, within = divmod(offset, BLOCK_BYTES)
            part = self._block(number)[within : within + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        self._kept[number] = found = self._ask(number)
        if len(self._kept) > _BLOCKS_KEPT:
            self._kept.popitem(last=False)
        return found


class LargeFilm(Protocol):
    """A film that is not in memory."""

    def opened(self) -> "AbstractContextManager[OpenFilm]":
        """Raises: SourceFailed."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFilm:
    """A film on a disk, larger than what is read whole."""

    path: Path

    @contextmanager
    def opened(self) -> "Iterator[OpenFilm]":
        """Raises: SourceFailed."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except (OSError, ValueError) as err:
            raise SourceFailed from err
        try:
            yield OpenFilm(file, os.fstat(file).st_size)
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class OpenFilm:
    """A film's bytes where they lie."""

    file: int
    size: int

    def blocks(self) -> Iterator[bytes]:
        """Raises: SourceFailed."""
        for offset in range(0, self.size, BLOCK_BYTES):
            yield self.read(offset, BLOCK_BYTES)

    def read(self, offset: int, size: int) -> bytes:
        """Raises: SourceFailed."""
        size = min(size, max(0, self.size - offset))
        parts: list[bytes] = []
        while size:
            try:
                part = os.pread(self.file, size, offset)
            except OSError as err:
                raise SourceFailed from err
            if not part:  # It was cut since it was opened.
                raise SourceFailed
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)
