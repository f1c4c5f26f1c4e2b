"""Fold verified entries into columns of listings: who published, endorsed, disputed, withdrew.

Not here: whether a statement was allowed (the ledger fold decided that before), what is active
where (obligation), names and numbers for people (views).
Invariants: a function of the entries and of which batches opened, not of how they were chunked;
a row never moves; statements about a batch that did not open for us change nothing; a row that adds
views to a listing is disputed and withdrawn with it, and never certified by what was said of it.
No Python object exists per listing: about 120 bytes of arrays with a PDQ, 240 with all digests,
of which files that processes share may hold all but 75 (`Registry.adopt`).
Source: docs/spec/registry.md, section Fold.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.follow.delta import FoldedEntry
from accord.registry.columns import Bytes, Growing, GrowingValues, Masks, Rows, Run, Values
from accord.registry.pages import PAGE_BITS, GrowingPages, Paged
from accord.registry.view_columns import GrowingViews, ViewColumn
from accord.statements.batch import VIEW_WIDTHS, WIDTHS, Batch, Column
from accord.statements.bodies import Approve, Dispute, DisputeReason, Endorse, Publish, Withdraw
from accord.statements.rules import ClassCode
from accord.wire import cbor, record
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Broken
from accord.wire.ids import GroupId, KeyId, ListingRef, MemberId, parse_ref
from accord.wire.limits import AGENCIES_MAX

FOLD_VERSION: Final = 1  # What `Parameters.fold_version` must be for this software to answer.
SCHEMES: Final = ("md5", "pdq", "photodna", "sha1", "sha256")
LEVELS: Final = 3  # Review levels of an endorsement.
NOT_APPROVED: Final = -1
REASONS: Final = tuple(DisputeReason)


class Kind(IntEnum):
    """What an opinion says; `detail` is then a review level, or a place in `REASONS`."""

    ENDORSE = 0
    DISPUTE = 1
    WITHDRAW = 2


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """One row a batch that opened, in log order. `groups` is a mask over `Snapshot.groups`: those
    that the batch was released to, less those that we saw it did not reach."""

    entry: NDArray[np.int64]
    start: NDArray[np.int64]  # Row of ordinal 0.
    count: NDArray[np.int64]
    publisher: Bytes
    groups: Masks
    time_ms: NDArray[np.int64]
    key: NDArray[np.int64]  # Place in `Snapshot.keys` of the key that published it.
    approved: NDArray[np.int64]  # The entry that approved it, or NOT_APPROVED.
    approved_ms: NDArray[np.int64]
    approver: NDArray[np.int64]  # The key that approved it, or NOT_APPROVED.


@dataclass(frozen=True, slots=True, order=True)
class Misrelease:
    """A publish entry that says it was released to a group, and was not: `code` says how. The
    publisher signed it, and every holder of the group's key can check it."""

    entry: int
    publisher: MemberId
    group: GroupId
    code: str


