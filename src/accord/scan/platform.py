"""A platform's home, opened for work: replica, receipts, decoders and the screener over them."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from accord.client.home import Home
from accord.fingerprint import Decoding
from accord.media import DecoderPool, named_in
from accord.replica.replica import Replica
from accord.scan.attesting import Attester
from accord.scan.index_store import IndexStore
from accord.scan.local_file import load_local
from accord.scan.receipt_relay import RelayedStore
from accord.scan.receipt_store import ReceiptStore
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Clock, Screener, system_clock
from accord.statements.bodies import Role
from accord.wire.errors import Malformed
from accord.wire.limits import DECODER_FILES_MAX

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


def open_platform(  # noqa: PLR0913  (what a platform is opened with)
    home: Home,
    replica: Replica,
    workers: int,
    clock: Clock = system_clock,
    decoding: Decoding = Decoding.SCALED,
    *,
    among: Path | None = None,
    insecure: bool = False,
    files_max: int = DECODER_FILES_MAX,
) -> Platform:
    """Open for work; salts that are due are deleted. Closes the replica where it does not succeed.

    `among`: the directory of the processes among which this is one. Another one then writes the
    index file, and the receipts, which it takes there. `insecure`, `files_max`: as
    `DecoderPool`'s.

    Raises: Malformed, Unavailable, Unproven.
    """
    with ExitStack() as undo:
        undo.callback(replica.close)
        check_platform(home)
        key = home.key(Role.SCANNER)
        opened = ReceiptStore if among is None else partial(RelayedStore, directory=among)
        receipts = ReceiptLog(
            home.path / RECEIPTS_FILE, home.chain, home.member, key, open_store=opened
        )
        undo.callback(receipts.close)
        if among is None:
            receipts.forget(clock())
        pool = DecoderPool(
            workers,
            insecure=insecure,
            fingerprinter=named_in(home.path),
            files_max=files_max,
        )
        undo.callback(pool.close)
        indexes = IndexStore(home.path / INDEX_DIRECTORY)
        screener = Screener(
            replica,
            home.member,
            receipts,
            pool,
            clock,
            indexes,
            decoding,
            writes_index=among is None,
        )
        screener.local = load_local(home.path)
        screener.refresh()
        undo.pop_all()
    return Platform(home, replica, receipts, pool, screener)
