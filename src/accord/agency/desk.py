"""The desk: what analysts, approvers and governors of an agency say to the ledger.

Each method signs one kind of statement with the home's key for it, and gives the entry it became.
Refuses, before anything is signed: listings that say too little, keys the home does not hold.
What the ledger's rules refuse comes back as Rejected.
Not here: screens and files of the command line (cli), the group keys themselves (keeper).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, tee
from typing import TYPE_CHECKING, Final

from accord.agency.outbox import Job, open_job
from accord.agency.sealing import seal_batch
from accord.agency.voice import Ledgerbook, Voice, submit_ahead
from accord.ledger.epochs import epoch_of
from accord.ledger.membership import consortium, parameters
from accord.ledger.state import PUBLICATIONS, RULES, Reader, index_key
from accord.statements.batch import Batch, Listing, Media, batch_of, encode_batch
from accord.statements.bodies import (
    Action,
    Approve,
    Dispute,
    DisputeReason,
    Endorse,
    Propose,
    Publish,
    RefRange,
    Rule,
    Vote,
    Withdraw,
)
from accord.statements.classes import check_classes
from accord.statements.confidential import padded_size
from accord.statements.envelope import parse_envelope, parse_transaction
from accord.statements.gates import check_listing
from accord.statements.rules import ClassCode, RuleSet
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Rejected, Unavailable
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId
from accord.wire.limits import (
    BATCH_LISTINGS_MAX,
    BLOB_BYTES_MAX,
    LISTING_PATCHES,
    LISTING_VIEWS_MAX,
    PDQ_QUALITY_MIN,
    REFS_MAX,
)

if TYPE_CHECKING:
    from accord.fingerprint import Fingerprinted, Unhashable

SEALED_BYTES_MAX: Final = BLOB_BYTES_MAX - 4_096  # Room for the header and 16 wraps.
REFS_RE: Final = re.compile(r"(0|[1-9][0-9]{0,15})(?:/(0|[1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?)?")

# Rejections after which the very same bytes can never be accepted any more: sealing anew cannot
# publish twice, once the log was searched for the old statement.
NEVER_AGAIN: Final = frozenset(
    {
        "reject.expired",
        "reject.epoch_not_current",
        "reject.epoch_rotation_due",
        "reject.unknown_key",
    }
)
Progress = Callable[[int, int], None]  # Listings that are in the log, of how many.


@dataclass(frozen=True, slots=True)
class Published:
    """The entries that the listings became, in order; `resumed` if an earlier run sent some, and
    `sent` is how many statements this run did."""

    entries: tuple[int, ...]
    count: int
    resumed: bool
    sent: int


def listing_of(
    found: "Fingerprinted | Unhashable",
    class_code: ClassCode,
    patches_max: int = LISTING_PATCHES,
) -> Listing:
    """A file as this agency would list it. Raises: Malformed, saying why it cannot be listed.

    `patches_max`: how many of the patches that it was decoded with are kept, the most telling
    first. What moves is listed by its distinct frames, within its bars if it has any. A film is by
    nothing else: no picture meets its first frame alone, unless a rule says that it may.
    """
    # Here and not above: the decoders would slow every other command's start.
    from accord.fingerprint import VIDEO_FORMATS, Unhashable  # noqa: PLC0415

    if isinstance(found, Unhashable):
        raise Malformed("listing.unhashable", why=found.code.value)
    if any(view.member for view in found.pdq):
        raise Malformed("listing.unhashable", why="several files in one: list each by itself")
    is_film = found.facts.format in VIDEO_FORMATS
    frames = _frames(found) if is_film or found.facts.frames > 1 else ()
    is_known_by_frames = is_film and bool(frames)
    media = Media.ANIMATION if found.facts.frames > 1 else Media.IMAGE
    listing = Listing(
        class_code=class_code,
        media=Media.VIDEO if is_film else media,
        pdq=None if is_known_by_frames else found.main.bits,
        pdq_quality=None if is_known_by_frames else found.main.quality,
        photodna=None if is_known_by_frames else found.pdq[0].photodna,
        md5=found.digests.md5,
        sha1=found.digests.sha1,
        sha256=found.digests.sha256,
        frames=frames,
        patches=_split(found.pdq[0].look.patches)[:patches_max],
    )
    check_listing(listing)
    return listing


def _frames(found: "Fingerprinted") -> tuple[bytes, ...]:
    """The distinct frames of what moves; none where it stands still: then it is a picture."""
    from accord.fingerprint import ALIKE_BITS, PDQ_BYTES, distance_bits  # noqa: PLC0415  (as above)

    kept: list[bytes] = []
    for view in found.pdq:
        bits = view.look.frames[:PDQ_BYTES] or view.bits
        is_new = all(distance_bits(bits, other) > ALIKE_BITS for other in kept)
        if view.quality >= PDQ_QUALITY_MIN and is_new:
            kept.append(bits)
    return tuple(kept[:LISTING_VIEWS_MAX]) if len(kept) > 1 else ()


def _split(values: bytes) -> tuple[bytes, ...]:
    return tuple(values[at : at + 32] for at in range(0, len(values), 32))


def split_batches(listings: Sequence[Listing]) -> list[Batch]:
    """Batches that each fit one statement, by count and by sealed size; always the same ones.

    Raises: Malformed if a listing says too little or too much.
    """
    batches: list[Batch] = []
    start = 0
    while start < len(listings):
        count = _within(listings[start : start + BATCH_LISTINGS_MAX])
        batch = batch_of(listings[start : start + count])
        while (size := padded_size(len(encode_batch(batch)))) > SEALED_BYTES_MAX:
            count = min(count - 1, count * SEALED_BYTES_MAX // size)
            batch = batch_of(listings[start : start + count])
        batches.append(batch)
        start += count
    return batches


def _within(listings: Sequence[Listing]) -> int:
    """How many, one at least, have values that a statement has room for: more make no batch."""
    sizes = accumulate(sum(map(len, _values(row))) for row in listings)
    return max(1, sum(size <= SEALED_BYTES_MAX for size in sizes))


def _values(row: Listing) -> Iterator[bytes]:
    yield from (value for value in (row.pdq, row.photodna, row.md5, row.sha1, row.sha256) if value)
    yield from row.frames
    yield from row.patches


def parse_refs(texts: Sequence[str], state: Reader) -> tuple[RefRange, ...]:
    """Refs as people write them: `17` (a whole batch), `17/3`, `17/3-9`. Raises: Malformed."""
    refs: set[RefRange] = set()
    for text in texts:
        match = REFS_RE.fullmatch(text)
        if match is None:
            raise Malformed("desk.ref", got=text[:40], wanted="17, 17/3 or 17/3-9")
        row = state.get(PUBLICATIONS, index_key(int(match[1])))
        if row is None:
            raise Malformed("desk.unknown_batch", entry=int(match[1]))
        first = int(match[2] or 0)
        last = int(match[3] or first) if match[2] else row.count - 1
        if not first <= last < row.count:
            raise Malformed("desk.ref_range", got=text[:40], count=row.count)
        refs.add(RefRange(int(match[1]), first, last - first + 1))
    if not 0 < len(refs) <= REFS_MAX:
        raise Malformed("desk.refs", got=len(refs), at_most=REFS_MAX)
    return tuple(sorted(refs))


class Desk:
    """One person's desk at an agency. One caller."""

    def __init__(self, voice: Voice, book: Ledgerbook) -> None:
        self._voice = voice
        self._book = book

    def publish(
        self,
        listings: Sequence[Listing],
        groups: Sequence[GroupId],
        *,
        urgent: bool = False,
        again: bool = False,
        progress: Progress | None = None,
    ) -> Published:
        """Every listing in the log, released to the agencies and to `groups`.

        Asked again for the same listings and groups, it goes on where it stopped and never
        publishes twice; `again` lists them anew where all of them were published before, such as
        after a withdrawal. Raises: Malformed before anything is sent; Rejected, Unavailable.
        """
        if not listings:
            raise Malformed("desk.nothing")
        for listing in listings:
            check_listing(listing)
        self._book.sync()
        released = tuple(sorted({AGENCIES, *groups}))
        unknown = set(released) - set(consortium(self._book.state).groups)
        if unknown:
            have = ", ".join(consortium(self._book.state).groups)
            raise Malformed("desk.group", got=", ".join(sorted(unknown)), have=have)
        admitted = parameters(self._book.state).classes
        check_classes({listing.class_code for listing in listings}, admitted)
        home = self._voice.home
        batches = split_batches(listings)
        job = open_job(home.path, home.chain, home.member, released, batches)
        parts = range(len(batches))
        if again:
            with job.held():
                if all(self._sees(job.entry(part)) for part in parts):
                    job.put_aside()
        with job.held():
            waiting = [part for part in parts if job.entry(part) is None]
            resumed = len(waiting) < len(batches) or any(job.transaction(part) for part in parts)

            def seal(part: int) -> bytes:
                return self._seal(batches[part], released, urgent=urgent)

            done = sum(batch.count for batch in batches) - sum(
                batches[part].count for part in waiting
            )
            for part in self._send(job, waiting, seal):
                done += batches[part].count
                if progress is not None:
                    progress(done, len(listings))
            entries = [entry for part in parts if (entry := job.entry(part)) is not None]
        return Published(tuple(entries), len(listings), resumed, len(waiting))

    def _sees(self, entry: int | None) -> bool:
        """Whether this view has what was published: where it lags, `again` is not meant yet."""
        if entry is None:
            return False
        return self._book.state.get(PUBLICATIONS, index_key(entry)) is not None

    def _send(self, job: Job, parts: Sequence[int], seal: Callable[[int], bytes]) -> Iterator[int]:
        """The parts of a job, one by one, as they are in the log."""

        def transaction(part: int) -> bytes:
            raw = job.transaction(part)
            if raw is None:
                raw = seal(part)
                job.store(part, raw)
            # Crash up to here: nothing was sent, or the same bytes are sent again.
            return raw

        raws = map(transaction, parts)
        for part, (raw, answer) in zip(parts, submit_ahead(self._voice.client, raws), strict=True):
            try:
                entry = answer.result()
            except Rejected as err:
                found = self._find(raw)
                if found is None:
                    if err.code not in NEVER_AGAIN:
                        raise
                    anew = seal(part)
                    job.store(part, anew)
                    found = self._voice.client.submit(anew)
                entry = found
            # POINT OF NO RETURN was the submission. Crash from here: it is found by its bytes.
            job.finish(part, entry)
            yield part

    def _find(self, raw: bytes) -> int | None:
        """Where a refused statement already stands in the log, if an earlier run sent it."""
        self._book.sync()
        body = parse_envelope(parse_transaction(raw).envelope).body
        return self._book.entry_of(body.header)

    def _seal(self, batch: Batch, groups: tuple[GroupId, ...], *, urgent: bool) -> bytes:
        """A publish transaction under the epochs in force. Raises: Unavailable without them."""
        epochs: dict[GroupId, tuple[int, bytes]] = {}
        for group in groups:
            row = epoch_of(self._book.state, group)
            key = self._book.keyring.key_of(group, row.number)
            late = row.rotate_by_ms is not None and self._voice.now_ms() >= row.rotate_by_ms
            if row.number == 0 or key is None or late:
                mend = "let the keepers run (accord keeper), then try again"
                raise Unavailable("desk.no_epoch_key", group=group, number=row.number, mend=mend)
            epochs[group] = (row.number, key)
        home = self._voice.home
        blob = seal_batch(home.chain, home.member, batch, epochs)
        body = Publish(
            header=self._voice.header(),
            count=batch.count,
            groups=groups,
            epochs=tuple(epochs[group][0] for group in groups),
            urgent=urgent,
            blob_sha256=sha256(blob),
        )
        return self._voice.sign(body, blob)

    def approve(self, entry: int) -> int:
        """The second pair of eyes: another person than the one who published."""
        return self._voice.say(Approve(self._voice.header(), entry))

    def approve_each(self, entries: Iterable[int]) -> Iterator[tuple[int, int]]:
        """`approve` for many: each with the entry it became. Stops at the first that fails."""
        asked, said = tee(entries)
        raws = (self._voice.sign(Approve(self._voice.header(), entry)) for entry in asked)
        for entry, (_, answer) in zip(said, submit_ahead(self._voice.client, raws), strict=True):
            yield entry, answer.result()

    def endorse(self, refs: tuple[RefRange, ...], level: int) -> int:
        return self._voice.say(Endorse(self._voice.header(), refs, level))

    def dispute(self, refs: tuple[RefRange, ...], reason: DisputeReason) -> int:
        return self._voice.say(Dispute(self._voice.header(), refs, reason))

    def withdraw(self, refs: tuple[RefRange, ...], reason: DisputeReason) -> int:
        return self._voice.say(Withdraw(self._voice.header(), refs, reason))

    def set_rules(self, jurisdiction: JurisdictionId, rule_set: RuleSet) -> int:
        """Replace the rule set of a jurisdiction; the version follows the one in force."""
        self._book.sync()
        row = self._book.state.get(RULES, jurisdiction.encode())
        version = row.version + 1 if row is not None else 1
        return self._voice.say(Rule(self._voice.header(), jurisdiction, version, rule_set))

    def propose(self, action: Action) -> int:
        """The proposal's entry, which others vote on; our own vote is yes."""
        return self._voice.say(Propose(self._voice.header(), action))

    def vote(self, proposal: int, *, approve: bool) -> int:
        return self._voice.say(Vote(self._voice.header(), proposal, approve))
