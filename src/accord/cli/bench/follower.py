"""A follower that starts from nothing, as a process of its own: `python -m ... HOME REPLICA`.

It prints one JSON object of seconds by step, and what it holds in memory at the end.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.cli.assemble import connected, identity_of, now_ms
from accord.cli.bench.figures import Row
from accord.cli.bench.machine import memory_row
from accord.client.home import open_home
from accord.matching import Place, build_screen
from accord.registry import Registry
from accord.replica.replica import Replica, sync_any
from accord.wire.errors import Broken, Unavailable

WAIT_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Followed:
    """Units: seconds for each step, in order; `opened` listings could be decrypted."""

    entries: int
    opened: int
    active: int
    seconds: dict[str, float]
    memory: Row


def follow_from_zero(home: Path, replica: Path) -> Followed:
    """Run it in a process of its own. Raises: Unavailable, if that failed."""
    command = [sys.executable, "-m", __name__, str(home), str(replica)]
    done = subprocess.run(  # noqa: S603  (this very module)
        command, capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise Unavailable("bench.follower", why=last[0][:200])
    said: dict[str, Any] = json.loads(done.stdout)
    return Followed(**said)


def measure(home_path: Path, replica_path: Path) -> Followed:
    """Sync, read back and open, fold, build what a gateway screens with; then open again."""
    home = open_home(home_path)
    seconds: dict[str, float] = {}
    clock = time.perf_counter
    with connected(home) as nodes:
        who = identity_of(home)
        with closing(Replica(replica_path, home.founding, who, allow_trial=True)) as replica:
            began = clock()
            sync_any(replica, nodes, now_ms())
            seconds["sync"] = clock() - began
            registry = Registry()
            opening = folding = 0.0
            began = clock()
            for entry in replica.folded():
                opened = clock()
                registry.fold(entry)
                done = clock()
                opening += opened - began
                folding += done - opened
                began = done
            seconds["open"], seconds["fold"] = opening, folding
            checkpoint = replica.checkpoint
            if checkpoint is None:
                raise Broken("bench.follower")
            began = clock()
            place = Place(checkpoint.size, checkpoint.root)
            screen = build_screen(registry, replica.state, home.member, place)
            seconds["screen"] = clock() - began
            memory = memory_row("follower, list folded and screen built", [os.getpid()])
            entries = replica.size
        began = clock()
        with closing(Replica(replica_path, home.founding, who, allow_trial=True)) as again:
            seconds["reopen"] = clock() - began
            if again.size != entries:
                raise Broken("bench.follower")
    snapshot = screen.obligations.snapshot
    return Followed(entries, snapshot.count, screen.obligations.active_count, seconds, memory)


if __name__ == "__main__":
    result = measure(Path(sys.argv[1]), Path(sys.argv[2]))
    fields = {name: getattr(result, name) for name in Followed.__slots__}
    sys.stdout.write(json.dumps(fields) + "\n")
