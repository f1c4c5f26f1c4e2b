"""The replica: a follower with a disk.

Whatever is read back is proved again: leaves must hash to the stored checkpoint, the checkpoint
must carry its quorum, blobs must be the ones the log names. So one process may write and others
read, and a file that somebody changed is refused, never half believed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from accord.follow.delta import FoldedEntry
from accord.follow.follower import Follower, Freshness, Pull, Staged
from accord.follow.keyring import Keyring
from accord.follow.opening import hear_entry, open_entry, released_to, wanted_blobs
from accord.ledger.apply import FOLDS
from accord.ledger.genesis import Founding
from accord.ledger.membership import groups_of
from accord.ledger.state import Draft, State
from accord.ledger.views import policy_of
from accord.replica.past import Past
from accord.replica.source import LogSource, Progress, no_progress
from accord.replica.store import ReplicaStore
from accord.statements.bodies import Epoch, Feedback, Publish, Wrap
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.merkle import Frontier, leaf_hash
from accord.tlog.note import parse_note
from accord.tlog.policy import VerifiedCheckpoint
from accord.tlog.tiles import parse_bundle
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, GroupId, KeyId, MemberId, TimeMs

FOLD_AT_ONCE = 1024  # Entries held in memory while folding.


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose replica it is: the member and the decryptor key that opens its group keys.

    `former` are decryptor keys that it has put aside: one key opens all batches, but feedback was
    sealed to the keys of its day.
    """

    member: MemberId
    key_id: bytes
    private: MLKEM768X25519PrivateKey
    former: tuple[tuple[KeyId, MLKEM768X25519PrivateKey], ...] = ()

    @property
    def keys(self) -> dict[KeyId, MLKEM768X25519PrivateKey]:
        return {**dict(self.former), KeyId(self.key_id): self.private}


