"""The agency's book: its own replica and the nodes it follows, as desk and keeper read it."""

import logging
from collections.abc import Sequence

from accord.agency.voice import Clock
from accord.follow.keyring import Keyring
from accord.ledger.state import Reader
from accord.replica.replica import Replica, sync_any
from accord.replica.source import LogSource
from accord.statements.bodies import Header
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.wire.ids import ChainId

AT_ONCE = 256  # Leaves looked through at a time: at most 16 MB.
diagnostics = logging.getLogger(__name__)


class AgencyBook:
    """A `voice.Ledgerbook`. One caller at a time; closing it closes the replica."""

    def __init__(self, replica: Replica, sources: Sequence[LogSource], now_ms: Clock) -> None:
        self.replica = replica
        self._sources = sources
        self._now_ms = now_ms

    def close(self) -> None:
        self.replica.close()

    @property
    def chain(self) -> ChainId:
        return self.replica.chain

    @property
    def state(self) -> Reader:
        return self.replica.state

    @property
    def keyring(self) -> Keyring:
        return self.replica.keyring

    def sync(self) -> None:
        """Raises: Unavailable if no node answers; Unproven if all who do were refused."""
        _, lies = sync_any(self.replica, self._sources, self._now_ms())
        for name, lie in lies:
            diagnostics.warning("refused %s: %s", name, lie)

    def entry_of(self, header: Header) -> int | None:
        """Newest first: what is asked for was sent a short time ago, if at all."""
        for end in range(self.replica.size, 0, -AT_ONCE):
            first = max(0, end - AT_ONCE)
            for place, leaf in enumerate(self.replica.leaves(first, end)):
                if parse_envelope(parse_entry(leaf).statement).body.header == header:
                    return first + place
        return None
