"""Who asked a platform's gateway without holding the list, how often, and how many matched.

Counted out of the receipts that the platform signed and anchored in the ledger: by client and day,
without a value. A client that asks for what it knows to be near a listing matches far more often
than uploads do, and stands out.
Not here: what a client may do (scan.clients), whether the log was rewritten (checks).
Source: docs/spec/receipts.md, section Look-ups.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from accord.audit.receipts import LookupReceipt, parse_receipt
from accord.matching.decision import Answer
from accord.wire.errors import Malformed
from accord.wire.ids import MemberId
from accord.wire.limits import LOOKUP_ALARM_MATCHES_MIN, LOOKUP_ALARM_PER_MILLE

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, order=True)
class LookupDay:
    """One client's look-ups of one day, numbered since 1970 (UTC)."""

    day: int
    client: MemberId
    lookups: int
    matches: int
    undetermined: int

    @property
    def is_alarming(self) -> bool:
        return is_alarming(self.lookups, self.matches)


def is_alarming(lookups: int, matches: int) -> bool:
    """Whether so many matches are unlike uploads: a person should ask the client why."""
    return (
        matches >= LOOKUP_ALARM_MATCHES_MIN and matches * 1000 >= lookups * LOOKUP_ALARM_PER_MILLE
    )


def count_lookups(leaves: Iterable[bytes]) -> tuple[LookupDay, ...]:
    """By day, then client. Leaves that do not parse are passed over: the verdict names them."""
    counts: Counter[tuple[int, MemberId, Answer]] = Counter()
    for leaf in leaves:
        try:
            receipt = parse_receipt(leaf)
        except Malformed:
            continue
        if isinstance(receipt, LookupReceipt):
            meta = receipt.meta
            counts[meta.bucket_ms // DAY_MS, receipt.client, meta.decision] += 1
    days = sorted({(day, client) for day, client, _ in counts})
    return tuple(
        LookupDay(
            day,
            client,
            sum(counts[day, client, answer] for answer in Answer),
            counts[day, client, Answer.MATCH],
            counts[day, client, Answer.UNDETERMINED],
        )
        for day, client in days
    )