@dataclass(frozen=True, eq=False)
class Opinions:
    """One row for each range of listings that a statement spoke about, in log order."""

    entry: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    agency: Bytes
    kind: Bytes
    detail: Bytes
    key: NDArray[np.int64]  # Place in `Snapshot.keys`.
    first: NDArray[np.int64]  # Row.
    count: NDArray[np.int64]

    @cached_property
    def _by_first(self) -> tuple[memoryview, NDArray[np.intp], int]:
        """Where they begin, ascending, their places in that order, and the most rows of one."""
        order = np.argsort(self.first, kind="stable")
        return self.first[order].data, order, int(self.count.max(initial=0))

    def about(self, row: int) -> list[int]:
        """The opinions that cover a row, in log order. Cost: of those that begin shortly before."""
        firsts, order, most = self._by_first
        low, high = bisect_right(firsts, row - most), bisect_right(firsts, row)
        near = sorted(order[low:high].tolist())
        return [at for at in near if row < self.first[at] + self.count[at]]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The registry after its first `size` entries; later folding does not change it.

    An agency's bit in a mask is its place in `agencies`, the order in which they first spoke.
    """

    size: int
    agencies: tuple[MemberId, ...]
    keys: tuple[KeyId, ...]  # That said anything about opened listings, as they first spoke.
    groups: tuple[GroupId, ...]
    classes: tuple[ClassCode, ...]
    unopened: int  # Batches released to a group of ours whose key we lack: the list has holes.
    unchecked: int  # Batches of which we could not check every group of ours: we judge nobody.
    faults: tuple[Misrelease, ...]
    batches: Batches
    opinions: Opinions
    class_of: NDArray[np.uint32]
    media: Bytes
    publisher: Bytes
    withdrawn: Paged[np.bool_]
    endorsed: tuple[Paged[np.uint64], ...]  # Masks, by review level.
    disputed: Paged[np.uint64]
    values: Mapping[str, Values]  # By scheme.
    pdq_quality: Bytes  # Aligned with `values["pdq"].rows`.
    views: Mapping[str, ViewColumn]  # By scheme.
    lineage: object  # The registry that it is of: see `goes_on_from`.
    adding: NDArray[np.int64]  # Rows that add views to an earlier one,
    added_to: NDArray[np.int64]  # and that one, aligned.
    refused: Rows  # That add views to what cannot take any, ascending: never live.

    @property
    def count(self) -> int:
        return len(self.class_of)

    def goes_on_from(self, before: "Snapshot") -> bool:
        """Whether the same registry was folded further since, so that no row moved."""
        return self.lineage is before.lineage and self.size >= before.size

    def batch_of(self, rows: Rows) -> NDArray[np.intp]:
        return np.searchsorted(self.batches.start, rows.astype(np.int64), "right") - 1

    def ref_of(self, row: int) -> ListingRef:
        batch = int(self.batches.start.searchsorted(row, "right")) - 1
        return ListingRef(int(self.batches.entry[batch]), row - int(self.batches.start[batch]))

    def row_of(self, ref: ListingRef) -> int | None:
        """None for a listing that is not there, or not for us."""
        batch = _find(self.batches.entry, ref.entry)
        if batch is None or ref.ordinal >= self.batches.count[batch]:
            return None
        return int(self.batches.start[batch]) + ref.ordinal

    def adding_to(self, row: int) -> list[int]:
        """The rows that add views to one."""
        rows: list[int] = self.adding[self.added_to == row].tolist()
        return rows

    def groups_of(self, row: int) -> tuple[GroupId, ...]:
        """The groups that a row's batch was released to."""
        batch = int(self.batches.start.searchsorted(row, "right")) - 1
        mask = int(self.batches.groups[batch])
        return tuple(name for bit, name in enumerate(self.groups) if mask >> bit & 1)

    def encode_refs(self, rows: Rows) -> Bytes:
        """Shape: (count, 12), each as `ListingRef.encode`; in log order if `rows` ascend."""
        batch = self.batch_of(rows)
        refs = np.empty((len(rows), 12), dtype=np.uint8)
        entries = self.batches.entry[batch].astype(">u8")
        ordinals = (rows - self.batches.start[batch]).astype(">u4")
        refs[:, :8] = entries.view(np.uint8).reshape(-1, 8)
        refs[:, 8:] = ordinals.view(np.uint8).reshape(-1, 4)
        return refs


