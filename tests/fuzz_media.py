"""`make fuzz`: mutants and bombs through real locked workers, for as long as is asked.

Prints its seed, and what each kind of answer came to. A file that ended its worker is kept by its
content's hash under tests/seeds/media, where a test asks it again for ever. Exits with 1 if a
parent's promise broke: an answer for every file, in time, within memory.
"""

import argparse
import os
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from accord.fingerprint import Decoding, Fingerprinted, Unhashable, UnhashableCode
from accord.media import DecoderPool
from accord.wire.digests import sha256
from accord.wire.limits import (
    DECODE_WAIT_MS,
    DECODER_FILES_LIMIT,
    VIDEO_CPU_MS,
    VIDEO_WAIT_MS,
)
from fuzz_kit import BOMBS, SEEDS_DIRECTORY, mutant

WALL_MAX_S = DECODE_WAIT_MS / 1000 + 2.0  # The pool's own limit, and a machine that is busy.
CPU_MAX_S = 3.5  # The worker's limit, and one tick of a coarse clock.
FILM_WALL_MAX_S = VIDEO_WAIT_MS / 1000 + 2.0  # A film has limits of its own.
FILM_CPU_MAX_S = VIDEO_CPU_MS / 1000 + 0.5
RESIDENT_MAX_MB = 600
KEPT_BYTES_MAX = 100_000
ENDED = (
    UnhashableCode.CRASHED,
    UnhashableCode.TIMEOUT,
    UnhashableCode.VIDEO_CRASHED,
    UnhashableCode.VIDEO_TIMEOUT,
)


@dataclass
class Tally:
    """What a campaign came to. `broken` are promises that did not hold, by file."""

    answers: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    ended: list[tuple[str, bytes]] = field(default_factory=list)
    wall_max_s: float = 0.0
    cpu_max_s: float = 0.0
    resident_max_mb: float = 0.0


class Campaign:
    """One pool of one worker, and what became of the files it was asked."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._pool = DecoderPool(1, files_max=DECODER_FILES_LIMIT)
        self._cpu: tuple[int, float] = (0, 0.0)

    def __enter__(self) -> "Campaign":
        self._pool.check()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def ask(
        self, name: str, data: bytes, decoding: Decoding = Decoding.EXACT
    ) -> Fingerprinted | Unhashable:
        """One file's answer, counted and measured."""
        self._cpu = self._cpu_s()
        started = time.monotonic()
        answer = self._pool.fingerprint(data, decoding)
        wall_s = time.monotonic() - started
        code = answer.code.value if isinstance(answer, Unhashable) else "fingerprinted"
        tally = self.tally
        tally.answers[code] += 1
        tally.wall_max_s = max(tally.wall_max_s, wall_s)
        if isinstance(answer, Unhashable) and answer.code in ENDED:
            tally.ended.append((name, data))
        if wall_s > (FILM_WALL_MAX_S if name.startswith("film") else WALL_MAX_S):
            tally.broken.append(f"{name}: {wall_s:.1f} s of wall time")
        self._measure(name)
        return answer

    def _measure(self, name: str) -> None:
        pid, before_s = self._cpu
        now_pid, now_s = self._cpu_s()
        if now_pid == 0:
            return
        spent_s = now_s - before_s if now_pid == pid else 0.0
        self.tally.cpu_max_s = max(self.tally.cpu_max_s, spent_s)
        if spent_s > (FILM_CPU_MAX_S if name.startswith("film") else CPU_MAX_S):
            self.tally.broken.append(f"{name}: {spent_s:.1f} s of CPU")
        status = Path(f"/proc/{now_pid}/status").read_text(encoding="ascii")
        peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1000
        if peak_mb > RESIDENT_MAX_MB >= self.tally.resident_max_mb:
            self.tally.broken.append(f"{name}: {peak_mb:.0f} MB resident")
        self.tally.resident_max_mb = max(self.tally.resident_max_mb, peak_mb)

    def _cpu_s(self) -> tuple[int, float]:
        """The idle worker, 0 if none is, and its CPU time so far."""
        for pid in self._pool.worker_pids():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            return pid, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0, 0.0


def keep(data: bytes) -> Path | None:
    """Writes a file that ended its worker, unless it is too large to keep."""
    if len(data) > KEPT_BYTES_MAX:
        return None
    SEEDS_DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = SEEDS_DIRECTORY / f"{sha256(data).hex()[:16]}.bin"
    path.write_bytes(data)
    return path


def run(seed: int, minutes: float, bombs: bool) -> Tally:
    deadline = time.monotonic() + 60 * minutes
    with Campaign() as campaign:
        if bombs:
            for name, made in BOMBS.items():
                campaign.ask(name, made())
        number = 0
        while time.monotonic() < deadline:
            name, data = mutant(seed, number)
            decoding = Decoding.SCALED if number % 4 == 0 else Decoding.EXACT
            campaign.ask(f"{name}, mutant {number} of seed {seed}", data, decoding)
            number += 1
    return campaign.tally


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=secrets.randbits(32))
    options.add_argument("--no-bombs", action="store_true")
    options.add_argument("--number", type=int, help="ask this mutant of the seed alone")
    given = options.parse_args()
    say = sys.stdout.write
    if given.number is not None:
        with Campaign() as campaign:
            name, data = mutant(given.seed, given.number)
            say(f"{name}: {len(data)} bytes, {campaign.ask(name, data)}\n")
        return 0
    say(f"seed {given.seed}: again with make fuzz SEED={given.seed}\n")
    sys.stdout.flush()
    tally = run(given.seed, given.minutes, not given.no_bombs)
    for code, count in tally.answers.most_common():
        say(f"{count:10,} {code}\n")
    say(
        f"slowest {tally.wall_max_s:.2f} s of wall time, {tally.cpu_max_s:.2f} s of CPU; "
        f"largest {tally.resident_max_mb:.0f} MB\n"
    )
    for name, data in tally.ended:
        kept = "a bomb" if name in BOMBS else keep(data) or "too large to keep"
        say(f"ended its worker: {name}; {kept}\n")
    for line in tally.broken:
        say(f"BROKEN: {line}\n")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