class Replica:
    """One member's copy. Methods are for one thread at a time."""

    def __init__(
        self,
        path: Path,
        founding: Founding,
        identity: Identity | None,
        *,
        allow_trial: bool,
        folds: frozenset[int] = FOLDS,
    ) -> None:
        """Open and prove a replica, or begin an empty one. Raises: Unproven, Unavailable."""
        self._founding = founding
        self._follower = Follower(founding, allow_trial=allow_trial, folds=folds)
        self._store = ReplicaStore(path)
        self._identity = identity
        self._past = None if self._follower.has_begun else Past(founding, self._store)
        self._missing_keys: set[tuple[GroupId, int]] = set()
        self._moved_at: int | None = None  # The newest head at which the policy was another one.
        self._behind = Frontier()  # Of our log, at the size of the last head that lagged.
        self.keyring = Keyring()
        # Counts up when a key opens batches that were passed over before: fold again from zero.
        self.generation = 0
        if self._past is not None:
            self._past.check_known(
                lambda old: Replica(path, old, None, allow_trial=allow_trial, folds=folds)
            )
        self.refresh()

    def close(self) -> None:
        self._store.close()

    @property
    def chain(self) -> ChainId:
        return self._follower.chain

    @property
    def founding(self) -> Founding:
        return self._founding

    @property
    def size(self) -> int:
        return self._follower.size

    @property
    def state(self) -> State:
        """The ledger's state at `size`."""
        return self._follower.state

    @property
    def checkpoint(self) -> VerifiedCheckpoint | None:
        return self._follower.checkpoint

    def freshness(self, now_ms: TimeMs) -> Freshness:
        return self._follower.freshness(now_ms)

    @property
    def groups(self) -> tuple[GroupId, ...]:
        """The groups whose batches are released to us, as of now."""
        return () if self._identity is None else groups_of(self.state, self._identity.member)

    def refresh(self) -> int:
        """Take over what the store holds beyond us. Entries gained.

        Raises: Unproven with `replica.tampered` if it does not prove itself.
        """
        before = self.size
        try:
            if self._past is not None and self._past.is_over:
                self._begin(self._past, self._past.leaves())
            if not self._follower.has_begun:
                return 0
            for size, note in self._stored_steps():
                pull = self._follower.offer(note)
                if pull is not None:
                    leaves = self._store.leaves(pull.first, size)
                    self._advance(self._follower.stage(pull, leaves))
        except (Unproven, Malformed) as err:
            mend = "move the file away and follow again"
            raise Unproven("replica.tampered", why=str(err), mend=mend) from err
        return self.size - before

    def _begin(self, past: Past, leaves: Sequence[bytes], source: LogSource | None = None) -> None:
        """Where a log that continues another begins. From a source, what is missing is kept."""
        start = self._follower.plan(leaves)
        entries = [self._entry(index, leaf) for index, leaf in enumerate(leaves)]
        if source is not None:
            if self._identity is not None:
                groups = groups_of(start.state, self._identity.member)
                self._fetch_wanted(source, entries, groups, no_progress)
            past.go_over(leaves)
        # POINT OF NO RETURN. Crash from here: reopening begins with the stored leaves.
        self._follower.begin(start)
        self._past = None
        self._learn(entries, refold=False)

    def fetch_past(self, source: LogSource, progress: Progress = no_progress) -> None:
        """Of a log that continues another, all that its genesis pins; nothing where it is there.

        Raises: Unproven with `follow.past` (the source gives other leaves), `follow.split_view`
        (ours, which a quorum had signed, are not those that were pinned); Unavailable.
        """
        self.refresh()
        if self._past is not None:
            self._begin(self._past, self._past.fetch(source, progress), source)

    def _stored_steps(self) -> list[tuple[int, bytes]]:
        """The stored checkpoints to go through, one policy change after the other."""
        newest = self._store.checkpoints(newest_only=True)
        if not newest or newest[0][0] <= self.size:
            return newest
        return [step for step in self._store.checkpoints() if step[0] > self.size]

    def transitions(self) -> list[tuple[int, bytes]]:
        """(size, note) of the heads at which the policy moved on, the newest head left out."""
        return [step for step in self._store.checkpoints() if step[0] < self.size]

    def sync(self, source: LogSource, now_ms: TimeMs, progress: Progress = no_progress) -> int:
        """Follow a source to its newest checkpoint. Entries gained.

        Raises: Unproven, with nothing changed, when the source lies or is stale; Unavailable.
        """
        before = self.size
        self.fetch_past(source, progress)  # And what another process of ours has stored.
        for note, at_ms in self._steps(source, now_ms):
            pull = self._offer(note, at_ms)
            if pull is None:
                known = self._follower.checkpoint
                # A head at a change also carries the old quorum: a later one there may not.
                if known is not None and known.raw == note and self.size != self._moved_at:
                    self._store.store_entries(self.size, (), self.size, note, replaces=None)
                continue
            staged = self._follower.stage(pull, _fetch_leaves(source, pull, progress))
            after = self._draft(staged)
            self._fetch_blobs(source, staged, after, progress)
            # Crash up to here: blobs at most, which are asked for again and found.
            self._store.store_entries(
                staged.first,
                staged.leaves,
                staged.checkpoint.size,
                staged.checkpoint.raw,
                # What led through a change is needed to get through it again.
                replaces=None if self.size == self._moved_at else self.size,
            )
            # POINT OF NO RETURN. Crash from here: reopening reads the new checkpoint back.
            self._advance(staged)
        return self.size - before

    def _steps(self, source: LogSource, now_ms: TimeMs) -> Iterator[tuple[bytes, TimeMs | None]]:
        """(checkpoint, time to be fresh at): transitions first, where the policy has moved on."""
        note = source.fetch_checkpoint()
        try:
            self._offer(note, now_ms)
        except Unproven as err:
            sizes = [size for size in source.fetch_transitions() if size > self.size]
            if err.code != "tlog.quorum" or not sizes:
                raise
            for size in sizes:
                yield source.fetch_checkpoint_at(size), None
            note = source.fetch_checkpoint()
        yield note, now_ms

    def _offer(self, note: bytes, now_ms: TimeMs | None) -> Pull | None:
        """As the follower's. A head that a quorum signed for another log is kept: with ours it is
        proof, that anybody can check, of who signed both."""
        try:
            return self._follower.offer(note, now_ms)
        except Unproven as err:
            if err.code not in ("follow.rollback", "follow.split_view"):
                raise
            head = parse_checkpoint(parse_note(note).text)
            if self.root_at(head.size) == head.root:
                raise  # Our own log: that node only lags behind.
            self._store.store_evidence(note)
            raise Unproven("follow.split_view", size=head.size) from err

    def root_at(self, size: int) -> bytes:
        """The root of our first `size` leaves. What was hashed is kept: nodes lag by a few."""
        grown = self._behind if self._behind.size <= size else Frontier()
        while grown.size < size:
            end = min(size, grown.size + FOLD_AT_ONCE)
            leaves = self._store.leaves(grown.size, end)
            if len(leaves) != end - grown.size:
                raise Broken("replica.entries", wanted=end - grown.size, have=len(leaves))
            grown = grown.extend(map(leaf_hash, leaves))
        self._behind = grown
        return grown.root()

    def evidence(self) -> list[bytes]:
        """Heads of another log than ours, each signed by a quorum."""
        return self._store.evidence()

    def _draft(self, staged: Staged) -> Draft:
        """The state as it will be."""
        draft = Draft(self.state)
        for write in staged.writes:
            draft.absorb(write)
        return draft

    def _fetch_blobs(
        self, source: LogSource, staged: Staged, after: Draft, progress: Progress
    ) -> None:
        if self._identity is None:
            return
        groups = groups_of(after, self._identity.member)
        entries: list[FoldedEntry] = []
        if set(groups) - set(self.groups):  # Newly admitted: everything from the beginning.
            entries += self._entries(0, self.size)
        entries += staged.entries
        self._fetch_wanted(source, entries, groups, progress)

    def _fetch_wanted(
        self,
        source: LogSource,
        entries: Sequence[FoldedEntry],
        groups: Sequence[GroupId],
        progress: Progress,
    ) -> None:
        wanted = [
            digest
            for _, digest in wanted_blobs(entries, groups)
            if not self._store.has_blob(digest)
        ]
        for done, digest in enumerate(wanted):
            progress("blobs", done, len(wanted))
            blob = source.fetch_blob(digest)
            if sha256(blob) != digest:
                raise Unproven("replica.blob", source=source.name)
            self._store.store_blobs([(digest, blob)])

    def _advance(self, staged: Staged) -> None:
        before, policy = set(self.groups), policy_of(self.state, self.chain)
        self._follower.advance(staged)
        if policy_of(self.state, self.chain) != policy:
            self._moved_at = self.size
        gained = set(self.groups) - before
        entries = self._entries(0, self.size) if gained else staged.entries
        self._learn(entries, refold=bool(gained) and staged.first > 0)

    def _learn(self, entries: Sequence[FoldedEntry], *, refold: bool) -> None:
        """Open group keys, and notice when one opens what was passed over."""
        if self._identity is None:
            return
        who = self._identity
        for entry in entries:
            body = entry.body
            if isinstance(body, Publish):
                pairs = set(zip(body.groups, body.epochs, strict=True))
                self._missing_keys |= pairs.difference(self.keyring.keys)
            elif isinstance(body, Epoch | Wrap):
                blob = self.blob(body.blob_sha256)
                if blob is not None:
                    chain = self._founding.chain_at(entry.index)
                    self.keyring.learn(chain, who.member, who.key_id, who.private, body, blob)
        found = self._missing_keys.intersection(self.keyring.keys)
        self._missing_keys -= found
        self.generation += bool(found) or refold

    def folded(self, first: int = 0) -> Iterator[FoldedEntry]:
        """Entries from `first` on, with the batches that our keys open, in log order.

        Raises: Unproven with `replica.tampered` if a stored blob was exchanged.
        """
        ours, who = set(self.groups), self._identity
        keys = {} if who is None else who.keys
        end = self.size
        for start in range(first, end, FOLD_AT_ONCE):
            for entry in self._entries(start, min(end, start + FOLD_AT_ONCE)):
                body, blob = entry.body, None
                if isinstance(body, Publish | Feedback) and ours.intersection(released_to(body)):
                    blob = self.blob(body.blob_sha256)
                chain = self._founding.chain_at(entry.index)
                if isinstance(body, Feedback) and who is not None:
                    yield hear_entry(chain, entry, blob, who.member, keys)
                else:
                    yield open_entry(chain, entry, blob, self.keyring.keys, ours)

    def bare(self, first: int = 0) -> Iterator[FoldedEntry]:
        """The same entries without what is sealed in them: for what needs no key, and no time."""
        end = self.size
        for start in range(first, end, FOLD_AT_ONCE):
            yield from self._entries(start, min(end, start + FOLD_AT_ONCE))

    def leaves(self, first: int, end: int) -> list[bytes]:
        """Proved leaves, as the log holds them."""
        return self._store.leaves(first, end)

    def _entries(self, first: int, end: int) -> list[FoldedEntry]:
        """Entries that were verified when they came."""
        leaves = enumerate(self._store.leaves(first, end), first)
        entries = [self._entry(index, leaf) for index, leaf in leaves]
        if len(entries) != end - first:
            raise Broken("replica.entries", wanted=end - first, have=len(entries))
        return entries

    def _entry(self, index: int, leaf: bytes) -> FoldedEntry:
        entry = parse_entry(leaf)
        envelope = parse_envelope(entry.statement)
        return FoldedEntry(index, entry.time_ms, envelope.key_id, envelope.body)

    def blob(self, digest: bytes) -> bytes | None:
        """A blob that an entry names, if it is here. Raises: Unproven, if it was exchanged."""
        blob = self._store.blob(digest)
        if blob is not None and sha256(blob) != digest:
            mend = "move the file away and follow again"
            raise Unproven("replica.tampered", why="a blob was exchanged", mend=mend)
        return blob


def _fetch_leaves(source: LogSource, pull: Pull, progress: Progress) -> list[bytes]:
    bundles: list[tuple[bytes, ...]] = []
    for done, tile in enumerate(pull.bundles):
        progress("entries", done, len(pull.bundles))
        bundles.append(parse_bundle(source.fetch_tile(tile.path), tile.width))
    return pull.leaves(bundles)


def sync_any(
    replica: Replica,
    sources: Sequence[LogSource],
    now_ms: TimeMs,
    progress: Progress = no_progress,
) -> tuple[int, list[tuple[str, Unproven | Malformed]]]:
    """Follow the first source that answers truthfully: entries gained, and who lied how.

    Raises: Unavailable if nobody answered; the first refusal if all who did were refused.
    """
    lies: list[tuple[str, Unproven | Malformed]] = []
    silent: Unavailable | None = None
    for source in sources:
        try:
            return replica.sync(source, now_ms, progress), lies
        except (Unproven, Malformed) as err:
            lies.append((source.name, err))
        except Unavailable as err:
            silent = err
    if lies:
        raise lies[0][1]
    raise silent or Unavailable("replica.no_source", mend="name a node in home.toml")
