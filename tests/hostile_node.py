"""An agency's node that lies in the engine: `python hostile_node.py HOME`. What its application
proposes is what stands in HOME/proposal; nothing that it is asked about is ever refused; and its
engine's pool takes, keeps and hands on whatever it is given.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accord.client.home import open_home
from accord.ledger.codes import RejectCode
from accord.node import comet_engine, comet_files, process
from accord.node.abci_app import App
from accord.node.comet_files import encode_config
from accord.wire.ids import TimeMs

PROPOSAL = "proposal"  # A directory of transactions; while it is empty the node is honest.


class HostileApp(App):
    """Keeps no rule that it could break."""

    home: Path

    def check(self, raw: bytes) -> RejectCode | None:
        del raw
        return None

    def admit(self, raw: bytes, *, again: bool) -> int:
        del raw, again
        return 0

    def prepare(self, candidates: Sequence[bytes], now: TimeMs, room_bytes: int) -> list[bytes]:
        files = sorted((self.home / PROPOSAL).glob("*"))
        if not files:
            return super().prepare(candidates, now, room_bytes)
        return [file.read_bytes() for file in files]

    def process(self, transactions: Sequence[bytes], now: TimeMs) -> RejectCode | None:
        del transactions, now
        return None


def roomy_config(*arguments: Any) -> bytes:  # noqa: ANN401 - whatever the real one takes.
    config, found = re.subn(rb"\nsize = \d+", b"\nsize = 1000000", encode_config(*arguments))
    if found != 1:
        raise AssertionError("the pool's size is not where it was")
    return config


def run(path: Path) -> None:
    HostileApp.home = path
    comet_engine.App = HostileApp  # type: ignore[misc]
    comet_files.encode_config = roomy_config
    process.run_agency_node(open_home(path), sys.stdout.write)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
