"""An agency's voice: statements signed with the keys of its home, and where they go.

Also the ports of desk and keeper: the node they submit to, the ledger they read.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from accord.client.home import Home
from accord.follow.keyring import Keyring
from accord.ledger.apply import SPEAKERS
from accord.ledger.state import Reader
from accord.statements.bodies import Body, Header
from accord.statements.envelope import Transaction, encode_transaction, seal_envelope
from accord.wire.ids import ChainId, TimeMs
from accord.wire.limits import STATEMENT_LIFE_MS, SUBMIT_AHEAD

Clock = Callable[[], TimeMs]


class Client(Protocol):
    def submit(self, transaction: bytes) -> int:
        """The entry's index, once it is durable. The very same bytes get the very same index.
        Threads may submit at once.

        Raises: Rejected; Unavailable, and then nobody knows yet whether it counts.
        """
        ...


class Ledgerbook(Protocol):
    """The agency's own verified view of the ledger."""

    @property
    def chain(self) -> ChainId: ...

    @property
    def state(self) -> Reader: ...

    @property
    def keyring(self) -> Keyring: ...

    def sync(self) -> None:
        """Follow the log to its newest checkpoint. Raises: Unavailable, Unproven."""
        ...

    def entry_of(self, header: Header) -> int | None:
        """Where the statement with this header stands in what was followed, if it does."""
        ...


@dataclass(frozen=True, slots=True)
class Voice:
    """Signs for one member. `operator` chooses where the home holds several keys of a role."""

    home: Home
    client: Client
    now_ms: Clock
    operator: str | None = None

    def header(self) -> Header:
        """A header nobody used before."""
        not_after = TimeMs(self.now_ms() + STATEMENT_LIFE_MS)
        return Header(self.home.member, os.urandom(16), not_after)

    def sign(self, body: Body, blob: bytes | None = None) -> bytes:
        """The transaction. Raises: Malformed if the home has no one key for it."""
        key = self.home.key(SPEAKERS[type(body)], self.operator)
        envelope = seal_envelope(self.home.chain, key.key_id, body, key.sign)
        return encode_transaction(Transaction(envelope, blob))

    def say(self, body: Body, blob: bytes | None = None) -> int:
        """The entry's index. Raises: Malformed, Rejected, Unavailable."""
        return self.client.submit(self.sign(body, blob))


def submit_ahead(
    client: Client, transactions: Iterable[bytes]
) -> Iterator[tuple[bytes, Future[int]]]:
    """Submit in order with a few on their way at once, since each answer takes a block and its
    quorum; give each, in order, with its answer, which has come.

    A caller that stops early waits for those under way and does not hear of them.
    """
    underway: deque[tuple[bytes, Future[int]]] = deque()
    with ThreadPoolExecutor(SUBMIT_AHEAD, thread_name_prefix="submit") as pool:
        for raw in transactions:
            underway.append((raw, pool.submit(client.submit, raw)))
            if len(underway) == SUBMIT_AHEAD:
                yield _answered(underway)
        while underway:
            yield _answered(underway)


def _answered(underway: deque[tuple[bytes, Future[int]]]) -> tuple[bytes, Future[int]]:
    raw, answer = underway.popleft()
    answer.exception()  # Waits; whoever asks for the result gets it raised.
    return raw, answer
