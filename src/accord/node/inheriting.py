"""A new node begins with the log of an old one, which is stopped for good.

Job: open the old store, proved; make the new one of the entries that its genesis pins.
Not here: which entries those are (people agree on the genesis), what they fold to (ledger.past).
A crash leaves an empty store, which the same command fills.
Source: docs/spec/consensus.md section 10, ADR 0008.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from accord.client.home import Home
from accord.node.process import locked
from accord.node.settings import NODE_DIRECTORY, STORE_FILE
from accord.node.store import PastLog, Store
from accord.wire.errors import Malformed


@contextmanager
def old_log(home: Home) -> Iterator[Store]:
    """The store of a home's node, while none runs on it. Raises: Malformed, Unavailable, Broken."""
    directory = home.path / NODE_DIRECTORY
    if not (directory / STORE_FILE).exists():
        raise Malformed("inherit.no_store", path=str(directory))
    with locked(directory):
        store = Store(directory / STORE_FILE, home.founding)
        try:
            store.ledger()  # It folds to what its agencies agreed on, or it says so.
            yield store
        finally:
            store.close()


def inherit(home: Home, past: PastLog) -> int:
    """The new home's store, made of what its genesis pins: entries whose blob is not there.

    Raises: Unproven, where `past` does not hold what was pinned; Unavailable.
    """
    directory = home.path / NODE_DIRECTORY
    directory.mkdir(exist_ok=True)
    with locked(directory):
        store = Store(directory / STORE_FILE, home.founding, past=past)
        try:
            return store.blobless(home.founding.begins_at)
        finally:
            store.close()
