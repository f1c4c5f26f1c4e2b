"""The registry for people: one listing's story, counts for the public, and finding by value.

Not here: pages and tables (consoles, cli). Counts hold no fingerprint; a listing's view says
which schemes it has, never their values.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from accord.registry.columns import Flags, Rows
from accord.registry.feedback import By, FeedbackCount, Only, Weighed, count_feedback
from accord.registry.listings import NOT_APPROVED, REASONS, SCHEMES, Kind, Snapshot
from accord.registry.obligation import equal_rows
from accord.statements.batch import Media
from accord.statements.rules import ClassCode
from accord.wire.errors import Malformed
from accord.wire.ids import ListingRef, MemberId
from accord.wire.limits import CANDIDATES_MAX


class Status(StrEnum):
    """The furthest a listing has come. Whether it is active somewhere is the rules' question."""

    PROPOSED = "proposed"  # Published, not approved by a second person.
    LISTED = "listed"
    DISPUTED = "disputed"
    WITHDRAWN = "withdrawn"


_STATUS = tuple(Status)


@dataclass(frozen=True, slots=True)
class OpinionView:
    """What an agency said about a listing. `detail` is a review level or a reason."""

    entry: int
    time_ms: int
    agency: MemberId
    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True)
class ListingView:
    """Everything known about one listing, without its fingerprints."""

    ref: ListingRef
    publisher: MemberId
    class_code: ClassCode
    media: Media
    status: Status
    schemes: tuple[str, ...]
    pdq_quality: int | None
    published_ms: int
    approved_entry: int | None
    opinions: tuple[OpinionView, ...]
    equal_to: tuple[ListingRef, ...]  # Other listings with an equal value, by any agency.
    feedback: tuple[FeedbackCount, ...] = ()  # By algorithm and platform; for agencies only.


