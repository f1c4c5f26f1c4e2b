"""An agency's book over a real replica: what it opens, and where our statements stand."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from accord.agency.book import AT_ONCE, AgencyBook
from accord.ledger.epochs import epoch_of
from accord.replica.replica import Replica
from accord.statements.bodies import Dispute, DisputeReason, RefRange, Role
from accord.wire.ids import AGENCIES
from consortium_kit import Consortium, listings
from source_kit import ConsortiumSource, identity_of, now_of


@pytest.fixture
def consortium() -> Consortium:
    return Consortium().open_epochs()


@pytest.fixture
def book(consortium: Consortium, tmp_path: Path) -> Iterator[AgencyBook]:
    identity = identity_of(consortium, "ie-two")
    replica = Replica(tmp_path / "replica", consortium.founding, identity, allow_trial=True)
    source = ConsortiumSource(consortium)
    with closing(AgencyBook(replica, [source], lambda: now_of(consortium))) as opened:
        yield opened


def test_the_book_holds_the_ledgers_state_and_our_group_keys(
    consortium: Consortium, book: AgencyBook
) -> None:
    book.sync()
    assert epoch_of(book.state, AGENCIES).number == 1
    assert book.keyring.keys == consortium.epoch_keys


def test_our_statements_are_found_by_their_header_however_long_ago(
    consortium: Consortium, book: AgencyBook
) -> None:
    entry = consortium.publish("nl-one", listings(1))
    headers = []
    for _ in range(AT_ONCE + 3):
        headers.append(consortium.header("ie-two"))
        body = Dispute(headers[-1], (RefRange(entry, 0, 1),), DisputeReason.OTHER)
        consortium.must(body, Role.ANALYST)
    unsaid = consortium.header("ie-two")
    assert book.entry_of(headers[0]) is None
    book.sync()
    # The newest and the oldest, and all around where one look ends and the next begins.
    for at in (*range(8), len(headers) // 2, len(headers) - 1):
        assert book.entry_of(headers[at]) == entry + 2 + at
    assert book.entry_of(unsaid) is None
