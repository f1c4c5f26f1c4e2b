"""Opening what was released to us: which blobs a member needs, and what they hold.

The answer is a function of the log and of the groups we may open: a blob that does not open is
the same fact for every holder of the same keys.
Source: docs/spec/confidentiality.md.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from accord.follow.delta import FoldedEntry
from accord.statements.bodies import BLOB_KINDS, Publish
from accord.statements.confidential import EpochKeys, open_release
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import ChainId, GroupId

NOT_RELEASED = "not_released"
NO_KEY = "no_key"


def wanted_blobs(
    entries: Iterable[FoldedEntry], groups: Iterable[GroupId]
) -> Iterator[tuple[int, bytes]]:
    """(entry index, blob digest) of every blob released to `groups`, in log order."""
    ours = set(groups)
    for entry in entries:
        body = entry.body
        if isinstance(body, BLOB_KINDS):
            released = body.groups if isinstance(body, Publish) else (body.group,)
            if ours.intersection(released):
                yield entry.index, body.blob_sha256


def open_entry(
    chain: ChainId,
    entry: FoldedEntry,
    blob: bytes | None,
    keys: EpochKeys,
    groups: Collection[GroupId],
) -> FoldedEntry:
    """The entry with its batch, or with the reason why there is none. Never raises Unproven.

    A batch that does not open (two keys, wrong count, low quality) lists nothing: its publisher
    signed it, so the reason is evidence, and the log goes on. One that was wrapped wrongly for
    some groups reaches the others only, and whoever holds the keys of all sees that.
    """
    body = entry.body
    if not isinstance(body, Publish):
        return entry
    ours = {pair for pair in zip(body.groups, body.epochs, strict=False) if pair[0] in groups}
    if blob is None or not ours:
        return replace(entry, unopened=NOT_RELEASED)
    lacking = tuple(sorted(group for group, number in ours if (group, number) not in keys))
    held = {pair: keys[pair] for pair in ours if pair in keys}
    try:
        release = open_release(chain, body, blob, held)
    except (Unproven, Malformed) as err:
        return replace(entry, unopened=err.code)
    unopened: str | None = None
    if release.batch is None:  # A wrap we could not look at may still be the right one.
        unopened = NO_KEY if lacking else release.faults[0].code
    return replace(
        entry, batch=release.batch, unopened=unopened, faults=release.faults, lacking=lacking
    )