@dataclass(frozen=True, slots=True, order=True)
class Count:
    """How many listings an agency has of a class in a status."""

    agency: MemberId
    class_code: ClassCode
    status: Status
    listings: int


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A listing within reach of a value. Units: distance in bits, 0 for digests."""

    distance_bits: int
    ref: ListingRef


def listing_view(
    snapshot: Snapshot, ref: ListingRef, weighed: Weighed | None = None
) -> ListingView:
    """With what platforms said of it, where that is at hand.

    Raises: Malformed, for a listing that is not there or that we cannot open.
    """
    row = snapshot.row_of(ref)
    if row is None:
        raise Malformed("registry.ref_unknown", ref=str(ref))
    one = np.array([row], dtype=np.uint32)
    batch = int(snapshot.batch_of(one)[0])
    there, places = snapshot.values["pdq"].places_of(one)
    approved = int(snapshot.batches.approved[batch])
    by = (By.LISTING, By.ALGORITHM, By.PLATFORM)
    return ListingView(
        ref=ref,
        publisher=snapshot.agencies[snapshot.publisher[row]],
        class_code=snapshot.classes[snapshot.class_of[row]],
        media=Media(int(snapshot.media[row])),
        status=_STATUS[int(statuses(snapshot)[row])],
        schemes=schemes_of(snapshot, row),
        pdq_quality=int(snapshot.pdq_quality[places[0]]) if there[0] else None,
        published_ms=int(snapshot.batches.time_ms[batch]),
        approved_entry=None if approved == NOT_APPROVED else approved,
        opinions=opinions_about(snapshot, row),
        equal_to=tuple(snapshot.ref_of(int(twin)) for twin in equal_rows(snapshot, row)),
        feedback=() if weighed is None else count_feedback(weighed, by, Only(listing=ref)),
    )


def schemes_of(snapshot: Snapshot, row: int) -> tuple[str, ...]:
    """What a listing is known by, and the kinds of views it has, ascending."""
    known = [scheme for scheme in SCHEMES if snapshot.values[scheme].value_of(row) is not None]
    known += [scheme for scheme, views in snapshot.views.items() if len(views.values_of(row))]
    return tuple(sorted(known))


def opinions_about(snapshot: Snapshot, row: int) -> tuple[OpinionView, ...]:
    """Every endorsement, dispute and withdrawal that covers a row, in log order."""
    opinions = snapshot.opinions
    views: list[OpinionView] = []
    for place in opinions.about(row):
        kind, detail = Kind(int(opinions.kind[place])), int(opinions.detail[place])
        views.append(
            OpinionView(
                entry=int(opinions.entry[place]),
                time_ms=int(opinions.time_ms[place]),
                agency=snapshot.agencies[opinions.agency[place]],
                kind=kind,
                detail=str(detail) if kind is Kind.ENDORSE else REASONS[detail].value,
            )
        )
    return tuple(views)


def disputed_rows(snapshot: Snapshot) -> Rows:
    """Every row that anybody ever disputed, whether the dispute still holds or not, ascending."""
    opinions = snapshot.opinions
    at = np.flatnonzero(opinions.kind == Kind.DISPUTE)
    ranges = [
        np.arange(int(opinions.first[i]), int(opinions.first[i] + opinions.count[i])) for i in at
    ]
    rows = np.unique(np.concatenate(ranges)) if ranges else np.empty(0, dtype=np.int64)
    return rows.astype(np.uint32)


def counts(snapshot: Snapshot) -> tuple[Count, ...]:
    """Listings by agency, class and status: safe to publish."""
    if not snapshot.count:
        return ()
    keys = np.stack([snapshot.publisher, snapshot.class_of, statuses(snapshot)], axis=1)
    kinds, totals = np.unique(keys, axis=0, return_counts=True)
    found = [
        Count(
            agency=snapshot.agencies[publisher],
            class_code=snapshot.classes[number],
            status=_STATUS[status],
            listings=int(total),
        )
        for (publisher, number, status), total in zip(kinds, totals, strict=True)
    ]
    return tuple(sorted(found))


def find(
    snapshot: Snapshot, scheme: str, value: bytes, distance_bits: int = 0
) -> tuple[Found, ...]:
    """Listings of any status with this digest, or within a distance of this PDQ, closest first;
    at most `limits.CANDIDATES_MAX`. Raises: Malformed, for a scheme or length that cannot be."""
    column = snapshot.values.get(scheme)
    if column is None or len(value) != column.width:
        raise Malformed("registry.value", scheme=scheme[:32], size=len(value))
    if scheme != "pdq" or distance_bits == 0:
        rows = column.equal_to(value)[:CANDIDATES_MAX]
        return tuple(Found(0, snapshot.ref_of(int(row))) for row in rows)
    query = np.frombuffer(value, dtype=np.uint64)
    distances = np.concatenate(
        [
            np.bitwise_count(run.values.view(np.uint64) ^ query).sum(axis=1, dtype=np.uint16)
            for run in column.runs()
        ]
    )
    places = np.flatnonzero(distances <= distance_bits)
    ranked = places[np.argsort(distances[places], kind="stable")][:CANDIDATES_MAX]
    rows = column.rows_at(ranked)
    return tuple(
        Found(int(distances[place]), snapshot.ref_of(int(row)))
        for place, row in zip(ranked, rows, strict=True)
    )


def listed_rows(snapshot: Snapshot) -> Rows:
    """Approved and not withdrawn: what an agency takes home, ascending."""
    status = statuses(snapshot)
    wanted: Flags = status == _STATUS.index(Status.LISTED)
    wanted |= status == _STATUS.index(Status.DISPUTED)
    return np.flatnonzero(wanted).astype(np.uint32)


def statuses(snapshot: Snapshot) -> Rows:
    """The status of each row, as a place in `Status`."""
    batches = snapshot.batches
    approved = np.repeat(batches.approved != NOT_APPROVED, batches.count)
    status = np.where(approved, _STATUS.index(Status.LISTED), _STATUS.index(Status.PROPOSED))
    status[approved & (snapshot.disputed.whole() != 0)] = _STATUS.index(Status.DISPUTED)
    status[snapshot.withdrawn.whole()] = _STATUS.index(Status.WITHDRAWN)
    return status.astype(np.uint32)
