"""`accord log mirror`: the log's public files in a directory that any web server can serve."""

import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from accord.cli.assemble import now_ms
from accord.cli.continuing import complete
from accord.cli.founding import read_genesis
from accord.cli.options import Json, Trial
from accord.client.files import write_durably
from accord.client.http import NodeClient
from accord.replica.mirror import CHECKPOINT_FILE, outgrown, public_files
from accord.replica.replica import Replica, sync_any
from accord.replica.source import LogSource
from accord.tlog import parse_checkpoint, parse_note
from accord.wire.errors import AccordError, Broken, Malformed, Unavailable, Unproven

EVERY_S = 5.0

_MIRROR = """Write a log's public files into DIR, for a web server or a CDN, and keep them current.

Every entry is verified first, as `accord follow` does; what is written is what was proved. Readers
follow the mirror (accord follow --mirror URL) and take from nodes only what is for members. Files
are written before the checkpoint that needs them. Serve them as they are; `checkpoint`, `policy`
and `transitions` change, all else may be cached for ever. What was verified is kept in
DIR.replica.sqlite, beside DIR.

Examples:

    accord log mirror /srv/www/log --node https://node.example --genesis genesis.json

    accord log mirror ./public --node http://127.0.0.1:8700 --genesis genesis.json --once --trial
"""


def register(log_app: typer.Typer) -> None:
    """Adds the command to `accord log`."""
    log_app.command("mirror", help=_MIRROR)(mirror)


def mirror(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the files.")],
    node: Annotated[list[str], typer.Option(metavar="URL", help="A node to read; repeatable.")],
    genesis: Annotated[Path, typer.Option(help="The genesis file you trust.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 it must have, in hex.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Stop at the newest checkpoint.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = EVERY_S,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    raw, _ = read_genesis(genesis, sha256)
    directory.mkdir(parents=True, exist_ok=True)
    state = directory.with_name(f"{directory.name}.replica.sqlite")
    with ExitStack() as stack:
        nodes = [stack.enter_context(NodeClient(url)) for url in node]
        founding = complete(raw, nodes[0].fetch_earlier)
        replica = Replica(state, founding, None, allow_trial=trial)
        stack.enter_context(closing(replica))
        files = MirrorFiles(directory, raw)
        if once:
            _look(replica, nodes, files, as_json)
            return
        stopping = threading.Event()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        troubled: str | None = None
        while not stopping.is_set():
            try:
                _look(replica, nodes, files, as_json)
                troubled = None
            except Broken:
                raise
            except AccordError as err:
                if troubled != err.code:
                    sys.stderr.write(f"accord: {err}; going on\n")
                troubled = err.code
            stopping.wait(every)


def _look(
    replica: Replica, nodes: Sequence[LogSource], files: "MirrorFiles", as_json: bool
) -> None:
    _, lies = sync_any(replica, nodes, now_ms())
    for name, lie in lies:
        sys.stderr.write(f"accord: refused {name}: {lie}\n")
    written = files.update(replica)
    if not written:
        return
    said = {"size": replica.size, "files": written}
    text = f"{replica.size} entries, {written} files written"
    sys.stdout.write((json.dumps(said) if as_json else text) + "\n")
    sys.stdout.flush()


class MirrorFiles:
    """The directory of a mirror. One writer."""

    def __init__(self, directory: Path, genesis: bytes) -> None:
        self._directory = directory
        self._genesis = genesis
        self._before: tuple[int, int] | None = None  # The sizes of the last step, old and new.

    def update(self, replica: Replica) -> int:
        """Write what is new; how many files. Again after a crash, it writes what is missing.

        Raises: Unproven, where the directory is another log's mirror; Unavailable.
        """
        checkpoint = replica.checkpoint
        have, raw = self._published(replica.chain)
        if checkpoint is None or checkpoint.raw == raw:
            return 0
        written = 0
        try:
            for path, data in public_files(replica, self._genesis, have, self._read):
                file = self._directory / path
                file.parent.mkdir(parents=True, exist_ok=True)
                write_durably(file, data)
                written += 1
            if self._before is not None:
                before, then = self._before
                for path in outgrown(replica, then, before):
                    (self._directory / path).unlink(missing_ok=True)
        except OSError as err:
            path = str(err.filename or self._directory)
            raise Unavailable("mirror.write", path=path, why=err.strerror or "") from err
        self._before = (have, checkpoint.size)
        return written

    def _published(self, chain: str) -> tuple[int, bytes]:
        """The size and bytes of the head that stands there; its tiles stand too."""
        try:
            raw = (self._directory / CHECKPOINT_FILE).read_bytes()
        except FileNotFoundError:
            return 0, b""
        try:
            head = parse_checkpoint(parse_note(raw).text)
        except Malformed:
            return 0, b""  # Whatever it is, what follows replaces it.
        if head.origin != chain:
            raise Unproven("mirror.foreign", path=str(self._directory), got=head.origin)
        return head.size, raw

    def _read(self, path: str) -> bytes:
        return (self._directory / path).read_bytes()
