"""Opening what was released to us: which blobs a member needs, and what they hold.

The answer is a function of the log and of the groups we may open: a blob that does not open is
the same fact for every holder of the same keys.
Source: docs/spec/confidentiality.md.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from accord.follow.delta import FoldedEntry
from accord.statements.bodies import BLOB_KINDS, Epoch, Feedback, Publish, Wrap
from accord.statements.confidential import EpochKeys, open_release
from accord.statements.feedback import open_feedback
from accord.wire.errors import Malformed, Unproven
from accord.wire.ids import AGENCIES, ChainId, GroupId, KeyId, MemberId

NOT_RELEASED = "not_released"
NO_KEY = "no_key"


def wanted_blobs(
    entries: Iterable[FoldedEntry], groups: Iterable[GroupId]
) -> Iterator[tuple[int, bytes]]:
    """(entry index, blob digest) of every blob released to `groups`, in log order."""
    ours = set(groups)
    for entry in entries:
        body = entry.body
        if isinstance(body, BLOB_KINDS) and ours.intersection(released_to(body)):
            yield entry.index, body.blob_sha256


def released_to(body: Publish | Epoch | Wrap | Feedback) -> tuple[GroupId, ...]:
    """The groups whose members read the blob of a statement."""
    match body:
        case Publish(groups=groups):
            return groups
        case Feedback():
            return (AGENCIES,)
        case Epoch(group=group) | Wrap(group=group):
            return (group,)
        case _:
            assert_never(body)


def hear_entry(
    chain: ChainId,
    entry: FoldedEntry,
    blob: bytes | None,
    member: MemberId,
    keys: Mapping[KeyId, MLKEM768X25519PrivateKey],
) -> FoldedEntry:
    """A feedback entry with its words, or with the reason why there are none: `not_released`
    where an agency came, or changed its keys and kept none, after it was sealed. Never raises
    Unproven: who sealed it signed it, and the log goes on."""
    body = entry.body
    if not isinstance(body, Feedback):
        return entry
    try:
        words = None if blob is None else open_feedback(chain, body, blob, member, keys)
    except (Unproven, Malformed) as err:
        return replace(entry, unopened=err.code)
    return replace(entry, unopened=NOT_RELEASED) if words is None else replace(entry, words=words)


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
