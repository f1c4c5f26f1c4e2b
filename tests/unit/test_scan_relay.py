"""Receipts that several processes hand to one writer: real sockets, files and threads."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from accord.scan.receipt_relay import FRAME_BYTES_MAX, SOCKET_FILE, Relay, RelayedStore
from accord.scan.receipt_store import Pending, ReceiptStore
from accord.scan.receipts import ReceiptLog
from accord.statements.bodies import Role
from accord.wire import cbor
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import RECEIPT_BATCH_MAX
from consortium_kit import CHAIN, derived_key

CLOUD = MemberId("cloud")
KEY = derived_key("cloud", Role.SCANNER, "scanner")
FILE = "receipts.sqlite"


def batch_of(name: str, count: int) -> list[Pending]:
    return [
        Pending(f"{name} {number}".encode(), bytes(16), bytes(32), TimeMs(number))
        for number in range(count)
    ]


class Disk(ReceiptStore):
    """A file that refuses while it is told to, and counts its commits."""

    is_full = False
    commits = 0

    def append(self, batch: Sequence[Pending]) -> int:
        if self.is_full:
            raise Unavailable("receipts.store", why="disk full")
        self.commits += 1
        return super().append(batch)


@contextmanager
def relaying(directory: Path) -> Iterator[Disk]:
    """A writer in `directory`; its disk."""
    disk = Disk(directory / FILE)
    log = ReceiptLog(
        directory / FILE,
        CHAIN,
        CLOUD,
        KEY,
        open_store=lambda path: disk if not disk.commits else ReceiptStore(path),
    )
    relay = Relay(directory, log.append)
    try:
        yield disk
    finally:
        relay.close()
        log.close()


def test_batches_of_several_stand_together_and_in_order(tmp_path: Path) -> None:
    found: dict[str, int] = {}

    def hand_in(name: str) -> None:
        with closing(RelayedStore(tmp_path / FILE, tmp_path)) as store:
            for number in range(20):
                said = f"{name}{number}"
                found[said] = store.append(batch_of(said, 1 + number % 3))

    with relaying(tmp_path) as disk:
        callers = [threading.Thread(target=hand_in, args=(name,)) for name in "abcd"]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        leaves = disk.leaves(0, 1000)
        assert disk.head().size == len(leaves) == 4 * sum(1 + n % 3 for n in range(20))
        for said, first in found.items():
            count = 1 + int(said[1:]) % 3
            wanted = [f"{said} {number}".encode() for number in range(count)]
            assert leaves[first : first + count] == wanted
        for name in "abcd":
            mine = [found[f"{name}{number}"] for number in range(20)]
            assert mine == sorted(mine)


def test_a_directory_may_lie_deeper_than_a_socket_has_room_for(tmp_path: Path) -> None:
    deep = tmp_path / ("far" * 40)
    deep.mkdir()
    with relaying(deep), closing(RelayedStore(deep / FILE, deep)) as store:
        assert store.append(batch_of("a", 3)) == 0


def test_a_batch_is_kept_whole_however_large(tmp_path: Path) -> None:
    with relaying(tmp_path), closing(RelayedStore(tmp_path / FILE, tmp_path)) as store:
        assert store.append(batch_of("large", RECEIPT_BATCH_MAX + 1)) == 0
        assert store.append(batch_of("next", 1)) == RECEIPT_BATCH_MAX + 1


def test_a_refusal_is_told_by_its_code_and_the_line_goes_on(tmp_path: Path) -> None:
    with relaying(tmp_path) as disk, closing(RelayedStore(tmp_path / FILE, tmp_path)) as store:
        disk.is_full = True
        with pytest.raises(Unavailable, match=r"receipts\.store"):
            store.append(batch_of("refused", 1))
        disk.is_full = False
        assert store.append(batch_of("taken", 1)) == 0


def test_without_a_writer_nothing_is_promised(tmp_path: Path) -> None:
    with closing(RelayedStore(tmp_path / FILE, tmp_path)) as store:
        with pytest.raises(Unavailable, match=r"receipts\.store"):
            store.append(batch_of("early", 1))
        with relaying(tmp_path):
            assert store.append(batch_of("there", 1)) == 0
        (tmp_path / SOCKET_FILE).unlink()
        with pytest.raises(Unavailable, match=r"receipts\.store"):
            store.append(batch_of("late", 1))
        assert store.head().size == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff",
        cbor.encode(5),
        cbor.encode([5]),
        cbor.encode([[b"leaf", b"salt"]]),
        cbor.encode([[b"leaf", b"salt", b"mac", "when"]]),
    ],
)
def test_what_is_no_batch_ends_the_line_and_nothing_else(tmp_path: Path, frame: bytes) -> None:
    with relaying(tmp_path), socket.socket(socket.AF_UNIX) as line:
        line.connect(str(tmp_path / SOCKET_FILE))
        line.sendall(len(frame).to_bytes(4, "big") + frame)
        assert line.recv(1) == b""
        with closing(RelayedStore(tmp_path / FILE, tmp_path)) as store:
            assert store.append(batch_of("after", 1)) == 0


def test_a_frame_has_a_limit(tmp_path: Path) -> None:
    with relaying(tmp_path), socket.socket(socket.AF_UNIX) as line:
        line.connect(str(tmp_path / SOCKET_FILE))
        line.sendall((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        assert line.recv(1) == b""
