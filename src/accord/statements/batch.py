"""Batches: 1 to 10,000 listings, one column a field, so that a large batch is cheap.

The rows of a column that have no value are left out of its `values` and are clear in its
`present` bitmap (bit i of byte i // 8, lowest bit first); a column that every row has carries an
empty bitmap. Views are a column of which a row has any number of values, none included: patches of
a picture, frames of a film. Columns and views of unknown schemes are kept and passed on: a scheme
is additive, for a listing that is there already too (`of`).
Source: docs/spec/statements.md, section Batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final

from accord.statements.rules import ClassCode
from accord.wire import record
from accord.wire.errors import Malformed
from accord.wire.ids import NAME_RE, ListingRef, parse_ref
from accord.wire.limits import (
    BATCH_LISTINGS_MAX,
    BLOB_BYTES_MAX,
    LISTING_VIEWS_MAX,
    PDQ_QUALITY_MIN,
)
from accord.wire.record import Count, Size, Text, Uint

# Bytes of one value, by scheme.
WIDTHS: Final = {
    "md5": 16,
    "of": 12,
    "pdq": 32,
    "pdq-quality": 1,
    "photodna": 144,
    "sha1": 20,
    "sha256": 32,
}
VIEW_WIDTHS: Final = {"frames": 32, "patches": 32}
_NAMES_NOTHING: Final = frozenset({"of", "pdq-quality"})  # Columns that no file is known by.


class Media(IntEnum):
    IMAGE = 0
    ANIMATION = 1
    VIDEO = 2


@dataclass(frozen=True, slots=True)
class Listing:
    """One image or video as one agency lists it: the row form, for authors and views.

    `patches` are PDQs of squares of a picture, `frames` those of a film's moments. `of` says that
    this adds them to an earlier listing of the same agency, and is known by nothing else.
    """

    class_code: ClassCode
    media: Media = Media.IMAGE
    pdq: bytes | None = None
    pdq_quality: int | None = None
    photodna: bytes | None = None
    md5: bytes | None = None
    sha1: bytes | None = None
    sha256: bytes | None = None
    frames: tuple[bytes, ...] = ()
    patches: tuple[bytes, ...] = ()
    of: ListingRef | None = None

    def __repr__(self) -> str:
        return f"Listing({self.class_code}, {self.media.name})"


@dataclass(frozen=True, slots=True)
class Column:
    scheme: Annotated[str, Text(pattern=NAME_RE)]
    width: Annotated[int, Uint(1, 4096)]
    present: Annotated[bytes, Size(0, (BATCH_LISTINGS_MAX + 7) // 8)]
    values: Annotated[bytes, Size(1, BLOB_BYTES_MAX)]

    def rows(self, count: int) -> list[int]:
        """The ordinals that have a value, ascending."""
        if not self.present:
            return list(range(count))
        return [row for row in range(count) if self.present[row // 8] >> row % 8 & 1]


@dataclass(frozen=True, slots=True)
class Views:
    """Any number of values a row. `counts` has a byte for each row: how many of `values` are its
    own, in order and each once."""

    scheme: Annotated[str, Text(pattern=NAME_RE)]
    width: Annotated[int, Uint(1, 4096)]
    counts: Annotated[bytes, Size(1, BATCH_LISTINGS_MAX)]
    values: Annotated[bytes, Size(1, BLOB_BYTES_MAX)]


@dataclass(frozen=True, slots=True)
class Batch:
    """The plaintext of a publish blob."""

    version: Annotated[int, Uint(1, 1)]
    count: Annotated[int, Uint(1, BATCH_LISTINGS_MAX)]
    classes: Annotated[tuple[ClassCode, ...], Count(1, 256, ordered=True)]
    class_of: Annotated[bytes, Size(1, BATCH_LISTINGS_MAX)]  # Index into `classes`, a byte a row.
    media_of: Annotated[bytes, Size(1, BATCH_LISTINGS_MAX)]  # `Media`, a byte a row.
    columns: Annotated[tuple[Column, ...], Count(1, 32)]
    views: Annotated[tuple[Views, ...], Count(0, 8)]

    def column(self, scheme: str) -> Column | None:
        return next((column for column in self.columns if column.scheme == scheme), None)


def batch_of(listings: Sequence[Listing]) -> Batch:
    """Columns from rows. Raises: Malformed if a listing says too little or too much."""
    classes = sorted({listing.class_code for listing in listings})
    columns: list[Column] = []
    for scheme, width in WIDTHS.items():
        values = [_value(listing, scheme) for listing in listings]
        if any(value is not None for value in values):
            columns.append(_column(scheme, width, values))
    batch = Batch(
        version=1,
        count=len(listings),
        classes=tuple(classes),
        class_of=bytes(classes.index(listing.class_code) for listing in listings),
        media_of=bytes(int(listing.media) for listing in listings),
        columns=tuple(columns),
        views=tuple(views for scheme in VIEW_WIDTHS if (views := _views(listings, scheme))),
    )
    return parse_batch(encode_batch(batch))


def listings_of(batch: Batch) -> list[Listing]:
    """Rows from columns."""
    cells: list[dict[str, bytes]] = [{} for _ in range(batch.count)]
    for column in batch.columns:
        for place, row in enumerate(column.rows(batch.count)):
            start = place * column.width
            cells[row][column.scheme] = column.values[start : start + column.width]
    views = {views.scheme: _split(views) for views in batch.views}
    nothing: list[tuple[bytes, ...]] = [()] * batch.count
    return [
        Listing(
            class_code=batch.classes[batch.class_of[row]],
            media=Media(batch.media_of[row]),
            pdq=cell.get("pdq"),
            pdq_quality=cell["pdq-quality"][0] if "pdq-quality" in cell else None,
            photodna=cell.get("photodna"),
            md5=cell.get("md5"),
            sha1=cell.get("sha1"),
            sha256=cell.get("sha256"),
            frames=views.get("frames", nothing)[row],
            patches=views.get("patches", nothing)[row],
            of=parse_ref(cell["of"]) if "of" in cell else None,
        )
        for row, cell in enumerate(cells)
    ]


def encode_batch(batch: Batch) -> bytes:
    return record.encode_record(batch)


def parse_batch(raw: bytes) -> Batch:
    """Raises: Malformed, also where columns, counts and bitmaps do not fit one another."""
    batch = record.parse_record(Batch, raw)
    if len(batch.class_of) != batch.count or len(batch.media_of) != batch.count:
        raise Malformed("batch.count")
    if max(batch.class_of) >= len(batch.classes) or max(batch.media_of) >= len(Media):
        raise Malformed("batch.class")
    schemes = [column.scheme for column in batch.columns]
    if schemes != sorted(set(schemes)):
        raise Malformed("batch.columns")
    identified: set[int] = set()
    added: set[int] = set()
    for column in batch.columns:
        rows = _checked_rows(column, batch.count)
        if column.scheme == "of":
            added.update(rows)
        elif column.scheme not in _NAMES_NOTHING:
            identified.update(rows)
    seen = _checked_views(batch)
    # A row is a listing, known by a value, or adds views to one, and then is known by nothing.
    if identified & added or not added <= seen or len(identified) + len(added) != batch.count:
        raise Malformed("batch.empty_listing")
    _check_quality(batch)
    return batch


def _checked_views(batch: Batch) -> set[int]:
    """The rows that have any."""
    schemes = [views.scheme for views in batch.views]
    if schemes != sorted(set(schemes)):
        raise Malformed("batch.views")
    seen: set[int] = set()
    for views in batch.views:
        wanted = VIEW_WIDTHS.get(views.scheme, views.width)
        if len(views.counts) != batch.count or views.width != wanted:
            raise Malformed("batch.views", scheme=views.scheme)
        if sum(views.counts) * views.width != len(views.values):
            raise Malformed("batch.views", scheme=views.scheme)
        for row, values in enumerate(_split(views)):
            if len(values) > LISTING_VIEWS_MAX or len(set(values)) < len(values):
                raise Malformed("batch.views", scheme=views.scheme)
            if values:
                seen.add(row)
    return seen


def _split(views: Views) -> list[tuple[bytes, ...]]:
    """Each row's own values."""
    width, at = views.width, 0
    split: list[tuple[bytes, ...]] = []
    for count in views.counts:
        end = at + count * width
        split.append(tuple(views.values[start : start + width] for start in range(at, end, width)))
        at = end
    return split


