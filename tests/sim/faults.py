"""What fails, where and when: the power at any write, disks, the engine's process, clocks, the
network, a whole agency's software.

A disk that fails does so before a write or after it; a cut of the power likewise.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from accord.node.cosigning import StateFile
from accord.replica.store import ReplicaStore
from accord.tlog.cosigner import CosignerState
from accord.wire.errors import Unavailable
from accord.wire.ids import ChainId

T = TypeVar("T")


class Crash(BaseException):
    """The power is cut at this very point."""


class Fault(Enum):
    """What happens at a write."""

    CUT_BEFORE = "cut before"
    CUT_AFTER = "cut after"
    LOST = "lost"  # The disk says that it failed, and it did.
    STORED = "stored"  # The disk says that it failed, and it did not.


class Power:
    """Of one life of a process: whether it is on, and at which of its next writes what fails."""

    def __init__(self) -> None:
        self.is_on = True
        self.off = asyncio.Event()
        self._armed: tuple[Fault, int] | None = None

    def arm(self, fault: Fault, writes: int) -> None:
        """Let the `writes`-th write from now fail, the next being the first."""
        self._armed = (fault, writes)

    def disarm(self) -> None:
        self._armed = None

    def cut(self) -> None:
        self.is_on = False
        self.off.set()

    def write(self, work: Callable[[], T], error: Exception) -> T:
        """Do a write, unless it fails. Raises: Crash; `error`, where the disk fails."""
        if not self.is_on:
            raise Crash
        fault = self._next()
        if fault is Fault.CUT_BEFORE:
            self._crash()
        if fault is Fault.LOST:
            raise error
        done = work()
        if fault is Fault.CUT_AFTER:
            self._crash()
        if fault is Fault.STORED:
            raise error
        return done

    def _crash(self) -> None:
        self.cut()
        raise Crash

    def _next(self) -> Fault | None:
        if self._armed is None:
            return None
        fault, writes = self._armed
        self._armed = (fault, writes - 1) if writes > 1 else None
        return fault if writes == 1 else None


class FaultyConnection(sqlite3.Connection):
    """A node's database on a disk that may fail. What was not committed is gone with the power."""

    power: Power | None = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401
        if self.power is None or sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
            return super().execute(sql, parameters)
        error = sqlite3.OperationalError("disk I/O error")
        return self.power.write(lambda: sqlite3.Connection.execute(self, sql, parameters), error)


def connect(path: Path, power: Power) -> sqlite3.Connection:
    """As a node connects, but that it is the process that dies here and not the machine."""
    connection = sqlite3.connect(path, isolation_level=None, factory=FaultyConnection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    assert isinstance(connection, FaultyConnection)
    connection.power = power
    return connection


class FaultyState(StateFile):
    """A cosigner's memory on such a disk."""

    def __init__(self, path: Path, origin: ChainId, signed: int | None, power: Power) -> None:
        super().__init__(path, origin, signed)
        self._power = power

    def persist(self, state: CosignerState) -> None:
        def work() -> None:
            StateFile.persist(self, state)

        self._power.write(work, Unavailable("cosigner.store"))


class FaultyReplicaStore(ReplicaStore):
    """A follower's copy on such a disk. Each write is one transaction."""

    def __init__(self, path: Path, power: Power) -> None:
        super().__init__(path)
        self._db.execute("PRAGMA synchronous = OFF")
        self._power = power

    def _write(self, steps: Any) -> None:  # noqa: ANN401 - as the store's.
        def work() -> None:
            ReplicaStore._write(self, steps)

        self._power.write(work, Unavailable("replica.store"))
