"""A platform's home, opened for work: replica, receipts, decoders and the screener over them."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from accord.client.home import Home
from accord.fingerprint import Decoding
from accord.media import DecoderPool
from accord.replica.replica import Replica
from accord.scan.attesting import Attester
from accord.scan.index_store import IndexStore
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Clock, Screener, system_clock
from accord.statements.bodies import Role
from accord.wire.errors import Malformed

RECEIPTS_FILE: Final = "receipts.sqlite"
SCAN_FILE: Final = "scan.sqlite"
INDEX_DIRECTORY: Final = "index"


@dataclass(frozen=True, slots=True)
class Platform:
    """What the commands of a platform share. Closes what it opened, the replica included."""

    home: Home
    replica: Replica
    receipts: ReceiptLog
    pool: DecoderPool
    screener: Screener

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.pool.close()
        self.receipts.close()
        self.replica.close()

    @property
    def scan_file(self) -> Path:
        return self.home.path / SCAN_FILE

    def attester(self) -> Attester:
        home = self.home
        return Attester(home.chain, home.member, home.key(Role.SCANNER), self.receipts)


def check_platform(home: Home) -> None:
    """Raises: Malformed, for a home that is an agency's."""
    if home.kind != "platform":
        raise Malformed("scan.not_a_platform", member=home.member, kind=home.kind)


def open_platform(
    home: Home,
    replica: Replica,
    workers: int,
    clock: Clock = system_clock,
    decoding: Decoding = Decoding.SCALED,
) -> Platform:
    """Open for work; salts that are due are deleted. Closes the replica where it does not succeed.

    Raises: Malformed, Unavailable, Unproven.
    """
    with ExitStack() as undo:
        undo.callback(replica.close)
        check_platform(home)
        key = home.key(Role.SCANNER)
        receipts = ReceiptLog(home.path / RECEIPTS_FILE, home.chain, home.member, key)
        undo.callback(receipts.close)
        receipts.forget(clock())
        pool = DecoderPool(workers)
        undo.callback(pool.close)
        indexes = IndexStore(home.path / INDEX_DIRECTORY)
        screener = Screener(replica, home.member, receipts, pool, clock, indexes, decoding)
        screener.refresh()
        undo.pop_all()
    return Platform(home, replica, receipts, pool, screener)
