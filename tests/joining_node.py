"""An agency's node with small chunks, so that a short log has many: `python joining_node.py HOME
[lies]`. One that lies bends what it serves to joining nodes: chunks, and a newer snapshot.
"""

import sys
from dataclasses import replace
from pathlib import Path

from accord.client.home import open_home
from accord.node import comet_engine, process, snapshots
from accord.node.snapshots import Snapshot
from accord.node.state_sync import Shelf

CHUNK_BYTES = 6_000
LIES = "lies"


class LyingShelf(Shelf):
    """Offers a snapshot of another log first; what it serves of the true one is bent."""

    def offered(self) -> list[Snapshot]:
        true = super().offered()
        return [
            *(replace(true[0], height=true[0].height + 1, root=bytes(32)) for _ in true[:1]),
            *true,
        ]

    def chunk(self, height: int, index: int) -> bytes | None:
        raw = super().chunk(height, index)
        return raw and raw[:-1] + bytes([raw[-1] ^ 1])


def run(path: Path, *, lies: bool) -> None:
    snapshots.SNAPSHOT_CHUNK_BYTES_MAX = CHUNK_BYTES  # type: ignore[misc]
    if lies:
        comet_engine.Shelf = LyingShelf  # type: ignore[misc]
    process.run_agency_node(open_home(path), sys.stdout.write)


if __name__ == "__main__":
    run(Path(sys.argv[1]), lies=LIES in sys.argv[2:])