class Registry:
    """The writing side: fold entries in log order, then read a `snapshot`. One writer."""

    def __init__(self, page_bits: int = PAGE_BITS) -> None:
        """`page_bits`: the size of a page. It changes the cost, not the answers."""
        self.size = 0  # Entries so far, the unimportant ones included.
        self._agencies: dict[MemberId, int] = {}
        self._keys: dict[KeyId, int] = {}
        self._groups: dict[GroupId, int] = {}
        self._classes: dict[ClassCode, int] = {}
        self._unopened = 0
        self._unchecked = 0
        self._faults: list[Misrelease] = []
        self._batch = {
            name: Growing(np.int64)
            for name in (
                "entry",
                "start",
                "count",
                "time_ms",
                "key",
                "approved",
                "approved_ms",
                "approver",
            )
        }
        self._batch_publisher = Growing(np.uint8)
        self._batch_groups = Growing(np.uint64)
        self._opinion = {
            name: Growing(np.int64) for name in ("entry", "time_ms", "key", "first", "count")
        }
        self._opinion_facts = {name: Growing(np.uint8) for name in ("agency", "kind", "detail")}
        self._class_of = Growing(np.uint32)
        self._media = Growing(np.uint8)
        self._publisher = Growing(np.uint8)
        self._withdrawn = GrowingPages(np.bool_, page_bits)
        self._endorsed = tuple(GrowingPages(np.uint64, page_bits) for _ in range(LEVELS))
        self._disputed = GrowingPages(np.uint64, page_bits)
        self._lineage = object()
        self._values = {scheme: GrowingValues(WIDTHS[scheme]) for scheme in SCHEMES}
        self._quality = Growing(np.uint8)
        self._views = {scheme: GrowingViews(width) for scheme, width in VIEW_WIDTHS.items()}
        self._adding = Growing(np.int64)  # Rows that add views to an earlier one,
        self._added_to = Growing(np.int64)  # and that one, aligned.
        self._refused = Growing(np.uint32)

    @property
    def count(self) -> int:
        """Rows so far."""
        return self._class_of.count

    @property
    def unopened(self) -> int:
        """As `Snapshot.unopened`, of what was folded so far."""
        return self._unopened

    def fold_all(self, entries: Iterable[FoldedEntry]) -> None:
        for entry in entries:
            self.fold(entry)

    def fold(self, entry: FoldedEntry) -> None:
        """Take in the next entry. Raises: Broken, for one that lies behind."""
        if entry.index < self.size:
            raise Broken("registry.order", index=entry.index, size=self.size)
        self.size = entry.index + 1
        self._unchecked += bool(entry.lacking)
        match entry.body:
            case Publish() as body:
                self._unopened += entry.unopened == "no_key"
                for fault in entry.faults:
                    who = body.header.member
                    self._faults.append(Misrelease(entry.index, who, fault.group, fault.code))
                if entry.batch is not None:
                    self._add_batch(entry, body, entry.batch)
            case Approve() as body:
                batch = _find(self._batch["entry"].view(), body.entry)
                if batch is not None:
                    for name, value in (
                        ("approved", entry.index),
                        ("approved_ms", entry.time_ms),
                        ("approver", self._key_of(entry)),
                    ):
                        self._batch[name].view()[batch] = value
            case Endorse() as body:
                self._add_opinion(entry, body, Kind.ENDORSE, body.level)
            case Dispute() as body:
                self._add_opinion(entry, body, Kind.DISPUTE, REASONS.index(body.reason))
            case Withdraw() as body:
                self._add_opinion(entry, body, Kind.WITHDRAW, REASONS.index(body.reason))
            case _:
                pass  # Members, rules and keys are the ledger fold's.

    def _add_batch(self, entry: FoldedEntry, body: Publish, batch: Batch) -> None:
        start, count = self._class_of.count, batch.count
        publisher = self._bit_of(body.header.member)
        groups = 0
        astray = {fault.group for fault in entry.faults}
        for group in body.groups:
            bit = self._groups.setdefault(group, len(self._groups))
            groups |= 0 if group in astray else 1 << bit
        for name, value in (
            ("entry", entry.index),
            ("start", start),
            ("count", count),
            ("time_ms", entry.time_ms),
            ("key", self._key_of(entry)),
            ("approved", NOT_APPROVED),
            ("approved_ms", NOT_APPROVED),
            ("approver", NOT_APPROVED),
        ):
            self._batch[name].append(value)
        self._batch_publisher.append(publisher)
        self._batch_groups.append(groups)
        numbers = [self._classes.setdefault(code, len(self._classes)) for code in batch.classes]
        class_of = np.frombuffer(batch.class_of, dtype=np.uint8)
        self._class_of.extend(np.array(numbers, dtype=np.uint32)[class_of])
        self._media.extend(np.frombuffer(batch.media_of, dtype=np.uint8))
        self._publisher.extend(np.full(count, publisher, dtype=np.uint8))
        self._withdrawn.grow(count)
        for masks in (*self._endorsed, self._disputed):
            masks.grow(count)
        for column in batch.columns:
            values = np.frombuffer(column.values, dtype=np.uint8).reshape(-1, column.width)
            if column.scheme in self._values:
                self._values[column.scheme].extend(_rows_of(column, count, start), values)
            elif column.scheme == "pdq-quality":  # Its rows are those of `pdq`, by `parse_batch`.
                self._quality.extend(values[:, 0])
            elif column.scheme == "of":
                refs = [parse_ref(bytes(value)) for value in values.tolist()]
                for row, ref in zip(_rows_of(column, count, start).tolist(), refs, strict=True):
                    self._link(row, ref)
        for views in batch.views:
            if views.scheme in self._views:
                values = np.frombuffer(views.values, dtype=np.uint8).reshape(-1, views.width)
                counts = np.frombuffer(views.counts, dtype=np.uint8)
                self._views[views.scheme].extend(start, counts, values)

    def _link(self, row: int, ref: ListingRef) -> None:
        """Tie a row to the listing it adds views to. One that is not there for us, is another
        agency's, adds views itself, or is disputed or withdrawn by now: the row counts as
        withdrawn, since nobody would know what it shows more of."""
        batch = _find(self._batch["entry"].view(), ref.entry)
        target = -1
        if batch is not None and ref.ordinal < self._batch["count"].view()[batch]:
            target = int(self._batch["start"].view()[batch]) + ref.ordinal
        publisher = self._publisher.view()
        if (
            target < 0
            or publisher[target] != publisher[row]
            or _find(self._adding.view(), target) is not None
            or target >= self._batch["start"].view()[-1]  # Of this very batch.
            or self._withdrawn[target]
            or self._disputed[target]
        ):
            for flags in self._withdrawn.edit(row, 1):
                flags[:] = True
            self._refused.append(row)
            return
        self._adding.append(row)
        self._added_to.append(target)

    def _with_added(self, first: int, count: int) -> list[tuple[int, int]]:
        """A range of rows, and those that add views to one of them, as ranges."""
        of = self._added_to.view()
        rows = np.sort(self._adding.view()[(of >= first) & (of < first + count)])
        rows = rows[(rows < first) | (rows >= first + count)]
        if not len(rows):
            return [(first, count)]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        return [(first, count), *((int(run[0]), len(run)) for run in runs)]

    def _add_opinion(
        self, entry: FoldedEntry, body: Endorse | Dispute | Withdraw, kind: Kind, detail: int
    ) -> None:
        for ref in body.refs:
            batch = _find(self._batch["entry"].view(), ref.entry)
            if batch is None:
                continue
            first = int(self._batch["start"].view()[batch]) + ref.first
            if ref.first + ref.count > self._batch["count"].view()[batch]:
                raise Broken("registry.range", entry=entry.index)  # The ledger fold checks it.
            agency = self._bit_of(body.header.member)
            ranges = [(first, ref.count)]
            if kind is not Kind.ENDORSE:  # Whoever endorsed a listing did not see what came later.
                ranges = self._with_added(first, ref.count)
            for start, count in ranges:
                self._note_opinion(entry, agency, kind, detail, start, count)

    def _note_opinion(
        self, entry: FoldedEntry, agency: int, kind: Kind, detail: int, first: int, count: int
    ) -> None:
        if kind is Kind.WITHDRAW:
            for flags in self._withdrawn.edit(first, count):
                flags[:] = True
        else:
            said = self._endorsed[detail] if kind is Kind.ENDORSE else self._disputed
            for masks in said.edit(first, count):
                masks[:] |= np.uint64(1 << agency)
        for name, value in (
            ("entry", entry.index),
            ("time_ms", entry.time_ms),
            ("key", self._key_of(entry)),
            ("first", first),
            ("count", count),
        ):
            self._opinion[name].append(value)
        for name, value in (("agency", agency), ("kind", int(kind)), ("detail", detail)):
            self._opinion_facts[name].append(value)

    def _key_of(self, entry: FoldedEntry) -> int:
        return self._keys.setdefault(entry.key_id, len(self._keys))

    def _bit_of(self, member: MemberId) -> int:
        bit = self._agencies.setdefault(member, len(self._agencies))
        if bit >= AGENCIES_MAX:
            raise Broken("registry.agencies", limit=AGENCIES_MAX)
        return bit

    def values(self) -> Mapping[str, Values]:
        """The columns of fingerprints and digests so far, by scheme."""
        return {scheme: values.freeze() for scheme, values in self._values.items()}

    def adopt(self, scheme: str, base: Run) -> bool:
        """Hold a column's first rows where `base` lies, if they are the very same: a file that
        many processes map. No answer changes. Whether it did."""
        return self._values[scheme].adopt(base)

    def snapshot(self) -> Snapshot:
        """What was folded so far. Cost: that of what was folded since the last; pages that nothing
        touched and what only grows are shared."""
        batch = {name: column.view() for name, column in self._batch.items()}
        for name in ("approved", "approved_ms", "approver"):
            batch[name] = batch[name].copy()
        opinion = {name: column.view() for name, column in self._opinion.items()}
        facts = {name: column.view() for name, column in self._opinion_facts.items()}
        return Snapshot(
            size=self.size,
            agencies=tuple(self._agencies),
            keys=tuple(self._keys),
            groups=tuple(self._groups),
            classes=tuple(self._classes),
            unopened=self._unopened,
            unchecked=self._unchecked,
            faults=tuple(self._faults),
            batches=Batches(
                publisher=self._batch_publisher.view(), groups=self._batch_groups.view(), **batch
            ),
            opinions=Opinions(
                entry=opinion["entry"],
                time_ms=opinion["time_ms"],
                agency=facts["agency"],
                kind=facts["kind"],
                detail=facts["detail"],
                key=opinion["key"],
                first=opinion["first"],
                count=opinion["count"],
            ),
            class_of=self._class_of.view(),
            media=self._media.view(),
            publisher=self._publisher.view(),
            withdrawn=self._withdrawn.freeze(),
            endorsed=tuple(masks.freeze() for masks in self._endorsed),
            disputed=self._disputed.freeze(),
            values=self.values(),
            pdq_quality=self._quality.view(),
            views={scheme: views.freeze() for scheme, views in self._views.items()},
            lineage=self._lineage,
            adding=self._adding.view(),
            added_to=self._added_to.view(),
            refused=self._refused.view(),
        )


