"""Opening what was released to us: which blobs a member needs, and what they hold.

The answer is a function of the log and of the groups we may open: a blob that does not open is
the same fact for every holder of the same keys.
Source: docs/spec/confidentiality.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from accord.follow.delta import FoldedEntry
from accord.follow.keyring import Keyring
from accord.statements.bodies import BLOB_KINDS, Publish
from accord.statements.confidential import open_batch
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
    chain: ChainId, entry: FoldedEntry, blob: bytes | None, keyring: Keyring
) -> FoldedEntry:
    """The entry with its batch, or with the reason why there is none. Never raises Unproven.

    A batch that does not open (two keys, wrong count, low quality) lists nothing: its publisher
    signed it, so the reason is evidence, and the log goes on.
    """
    if not isinstance(entry.body, Publish):
        return entry
    if blob is None:
        return replace(entry, unopened=NOT_RELEASED)
    try:
        batch = open_batch(chain, entry.body, blob, keyring.keys)
    except (Unproven, Malformed) as err:
        return replace(entry, unopened=err.code)
    return replace(entry, batch=batch) if batch else replace(entry, unopened=NO_KEY)
