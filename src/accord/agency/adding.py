"""Patches for listings that have none yet, or fewer than are wanted now: which of an agency's own
listings some files are.

Not here: fingerprints (accord.fingerprint), sending (desk). What is added is a row of its own that
others must vouch for anew, and votes on it are counted by itself: so it has all the patches, not
those alone that the listing lacks. Source: docs/spec/statements.md, section Batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accord.registry.listings import Snapshot
from accord.statements.batch import Listing
from accord.wire.ids import AGENCIES, GroupId, MemberId
from accord.wire.limits import LISTING_PATCHES


@dataclass(frozen=True, slots=True)
class Additions:
    """What to publish, by the groups that each listing was released to."""

    by_groups: dict[tuple[GroupId, ...], list[Listing]]
    unlisted: int  # Files that are none of our listings in good standing,
    have: int  # that have as many patches already, or the usual 24 are all that is wanted,
    bare: int  # and in which nothing stands out.

    @property
    def count(self) -> int:
        return sum(len(listings) for listings in self.by_groups.values())


def additions(files: Sequence[Listing], snapshot: Snapshot, member: MemberId) -> Additions:
    """`files` as they would be listed, with their patches; found again by their SHA-256."""
    by_groups: dict[tuple[GroupId, ...], list[Listing]] = {}
    unlisted = have = bare = 0
    ours = snapshot.agencies.index(member) if member in snapshot.agencies else -1
    views = snapshot.views["patches"]
    for file in files:
        rows = snapshot.values["sha256"].equal_to(file.sha256 or b"")
        rows = rows[(snapshot.publisher[rows] == ours) & ~snapshot.withdrawn.at(rows)]
        rows = rows[snapshot.disputed.at(rows) == 0]
        if not len(rows):
            unlisted += 1
            continue
        row = int(rows[0])
        every = np.array([row, *snapshot.adding_to(row)])
        most = int(views.counts_of(every[~snapshot.withdrawn.at(every)]).max())
        if most and len(file.patches) <= max(most, LISTING_PATCHES):
            have += 1
        elif not file.patches:
            bare += 1
        else:
            code = snapshot.classes[snapshot.class_of[row]]
            listing = Listing(code, patches=file.patches, of=snapshot.ref_of(row))
            groups = tuple(sorted(set(snapshot.groups_of(row)) - {AGENCIES}))
            by_groups.setdefault(groups, []).append(replace(listing, media=file.media))
    return Additions(by_groups, unlisted, have, bare)