def registry_digest(snapshot: Snapshot) -> bytes:
    """What two folds of the same log with the same groups agree on, to the byte.

    Shape: labelled SHA-256 over names and columns in the order below, little-endian.
    """
    parts = [snapshot.size.to_bytes(8, "big"), snapshot.unopened.to_bytes(8, "big")]
    classes = [record.dump_record(code) for code in snapshot.classes]
    names: list[cbor.Value] = [list(snapshot.agencies), list(snapshot.keys), list(snapshot.groups)]
    parts.append(cbor.encode([*names, classes]))
    batches, opinions = snapshot.batches, snapshot.opinions
    scalars: list[NDArray[Any]] = [
        batches.entry,
        batches.start,
        batches.count,
        batches.publisher,
        batches.groups,
        batches.time_ms,
        batches.key,
        batches.approved,
        batches.approved_ms,
        batches.approver,
        opinions.entry,
        opinions.time_ms,
        opinions.agency,
        opinions.kind,
        opinions.detail,
        opinions.key,
        opinions.first,
        opinions.count,
        snapshot.class_of,
        snapshot.media,
        snapshot.publisher,
        snapshot.withdrawn.whole(),
        *(masks.whole() for masks in snapshot.endorsed),
        snapshot.disputed.whole(),
        snapshot.pdq_quality,
    ]
    parts += [_bytes_of(column) for column in scalars]
    for scheme in SCHEMES:
        runs = snapshot.values[scheme].runs()
        parts.append(b"".join(_bytes_of(run.rows) for run in runs))
        parts.append(b"".join(_bytes_of(run.values) for run in runs))
    for scheme in sorted(snapshot.views):
        parts += [
            _bytes_of(snapshot.views[scheme].rows),
            _bytes_of(snapshot.views[scheme].values),
        ]
    return labelled_sha256("registry", *parts)


def _bytes_of(column: NDArray[Any]) -> bytes:
    return column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()


def _find(entries: NDArray[np.int64], entry: int) -> int | None:
    """The place of an entry in an ascending column."""
    place = int(np.searchsorted(entries, entry))
    return place if place < len(entries) and entries[place] == entry else None


def _rows_of(column: Column, count: int, start: int) -> Rows:
    """The registry's rows that a batch column has values for."""
    if not column.present:
        return np.arange(start, start + count, dtype=np.uint32)
    bits = np.unpackbits(np.frombuffer(column.present, dtype=np.uint8), bitorder="little")
    return (np.flatnonzero(bits[:count]) + start).astype(np.uint32)