def _views(listings: Sequence[Listing], scheme: str) -> Views | None:
    rows: list[tuple[bytes, ...]] = [getattr(listing, scheme) for listing in listings]
    if not any(rows):
        return None
    if max(len(row) for row in rows) > LISTING_VIEWS_MAX:
        raise Malformed("batch.views", scheme=scheme, at_most=LISTING_VIEWS_MAX)
    values = b"".join(value for row in rows for value in row)
    return Views(scheme, VIEW_WIDTHS[scheme], bytes(len(row) for row in rows), values)


def _checked_rows(column: Column, count: int) -> list[int]:
    if column.scheme in WIDTHS and column.width != WIDTHS[column.scheme]:
        raise Malformed("batch.width", scheme=column.scheme)
    if column.present:
        spare = -count % 8
        if len(column.present) != (count + 7) // 8 or (column.present[-1] >> 8 - spare and spare):
            raise Malformed("batch.bitmap", scheme=column.scheme)
    rows = column.rows(count)
    if column.present and len(rows) == count:  # The one encoding of "every row" is no bitmap.
        raise Malformed("batch.bitmap", scheme=column.scheme)
    if len(column.values) != len(rows) * column.width:
        raise Malformed("batch.values", scheme=column.scheme)
    return rows


def _check_quality(batch: Batch) -> None:
    """A PDQ comes with its quality, and a fingerprint that says too little is not listed."""
    pdq, quality = batch.column("pdq"), batch.column("pdq-quality")
    if (pdq is None) != (quality is None):
        raise Malformed("batch.quality")
    if pdq is not None and quality is not None:
        if pdq.present != quality.present:
            raise Malformed("batch.quality")
        if not all(PDQ_QUALITY_MIN <= value <= 100 for value in quality.values):
            raise Malformed("batch.low_quality", at_least=PDQ_QUALITY_MIN)


def _value(listing: Listing, scheme: str) -> bytes | None:
    if scheme == "pdq-quality":
        return None if listing.pdq_quality is None else bytes([listing.pdq_quality])
    if scheme == "of":
        return None if listing.of is None else listing.of.encode()
    value: bytes | None = getattr(listing, scheme)
    return value


def _column(scheme: str, width: int, values: Sequence[bytes | None]) -> Column:
    there = [value for value in values if value is not None]
    bitmap = bytearray((len(values) + 7) // 8)
    for row, value in enumerate(values):
        bitmap[row // 8] |= (value is not None) << row % 8
    present = b"" if len(there) == len(values) else bytes(bitmap)
    return Column(scheme, width, present, b"".join(there))
