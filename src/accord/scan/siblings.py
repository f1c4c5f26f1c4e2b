"""Request processes of one gateway, side by side: what each lets the others know.

In a private directory, which whoever starts them makes and removes: how many connections each
holds, in shared memory, and a small file of each that says whether it can screen and what it has
counted.
Invariants: counts never shrink, also when a process ends; nothing here decides about a file; a
process that says nothing for SILENT_S counts as one that cannot screen.
Not here: starting and replacing them (crew).
"""

import json
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.scan.meter import Counts

TELL_EVERY_S: Final = 0.5
SILENT_S: Final = 10.0  # A machine with twice the work it can do delays a word by a second or two.
NOBODY: Final = 0xFFFFFFFF  # Connections of a place where nobody listens: never the fewest.
SILENT: Final = "gateway.silent"
_HELD: Final = struct.Struct("=I")
_HELD_FILE: Final = "connections"
_ENDED_FILE: Final = "ended"
_FOLLOWER_FILE: Final = "follower"
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Word:
    """What one process said last. Units: `at_s` of the clock all processes of a machine share."""

    at_s: float
    trouble: str | None  # Why it cannot screen.
    counts: Counts


class Table:
    """The directory, for whoever made it."""

    def __init__(self, directory: Path, places: int) -> None:
        self.directory = directory
        self._ended = Counts()
        self._merged: list[str] = []
        self._follower: str | None = None
        nobody = _HELD.pack(NOBODY) * places
        (directory / _HELD_FILE).write_bytes(nobody)
        self._held = _map(directory / _HELD_FILE)

    def clear(self, place: int, pid: int) -> None:
        """A process has ended: nobody waits for it, and what it counted stays."""
        _HELD.pack_into(self._held, place * _HELD.size, NOBODY)
        name = _name_of(place, pid)
        word = _read(self.directory / name)
        if word is None:
            return
        self._ended.add(word.counts)
        self._merged = [*self._merged[-63:], name]
        # Crash from here: it takes the directory with it. A reader that sees both files for a
        # moment passes over the merged one.
        said = {"counts": self._ended.as_json(), "merged": self._merged}
        _write(self.directory / _ENDED_FILE, said)
        (self.directory / name).unlink(missing_ok=True)

    def ready(self) -> int:
        """How many listen."""
        return _ready(self._held)

    def tell_follower(self, trouble: str | None) -> None:
        """Why the process that follows does not get on; None if it does."""
        if trouble != self._follower:
            self._follower = trouble
            _write(self.directory / _FOLLOWER_FILE, {"trouble": trouble})


class Siblings:
    """One process' place among the others."""

    def __init__(
        self, directory: Path, place: int, places: int, clock: Clock = time.monotonic
    ) -> None:
        self.places = places
        self.directory = directory
        self._place = place
        self._clock = clock
        self._held = _map(directory / _HELD_FILE)

    def hold(self, connections: int) -> None:
        """We hold so many now."""
        _HELD.pack_into(self._held, self._place * _HELD.size, connections)

    def holds_more(self, connections: int) -> bool:
        """Whether another one that listens holds fewer."""
        held: Iterator[tuple[int]] = _HELD.iter_unpack(self._held)
        return any(
            count < connections for place, (count,) in enumerate(held) if place != self._place
        )

    def tell(self, trouble: str | None, counts: Counts) -> None:
        """Raises: OSError."""
        said = {"at_s": self._clock(), "trouble": trouble, "counts": counts.as_json()}
        _write(self.directory / _name_of(self._place, os.getpid()), said)

    def _words(self) -> dict[str, Word]:
        """Of the others that have not ended, by file."""
        mine = _name_of(self._place, os.getpid())
        words = {path.name: _read(path) for path in self.directory.glob("*.word")}
        return {name: word for name, word in words.items() if name != mine and word is not None}

    def trouble(self) -> str | None:
        """Why one of the others cannot screen, if there is one that cannot."""
        for word in self._words().values():
            if self._clock() - word.at_s > SILENT_S:
                return SILENT
            if word.trouble is not None:
                return word.trouble
        return None

    def ready(self) -> int:
        """How many listen, ourselves with them."""
        return _ready(self._held)

    def counts(self) -> list[Counts]:
        """Of all others, those that have ended with them."""
        words = self._words()
        # Read last: what is merged between the two is passed over, and not missed.
        ended = _json_of(self.directory / _ENDED_FILE) or {"merged": [], "counts": {}}
        found = [word.counts for name, word in words.items() if name not in ended["merged"]]
        return [*found, Counts.from_json(ended["counts"])]

    def follower_trouble(self) -> str | None:
        """Why the process that follows the ledger does not get on."""
        return (_json_of(self.directory / _FOLLOWER_FILE) or {}).get("trouble")


def _name_of(place: int, pid: int) -> str:
    return f"{place}.{pid}.word"


def _ready(held: mmap.mmap) -> int:
    counts: Iterator[tuple[int]] = _HELD.iter_unpack(held)
    return sum(count != NOBODY for (count,) in counts)


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _write(path: Path, said: dict[str, Any]) -> None:
    """The old words or the new ones, never half of them."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.write_text(json.dumps(said))
    fresh.replace(path)


def _read(path: Path) -> Word | None:
    said = _json_of(path)
    if said is None:
        return None
    return Word(said["at_s"], said["trouble"], Counts.from_json(said["counts"]))


def _json_of(path: Path) -> dict[str, Any] | None:
    """None where it has not been written, or is gone already."""
    with suppress(FileNotFoundError):
        said: dict[str, Any] = json.loads(path.read_text())
        return said
    return None
